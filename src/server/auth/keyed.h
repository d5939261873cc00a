/* SPDX-License-Identifier: MIT */
/* A keyed hash (HMAC-SHA-256) whose key nobody outside of this process knows. */
#ifndef TABI_SERVER_AUTH_KEYED_H
#define TABI_SERVER_AUTH_KEYED_H

#include <stddef.h>
#include <stdint.h>

#define KEYED_DIGEST 32

struct keyed {
	uint8_t key[KEYED_DIGEST];
};

/* A new random key. Returns 0 or -errno. */
int keyed_init(struct keyed *keyed);
/* Wipes the key: what was hashed with it says nothing any more. */
void keyed_fini(struct keyed *keyed);

/* Keeps no copy of `data`. Returns 0 or -ENOMEM. */
int keyed_hash(const struct keyed *keyed, const void *data, size_t len,
    uint8_t ret_digest[static KEYED_DIGEST]);

#endif
