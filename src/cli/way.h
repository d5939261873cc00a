/* SPDX-License-Identifier: MIT */
/*
 * One connection by the way that the command line says: through a chain of proxies, or directly.
 *
 * The result is net/chain's in either case; what fails directly has `hop` 0 of none.
 */
#ifndef TABI_CLI_WAY_H
#define TABI_CLI_WAY_H

#include "cli/proxies.h"
#include "net/chain.h"

struct way_options {
	struct loop *loop;
	struct resolver *resolver;
	const struct proxies *proxies;
	/* Directly COMMAND_CONNECT, or COMMAND_UDP, where `fd` is then a socket for datagrams that
	 * is connected to the target. */
	enum command command;
	struct addr target;
	uint64_t timeout_ms; /* 0: none; at most a month. Of BIND until somebody listens */
	chain_fn *fn;
	void *ctx;
};

struct way;

/* Returns 0 where `fn` will be called from the loop, as net/chain.h says; or 1 where it is over
 * already: `*ret_result` is what `fn` would have been called with. */
int way_start(
    struct way **ret_way, const struct way_options *options, struct chain_result *ret_result);

/* `fn` is not called any more. NULL is fine. */
void way_cancel(struct way *way);

#endif
