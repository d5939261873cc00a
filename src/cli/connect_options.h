/* SPDX-License-Identifier: MIT */
/* The command line of tabi connect: where to, by which way, and what then. */
#ifndef TABI_CLI_CONNECT_OPTIONS_H
#define TABI_CLI_CONNECT_OPTIONS_H

#include <stdint.h>

#include "cli/proxies.h"

enum connect_mode {
	CONNECT_STREAM,
	CONNECT_UDP,
	CONNECT_LISTEN,
	CONNECT_SCAN,
};

struct connect_options {
	enum connect_mode mode;
	struct proxies proxies;
	struct addr target; /* of CONNECT_LISTEN the peer, ADDR_NONE for anybody; of CONNECT_SCAN
			       without a port */
	uint16_t *ports;    /* of CONNECT_SCAN: n_ports of them, owned */
	size_t n_ports;
	uint64_t timeout_ms; /* 0: no limit */
	uint64_t idle_ms;    /* 0: no limit */
	int64_t quit_ms;     /* -1: no limit */
	bool pass_fd, verbose;
};

/*
 * Reads the command line; argv[0] begins complaints. Returns -1 to go on, or the exit status, with
 * what is wrong (or the help that was asked for) printed. A password is wiped from `argv`, where
 * ps(1) would show it.
 */
int connect_options_read(struct connect_options *o, int argc, char **argv);

/* Wipes and frees; also where reading failed. */
void connect_options_free(struct connect_options *o);

#endif
