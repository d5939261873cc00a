/* SPDX-License-Identifier: MIT */
/* The command line of tabi bench: what to load, how much, and for how long. */
#ifndef TABI_CLI_BENCH_OPTIONS_H
#define TABI_CLI_BENCH_OPTIONS_H

#include "proto/url.h"

enum bench_kind {
	BENCH_STREAM,  /* as many bytes as there is room for */
	BENCH_RR,      /* a message, its echo, the next message */
	BENCH_CONNECT, /* a session for each message */
	BENCH_IDLE,    /* sessions that only are there */
	BENCH_UDP,     /* datagrams and their echoes, by UDP ASSOCIATE */
	BENCH_KINDS,
};

enum bench_direction { BENCH_DOWN, BENCH_UP, BENCH_BOTH };

#define BENCH_TARGETS_MAX 64

struct bench_options {
	enum bench_kind kind;
	enum bench_direction direction; /* of BENCH_STREAM */
	bool direct;
	struct url proxy; /* unless `direct` */
	/* One connection after the other goes to the next of them; ports 1 to 65535. */
	struct addr targets[BENCH_TARGETS_MAX];
	unsigned n_targets;
	uint64_t connections;
	uint64_t size;       /* bytes of a message, or of one write of a stream */
	uint64_t seconds_ms; /* measured */
	uint64_t warm_up_ms; /* before that */
	uint64_t
	    rate; /* of BENCH_RR and BENCH_UDP: messages per second, all together; 0: one by one */
	uint64_t outstanding; /* of BENCH_UDP: datagrams of an association that await their echo */
	uint64_t burst; /* of BENCH_UDP: so many at once, and no more till all is over; 0: none */
	bool trains;    /* of BENCH_UDP: sent and received by UDP_SEGMENT and UDP_GRO */
	uint64_t pid;   /* of the proxy; 0: not told */
	bool json;
};

#define BENCH_SIZE_MAX (UINT64_C(1) << 20)
/* Of a datagram: its number, and what UDP carries behind the longest header of SOCKS5. */
#define BENCH_DATAGRAM_MIN 8
#define BENCH_DATAGRAM_MAX 65245

/* "stream" and so on; NULL beyond the last. */
const char *bench_kind_name(enum bench_kind kind);

/*
 * Reads `argv` behind the mode: argv[0] begins complaints, options and the target follow. Returns
 * -1 to go on, or the exit status, with what is wrong (or the help that was asked for) printed. A
 * password is wiped from `argv`, where ps(1) would show it.
 */
int bench_options_read(struct bench_options *o, enum bench_kind kind, int argc, char **argv);

/* The summary of all options. */
extern const char bench_usage[];

#endif
