/* SPDX-License-Identifier: MIT */
/* Memory that is taken piece by piece and given back all at once: what a policy hangs on. */
#ifndef TABI_POLICY_ARENA_H
#define TABI_POLICY_ARENA_H

#include <stdbool.h>
#include <stddef.h>

struct arena_block;

/* Starts zeroed. `failed` stays set once memory ran out, so that a parser may check it late. */
struct arena {
	struct arena_block *blocks;
	bool failed;
};

/* Zeroed memory, aligned for any type; NULL where there is none. */
void *arena_alloc(struct arena *a, size_t size);

/* A copy of `len` bytes with a NUL behind them. */
char *arena_copy(struct arena *a, const void *bytes, size_t len);

/*
 * For lists that grow one by one: returns `list`, which has `n` elements of `size` bytes, with room
 * for one more; perhaps moved. NULL where there is no memory.
 */
void *arena_append(struct arena *a, void *list, size_t n, size_t size);

/* Frees everything taken; the arena may then be used again. */
void arena_free(struct arena *a);

#endif
