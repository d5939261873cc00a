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
	bool need_v4 = l->any_family || ip_is_v4(&l->addr.ip);
	bool need_v6 = l->any_family || !ip_is_v4(&l->addr.ip);

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

/* A deny that no request of a stranger gets past. */
static bool stops_strangers(const struct policy_rule *rule, const struct policy_listener *l)
{
	bool to_all = !rule->to.given || rule->to.any;
	bool method = rule->methods == 0 || (rule->methods & AUTH_NONE) != 0;

	return !rule->allow && to_all && method && rule->n_ports == 0 && !rule->users &&
	       rule->n_groups == 0 && rule->commands == 0 && rule->protocols == 0 &&
	       rule->n_during == 0 && holds_everybody(&rule->from, l);
}

/* The rule that lets strangers in at this listener, or NULL. At some hour, to some destination: an
 * open proxy all the same. */
static const struct policy_rule *opening_rule(
    const struct policy *policy, const struct policy_listener *l)
{
	for (size_t i = 0; i < policy->n_rules; i++) {
		const struct policy_rule *rule = &policy->rules[i];

		if (!rule_is_for(rule, l))
			continue;
		if (stops_strangers(rule, l))
			return NULL;
		if (rule->allow && !rule_needs_proof(rule) && holds_strangers(&rule->from, l))
			return rule;
	}
	return NULL;
}

/* The unspecified addresses have the class of loopback, and are the opposite of it to listen on. */
static bool is_loopback(const struct policy_listener *l)
{
	unsigned classes = ip_classes(&l->addr.ip);

	return !l->any_family && (classes & IP_LOOPBACK) && !(classes & IP_UNSPECIFIED);
}

static void check_open(
    const struct policy *policy, const struct policy_listener *l, struct diagnostics *diags)
{
	const struct policy_rule *rule = opening_rule(policy, l);

	if (!rule)
		return;
	diag_add(diags, &l->at,
	    "'auth', a 'from' with your own nets in that rule, or 'open' behind this address",
	    "strangers may use '%.60s' without a password, by the rule of %s:%u", l->text,
	    rule->at.file, rule->at.line);
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
		    "this rule asks for a method that no 'auth' statement offers");
}

int policy_check_servable(const struct policy *policy, struct diagnostics *diags)
{
	size_t before = diags->n;

	for (size_t i = 0; i < policy->n_later; i++)
		diag_add(diags, &policy->later[i].at, NULL, "'%.60s' is not in this version",
		    policy->later[i].word);
	if (policy->n_listeners == 0)
		diag_add(diags, &policy->file, "at least one, such as: listen 127.0.0.1:1080",
		    "there is no 'listen' statement");
	for (size_t i = 0; i < policy->n_rules; i++)
		check_proof(policy, &policy->rules[i], diags);
	for (size_t i = 0; i < policy->n_listeners; i++) {
		const struct policy_listener *l = &policy->listeners[i];

		if (!l->open && !l->unix_path && !is_loopback(l) && (policy->methods & AUTH_NONE))
			check_open(policy, l, diags);
	}
	/* Of a list that was full before nothing can be told. */
	return diags->n > before || diags->lost || diag_full(diags) ? ERR_MALFORMED : 0;
}
