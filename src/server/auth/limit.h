/* SPDX-License-Identifier: MIT */
/*
 * How often somebody may be wrong.
 *
 * Theory of operation. Every source (IPv4 address or IPv6 /64) and every user name has a bucket of
 * tokens: LIMIT_BURST at first, and LIMIT_PER_SECOND come back. A check takes one of each before
 * anything is looked at, and gets them back if it was right; so what is bounded is the number of
 * wrong tries, and no number of tries at once goes beyond it. Who gets none has to wait.
 *
 * A source without tokens waits, whoever it names. A name without tokens must not make everybody
 * wait who has that name, or a guesser could lock its owner out: only sources that were wrong
 * themselves in the last LIMIT_LATELY_MS wait for a name. So many sources that guess at one user
 * share that user's tokens, but for one try each in that time, while the owner at a source of his
 * own notices nothing; if he mistypes just then, he may have to wait for as long as that at most.
 * Somebody behind the same address as a guesser waits with him: they cannot be told apart.
 *
 * Being right is no pardon for having been wrong: a guesser may have an account of his own.
 *
 * The kernel spreads the connections of a source over all workers, so each worker admits its share.
 * The tables have a fixed size, and are found by a keyed hash, so nobody can aim at another's place
 * or choose who is forgotten. A new one takes the place of the longest unused of LIMIT_WAYS.
 *
 * The owner passes the time, of any clock that never goes back, in milliseconds.
 */
#ifndef TABI_SERVER_AUTH_LIMIT_H
#define TABI_SERVER_AUTH_LIMIT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/addr.h"

#define LIMIT_PER_SECOND 10
#define LIMIT_BURST 20
#define LIMIT_LATELY_MS (60 * 1000)
/* Sources, and again user names, that are remembered. */
#define LIMIT_ENTRIES 4096
#define LIMIT_WAYS 8

struct limit;

/* By what a source and a user are found; made once for each check. */
struct limit_key {
	uint64_t source, user;
	bool from_user; /* its last limit_take() got a token of the user too */
};

/* Of one of so many workers. Returns 0 or -errno. */
int limit_new(struct limit **ret_limit, unsigned workers);
/* NULL is fine. */
void limit_free(struct limit *limit);

/* `user` is up to 255 bytes of any value. Returns 0 or -ENOMEM. */
int limit_key(const struct limit *limit, const struct ip *source, const char *user, size_t user_len,
    struct limit_key *ret_key);

/* May it be tried now? If so the tokens are taken, and limit_right() or limit_wrong() is to
 * follow; or neither, where nobody waits for the answer any more. */
bool limit_take(struct limit *limit, struct limit_key *key, uint64_t now);
void limit_right(struct limit *limit, const struct limit_key *key);
void limit_wrong(struct limit *limit, const struct limit_key *key, uint64_t now);

#endif
