/* SPDX-License-Identifier: MIT */
/*
 * What is due first: a heap whose nodes lie in what they stand for, so that adding never fails.
 *
 * A pairing heap: adding and looking at the first take constant time, taking any out O(log n) on
 * average.
 */
#ifndef TABI_NET_HEAP_H
#define TABI_NET_HEAP_H

#include <stdint.h>

struct heap_node {
	uint64_t key;
	struct heap_node *child; /* the first */
	struct heap_node *next;  /* among its siblings */
	struct heap_node *prev;  /* the sibling before it, of the first child its parent */
};

struct heap {
	struct heap_node *first; /* one with the lowest key; NULL when empty */
};

/* `node->key` is set, and stays as it is while the node is in a heap. */
void heap_add(struct heap *heap, struct heap_node *node);
/* It is in this heap. */
void heap_remove(struct heap *heap, struct heap_node *node);

#endif
