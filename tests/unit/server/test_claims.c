/* SPDX-License-Identifier: MIT */
#include "server/claims.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

static struct ip address(unsigned n)
{
	const uint8_t b[4] = {10, (uint8_t)(n >> 16), (uint8_t)(n >> 8), (uint8_t)n};

	return ip_from_v4(b);
}

static void kinds_ports_and_addresses_differ(void **state)
{
	struct ip a = address(1), b = address(2);
	struct claims all = {0};
	struct claim one, two;

	(void)state;
	assert_null(claims_find(&all, CLAIM_HEARD, &a, 1));
	claim_make(&all, &one, CLAIM_HEARD, &a, 1);
	claim_make(&all, &two, CLAIM_DECLARED, &a, 2);
	assert_ptr_equal(claims_find(&all, CLAIM_HEARD, &a, 1), &one);
	assert_ptr_equal(claims_find(&all, CLAIM_DECLARED, &a, 2), &two);
	assert_null(claims_find(&all, CLAIM_DECLARED, &a, 1));
	assert_null(claims_find(&all, CLAIM_HEARD, &a, 2));
	assert_null(claims_find(&all, CLAIM_HEARD, &a, 0));
	assert_null(claims_find(&all, CLAIM_HEARD, &b, 1));
	claim_drop(&all, &one);
	claim_drop(&all, &one);
	assert_null(claims_find(&all, CLAIM_HEARD, &a, 1));
	assert_ptr_equal(claims_find(&all, CLAIM_DECLARED, &a, 2), &two);
	claims_fini(&all);
}

/* However large the table grew in between, and whichever were dropped. */
static void the_oldest_comes_first(void **state)
{
	enum { N = 3000 };
	struct claim *list = calloc(N, sizeof(*list));
	struct claims all = {0};
	struct ip ip;

	(void)state;
	assert_non_null(list);
	for (unsigned i = 0; i < N; i++) {
		ip = address(i % 10);
		claim_make(&all, &list[i], CLAIM_HEARD, &ip, 0);
	}
	assert_true(all.n_lists >= N / 4);
	for (unsigned i = 0; i < N; i += 7)
		claim_drop(&all, &list[i]);
	for (unsigned i = 0; i < N; i++) {
		if (i % 7 == 0)
			continue;
		ip = address(i % 10);
		assert_ptr_equal(claims_find(&all, CLAIM_HEARD, &ip, 0), &list[i]);
		claim_drop(&all, &list[i]);
	}
	assert_int_equal(all.n, 0);
	claims_fini(&all);
	free(list);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
	    cmocka_unit_test(kinds_ports_and_addresses_differ),
	    cmocka_unit_test(the_oldest_comes_first),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
