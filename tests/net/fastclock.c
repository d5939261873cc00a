/* SPDX-License-Identifier: MIT */
/* To be preloaded: for this program a minute passes in a second, so that a test can see it idle. */
#include <dlfcn.h>
#include <stddef.h>
#include <sys/epoll.h>
#include <sys/timerfd.h>
#include <time.h>

#define FASTER 60

typedef int clock_fn(clockid_t clock, struct timespec *ts);
typedef int wait_fn(int fd, struct epoll_event *events, int n, int ms);
typedef int timer_fn(int fd, int flags, const struct itimerspec *at, struct itimerspec *was);

static long long began; /* ns, of both clocks */

static long long ns_of(const struct timespec *ts)
{
	return ts->tv_sec * 1000000000LL + ts->tv_nsec;
}

static struct timespec of_ns(long long ns)
{
	return (struct timespec){.tv_sec = ns / 1000000000LL, .tv_nsec = ns % 1000000000LL};
}

int clock_gettime(clockid_t clock, struct timespec *ts)
{
	static clock_fn *real;
	int err;

	if (!real)
		real = (clock_fn *)dlsym(RTLD_NEXT, "clock_gettime");
	err = real(clock, ts);
	if (err != 0 || (clock != CLOCK_MONOTONIC && clock != CLOCK_MONOTONIC_COARSE))
		return err;
	if (began == 0)
		began = ns_of(ts);
	*ts = of_ns(began + (ns_of(ts) - began) * FASTER);
	return 0;
}

int epoll_wait(int fd, struct epoll_event *events, int n, int ms)
{
	static wait_fn *real;

	if (!real)
		real = (wait_fn *)dlsym(RTLD_NEXT, "epoll_wait");
	return real(fd, events, n, ms > 0 ? ms / FASTER + 1 : ms);
}

/* Of absolute times only. */
int timerfd_settime(int fd, int flags, const struct itimerspec *at, struct itimerspec *was)
{
	static timer_fn *real;
	struct itimerspec slow = {
	    .it_value = of_ns(began + (ns_of(&at->it_value) - began) / FASTER)};

	if (!real)
		real = (timer_fn *)dlsym(RTLD_NEXT, "timerfd_settime");
	return real(fd, flags, &slow, was);
}
