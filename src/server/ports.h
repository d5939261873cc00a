/* SPDX-License-Identifier: MIT */
/*
 * The UDP ports on which this server's relays listen, known to all of its workers.
 *
 * Theory of operation. A client must not reach a relay by way of another (U28): the other would
 * take it for its client, or the two would send in circles. So every worker must know the ports of
 * all. They stand in one mapping that the supervisor makes before it forks: a column of counters
 * per worker, written by that worker alone, so that a dead worker's share can be cleared. A worker
 * gone mad could at worst clear or fill counters: no memory is reached through them.
 */
#ifndef TABI_SERVER_PORTS_H
#define TABI_SERVER_PORTS_H

#include <stdbool.h>
#include <stdint.h>

#include "proto/addr.h"

#define PORTS_WORKERS_MAX 256

/* Once, before the first worker. Returns 0 or -errno. */
int ports_setup(void);

/* That worker has no port. */
void ports_clear(unsigned worker);

/* Of a socket of that family: the two have ports of their own. */
void ports_add(unsigned worker, bool v6, uint16_t port);
void ports_remove(unsigned worker, bool v6, uint16_t port);

/* Does any relay listen on that port, at whatever address? An IPv6 address may carry an IPv4 one,
 * so both families are looked at for it. */
bool ports_have(const struct ip *ip, uint16_t port);

/* Changes whenever a port is added: what ports_have() denied before must be asked again. */
uint32_t ports_generation(void);

#endif
