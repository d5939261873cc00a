/* SPDX-License-Identifier: MIT */
#include "server/slab.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#define N 1000

struct block {
	uint8_t index;
	uint32_t mine;
	char rest[408];
};

static struct block *blocks[N];
static uint32_t seed;

static uint32_t any(uint32_t below)
{
	seed = seed * 1664525 + 1013904223;
	return (seed >> 8) % below;
}

static size_t pages_mapped(void)
{
	char text[64] = "";
	int fd = open("/proc/self/statm", O_RDONLY | O_CLOEXEC);

	/* Not by stdio, whose buffers are memory too. */
	assert_true(fd >= 0);
	assert_true(read(fd, text, sizeof(text) - 1) > 0);
	close(fd);
	return strtoul(text, NULL, 10);
}

static struct block *get(struct slab *slab, uint32_t mine)
{
	static const char zeros[sizeof(((struct block *)0)->rest)];
	struct block *b = slab_alloc(slab);

	assert_non_null(b);
	assert_int_equal((uintptr_t)b % 8, 0);
	assert_int_equal(b->mine, 0);
	assert_memory_equal(b->rest, zeros, sizeof(zeros));
	b->mine = mine;
	memset(b->rest, 0xa5, sizeof(b->rest));
	return b;
}

static void put(struct slab *slab, uint32_t i)
{
	assert_int_equal(blocks[i]->mine, i + 1);
	slab_free(slab, blocks[i]);
	blocks[i] = NULL;
}

/* No block is given twice, and what is in one stays. */
static void blocks_do_not_meet(void **state)
{
	struct slab slab;

	(void)state;
	slab_init(&slab, sizeof(struct block), offsetof(struct block, index));
	for (uint32_t step = 0; step < 50000; step++) {
		uint32_t i = any(N);

		if (blocks[i])
			put(&slab, i);
		else
			blocks[i] = get(&slab, i + 1);
	}
	for (uint32_t i = 0; i < N; i++)
		if (blocks[i])
			put(&slab, i);
	slab_fini(&slab);
}

/* All but one page go when all blocks have gone, and that one with the slab. */
static void memory_is_given_back(void **state)
{
	struct slab slab;
	size_t before;

	(void)state;
	if (!slab_has_pages())
		skip();
	slab_init(&slab, sizeof(struct block), offsetof(struct block, index));
	slab_free(&slab, get(&slab, 1));
	before = pages_mapped();
	for (int round = 0; round < 3; round++) {
		for (uint32_t i = 0; i < N; i++)
			blocks[i] = get(&slab, i + 1);
		assert_true(pages_mapped() >= before + N * sizeof(struct block) / 4096 - 4);
		for (uint32_t i = 0; i < N; i++)
			put(&slab, i);
		assert_true(pages_mapped() <= before);
	}
	slab_fini(&slab);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(blocks_do_not_meet),
	    cmocka_unit_test(memory_is_given_back),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
