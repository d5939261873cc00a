/* SPDX-License-Identifier: MIT */
#include "policy/arena.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define BLOCK_SIZE 16384
#define ALIGNMENT _Alignof(max_align_t)

struct arena_block {
	struct arena_block *next;
	size_t used, size;
	_Alignas(max_align_t) unsigned char bytes[];
};

static struct arena_block *block_new(struct arena *a, size_t size)
{
	struct arena_block *b = calloc(1, sizeof(*b) + size);

	if (!b) {
		a->failed = true;
		return NULL;
	}
	b->size = size;
	return b;
}

void *arena_alloc(struct arena *a, size_t size)
{
	struct arena_block *b = a->blocks;
	void *result;

	if (size > SIZE_MAX / 4) {
		a->failed = true;
		return NULL;
	}
	size = (size + ALIGNMENT - 1) & ~(ALIGNMENT - 1);
	if (!b || size > b->size - b->used) {
		b = block_new(a, size > BLOCK_SIZE ? size : BLOCK_SIZE);
		if (!b)
			return NULL;
		/* A large piece fills its block: what is left of the present one stays in use. */
		if (size > BLOCK_SIZE && a->blocks) {
			b->next = a->blocks->next;
			a->blocks->next = b;
		} else {
			b->next = a->blocks;
			a->blocks = b;
		}
	}
	result = b->bytes + b->used;
	b->used += size;
	return result;
}

char *arena_copy(struct arena *a, const void *bytes, size_t len)
{
	char *copy = arena_alloc(a, len + 1);

	if (copy && len > 0)
		memcpy(copy, bytes, len);
	return copy;
}

void *arena_append(struct arena *a, void *list, size_t n, size_t size)
{
	void *moved;

	/* Room is for 4 elements, then 8, 16...: full exactly where n is one of these. */
	if (n != 0 && (n < 4 || (n & (n - 1)) != 0))
		return list;
	if (n > SIZE_MAX / 8 / size) {
		a->failed = true;
		return NULL;
	}
	moved = arena_alloc(a, (n == 0 ? 4 : 2 * n) * size);
	if (moved && n > 0)
		memcpy(moved, list, n * size);
	return moved;
}

void arena_free(struct arena *a)
{
	while (a->blocks) {
		struct arena_block *next = a->blocks->next;

		/* URLs of proxies have passwords. */
		explicit_bzero(a->blocks->bytes, a->blocks->used);
		free(a->blocks);
		a->blocks = next;
	}
	a->failed = false;
}
