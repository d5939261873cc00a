/* SPDX-License-Identifier: MIT */
/* The command line of tabi probe. */
#ifndef TABI_CLI_PROBE_OPTIONS_H
#define TABI_CLI_PROBE_OPTIONS_H

#include "cli/proxies.h"

#define PROBE_TARGETS 2
#define PROBE_ONLY_MAX 256

/* How it ended. */
enum probe_status {
	PROBE_FINE = 0,
	PROBE_FAILED = 1, /* a check failed that a standard requires; or there is no way through */
	PROBE_USAGE = 2,
	PROBE_WEAK = 3,    /* only checks failed that are good practice */
	PROBE_NOTHING = 4, /* nothing could be asked */
};

struct probe_options {
	struct proxies proxies; /* one; probe_options_free() */
	struct url proxy;       /* the same */
	struct addr targets[PROBE_TARGETS];
	unsigned n_targets;
	struct addr name; /* of the target, without port; ADDR_NONE: not told */
	unsigned timeout_ms;
	bool json, conformance, slow, list, quiet;
	const char *only[PROBE_ONLY_MAX]; /* checks or groups, by their ids */
	unsigned n_only;
};

/* Returns -1 to go on, or the exit status. A password is wiped from `argv`. */
int probe_options_read(struct probe_options *o, int argc, char **argv);
/* Wipes and frees, whatever came of reading them. */
void probe_options_free(struct probe_options *o);

#endif
