/* SPDX-License-Identifier: MIT */
/*
 * Requests and the rules that decide them, on the path of `tabi explain`.
 *
 * argv[1] is the folder: each line of NAME.requests is "REQUEST => FIRST LINE OF THE ANSWER" about
 * NAME.conf, "=> note: TEXT" where a note of the answer is meant, or "=> error: MESSAGE" for a
 * request with a mistake.
 */
#include "policy/explain.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/mistakes.h"
#include "server/texts.h"
#include "fixture.h"
#include "proto/err.h"

#define NOW (10 * 60)

static struct policy *load(const char *name)
{
	struct diagnostics diags;
	struct policy *policy;
	struct texts texts;

	texts_init(&texts);
	if (policy_parse(&texts.source, name, &policy, &diags) == 0)
		policy_check_servable(policy, &diags);
	mistakes_print(&diags, stderr);
	assert_int_equal(diags.n, 0);
	diagnostics_free(&diags);
	texts_fini(&texts);
	return policy;
}

/* Leaves the line that an expectation is about: the first note, or the first line. */
static void cut(char *said, bool want_note)
{
	const char *from = want_note ? strstr(said, "\nnote: ") : NULL;

	if (from)
		memmove(said, from + 1, strlen(from + 1) + 1);
	said[strcspn(said, "\n")] = '\0';
}

static void answer(
    const struct policy *policy, const char *text, size_t len, unsigned line, char *buf, size_t cap)
{
	const struct explain_origin origin = {.file = "requests", .line = line};
	struct diagnostics diags = {0};
	struct explain_request request;
	int err = explain_parse(policy, &origin, text, len, NOW, &request, &diags);

	if (err == 0) {
		explain_format(policy, &request, buf, cap);
		explain_fini(&request);
	} else {
		assert_int_equal(err, ERR_MALFORMED);
		assert_true(diags.n > 0);
		assert_int_equal(diags.list[0].line, line);
		snprintf(buf, cap, "error: %s", diags.list[0].message);
	}
	diagnostics_free(&diags);
}

static void requests_are_decided_as_expected(void **state)
{
	const char *name = *state;
	char conf[300], line[1000], said[8192];
	unsigned n_asked = 0, n_wrong = 0, number = 0;
	struct policy *policy;
	FILE *f = fopen(name, "re");

	assert_non_null(f);
	snprintf(conf, sizeof(conf), "%.*s.conf", (int)(strrchr(name, '.') - name), name);
	policy = load(conf);
	while (fgets(line, sizeof(line), f)) {
		char *arrow = strstr(line, " => ");

		number++;
		line[strcspn(line, "\n")] = '\0';
		if (line[0] == '#' || line[0] == '\0')
			continue;
		assert_non_null(arrow);
		answer(policy, line, (size_t)(arrow - line), number, said, sizeof(said));
		cut(said, strncmp(arrow + 4, "note: ", 6) == 0);
		n_asked++;
		if (strcmp(said, arrow + 4) != 0) {
			print_error("%s:%u: %s\n    but said: %s\n", name, number, line, said);
			n_wrong++;
		}
	}
	fclose(f);
	policy_free(policy);
	assert_int_equal(n_wrong, 0);
	assert_true(n_asked > 10);
}

int main(int argc, char **argv)
{
	if (argc != 2)
		return 2;
	return fixture_run_files("explain", argv[1], ".requests", requests_are_decided_as_expected);
}
