/* SPDX-License-Identifier: MIT */
/* What a decision costs when nets and hosts are many: counted, not timed. */
#include "policy/decide.h"

#include "fixture.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static unsigned long compared;

/* Of names; addresses are compared with what a compiler makes of memcmp(). */
int __real_memcmp(const void *a, const void *b, size_t n);
int __wrap_memcmp(const void *a, const void *b, size_t n);
int __real_bcmp(const void *a, const void *b, size_t n);
int __wrap_bcmp(const void *a, const void *b, size_t n); /* memcmp() of clang, where it suffices */
int __real_ip_compare(const struct ip *a, const struct ip *b);
int __wrap_ip_compare(const struct ip *a, const struct ip *b);

int __wrap_memcmp(const void *a, const void *b, size_t n)
{
	compared++;
	return __real_memcmp(a, b, n);
}

int __wrap_bcmp(const void *a, const void *b, size_t n)
{
	compared++;
	return __real_bcmp(a, b, n);
}

int __wrap_ip_compare(const struct ip *a, const struct ip *b)
{
	unsigned long before = compared;
	int order = __real_ip_compare(a, b);

	compared = before + 1;
	return order;
}

/* `n` nets that do not touch, and as many hosts, in one statement each. */
static struct policy *policy_of(unsigned n)
{
	char *text = malloc(n * 80 + 200), *p = text;
	struct policy *policy;

	assert_non_null(text);
	p += sprintf(p, "net bad");
	for (unsigned i = 0; i < n; i++)
		p += sprintf(p, "%s10.%u.%u.0/25", i % 20 ? " " : " \\\n", i >> 8, i & 255);
	p += sprintf(p, "\nhost worse");
	for (unsigned i = 0; i < n; i++)
		p += sprintf(p, "%s*.h%u.example.com", i % 20 ? " " : " \\\n", i);
	sprintf(p, "\ndeny to bad,worse\nallow all\n");
	policy = fixture_policy(text);
	free(text);
	return policy;
}

static unsigned long cost(const struct policy *policy, const char *name, enum verdict verdict)
{
	struct policy_request req = fixture_request();
	unsigned long most = 0;

	/* One in a net, one between two, and what is in none. */
	for (unsigned last = 1; last < 256; last += 127) {
		const uint8_t v4[4] = {10, 0, 3, (uint8_t)last};
		bool is_bad = last < 128 || verdict == VERDICT_DENY;

		req.name = name;
		req.ip = ip_from_v4(v4);
		compared = 0;
		assert_int_equal(
		    policy_decide(policy, &req).verdict, is_bad ? VERDICT_DENY : VERDICT_ALLOW);
		most = compared > most ? compared : most;
	}
	return most;
}

static void many_cost_hardly_more_than_few(void **state)
{
	struct policy *few = policy_of(10), *many = policy_of(10000);
	static const struct {
		const char *name;
		enum verdict verdict;
	} asked[] = {{NULL, VERDICT_ALLOW}, {"www.example.org", VERDICT_ALLOW},
	    {"www.h7.example.com", VERDICT_DENY}};

	(void)state;
	for (size_t i = 0; i < sizeof(asked) / sizeof(asked[0]); i++) {
		unsigned long a = cost(few, asked[i].name, asked[i].verdict);
		unsigned long b = cost(many, asked[i].name, asked[i].verdict);

		print_message("%s: %lu of 10, %lu of 10000\n",
		    asked[i].name ? asked[i].name : "address", a, b);
		assert_true(a > 0);
		/* log2 of a thousand more in a search by halves */
		assert_true(b <= a + 12);
	}
	policy_free(few);
	policy_free(many);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(many_cost_hardly_more_than_few),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
