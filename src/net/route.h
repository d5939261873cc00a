/* SPDX-License-Identifier: MIT */
/* What the kernel's routes say of an address. */
#ifndef TABI_NET_ROUTE_H
#define TABI_NET_ROUTE_H

#include <stdbool.h>

#include "proto/addr.h"

/*
 * Is what is sent to this address delivered on this host? So are whole nets where a route says so
 * ("ip route add local 2001:db8:1::/64 dev lo"), whose addresses are no interface's. Asks the
 * kernel. False where it cannot be asked.
 */
bool route_is_local(const struct ip *ip);

#endif
