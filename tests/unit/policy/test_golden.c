/* SPDX-License-Identifier: MIT */
/*
 * Configurations with mistakes, and the messages as an administrator reads them.
 *
 * argv[1] is the folder: for each NAME.conf in it NAME.expect holds all that `tabi check` would
 * say. With TABI_GOLDEN_WRITE=1 the expectations are written instead of compared: read them then.
 */
#include "cli/mistakes.h"
#include "server/texts.h"
#include "fixture.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TEXT_MAX 65536

static void check(const char *name, FILE *to)
{
	struct diagnostics diags;
	struct policy *policy;
	struct texts texts;

	texts_init(&texts);
	if (policy_parse(&texts.source, name, &policy, &diags) == 0)
		policy_check_servable(policy, &diags);
	mistakes_print(&diags, to);
	policy_free(policy);
	diagnostics_free(&diags);
	texts_fini(&texts);
}

static char *read_all(const char *name)
{
	char *text = calloc(1, TEXT_MAX);
	FILE *f = fopen(name, "re");

	assert_non_null(text);
	if (f) {
		size_t len = fread(text, 1, TEXT_MAX - 1, f);

		text[len] = '\0';
		fclose(f);
	}
	return text;
}

static void write_all(const char *name, const char *text)
{
	FILE *f = fopen(name, "we");

	assert_non_null(f);
	fputs(text, f);
	assert_int_equal(fclose(f), 0);
}

static void messages_are_as_expected(void **state)
{
	const char *name = *state;
	char expect_name[300], *expected, *said = NULL;
	size_t len;
	FILE *f = open_memstream(&said, &len);

	assert_non_null(f);
	check(name, f);
	fclose(f);
	snprintf(expect_name, sizeof(expect_name), "%.*s.expect", (int)(strlen(name) - 5), name);
	if (getenv("TABI_GOLDEN_WRITE"))
		write_all(expect_name, said);
	expected = read_all(expect_name);
	/* Each of these has a mistake: silence is one of ours. */
	assert_true(len > 0);
	assert_string_equal(said, expected);
	free(expected);
	free(said);
}

int main(int argc, char **argv)
{
	if (argc != 2)
		return 2;
	return fixture_run_files("golden", argv[1], ".conf", messages_are_as_expected);
}
