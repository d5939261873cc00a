/* SPDX-License-Identifier: MIT */
/*
 * The remotes of a UDP association: what was decided about each, and whether it was sent to.
 *
 * Theory of operation. A set-associative table: a remote's hash chooses a set of REMOTE_WAYS
 * entries, one of which it may take. Where all are in use the table doubles, up to REMOTES_MAX;
 * then the one that was used longest ago gives way. So a look-up is a few comparisons, memory is
 * bounded, and an association with one remote costs as little as it should. Nobody but the client
 * fills it, and to choose colliding remotes harms only himself.
 */
#ifndef TABI_SERVER_REMOTES_H
#define TABI_SERVER_REMOTES_H

#include "proto/addr.h"
#include "server/grant.h"

#define REMOTE_WAYS 8
#define REMOTES_MAX 1024

struct remote {
	struct ip ip;
	uint16_t port;
	bool known;     /* the entry is in use */
	bool allowed;   /* the verdict, while `until` lies ahead */
	bool sent;      /* something was sent there */
	bool relay;     /* it is a relay of ours, as of `generation` */
	uint8_t filter; /* enum udp_filter, the widest that a rule granted when sending there */
	/* With `allowed`: what the verdict on the address grants. A name that leads here has a
	 * grant of its own. */
	struct grant grant;
	/* Of the newest datagram, whichever grant it had: the way on which answers come, and the
	 * number in struct rates. */
	const struct policy_proxy *via;
	uint16_t rate;
	uint32_t generation;
	uint64_t until;  /* loop time until which the verdict holds; 0: none was asked for */
	uint64_t used;   /* loop time */
	uint64_t failed; /* loop time when the log was last told of ICMP's errors; 0: never */
};

/* Zeroed is empty. */
struct remotes {
	struct remote *list; /* owned */
	size_t n_sets;       /* 0 or a power of two */
};

void remotes_fini(struct remotes *all);

/* Both: valid until the next remotes_get(). NULL where it is not there. */
struct remote *remotes_find(const struct remotes *all, const struct ip *ip, uint16_t port);
/* Makes an entry where there is none. `old` is a time: what was used before need not stay. NULL
 * without memory. */
struct remote *remotes_get(
    struct remotes *all, const struct ip *ip, uint16_t port, uint64_t now, uint64_t old);

/* One of that address, at whatever port, to which something was sent by that way under a filter at
 * least as wide; or NULL. */
struct remote *remotes_find_address(const struct remotes *all, const struct ip *ip,
    const struct policy_proxy *via, unsigned filter);

#endif
