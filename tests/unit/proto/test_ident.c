/* SPDX-License-Identifier: MIT */
/* RFC 1413, the asking side: what is an answer, and what only looks like one. */
#include "proto/ident.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "proto/err.h"

static const struct ident_ports ports = {.theirs = 6193, .ours = 23};

struct answer {
	const char *bytes;
	int rc;
	const char *user;
};

static const struct answer answers[] = {
    {"6193, 23 : USERID : UNIX : stjohns\r\n", WIRE_DONE, "stjohns"},
    {"6193,23:USERID:UNIX:stjohns\r\n", WIRE_DONE, "stjohns"},
    {"6193,23:USERID:UNIX:stjohns\n", WIRE_DONE, "stjohns"},
    {" \t6193 ,\t23 : userid : OTHER , US-ASCII : a b:c,d \r\n", WIRE_DONE, "a b:c,d "},
    {"06193,0023:USERID:UNIX:x\r\nmore", WIRE_DONE, "x"},
    {"6193,23:USERID:UNIX:\x80\xff\r\n", WIRE_DONE, "\x80\xff"},
    {"6193, 23 : ERROR : NO-USER\r\n", ERR_NO_IDENTD, NULL},
    {"6193,23:ERROR:HIDDEN-USER\r\n", ERR_NO_IDENTD, NULL},
    {"6193,23:error:X-anything\n", ERR_NO_IDENTD, NULL},
    /* Of another connection, or of none. */
    {"6193,24:USERID:UNIX:root\r\n", ERR_MALFORMED, NULL},
    {"23,6193:USERID:UNIX:root\r\n", ERR_MALFORMED, NULL},
    {"6193,23456:USERID:UNIX:root\r\n", ERR_MALFORMED, NULL},
    {"6193,65559:USERID:UNIX:root\r\n", ERR_MALFORMED, NULL},
    {"0000006193,23:USERID:UNIX:root\r\n", ERR_MALFORMED, NULL},
    {"USERID:UNIX:root\r\n", ERR_MALFORMED, NULL},
    {"\r\n", ERR_MALFORMED, NULL},
    {"\n", ERR_MALFORMED, NULL},
    /* Not whole. */
    {"6193,23:USERID:UNIX:\r\n", ERR_MALFORMED, NULL},
    {"6193,23:USERID:UNIX:  \r\n", ERR_MALFORMED, NULL},
    {"6193,23:USERID::root\r\n", ERR_MALFORMED, NULL},
    {"6193,23:USERID:root\r\n", ERR_MALFORMED, NULL},
    {"6193,23:USERID\r\n", ERR_MALFORMED, NULL},
    {"6193,23:USER:UNIX:root\r\n", ERR_MALFORMED, NULL},
    {"6193,23 USERID:UNIX:root\r\n", ERR_MALFORMED, NULL},
    {"6193 23:USERID:UNIX:root\r\n", ERR_MALFORMED, NULL},
    {"6193,23:ERRORS:UNIX:root\r\n", ERR_MALFORMED, NULL},
    {"6193,23:USERID:UNIX:a\rb\r\n", ERR_MALFORMED, NULL},
    {"", WIRE_MORE, NULL},
    {"6193,23:USERID:UNIX:stjohns", WIRE_MORE, NULL},
    {"6193,23:USERID:UNIX:stjohns\r", WIRE_MORE, NULL},
};

static int read_all(const char *bytes, size_t len, const uint8_t **user, size_t *n)
{
	/* In a block of their own size, so that a sanitizer sees any read beyond them. */
	char *copy = calloc(1, len + 1);
	struct wire_reader in = wire_reader_of(copy, len);
	int rc;

	assert_non_null(copy);
	memcpy(copy, bytes, len);
	rc = ident_read_answer(&in, &ports, user, n);
	if (rc != WIRE_DONE)
		assert_int_equal(in.pos, 0);
	else
		*user = (const uint8_t *)bytes + ((const char *)*user - copy);
	free(copy);
	return rc;
}

/* However much of it is there: more is wanted up to the end of the line, and then the same. */
static void answers_are_read(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(answers) / sizeof(answers[0]); i++) {
		const struct answer *a = &answers[i];
		const char *end = strchr(a->bytes, '\n');

		for (size_t len = 0; len <= strlen(a->bytes); len++) {
			bool whole = end && len > (size_t)(end - a->bytes);
			const uint8_t *user = NULL;
			size_t n = 0;

			assert_int_equal(
			    read_all(a->bytes, len, &user, &n), whole ? a->rc : WIRE_MORE);
			if (!whole || a->rc != WIRE_DONE)
				continue;
			assert_int_equal(n, strlen(a->user));
			assert_memory_equal(user, a->user, n);
		}
	}
}

static void nul_is_in_no_name(void **state)
{
	static const char answer[] = "6193,23:USERID:UNIX:a\0b\r\n";
	const uint8_t *user;
	size_t n;

	(void)state;
	assert_int_equal(read_all(answer, sizeof(answer) - 1, &user, &n), ERR_MALFORMED);
}

static void lines_have_an_end(void **state)
{
	char line[IDENT_LINE_MAX + 2];
	const uint8_t *user;
	size_t n;

	(void)state;
	memset(line, 'u', sizeof(line));
	memcpy(line, "6193,23:USERID:UNIX:", 20);
	assert_int_equal(read_all(line, IDENT_LINE_MAX - 1, &user, &n), WIRE_MORE);
	assert_int_equal(read_all(line, IDENT_LINE_MAX, &user, &n), ERR_TOO_LONG);
	/* The longest one, and one byte more: the same as when it came in pieces. */
	line[IDENT_LINE_MAX - 1] = '\n';
	assert_int_equal(read_all(line, IDENT_LINE_MAX, &user, &n), WIRE_DONE);
	assert_int_equal(n, IDENT_LINE_MAX - 21);
	line[IDENT_LINE_MAX - 1] = 'u';
	line[IDENT_LINE_MAX] = '\n';
	assert_int_equal(read_all(line, IDENT_LINE_MAX + 1, &user, &n), ERR_TOO_LONG);
}

static void queries(void **state)
{
	static const struct ident_ports longest = {65535, 65535};
	char buf[IDENT_QUERY_MAX];
	struct wire_writer out = wire_writer_of(buf, sizeof(buf));

	(void)state;
	ident_write_query(&out, &ports);
	assert_int_equal(out.len, 9);
	assert_memory_equal(buf, "6193,23\r\n", 9);
	out = wire_writer_of(buf, sizeof(buf));
	ident_write_query(&out, &longest);
	assert_false(out.failed);
	assert_memory_equal(buf, "65535,65535\r\n", 13);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(answers_are_read),
	    cmocka_unit_test(nul_is_in_no_name),
	    cmocka_unit_test(lines_have_an_end),
	    cmocka_unit_test(queries),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
