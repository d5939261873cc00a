/* SPDX-License-Identifier: MIT */
#include "proto/wire.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

static void reads_in_order(void **state)
{
	static const uint8_t bytes[] = {1, 2, 3, 4, 5, 6, 7, 'a', 'b', 0, 'z'};
	struct wire_reader r = wire_reader_of(bytes, sizeof(bytes));
	const uint8_t *text;
	size_t len;

	(void)state;
	assert_int_equal(wire_read_u8(&r), 1);
	assert_int_equal(wire_read_u16(&r), 0x0203);
	assert_int_equal(wire_read_u32(&r), 0x04050607);
	text = wire_read_until(&r, 0, &len);
	assert_int_equal(len, 2);
	assert_memory_equal(text, "ab", 2);
	assert_int_equal(wire_left(&r), 1);
	assert_false(r.failed);
}

static void error_is_sticky(void **state)
{
	static const uint8_t bytes[] = {1, 2, 3};
	struct wire_reader r = wire_reader_of(bytes, sizeof(bytes));
	size_t len;

	(void)state;
	assert_int_equal(wire_read_u32(&r), 0);
	assert_true(r.failed);
	assert_int_equal(wire_read_u8(&r), 0);
	assert_null(wire_read_bytes(&r, 1));
	assert_null(wire_read_until(&r, 1, &len));
	assert_int_equal(wire_left(&r), 0);
}

static void until_needs_its_stop(void **state)
{
	struct wire_reader r = wire_reader_of("abc", 3);
	struct wire_reader empty = wire_reader_of(NULL, 0);
	size_t len;

	(void)state;
	assert_null(wire_read_until(&r, 0, &len));
	assert_true(r.failed);
	assert_null(wire_read_until(&empty, 0, &len));
	assert_true(empty.failed);
}

static void writes_whole_or_not_at_all(void **state)
{
	uint8_t buf[8];
	struct wire_writer w = wire_writer_of(buf, sizeof(buf));

	(void)state;
	wire_write_u8(&w, 5);
	wire_write_u16(&w, 0x0102);
	wire_write_text(&w, "abc");
	assert_int_equal(w.len, 6);
	wire_write_u32(&w, 1);
	assert_true(w.failed);
	assert_int_equal(w.len, 6);
	wire_write_u8(&w, 1);
	assert_int_equal(w.len, 6);
	assert_memory_equal(buf,
	    "\x05\x01\x02"
	    "abc",
	    6);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(reads_in_order),
	    cmocka_unit_test(error_is_sticky),
	    cmocka_unit_test(until_needs_its_stop),
	    cmocka_unit_test(writes_whole_or_not_at_all),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
