/* SPDX-License-Identifier: MIT */
/*
 * Makes system calls of the program under test fail, for LD_PRELOAD: tests/net sees what it does
 * then.
 *
 * TABI_FAULT is CALL:ERRNO:FIRST:LAST, such as accept4:13:1:5: from the first to the fifth call
 * of accept4(), counted over all processes, it fails with EACCES.
 */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/udp.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

static char call[32];
static int number;
static unsigned first, last;
static atomic_uint *count; /* in memory that children share */

__attribute__((constructor)) static void read_fault(void)
{
	const char *text = getenv("TABI_FAULT");

	count =
	    mmap(NULL, sizeof(*count), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (count == MAP_FAILED || !text ||
	    sscanf(text, "%31[^:]:%d:%u:%u", call, &number, &first, &last) != 4)
		call[0] = '\0';
}

static int fails(const char *name)
{
	unsigned n;

	if (strcmp(name, call) != 0)
		return 0;
	n = atomic_fetch_add(count, 1) + 1;
	if (n < first || n > last)
		return 0;
	errno = number;
	return 1;
}

/* dlsym() returns an object pointer, which C cannot turn into a function. */
static void find_next(const char *name, void *ret_function)
{
	void *symbol = dlsym(RTLD_NEXT, name);

	memcpy(ret_function, &symbol, sizeof(symbol));
}

int accept4(int fd, struct sockaddr *restrict addr, socklen_t *restrict len, int flags)
{
	int (*next)(int, struct sockaddr *, socklen_t *, int);

	find_next("accept4", &next);
	return fails("accept4") ? -1 : next(fd, addr, len, flags);
}

ssize_t sendmsg(int fd, const struct msghdr *message, int flags)
{
	ssize_t (*next)(int, const struct msghdr *, int);

	find_next("sendmsg", &next);
	/* Of datagrams that are to leave as one. */
	for (struct cmsghdr *c = CMSG_FIRSTHDR(message); c;
	     c = CMSG_NXTHDR((struct msghdr *)(uintptr_t)message, c))
		if (c->cmsg_level == IPPROTO_UDP && c->cmsg_type == UDP_SEGMENT && fails("train"))
			return -1;
	return fails("sendmsg") ? -1 : next(fd, message, flags);
}

/* Of a kernel that knows nothing of datagrams that are one. */
int setsockopt(int fd, int level, int optname, const void *optval, socklen_t optlen)
{
	int (*next)(int, int, int, const void *, socklen_t);

	find_next("setsockopt", &next);
	return level == IPPROTO_UDP && fails("offload") ? -1
							: next(fd, level, optname, optval, optlen);
}

int memfd_create(const char *name, unsigned flags)
{
	int (*next)(const char *, unsigned);

	find_next("memfd_create", &next);
	return fails("memfd_create") ? -1 : next(name, flags);
}

int epoll_ctl(int epfd, int op, int fd, struct epoll_event *event)
{
	int (*next)(int, int, int, struct epoll_event *);

	find_next("epoll_ctl", &next);
	return fails("epoll_ctl") ? -1 : next(epfd, op, fd, event);
}

/* Of those that do not block: libuv has others, without which it aborts. */
int pipe2(int pipedes[2], int flags)
{
	int (*next)(int *, int);

	find_next("pipe2", &next);
	return flags & O_NONBLOCK && fails("pipe2") ? -1 : next(pipedes, flags);
}

/* Of a pipe's size; all else it does goes well. */
int fcntl(int fd, int cmd, ...)
{
	int (*next)(int, int, ...);
	void *value;
	va_list ap;

	va_start(ap, cmd);
	value = va_arg(ap, void *);
	va_end(ap);
	find_next("fcntl64", &next);
	return (cmd == F_SETPIPE_SZ || cmd == F_GETPIPE_SZ) && fails("fcntl")
		   ? -1
		   : next(fd, cmd, value);
}

ssize_t splice(int fdin, off64_t *offin, int fdout, off64_t *offout, size_t len, unsigned flags)
{
	ssize_t (*next)(int, off64_t *, int, off64_t *, size_t, unsigned);

	find_next("splice", &next);
	return fails("splice") ? -1 : next(fdin, offin, fdout, offout, len, flags);
}

/* It returns the error. */
int pthread_create(pthread_t *restrict thread, const pthread_attr_t *restrict attr,
    void *(*start_routine)(void *), void *restrict arg)
{
	int (*next)(pthread_t *, const pthread_attr_t *, void *(*)(void *), void *);

	find_next("pthread_create", &next);
	return fails("pthread_create") ? errno : next(thread, attr, start_routine, arg);
}

pid_t fork(void)
{
	pid_t (*next)(void);

	find_next("fork", &next);
	return fails("fork") ? -1 : next();
}

int socketpair(int domain, int type, int protocol, int fds[2])
{
	int (*next)(int, int, int, int *);

	find_next("socketpair", &next);
	return fails("socketpair") ? -1 : next(domain, type, protocol, fds);
}
