/* SPDX-License-Identifier: MIT */
#include "server/onion.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

/* Of Tor's own site and of its specification. */
#define TOR "2gzyxa5ihm7nsggfxnu52rck2vv4rvmdlkiu3zzui5du4xyclen53wid"
#define SPEC "pg6mmjiyjmcrsslvykfwnntlaru7p5svn6y2ymmju6nubxndf4pscryd"

static bool is_bad(const char *name)
{
	return onion_is_bad(name, strlen(name));
}

static void names_that_can_be(void **state)
{
	static const char *const names[] = {TOR ".onion", SPEC ".onion", "www." TOR ".onion",
	    "a.b.c." SPEC ".onion", "example.com", "onion.example", "a.onion.example", "xonion",
	    "my-onion", "x.notonion", "", "a"};

	(void)state;
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		assert_false(is_bad(names[i]));
}

static void names_that_cannot(void **state)
{
	static const char *const names[] = {".onion", "onion", "x.onion",
	    "expyuzz4wqqyqhjn.onion", /* version 2 */
	    "a" TOR ".onion", TOR "a.onion", TOR "." TOR "x.onion", "www.onion", TOR ".www.onion"};

	(void)state;
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		assert_true(is_bad(names[i]));
}

/* One letter of this address that is wrong, whichever it is and becomes, is found. (Of others one
 * in 65536 is not: the checksum has 16 bits.) */
static void every_slip_is_found(void **state)
{
	static const char letters[] = "abcdefghijklmnopqrstuvwxyz2345670189-_";
	char name[] = SPEC ".onion";

	(void)state;
	for (size_t at = 0; at < 56; at++) {
		char right = name[at];

		for (const char *c = letters; *c; c++) {
			name[at] = *c;
			assert_int_equal(is_bad(name), *c != right);
		}
		name[at] = right;
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(names_that_can_be),
	    cmocka_unit_test(names_that_cannot),
	    cmocka_unit_test(every_slip_is_found),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
