/* SPDX-License-Identifier: MIT */
/* Who may reach what, when: a request in, a verdict out. */
#ifndef TABI_POLICY_DECIDE_H
#define TABI_POLICY_DECIDE_H

#include "policy/policy.h"

/* Minutes since Monday 00:00 in local time, 0 to 10079: what `during` is compared with. */
typedef unsigned week_minute;

struct policy_request {
	/* The client. One on a Unix socket has the address 127.0.0.1. */
	struct ip client;
	const char *listener; /* policy_listener.text */
	const char *user; /* NULL where nobody proved to be anybody; may hold any byte but NUL */
	enum auth_method method;
	enum proto proto;
	enum command command;

	/* The destination: the name as asked for in canonical form (or NULL), and the address to be
	 * connected to once it is known. */
	const char *name;
	bool has_ip;
	struct ip ip;
	uint16_t port;
	/* The destination is not known at all: a UDP association that is about to begin. Then all
	 * of the above is not looked at, and the verdict is about any destination whatever. */
	bool any_target;
	bool is_self; /* `ip` and `port` are one of our own listeners; the caller knows */

	week_minute now;
};

enum verdict {
	VERDICT_DENY,
	VERDICT_ALLOW,
	/* Only without has_ip: it depends on the address. Resolve, and ask again for each. */
	VERDICT_DEPENDS,
};

struct decision {
	enum verdict verdict;
	const struct policy_rule
	    *rule; /* the one that decided; NULL: none matched (deny), or VERDICT_DEPENDS */
	bool log;  /* the rule says `log` */
	enum udp_filter filter; /* of VERDICT_ALLOW: which remotes may be heard */
	/* Of VERDICT_ALLOW, where `ip` is a multicast group: the highest TTL, and the interface by
	 * which it leaves (NULL: the kernel chooses). */
	uint8_t ttl;
	const char *interface;
	uint64_t rate; /* of VERDICT_ALLOW: bytes per second each way; 0: no limit */
	const struct policy_proxy *via; /* of VERDICT_ALLOW: through which; NULL: directly */
	bool forward_credentials;       /* and it gets the client's credentials */
	/* Of VERDICT_ALLOW: from where it leaves; NULL: as the kernel chooses. */
	const struct policy_egress *egress;
	/* Of VERDICT_ALLOW without has_ip: no address could make it another rule's. */
	bool certain;
};

/*
 * First match decides; nothing matched means deny. Pure: no look-up, no clock. Without has_ip a
 * rule that asks for addresses is neither matched nor passed over: the verdict is VERDICT_DENY only
 * where no address could be allowed, and VERDICT_ALLOW only where every address would be.
 *
 * Of COMMAND_RESOLVE `port` is not looked at: it is allowed where the rules allow at least one port
 * of the destination.
 *
 * Datagrams to a multicast group are allowed only by a rule that names groups: by a net that lies
 * within multicast, or by `multicast`. Neither `any` nor 0.0.0.0/0 nor the name of a host does, and
 * such a rule is passed over.
 */
struct decision policy_decide(const struct policy *policy, const struct policy_request *req);

/* Without has_ip: what holds for addresses that no rule which waits for the address matches. Never
 * VERDICT_DEPENDS. */
struct decision policy_decide_rest(const struct policy *policy, const struct policy_request *req);

/* Of a decision about a name without its address: does it go to a proxy as a name? All of the group
 * take names then, and no rule before it asks for addresses. */
bool policy_sends_name(const struct decision *decision);

/* Where the rule stands, for the log. */
struct position policy_rule_position(const struct policy_rule *rule);

#endif
