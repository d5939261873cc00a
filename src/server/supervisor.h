/* SPDX-License-Identifier: MIT */
/*
 * The supervisor: reads the configuration, holds the listening sockets, keeps the workers alive,
 * and never reads a byte that comes from the network.
 */
#ifndef TABI_SERVER_SUPERVISOR_H
#define TABI_SERVER_SUPERVISOR_H

#include <stddef.h>

struct supervisor_options {
	const char *config;        /* path; NULL: the built-in text */
	const char *const *listen; /* without a config: instead of the built-in listeners */
	size_t n_listen;
	/* Or a configuration that is no file, and what messages call it. Stays the caller's. */
	const char *text, *name;
};

/* Serves until told to stop. Returns the exit status: 0, or 1 after saying why on standard error.
 */
int supervisor_run(const struct supervisor_options *options);

#endif
