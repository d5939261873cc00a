/* SPDX-License-Identifier: MIT */
/* To be preloaded: for this program a minute passes in a second, so that a test can see it idle. */
#include <dlfcn.h>
#include <stddef.h>
#include <sys/epoll.h>
#include <time.h>

#define FASTER 60

typedef int clock_fn(clockid_t clock, struct timespec *ts);
typedef int wait_fn(int fd, struct epoll_event *events, int n, int ms);

int clock_gettime(clockid_t clock, struct timespec *ts)
{
	static clock_fn *real;
	static long long began;
	long long ns;
	int err;

	if (!real)
		real = (clock_fn *)dlsym(RTLD_NEXT, "clock_gettime");
	err = real(clock, ts);
	if (err != 0 || (clock != CLOCK_MONOTONIC && clock != CLOCK_MONOTONIC_COARSE))
		return err;
	ns = ts->tv_sec * 1000000000LL + ts->tv_nsec;
	if (began == 0)
		began = ns;
	ns = began + (ns - began) * FASTER;
	ts->tv_sec = ns / 1000000000LL;
	ts->tv_nsec = ns % 1000000000LL;
	return 0;
}

int epoll_wait(int fd, struct epoll_event *events, int n, int ms)
{
	static wait_fn *real;

	if (!real)
		real = (wait_fn *)dlsym(RTLD_NEXT, "epoll_wait");
	return real(fd, events, n, ms > 0 ? ms / FASTER + 1 : ms);
}
