/* SPDX-License-Identifier: MIT */
#include "proto/err.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static void maps_to_reply_codes(void **state)
{
	(void)state;
	assert_int_equal(err_socks5(ERR_OK), 0);
	assert_int_equal(err_socks5(-ECONNREFUSED), 5);
	assert_int_equal(err_socks5(-EHOSTUNREACH), 4);
	assert_int_equal(err_socks5(-ENETUNREACH), 3);
	assert_int_equal(err_socks5(-ETIMEDOUT), 4);
	assert_int_equal(err_socks5(-EMFILE), 1);
	assert_int_equal(err_socks5(-EINVAL), 1);
	assert_int_equal(err_socks5(ERR_DENIED), 2);
	assert_int_equal(err_socks5(ERR_SELF), 2);
	assert_int_equal(err_socks5(ERR_NOT_FOUND), 4);
	assert_int_equal(err_socks5(ERR_COMMAND), 7);
	assert_int_equal(err_socks5(ERR_ADDRESS_TYPE), 8);
	assert_int_equal(err_socks4(ERR_OK), 90);
	assert_int_equal(err_socks4(ERR_DENIED), 91);
	assert_int_equal(err_http_status(ERR_OK), 200);
	assert_int_equal(err_http_status(ERR_DENIED), 403);
	assert_int_equal(err_http_status(ERR_CONNECT_TIMEOUT), 504);
}

static void every_value_has_text(void **state)
{
	(void)state;
	for (int e = 0; e > -2000; e--) {
		assert_non_null(err_word(e));
		assert_non_null(err_text(e));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(maps_to_reply_codes),
	    cmocka_unit_test(every_value_has_text),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
