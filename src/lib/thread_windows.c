/* SPDX-License-Identifier: MIT */
#include "lib/thread.h"

#include <errno.h>
#include <stdlib.h>
#include <winsock2.h>

struct start {
	void *(*run)(void *arg);
	void *arg;
	HMODULE module; /* ours, which is not unloaded below the thread */
};

static DWORD WINAPI begin(void *arg)
{
	const struct start s = *(struct start *)arg;

	free(arg);
	(void)s.run(s.arg);
	FreeLibraryAndExitThread(s.module, 0);
}

int thread_start(void *(*run)(void *arg), void *arg)
{
	struct start *s = malloc(sizeof(*s));
	HANDLE thread;

	if (!s)
		return -ENOMEM;
	*s = (struct start){.run = run, .arg = arg};
	if (!GetModuleHandleExW(GET_MODULE_HANDLE_EX_FLAG_FROM_ADDRESS,
		(const wchar_t *)(uintptr_t)begin, &s->module)) {
		free(s);
		return -EAGAIN;
	}
	thread = CreateThread(NULL, 0, begin, s, 0, NULL);
	if (!thread) {
		(void)FreeLibrary(s->module);
		free(s);
		return -EAGAIN;
	}
	(void)CloseHandle(thread);
	return 0;
}

/* There is no fork(). */
long thread_process(void)
{
	return 0;
}

/* A socket that is connected to itself gets datagrams from nobody else. */
int bell_open(struct bell *ret_bell)
{
	struct sockaddr_in sin = {.sin_family = AF_INET};
	int len = sizeof(sin);
	SOCKET fd = WSASocketW(
	    AF_INET, SOCK_DGRAM, 0, NULL, 0, WSA_FLAG_OVERLAPPED | WSA_FLAG_NO_HANDLE_INHERIT);

	if (fd == INVALID_SOCKET)
		return -EMFILE;
	sin.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	if (bind(fd, (struct sockaddr *)&sin, len) != 0 ||
	    getsockname(fd, (struct sockaddr *)&sin, &len) != 0 ||
	    connect(fd, (struct sockaddr *)&sin, len) != 0) {
		(void)closesocket(fd);
		return -EMFILE;
	}
	*ret_bell = (struct bell){.listen = fd, .ring = fd};
	return 0;
}

void bell_ring(const struct bell *bell)
{
	(void)send(bell->ring, "", 1, 0);
}

void bell_close(const struct bell *bell)
{
	(void)closesocket(bell->listen);
}
