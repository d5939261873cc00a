/* SPDX-License-Identifier: MIT */
#include "cli/histogram.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

static struct histogram h;

static int set_up(void **state)
{
	(void)state;
	h = (struct histogram){0};
	return 0;
}

static void nothing_is_zero(void **state)
{
	(void)state;
	assert_int_equal(histogram_at(&h, 0), 0);
	assert_int_equal(histogram_at(&h, 0.5), 0);
	assert_int_equal(histogram_at(&h, 1), 0);
}

/* Up to 256 each value has a bucket of its own. */
static void small_values_are_exact(void **state)
{
	(void)state;
	for (uint64_t v = 1; v <= 200; v++)
		histogram_add(&h, v);
	assert_int_equal(h.n, 200);
	assert_int_equal(h.max, 200);
	assert_int_equal(histogram_at(&h, 0), 1);
	assert_int_equal(histogram_at(&h, 0.5), 100);
	assert_int_equal(histogram_at(&h, 0.99), 198);
	assert_int_equal(histogram_at(&h, 0.999), 200);
	assert_int_equal(histogram_at(&h, 1), 200);
}

/* One value below a greater one: the end of its bucket, which is above it by less than 1 in 128. */
static void every_bucket_is_narrow(void **state)
{
	(void)state;
	for (uint64_t v = 1; v < UINT64_C(1) << (HISTOGRAM_BITS - 1); v += 1 + v / 100) {
		uint64_t got;

		h = (struct histogram){0};
		histogram_add(&h, v);
		histogram_add(&h, UINT64_MAX);
		got = histogram_at(&h, 0.5);
		assert_true(got >= v);
		assert_true(got - v <= v / 128);
	}
}

/* Where one bucket ends the next begins: the edges of powers of two are where it would go wrong. */
static void edges_are_ordered(void **state)
{
	(void)state;
	for (unsigned bit = 1; bit < HISTOGRAM_BITS - 1; bit++) {
		uint64_t edge = UINT64_C(1) << bit, below;

		h = (struct histogram){0};
		histogram_add(&h, edge - 1);
		histogram_add(&h, edge);
		below = histogram_at(&h, 0.5);
		assert_int_equal(below, edge - 1);
		assert_int_equal(histogram_at(&h, 1), edge);
	}
}

static void the_greatest_is_exact(void **state)
{
	(void)state;
	histogram_add(&h, 1000001);
	assert_int_equal(histogram_at(&h, 0.5), 1000001);
	histogram_add(&h, UINT64_MAX);
	assert_int_equal(histogram_at(&h, 1), UINT64_MAX);
	histogram_add(&h, 0);
	assert_int_equal(histogram_at(&h, 0), 0);
	assert_int_equal(h.n, 3);
}

/* 999 of 1000 are quick. */
static void the_tail_is_seen(void **state)
{
	(void)state;
	for (unsigned i = 0; i < 999; i++)
		histogram_add(&h, 50);
	histogram_add(&h, 1000000);
	assert_int_equal(histogram_at(&h, 0.999), 50);
	assert_int_equal(histogram_at(&h, 0.9991), 1000000);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup(nothing_is_zero, set_up),
	    cmocka_unit_test_setup(small_values_are_exact, set_up),
	    cmocka_unit_test_setup(every_bucket_is_narrow, set_up),
	    cmocka_unit_test_setup(edges_are_ordered, set_up),
	    cmocka_unit_test_setup(the_greatest_is_exact, set_up),
	    cmocka_unit_test_setup(the_tail_is_seen, set_up),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
