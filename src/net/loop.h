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

/* One per worker process. */
struct loop {
	uv_loop_t uv; /* timers and jobs */
	int epoll;    /* watches, and the descriptor by which libuv can be waited for */
	bool stopping;
	bool uv_is_due;       /* libuv has something new that it has not looked at */
	unsigned watching;    /* watches and timers not yet closed: for leak checks at the end */
	unsigned waiting;     /* watches that wait for something */
	struct watch *ended;  /* closed, to be let go of at the end of the turn */
	struct watch *broken; /* that the kernel would not wait for: told at the next turn */
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
/* Milliseconds of the monotonic clock, as of the start of this turn. */
uint64_t loop_now(const struct loop *loop);

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

struct watch;
typedef void watch_fn(struct watch *watch, unsigned events);

/* Level-triggered interest in one descriptor, which stays the caller's. 40 bytes, for every socket
 * has one. */
struct watch {
	struct loop *loop;
	watch_fn *fn; /* may be changed at any time */
	void (*closed)(struct watch *watch);
	struct watch *next; /* among the loop's ended or broken ones */
	int fd;
	uint8_t events; /* what is waited for now; read only */
	bool registered, has_ended, is_broken;
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

struct timer;
typedef void timer_fn(struct timer *timer);

struct timer {
	uv_timer_t uv;
	timer_fn *fn;
	void (*closed)(struct timer *timer);
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
