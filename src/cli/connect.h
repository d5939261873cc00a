/* SPDX-License-Identifier: MIT */
/* What tabi connect's modes share, and where each of them is. */
#ifndef TABI_CLI_CONNECT_H
#define TABI_CLI_CONNECT_H

#include "cli/connect_options.h"
#include "cli/pump.h"
#include "cli/verdict.h"
#include "cli/way.h"
#include "net/nest.h"

/* Says what failed with the first `n_hops` proxies, and returns the exit status. `waiting` as in
 * struct verdict_request. */
int connect_complain(const struct connect_options *o, size_t n_hops,
    const struct chain_result *failed, bool waiting);

/* Says what a pump or the datagrams ended with (0 or an error of pump_run()), and returns the exit
 * status. */
int connect_tell_end(const struct connect_options *o, int err, enum pump_place place,
    const char *why, uint64_t up, uint64_t down);

/* -z, from the loop's start to its end. Returns the exit status. */
int connect_scan(struct connect_options *o);

/* Datagrams between standard input and output and the target: by way of proxies, or, where `nest`
 * is NULL, of a socket that is connected to it. Closes either. Returns the exit status. */
int connect_datagrams(const struct connect_options *o, struct nest *nest, int fd);

/* A loop and a resolver for the time until a connection stands. */
struct connect_loop {
	struct loop loop;
	struct resolver *resolver;
};

/* Returns 0, or an exit status with what is wrong printed. */
int connect_loop_init(struct connect_loop *l, const struct connect_options *o);
void connect_loop_fini(struct connect_loop *l);

#endif
