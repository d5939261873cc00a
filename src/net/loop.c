/* SPDX-License-Identifier: MIT */
/*
 * The event loop over libuv: uv_poll, uv_timer and uv_queue_work, with errors made uniform.
 *
 * Theory of operation of WATCH_ERROR. epoll always reports EPOLLERR and EPOLLHUP, but libuv must be
 * asked for something, and hands them on in three ways (1.44, src/unix/poll.c and linux-core.c):
 * EPOLLERR becomes status UV_EBADF and stops the handle; EPOLLHUP beside an event that was asked
 * for is dropped (the event itself tells: reading finds the end); and EPOLLERR or EPOLLHUP quite
 * alone comes as the event that was asked for. To wait for errors only, UV_PRIORITIZED is asked:
 * the end of the peer's stream (EPOLLIN|EPOLLRDHUP) does not set it. What does set it is urgent
 * data, for as long as that is unread, so when it was no error after all the kernel is told to
 * report nothing but errors (see watch_ignore_urgent()).
 */
#include "net/loop.h"

#include <poll.h>
#include <stddef.h>
#include <sys/epoll.h>

#define container_of(ptr, type, member) ((type *)((char *)(ptr)-offsetof(type, member)))

static struct loop *loop_of(const uv_handle_t *handle)
{
	return container_of(handle->loop, struct loop, uv);
}

int loop_init(struct loop *loop)
{
	loop->watching = 0;
	return uv_loop_init(&loop->uv);
}

void loop_fini(struct loop *loop)
{
	/* Closing is asynchronous: one turn runs what is left of it. */
	uv_run(&loop->uv, UV_RUN_NOWAIT);
	uv_loop_close(&loop->uv);
}

void loop_run(struct loop *loop)
{
	uv_run(&loop->uv, UV_RUN_DEFAULT);
}

void loop_stop(struct loop *loop)
{
	uv_stop(&loop->uv);
}

uint64_t loop_now(const struct loop *loop)
{
	return uv_now(&loop->uv);
}

int watch_init(struct watch *watch, struct loop *loop, int fd, watch_fn *fn)
{
	int err = uv_poll_init(&loop->uv, &watch->poll, fd);

	if (err < 0)
		return err;
	watch->fn = fn;
	watch->closed = NULL;
	watch->events = 0;
	loop->watching++;
	return 0;
}

static int watch_fd(const struct watch *watch)
{
	int fd = -1;

	uv_fileno((const uv_handle_t *)&watch->poll, &fd);
	return fd;
}

/* Has the socket an error, or have both its directions ended? */
static bool watch_failed(const struct watch *watch)
{
	struct pollfd p = {.fd = watch_fd(watch)};

	return poll(&p, 1, 0) > 0 && (p.revents & (POLLERR | POLLHUP | POLLNVAL));
}

/*
 * Behind libuv's back the registration becomes "errors only", which libuv has no word for. It keeps
 * no copy that this could contradict: its next uv_poll_start() removes and adds the descriptor.
 * Where the kernel refuses, the watch is stopped: better deaf than spinning.
 */
static void watch_ignore_urgent(struct watch *watch)
{
	int fd = watch_fd(watch);
	struct epoll_event ev = {.events = 0, .data.fd = fd};

	if (epoll_ctl(uv_backend_fd(watch->poll.loop), EPOLL_CTL_MOD, fd, &ev) < 0)
		uv_poll_stop(&watch->poll);
}

static void watch_report_error(struct watch *watch)
{
	unsigned events = watch->events | WATCH_ERROR;

	/* libuv stopped only its own half on EPOLLERR and nothing on EPOLLHUP. */
	uv_poll_stop(&watch->poll);
	watch->events = 0;
	watch->fn(watch, events);
}

static void watch_on_poll(uv_poll_t *poll, int status, int uv_events)
{
	struct watch *watch = container_of(poll, struct watch, poll);
	unsigned events = 0;

	if (status < 0) {
		watch_report_error(watch);
		return;
	}
	if (uv_events & UV_PRIORITIZED) {
		if (watch_failed(watch))
			watch_report_error(watch);
		else
			watch_ignore_urgent(watch);
		return;
	}
	if (uv_events & UV_READABLE)
		events |= WATCH_READ;
	if (uv_events & UV_WRITABLE)
		events |= WATCH_WRITE;
	if (events)
		watch->fn(watch, events);
}

void watch_set(struct watch *watch, unsigned events)
{
	int uv_events = 0;

	if (events == watch->events)
		return;
	watch->events = events;
	if (events & WATCH_READ)
		uv_events |= UV_READABLE;
	if (events & WATCH_WRITE)
		uv_events |= UV_WRITABLE;
	if (events == WATCH_ERROR)
		uv_events = UV_PRIORITIZED;
	uv_poll_start(&watch->poll, uv_events, watch_on_poll);
}

static void watch_on_close(uv_handle_t *handle)
{
	struct watch *watch = container_of((uv_poll_t *)handle, struct watch, poll);

	loop_of(handle)->watching--;
	if (watch->closed)
		watch->closed(watch);
}

void watch_close(struct watch *watch, void (*closed)(struct watch *watch))
{
	watch->closed = closed;
	watch->events = 0;
	uv_close((uv_handle_t *)&watch->poll, watch_on_close);
}

static void timer_on_fire(uv_timer_t *uv)
{
	struct timer *timer = container_of(uv, struct timer, uv);

	timer->fn(timer);
}

void timer_init(struct timer *timer, struct loop *loop, timer_fn *fn)
{
	uv_timer_init(&loop->uv, &timer->uv);
	timer->fn = fn;
	timer->closed = NULL;
	loop->watching++;
}

void timer_start(struct timer *timer, uint64_t ms)
{
	uv_timer_start(&timer->uv, timer_on_fire, ms, 0);
}

void timer_stop(struct timer *timer)
{
	uv_timer_stop(&timer->uv);
}

static void timer_on_close(uv_handle_t *handle)
{
	struct timer *timer = container_of((uv_timer_t *)handle, struct timer, uv);

	loop_of(handle)->watching--;
	if (timer->closed)
		timer->closed(timer);
}

void timer_close(struct timer *timer, void (*closed)(struct timer *timer))
{
	timer->closed = closed;
	uv_close((uv_handle_t *)&timer->uv, timer_on_close);
}

static void job_on_work(uv_work_t *uv)
{
	struct job *job = container_of(uv, struct job, uv);

	job->work(job);
}

/* Jobs are never cancelled, so the status says nothing. */
static void job_on_done(uv_work_t *uv, int status)
{
	struct job *job = container_of(uv, struct job, uv);

	(void)status;
	job->done(job);
}

int job_start(struct job *job, struct loop *loop)
{
	return uv_queue_work(&loop->uv, &job->uv, job_on_work, job_on_done);
}
