/* SPDX-License-Identifier: MIT */
#include "cli/probe_options.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char usage[] =
    "usage: tabi probe [OPTION...] URL\n"
    "       tabi probe --conformance [--only ID...] [OPTION...] URL\n"
    "       tabi probe --list\n"
    "\n"
    "Asks a proxy for everything, and tells what it really does.\n"
    "\n"
    "  URL: socks5, socks5h, socks5+tls, socks4, socks4a, http or https, with user:password@\n"
    "\n"
    "  -t, --target HOST:PORT  where 'tabi bench serve' runs, as the proxy reaches it; may be "
    "given\n"
    "                          twice, for IPv4 and for IPv6; without, one is started here\n"
    "  -n, --name NAME         a name of the target that the proxy can look up\n"
    "  -C, --conformance       numbered checks, each with what was expected and what was seen\n"
    "  -o, --only ID           only this check, or the checks of this group; may be repeated\n"
    "  -l, --list              list the checks, and ask nobody\n"
    "  -S, --slow              also checks that take minutes\n"
    "  -q, --quiet             of the checks only those that failed\n"
    "  -T, --timeout SECONDS   to wait for one answer (5; may be a fraction)\n"
    "  -j, --json              for machines\n"
    "  -h, --help              show this\n\n" PROXIES_USAGE_TRUST;

static const struct option long_options[] = {
    {"target", required_argument, NULL, 't'},
    {"name", required_argument, NULL, 'n'},
    {"conformance", no_argument, NULL, 'C'},
    {"only", required_argument, NULL, 'o'},
    {"list", no_argument, NULL, 'l'},
    {"slow", no_argument, NULL, 'S'},
    {"quiet", no_argument, NULL, 'q'},
    {"timeout", required_argument, NULL, 'T'},
    {"json", no_argument, NULL, 'j'},
    {"help", no_argument, NULL, 'h'},
    PROXIES_LONG_TRUST,
    {NULL, 0, NULL, 0},
};

#define TIMEOUT_MAX 600

static int wrong(const char *me, const char *what, const char *why)
{
	fprintf(stderr, "%s: %s: %s\n", me, what, why);
	fprintf(stderr, "'tabi probe --help' tells the options\n");
	return PROBE_USAGE;
}

static int read_target(struct probe_options *o, const char *me)
{
	struct addr *a = &o->targets[o->n_targets];

	if (o->n_targets == PROBE_TARGETS)
		return wrong(me, optarg, "is one --target too many: one for IPv4, one for IPv6");
	if (addr_parse(optarg, strlen(optarg), a) != 0 || a->port == 0)
		return wrong(me, optarg, "is not HOST:PORT");
	o->n_targets++;
	return -1;
}

static int read_name(struct probe_options *o, const char *me)
{
	if (addr_set_host(&o->name, optarg, strlen(optarg)) != 0 || o->name.kind != ADDR_NAME)
		return wrong(me, optarg, "is not a name");
	return -1;
}

static int read_timeout(struct probe_options *o, const char *me)
{
	char *end;
	double seconds = strtod(optarg, &end);

	if (end == optarg || *end != '\0' || optarg[strspn(optarg, "0123456789.")] != '\0' ||
	    seconds < 0.05 || seconds > TIMEOUT_MAX)
		return wrong(me, optarg, "--timeout takes a number of seconds from 0.05 to 600");
	o->timeout_ms = (unsigned)(seconds * 1000);
	return -1;
}

static int read_only(struct probe_options *o, const char *me)
{
	char *save = NULL;

	for (char *word = strtok_r(optarg, ",", &save); word; word = strtok_r(NULL, ",", &save)) {
		if (o->n_only == PROBE_ONLY_MAX)
			return wrong(me, word, "is one --only too many");
		o->only[o->n_only++] = word;
	}
	o->conformance = true;
	return -1;
}

/* Returns -1 to go on, or the exit status. */
static int read_one(struct probe_options *o, int c, const char *me)
{
	switch (c) {
	case 't':
		return read_target(o, me);
	case 'n':
		return read_name(o, me);
	case 'o':
		return read_only(o, me);
	case 'T':
		return read_timeout(o, me);
	case 'C':
		o->conformance = true;
		return -1;
	case 'l':
		o->list = true;
		return -1;
	case 'S':
		o->slow = true;
		return -1;
	case 'q':
		o->quiet = true;
		return -1;
	case 'j':
		o->json = true;
		return -1;
	case 'h':
		fputs(usage, stdout);
		return PROBE_FINE;
	default:
		fputs(usage, stderr);
		return PROBE_USAGE;
	}
}

static int read_url(struct probe_options *o, int argc, char **argv)
{
	int status;

	if (o->list && optind == argc)
		return -1;
	if (argc - optind != 1)
		return wrong(argv[0], "URL", "say one proxy");
	o->proxies.me = argv[0];
	o->proxies.from = "URL";
	o->proxies.urls = argv[optind];
	status = proxies_read(&o->proxies);
	if (status != 0)
		return status;
	if (o->proxies.n != 1)
		return wrong(argv[0], "URL", "say one proxy, and no chain");
	o->proxy = o->proxies.hop[0];
	return -1;
}

int probe_options_read(struct probe_options *o, int argc, char **argv)
{
	int c, status = -1;

	*o = (struct probe_options){.timeout_ms = 5000};
	while (
	    status < 0 && (c = getopt_long(argc, argv, "t:n:Co:lSqT:jh", long_options, NULL)) != -1)
		if (!proxies_take(&o->proxies, c))
			status = read_one(o, c, argv[0]);
	return status < 0 ? read_url(o, argc, argv) : status;
}

void probe_options_free(struct probe_options *o)
{
	explicit_bzero(&o->proxy, sizeof(o->proxy));
	proxies_free(&o->proxies);
}
