/* SPDX-License-Identifier: MIT */
#include "lib/thread.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <resolv.h>
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

/* Modules behind getaddrinfo() and GSS-API are other people's. */
#define STACK_SIZE ((size_t)1024 * 1024)

struct start {
	void *(*run)(void *arg);
	void *arg;
};

/*
 * Of glibc a new thread gets the memory of one that is over, with what its resolver left there. In
 * a child of fork() that may be one that never came to its end: the sockets are its parent's too,
 * and whoever reads first has the answer to either.
 */
static void forget_resolver(void)
{
#ifdef __GLIBC__
	if (_res.options & RES_INIT) {
		res_nclose(&_res);
		_res.options = 0;
	}
#endif
}

static void *begin(void *arg)
{
	const struct start s = *(struct start *)arg;

	free(arg);
	forget_resolver();
	return s.run(s.arg);
}

/* A thread inherits what is blocked, and no handler of the program should run on ours. */
static int create(const pthread_attr_t *attr, struct start *s)
{
	pthread_t thread;
	sigset_t all, before;
	int err;

	sigfillset(&all);
	(void)pthread_sigmask(SIG_SETMASK, &all, &before);
	err = pthread_create(&thread, attr, begin, s);
	(void)pthread_sigmask(SIG_SETMASK, &before, NULL);
	return -err;
}

int thread_start(void *(*run)(void *arg), void *arg)
{
	struct start *s = malloc(sizeof(*s));
	pthread_attr_t attr;
	int err;

	if (!s)
		return -ENOMEM;
	*s = (struct start){.run = run, .arg = arg};
	err = -pthread_attr_init(&attr);
	if (err == 0) {
		(void)pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
		(void)pthread_attr_setstacksize(&attr, STACK_SIZE);
		err = create(&attr, s);
		(void)pthread_attr_destroy(&attr);
	}
	if (err != 0)
		free(s);
	return err;
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
