/* SPDX-License-Identifier: MIT */
/*
 * From where a socket leaves this host: an address of its own for each family, or an interface.
 *
 * Theory of operation. What was asked for is had or the socket is not used: the kernel, left to
 * itself, takes another address where an interface has none, or where the one asked for is the
 * broadcast address of a net. So the address is always known before anything is sent, the socket
 * is bound to it, and whoever connects looks at what became of it.
 */
#ifndef TABI_NET_SOURCE_H
#define TABI_NET_SOURCE_H

#include <sys/socket.h>

#include "policy/policy.h"
#include "proto/addr.h"

/* IF_NAMESIZE, with NUL. */
#define SOURCE_INTERFACE_SIZE 16

struct source {
	/* By this interface, from the address that it has toward the destination; "" for any. */
	char interface[SOURCE_INTERFACE_SIZE];
	/* Without it, from these. */
	bool has[FAMILY_COUNT];
	struct ip ip[FAMILY_COUNT]; /* which need be no interface's, where a route is local */
};

/*
 * The address from which `to` is reached: of the same family. Returns 0, ERR_EGRESS_FAMILY where
 * there is none of that family, ERR_EGRESS where it cannot be used (it is not there, or it is a
 * loopback address and `to` is not), or -errno. An unspecified `to` stands for anybody.
 */
int source_find(const struct source *source, const struct ip *to, struct ip *ret_from);

/*
 * Binds a socket to what source_find() has found, and to the interface. `connects`: it is of TCP,
 * `port` is 0, and the port is chosen when it connects, so that one port serves for many
 * destinations. Returns 0, ERR_EGRESS, or -errno.
 */
int source_bind(
    int fd, const struct source *source, const struct ip *from, uint16_t port, bool connects);

#endif
