/* SPDX-License-Identifier: MIT */
/* Sets of addresses and of host names that answer as fast when they are large. */
#ifndef TABI_POLICY_SETS_H
#define TABI_POLICY_SETS_H

#include "policy/arena.h"
#include "policy/table.h"
#include "proto/addr.h"

struct ip_range {
	struct ip first, last;
};

/*
 * Addresses as sorted ranges that neither touch nor overlap. A net written as IPv6 holds no IPv4
 * address, although the canonical form of IPv4 lies inside ::/0: who writes ::/0 means all of IPv6.
 */
struct net_set {
	struct ip_range *ranges;
	size_t n;
	/* Of the nets those that lie within multicast, so that a larger one cannot open it. */
	struct ip_range *groups;
	size_t n_groups;
	bool wide;   /* holds a net larger than an IPv4 /8 or an IPv6 /16: no circle of friends */
	bool all_v4; /* holds every IPv4 address; set by net_set_close() */
	bool all_v6;
};

/* Adds a net; `prefix` counts in the 128 bits of the canonical form. Returns whether there was
 * memory. */
bool net_set_add(struct net_set *s, struct arena *a, const struct ip *net, unsigned prefix);

/* To be called once between adding and asking: sorts and merges. */
void net_set_close(struct net_set *s);

bool net_set_has(const struct net_set *s, const struct ip *ip);
/* Is there an address in both? */
bool net_set_meets(const struct net_set *a, const struct net_set *b);

/* Does a net hold it that is all multicast? */
bool net_set_names_group(const struct net_set *s, const struct ip *ip);

/* The address with all bits behind `prefix` cleared. */
struct ip net_base(const struct ip *ip, unsigned prefix);

/* Host patterns: names, and `*.name` for everything strictly below one. */
struct host_set {
	bool any; /* `*` */
	struct table names;
};

/* Adds a name in canonical form (name_canonical()), or with `below` what is below it. Returns
 * whether there was memory. */
bool host_set_add(struct host_set *s, struct arena *a, const char *name, size_t len, bool below);

/* `name` in canonical form. */
bool host_set_has(const struct host_set *s, const char *name, size_t len);

/* Strings that are compared byte by byte. */
struct string_set {
	struct table strings;
};

bool string_set_add(struct string_set *s, struct arena *a, const char *text, size_t len);
bool string_set_has(const struct string_set *s, const char *text, size_t len);
/* Is there a string in both? */
bool string_set_meets(const struct string_set *a, const struct string_set *b);

#endif
