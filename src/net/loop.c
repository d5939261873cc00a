/* SPDX-License-Identifier: MIT */
/*
 * The event loop: epoll for descriptors, a heap for timers, libuv for the thread pool.
 *
 * Theory of operation. A session changes what its sockets wait for a few times in its life, and
 * libuv's uv_poll takes three system calls and 160 bytes for what epoll does in one and none; its
 * timers take a system call each time one is due or closed. So both are our own, and libuv's
 * descriptor (uv_backend_fd()) is one more in our epoll: libuv runs when that is readable.
 *
 * An event brings the descriptor and the ticket of its registration, and finds the watch in a table
 * by descriptor. A watch can so be exchanged for another without asking the kernel, and what is
 * told of a descriptor that was closed, and perhaps opened anew, in the same batch is known by its
 * ticket. Memory is let go of at the end of the turn only.
 *
 * Waiting. The timeout of epoll_wait() is a timer that the kernel sets and takes back around every
 * wait: of a connection that is alone, a twentieth of the time that a message takes. Nearly always
 * the next timer is minutes away. For such an alarm (timerfd) is set once, and left until it goes
 * off, whether anybody still waits for it or not. Only what is due within LONG_MS is a timeout. Nor
 * is the clock read in a turn where nobody asks for it.
 *
 * Edge-triggered watches. Asked for everything once, the kernel tells of a socket when something
 * has changed, and then all that it is ready for. The loop keeps that in `maybe` until a read or a
 * write has shown that it is so no more. What holds outside of a watch's own callback: if something
 * that is waited for may be there, an event of it is on its way. So when interest in something is
 * added, or a callback returns, and it may be there, the kernel is asked again (rearm()): setting a
 * registration, even to what it is, makes it look. Whoever tells what it found makes that rare.
 */
#include "net/loop.h"

#include <errno.h>
#include <limits.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#define container_of(ptr, type, member) ((type *)((char *)(ptr)-offsetof(type, member)))

/* Events taken from the kernel at once. */
#define BATCH 256
/* From so long a wait on, the alarm ends it. */
#define LONG_MS 1000
/* As descriptors: libuv, and the alarm. */
#define UV UINT32_MAX
#define ALARM (UINT32_MAX - 1)

static uint64_t read_clock(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

/* What is not a watch. Returns 0 or -errno. */
static int add_own(struct loop *loop, int fd, uint32_t events, uint32_t as)
{
	struct epoll_event ev = {.events = events, .data.u64 = as};

	return epoll_ctl(loop->epoll, EPOLL_CTL_ADD, fd, &ev) < 0 ? -errno : 0;
}

static int init_uv(struct loop *loop)
{
	int err = uv_loop_init(&loop->uv);

	if (err)
		return err;
	err = add_own(loop, uv_backend_fd(&loop->uv), EPOLLIN, UV);
	if (err)
		uv_loop_close(&loop->uv);
	return err;
}

/* Edge-triggered, so that nobody has to read it. */
static int init_alarm(struct loop *loop)
{
	loop->alarm = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
	if (loop->alarm < 0)
		return -errno;
	return add_own(loop, loop->alarm, EPOLLIN | EPOLLET, ALARM);
}

static void close_own(struct loop *loop)
{
	if (loop->alarm >= 0)
		close(loop->alarm);
	close(loop->epoll);
}

int loop_init(struct loop *loop)
{
	int err;

	*loop = (struct loop){.epoll = epoll_create1(EPOLL_CLOEXEC), .alarm = -1};
	if (loop->epoll < 0)
		return -errno;
	err = init_alarm(loop);
	if (!err)
		err = init_uv(loop);
	if (err)
		close_own(loop);
	return err;
}

/* ---- what the kernel knows ---- */

/* Makes room in the table. Returns whether there was memory. */
static bool has_place(struct loop *loop, unsigned fd)
{
	unsigned n = loop->n_fds ? loop->n_fds : 64;
	struct watch **table;

	if (fd < loop->n_fds)
		return true;
	while (n <= fd)
		n *= 2;
	/* Not realloc(): the part that nothing has touched yet takes no memory. */
	table = calloc(n, sizeof(struct watch *));
	if (!table)
		return false;
	if (loop->n_fds > 0)
		memcpy(table, loop->by_fd, loop->n_fds * sizeof(struct watch *));
	free(loop->by_fd);
	loop->by_fd = table;
	loop->n_fds = n;
	return true;
}

static uint32_t epoll_events(const struct watch *w)
{
	uint32_t mask = 0;

	if (w->edge)
		return EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLPRI | EPOLLET;
	if (w->events & WATCH_READ)
		mask |= EPOLLIN;
	if (w->events & WATCH_WRITE)
		mask |= EPOLLOUT;
	return mask;
}

static bool control(struct watch *w, int op)
{
	struct epoll_event ev = {
	    .events = epoll_events(w),
	    .data.u64 = (uint64_t)w->ticket << 32 | (uint32_t)w->fd,
	};

	return epoll_ctl(w->loop->epoll, op, w->fd, &ev) == 0;
}

/* Returns whether the kernel has it. */
static bool enter(struct watch *w)
{
	struct loop *loop = w->loop;

	if (w->fd >= 0 && !has_place(loop, (unsigned)w->fd))
		return false;
	w->ticket = ++loop->tickets;
	w->maybe = 0;
	w->alert = false;
	/* What was given and not taken is there still. */
	if (!control(w, EPOLL_CTL_ADD) && (errno != EEXIST || !control(w, EPOLL_CTL_MOD)))
		return false;
	loop->by_fd[w->fd] = w;
	w->registered = true;
	return true;
}

static void unregister(struct watch *w)
{
	if (!w->registered)
		return;
	(void)epoll_ctl(w->loop->epoll, EPOLL_CTL_DEL, w->fd, NULL);
	w->loop->by_fd[w->fd] = NULL;
	w->registered = false;
}

/* Without memory, say, the kernel cannot wait; whoever waits must hear of it, but not from here. */
static void break_watch(struct watch *w)
{
	unregister(w);
	if (w->is_broken)
		return;
	w->is_broken = true;
	w->next = w->loop->broken;
	w->loop->broken = w;
}

/* Has the kernel look again, and tell of it what is ready. */
static void rearm(struct watch *w)
{
	if (!control(w, EPOLL_CTL_MOD))
		break_watch(w);
}

/* Which it is said to wait for, without asking the kernel. */
static void set_events(struct watch *w, unsigned events)
{
	if (!w->events && events)
		w->loop->waiting++;
	else if (w->events && !events)
		w->loop->waiting--;
	w->events = events & 0xf;
}

static struct timer *timer_of(struct heap_node *node)
{
	return node ? container_of(node, struct timer, node) : NULL;
}

/* ---- turns ---- */

/* Runs the `closed` functions; they may close more. */
static void let_go(struct loop *loop)
{
	loop->given = NULL;
	while (loop->ended) {
		struct watch *w = loop->ended;

		loop->ended = w->next;
		loop->watching--;
		if (w->closed)
			w->closed(w);
	}
	while (loop->ended_timers) {
		struct timer *timer = loop->ended_timers;

		loop->ended_timers = timer_of(timer->node.next);
		loop->watching--;
		if (timer->closed)
			timer->closed(timer);
	}
}

static bool is_alive(const struct loop *loop)
{
	return loop->waiting > 0 || loop->broken || loop->ended || loop->ended_timers ||
	       loop->timers.first || loop->jobs > 0;
}

/* Returns whether that went well. */
static bool set_alarm(struct loop *loop, uint64_t due)
{
	struct itimerspec at = {
	    .it_value = {.tv_sec = (time_t)(due / 1000), .tv_nsec = (long)(due % 1000) * 1000000},
	};

	if (timerfd_settime(loop->alarm, TFD_TIMER_ABSTIME, &at, NULL) < 0)
		return false;
	loop->alarm_at = due;
	return true;
}

/* Is nothing due before it goes off? */
static bool alarm_tells(const struct loop *loop)
{
	return loop->alarm_at && loop->timers.first && loop->alarm_at <= loop->timers.first->key;
}

/* How long to wait, for epoll_wait(). */
static int timeout(struct loop *loop)
{
	uint64_t due, now;

	if (loop->broken || loop->ended || loop->ended_timers || loop->uv_is_due)
		return 0;
	if (!loop->timers.first || alarm_tells(loop))
		return -1;
	due = loop->timers.first->key;
	now = read_clock();
	if (due <= now)
		return 0;
	if (due - now >= LONG_MS && set_alarm(loop, due))
		return -1;
	return due - now < INT_MAX ? (int)(due - now) : INT_MAX;
}

static void tell(struct watch *w, unsigned events)
{
	w->loop->events++;
	w->fn(w, events);
}

static void report_error(struct watch *w)
{
	unsigned events = w->events | WATCH_ERROR;

	set_events(w, 0);
	if (w->edge)
		w->maybe = WATCH_READ | WATCH_WRITE | WATCH_ERROR;
	else
		unregister(w);
	tell(w, events);
}

/*
 * EPOLLERR and EPOLLHUP come unasked. The first is a pending error of the socket. The second says
 * that both directions have ended, which reading finds too: so it is one only where nothing else
 * is told.
 */
static void report(struct watch *w, uint32_t got)
{
	unsigned events = 0;

	if (got & EPOLLIN)
		events |= WATCH_READ;
	if (got & EPOLLOUT)
		events |= WATCH_WRITE;
	/* All that it is ready for, so what was known before counts no more. */
	w->maybe = (events | (got & (EPOLLERR | EPOLLHUP) ? WATCH_ERROR : 0)) & 0xf;
	w->alert = got & (EPOLLRDHUP | EPOLLPRI | EPOLLERR | EPOLLHUP);
	if (!w->events)
		return;
	events &= w->events;
	if (got & EPOLLERR || (got & EPOLLHUP && !events))
		report_error(w);
	else if (events)
		tell(w, events);
}

static void dispatch(struct loop *loop, uint64_t data, uint32_t got)
{
	uint32_t fd = (uint32_t)data;
	struct watch *w = fd < loop->n_fds ? loop->by_fd[fd] : NULL;

	/* Changed by something before it in this batch. */
	if (!w || w->ticket != data >> 32)
		return;
	report(w, got);
	if (w->edge && w->registered && w->maybe & w->events)
		rearm(w);
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

static void fire_timers(struct loop *loop);

bool loop_turn(struct loop *loop, bool wait)
{
	struct epoll_event events[BATCH];
	int n = epoll_wait(loop->epoll, events, BATCH, wait ? timeout(loop) : 0);

	loop->now = 0;
	for (int i = 0; i < n; i++) {
		if (events[i].data.u64 == UV)
			loop->uv_is_due = true;
		else if (events[i].data.u64 == ALARM)
			loop->alarm_at = 0;
		else
			dispatch(loop, events[i].data.u64, events[i].events);
	}
	report_broken(loop);
	fire_timers(loop);
	if (loop->uv_is_due) {
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

uint64_t loop_events(const struct loop *loop)
{
	return loop->events;
}

uint64_t loop_now(struct loop *loop)
{
	if (!loop->now)
		loop->now = read_clock();
	return loop->now;
}

void loop_fini(struct loop *loop)
{
	report_broken(loop);
	let_go(loop);
	/* Closing is asynchronous in libuv: one turn runs what is left of it. */
	uv_run(&loop->uv, UV_RUN_NOWAIT);
	uv_loop_close(&loop->uv);
	close_own(loop);
	free(loop->by_fd);
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
	unregister(watch);
	watch->edge = false;
	watch->fd = fd;
}

static void set_edge_events(struct watch *w, unsigned events)
{
	unsigned added = events & ~(unsigned)w->events;

	/* Errors are waited for with whatever else is. */
	if (!w->events && events)
		added |= WATCH_ERROR;
	set_events(w, events);
	if (!w->registered) {
		if (events && !enter(w))
			break_watch(w);
	} else if (added & w->maybe) {
		rearm(w);
	}
}

void watch_set(struct watch *watch, unsigned events)
{
	if (events == watch->events)
		return;
	if (watch->edge) {
		set_edge_events(watch, events);
		return;
	}
	set_events(watch, events);
	if (events == 0)
		unregister(watch);
	else if (watch->registered ? !control(watch, EPOLL_CTL_MOD) : !enter(watch))
		break_watch(watch);
}

void watch_set_edge(struct watch *watch, bool edge)
{
	if (watch->edge == edge)
		return;
	watch->edge = edge;
	watch->maybe = 0;
	if (!watch->registered)
		return;
	if (watch->events == 0)
		unregister(watch);
	else
		rearm(watch);
}

/* The rest of ending one, whatever the kernel knows of it. */
static void end_watch(struct watch *watch, void (*closed)(struct watch *watch))
{
	if (watch->registered)
		watch->loop->by_fd[watch->fd] = NULL;
	watch->registered = false;
	set_events(watch, 0);
	watch->closed = closed;
	watch->has_ended = true;
	/* On the other list its turn to end comes there. */
	if (watch->is_broken)
		return;
	watch->next = watch->loop->ended;
	watch->loop->ended = watch;
}

void watch_close(struct watch *watch, void (*closed)(struct watch *watch))
{
	/* Not left to close(): the supervisor or a child may hold the same socket. */
	unregister(watch);
	end_watch(watch, closed);
}

void watch_drop(struct watch *watch, void (*closed)(struct watch *watch))
{
	end_watch(watch, closed);
}

void watch_give(struct watch *watch, void (*closed)(struct watch *watch))
{
	if (watch->registered && watch->edge)
		watch->loop->given = watch;
	else
		unregister(watch);
	end_watch(watch, closed);
}

bool watch_take(struct watch *watch)
{
	struct watch *given = watch->loop->given;

	if (!given || given->fd != watch->fd)
		return false;
	watch->loop->given = NULL;
	watch->loop->by_fd[watch->fd] = watch;
	watch->registered = watch->edge = true;
	watch->ticket = given->ticket;
	watch->maybe = given->maybe;
	watch->alert = given->alert;
	return true;
}

void loop_give_up(struct loop *loop)
{
	loop->given = NULL;
}

/* ---- timers ---- */

/*
 * Those that are due now are taken out first, into a list through the nodes, so that one which is
 * started anew meanwhile waits for the next turn. Any of them may be stopped or closed by another.
 */
static void fire_timers(struct loop *loop)
{
	struct heap_node *last = NULL, *node;

	while (!alarm_tells(loop) && (node = loop->timers.first) && node->key <= loop_now(loop)) {
		heap_remove(&loop->timers, node);
		timer_of(node)->state = TIMER_DUE;
		node->prev = last;
		node->next = NULL;
		if (last)
			last->next = node;
		else
			loop->due = timer_of(node);
		last = node;
	}
	while (loop->due) {
		struct timer *timer = loop->due;

		timer_stop(timer);
		timer->fn(timer);
	}
}

void timer_init(struct timer *timer, struct loop *loop, timer_fn *fn)
{
	*timer = (struct timer){.loop = loop, .fn = fn};
	loop->watching++;
}

void timer_start(struct timer *timer, uint64_t ms)
{
	timer_stop(timer);
	/* It may have been long since this turn began. */
	timer->node.key = read_clock() + ms;
	timer->state = TIMER_SET;
	heap_add(&timer->loop->timers, &timer->node);
}

void timer_stop(struct timer *timer)
{
	struct heap_node *node = &timer->node;

	if (timer->state == TIMER_SET) {
		heap_remove(&timer->loop->timers, node);
	} else if (timer->state == TIMER_DUE) {
		if (node->prev)
			node->prev->next = node->next;
		else
			timer->loop->due = timer_of(node->next);
		if (node->next)
			node->next->prev = node->prev;
	}
	timer->state = TIMER_OFF;
}

void timer_close(struct timer *timer, void (*closed)(struct timer *timer))
{
	timer_stop(timer);
	timer->closed = closed;
	timer->node.next = timer->loop->ended_timers ? &timer->loop->ended_timers->node : NULL;
	timer->loop->ended_timers = timer;
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
	container_of(uv->loop, struct loop, uv)->jobs--;
	job->done(job);
}

int job_start(struct job *job, struct loop *loop)
{
	int err = uv_queue_work(&loop->uv, &job->uv, job_on_work, job_on_done);

	if (err)
		return err;
	loop->jobs++;
	/* The first job makes libuv register what wakes it up, which it does when it runs. */
	loop->uv_is_due = true;
	return 0;
}
