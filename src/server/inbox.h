/* SPDX-License-Identifier: MIT */
/*
 * Connections that one worker accepts and another serves, so that all have their share.
 *
 * Theory of operation. The kernel spreads connections over the workers' listening sockets by a
 * hash, which is fair to thousands and unfair to few: of eight, six may come to one of two workers.
 * So each worker tells in shared memory how many sessions it has, in a column that nobody else
 * writes while it lives; and one that accepts a connection while another has clearly fewer sessions
 * hands the descriptor over before the first byte is read. It goes into the other's inbox, a
 * socketpair of packets that the supervisor keeps, as it keeps the listening sockets: what lies in
 * the inbox of a worker that dies is served by its successor. Whatever goes wrong, who accepted it
 * serves it.
 *
 * "Clearly" grows with the sessions that a worker has and with those that have just ended: many
 * sessions, or many short ones, are even enough by the hash, and to hand them around costs more
 * than it brings. For few that stay, it is one session.
 *
 * A connection is handed only to who serves the same configuration, known by its generation. One
 * that a reload overtakes on its way finds its listener by name, and where that is gone it is
 * closed, as are those that wait in the queue of such a listener.
 *
 * Workers trust each other here as far as they must anyway: they are one user, and one gone mad may
 * kill the others. What it writes into the shared memory can make the spread uneven, no more.
 */
#ifndef TABI_SERVER_INBOX_H
#define TABI_SERVER_INBOX_H

#include <stdbool.h>
#include <stdint.h>

#include "net/loop.h"
#include "policy/policy.h"
#include "proto/addr.h"

#define INBOX_WORKERS_MAX 256

struct worker;

/* ---- for the supervisor ---- */

/* Once, before the first worker. With one worker nothing is made. Returns 0 or -errno; then there
 * are none, and each worker serves what it accepts. */
int inbox_setup(unsigned workers);
void inbox_fini(void);

/* In the new process of that worker: closes all descriptors from `first` on but its own inbox and
 * the ways to the others. `first` is 4 at most. Returns 0 or -errno. */
int inbox_keep(unsigned worker, unsigned first);

/* That worker is dead: it has no session, and nothing is handed to it until its successor serves.
 */
void inbox_clear(unsigned worker);

/* It will have no successor: what lies in its inbox is closed, and nothing gets into it. */
void inbox_shut(unsigned worker);

/* ---- for a worker ---- */

struct inbox {
	struct watch watch;
	struct worker *worker;
	int fd;            /* -1: none */
	uint32_t serving;  /* generation; 0: none */
	bool open, taking; /* others may hand something over; inbox_take() is under way */
	/* Sessions that ended in the second from `counted_from` on, and in the one before. */
	uint64_t counted_from; /* loop_now() */
	unsigned ended, ended_before;
};

/* Returns 0 or -errno. It rests until inbox_open(). */
int inbox_init(struct inbox *inbox, struct worker *worker);
/* Takes no more, and nothing is handed to us. Idempotent. */
void inbox_close(struct inbox *inbox);

/* This configuration is served from now on. */
void inbox_serve(struct inbox *inbox, uint32_t generation);
/* There is room for sessions, or there is none: others need not know why. */
void inbox_open(struct inbox *inbox);
void inbox_rest(struct inbox *inbox);

/* Begins the sessions of all that lies there, or of as many as there is room for. */
void inbox_take(struct inbox *inbox);

/* What a worker has open for its own inbox and the ways to the others. */
unsigned inbox_descriptors(void);

/* The worker has so many sessions now. */
void inbox_count(struct inbox *inbox, unsigned sessions);

/* Would one that we have no room for be handed over? Others are taken to have as much room. */
bool inbox_others(const struct inbox *inbox);

/*
 * Hands a connection that was just accepted to a worker with fewer sessions; `peer` as in
 * session_begin(). Returns whether it did: then `fd` is closed here. If not, nothing has changed.
 */
bool inbox_pass(
    struct inbox *inbox, const struct policy_listener *listener, int fd, const struct addr *peer);

#endif
