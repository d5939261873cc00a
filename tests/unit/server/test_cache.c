/* SPDX-License-Identifier: MIT */
/* Which credentials are remembered, for how long, and what is told apart. */
#include "server/auth/cache.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define BEGIN 1000

static struct cache *cache;
static const int config_a, config_b;

static int make(void **state)
{
	(void)state;
	return cache_new(&cache);
}

static int discard(void **state)
{
	(void)state;
	cache_free(cache);
	return 0;
}

static struct cache_digest digest_of(
    const void *config, const void *user, size_t user_len, const void *password, size_t len)
{
	struct cache_digest digest;

	assert_int_equal(cache_digest(cache, config, user, user_len, password, len, &digest), 0);
	return digest;
}

static struct cache_digest login(const char *user, const char *password)
{
	return digest_of(&config_a, user, strlen(user), password, strlen(password));
}

static void what_was_right_is_known_until_it_expires(void **state)
{
	struct cache_digest alice = login("alice", "secret");

	(void)state;
	assert_false(cache_has(cache, &alice, BEGIN));
	cache_add(cache, &alice, BEGIN);
	assert_true(cache_has(cache, &alice, BEGIN));
	/* Use does not make it live longer. */
	assert_true(cache_has(cache, &alice, BEGIN + CACHE_MS - 1));
	assert_false(cache_has(cache, &alice, BEGIN + CACHE_MS));
	assert_false(cache_has(cache, &alice, BEGIN));
	/* Another verification does. */
	cache_add(cache, &alice, BEGIN);
	cache_add(cache, &alice, BEGIN + 10);
	assert_true(cache_has(cache, &alice, BEGIN + CACHE_MS));
	assert_false(cache_has(cache, &alice, BEGIN + CACHE_MS + 10));
}

static void nothing_else_passes_for_it(void **state)
{
	struct cache_digest alice = login("alice", "secret");
	const struct cache_digest others[] = {
	    login("alice", "wrong"),
	    login("alice", "secreT"),
	    login("alice", ""),
	    login("bob", "secret"),
	    login("", "secret"),
	    login("secret", "alice"),
	    /* The same bytes, divided otherwise. */
	    login("alices", "ecret"),
	    login("alic", "esecret"),
	    login("alicesecret", ""),
	    login("", "alicesecret"),
	    digest_of(&config_a, "alice\6secret", 12, "", 0),
	    digest_of(&config_a, "alice", 5, "secret\0", 7),
	    digest_of(&config_a, "alice\0", 6, "secret", 6),
	    digest_of(&config_b, "alice", 5, "secret", 6),
	    {{0}},
	};

	(void)state;
	cache_add(cache, &alice, BEGIN);
	for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++)
		assert_false(cache_has(cache, &others[i], BEGIN));
	assert_true(cache_has(cache, &alice, BEGIN));
	/* One bit, at either end. */
	for (size_t i = 0; i < sizeof(alice.b); i += sizeof(alice.b) - 1) {
		struct cache_digest near = alice;

		near.b[i] ^= 1;
		assert_false(cache_has(cache, &near, BEGIN));
	}
}

static void credentials_of_every_length_are_taken(void **state)
{
	char longest[CACHE_CREDENTIAL_MAX];
	struct cache_digest whole, shorter;

	(void)state;
	memset(longest, 'x', sizeof(longest));
	whole = digest_of(&config_a, longest, sizeof(longest), longest, sizeof(longest));
	shorter = digest_of(&config_a, longest, sizeof(longest), longest, sizeof(longest) - 1);
	cache_add(cache, &whole, BEGIN);
	assert_true(cache_has(cache, &whole, BEGIN));
	assert_false(cache_has(cache, &shorter, BEGIN));
}

static struct cache_digest numbered(unsigned i)
{
	char user[16];

	snprintf(user, sizeof(user), "user%u", i);
	return login(user, "secret");
}

static void who_was_away_longest_makes_room(void **state)
{
	struct cache_digest first = numbered(0);
	unsigned known = 0;

	(void)state;
	for (unsigned i = 0; i < CACHE_ENTRIES; i++) {
		struct cache_digest d = numbered(i);

		cache_add(cache, &d, BEGIN);
	}
	assert_true(cache_has(cache, &first, BEGIN));
	/* 0 was just of use: the next one to come takes the place of 1. */
	for (unsigned i = CACHE_ENTRIES; i < CACHE_ENTRIES + 10; i++) {
		struct cache_digest d = numbered(i);

		cache_add(cache, &d, BEGIN);
	}
	for (unsigned i = 0; i < CACHE_ENTRIES + 10; i++) {
		struct cache_digest d = numbered(i);
		bool has = cache_has(cache, &d, BEGIN);

		assert_int_equal(has, i == 0 || i > 10);
		known += has;
	}
	assert_int_equal(known, CACHE_ENTRIES);
}

static void what_is_dropped_is_gone(void **state)
{
	struct cache_digest alice = login("alice", "secret");

	(void)state;
	cache_add(cache, &alice, BEGIN);
	cache_drop(cache);
	assert_false(cache_has(cache, &alice, BEGIN));
}

static void each_cache_has_its_own_key(void **state)
{
	struct cache_digest mine = login("alice", "secret"), theirs;
	struct cache *other;

	(void)state;
	assert_int_equal(cache_new(&other), 0);
	assert_int_equal(cache_digest(other, &config_a, "alice", 5, "secret", 6, &theirs), 0);
	assert_memory_not_equal(mine.b, theirs.b, sizeof(mine.b));
	cache_free(other);
}

/* RFC 4231, test case 2, with its short key filled up as HMAC fills it. */
static void the_hash_is_hmac_sha256(void **state)
{
	static const uint8_t expected[KEYED_DIGEST] = {0x5b, 0xdc, 0xc1, 0x46, 0xbf, 0x60, 0x75,
	    0x4e, 0x6a, 0x04, 0x24, 0x26, 0x08, 0x95, 0x75, 0xc7, 0x5a, 0x00, 0x3f, 0x08, 0x9d,
	    0x27, 0x39, 0x83, 0x9d, 0xec, 0x58, 0xb9, 0x64, 0xec, 0x38, 0x43};
	const struct keyed jefe = {"Jefe"};
	uint8_t digest[KEYED_DIGEST];

	(void)state;
	assert_int_equal(keyed_hash(&jefe, "what do ya want for nothing?", 28, digest), 0);
	assert_memory_equal(digest, expected, sizeof(expected));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(
		what_was_right_is_known_until_it_expires, make, discard),
	    cmocka_unit_test_setup_teardown(nothing_else_passes_for_it, make, discard),
	    cmocka_unit_test_setup_teardown(credentials_of_every_length_are_taken, make, discard),
	    cmocka_unit_test_setup_teardown(who_was_away_longest_makes_room, make, discard),
	    cmocka_unit_test_setup_teardown(what_is_dropped_is_gone, make, discard),
	    cmocka_unit_test_setup_teardown(each_cache_has_its_own_key, make, discard),
	    cmocka_unit_test(the_hash_is_hmac_sha256),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
