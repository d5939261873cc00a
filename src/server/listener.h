/* SPDX-License-Identifier: MIT */
/* The worker's side of listening: accepting, and resting while there is no room. */
#ifndef TABI_SERVER_LISTENER_H
#define TABI_SERVER_LISTENER_H

#include "net/loop.h"
#include "policy/policy.h"
#include "proto/addr.h"

struct worker;

struct listener {
	struct watch watch;
	struct listeners *all;
	const struct policy_listener *said; /* in the policy of the worker's configuration */
	int fd;                             /* owned */
};

/*
 * All listeners of a worker. They rest (wait for nothing) while the worker has all the sessions
 * that its descriptors suffice for, or the system will not let it accept (no descriptor, no memory,
 * a security module): level-triggered polling would otherwise report the waiting connection again
 * and again.
 */
struct listeners {
	struct worker *worker;
	struct listener **list; /* owned */
	size_t n;
	bool resting;
	struct timer retry;   /* while resting because of the system */
	uint64_t quiet_until; /* loop_now(): the log has heard of it and need not yet again */
};

void listeners_init(struct listeners *all, struct worker *worker);
void listeners_fini(struct listeners *all);

/*
 * Replaces the set. `fds` become the listeners', also on failure; `place` tells for each its
 * listener in `policy`. Returns 0 or -errno (then there are none).
 */
int listeners_replace(struct listeners *all, const struct policy *policy, const int *fds,
    const uint8_t *place, size_t n);

/* Accept no more, close the sockets. */
void listeners_close(struct listeners *all);

/* Has the worker all the sessions that it has descriptors for? */
bool listeners_full(const struct worker *worker);

/* There may be room again. */
void listeners_wake(struct listeners *all);

/* Do we listen on this port, on whatever address? Of `policy`, for the rule about `self`. */
bool listeners_have_port(const struct policy *policy, uint16_t port);

/*
 * accept(2): is this error about the connection that was to be accepted, and gone with it? With any
 * other it still waits, and is reported again: when something is lacking, and when a security
 * module forbids.
 */
bool accept_error_is_gone(int err);

#endif
