/* SPDX-License-Identifier: MIT */
#include "net/prefer.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

static struct ip ip_of(const char *text)
{
	struct ip ip;

	assert_int_equal(ip_parse(text, strlen(text), &ip), 0);
	return ip;
}

static struct destination dest_of(const char *ip, const char *source)
{
	struct destination dest = {.ip = ip_of(ip), .reachable = source};

	if (source)
		dest.source = ip_of(source);
	return dest;
}

/* Whichever comes first in the list, the better comes out first. */
static const struct {
	const char *better, *source, *worse, *worse_source;
} pairs[] = {
    /* RFC 6724 section 10.2, but for those of rule 9 and of mobile addresses */
    {"2001:db8:1::1", "2001:db8:1::2", "198.51.100.121", "169.254.13.78"},
    {"198.51.100.121", "198.51.100.117", "2001:db8:1::1", "fe80::1"},
    {"2001:db8:1::1", "2001:db8:1::2", "10.1.2.3", "10.1.2.4"},
    {"fe80::1", "fe80::2", "2001:db8:1::1", "2001:db8:1::2"},
    {"2002:c633:6401::1", "2002:c633:6401::2", "2001:db8:1::1", "2002:c633:6401::2"},
    {"2001:db8:1::1", "2001:db8:1::2", "2002:c633:6401::1", "2002:c633:6401::2"},
    /* no route */
    {"10.1.2.3", "10.1.2.4", "2001:db8:1::1", NULL},
    {"2001:db8:1::1", "2001:db8:1::2", "10.1.2.3", NULL},
    /* loopback of both families: precedence 50 against 35 */
    {"::1", "::1", "127.0.0.1", "127.0.0.1"},
    /* ULA: global scope, but below IPv4 */
    {"192.0.2.1", "192.0.2.9", "fd00::1", "fd00::2"},
    /* Teredo below native IPv6 and IPv4 */
    {"192.0.2.1", "192.0.2.9", "2001::1", "2001::2"},
};

static void better_comes_first(void **state)
{
	struct destination d[2], best;
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(pairs) / sizeof(pairs[0]); i++) {
		best = d[0] = dest_of(pairs[i].better, pairs[i].source);
		d[1] = dest_of(pairs[i].worse, pairs[i].worse_source);
		destinations_sort(d, 2);
		assert_true(ip_equal(&d[0].ip, &best.ip));
		d[0] = d[1];
		d[1] = best;
		destinations_sort(d, 2);
		assert_true(ip_equal(&d[0].ip, &best.ip));
	}
}

/* The last two have no route. */
static void equals_keep_their_order(void **state)
{
	static const char *const sorted[] = {"2001:db8::9", "2001:db8::1", "2001:db8:1::5",
	    "192.0.2.7", "10.0.0.1", "192.0.2.1", "2001:db8::3", "192.0.2.2"};
	static const int from[] = {3, 0, 6, 4, 1, 7, 5, 2};
	struct destination d[8];
	struct ip ip;
	int i;

	(void)state;
	for (i = 0; i < 8; i++)
		d[i] = dest_of(sorted[from[i]], from[i] > 5                    ? NULL
						: strchr(sorted[from[i]], ':') ? "2001:db8::aa"
									       : "192.0.2.99");
	destinations_sort(d, 8);
	for (i = 0; i < 8; i++) {
		ip = ip_of(sorted[i]);
		assert_true(ip_equal(&d[i].ip, &ip));
	}
}

static void kernel_names_the_source(void **state)
{
	const struct ip loopback = ip_of("127.0.0.1"), other = ip_of("127.9.9.9");
	struct destination dest = destination_of(&loopback);

	(void)state;
	assert_true(dest.reachable);
	assert_true(ip_equal(&dest.ip, &loopback));
	assert_true(ip_equal(&dest.source, &loopback));
	dest = destination_of(&other);
	assert_true(dest.reachable);
	assert_true(ip_classes(&dest.source) & IP_LOOPBACK);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(better_comes_first),
	    cmocka_unit_test(equals_keep_their_order),
	    cmocka_unit_test(kernel_names_the_source),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
