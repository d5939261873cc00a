/* SPDX-License-Identifier: MIT */
/* tabi bench: loads proxies, this one and others, and tells what they do with it. */
#include "cli/bench.h"

#include <stdio.h>
#include <string.h>

#include "cli/main.h"

int bench_main(int argc, char **argv)
{
	const char *word = argc > 1 ? argv[1] : "";
	struct bench_options o;
	const char *name;

	if (strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0) {
		fputs(bench_usage, stdout);
		return 0;
	}
	if (argc > 1)
		argv[1] = argv[0];
	if (strcmp(word, "serve") == 0)
		return bench_serve_main(argc - 1, argv + 1);
	for (unsigned kind = 0; (name = bench_kind_name((enum bench_kind)kind)); kind++) {
		if (strcmp(word, name) == 0) {
			int status =
			    bench_options_read(&o, (enum bench_kind)kind, argc - 1, argv + 1);

			if (status < 0)
				status = bench_run(&o);
			explicit_bzero(&o.proxy, sizeof(o.proxy));
			return status;
		}
	}
	fprintf(stderr, "tabi bench: there is no mode '%s'\n", word);
	fputs(bench_usage, stderr);
	return 2;
}
