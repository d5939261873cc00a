/* SPDX-License-Identifier: MIT */
#include "cli/replies.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define READ5(bytes, r) reply5_read((const uint8_t *)(bytes), sizeof(bytes) - 1, r)
#define READ4(bytes, r) reply4_read((const uint8_t *)(bytes), sizeof(bytes) - 1, r)

static void whole5(void **state)
{
	struct reply r;
	char text[ADDR_TEXT_MAX];

	(void)state;
	assert_int_equal(READ5("\5\0\0\1\xc0\0\2\1\x1f\x90more", &r), 10);
	assert_int_equal(r.shape, SHAPE_WHOLE);
	assert_int_equal(r.len, 10);
	assert_string_equal(addr_format(&r.bound, text), "192.0.2.1:8080");
	assert_int_equal(READ5("\5\5\0\4\x20\1\xd\xb8\0\0\0\0\0\0\0\0\0\0\0\1\0\x50", &r), 22);
	assert_int_equal(r.shape, SHAPE_WHOLE);
	assert_int_equal(r.code, 5);
	assert_string_equal(addr_format(&r.bound, text), "[2001:db8::1]:80");
	assert_int_equal(READ5("\5\0\0\3\1a\0\x50", &r), 8);
	assert_int_equal(r.shape, SHAPE_WHOLE);
	assert_int_equal(r.bound.kind, ADDR_NAME);
	assert_int_equal(r.bound.port, 80);
}

/* Of every beginning it says how much is missing, at least. */
static void short5(void **state)
{
	static const uint8_t whole[] = "\5\0\0\1\xc0\0\2\1\x1f\x90";
	struct reply r;

	(void)state;
	for (size_t len = 0; len < 10; len++) {
		size_t want = reply5_read(whole, len, &r);

		assert_int_equal(r.shape, len == 0 ? SHAPE_NONE : SHAPE_SHORT);
		assert_true(want > len && want <= 10);
		assert_int_equal(r.bound.kind, ADDR_NONE);
	}
}

/* What the lenient readers of proto let pass. */
static void wrong5(void **state)
{
	struct reply r;

	(void)state;
	READ5("\4\0", &r);
	assert_int_equal(r.shape, SHAPE_WRONG);
	READ5("\5\0\1\1\x7f\0\0\1\0\x50", &r);
	assert_int_equal(r.shape, SHAPE_WRONG);
	READ5("\5\5\0\2\0\0\0\0\0\0", &r);
	assert_int_equal(r.shape, SHAPE_WRONG);
	READ5("\5\5", &r);
	assert_int_equal(r.shape, SHAPE_SHORT);
}

static void four(void **state)
{
	struct reply r;

	(void)state;
	assert_int_equal(READ4("\0\x5a\0\x50\x7f\0\0\1x", &r), 8);
	assert_int_equal(r.shape, SHAPE_WHOLE);
	assert_int_equal(r.bound.port, 80);
	READ4("\4\x5a\0\0\0\0\0\0", &r);
	assert_int_equal(r.shape, SHAPE_WRONG);
	READ4("\0\1\0\0\0\0\0\0", &r);
	assert_int_equal(r.shape, SHAPE_WRONG);
	READ4("\0\x5b", &r);
	assert_int_equal(r.shape, SHAPE_SHORT);
}

static void lines(void **state)
{
	struct target_line l;

	(void)state;
	assert_true(target_line_read("peer=192.0.2.1:80 refuses=1080", &l));
	assert_int_equal(l.peer.port, 80);
	assert_int_equal(l.refuses, 1080);
	assert_false(l.noted);
	assert_true(target_line_read("peer=[::1]:80 received=12 end=reset", &l));
	assert_true(l.noted);
	assert_int_equal(l.received, 12);
	assert_string_equal(l.end, "reset");
	assert_true(target_line_read("connected from=127.0.0.1:5", &l));
	assert_int_equal(l.peer.port, 5);
	assert_true(target_line_read("failed=refused", &l));
	assert_true(l.failed);
}

static void no_lines(void **state)
{
	static const char *const texts[] = {
	    "",
	    "none",
	    "peer=",
	    "peer=host:80",
	    "peer=192.0.2.1:80 ",
	    "received=1234567890123456789",
	    "received=-1",
	    "end=open eof",
	    "end=openopen",
	    "failed=",
	    "connected=yes",
	    "\x1b[2J",
	};
	struct target_line l;

	(void)state;
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
		assert_false(target_line_read(texts[i], &l));
}

static struct head head_of(const char *text)
{
	struct head h;

	head_read((const uint8_t *)text, strlen(text), &h);
	return h;
}

static void heads(void **state)
{
	struct head h = head_of("HTTP/1.1 200 OK\r\n\r\nmore");

	(void)state;
	assert_int_equal(h.shape, SHAPE_WHOLE);
	assert_int_equal(h.len, 19);
	assert_int_equal(h.status, 200);
	assert_false(h.has_length || h.challenge);
	assert_true(h.stays);
	h = head_of("HTTP/1.1 407 No\r\nproxy-authenticate: Basic\r\nContent-Length: 7\r\n\r\n");
	assert_int_equal(h.status, 407);
	assert_true(h.challenge && h.has_length && h.stays && !h.chunked);
	assert_int_equal(h.length, 7);
	h = head_of("HTTP/1.1 502 No\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n");
	assert_true(h.chunked && h.has_length && !h.stays && !h.challenge);
	assert_false(head_of("HTTP/1.0 200 OK\r\n\r\n").stays);
	assert_true(head_of("HTTP/1.0 200 OK\r\nConnection: keep-alive\r\n\r\n").stays);
}

static void no_heads(void **state)
{
	(void)state;
	assert_int_equal(head_of("").shape, SHAPE_NONE);
	assert_int_equal(head_of("HTTP/1.1 200 OK\r\n").shape, SHAPE_SHORT);
	assert_int_equal(head_of("HTTP/1.1 20").shape, SHAPE_SHORT);
	assert_int_equal(head_of("HTTP/2.0 200\r\n\r\n").shape, SHAPE_WRONG);
	assert_int_equal(head_of("HTTP/1.1 0200 OK\r\n\r\n").shape, SHAPE_WRONG);
	assert_int_equal(head_of("\5\xff").shape, SHAPE_WRONG);
	assert_int_equal(head_of("HTTP/1.1 200 OK\r\nA: 1\r\n 2\r\n\r\n").shape, SHAPE_WRONG);
}

static void hexadecimal(void **state)
{
	char buf[16];

	(void)state;
	assert_string_equal(bytes_format((const uint8_t *)"\5\xff", 2, buf, sizeof(buf)), "05 ff");
	assert_string_equal(bytes_format((const uint8_t *)"", 0, buf, sizeof(buf)), "");
	bytes_format((const uint8_t *)"0123456789", 10, buf, sizeof(buf));
	assert_true(strlen(buf) < sizeof(buf));
	assert_non_null(strstr(buf, "..."));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(whole5),
	    cmocka_unit_test(short5),
	    cmocka_unit_test(wrong5),
	    cmocka_unit_test(four),
	    cmocka_unit_test(lines),
	    cmocka_unit_test(no_lines),
	    cmocka_unit_test(heads),
	    cmocka_unit_test(no_heads),
	    cmocka_unit_test(hexadecimal),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
