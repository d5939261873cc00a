/* SPDX-License-Identifier: MIT */
#include "policy/bucket.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static void starts_full(void **state)
{
	struct bucket b;

	(void)state;
	bucket_init(&b, 1, 1000);
	assert_false(bucket_take(&b, BUCKET_LEAST + 1, 1000));
	assert_true(bucket_take(&b, BUCKET_LEAST, 1000));
	assert_false(bucket_take(&b, 1, 1999));
	assert_true(bucket_take(&b, 1, 2000));
	assert_true(bucket_take(&b, 0, 2000));
}

/* A quarter of a second's worth, where that is more. */
static void holds_a_quarter_of_a_second(void **state)
{
	struct bucket b;

	(void)state;
	bucket_init(&b, 4000000, 0);
	assert_false(bucket_take(&b, 1000001, 0));
	assert_true(bucket_take(&b, 1000000, 0));
	assert_false(bucket_take(&b, 4001, 1));
	assert_true(bucket_take(&b, 4000, 1));
	/* However long it rests. */
	assert_false(bucket_take(&b, 1000001, UINT64_MAX));
	assert_true(bucket_take(&b, 1000000, UINT64_MAX));
}

/* In any time: what it held, and what the rate gives. In steps of any size the same. */
static void keeps_the_rate(void **state)
{
	static const unsigned steps[] = {1, 3, 7, 100, 999, 60000};
	const uint64_t rate = 250000;

	(void)state;
	for (size_t i = 0; i < sizeof(steps) / sizeof(steps[0]); i++) {
		uint64_t passed = 0, now = 0;
		struct bucket b;

		bucket_init(&b, rate, now);
		for (; now < 60000; now += steps[i])
			while (bucket_take(&b, 172, now))
				passed += 172;
		assert_true(passed <= BUCKET_LEAST + rate * 60);
		if (steps[i] < 100)
			assert_true(passed >= BUCKET_LEAST + rate * 59);
	}
}

static void a_clock_that_runs_back(void **state)
{
	struct bucket b;

	(void)state;
	bucket_init(&b, 1000, 5000);
	assert_true(bucket_take(&b, BUCKET_LEAST, 5000));
	assert_false(bucket_take(&b, 1, 0));
	assert_false(bucket_take(&b, 1, 5000));
	assert_true(bucket_take(&b, 1, 5001));
}

static void enormous(void **state)
{
	struct bucket b;

	(void)state;
	bucket_init(&b, UINT64_MAX, 0);
	assert_true(bucket_take(&b, (uint64_t)1 << 48, 0));
	assert_false(bucket_take(&b, 1, 0));
	assert_true(bucket_take(&b, (uint64_t)1 << 40, 1));
	assert_false(bucket_take(&b, UINT64_MAX, UINT64_MAX));
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
	    cmocka_unit_test(starts_full),
	    cmocka_unit_test(holds_a_quarter_of_a_second),
	    cmocka_unit_test(keeps_the_rate),
	    cmocka_unit_test(a_clock_that_runs_back),
	    cmocka_unit_test(enormous),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
