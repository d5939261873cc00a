/* SPDX-License-Identifier: MIT */
/* The order in which to try the addresses of a name (RFC 6724, destination address selection). */
#ifndef TABI_NET_PREFER_H
#define TABI_NET_PREFER_H

#include <stdbool.h>
#include <stddef.h>

#include "proto/addr.h"

struct destination {
	struct ip ip;
	bool reachable; /* the kernel has a route, and with it a source address */
	struct ip source;
};

/* Asks the kernel from which address it would send to `ip`; nothing is sent. */
struct destination destination_of(const struct ip *ip);

/*
 * The best comes first; those equally good keep their order. Meant for a few: it takes n*n steps.
 * Rule 9 (longest common prefix) is left out, as it would undo the rotation by which zones spread
 * load; rules 3, 4 and 7 speak of what an application cannot see.
 */
void destinations_sort(struct destination *dests, size_t n);

#endif
