/* SPDX-License-Identifier: MIT */
#include "lib/job.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <unistd.h>

/* Of the thread: modules behind getaddrinfo() and GSS-API are other people's. */
#define STACK_SIZE ((size_t)1024 * 1024)

struct job {
	void (*work)(void *ctx);
	void (*drop)(void *ctx);
	void *ctx;
	int pipe[2];
	pid_t owner;
	atomic_int over;
	atomic_int left; /* of the two: caller and thread */
};

static void close_pipe(const struct job *j)
{
	(void)close(j->pipe[0]);
	(void)close(j->pipe[1]);
}

static void destroy(struct job *j)
{
	if (j->ctx)
		j->drop(j->ctx);
	close_pipe(j);
	free(j);
}

static void leave(struct job *j)
{
	if (atomic_fetch_sub(&j->left, 1) == 1)
		destroy(j);
}

static void *run(void *arg)
{
	struct job *j = arg;
	ssize_t n;

	j->work(j->ctx);
	atomic_store(&j->over, 1);
	/* The pipe is empty and both its ends are open: it cannot fail. */
	n = write(j->pipe[1], "", 1);
	(void)n;
	leave(j);
	return NULL;
}

static int open_pipe(int fds[2])
{
	if (pipe(fds) < 0)
		return -errno;
	/* Nothing depends on it but what a program that is started inherits. */
	(void)fcntl(fds[0], F_SETFD, FD_CLOEXEC);
	(void)fcntl(fds[1], F_SETFD, FD_CLOEXEC);
	return 0;
}

/* A thread inherits what is blocked, and no handler of the program should run on ours. */
static int start_thread(struct job *j)
{
	pthread_attr_t attr;
	pthread_t thread;
	sigset_t all, before;
	int err = pthread_attr_init(&attr);

	if (err != 0)
		return -err;
	(void)pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
	(void)pthread_attr_setstacksize(&attr, STACK_SIZE);
	sigfillset(&all);
	(void)pthread_sigmask(SIG_SETMASK, &all, &before);
	err = pthread_create(&thread, &attr, run, j);
	(void)pthread_sigmask(SIG_SETMASK, &before, NULL);
	(void)pthread_attr_destroy(&attr);
	return -err;
}

int job_start(struct job **ret_job, void (*work)(void *ctx), void (*drop)(void *ctx), void *ctx)
{
	struct job *j = malloc(sizeof(*j));
	int err;

	if (!j)
		return -ENOMEM;
	*j = (struct job){.work = work, .drop = drop, .ctx = ctx, .owner = getpid()};
	atomic_init(&j->over, 0);
	atomic_init(&j->left, 2);
	err = open_pipe(j->pipe);
	if (err < 0) {
		free(j);
		return err;
	}
	err = start_thread(j);
	if (err < 0) {
		close_pipe(j);
		free(j);
		return err;
	}
	*ret_job = j;
	return 0;
}

tabi_socket job_fd(const struct job *j)
{
	return j->pipe[0];
}

int job_is_over(const struct job *j)
{
	return j->owner == getpid() ? atomic_load(&j->over) : -ECHILD;
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
	if (!j)
		return;
	if (j->owner == getpid())
		leave(j);
	else
		close_pipe(j);
}
