/* SPDX-License-Identifier: MIT */
/* tabi: one program, a table of subcommands. */
#include "cli/main.h"

#include <stdio.h>
#include <string.h>

struct subcommand {
	const char *name;
	int (*run)(int argc, char **argv);
	const char *summary;
};

static const struct subcommand subcommands[] = {
    {"serve", serve_main, "run the proxy server"},
    {"check", check_main, "is a configuration right?"},
    {"explain", explain_main, "which rule would decide about a request?"},
    {"connect", connect_main, "standard input and output through proxies, as netcat"},
    {"passwd", passwd_main, "set or remove a user's password in a password file"},
    {"forward", forward_main, "run a local proxy that goes through another one"},
    {"probe", probe_main, "what does a proxy really do?"},
    {"bench", bench_main, "load a proxy, and tell what it does with it"},
    {NULL, NULL, NULL},
};

static void print_usage(FILE *to)
{
	fputs("usage: tabi COMMAND [ARGUMENTS]\n       tabi --version\n\ncommands:\n", to);
	for (const struct subcommand *s = subcommands; s->name; s++)
		fprintf(to, "  %-10s %s\n", s->name, s->summary);
	fputs("\n'man tabi' tells more; 'tabi COMMAND --help' tells the options of one.\n", to);
}

/* getopt() begins its complaints with argv[0]. */
static int run(const struct subcommand *s, int argc, char **argv)
{
	char name[32];

	snprintf(name, sizeof(name), "tabi %s", s->name);
	argv[0] = name;
	return s->run(argc, argv);
}

int main(int argc, char **argv)
{
	if (argc < 2) {
		print_usage(stderr);
		return 2;
	}
	if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0 ||
	    strcmp(argv[1], "help") == 0) {
		print_usage(stdout);
		return 0;
	}
	if (strcmp(argv[1], "--version") == 0) {
		puts("tabi " TABI_VERSION);
		return 0;
	}
	for (const struct subcommand *s = subcommands; s->name; s++)
		if (strcmp(argv[1], s->name) == 0)
			return run(s, argc - 1, argv + 1);
	fprintf(stderr, "tabi: there is no command '%s'; 'tabi --help' lists them\n", argv[1]);
	return 2;
}
