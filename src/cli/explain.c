/* SPDX-License-Identifier: MIT */
/* tabi explain: which rule would decide, and why? */
#include "policy/explain.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "cli/main.h"
#include "cli/mistakes.h"
#include "server/texts.h"
#include "policy/hours.h"

#define ANSWER_MAX 65536

static const struct option options[] = {
    {"config", required_argument, NULL, 'c'},
    {"help", no_argument, NULL, 'h'},
    {NULL, 0, NULL, 0},
};

static void print_usage(FILE *to)
{
	fputs("usage: tabi explain [-c FILE] [REQUEST]\n\n"
	      "Says which rule of FILE (without -c: of the built-in configuration) decides about\n"
	      "REQUEST, such as\n\n"
	      "  user alice from 10.0.0.5 to www.example.com:443 at \"Mon 10:00\"\n\n"
	      "Its words: user, from, to, at, command, protocol, method, listener, and address, "
	      "which\n"
	      "says what the name resolves to. Without REQUEST one is read from each line of\n"
	      "standard input. Exit status: 0 answered, 1 there is a mistake.\n",
	    to);
}

static week_minute minute_now(void)
{
	time_t now = time(NULL);
	struct tm tm;

	if (!localtime_r(&now, &tm))
		return 0;
	/* C weeks begin on Sunday. */
	return (unsigned)((tm.tm_wday + 6) % 7 * DAY_MINUTES + tm.tm_hour * 60 + tm.tm_min);
}

static int explain_one(
    const struct policy *policy, const struct explain_origin *origin, const char *text, size_t len)
{
	static char answer[ANSWER_MAX];
	struct diagnostics diags = {0};
	struct explain_request request;
	int err;

	err = explain_parse(policy, origin, text, len, minute_now(), &request, &diags);
	if (err == 0) {
		explain_format(policy, &request, answer, sizeof(answer));
		fputs(answer, stdout);
		explain_fini(&request);
	}
	mistakes_print(&diags, stderr);
	diagnostics_free(&diags);
	return err < 0 ? 1 : 0;
}

static int explain_stdin(const struct policy *policy)
{
	struct explain_origin origin = {.file = "stdin", .line = 0};
	char *line = NULL;
	size_t cap = 0;
	int status = 0;

	for (;;) {
		ssize_t len = getline(&line, &cap, stdin);

		if (len < 0)
			break;
		origin.line++;
		status |= explain_one(policy, &origin, line, (size_t)len);
		fflush(stdout);
	}
	free(line);
	return status;
}

/* The request may be one argument or several. */
static int explain_arguments(const struct policy *policy, int argc, char **argv)
{
	static const struct explain_origin origin = {.file = "request", .line = 1};
	char *text = NULL;
	size_t len = 0;
	FILE *f = open_memstream(&text, &len);
	int status = 1;

	if (!f)
		return 1;
	for (int i = 0; i < argc; i++)
		fprintf(f, "%s%s", i > 0 ? " " : "", argv[i]);
	if (fclose(f) == 0)
		status = explain_one(policy, &origin, text, len);
	free(text);
	return status;
}

static int explain_config(const char *name, int argc, char **argv)
{
	struct diagnostics diags;
	struct policy *policy;
	struct texts texts;
	int status = 1;

	texts_init(&texts);
	if (policy_parse(&texts.source, name, &policy, &diags) == 0)
		status = argc > 0 ? explain_arguments(policy, argc, argv) : explain_stdin(policy);
	mistakes_print(&diags, stderr);
	policy_free(policy);
	diagnostics_free(&diags);
	texts_fini(&texts);
	return status;
}

int explain_main(int argc, char **argv)
{
	const char *config = parse_default_name;
	int option;

	/* '+': the words of the request are not options, wherever they stand. */
	while ((option = getopt_long(argc, argv, "+c:h", options, NULL)) != -1) {
		switch (option) {
		case 'c':
			config = optarg;
			break;
		case 'h':
			print_usage(stdout);
			return 0;
		default:
			print_usage(stderr);
			return 2;
		}
	}
	return explain_config(config, argc - optind, argv + optind);
}
