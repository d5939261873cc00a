/* SPDX-License-Identifier: MIT */
#include "net/heap.h"

#include <stddef.h>

/* Two roots become one: that with the higher key is the other's first child. Either may be NULL. */
static struct heap_node *merge(struct heap_node *a, struct heap_node *b)
{
	if (!a || !b)
		return a ? a : b;
	if (b->key < a->key) {
		struct heap_node *lower = b;

		b = a;
		a = lower;
	}
	b->prev = a;
	b->next = a->child;
	if (b->next)
		b->next->prev = b;
	a->child = b;
	return a;
}

static struct heap_node *detach(struct heap_node *node)
{
	node->next = node->prev = NULL;
	return node;
}

/*
 * The siblings from `list` on become one: first in pairs from left to right, then the pairs from
 * right to left, which is what makes the heap flat. The pairs wait in a list through `next`.
 */
static struct heap_node *merge_siblings(struct heap_node *list)
{
	struct heap_node *pairs = NULL, *root = NULL;

	while (list) {
		struct heap_node *a = list, *b = a->next, *pair;

		list = b ? b->next : NULL;
		pair = merge(detach(a), b ? detach(b) : NULL);
		pair->next = pairs;
		pairs = pair;
	}
	while (pairs) {
		struct heap_node *pair = pairs;

		pairs = pair->next;
		root = merge(root, detach(pair));
	}
	return root;
}

void heap_add(struct heap *heap, struct heap_node *node)
{
	node->child = node->next = node->prev = NULL;
	heap->first = merge(heap->first, node);
}

void heap_remove(struct heap *heap, struct heap_node *node)
{
	struct heap_node *below = merge_siblings(node->child);

	node->child = NULL;
	if (node == heap->first) {
		heap->first = below;
		return;
	}
	if (node->prev->child == node)
		node->prev->child = node->next;
	else
		node->prev->next = node->next;
	if (node->next)
		node->next->prev = node->prev;
	detach(node);
	heap->first = merge(heap->first, below);
}
