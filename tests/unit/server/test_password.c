/* SPDX-License-Identifier: MIT */
#include "server/auth/password.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "proto/err.h"

static struct password_table *table_of(const char *text)
{
	struct password_table *table = NULL;
	const char *why = NULL;
	unsigned line = 0;

	assert_int_equal(password_table_new(&table, text, strlen(text), &line, &why), 0);
	return table;
}

static bool check(struct password_table *table, const char *user, const char *password, size_t len)
{
	return password_check(table, user, strlen(user), password, len);
}

static void right_and_wrong(void **state)
{
	char hash[PASSWORD_HASH_MAX], text[PASSWORD_HASH_MAX + 64];
	struct password_table *table;

	(void)state;
	assert_int_equal(password_hash("secret", hash), 0);
	assert_memory_equal(hash, "$y$", 3);
	snprintf(text, sizeof(text), "# people\n\nalice:%s\n", hash);
	table = table_of(text);
	assert_int_equal(password_table_size(table), 1);
	assert_true(check(table, "alice", "secret", 6));
	assert_false(check(table, "alice", "secreT", 6));
	assert_false(check(table, "alice", "", 0));
	assert_false(check(table, "bob", "secret", 6));
	assert_false(check(table, "alic", "secret", 6));
	/* N13: what stands behind a NUL counts. */
	assert_false(check(table, "alice", "secret\0x", 8));
	assert_false(check(table, "alice", "secret\0", 7));
	assert_false(password_check(table, "alice\0", 6, "secret", 6));
	password_table_free(table);
}

/* Processor time of a check, in microseconds: other processes do not count. */
static long cost_of_check(const struct password_table *table, const char *user)
{
	struct timespec a, b;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &a);
	assert_false(password_check(table, user, strlen(user), "secret", 6));
	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &b);
	return (b.tv_sec - a.tv_sec) * 1000000 + (b.tv_nsec - a.tv_nsec) / 1000;
}

/* The decoy must be a hash that costs something: crypt() fails at once on a bad one. */
static void nobody_is_known(void **state)
{
	char hash[PASSWORD_HASH_MAX], text[PASSWORD_HASH_MAX + 64];
	struct password_table *none = table_of(""), *some;
	long known;

	(void)state;
	assert_int_equal(password_hash("other", hash), 0);
	snprintf(text, sizeof(text), "alice:%s", hash);
	some = table_of(text);
	known = cost_of_check(some, "alice");
	assert_true(cost_of_check(some, "bob") > known / 2);
	assert_true(cost_of_check(none, "alice") > known / 2);
	password_table_free(none);
	password_table_free(some);
}

static void longest_password(void **state)
{
	char hash[PASSWORD_HASH_MAX], text[PASSWORD_HASH_MAX + 64], password[PASSWORD_MAX + 1];
	struct password_table *table;

	(void)state;
	memset(password, 'p', PASSWORD_MAX);
	password[PASSWORD_MAX] = '\0';
	assert_int_equal(password_hash(password, hash), 0);
	snprintf(text, sizeof(text), "u:%s", hash);
	table = table_of(text);
	assert_true(check(table, "u", password, PASSWORD_MAX));
	assert_false(check(table, "u", password, PASSWORD_MAX - 1));
	password_table_free(table);
}

static void bad_files(void **state)
{
	static const struct {
		const char *text;
		size_t len;
		unsigned line;
	} bad[] = {
	    {"alice", 5, 1},
	    {"# c\n:hash\n", 10, 2},
	    {"alice:plain\n", 12, 1},
	    {"alice:\n", 7, 1},
	    {"a:$y$j9T$aaaaaaaaaaaaaaaaaaaaaa$x\n\na:$y$j9T$aaaaaaaaaaaaaaaaaaaaaa$x\n", 70, 3},
	    {"a\0:$y$j9T$aaaaaaaaaaaaaaaaaaaaaa$x\n", 35, 1},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct password_table *table = NULL;
		const char *why = NULL;
		unsigned line = 0;

		assert_int_equal(password_table_new(&table, bad[i].text, bad[i].len, &line, &why),
		    ERR_MALFORMED);
		assert_int_equal(line, bad[i].line);
		assert_non_null(why);
		assert_null(table);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(right_and_wrong),
	    cmocka_unit_test(nobody_is_known),
	    cmocka_unit_test(longest_password),
	    cmocka_unit_test(bad_files),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
