/* SPDX-License-Identifier: MIT */
#include "policy/balance.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#define N 3

static struct balance_member members[N];
static const struct balance_member *const list[N] = {&members[0], &members[1], &members[2]};
static struct balance_request request;

static int set_up(void **state)
{
	static const char *const names[N] = {"a.test:1080", "b.test:1080", "c.test:1080"};

	(void)state;
	for (size_t i = 0; i < N; i++)
		members[i] = (struct balance_member){.id = balance_id(names[i])};
	request = (struct balance_request){.how = BALANCE_FIRST, .now = 5000};
	return 0;
}

static size_t choose(void)
{
	return balance_choose(&request, list, N);
}

/* A session tries the member and fails. */
static bool fails(size_t i)
{
	bool news;

	balance_begin(&members[i], request.now);
	news = balance_failed(&members[i], request.now);
	balance_end(&members[i]);
	return news;
}

static void first_in_order(void **state)
{
	(void)state;
	assert_int_equal(choose(), 0);
	request.failed = 1;
	assert_int_equal(choose(), 1);
	request.failed = 3;
	assert_int_equal(choose(), 2);
	request.failed = 7;
	assert_int_equal(choose(), BALANCE_NONE);
}

static void random_is_even(void **state)
{
	unsigned counts[N] = {0};

	(void)state;
	request.how = BALANCE_RANDOM;
	for (request.chance = 0; request.chance < 30000; request.chance++)
		counts[choose()]++;
	for (size_t i = 0; i < N; i++)
		assert_in_range(counts[i], 9500, 10500);
}

static void least_sessions(void **state)
{
	unsigned counts[N] = {0};

	(void)state;
	request.how = BALANCE_LEAST;
	members[0].sessions = 2;
	members[1].sessions = 1;
	members[2].sessions = 3;
	assert_int_equal(choose(), 1);
	balance_begin(&members[1], request.now);
	members[2].sessions = 2;
	for (request.chance = 0; request.chance < 3000; request.chance++)
		counts[choose()]++;
	for (size_t i = 0; i < N; i++)
		assert_in_range(counts[i], 850, 1150);
	balance_end(&members[0]);
	assert_int_equal(choose(), 0);
}

/* Evenly spread; and a member that goes takes nobody else's clients from where they are. */
static void hash_is_sticky(void **state)
{
	unsigned counts[N] = {0}, moved[N] = {0};

	(void)state;
	request.how = BALANCE_HASH;
	for (unsigned i = 0; i < 30000; i++) {
		size_t before, after;

		request.key = balance_key(&i, sizeof(i));
		request.chance = i;
		request.failed = 0;
		before = choose();
		assert_int_equal(choose(), before);
		request.failed = 1 << 1;
		after = choose();
		counts[before]++;
		if (before == 1)
			moved[after]++;
		else
			assert_int_equal(after, before);
	}
	for (size_t i = 0; i < N; i++)
		assert_in_range(counts[i], 9500, 10500);
	assert_in_range(moved[0], 4500, 5500);
	assert_in_range(moved[2], 4500, 5500);
}

/* The same proxy gets the same clients wherever its line stands. */
static void hash_goes_by_name(void **state)
{
	const struct balance_member *const turned[N] = {list[2], list[0], list[1]};

	(void)state;
	request.how = BALANCE_HASH;
	for (request.key = 1; request.key < 1000; request.key++)
		assert_ptr_equal(turned[balance_choose(&request, turned, N)], list[choose()]);
}

static void dead_one_is_left_alone(void **state)
{
	(void)state;
	assert_true(fails(0));
	assert_int_equal(choose(), 1);
	request.now += BALANCE_REST_MIN_MS - 1;
	assert_int_equal(choose(), 1);
	request.now++;
	assert_int_equal(choose(), 0);
}

/* Twice as long each time, and never longer than the longest. */
static void rests_grow(void **state)
{
	static const uint64_t rests[] = {1000, 2000, 4000, 8000, 16000, 32000, 60000, 60000};

	(void)state;
	for (size_t i = 0; i < sizeof(rests) / sizeof(rests[0]); i++) {
		assert_true(fails(0));
		request.now += rests[i] - 1;
		assert_int_equal(choose(), 1);
		request.now++;
		assert_int_equal(choose(), 0);
	}
	for (int i = 0; i < 300; i++, request.now += BALANCE_REST_MAX_MS)
		fails(0);
	request.now--;
	assert_int_equal(choose(), 1);
}

/* A hundred sessions that meet one failure are one failure. */
static void failure_counts_once(void **state)
{
	(void)state;
	for (int i = 0; i < 100; i++)
		balance_begin(&members[0], request.now);
	assert_true(balance_failed(&members[0], request.now));
	for (int i = 0; i < 99; i++)
		assert_false(balance_failed(&members[0], request.now + 5));
	request.now += BALANCE_REST_MIN_MS;
	assert_int_equal(choose(), 0);
}

/* One session finds out, the others wait for its news. */
static void one_trial(void **state)
{
	(void)state;
	fails(0);
	request.now += BALANCE_REST_MIN_MS;
	assert_int_equal(choose(), 0);
	balance_begin(&members[0], request.now);
	assert_int_equal(choose(), 1);
	assert_true(balance_worked(&members[0]));
	assert_int_equal(choose(), 0);
	assert_false(balance_worked(&members[0]));
	/* It starts from the beginning. */
	fails(0);
	request.now += BALANCE_REST_MIN_MS;
	assert_int_equal(choose(), 0);
}

/* Whoever tried it left before there were news: another may. */
static void trial_without_result(void **state)
{
	(void)state;
	fails(0);
	request.now += BALANCE_REST_MIN_MS;
	balance_begin(&members[0], request.now);
	assert_int_equal(choose(), 1);
	balance_unknown(&members[0]);
	balance_end(&members[0]);
	assert_int_equal(choose(), 0);
}

/* Whether there is anything to lose: all are tried, the one that has rested longest first. */
static void all_dead(void **state)
{
	(void)state;
	fails(1);
	request.now += 10;
	fails(2);
	request.now += 10;
	fails(0);
	assert_int_equal(choose(), 1);
	request.failed = 1 << 1;
	assert_int_equal(choose(), 2);
	request.failed |= 1 << 2;
	assert_int_equal(choose(), 0);
}

static void last_of_64(void **state)
{
	static struct balance_member many[POLICY_MEMBERS_MAX];
	const struct balance_member *all[POLICY_MEMBERS_MAX];

	(void)state;
	for (size_t i = 0; i < POLICY_MEMBERS_MAX; i++)
		all[i] = &many[i];
	request.failed = UINT64_MAX >> 1;
	assert_int_equal(balance_choose(&request, all, POLICY_MEMBERS_MAX), 63);
	request.failed = UINT64_MAX;
	assert_int_equal(balance_choose(&request, all, POLICY_MEMBERS_MAX), BALANCE_NONE);
	assert_int_equal(balance_choose(&request, all, 0), BALANCE_NONE);
}

#define TEST(f) cmocka_unit_test_setup(f, set_up)

int main(void)
{
	static const struct CMUnitTest tests[] = {
	    TEST(first_in_order),
	    TEST(random_is_even),
	    TEST(least_sessions),
	    TEST(hash_is_sticky),
	    TEST(hash_goes_by_name),
	    TEST(dead_one_is_left_alone),
	    TEST(rests_grow),
	    TEST(failure_counts_once),
	    TEST(one_trial),
	    TEST(trial_without_result),
	    TEST(all_dead),
	    TEST(last_of_64),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
