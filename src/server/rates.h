/* SPDX-License-Identifier: MIT */
/*
 * The rates that rules grant to a UDP association: for each such rule that let a datagram pass, a
 * bucket in either direction. They exist only where a rule with `rate` was met.
 */
#ifndef TABI_SERVER_RATES_H
#define TABI_SERVER_RATES_H

#include <stddef.h>

#include "policy/bucket.h"
#include "policy/decide.h"

/* A datagram costs this beside its payload: the headers of IPv4 and UDP, or empty ones were free.
 */
#define RATE_HEADERS 28

enum rate_direction { RATE_UP, RATE_DOWN };

struct rate {
	const struct policy_rule *rule;
	struct bucket bucket[2]; /* by enum rate_direction */
};

/* Zeroed is empty. */
struct rates {
	struct rate *list; /* owned */
	size_t n;
};

void rates_fini(struct rates *all);

/* The number of the rate that this decision grants; 0 where there is no limit. Returns whether
 * there was memory for it. */
bool rates_number(struct rates *all, const struct decision *d, uint64_t now, uint16_t *ret_number);

/* May a datagram with `len` bytes of payload pass? */
bool rates_take(
    struct rates *all, uint16_t number, enum rate_direction way, size_t len, uint64_t now);

#endif
