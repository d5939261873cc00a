/* SPDX-License-Identifier: MIT */
/* What a rule is made of: written by the parser, read by decide, explain and the checks. */
#ifndef TABI_POLICY_RULE_H
#define TABI_POLICY_RULE_H

#include "policy/hours.h"
#include "policy/decide.h"
#include "policy/sets.h"
#include "policy/words.h"

/*
 * The list after `from` or `to`. The sets belong to the definitions they come from, shared by all
 * rules that name them; addresses and patterns written in the rule itself make one more of each.
 */
struct place {
	bool given;       /* false: the word is missing, so everything matches */
	bool any;         /* any, all */
	bool internet;    /* what is in none of the special classes */
	bool self;        /* our own listeners; the caller says what that is */
	unsigned classes; /* enum ip_class bits of the named sets */
	const struct net_set **nets;
	size_t n_nets;
	const struct host_set **hosts;
	size_t n_hosts;
};

struct port_range {
	uint16_t first, last;
};

/* How far multicast goes where a rule does not say: not beyond the first router. */
#define MULTICAST_TTL_DEFAULT 1

struct policy_rule {
	struct position at; /* of the word `allow` or `deny` */
	const char *text;   /* the statement on one line, as written but for white space */
	const char
	    *terms; /* what is granted but not in this version, "idle 5m, for 30m"; or NULL */
	bool allow;
	bool log;
	enum udp_filter filter;         /* what is granted to UDP */
	uint8_t ttl;                    /* the highest of multicast; 0: not said */
	const char *interface;          /* of multicast; NULL: not said */
	uint64_t rate;                  /* bytes per second, of UDP alone; 0: no limit */
	const char *rate_text;          /* as written */
	const struct policy_proxy *via; /* NULL: from here, directly */
	bool forward_credentials;       /* the client's, to the last proxy of `via` */
	/* EGRESS_ANY where this rule wants no other, though the settings do. NULL: not said */
	const struct policy_egress *egress;
	struct place from, to;
	const struct port_range *ports; /* sorted, none touching; n_ports == 0: any */
	size_t n_ports;
	const struct string_set *users; /* NULL: not asked for */
	const struct string_set **groups;
	size_t n_groups;
	unsigned commands;  /* bits 1 << enum command; 0: any */
	unsigned protocols; /* bits 1 << enum proto; 0: any */
	unsigned methods;   /* enum auth_method bits; 0: any */
	const struct policy_listener **listeners;
	size_t n_listeners; /* 0: any */
	const struct hours **during;
	size_t n_during; /* 0: always */
};

/* The words of the language for the protocol's enums; each table ends with NULL. */

extern const struct word rule_commands[];
extern const struct word rule_protocols[];
extern const struct word rule_methods[];
extern const struct word rule_filters[];

/* How a member of a group is chosen, and how its credentials are kept apart. */
extern const struct word proxy_balances[];
extern const struct word proxy_isolations[];

/* From where what it allows leaves, by itself or by the settings; NULL: as the kernel chooses. */
const struct policy_egress *rule_egress(
    const struct policy_rule *rule, const struct policy_settings *set);

/* Is it about commands of which `rate` limits all that passes? */
bool rule_has_rate(const struct policy_rule *rule);

/* Does it name multicast groups, so that an `allow` is about them? */
bool place_names_groups(const struct place *place);

/* Does this rule ask who the client is, so that a stranger cannot match it? */
bool rule_needs_proof(const struct policy_rule *rule);

/* The conditions of a rule that are about the client alone: its address and where it came in, or
 * who it is. */
bool rule_is_about_client(
    const struct policy_rule *rule, const struct ip *client, const char *listener);
bool rule_is_about_user(const struct policy_rule *rule, const char *user, size_t len);

/* Does a request match this one rule? Without its address that may have to wait. */
enum rule_match { RULE_PASSES, RULE_MATCHES, RULE_WAITS };
enum rule_match rule_match(const struct policy_rule *rule, const struct policy_request *req);

#endif
