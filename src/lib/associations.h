/* SPDX-License-Identifier: MIT */
/*
 * The associations of UDP through proxies: one of the last proxy, or one of each in a chain of
 * SOCKS5.
 *
 * Theory of operation. The association of a proxy in a chain is asked for through those before it,
 * over a connection of its own, which keeps it alive. Datagrams carry a header for each
 * (proto/udp.h).
 */
#ifndef TABI_LIB_ASSOCIATIONS_H
#define TABI_LIB_ASSOCIATIONS_H

#include <stdbool.h>

#include "lib/os.h"
#include "proto/udp.h"

struct associations {
	struct tabi_dial *dials[TABI_HOPS_MAX]; /* the last one's proxy is the last */
	struct udp_relay relays[TABI_HOPS_MAX]; /* of each, as the proxy before it knows it */
	size_t n;
	tabi_socket group; /* stands for all their sockets; TABI_NO_SOCKET: there is none */
};

/* Into zeros. Blocks until all are there. Returns 0, or an error, which `*ret_error` tells;
 * whatever came of it has to be closed. */
int associations_open(struct associations *a, const char *proxies,
    const struct tabi_options *options, struct tabi_error *ret_error);
void associations_close(struct associations *a);

/* Has one of them ended? */
bool associations_have_ended(const struct associations *a);

/* What to wait for, to see that: up to TABI_HOPS_MAX. Returns how many. */
int associations_waits(const struct associations *a, struct os_wait *ret_waits);

/* The same as one descriptor; where the system has no such thing it is the last proxy's. */
tabi_socket associations_fd(const struct associations *a);

#endif
