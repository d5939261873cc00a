/* SPDX-License-Identifier: MIT */
#include "cli/bench_options.h"

#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const char bench_usage[] =
    "usage: tabi bench MODE {-x URL | --direct} [OPTION...] HOST:PORT...\n"
    "       tabi bench serve [--trains] ADDRESS:PORT\n"
    "\n"
    "Loads a proxy, or without one the way to HOST:PORT, where 'tabi bench serve' has to run.\n"
    "With several targets one connection after the other goes to the next of them.\n"
    "\n"
    "modes:\n"
    "  stream   as many bytes as there is room for\n"
    "  rr       a message, its echo, the next message; with the time that takes\n"
    "  connect  a session for each message, so many at once\n"
    "  idle     sessions that only are there\n"
    "  udp      datagrams and their echoes, by UDP ASSOCIATE; with the time that takes\n"
    "  serve    the server for all of these, until SIGTERM\n"
    "\n"
    "  -x, --proxy URL          socks4, socks4a, socks5, socks5h or http, with user:password@\n"
    "  -D, --direct             no proxy\n"
    "  -d, --direction WORD     of streams: down (unless said), up or both\n"
    "  -c, --connections N      stream and udp 1, rr 64, connect 32, idle 1000\n"
    "  -b, --size N             bytes of a message (64), or of one write of a stream (65536)\n"
    "  -r, --rate N             rr, udp: so many messages per second, and latency from the time "
    "each\n"
    "                           was due; without, one follows the other on each connection\n"
    "  -o, --outstanding N      udp: datagrams of an association under way at once (64)\n"
    "  -B, --burst N            udp: so many at once, then none till all are back or lost\n"
    "  -t, --trains             udp, serve: send and receive by UDP_SEGMENT and UDP_GRO\n"
    "  -s, --seconds N          to measure (10; may be a fraction)\n"
    "  -w, --warm-up N          seconds before that (1)\n"
    "  -p, --pid PID            the proxy: tells the CPU and memory of it and its children\n"
    "  -j, --json               for machines\n"
    "  -h, --help               show this\n";

static const struct option long_options[] = {
    {"proxy", required_argument, NULL, 'x'},
    {"direct", no_argument, NULL, 'D'},
    {"direction", required_argument, NULL, 'd'},
    {"connections", required_argument, NULL, 'c'},
    {"size", required_argument, NULL, 'b'},
    {"rate", required_argument, NULL, 'r'},
    {"outstanding", required_argument, NULL, 'o'},
    {"burst", required_argument, NULL, 'B'},
    {"trains", no_argument, NULL, 't'},
    {"seconds", required_argument, NULL, 's'},
    {"warm-up", required_argument, NULL, 'w'},
    {"pid", required_argument, NULL, 'p'},
    {"json", no_argument, NULL, 'j'},
    {"help", no_argument, NULL, 'h'},
    {NULL, 0, NULL, 0},
};

/* What each mode does unless told otherwise. */
static const struct {
	const char *name;
	uint64_t connections, size;
} kinds[] = {
    [BENCH_STREAM] = {"stream", 1, 65536},
    [BENCH_RR] = {"rr", 64, 64},
    [BENCH_CONNECT] = {"connect", 32, 64},
    [BENCH_IDLE] = {"idle", 1000, 1},
    [BENCH_UDP] = {"udp", 1, 64},
};

static const char *const directions[] = {
    [BENCH_DOWN] = "down",
    [BENCH_UP] = "up",
    [BENCH_BOTH] = "both",
};

#define ALL ((1U << BENCH_KINDS) - 1)

/* Options that take a number. `scale` is 1000 for seconds, which may be a fraction. */
static const struct number {
	int letter;
	const char *name;
	unsigned kinds; /* where it means something */
	unsigned scale;
	uint64_t min, max; /* scaled */
	size_t at;
} numbers[] = {
    {'c', "--connections", ALL, 1, 1, 100000, offsetof(struct bench_options, connections)},
    {'b', "--size", ALL & ~(1U << BENCH_IDLE), 1, 1, BENCH_SIZE_MAX,
	offsetof(struct bench_options, size)},
    {'r', "--rate", 1U << BENCH_RR | 1U << BENCH_UDP, 1, 1, 10000000,
	offsetof(struct bench_options, rate)},
    {'o', "--outstanding", 1U << BENCH_UDP, 1, 1, 65536,
	offsetof(struct bench_options, outstanding)},
    {'B', "--burst", 1U << BENCH_UDP, 1, 1, 1000000, offsetof(struct bench_options, burst)},
    {'s', "--seconds", ALL, 1000, 10, 86400000, offsetof(struct bench_options, seconds_ms)},
    {'w', "--warm-up", ALL, 1000, 0, 86400000, offsetof(struct bench_options, warm_up_ms)},
    {'p', "--pid", ALL, 1, 1, 1 << 22, offsetof(struct bench_options, pid)},
};

#define N_NUMBERS (sizeof(numbers) / sizeof(numbers[0]))

const char *bench_kind_name(enum bench_kind kind)
{
	return kind < BENCH_KINDS ? kinds[kind].name : NULL;
}

static int wrong(const char *me, const char *what, const char *why)
{
	fprintf(stderr, "%s: %s: %s\n", me, what, why);
	fprintf(stderr, "'tabi bench --help' tells the options\n");
	return 2;
}

static int read_number(struct bench_options *o, const struct number *row, const char *me)
{
	const char *allowed = row->scale > 1 ? "0123456789." : "0123456789";
	char *end, range[96];
	double value = strtod(optarg, &end) * row->scale;

	if (!(row->kinds & 1U << o->kind))
		return wrong(me, row->name, "means nothing in this mode");
	if (end == optarg || optarg[strspn(optarg, allowed)] != '\0' || *end != '\0' ||
	    value < (double)row->min || value > (double)row->max) {
		snprintf(range, sizeof(range), "%s takes a number from %g to %g", row->name,
		    (double)row->min / row->scale, (double)row->max / row->scale);
		return wrong(me, optarg, range);
	}
	*(uint64_t *)(void *)((char *)o + row->at) = (uint64_t)(value + 0.5);
	return -1;
}

static int read_direction(struct bench_options *o, const char *me)
{
	if (o->kind != BENCH_STREAM)
		return wrong(me, "--direction", "means nothing in this mode");
	for (size_t i = 0; i < sizeof(directions) / sizeof(directions[0]); i++) {
		if (strcmp(optarg, directions[i]) == 0) {
			o->direction = (enum bench_direction)i;
			return -1;
		}
	}
	return wrong(me, optarg, "--direction takes down, up or both");
}

static int read_proxy(struct bench_options *o, const char *me)
{
	size_t len = strlen(optarg);
	const char *why = NULL;

	if (url_parse(optarg, len, &o->proxy, &why, NULL) != 0)
		return wrong(me, "--proxy", why);
	if (o->proxy.has_password)
		memset(optarg, '*', len);
	if (o->proxy.scheme == URL_SOCKS5_TLS || o->proxy.scheme == URL_HTTPS)
		return wrong(me, "--proxy", "TLS is nothing that tabi bench speaks");
	return -1;
}

/* Returns -1 to go on, or the exit status. */
static int read_one(struct bench_options *o, int c, const char *me)
{
	for (size_t i = 0; i < N_NUMBERS; i++)
		if (numbers[i].letter == c)
			return read_number(o, &numbers[i], me);
	switch (c) {
	case 'x':
		return read_proxy(o, me);
	case 'd':
		return read_direction(o, me);
	case 'D':
		o->direct = true;
		return -1;
	case 't':
		o->trains = true;
		return o->kind == BENCH_UDP ? -1
					    : wrong(me, "--trains", "means nothing in this mode");
	case 'j':
		o->json = true;
		return -1;
	case 'h':
		fputs(bench_usage, stdout);
		return 0;
	default:
		fputs(bench_usage, stderr);
		return 2;
	}
}

static int check_datagrams(const struct bench_options *o, const char *me)
{
	if (!o->direct && o->proxy.scheme != URL_SOCKS5 && o->proxy.scheme != URL_SOCKS5H)
		return wrong(me, "--proxy", "only SOCKS5 takes datagrams");
	if (o->size < BENCH_DATAGRAM_MIN || o->size > BENCH_DATAGRAM_MAX)
		return wrong(me, "--size", "a datagram has 8 to 65245 bytes");
	if (o->burst > 0 && o->rate > 0)
		return wrong(me, "--burst", "has no rate");
	return -1;
}

static int read_targets(struct bench_options *o, int argc, char **argv)
{
	if (argc == optind)
		return wrong(argv[0], "HOST:PORT", "say a target, where 'tabi bench serve' runs");
	if (argc - optind > BENCH_TARGETS_MAX)
		return wrong(argv[0], argv[optind + BENCH_TARGETS_MAX], "is one target too many");
	for (char **arg = argv + optind; *arg; arg++) {
		struct addr *target = &o->targets[o->n_targets++];

		if (addr_parse(*arg, strlen(*arg), target) != 0 || target->port == 0)
			return wrong(argv[0], *arg, "is not HOST:PORT");
	}
	/* So that no figure is taken for that of a proxy which was forgotten. */
	if (o->direct == (o->proxy.proxy.kind != ADDR_NONE))
		return wrong(argv[0], "way", "say -x URL or --direct, one of them");
	if (o->rate > 0 && o->connections > o->rate * 60)
		return wrong(argv[0], "--rate", "is less than a message a minute of a connection");
	return o->kind == BENCH_UDP ? check_datagrams(o, argv[0]) : -1;
}

int bench_options_read(struct bench_options *o, enum bench_kind kind, int argc, char **argv)
{
	int c, status = -1;

	*o = (struct bench_options){
	    .kind = kind,
	    .connections = kinds[kind].connections,
	    .size = kinds[kind].size,
	    .outstanding = 64,
	    .seconds_ms = 10000,
	    .warm_up_ms = 1000,
	};
	while (status < 0 &&
	       (c = getopt_long(argc, argv, "x:Dd:c:b:r:o:B:ts:w:p:jh", long_options, NULL)) != -1)
		status = read_one(o, c, argv[0]);
	return status < 0 ? read_targets(o, argc, argv) : status;
}
