/* SPDX-License-Identifier: MIT */
#include "lib/job.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <winsock2.h>

/* What is waited for by WSAPoll() has to be a socket: here one that is connected to itself, which
 * gets datagrams from nobody else. */
struct job {
	void (*work)(void *ctx);
	void (*drop)(void *ctx);
	void *ctx;
	SOCKET fd;
	HMODULE module; /* ours, which is not unloaded below the thread */
	atomic_int over;
	atomic_int left; /* of the two: caller and thread */
};

static void destroy(struct job *j)
{
	if (j->ctx)
		j->drop(j->ctx);
	(void)closesocket(j->fd);
	free(j);
}

static void leave(struct job *j)
{
	if (atomic_fetch_sub(&j->left, 1) == 1)
		destroy(j);
}

static DWORD WINAPI run(void *arg)
{
	struct job *j = arg;
	HMODULE module = j->module;

	j->work(j->ctx);
	atomic_store(&j->over, 1);
	(void)send(j->fd, "", 1, 0);
	leave(j);
	FreeLibraryAndExitThread(module, 0);
}

/* Returns INVALID_SOCKET where that fails. */
static SOCKET open_loop(void)
{
	struct sockaddr_in sin = {.sin_family = AF_INET};
	int len = sizeof(sin);
	SOCKET fd = WSASocketW(
	    AF_INET, SOCK_DGRAM, 0, NULL, 0, WSA_FLAG_OVERLAPPED | WSA_FLAG_NO_HANDLE_INHERIT);

	if (fd == INVALID_SOCKET)
		return fd;
	sin.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	if (bind(fd, (struct sockaddr *)&sin, len) == 0 &&
	    getsockname(fd, (struct sockaddr *)&sin, &len) == 0 &&
	    connect(fd, (struct sockaddr *)&sin, len) == 0)
		return fd;
	(void)closesocket(fd);
	return INVALID_SOCKET;
}

static int start_thread(struct job *j)
{
	HANDLE thread;

	if (!GetModuleHandleExW(GET_MODULE_HANDLE_EX_FLAG_FROM_ADDRESS,
		(const wchar_t *)(uintptr_t)run, &j->module))
		return -EAGAIN;
	thread = CreateThread(NULL, 0, run, j, 0, NULL);
	if (!thread) {
		(void)FreeLibrary(j->module);
		return -EAGAIN;
	}
	(void)CloseHandle(thread);
	return 0;
}

int job_start(struct job **ret_job, void (*work)(void *ctx), void (*drop)(void *ctx), void *ctx)
{
	struct job *j = malloc(sizeof(*j));
	int err;

	if (!j)
		return -ENOMEM;
	*j = (struct job){.work = work, .drop = drop, .ctx = ctx};
	atomic_init(&j->over, 0);
	atomic_init(&j->left, 2);
	j->fd = open_loop();
	err = j->fd == INVALID_SOCKET ? -EMFILE : start_thread(j);
	if (err < 0) {
		if (j->fd != INVALID_SOCKET)
			(void)closesocket(j->fd);
		free(j);
		return err;
	}
	*ret_job = j;
	return 0;
}

tabi_socket job_fd(const struct job *j)
{
	return j->fd;
}

int job_is_over(const struct job *j)
{
	return atomic_load(&j->over);
}

void *job_take(struct job *j)
{
	void *ctx;

	/* What is over is not touched by the thread any more. */
	if (!atomic_load(&j->over))
		return NULL;
	ctx = j->ctx;
	j->ctx = NULL;
	leave(j);
	return ctx;
}

void job_leave(struct job *j)
{
	if (j)
		leave(j);
}
