/* SPDX-License-Identifier: MIT */
/*
 * The event loop: epoll for descriptors, libuv for timers and the thread pool.
 *
 * Theory of operation. A session changes what its sockets wait for a few times in its life, and
 * libuv's uv_poll takes three system calls and 160 bytes for what epoll does in one and none. So
 * watches are registered with an epoll of our own, with a pointer to the watch, and libuv's
 * descriptor (uv_backend_fd()) is one more in it: libuv runs when that is readable or a timer is
 * due.
 *
 * A turn handles one batch of events. What is closed in a turn may still have an event further
 * down in its batch, so its memory is let go of at the end of the turn only.
 */
#include "net/loop.h"

#include <errno.h>
#include <stddef.h>
#include <sys/epoll.h>
#include <unistd.h>

#define container_of(ptr, type, member) ((type *)((char *)(ptr)-offsetof(type, member)))

/* Events taken from the kernel at once. */
#define BATCH 256

static struct loop *loop_of(const uv_handle_t *handle)
{
	return container_of(handle->loop, struct loop, uv);
}

/* Event data is a pointer to the watch; NULL is libuv. */
static int add_uv(struct loop *loop)
{
	struct epoll_event ev = {.events = EPOLLIN, .data.ptr = NULL};

	if (epoll_ctl(loop->epoll, EPOLL_CTL_ADD, uv_backend_fd(&loop->uv), &ev) < 0)
		return -errno;
	return 0;
}

int loop_init(struct loop *loop)
{
	int err;

	*loop = (struct loop){.epoll = epoll_create1(EPOLL_CLOEXEC)};
	if (loop->epoll < 0)
		return -errno;
	err = uv_loop_init(&loop->uv);
	if (!err) {
		err = add_uv(loop);
		if (err)
			uv_loop_close(&loop->uv);
	}
	if (err)
		close(loop->epoll);
	return err;
}

/* ---- turns ---- */

/* Runs the `closed` functions; they may close more. */
static void let_go(struct loop *loop)
{
	while (loop->ended) {
		struct watch *w = loop->ended;

		loop->ended = w->next;
		loop->watching--;
		if (w->closed)
			w->closed(w);
	}
}

static bool is_alive(const struct loop *loop)
{
	return loop->waiting > 0 || loop->broken || loop->ended || uv_loop_alive(&loop->uv);
}

static bool uv_has_work(const struct loop *loop)
{
	if (loop->uv_is_due)
		return true;
	/* Of a loop with nothing in it libuv says 0 as well. */
	return uv_loop_alive(&loop->uv) && uv_backend_timeout(&loop->uv) == 0;
}

/* How long to wait, for epoll_wait(). */
static int timeout(const struct loop *loop)
{
	if (loop->broken || loop->ended || uv_has_work(loop))
		return 0;
	return uv_loop_alive(&loop->uv) ? uv_backend_timeout(&loop->uv) : -1;
}

static void unregister(struct watch *w)
{
	if (!w->registered)
		return;
	/* Not left to close(): the supervisor or a child may hold the same socket. */
	(void)epoll_ctl(w->loop->epoll, EPOLL_CTL_DEL, w->fd, NULL);
	w->registered = false;
	w->loop->waiting--;
}

static void report_error(struct watch *w)
{
	unsigned events = w->events | WATCH_ERROR;

	unregister(w);
	w->events = 0;
	w->fn(w, events);
}

/*
 * EPOLLERR and EPOLLHUP come unasked. The first is a pending error of the socket. The second says
 * that both directions have ended, which reading finds too: so it is one only where nothing else
 * is told.
 */
static void dispatch(struct watch *w, uint32_t got)
{
	unsigned events = 0;

	/* Changed by something before it in this batch. */
	if (w->has_ended || !w->registered)
		return;
	if (got & EPOLLIN)
		events |= WATCH_READ;
	if (got & EPOLLOUT)
		events |= WATCH_WRITE;
	events &= w->events;
	if (got & EPOLLERR || (got & EPOLLHUP && !events))
		report_error(w);
	else if (events)
		w->fn(w, events);
}

static void report_broken(struct loop *loop)
{
	struct watch *list = loop->broken;

	loop->broken = NULL;
	while (list) {
		struct watch *w = list;

		list = w->next;
		w->is_broken = false;
		if (w->has_ended) {
			w->next = loop->ended;
			loop->ended = w;
		} else if (w->events && !w->registered) {
			report_error(w);
		}
	}
}

bool loop_turn(struct loop *loop, bool wait)
{
	struct epoll_event events[BATCH];
	int n;

	/* It may have been long since the clock was read, and timers count from then. */
	uv_update_time(&loop->uv);
	n = epoll_wait(loop->epoll, events, BATCH, wait ? timeout(loop) : 0);
	uv_update_time(&loop->uv);
	for (int i = 0; i < n; i++) {
		if (events[i].data.ptr)
			dispatch(events[i].data.ptr, events[i].events);
		else
			loop->uv_is_due = true;
	}
	report_broken(loop);
	if (uv_has_work(loop)) {
		loop->uv_is_due = false;
		uv_run(&loop->uv, UV_RUN_NOWAIT);
	}
	let_go(loop);
	return is_alive(loop);
}

void loop_run(struct loop *loop)
{
	while (!loop->stopping && is_alive(loop))
		loop_turn(loop, true);
	loop->stopping = false;
}

void loop_stop(struct loop *loop)
{
	loop->stopping = true;
}

uint64_t loop_now(const struct loop *loop)
{
	return uv_now(&loop->uv);
}

void loop_fini(struct loop *loop)
{
	report_broken(loop);
	let_go(loop);
	/* Closing is asynchronous in libuv too: one turn runs what is left of it. */
	uv_run(&loop->uv, UV_RUN_NOWAIT);
	uv_loop_close(&loop->uv);
	close(loop->epoll);
}

/* ---- watches ---- */

int watch_init(struct watch *watch, struct loop *loop, int fd, watch_fn *fn)
{
	*watch = (struct watch){.loop = loop, .fn = fn, .fd = fd};
	loop->watching++;
	return 0;
}

void watch_move(struct watch *watch, int fd)
{
	watch_set(watch, 0);
	watch->fd = fd;
}

static uint32_t epoll_events(unsigned events)
{
	uint32_t mask = 0;

	if (events & WATCH_READ)
		mask |= EPOLLIN;
	if (events & WATCH_WRITE)
		mask |= EPOLLOUT;
	return mask;
}

/* Without memory, say, the kernel cannot wait; whoever waits must hear of it, but not from here. */
static void break_watch(struct watch *w)
{
	if (w->is_broken)
		return;
	w->is_broken = true;
	w->next = w->loop->broken;
	w->loop->broken = w;
}

void watch_set(struct watch *watch, unsigned events)
{
	struct epoll_event ev = {.events = epoll_events(events), .data.ptr = watch};
	int op = watch->registered ? EPOLL_CTL_MOD : EPOLL_CTL_ADD;

	if (events == watch->events)
		return;
	watch->events = (uint8_t)events;
	if (events == 0) {
		unregister(watch);
		return;
	}
	if (epoll_ctl(watch->loop->epoll, op, watch->fd, &ev) < 0) {
		break_watch(watch);
	} else if (!watch->registered) {
		watch->registered = true;
		watch->loop->waiting++;
	}
}

void watch_close(struct watch *watch, void (*closed)(struct watch *watch))
{
	unregister(watch);
	watch->closed = closed;
	watch->events = 0;
	watch->has_ended = true;
	/* On the other list its turn to end comes there. */
	if (watch->is_broken)
		return;
	watch->next = watch->loop->ended;
	watch->loop->ended = watch;
}

/* ---- timers ---- */

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

/* ---- jobs ---- */

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
	/* The first job makes libuv register what wakes it up, which it does when it runs. */
	loop->uv_is_due = true;
	return uv_queue_work(&loop->uv, &job->uv, job_on_work, job_on_done);
}
