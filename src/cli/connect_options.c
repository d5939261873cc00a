/* SPDX-License-Identifier: MIT */
#include "cli/connect_options.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proto/err.h"

#define PORTS_MAX 65535
/* A proxy that has nothing to say by then is not worth waiting for. */
#define TIMEOUT_MS 30000

static const char usage[] =
    "usage: tabi connect [-x URL[,URL...] | -D] [OPTION...] HOST PORT\n"
    "       tabi connect -l [-x URL[,URL...]] [--peer HOST[:PORT]] [OPTION...]\n"
    "       tabi connect -z [-x URL[,URL...] | -D] [OPTION...] HOST PORT[-PORT][,...]\n"
    "\n"
    "Standard input and output to HOST and PORT (or HOST:PORT) through proxies.\n"
    "\n" PROXIES_USAGE
    "  -u, --udp                 datagrams: one for each read of standard input\n"
    "  -l, --listen              have the last proxy listen (BIND), and wait for one peer\n"
    "      --peer HOST[:PORT]    the only one that may come\n"
    "  -z, --scan                tell for each port whether it is open, and else why not\n"
    "  -w, --timeout SECONDS     to get there: 30 unless said; 0: no limit\n"
    "  -i, --idle SECONDS        end where nothing moves for so long\n"
    "  -q, --quit SECONDS        once one side has ended, the other has so long; 0: end at EOF\n"
    "  -F, --pass-fd             hand the connection to whoever is at standard output, and exit\n"
    "                            (ssh's ProxyUseFdpass)\n"
    "  -v, --verbose             tell how it goes\n"
    "  -h, --help                show this\n"
    "\n"
    "exit status: 0 done; 1 local failure, 2 usage; of a proxy: 3 unreachable, 4 TLS,\n"
    "5 authentication, 6 broken, 7 denied by its rules, 13 unsupported, 14 refused without a\n"
    "reason; of the target: 8 refused, 9 unreachable, 10 not found; 11 timeout, 12 cut off\n";

static const struct option long_options[] = {
    PROXIES_LONG,
    {"udp", no_argument, NULL, 'u'},
    {"listen", no_argument, NULL, 'l'},
    {"peer", required_argument, NULL, 'p'},
    {"scan", no_argument, NULL, 'z'},
    {"timeout", required_argument, NULL, 'w'},
    {"idle", required_argument, NULL, 'i'},
    {"quit", required_argument, NULL, 'q'},
    {"pass-fd", no_argument, NULL, 'F'},
    {"verbose", no_argument, NULL, 'v'},
    {"help", no_argument, NULL, 'h'},
    {NULL, 0, NULL, 0},
};

static int wrong(const struct connect_options *o, const char *what, const char *why)
{
	fprintf(stderr, "%s: %s: %s\n", o->proxies.me, what, why);
	fprintf(stderr, "'tabi connect --help' tells the options\n");
	return 2;
}

static int read_seconds(const struct connect_options *o, uint64_t *ret_ms)
{
	char *end;
	double value = strtod(optarg, &end);

	if (end == optarg || *end != '\0' || optarg[strspn(optarg, "0123456789.")] != '\0' ||
	    value > 1e6)
		return wrong(o, optarg, "expected seconds, as in 30 or 0.5");
	*ret_ms = (uint64_t)(value * 1000 + 0.5);
	return -1;
}

static int set_mode(struct connect_options *o, enum connect_mode mode)
{
	if (o->mode != CONNECT_STREAM && o->mode != mode)
		return wrong(o, "options", "-u, -l and -z exclude each other");
	o->mode = mode;
	return -1;
}

/* HOST or HOST:PORT; an IPv6 address without a port may stand without brackets. */
static int read_peer(struct connect_options *o)
{
	size_t len = strlen(optarg);

	if (addr_parse(optarg, len, &o->target) == 0)
		return -1;
	if (addr_set_host(&o->target, optarg, len) == 0)
		return -1;
	return wrong(o, optarg, "expected HOST or HOST:PORT");
}

/* Returns -1 to go on, or the exit status. */
static int read_one(struct connect_options *o, int c)
{
	uint64_t ms = 0;
	int status;

	if (proxies_take(&o->proxies, c))
		return -1;
	switch (c) {
	case 'u':
		return set_mode(o, CONNECT_UDP);
	case 'l':
		return set_mode(o, CONNECT_LISTEN);
	case 'z':
		return set_mode(o, CONNECT_SCAN);
	case 'p':
		return read_peer(o);
	case 'w':
		return read_seconds(o, &o->timeout_ms);
	case 'i':
		return read_seconds(o, &o->idle_ms);
	case 'q':
		status = read_seconds(o, &ms);
		o->quit_ms = (int64_t)ms;
		return status;
	case 'F':
		o->pass_fd = true;
		return -1;
	case 'v':
		o->verbose = true;
		return -1;
	case 'h':
		fputs(usage, stdout);
		return 0;
	default:
		fputs(usage, stderr);
		return 2;
	}
}

/* ---- where to ---- */

static const char *wrong_with_host(int err)
{
	if (err == ERR_NUMERIC_NAME)
		return "an IPv4 address is four decimal numbers without leading zeros";
	return "expected a host's name or address";
}

/* One "port" or "first-last". Returns false where it is neither. */
static bool add_ports(struct connect_options *o, const char *text, size_t len)
{
	const char *dash = memchr(text, '-', len);
	size_t head = dash ? (size_t)(dash - text) : len;
	uint16_t first, last;

	if (port_parse(text, head, &first) < 0 || first == 0)
		return false;
	last = first;
	if (dash && port_parse(dash + 1, len - head - 1, &last) < 0)
		return false;
	if (last < first || o->n_ports + (last - first) >= PORTS_MAX)
		return false;
	for (unsigned port = first; port <= last; port++)
		o->ports[o->n_ports++] = (uint16_t)port;
	return true;
}

static int read_ports(struct connect_options *o, const char *text)
{
	const char *end;

	o->ports = malloc(PORTS_MAX * sizeof(*o->ports));
	if (!o->ports)
		return wrong(o, "memory", "there is not enough");
	for (; text; text = *end ? end + 1 : NULL) {
		end = strchrnul(text, ',');
		if (!add_ports(o, text, (size_t)(end - text)))
			return wrong(o, text, "expected ports, as in 22 or 20-25,80");
	}
	return -1;
}

static int read_host_and_port(struct connect_options *o, const char *host, const char *port)
{
	int err = addr_set_host(&o->target, host, strlen(host));

	if (err)
		return wrong(o, host, wrong_with_host(err));
	if (o->mode == CONNECT_SCAN)
		return read_ports(o, port);
	if (port_parse(port, strlen(port), &o->target.port) < 0 || o->target.port == 0)
		return wrong(o, port, "expected a port from 1 to 65535");
	return -1;
}

static int read_target(struct connect_options *o, int argc, char **argv)
{
	const int n = argc - optind;
	int err;

	if (o->mode == CONNECT_LISTEN)
		return n == 0 ? -1 : wrong(o, argv[optind], "--listen goes nowhere; see --peer");
	if (n == 2)
		return read_host_and_port(o, argv[optind], argv[optind + 1]);
	if (n != 1)
		return wrong(o, n == 0 ? "where to" : argv[optind + 2], "expected HOST PORT");
	err = addr_parse(argv[optind], strlen(argv[optind]), &o->target);
	if (err || o->target.port == 0)
		return wrong(o, argv[optind],
		    err == ERR_NUMERIC_NAME ? wrong_with_host(err)
					    : "expected HOST PORT, or HOST:PORT");
	if (o->mode == CONNECT_SCAN) {
		char port[8];

		snprintf(port, sizeof(port), "%u", o->target.port);
		return read_ports(o, port);
	}
	return -1;
}

/* ---- what does not go together ---- */

static bool has_layer(const struct proxies *p)
{
	return p->tls || (p->gss && p->gss->level != GSS_LEVEL_CLEAR);
}

/* Options that mean nothing in a mode are refused. */
static int check(struct connect_options *o)
{
	if (o->mode == CONNECT_SCAN && (o->idle_ms > 0 || o->quit_ms >= 0))
		return wrong(o, "--scan", "nothing moves: --idle and --quit have no meaning");
	if (o->pass_fd && o->mode != CONNECT_STREAM)
		return wrong(o, "--pass-fd", "means nothing with -u, -l and -z");
	if (o->pass_fd && (o->idle_ms > 0 || o->quit_ms >= 0))
		return wrong(o, "--pass-fd", "we are not there to see --idle and --quit");
	return -1;
}

static int check_way(struct connect_options *o)
{
	if (o->mode == CONNECT_LISTEN && o->proxies.direct)
		return wrong(o, "--listen", "only a proxy can listen for us");
	if (o->pass_fd && has_layer(&o->proxies))
		return wrong(
		    o, "--pass-fd", "what TLS and GSS-API need to know cannot be handed over");
	return -1;
}

int connect_options_read(struct connect_options *o, int argc, char **argv)
{
	bool peer = false;
	int c, status = -1;

	*o = (struct connect_options){
	    .proxies = {.me = argv[0]},
	    .timeout_ms = TIMEOUT_MS,
	    .quit_ms = -1,
	};
	while (status < 0 && (c = getopt_long(argc, argv, PROXIES_SHORT "ulzw:i:q:Fvh",
				  long_options, NULL)) != -1) {
		status = read_one(o, c);
		peer |= c == 'p';
	}
	if (status < 0 && peer && o->mode != CONNECT_LISTEN)
		status = wrong(o, "--peer", "is whom --listen waits for");
	if (status < 0)
		status = read_target(o, argc, argv);
	if (status < 0)
		status = check(o);
	/* Last, for it may ask for a password. */
	if (status < 0 && (c = proxies_read(&o->proxies)) != 0)
		status = c;
	return status < 0 ? check_way(o) : status;
}

void connect_options_free(struct connect_options *o)
{
	proxies_free(&o->proxies);
	free(o->ports);
	o->ports = NULL;
}
