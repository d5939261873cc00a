/* SPDX-License-Identifier: MIT */
/*
 * Which member of a group of proxies serves the next session, and which are let alone for a while.
 *
 * Theory of operation. Nobody asks proxies whether they are well: what becomes of the sessions that
 * go through them tells. One that fails is left alone for BALANCE_REST_MIN_MS, and each time it
 * fails its trial twice as long, up to BALANCE_REST_MAX_MS. Once that is over one session tries it,
 * while the others keep to the rest of the group; when it works it is a member like any other.
 * Where all members rest, they are tried all the same: the one first that was to be tried next.
 */
#ifndef TABI_POLICY_BALANCE_H
#define TABI_POLICY_BALANCE_H

#include <stdbool.h>
#include <stddef.h>

#include "policy/policy.h"

#define BALANCE_REST_MIN_MS 1000
#define BALANCE_REST_MAX_MS 60000

/* What is remembered of a member; zeroed at first. */
struct balance_member {
	uint64_t id;       /* for BALANCE_HASH: the same for the same proxy, whatever its place */
	uint64_t rests_to; /* in milliseconds of the caller's clock; of no meaning while well */
	uint32_t sessions; /* that go through it */
	uint8_t failures;  /* in a row; 0: it is well */
	bool tried;        /* one session is trying whether it is well again */
};

/* An id from what the member is called. */
uint64_t balance_id(const char *text);

/* Whom BALANCE_HASH sees: the bytes of a user's name, or of an address. */
uint64_t balance_key(const void *bytes, size_t len);

/* A number of which every bit hangs on every bit of `x`. */
uint64_t balance_mix(uint64_t x);

struct balance_request {
	enum balance how;
	uint64_t now;    /* milliseconds */
	uint64_t key;    /* of BALANCE_HASH: whose session it is */
	uint64_t chance; /* of BALANCE_RANDOM, and where several are equal: any number */
	uint64_t failed; /* bit n: this session has tried member n already */
};

#define BALANCE_NONE ((size_t)-1)

/* Returns the member to try, or BALANCE_NONE when all have been tried. n <= POLICY_MEMBERS_MAX. */
size_t balance_choose(
    const struct balance_request *request, const struct balance_member *const *members, size_t n);

/* A session begins to use the member that was chosen. */
void balance_begin(struct balance_member *member, uint64_t now);

/* It turned out to work, or not. Return whether that is news. */
bool balance_worked(struct balance_member *member);
bool balance_failed(struct balance_member *member, uint64_t now);

/* The session does not know, for it went no further or for reasons of its own. */
void balance_unknown(struct balance_member *member);

/* The session has ended, or goes on with another member. */
void balance_end(struct balance_member *member);

#endif
