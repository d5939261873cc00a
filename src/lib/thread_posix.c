/* SPDX-License-Identifier: MIT */
#include "lib/thread.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <unistd.h>

/* Modules behind getaddrinfo() and GSS-API are other people's. */
#define STACK_SIZE ((size_t)1024 * 1024)

/* A thread inherits what is blocked, and no handler of the program should run on ours. */
int thread_start(void *(*run)(void *arg), void *arg)
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
	err = pthread_create(&thread, &attr, run, arg);
	(void)pthread_sigmask(SIG_SETMASK, &before, NULL);
	(void)pthread_attr_destroy(&attr);
	return -err;
}

long thread_process(void)
{
	return getpid();
}

int bell_open(struct bell *ret_bell)
{
	int fds[2];

	if (pipe(fds) < 0)
		return -errno;
	/* Nothing depends on it but what a program that is started inherits. */
	(void)fcntl(fds[0], F_SETFD, FD_CLOEXEC);
	(void)fcntl(fds[1], F_SETFD, FD_CLOEXEC);
	*ret_bell = (struct bell){.listen = fds[0], .ring = fds[1]};
	return 0;
}

void bell_ring(const struct bell *bell)
{
	/* The pipe is empty and both its ends are open: it cannot fail. */
	ssize_t n = write(bell->ring, "", 1);

	(void)n;
}

void bell_close(const struct bell *bell)
{
	(void)close(bell->listen);
	(void)close(bell->ring);
}
