/* SPDX-License-Identifier: MIT */
#include "net/train.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static struct ip host(uint8_t last)
{
	return ip_from_v4((const uint8_t[4]){192, 0, 2, last});
}

/* Adds it if it may be; returns whether. */
static bool add(struct train *t, uint8_t last, uint16_t port, size_t len)
{
	struct ip to = host(last);

	if (!train_takes(t, &to, port, len))
		return false;
	train_add(t, &to, port, len);
	return true;
}

static void equal_ones(void **state)
{
	struct train t = {0};
	struct ip to = host(1);

	(void)state;
	for (unsigned i = 0; i < TRAIN_MAX; i++)
		assert_true(add(&t, 1, 53, 100));
	assert_int_equal(t.n, TRAIN_MAX);
	assert_int_equal(t.segment, 100);
	assert_int_equal(t.len, 100 * TRAIN_MAX);
	assert_true(ip_equal(&t.to, &to));
	assert_int_equal(t.port, 53);
	assert_false(add(&t, 1, 53, 100));
	assert_false(add(&t, 1, 53, 1));
}

static void one_place_only(void **state)
{
	struct train t = {0};
	struct ip six = {{0x20, 1, 0xd, 0xb8}};

	(void)state;
	assert_true(add(&t, 1, 53, 100));
	assert_false(add(&t, 2, 53, 100));
	assert_false(add(&t, 1, 54, 100));
	assert_false(train_takes(&t, &six, 53, 100));
	assert_true(add(&t, 1, 53, 100));
}

static void a_shorter_one_is_the_last(void **state)
{
	struct train t = {0};

	(void)state;
	assert_true(add(&t, 1, 53, 100));
	assert_false(add(&t, 1, 53, 101));
	assert_true(add(&t, 1, 53, 100));
	assert_false(add(&t, 1, 53, 0));
	assert_true(add(&t, 1, 53, 99));
	assert_int_equal(t.len, 299);
	assert_false(add(&t, 1, 53, 99));
	assert_false(add(&t, 1, 53, 100));
	assert_false(add(&t, 1, 53, 1));
}

/* A shorter one as the second: its length is not what decides about a third. */
static void short_second(void **state)
{
	struct train t = {0};

	(void)state;
	assert_true(add(&t, 1, 53, 100));
	assert_true(add(&t, 1, 53, 50));
	assert_false(add(&t, 1, 53, 50));
	assert_false(add(&t, 1, 53, 100));
}

static void empty_ones_go_alone(void **state)
{
	struct train t = {0};

	(void)state;
	assert_true(add(&t, 1, 53, 0));
	assert_int_equal(t.n, 1);
	assert_false(add(&t, 1, 53, 0));
	assert_false(add(&t, 1, 53, 1));
}

static void as_long_as_a_packet(void **state)
{
	struct train t = {0};

	(void)state;
	assert_false(add(&t, 1, 53, TRAIN_BYTES + 1));
	assert_true(add(&t, 1, 53, TRAIN_BYTES));
	assert_false(add(&t, 1, 53, 1));
	t = (struct train){0};
	for (unsigned i = 0; i < 44; i++)
		assert_true(add(&t, 1, 53, 1472));
	/* 739 bytes are left. */
	assert_false(add(&t, 1, 53, 1472));
	assert_false(add(&t, 1, 53, 740));
	assert_true(add(&t, 1, 53, 739));
	assert_int_equal(t.len, TRAIN_BYTES);
}

/* Whatever is offered, what the kernel will make of the train is what was added. */
static void cut_as_added(void **state)
{
	uint64_t seed = 1;
	size_t sizes[TRAIN_MAX + 1];

	(void)state;
	for (unsigned round = 0; round < 20000; round++) {
		struct train t = {0};
		size_t left;

		for (unsigned i = 0; i < 200; i++) {
			size_t len;

			seed = seed * 6364136223846793005u + 1442695040888963407u;
			len = (seed >> 60) < 12 ? 700 : (size_t)(seed >> 33) % 2000;
			if (add(&t, 1, 53, len))
				sizes[t.n - 1] = len;
			assert_in_range(t.n, 1, TRAIN_MAX);
			assert_in_range(t.len, 0, TRAIN_BYTES);
		}
		left = t.len;
		for (unsigned i = 0; i < t.n; i++) {
			size_t cut = left < t.segment ? left : t.segment;

			assert_int_equal(cut, sizes[i]);
			left -= cut;
		}
		assert_int_equal(left, 0);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(equal_ones),
	    cmocka_unit_test(one_place_only),
	    cmocka_unit_test(a_shorter_one_is_the_last),
	    cmocka_unit_test(short_second),
	    cmocka_unit_test(empty_ones_go_alone),
	    cmocka_unit_test(as_long_as_a_packet),
	    cmocka_unit_test(cut_as_added),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
