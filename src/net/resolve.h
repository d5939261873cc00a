/* SPDX-License-Identifier: MIT */
/*
 * Names to addresses, and addresses to names: c-ares on the loop, with a cache.
 *
 * Any number of look-ups run at once, those for the same name are one, and nothing blocks. Answers
 * are kept as long as their TTL says (within bounds), failures for a short time. localhost and
 * names below it are answered here (RFC 6761).
 */
#ifndef TABI_NET_RESOLVE_H
#define TABI_NET_RESOLVE_H

#include "net/loop.h"
#include "proto/addr.h"

#define RESOLVE_ADDRS_MAX 16

struct resolve_answer {
	int err; /* ERR_OK (then n >= 1), ERR_NOT_FOUND, ERR_RESOLVER, ERR_NAME or -errno */
	unsigned n;
	union {
		/* n of them, in the order in which to try: see prefer.h */
		struct ip ip[RESOLVE_ADDRS_MAX];
		/* Of resolver_ask_name(): n bytes and a NUL, as addr_set_host() allows. */
		char name[ADDR_NAME_MAX + 1];
	};
};

struct resolve_wait;
typedef void resolve_fn(struct resolve_wait *wait, const struct resolve_answer *answer);

/* Somebody who waits for an answer; lives in the caller's memory, zeroed before its first use. */
struct resolve_wait {
	struct resolve_wait *prev, *next; /* NULL when not waiting */
	resolve_fn *fn;
};

struct resolver_options {
	const struct addr *servers; /* ADDR_IP with port; borrowed during the call */
	size_t n_servers;           /* 0: the system's resolv.conf */
	size_t cache_max;           /* entries; 0: 4096 */
	unsigned timeout_ms;        /* of one try at one server; 0: 2000 */
	unsigned tries;             /* 0: 3 */
};

struct resolver;

/* Returns 0 or -errno. */
int resolver_new(
    struct resolver **ret_resolver, struct loop *loop, const struct resolver_options *options);
/*
 * Nobody may ask any more; those who wait get their answers first (so that servers can be changed
 * at any time). Closes asynchronously: the loop must turn until idle. NULL is fine.
 */
void resolver_free(struct resolver *resolver);

/*
 * Looks up `name` (NUL-terminated, checked by addr_set_host(); a trailing dot suppresses the search
 * list). Returns 1 with `*ret_answer` where the answer is at hand, 0 where `fn` will be called with
 * it later, or a negative error where the look-up could not begin.
 */
int resolver_ask(struct resolver *resolver, const char *name, struct resolve_wait *wait,
    resolve_fn *fn, struct resolve_answer *ret_answer);

/* The same for the name of an address: what its PTR record or the hosts file says. Whoever has the
 * address says so, and nobody else vouches for it. */
int resolver_ask_name(struct resolver *resolver, const struct ip *ip, struct resolve_wait *wait,
    resolve_fn *fn, struct resolve_answer *ret_answer);

/* `fn` will not be called. Fine where nobody waits. */
void resolve_cancel(struct resolve_wait *wait);

#endif
