/* SPDX-License-Identifier: MIT */
/*
 * The names that a UDP association sends to: a small cache, and the datagrams that wait for a
 * look-up.
 *
 * A name stands with its port, for the policy judges both. While it is looked up its datagrams wait
 * in order, a bounded number of them; what is too much is dropped.
 */
#ifndef TABI_SERVER_NAMES_H
#define TABI_SERVER_NAMES_H

#include "net/resolve.h"
#include "proto/addr.h"
#include "proto/socks5.h"
#include "server/grant.h"

#define NAMES_MAX 32
/* Waiting for one name, and in bytes for all of an association together. */
#define NAME_WAITING_MAX 16
#define NAMES_WAITING_BYTES ((size_t)512 * 1024)

struct names;

struct held {
	struct held *next;
	size_t len;
	uint8_t data[];
};

struct name {
	struct resolve_wait wait;
	struct names *all;
	bool resolving;
	bool denied; /* without `usable`: by the policy */
	bool usable; /* `ip` is where it goes, as long as `until` lies ahead */
	/* With `usable`, it goes through proxies as a name: `ip` is who answered last, if anybody
	 * has (`answered`). */
	bool named;
	bool sent, answered;
	struct grant grant; /* with `usable` */
	uint64_t until;     /* loop time; without `usable`, how long it is not asked for again */
	uint64_t used;      /* loop time */
	struct ip ip;
	uint16_t port;
	uint8_t len;
	char text[ADDR_NAME_MAX + 1]; /* as sent; checked by addr_set_host() */
	struct held *first, **last;
	unsigned n_held;
};

/* Zeroed is empty. */
struct names {
	struct name *list[NAMES_MAX]; /* owned */
	size_t n;
	size_t held_bytes;
	unsigned n_held;
};

/* Cancels what is under way. */
void names_fini(struct names *all);

/* One to which something was sent as a name through that group, and `from` may be it: by its name,
 * or, since its address is the proxy's affair, any address with its port; with a wider filter, any
 * port of the address that it answered from. NULL where there is none. */
struct name *names_find_speaker(
    const struct names *all, const struct policy_proxy *via, const struct addr *from);

/* NULL where it is not there. */
struct name *names_find(struct names *all, const struct socks5_address *address);

/* A new one; may push out the one used longest ago that nobody waits for. NULL where all are waited
 * for, or without memory. */
struct name *names_add(struct names *all, const struct addr *addr);

/* Keeps a copy. False where that would be too much. */
bool name_hold(struct name *name, const void *data, size_t len);

/* The next datagram held, to be freed by the caller, or NULL. */
struct held *name_take(struct name *name);

#endif
