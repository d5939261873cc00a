/* SPDX-License-Identifier: MIT */
/*
 * The event loop: descriptors, timers and slow work. The only header through which the rest of
 * the program meets libuv and epoll.
 *
 * Nothing is called back from inside a call into this module: callbacks come from loop_run() and
 * loop_turn().
 */
#ifndef TABI_NET_LOOP_H
#define TABI_NET_LOOP_H

#include <stdbool.h>
#include <stdint.h>

#include <uv.h>

#include "net/heap.h"

struct watch;
struct timer;

/* One per worker process. */
struct loop {
	uv_loop_t uv; /* jobs */
	int epoll;    /* watches, and the descriptor by which libuv can be waited for */
	bool stopping;
	bool uv_is_due;       /* libuv has something new that it has not looked at */
	unsigned jobs;        /* under way */
	unsigned watching;    /* watches and timers not yet closed: for leak checks at the end */
	unsigned waiting;     /* watches that wait for something */
	struct watch *ended;  /* closed, to be let go of at the end of the turn */
	struct watch *broken; /* that the kernel would not wait for: told at the next turn */

	/* By descriptor the watch that the kernel knows it with, or NULL. */
	struct watch **by_fd;
	unsigned n_fds;
	uint16_t tickets; /* given so far */
	struct watch *given;

	uint64_t events; /* of watches, so far */
	uint64_t now;    /* milliseconds, 0 where nobody has asked in this turn */
	struct heap timers;
	int alarm;                  /* wakes us for those that are far away */
	uint64_t alarm_at;          /* the time it is set to, 0 for none */
	struct timer *due;          /* that are called one after the other in this turn */
	struct timer *ended_timers; /* as the watches */
};

/* Return 0 or -errno. loop_fini() expects that every watch and timer has been closed, and runs the
 * `closed` functions still to come. */
int loop_init(struct loop *loop);
void loop_fini(struct loop *loop);
/* Until loop_stop(), or until nothing is left to wait for. */
void loop_run(struct loop *loop);
void loop_stop(struct loop *loop);
/* Does what is due, after waiting for something to be if `wait`. Returns whether anything is left
 * to wait for. */
bool loop_turn(struct loop *loop, bool wait);
/* How often watches have been called so far: where that has grown by one since one's own last call,
 * nobody else had anything to do. */
uint64_t loop_events(const struct loop *loop);
/* Milliseconds of the monotonic clock, as of when this turn was first asked. */
uint64_t loop_now(struct loop *loop);

/*
 * What a watch may wait for. WATCH_ERROR (reset, error, both ends gone) is always reported, and
 * alone is a way to wait for nothing but that: the end of the peer's stream is not an error. With
 * it comes whatever else was waited for, so that a plain handler finds the error by reading or
 * writing, and the watch waits for nothing (`events` is 0) until it is set again. While something
 * else is waited for, "both ends gone" may come as that alone. Where the kernel cannot wait (out of
 * memory) that is an error too.
 */
enum watch_event {
	WATCH_READ = 1 << 0,
	WATCH_WRITE = 1 << 1,
	WATCH_ERROR = 1 << 2,
};

typedef void watch_fn(struct watch *watch, unsigned events);

/* Level-triggered interest in one descriptor, which stays the caller's. 40 bytes, for every socket
 * has one. */
struct watch {
	struct loop *loop;
	watch_fn *fn; /* may be changed at any time */
	void (*closed)(struct watch *watch);
	struct watch *next; /* among the loop's ended or broken ones */
	int fd;
	uint16_t ticket;    /* of this registration */
	uint8_t events : 4; /* what is waited for now; read only */
	uint8_t maybe : 4;  /* of an edge-triggered one: what may be there, see watch_set_edge() */
	bool registered : 1, has_ended : 1, is_broken : 1;
	bool edge : 1;
	bool alert : 1; /* there is news that the length of a read does not tell */
};

/* `fd` must be non-blocking. Waits for nothing yet. Returns 0 or -errno. */
int watch_init(struct watch *watch, struct loop *loop, int fd, watch_fn *fn);
/* Goes on with another descriptor, and waits for nothing yet. */
void watch_move(struct watch *watch, int fd);
/* Costs nothing where the set is what it was. 0 waits for nothing, not even errors. */
void watch_set(struct watch *watch, unsigned events);
/*
 * Ends the watch: no callback after this. The descriptor must still be open, and may be closed at
 * once; the memory must stay until `closed` (or, where that is NULL, until the loop has turned once
 * more).
 */
void watch_close(struct watch *watch, void (*closed)(struct watch *watch));
/* The same, and cheaper, where the caller closes the descriptor right after and nobody else has it
 * (no other process, no duplicate): then the kernel forgets it by itself. */
void watch_drop(struct watch *watch, void (*closed)(struct watch *watch));

/*
 * For a socket with much to tell: the kernel is asked once for everything and tells changes only
 * (EPOLLET), which makes watch_set() free and every event cheaper. What watch_set() and the events
 * promise stays the same, whatever the handler does: what it may have left is asked for again. That
 * costs a call which it can spare by telling what it found, with the functions below. Each must be
 * true, or what is there is never told. Without watch_set_edge() they do nothing.
 */
void watch_set_edge(struct watch *watch, bool edge);
/* Reading has just failed with EAGAIN. */
static inline void watch_is_drained(struct watch *watch)
{
	watch->maybe &= WATCH_WRITE | WATCH_ERROR;
}
/* Reading from a TCP socket has just given less than there was room for. Returns whether that was
 * all: behind it may be the end of the stream, or an urgent byte, at which the kernel stops. */
static inline bool watch_is_short(struct watch *watch)
{
	if (!watch->alert)
		watch_is_drained(watch);
	return !watch->alert;
}
/* Writing has just taken less than it was given, or failed with EAGAIN. */
static inline void watch_is_full(struct watch *watch)
{
	watch->maybe &= WATCH_READ | WATCH_ERROR;
}

/*
 * Ends a watch as watch_close() does, but the kernel goes on with an edge-triggered one for whoever
 * calls watch_take() with the same descriptor until loop_give_up(): that spares both their calls.
 */
void watch_give(struct watch *watch, void (*closed)(struct watch *watch));
/* Right after watch_init(). Returns whether there was something to take; if so the watch is
 * edge-triggered. */
bool watch_take(struct watch *watch);
/* Who has not taken what was given will not: he registers anew. */
void loop_give_up(struct loop *loop);

typedef void timer_fn(struct timer *timer);

struct timer {
	struct heap_node node;
	struct loop *loop;
	timer_fn *fn;
	void (*closed)(struct timer *timer);
	enum { TIMER_OFF, TIMER_SET, TIMER_DUE } state;
};

void timer_init(struct timer *timer, struct loop *loop, timer_fn *fn);
/* Once, after `ms`; started again it begins anew. */
void timer_start(struct timer *timer, uint64_t ms);
void timer_stop(struct timer *timer);
void timer_close(struct timer *timer, void (*closed)(struct timer *timer));

struct job;

/* Slow work on the thread pool: `work` runs on a thread, `done` back in the loop. */
struct job {
	uv_work_t uv;
	void (*work)(struct job *job);
	void (*done)(struct job *job);
};

/* `job->work` and `job->done` are set; the memory must stay until `done`. Returns 0 or -errno. */
int job_start(struct job *job, struct loop *loop);

#endif
