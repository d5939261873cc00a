/* SPDX-License-Identifier: MIT */
#include "net/heap.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

#define N 500

static uint32_t seed;

static uint32_t any(uint32_t below)
{
	seed = seed * 1664525 + 1013904223;
	return (seed >> 8) % below;
}

static uint64_t lowest(const struct heap_node *nodes, const bool *in)
{
	uint64_t key = UINT64_MAX;

	for (int i = 0; i < N; i++)
		if (in[i] && nodes[i].key < key)
			key = nodes[i].key;
	return key;
}

/* Against a plain search, with many equal keys, taking out the first and any other. */
static void first_is_the_lowest(void **state)
{
	static struct heap_node nodes[N];
	static bool in[N];
	struct heap heap = {NULL};

	(void)state;
	for (seed = 1; seed < 4; seed++)
		for (int step = 0; step < 20000; step++) {
			uint32_t i = any(N);

			if (!in[i]) {
				nodes[i].key = any(100);
				heap_add(&heap, &nodes[i]);
				in[i] = true;
			} else if (any(2)) {
				heap_remove(&heap, &nodes[i]);
				in[i] = false;
			} else {
				in[heap.first - nodes] = false;
				heap_remove(&heap, heap.first);
			}
			assert_true(heap.first ? heap.first->key == lowest(nodes, in)
					       : lowest(nodes, in) == UINT64_MAX);
		}
	while (heap.first)
		heap_remove(&heap, heap.first);
	assert_null(heap.first);
}

static void comes_out_in_order(void **state)
{
	static struct heap_node nodes[N];
	struct heap heap = {NULL};
	uint64_t last = 0;
	int n = 0;

	(void)state;
	for (int i = 0; i < N; i++) {
		nodes[i].key = any(1000);
		heap_add(&heap, &nodes[i]);
	}
	for (; heap.first; n++) {
		assert_true(heap.first->key >= last);
		last = heap.first->key;
		heap_remove(&heap, heap.first);
	}
	assert_int_equal(n, N);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(first_is_the_lowest),
	    cmocka_unit_test(comes_out_in_order),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
