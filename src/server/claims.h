/* SPDX-License-Identifier: MIT */
/*
 * Who claims which source of datagrams, where many clients send to one port.
 *
 * Theory of operation. A hash table of lists that lead through the claims themselves, so that to
 * make a claim takes no memory; the table alone grows with their number, and where it cannot, lists
 * get longer. Claims to the same source stay in the order in which they were made.
 */
#ifndef TABI_SERVER_CLAIMS_H
#define TABI_SERVER_CLAIMS_H

#include <stddef.h>

#include "proto/addr.h"

enum claim_kind {
	CLAIM_HEARD, /* it was heard from there; with port 0: from whichever port is heard next */
	CLAIM_DECLARED, /* it said that it would send from there */
};

/* Embedded in whatever claims; not to be moved while it is in a table. */
struct claim {
	struct claim *prev, *next;
	struct ip ip;
	uint16_t port;
	uint8_t kind; /* enum claim_kind */
	bool made;    /* it is in a table */
};

struct claim_list {
	struct claim *first, *last;
};

/* Zeroed is empty. */
struct claims {
	struct claim_list one;   /* as long as there are few */
	struct claim_list *list; /* owned; NULL: `one` */
	size_t n_lists;          /* of `list`: a power of two */
	size_t n;
};

/* Those that are still made are forgotten. */
void claims_fini(struct claims *all);

/* Behind those to the same source. */
void claim_make(struct claims *all, struct claim *claim, enum claim_kind kind, const struct ip *ip,
    uint16_t port);
/* Nothing where it is not made. */
void claim_drop(struct claims *all, struct claim *claim);
/* The oldest one, or NULL. */
struct claim *claims_find(
    const struct claims *all, enum claim_kind kind, const struct ip *ip, uint16_t port);

#endif
