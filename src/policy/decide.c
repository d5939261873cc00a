/* SPDX-License-Identifier: MIT */
#include "policy/decide.h"

#include <string.h>

#include "policy/rule.h"

/*
 * How an address may be read. One that carries an IPv4 address inside may be delivered as that one,
 * or as what it is. A rule that denies matches where any reading does; a rule that allows only
 * where the address itself does, or a stranger whose own /64 holds ...:0:5efe:7f00:1 (ISATAP) would
 * be "from loopback".
 */
struct reading {
	const struct ip *ip;
	unsigned classes; /* of all readings */
	unsigned own;     /* of the address itself */
	size_t n_v4;
	struct ip v4[IP_EMBEDDED_MAX];
};

/* What is the same for all rules of one decision. */
struct question {
	const struct policy_request *req;
	struct reading client, target;
	size_t user_len, name_len;
	char name[ADDR_NAME_MAX + 1];
};

static struct reading read_ip(const struct ip *ip)
{
	struct reading r = {.ip = ip, .classes = ip_classes(ip), .own = ip_own_classes(ip)};

	r.n_v4 = ip_embedded_v4(ip, r.v4);
	return r;
}

static bool nets_have(const struct place *p, const struct ip *ip)
{
	for (size_t i = 0; i < p->n_nets; i++)
		if (net_set_has(p->nets[i], ip))
			return true;
	return false;
}

static bool allow_has_ip(const struct place *p, const struct reading *r)
{
	return (p->classes & r->own) != 0 || (p->internet && r->classes == 0) ||
	       nets_have(p, r->ip);
}

static bool deny_has_ip(const struct place *p, const struct reading *r)
{
	if ((p->classes & r->classes) != 0 || (p->internet && r->own == 0) || nets_have(p, r->ip))
		return true;
	for (size_t i = 0; i < r->n_v4; i++)
		if (nets_have(p, &r->v4[i]) || (p->internet && ip_classes(&r->v4[i]) == 0))
			return true;
	return false;
}

static bool place_has_ip(const struct place *p, const struct reading *r, bool allow)
{
	return allow ? allow_has_ip(p, r) : deny_has_ip(p, r);
}

static bool from_matches(const struct policy_rule *rule, const struct reading *client)
{
	const struct place *p = &rule->from;

	return !p->given || p->any || place_has_ip(p, client, rule->allow);
}

/* Multicast reaches who has not been asked for, so it must have been meant. */
static bool names_group(const struct place *p, const struct ip *ip)
{
	for (size_t i = 0; i < p->n_nets; i++)
		if (net_set_names_group(p->nets[i], ip))
			return true;
	return (p->classes & ip_own_classes(ip) & IP_MULTICAST) != 0;
}

/* Is it about datagrams to a group, or about joining one? */
static bool is_group(const struct policy_request *req)
{
	return req->command == COMMAND_MULTICAST || (req->command == COMMAND_UDP && req->has_ip &&
							ip_own_classes(&req->ip) & IP_MULTICAST);
}

static enum rule_match group_matches(const struct place *p, const struct policy_request *req)
{
	if (!req->has_ip)
		return place_names_groups(p) ? RULE_WAITS : RULE_PASSES;
	return names_group(p, &req->ip) ? RULE_MATCHES : RULE_PASSES;
}

static enum rule_match to_matches(const struct policy_rule *rule, const struct question *q)
{
	const struct place *p = &rule->to;

	if (rule->allow && is_group(q->req))
		return group_matches(p, q->req);
	if (!p->given || p->any)
		return RULE_MATCHES;
	for (size_t i = 0; q->req->name && i < p->n_hosts; i++)
		if (host_set_has(p->hosts[i], q->name, q->name_len))
			return RULE_MATCHES;
	if (!q->req->has_ip)
		return p->classes || p->internet || p->self || p->n_nets > 0 ? RULE_WAITS
									     : RULE_PASSES;
	if (p->self && q->req->is_self)
		return RULE_MATCHES;
	return place_has_ip(p, &q->target, rule->allow) ? RULE_MATCHES : RULE_PASSES;
}

static bool port_matches(const struct policy_rule *rule, uint16_t port)
{
	size_t low = 0, high = rule->n_ports;

	if (rule->n_ports == 0)
		return true;
	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (rule->ports[middle].first <= port)
			low = middle + 1;
		else
			high = middle;
	}
	return low > 0 && port <= rule->ports[low - 1].last;
}

bool rule_is_about_user(const struct policy_rule *rule, const char *user, size_t len)
{
	bool in_group = rule->n_groups == 0;

	if (!rule->users && rule->n_groups == 0)
		return true;
	if (!user || (rule->users && !string_set_has(rule->users, user, len)))
		return false;
	for (size_t i = 0; i < rule->n_groups && !in_group; i++)
		in_group = string_set_has(rule->groups[i], user, len);
	return in_group;
}

static bool listener_matches(const struct policy_rule *rule, const char *listener)
{
	for (size_t i = 0; i < rule->n_listeners; i++)
		if (listener && strcmp(rule->listeners[i]->text, listener) == 0)
			return true;
	return rule->n_listeners == 0;
}

bool rule_is_about_client(
    const struct policy_rule *rule, const struct ip *client, const char *listener)
{
	const struct reading reading = read_ip(client);

	return from_matches(rule, &reading) && listener_matches(rule, listener);
}

static bool during_matches(const struct policy_rule *rule, week_minute now)
{
	for (size_t i = 0; i < rule->n_during; i++)
		if (hours_has(rule->during[i], now))
			return true;
	return rule->n_during == 0;
}

/* Does it match whatever the destination may be? */
static enum rule_match any_matches(const struct policy_rule *rule)
{
	bool all = (!rule->to.given || rule->to.any) && rule->n_ports == 0;

	return all ? RULE_MATCHES : RULE_WAITS;
}

/* Is this rule about the port asked for? A resolve has none: see at_some_port(). */
static bool port_fits(const struct policy_rule *rule, const struct policy_request *req)
{
	return req->any_target || req->command == COMMAND_RESOLVE || port_matches(rule, req->port);
}

/* What is granted without `command` is what every proxy does; to join groups must be said. */
static bool command_matches(const struct policy_rule *rule, enum command command)
{
	if (rule->commands == 0)
		return !rule->allow || command != COMMAND_MULTICAST;
	return (rule->commands >> command & 1) != 0;
}

/* All words are joined by "and"; the items of one word's list by "or". */
static enum rule_match rule_matches(const struct policy_rule *rule, const struct question *q)
{
	const struct policy_request *req = q->req;

	if (!command_matches(rule, req->command))
		return RULE_PASSES;
	if (rule->protocols != 0 && (rule->protocols >> req->proto & 1) == 0)
		return RULE_PASSES;
	if (rule->methods != 0 && (rule->methods & req->method) == 0)
		return RULE_PASSES;
	if (!port_fits(rule, req) || !from_matches(rule, &q->client) ||
	    !rule_is_about_user(rule, req->user, q->user_len) ||
	    !listener_matches(rule, req->listener) || !during_matches(rule, req->now))
		return RULE_PASSES;
	return req->any_target ? any_matches(rule) : to_matches(rule, q);
}

static struct question question_of(const struct policy_request *req)
{
	struct question q = {.req = req, .client = read_ip(&req->client)};

	if (req->has_ip)
		q.target = read_ip(&req->ip);
	if (req->user)
		q.user_len = strlen(req->user);
	if (req->name)
		q.name_len = name_canonical(req->name, strnlen(req->name, ADDR_NAME_MAX), q.name);
	return q;
}

enum rule_match rule_match(const struct policy_rule *rule, const struct policy_request *req)
{
	struct question q = question_of(req);

	return rule_matches(rule, &q);
}

/*
 * The ports at which no rule has denied yet. A resolve has no port of its own, and its answer is
 * of use with every port: so it is allowed where the rules allow at least one, and no address is
 * told that they would let nobody reach.
 */
struct open_ports {
	uint64_t bits[65536 / 64];
};

static bool port_is_open(const struct open_ports *open, unsigned port)
{
	return open->bits[port / 64] >> port % 64 & 1;
}

static bool is_empty(const struct open_ports *open)
{
	uint64_t any = 0;

	for (size_t i = 0; i < sizeof(open->bits) / sizeof(open->bits[0]); i++)
		any |= open->bits[i];
	return any == 0;
}

static bool rule_has_open(const struct policy_rule *rule, const struct open_ports *open)
{
	for (size_t i = 0; i < rule->n_ports; i++)
		for (unsigned port = rule->ports[i].first; port <= rule->ports[i].last; port++)
			if (port_is_open(open, port))
				return true;
	return false;
}

static void close_ports(struct open_ports *open, const struct policy_rule *rule)
{
	for (size_t i = 0; i < rule->n_ports; i++)
		for (unsigned port = rule->ports[i].first; port <= rule->ports[i].last; port++)
			open->bits[port / 64] &= ~((uint64_t)1 << port % 64);
}

/* Of a resolve: what a rule with `port` comes to that otherwise matches, or may. */
static enum rule_match at_some_port(
    const struct policy_rule *rule, enum rule_match match, struct open_ports *open)
{
	if (rule->allow)
		return rule_has_open(rule, open) ? match : RULE_PASSES;
	if (match == RULE_WAITS)
		return match;
	close_ports(open, rule);
	return is_empty(open) ? RULE_MATCHES : RULE_PASSES;
}

/* The ports lie with the caller of policy_decide() for a resolve alone, for they are many. */
static struct decision decide(
    const struct policy *policy, const struct question *q, struct open_ports *open, bool waits)
{
	bool may_allow = false, may_deny = false;
	struct decision d = {.verdict = VERDICT_DENY};

	for (size_t i = 0; i < policy->n_rules; i++) {
		const struct policy_rule *rule = &policy->rules[i];
		enum rule_match match = rule_matches(rule, q);

		if (open && match != RULE_PASSES && rule->n_ports > 0)
			match = at_some_port(rule, match, open);
		if (match == RULE_WAITS && !waits)
			continue;
		if (match == RULE_WAITS) {
			may_allow |= rule->allow;
			may_deny |= !rule->allow;
		} else if (match == RULE_MATCHES) {
			d.rule = rule;
			break;
		}
	}
	/* What falls through all rules is denied, like by a last rule. */
	if (d.rule && d.rule->allow)
		d.verdict = may_deny ? VERDICT_DEPENDS : VERDICT_ALLOW;
	else
		d.verdict = may_allow ? VERDICT_DEPENDS : VERDICT_DENY;
	if (d.verdict == VERDICT_DEPENDS)
		d.rule = NULL;
	d.log = d.rule && d.rule->log;
	if (d.rule && d.verdict == VERDICT_ALLOW) {
		d.filter = d.rule->filter;
		d.ttl = d.rule->ttl > 0 ? d.rule->ttl : MULTICAST_TTL_DEFAULT;
		d.interface = d.rule->interface;
		d.rate = d.rule->rate;
		d.via = d.rule->via;
		d.forward_credentials = d.rule->forward_credentials;
		d.egress = rule_egress(d.rule, &policy->set);
		d.certain = !may_allow;
	}
	return d;
}

static struct decision decide_resolve(
    const struct policy *policy, const struct question *q, bool waits)
{
	struct open_ports open;

	memset(&open, 0xff, sizeof(open));
	open.bits[0] &= ~(uint64_t)1; /* no rule can name port 0 */
	return decide(policy, q, &open, waits);
}

struct decision policy_decide(const struct policy *policy, const struct policy_request *req)
{
	struct question q = question_of(req);

	return req->command == COMMAND_RESOLVE ? decide_resolve(policy, &q, true)
					       : decide(policy, &q, NULL, true);
}

struct decision policy_decide_rest(const struct policy *policy, const struct policy_request *req)
{
	struct question q = question_of(req);

	return req->command == COMMAND_RESOLVE ? decide_resolve(policy, &q, false)
					       : decide(policy, &q, NULL, false);
}

struct position policy_rule_position(const struct policy_rule *rule)
{
	return rule->at;
}
