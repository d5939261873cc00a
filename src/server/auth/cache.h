/* SPDX-License-Identifier: MIT */
/*
 * Credentials that were right a moment ago, so that a browser that opens fifty connections costs
 * one password hash and not fifty.
 *
 * Theory of operation. What is kept is no password and nothing that a password could be found from
 * by somebody without the key: a keyed hash over what vouches for them, the user and the password,
 * and when it was verified. Only what was right is kept, so a wrong password always costs its hash,
 * and for CACHE_MS at most, however often it is used. There are CACHE_ENTRIES places; who was away
 * longest makes room. A look compares with all of them, in the same time wherever the hit is (a
 * few microseconds).
 *
 * The owner passes the time, of any clock that never goes back, in milliseconds.
 */
#ifndef TABI_SERVER_AUTH_CACHE_H
#define TABI_SERVER_AUTH_CACHE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "server/auth/keyed.h"

#define CACHE_ENTRIES 1024
#define CACHE_MS (5 * 60 * 1000)
/* Longest user and password. */
#define CACHE_CREDENTIAL_MAX 255

struct cache;

/* What credentials are known by. */
struct cache_digest {
	uint8_t b[KEYED_DIGEST];
};

/* Return 0 or -errno. */
int cache_new(struct cache **ret_cache);
/* Wipes it. NULL is fine. */
void cache_free(struct cache *cache);

/* `scope` tells apart under what they are right; it is not looked into. Both lengths are at most
 * CACHE_CREDENTIAL_MAX; the bytes may be any. Returns 0 or -ENOMEM. */
int cache_digest(const struct cache *cache, const void *scope, const char *user, size_t user_len,
    const char *password, size_t password_len, struct cache_digest *ret_digest);

/* Were they found right in the last CACHE_MS? */
bool cache_has(struct cache *cache, const struct cache_digest *digest, uint64_t now);
/* They were found right just now. */
void cache_add(struct cache *cache, const struct cache_digest *digest, uint64_t now);
/* Forgets all. */
void cache_drop(struct cache *cache);

#endif
