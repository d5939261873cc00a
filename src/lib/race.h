/* SPDX-License-Identifier: MIT */
/*
 * Connecting to the first of several addresses that answers (RFC 8305, Happy Eyeballs).
 *
 * Families alternate; another attempt is begun 250 ms after the last one, or as soon as one has
 * failed, and those before go on. The first that stands is taken and the others are closed.
 */
#ifndef TABI_LIB_RACE_H
#define TABI_LIB_RACE_H

#include "lib/os.h"

#define RACE_MAX 16

struct race {
	struct tabi_address to[RACE_MAX];
	int n;
	int begun;                 /* those before were */
	tabi_socket fds[RACE_MAX]; /* of those begun; TABI_NO_SOCKET: failed */
	int flying;
	uint64_t next; /* the next one is begun then */
	int err;       /* the most telling failure, -errno */
	tabi_socket group;
	unsigned changes; /* grows with each attempt that is begun or has failed */
};

/* Zeros will do for a race that nobody has set: race_stop() of it is fine. */

/* Whom to connect to: the first `n` of at most RACE_MAX, all at `port`, in the order of preference.
 * Nothing is begun. */
void race_set(struct race *race, const struct tabi_address *addresses, int n, uint16_t port);

/* Begins, once more too; whoever won the last time goes first. */
void race_start(struct race *race);

/*
 * Goes on. Returns 1 with a connected socket, the caller's; 0 while it has to wait; or -errno when
 * no attempt is left: what this host is short of, then what says most of the proxy.
 */
int race_step(struct race *race, tabi_socket *ret_fd);

/* Closes all that it has opened. */
void race_stop(struct race *race);

/* When race_step() is to be called again at the latest, by os_now(); UINT64_MAX: no need. */
uint64_t race_next(const struct race *race);

/* What to wait for, up to RACE_MAX. Returns how many. */
int race_waits(const struct race *race, struct os_wait *ret_waits);

/* The same as one descriptor; where the system has no such thing it is that of the last attempt,
 * and race_next() is soon. `*ret_events` is what to wait for. */
tabi_socket race_fd(const struct race *race, int *ret_events);

#endif
