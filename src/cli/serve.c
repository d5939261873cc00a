/* SPDX-License-Identifier: MIT */
/* tabi serve: the proxy server, in the foreground. */
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/main.h"
#include "server/supervisor.h"

static const char usage[] =
    "usage: tabi serve [-c FILE | --listen ADDRESS...]\n"
    "\n"
    "  -c, --config FILE     serve what the configuration FILE says, see tabi.conf(5)\n"
    "  -l, --listen ADDRESS  without a configuration: listen here instead of on 127.0.0.1:1080 "
    "and\n"
    "                        [::1]:1080 (may be repeated); only this host is served all the same\n"
    "  -h, --help            show this\n"
    "\n"
    "Without options it is a SOCKS4, SOCKS5 and HTTP CONNECT proxy for this host alone.\n"
    "SIGHUP reads the configuration again. SIGTERM stops: live sessions have 30 seconds to end, "
    "or\n"
    "what 'timeout drain' says; a second one cuts them at once.\n";

static const struct option long_options[] = {
    {"config", required_argument, NULL, 'c'},
    {"listen", required_argument, NULL, 'l'},
    {"help", no_argument, NULL, 'h'},
    {NULL, 0, NULL, 0},
};

static int wrong_usage(const char *why)
{
	if (why)
		fprintf(stderr, "tabi serve: %s\n", why);
	fputs(usage, stderr);
	return 2;
}

/* Returns -1 to go on, or the exit status. */
static int read_options(int argc, char **argv, struct supervisor_options *o, const char **listen)
{
	int c;

	while ((c = getopt_long(argc, argv, "c:l:h", long_options, NULL)) != -1) {
		switch (c) {
		case 'c':
			o->config = optarg;
			break;
		case 'l':
			listen[o->n_listen++] = optarg;
			break;
		case 'h':
			fputs(usage, stdout);
			return 0;
		default:
			return wrong_usage(NULL);
		}
	}
	if (optind < argc)
		return wrong_usage("too many arguments; a configuration file is named with -c");
	if (o->config && o->n_listen > 0)
		return wrong_usage("--listen and --config exclude each other: a configuration says "
				   "where to listen");
	return -1;
}

int serve_main(int argc, char **argv)
{
	struct supervisor_options o = {0};
	const char **listen = calloc((size_t)argc, sizeof(*listen));
	int status;

	if (!listen)
		return 1;
	o.listen = listen;
	status = read_options(argc, argv, &o, listen);
	if (status < 0)
		status = supervisor_run(&o);
	free(listen);
	return status;
}
