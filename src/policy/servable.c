/* SPDX-License-Identifier: MIT */
/* Is a configuration that parses one that this version should serve? */
#include "policy/parse.h"

#include <stdio.h>

#include "policy/diag.h"
#include "policy/rule.h"
#include "proto/err.h"

/* Does the place hold every address a client of the listener may have? */
static bool holds_everybody(const struct place *p, const struct policy_listener *l)
{
	/* A balancer takes in both and hands them on over one. */
	bool both = l->any_family || l->proxy_protocol;
	bool need_v4 = both || ip_is_v4(&l->addr.ip);
	bool need_v6 = both || !ip_is_v4(&l->addr.ip);

	if (!p->given || p->any || p->internet)
		return true;
	for (size_t i = 0; i < p->n_nets; i++) {
		need_v4 = need_v4 && !p->nets[i]->all_v4;
		need_v6 = need_v6 && !p->nets[i]->all_v6;
	}
	return !need_v4 && !need_v6;
}

/* Does it hold strangers: everybody, or a net too large to know who is in it? */
static bool holds_strangers(const struct place *p, const struct policy_listener *l)
{
	for (size_t i = 0; i < p->n_nets; i++)
		if (p->nets[i]->wide)
			return true;
	return holds_everybody(p, l);
}

static bool rule_is_for(const struct policy_rule *rule, const struct policy_listener *l)
{
	for (size_t i = 0; i < rule->n_listeners; i++)
		if (rule->listeners[i] == l)
			return true;
	return rule->n_listeners == 0;
}

/* A deny that no stranger gets past who used that method. */
static bool stops_strangers(
    const struct policy_rule *rule, const struct policy_listener *l, enum auth_method method)
{
	bool to_all = !rule->to.given || rule->to.any;
	bool has_method = rule->methods == 0 || (rule->methods & method) != 0;

	return !rule->allow && to_all && has_method && rule->n_ports == 0 && !rule->users &&
	       rule->n_groups == 0 && rule->commands == 0 && rule->protocols == 0 &&
	       rule->n_during == 0 && holds_everybody(&rule->from, l);
}

/* The protocols in which a client can use that method. */
static unsigned protocols_with(enum auth_method method)
{
	switch (method) {
	case AUTH_NONE:
	case AUTH_CERT:
		break;
	case AUTH_PASSWORD:
		return 1u << PROTO_SOCKS5 | 1u << PROTO_HTTP;
	case AUTH_GSSAPI:
		return 1u << PROTO_SOCKS5;
	case AUTH_IDENT:
		return 1u << PROTO_SOCKS4 | 1u << PROTO_SOCKS4A;
	}
	return ~0u;
}

/* Does it let strangers in who used that method? What ident says comes from a host of theirs, so
 * they may have any name that the rule asks for. */
static bool lets_strangers_in(
    const struct policy_rule *rule, const struct policy_listener *l, enum auth_method method)
{
	if (!rule->allow || !holds_strangers(&rule->from, l))
		return false;
	if (method == AUTH_NONE)
		return !rule_needs_proof(rule);
	return (rule->methods == 0 || (rule->methods & method) != 0) &&
	       (rule->protocols == 0 || (rule->protocols & protocols_with(method)) != 0);
}

/* The rule that lets strangers in at this listener who used that method, or NULL. At some hour, to
 * some destination: an open proxy all the same. */
static const struct policy_rule *opening_rule(
    const struct policy *policy, const struct policy_listener *l, enum auth_method method)
{
	for (size_t i = 0; i < policy->n_rules; i++) {
		const struct policy_rule *rule = &policy->rules[i];

		if (!rule_is_for(rule, l))
			continue;
		if (stops_strangers(rule, l, method))
			return NULL;
		if (lets_strangers_in(rule, l, method))
			return rule;
	}
	return NULL;
}

/* Is that method offered to strangers at this listener? */
static bool offers_strangers(
    const struct policy *policy, const struct policy_listener *l, enum auth_method method)
{
	for (size_t i = 0; i < policy->n_auths; i++) {
		const struct policy_auth *auth = &policy->auths[i];

		if (auth->method == method && rule_is_for(auth->who, l) &&
		    holds_strangers(&auth->who->from, l))
			return true;
	}
	return policy->n_auths == 0 && method == AUTH_NONE;
}

/* The unspecified addresses have the class of loopback, and are the opposite of it to listen on. */
static bool is_loopback(const struct policy_listener *l)
{
	unsigned classes = ip_classes(&l->addr.ip);

	return !l->any_family && (classes & IP_LOOPBACK) && !(classes & IP_UNSPECIFIED);
}

/* Can no stranger come in there? A balancer brings its own, over whatever it uses. */
static bool is_guarded(const struct policy_listener *l)
{
	return (l->unix_path || is_loopback(l)) && !l->proxy_protocol;
}

/* Whoever is believed can be anybody: `from` would mean nothing any more. */
static void check_senders(const struct policy_listener *l, struct diagnostics *diags)
{
	if (l->senders && !l->open && holds_strangers(&l->senders->from, l))
		diag_add(diags, &l->at,
		    "the addresses of the balancers after 'proxy-protocol from', or 'open'",
		    "'%.60s' believes strangers who say whose their connection is", l->text);
}

static void check_open(
    const struct policy *policy, const struct policy_listener *l, struct diagnostics *diags)
{
	static const enum auth_method methods[] = {AUTH_NONE, AUTH_IDENT};
	static const char *const how[] = {
	    "without a password", "as whoever their own host says they are"};

	for (size_t i = 0; i < 2; i++) {
		const struct policy_rule *rule = NULL;

		if (offers_strangers(policy, l, methods[i]))
			rule = opening_rule(policy, l, methods[i]);
		if (!rule)
			continue;
		diag_add(diags, &l->at,
		    "'auth', a 'from' with your own nets in that rule, or 'open' behind this "
		    "address",
		    "strangers may use '%.60s' %s, by the rule of %s:%u", l->text, how[i],
		    rule->at.file, rule->at.line);
		return;
	}
}

/* Nobody who comes in there could prove anything: all would be turned away. */
static void check_offered(
    const struct policy *policy, const struct policy_listener *l, struct diagnostics *diags)
{
	for (size_t i = 0; i < policy->n_auths; i++)
		if (rule_is_for(policy->auths[i].who, l))
			return;
	if (policy->n_auths > 0)
		diag_add(diags, &l->at, "one without 'listener', or with this one in its list",
		    "no 'auth' statement is for the clients of '%.60s'", l->text);
}

/* Do both have a listener in common? */
static bool share_listener(const struct policy_rule *a, const struct policy_rule *b)
{
	for (size_t i = 0; i < a->n_listeners; i++)
		if (rule_is_for(b, a->listeners[i]))
			return true;
	return a->n_listeners == 0;
}

/* Is there no address in both, as far as their nets tell? Of classes nothing is said. */
static bool are_apart(const struct place *a, const struct place *b)
{
	const bool nets_alone = a->given && b->given && !a->any && !b->any && !a->internet &&
				!b->internet && a->classes == 0 && b->classes == 0;

	for (size_t i = 0; nets_alone && i < a->n_nets; i++)
		for (size_t k = 0; k < b->n_nets; k++)
			if (net_set_meets(a->nets[i], b->nets[k]))
				return false;
	return nets_alone;
}

/* Can this way prove somebody to be a user that the rule is about? */
static bool share_user(const struct policy_rule *rule, const struct policy_rule *who)
{
	bool in_group = rule->n_groups == 0;

	if (!who->users)
		return true;
	for (size_t i = 0; i < rule->n_groups; i++)
		in_group = in_group || string_set_meets(who->users, rule->groups[i]);
	return in_group && (!rule->users || string_set_meets(who->users, rule->users));
}

/* Can somebody match this rule who used that way? A `deny` also sees addresses inside addresses, so
 * of its nets nothing is concluded. */
static bool may_match(const struct policy_rule *rule, const struct policy_auth *auth)
{
	const bool asks_user = rule->users || rule->n_groups > 0;

	if ((rule->methods != 0 && (rule->methods & auth->method) == 0) ||
	    (asks_user && auth->method == AUTH_NONE) ||
	    (rule->protocols != 0 && (rule->protocols & protocols_with(auth->method)) == 0))
		return false;
	return share_listener(rule, auth->who) &&
	       (!rule->allow || !are_apart(&rule->from, &auth->who->from)) &&
	       share_user(rule, auth->who);
}

static bool can_match(const struct policy *policy, const struct policy_rule *rule)
{
	for (size_t i = 0; i < policy->n_auths; i++)
		if (may_match(rule, &policy->auths[i]))
			return true;
	for (size_t i = 0; i < policy->n_listeners; i++)
		if (policy->listeners[i].client_ca && rule_is_for(rule, &policy->listeners[i]) &&
		    (rule->methods == 0 || (rule->methods & AUTH_CERT)))
			return true;
	return policy->n_auths == 0;
}

/* A rule that can never match is a slip, and one that hides: nothing else would tell. */
static void check_proof(
    const struct policy *policy, const struct policy_rule *rule, struct diagnostics *diags)
{
	if ((rule->users || rule->n_groups > 0) && (policy->methods & ~(unsigned)AUTH_NONE) == 0)
		diag_add(diags, &rule->at,
		    "an 'auth' statement, such as: auth password /etc/tabi/users",
		    "this rule asks for a user, but without 'auth' nobody can prove to be one");
	else if (rule->methods != 0 && (rule->methods & policy->methods) == 0)
		diag_add(diags, &rule->at, NULL,
		    "this rule asks for a method that no 'auth' statement%s offers",
		    rule->methods & AUTH_CERT ? " or 'client-ca'" : "");
	else if (!can_match(policy, rule))
		diag_add(diags, &rule->at,
		    "an 'auth' statement for clients that this rule describes",
		    "this rule matches nobody: no 'auth' statement offers its clients a way to "
		    "prove what it asks for");
}

int policy_check_servable(const struct policy *policy, struct diagnostics *diags)
{
	size_t before = diags->n;

	for (size_t i = 0; i < policy->n_later; i++)
		diag_add(diags, &policy->later[i].at, policy->later[i].expected,
		    "'%.60s' is not in this version", policy->later[i].word);
	if (policy->n_listeners == 0)
		diag_add(diags, &policy->file, "at least one, such as: listen 127.0.0.1:1080",
		    "there is no 'listen' statement");
	for (size_t i = 0; i < policy->n_rules; i++)
		check_proof(policy, &policy->rules[i], diags);
	for (size_t i = 0; i < policy->n_listeners; i++) {
		const struct policy_listener *l = &policy->listeners[i];

		if (l->client_ca)
			continue;
		check_offered(policy, l, diags);
		check_senders(l, diags);
		if (!l->open && !is_guarded(l))
			check_open(policy, l, diags);
	}
	/* Of a list that was full before nothing can be told. */
	return diags->n > before || diags->lost || diag_full(diags) ? ERR_MALFORMED : 0;
}
