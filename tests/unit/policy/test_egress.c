/* SPDX-License-Identifier: MIT */
#include "policy/egress.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "fixture.h"
#include "policy/balance.h"
#include "policy/rule.h"

/* The first rule's, or what stands for it. */
static const struct policy_egress *first(const struct policy *p)
{
	return rule_egress(&p->rules[0], &p->set);
}

static struct policy *policy_with(const char *egress)
{
	char text[256];

	snprintf(text, sizeof(text), "allow from loopback egress %s\n", egress);
	return fixture_policy(text);
}

/* The n-th of a row of random bits that is always the same. */
static void fill(uint8_t bits[EGRESS_BITS], uint64_t n)
{
	uint64_t words[2] = {balance_mix(2 * n + 1), balance_mix(2 * n + 2)};

	memcpy(bits, words, EGRESS_BITS);
}

static void is_read(void **state)
{
	struct policy *p = policy_with("192.0.2.7,2001:db8::7");
	const struct policy_egress *e = first(p);
	struct ip ip;

	(void)state;
	assert_int_equal(e->kind, EGRESS_ADDRESS);
	assert_true(e->has[FAMILY_V4] && e->has[FAMILY_V6]);
	assert_int_equal(ip_parse("2001:db8::7", 11, &ip), 0);
	assert_true(ip_equal(&e->ip[FAMILY_V6], &ip));
	assert_string_equal(e->text, "192.0.2.7,2001:db8::7");
	policy_free(p);
	p = policy_with("pool  2001:db8:1::/64 sticky   per user log");
	e = first(p);
	assert_int_equal(e->kind, EGRESS_POOL);
	assert_true(e->sticky && !e->has[FAMILY_V4] && e->has[FAMILY_V6]);
	assert_int_equal(e->prefix[FAMILY_V6], 64);
	assert_string_equal(e->text, "pool 2001:db8:1::/64 sticky per user");
	assert_true(p->rules[0].log);
	policy_free(p);
	p = policy_with("eth0.100");
	assert_int_equal(first(p)->kind, EGRESS_INTERFACE);
	assert_string_equal(first(p)->interface, "eth0.100");
	policy_free(p);
	p = policy_with("same");
	assert_int_equal(first(p)->kind, EGRESS_SAME);
	policy_free(p);
	p = policy_with("\"same\"");
	assert_int_equal(first(p)->kind, EGRESS_INTERFACE);
	policy_free(p);
}

static void settings_are_for_rules_that_say_nothing(void **state)
{
	struct policy *p = fixture_policy("allow from loopback\nallow from private egress any\n"
					  "allow from internet egress eth0\negress same\n");

	(void)state;
	assert_int_equal(rule_egress(&p->rules[0], &p->set)->kind, EGRESS_SAME);
	assert_null(rule_egress(&p->rules[1], &p->set));
	assert_int_equal(rule_egress(&p->rules[2], &p->set)->kind, EGRESS_INTERFACE);
	assert_int_equal(egress_by_default(&p->set)->kind, EGRESS_SAME);
	policy_free(p);
	p = fixture_policy("egress any\nallow from loopback\n");
	assert_null(first(p));
	assert_null(egress_by_default(&p->set));
	policy_free(p);
}

static void same_text_is_the_same(void **state)
{
	struct policy *p = fixture_policy("allow from loopback egress eth0\n"
					  "allow from private egress   eth0\n"
					  "allow from internet egress eth1\n");
	const struct policy_egress *e[] = {
	    p->rules[0].egress, p->rules[1].egress, p->rules[2].egress};

	(void)state;
	assert_true(egress_is_same(e[0], e[1]));
	assert_false(egress_is_same(e[0], e[2]));
	assert_false(egress_is_same(e[0], NULL));
	assert_false(egress_is_same(NULL, e[0]));
	assert_true(egress_is_same(NULL, NULL));
	policy_free(p);
}

/* Which addresses of a small pool are drawn, and that none is drawn more than the others. */
static void check_small(const char *text, enum family family, unsigned first_host, unsigned n)
{
	enum { DRAWS = 30000 };
	struct policy *p = policy_with(text);
	const struct policy_egress *e = first(p);
	unsigned counts[64] = {0};
	uint8_t bits[EGRESS_BITS];

	for (unsigned i = 0; i < DRAWS; i++) {
		struct ip ip;

		fill(bits, i);
		ip = egress_choose(e, family, bits);
		assert_true(ip_in_net(&ip, &e->ip[family], e->prefix[family]));
		counts[ip.b[15] & 63]++;
	}
	for (unsigned i = 0; i < 64; i++) {
		if (i < first_host || i >= first_host + n)
			assert_int_equal(counts[i], 0);
		else
			assert_in_range(counts[i], DRAWS / n * 9 / 10, DRAWS / n * 11 / 10);
	}
	policy_free(p);
}

static void small_pools_are_even(void **state)
{
	(void)state;
	check_small("pool 192.0.2.0/28", FAMILY_V4, 1, 14);
	check_small("pool 192.0.2.0/30", FAMILY_V4, 1, 2);
	check_small("pool 192.0.2.16/31", FAMILY_V4, 16, 2);
	check_small("pool 192.0.2.5", FAMILY_V4, 5, 1);
	check_small("pool 192.0.2.5/32", FAMILY_V4, 5, 1);
	check_small("pool 2001:db8::10/124", FAMILY_V6, 17, 15);
	check_small("pool 2001:db8::/126", FAMILY_V6, 1, 3);
	check_small("pool 2001:db8::8/127", FAMILY_V6, 8, 2);
	check_small("pool 2001:db8::9/128", FAMILY_V6, 9, 1);
}

/* Every bit behind the prefix is as often set as not, and every bit before it is the net's. */
static void check_large(const struct policy_egress *e, enum family family)
{
	enum { DRAWS = 20000 };
	static const uint8_t zero[EGRESS_BITS];
	const unsigned prefix = e->prefix[family];
	unsigned ones[128] = {0};
	uint8_t bits[EGRESS_BITS];
	struct ip ip;

	for (unsigned i = 0; i < DRAWS; i++) {
		fill(bits, i);
		ip = egress_choose(e, family, bits);
		assert_true(ip_in_net(&ip, &e->ip[family], prefix));
		for (unsigned bit = 0; bit < 128; bit++)
			ones[bit] += ip.b[bit / 8] >> (7 - bit % 8) & 1;
	}
	for (unsigned bit = prefix; bit < 128; bit++)
		assert_in_range(ones[bit], DRAWS * 47 / 100, DRAWS * 53 / 100);
	/* The first one is never chosen. */
	ip = egress_choose(e, family, zero);
	assert_false(ip_equal(&ip, &e->ip[family]));
	assert_true(ip_in_net(&ip, &e->ip[family], prefix));
}

static void large_pools_are_even(void **state)
{
	static const char *const pools[] = {"pool 10.0.0.0/8", "pool 2001:db8:1:2::/64",
	    "pool 2001:db8:1::/48", "pool 2001:db8:1:2:3::/80", "pool 2000::/3",
	    "pool 2001:db8:1:2:3:4::/96", "pool 2001:db8:1:2:8000::/65"};

	(void)state;
	for (size_t i = 0; i < sizeof(pools) / sizeof(pools[0]); i++) {
		struct policy *p = policy_with(pools[i]);

		check_large(first(p), first(p)->has[FAMILY_V4] ? FAMILY_V4 : FAMILY_V6);
		policy_free(p);
	}
}

/* No configuration has it, for it holds groups and more. */
static void all_of_a_family(void **state)
{
	static const uint8_t zero[4];
	struct policy_egress v6 = {.kind = EGRESS_POOL, .has = {false, true}};
	struct policy_egress v4 = {.kind = EGRESS_POOL, .has = {true, false}};

	(void)state;
	check_large(&v6, FAMILY_V6);
	v4.ip[FAMILY_V4] = ip_from_v4(zero);
	v4.prefix[FAMILY_V4] = 96;
	check_large(&v4, FAMILY_V4);
}

static void the_same_bits_choose_the_same(void **state)
{
	struct policy *p = policy_with("pool 192.0.2.0/24,2001:db8::/64 sticky per user");
	uint8_t bits[EGRESS_BITS];

	(void)state;
	for (unsigned i = 0; i < 100; i++)
		for (int family = 0; family < FAMILY_COUNT; family++) {
			struct ip a, b;

			fill(bits, i);
			a = egress_choose(first(p), (enum family)family, bits);
			b = egress_choose(first(p), (enum family)family, bits);
			assert_true(ip_equal(&a, &b));
		}
	policy_free(p);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(is_read),
	    cmocka_unit_test(settings_are_for_rules_that_say_nothing),
	    cmocka_unit_test(same_text_is_the_same),
	    cmocka_unit_test(small_pools_are_even),
	    cmocka_unit_test(large_pools_are_even),
	    cmocka_unit_test(all_of_a_family),
	    cmocka_unit_test(the_same_bits_choose_the_same),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
