/* SPDX-License-Identifier: MIT */
/* A hash table from strings to pointers, which is asked for every suffix of a host name. */
#ifndef TABI_POLICY_TABLE_H
#define TABI_POLICY_TABLE_H

#include <stdint.h>

#include "policy/arena.h"

struct table_slot {
	const char *key; /* NULL: free */
	size_t len;
	uint32_t hash;
	void *value;
};

/* Starts zeroed; lives on an arena. */
struct table {
	struct table_slot *slots;
	size_t n, size; /* `size` is 0 or a power of two */
};

/*
 * Hashes run from the last byte to the first, so that one walk over a name gives the hash of each
 * of its suffixes: begin with TABLE_HASH_START and feed bytes backwards.
 */
#define TABLE_HASH_START 2166136261u
uint32_t table_hash_step(uint32_t hash, char c);
uint32_t table_hash(const char *key, size_t len);

/* The value of `key`, or NULL. */
void *table_get(const struct table *t, const char *key, size_t len);
void *table_get_hashed(const struct table *t, uint32_t hash, const char *key, size_t len);

/* Adds a key that is not there yet; it and the value must live as long as the table. Returns
 * whether there was memory. */
bool table_put(struct table *t, struct arena *a, const char *key, size_t len, void *value);

#endif
