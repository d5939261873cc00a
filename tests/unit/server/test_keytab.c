/* SPDX-License-Identifier: MIT */
/* Reading keytab files; that real ones can be used is in tests/interop/test_gssapi.py. */
#include "server/auth/keytab.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "proto/err.h"

/* rcmd/localhost@R, version 3, AES-256; then a hole; then alice@R, version 300, AES-128. */
static const char file[] =
    "\x05\x02"
    "\x00\x00\x00\x33"
    "\x00\x02\x00\x01R\x00\x04rcmd\x00\x09localhost\x00\x00\x00\x01\x65\x00\x00\x00\x03"
    "\x00\x12\x00\x0c"
    "key-of-rcmd!\x00\x00\x00\x03"
    "\xff\xff\xff\xfb"
    "hole!"
    "\x00\x00\x00\x22"
    "\x00\x01\x00\x01R\x00\x05"
    "alice\x00\x00\x00\x01\x65\x00\x00\x00\x2c\x00\x11\x00\x05"
    "key-a\x00\x00\x01\x2c";
#define FILE_LEN (sizeof(file) - 1)

struct seen {
	size_t n;
	struct keytab_entry entries[4];
};

static int note(void *ctx, const struct keytab_entry *entry)
{
	struct seen *seen = ctx;

	assert_in_range(seen->n, 0, 3);
	seen->entries[seen->n++] = *entry;
	return 0;
}

static bool is(const struct keytab_part *part, const char *text)
{
	return part->len == strlen(text) && memcmp(part->data, text, part->len) == 0;
}

static void reads_entries(void **state)
{
	struct seen seen = {0};
	const struct keytab_entry *e = seen.entries;
	const char *why = NULL;

	(void)state;
	assert_int_equal(keytab_read(file, FILE_LEN, note, &seen, &why), 0);
	assert_null(why);
	assert_int_equal(seen.n, 2);
	assert_true(is(&e[0].realm, "R") && is(&e[0].components[0], "rcmd"));
	assert_true(is(&e[0].components[1], "localhost") && is(&e[0].key, "key-of-rcmd!"));
	assert_int_equal(e[0].version, 3);
	assert_int_equal(e[0].enctype, 18);
	assert_true(is(&e[1].components[0], "alice") && is(&e[1].key, "key-a"));
	assert_int_equal(e[1].n_components, 1);
	assert_int_equal(e[1].version, 300);
}

/* Only where an entry or a hole ends is it a whole file. */
static void cut_anywhere(void **state)
{
	static const size_t ends[] = {2, 2 + 4 + 0x33, 2 + 4 + 0x33 + 4 + 5, FILE_LEN};

	(void)state;
	for (size_t n = 0; n <= FILE_LEN; n++) {
		char *copy = malloc(n + 1);
		struct seen seen = {0};
		const char *why = NULL;
		bool whole = false;
		int err;

		assert_non_null(copy);
		memmove(copy, file, n);
		for (size_t i = 0; i < sizeof(ends) / sizeof(ends[0]); i++)
			whole |= n == ends[i];
		err = keytab_read(copy, n, note, &seen, &why);
		assert_int_equal(err, whole ? 0 : ERR_MALFORMED);
		assert_true(whole ? why == NULL : why != NULL);
		free(copy);
	}
}

static void other_files(void **state)
{
	static const char *const files[] = {"", "\x05", "\x05\x01", "alice:$y$",
	    "\x05\x02\x00\x00\x00\x01x", "\x05\x02\x7f\xff\xff\xffx", "\x05\x02\x80\x00\x00\x01x"};

	(void)state;
	for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++) {
		struct seen seen = {0};
		const char *why = NULL;
		size_t len = i < 4 ? strlen(files[i]) : 7;

		assert_int_equal(keytab_read(files[i], len, note, &seen, &why), ERR_MALFORMED);
		assert_non_null(why);
		assert_int_equal(seen.n, 0);
	}
}

static int refuse(void *ctx, const struct keytab_entry *entry)
{
	(void)entry;
	++*(unsigned *)ctx;
	return -ENOMEM;
}

static void stops_where_it_is_told(void **state)
{
	unsigned n = 0;
	const char *why;

	(void)state;
	assert_int_equal(keytab_read(file, FILE_LEN, refuse, &n, &why), -ENOMEM);
	assert_int_equal(n, 1);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
	    cmocka_unit_test(reads_entries),
	    cmocka_unit_test(cut_anywhere),
	    cmocka_unit_test(other_files),
	    cmocka_unit_test(stops_where_it_is_told),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
