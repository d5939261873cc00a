/* SPDX-License-Identifier: MIT */
/* How many wrong tries get through, whose, and whom that does not concern. */
#include "server/auth/limit.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#define BEGIN 1000
#define SECOND 1000

static struct limit *limit;

static int make(void **state)
{
	(void)state;
	return limit_new(&limit, 1);
}

static int discard(void **state)
{
	(void)state;
	limit_free(limit);
	return 0;
}

static struct ip source(unsigned n)
{
	const uint8_t v4[4] = {10, (uint8_t)(n >> 16), (uint8_t)(n >> 8), (uint8_t)n};

	return ip_from_v4(v4);
}

static struct limit_key key_of(const struct ip *ip, const char *user)
{
	struct limit_key key;

	assert_int_equal(limit_key(limit, ip, user, strlen(user), &key), 0);
	return key;
}

static struct limit_key key(unsigned n, const char *user)
{
	struct ip ip = source(n);

	return key_of(&ip, user);
}

/* Is wrong as often as it may be at this moment. Returns how often. */
static unsigned guess(struct limit_key *k, uint64_t now)
{
	unsigned n = 0;

	while (limit_take(limit, k, now)) {
		limit_wrong(limit, k, now);
		n++;
		assert_true(n < 10000);
	}
	return n;
}

static void ten_a_second_after_the_burst(void **state)
{
	struct limit_key k = key(1, "alice");
	unsigned n = 0;

	(void)state;
	assert_int_equal(guess(&k, BEGIN), LIMIT_BURST);
	for (uint64_t ms = 1; ms <= 60 * SECOND; ms++)
		n += guess(&k, BEGIN + ms);
	assert_int_equal(n, 60 * LIMIT_PER_SECOND);
	/* Rest fills the bucket, and no further. */
	assert_int_equal(guess(&k, BEGIN + 600 * SECOND), LIMIT_BURST);
}

static void other_names_do_not_help(void **state)
{
	char name[2] = "a";
	unsigned n = 0;

	(void)state;
	for (; name[0] <= 'z'; name[0]++) {
		struct limit_key k = key(1, name);

		n += guess(&k, BEGIN);
	}
	assert_int_equal(n, LIMIT_BURST);
}

static void an_ipv6_source_is_its_64(void **state)
{
	struct ip a = ip_from_v6((const uint8_t[16]){0x20, 1, 0xd, 0xb8, 0, 0, 0, 1, [15] = 1});
	struct ip b = ip_from_v6((const uint8_t[16]){0x20, 1, 0xd, 0xb8, 0, 0, 0, 1, [8] = 9});
	struct ip c = ip_from_v6((const uint8_t[16]){0x20, 1, 0xd, 0xb8, 0, 0, 0, 2, [15] = 1});
	struct limit_key ka = key_of(&a, "u"), kb = key_of(&b, "v"), kc = key_of(&c, "w");
	struct limit_key v4 = key(1, "x"), next = key(2, "y");

	(void)state;
	assert_int_equal(guess(&ka, BEGIN), LIMIT_BURST);
	assert_int_equal(guess(&kb, BEGIN), 0);
	assert_int_equal(guess(&kc, BEGIN), LIMIT_BURST);
	/* All of IPv4 has the first 64 bits in common: there each address counts. */
	assert_int_equal(guess(&v4, BEGIN), LIMIT_BURST);
	assert_int_equal(guess(&next, BEGIN), LIMIT_BURST);
}

static void who_is_right_is_never_kept_waiting(void **state)
{
	struct limit_key k = key(1, "alice");

	(void)state;
	for (unsigned i = 0; i < 10000; i++) {
		assert_true(limit_take(limit, &k, BEGIN));
		limit_right(limit, &k);
	}
	/* And has saved nothing up by it. */
	assert_int_equal(guess(&k, BEGIN), LIMIT_BURST);
}

static void tries_at_once_count_before_they_are_answered(void **state)
{
	struct limit_key k = key(1, "alice");

	(void)state;
	for (unsigned i = 0; i < LIMIT_BURST; i++)
		assert_true(limit_take(limit, &k, BEGIN));
	assert_false(limit_take(limit, &k, BEGIN));
	limit_right(limit, &k);
	assert_true(limit_take(limit, &k, BEGIN));
	assert_false(limit_take(limit, &k, BEGIN));
}

static void an_account_of_ones_own_buys_no_guesses(void **state)
{
	struct limit_key own = key(1, "mallory"), k = key(1, "alice");
	unsigned n = 0;

	(void)state;
	for (unsigned i = 0; i < 1000; i++) {
		n += guess(&k, BEGIN);
		if (limit_take(limit, &own, BEGIN))
			limit_right(limit, &own);
	}
	assert_int_equal(n, LIMIT_BURST);
}

static void many_sources_share_what_a_user_has(void **state)
{
	unsigned n = 0;

	(void)state;
	for (uint64_t ms = 0; ms < 30 * SECOND; ms += 100)
		for (unsigned i = 0; i < 100; i++) {
			struct limit_key k = key(i, "alice");

			n += guess(&k, BEGIN + ms);
		}
	/* Each had one that it was not yet known for. */
	assert_in_range(n, 30 * LIMIT_PER_SECOND, 30 * LIMIT_PER_SECOND + LIMIT_BURST + 100);
}

static void the_owner_of_a_name_under_attack_comes_in(void **state)
{
	struct limit_key owner = key(1000, "alice"), typo = key(1001, "alice");
	uint64_t typo_at = BEGIN + SECOND;

	(void)state;
	assert_true(limit_take(limit, &typo, BEGIN));
	for (uint64_t ms = 0; ms < 2 * LIMIT_LATELY_MS; ms += 100) {
		uint64_t now = BEGIN + ms;

		for (unsigned i = 0; i < 10; i++) {
			struct limit_key k = key(i, "alice");

			guess(&k, now);
		}
		for (unsigned i = 0; i < 5; i++) {
			assert_true(limit_take(limit, &owner, now));
			limit_right(limit, &owner);
		}
		if (now == typo_at)
			limit_wrong(limit, &typo, now);
		/* Who mistypes meanwhile is one of those who were wrong, for a while. */
		if (now >= typo_at) {
			bool free = limit_take(limit, &typo, now);

			assert_int_equal(free, now >= typo_at + LIMIT_LATELY_MS);
			if (free)
				limit_right(limit, &typo);
		}
	}
}

static void workers_share_the_rate(void **state)
{
	struct limit *of_many;
	struct limit_key k;
	struct ip ip = source(1);
	unsigned n = 0;

	(void)state;
	for (unsigned workers = 1; workers <= 64; workers *= 4) {
		assert_int_equal(limit_new(&of_many, workers), 0);
		assert_int_equal(limit_key(of_many, &ip, "alice", 5, &k), 0);
		n = 0;
		for (uint64_t ms = 0; ms < 64 * SECOND; ms++)
			while (limit_take(of_many, &k, BEGIN + ms))
				n++;
		assert_in_range(n * workers, 63 * LIMIT_PER_SECOND,
		    64 * LIMIT_PER_SECOND + (LIMIT_BURST > workers ? LIMIT_BURST : workers));
		limit_free(of_many);
	}
}

/* More sources than there is room for: still bounded, and only some are forgotten. */
static void the_longest_unused_are_forgotten(void **state)
{
	struct limit_key first = key(0, "alice"), later = key(0, "carol"), last;
	uint64_t now = BEGIN;
	unsigned again = 0;

	(void)state;
	guess(&first, now);
	for (unsigned i = 1; i <= 4 * LIMIT_ENTRIES; i++) {
		last = key(i, "bob");
		assert_true(limit_take(limit, &last, ++now));
		limit_right(limit, &last);
	}
	assert_int_equal(guess(&later, now), LIMIT_BURST);
	/* While one that goes on stays known among as many. */
	for (unsigned i = 1; i <= 4 * LIMIT_ENTRIES; i++) {
		last = key(i, "bob");
		if (limit_take(limit, &last, ++now))
			limit_right(limit, &last);
		again += guess(&first, now);
	}
	assert_in_range(again, 1, 4 * LIMIT_ENTRIES / (SECOND / LIMIT_PER_SECOND) + 1);
}

int main(void)
{
#define WITH_LIMIT(f) cmocka_unit_test_setup_teardown(f, make, discard)
	const struct CMUnitTest tests[] = {
	    WITH_LIMIT(ten_a_second_after_the_burst),
	    WITH_LIMIT(other_names_do_not_help),
	    WITH_LIMIT(an_ipv6_source_is_its_64),
	    WITH_LIMIT(who_is_right_is_never_kept_waiting),
	    WITH_LIMIT(tries_at_once_count_before_they_are_answered),
	    WITH_LIMIT(an_account_of_ones_own_buys_no_guesses),
	    WITH_LIMIT(many_sources_share_what_a_user_has),
	    WITH_LIMIT(the_owner_of_a_name_under_attack_comes_in),
	    WITH_LIMIT(workers_share_the_rate),
	    WITH_LIMIT(the_longest_unused_are_forgotten),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
