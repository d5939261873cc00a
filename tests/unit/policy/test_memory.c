/* SPDX-License-Identifier: MIT */
/* Memory that runs out at every place: -ENOMEM, nothing leaked, nothing half parsed. */
#include "fixture.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proto/err.h"

/* The linker sends every calloc() of the policy here (-Wl,--wrap): this one fails when it is 0. */
static int until_failure = -1;

void *__real_calloc(size_t n, size_t size);
void *__wrap_calloc(size_t n, size_t size);

void *__wrap_calloc(size_t n, size_t size)
{
	if (until_failure == 0)
		return NULL;
	if (until_failure > 0)
		until_failure--;
	return __real_calloc(n, size);
}

/* Large enough to need memory again at every kind of statement. */
static char *long_text(bool broken)
{
	char *text = NULL;
	size_t len;
	FILE *f = open_memstream(&text, &len);

	assert_non_null(f);
	fputs("listen 127.0.0.1:1080\nauth password /u\n", f);
	for (int i = 0; i < 200; i++) {
		fprintf(f, "net n%d 10.%d.0.0/16 2001:db8:%x::/48\nhost h%d *.h%d.test a.test\n", i,
		    i, i, i, i);
		fprintf(f, "hours t%d Mon 09:00-10:00\ngroup g%d a,b,c%d\n", i, i, i);
		fprintf(f,
		    "allow from n%d,192.0.2.%d to h%d,x%d.test,n%d port %d,80 user u%d group g%d "
		    "during "
		    "t%d\n",
		    i, i, i, i, i, i + 1000, i, i, i);
		if (broken && i % 10 == 0)
			fputs("allow form nowhere\n", f);
	}
	assert_int_equal(fclose(f), 0);
	return text;
}

/* Parses with less and less missing until it is enough. Returns how often it was not. */
static int parse_until_enough(const char *text, int expected)
{
	struct diagnostics diags;
	struct policy *policy;
	int failures = 0, err;

	for (;; failures++) {
		until_failure = failures;
		err = fixture_parse(text, &policy, &diags);
		if (err != -ENOMEM)
			break;
		assert_null(policy);
		diagnostics_free(&diags);
	}
	until_failure = -1;
	assert_int_equal(err, expected);
	assert_int_equal(policy != NULL, expected == 0);
	assert_int_equal(diags.n > 0, expected != 0);
	diagnostics_free(&diags);
	policy_free(policy);
	return failures;
}

static void parsing_says_so(void **state)
{
	char *text = long_text(false);

	(void)state;
	assert_true(parse_until_enough(text, 0) > 20);
	free(text);
}

static void so_do_messages(void **state)
{
	char *text = long_text(true);

	(void)state;
	assert_true(parse_until_enough(text, ERR_MALFORMED) > 20);
	free(text);
}

/* The check may lose a message, never the refusal. */
static void a_refusal_needs_no_memory(void **state)
{
	struct policy *policy = fixture_policy("listen 0.0.0.0:1\nallow all\n");
	struct diagnostics diags = {0};

	(void)state;
	until_failure = 0;
	assert_int_equal(policy_check_servable(policy, &diags), ERR_MALFORMED);
	until_failure = -1;
	diagnostics_free(&diags);
	policy_free(policy);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(parsing_says_so),
	    cmocka_unit_test(so_do_messages),
	    cmocka_unit_test(a_refusal_needs_no_memory),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
