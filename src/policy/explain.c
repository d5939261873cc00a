/* SPDX-License-Identifier: MIT */
#include "policy/explain.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "policy/diag.h"
#include "policy/offer.h"
#include "policy/parse_int.h"
#include "proto/err.h"

enum ask_word {
	ASK_USER,
	ASK_FROM,
	ASK_TO,
	ASK_AT,
	ASK_COMMAND,
	ASK_PROTOCOL,
	ASK_METHOD,
	ASK_LISTENER,
	ASK_ADDRESS,
	ASK_COUNT,
};

static const struct word ask_words[] = {
    {"user", ASK_USER},
    {"from", ASK_FROM},
    {"to", ASK_TO},
    {"at", ASK_AT},
    {"command", ASK_COMMAND},
    {"protocol", ASK_PROTOCOL},
    {"method", ASK_METHOD},
    {"listener", ASK_LISTENER},
    {"address", ASK_ADDRESS},
    {NULL, 0},
};

/* One request being read. */
struct ask {
	struct parser p; /* for its helpers: of the parser only arena and diags are in use */
	const struct policy *policy;
	struct explain_request *r;
	struct position seen[ASK_COUNT];
};

static const struct token *read_user(struct ask *a, const struct token *t)
{
	if (!parse_path(&a->p, t, "the name of a user"))
		return NULL;
	a->r->ask.user = t->text;
	return t + 1;
}

static const struct token *read_from(struct ask *a, const struct token *t)
{
	static const char expected[] = "the client's address, such as 10.0.0.5";

	if (!parse_word(&a->p, t, expected))
		return NULL;
	if (ip_parse(t->text, t->len, &a->r->ask.client) == 0)
		return t + 1;
	parse_fail(&a->p, t, expected, "'%.*s' is not an address", SHOWN(t));
	return NULL;
}

static const struct token *read_to(struct ask *a, const struct token *t)
{
	static const char expected[] =
	    "HOST:PORT, such as www.example.com:443 or [2001:db8::1]:443";
	struct policy_request *ask = &a->r->ask;
	char name[ADDR_NAME_MAX + 1];
	struct addr addr = {0};
	size_t len;

	if (!parse_word(&a->p, t, expected))
		return NULL;
	if (addr_parse(t->text, t->len, &addr) != 0) {
		parse_fail(&a->p, t, expected, "'%.*s' is not a destination", SHOWN(t));
		return NULL;
	}
	ask->port = addr.port;
	if (addr.kind == ADDR_IP) {
		ask->has_ip = true;
		ask->ip = addr.ip;
		return t + 1;
	}
	len = name_canonical(addr.name, addr.name_len, name);
	ask->name = arena_copy(&a->p.arena, name, len);
	return t + 1;
}

/* The number of the one day that `t` names; 7 where it is none. */
static unsigned one_day(const struct token *t)
{
	unsigned days = hours_parse_days(t->text, t->len);

	for (unsigned day = 0; day < 7; day++)
		if (days == 1u << day)
			return day;
	return 7;
}

/* "Mon 10:00" in quotes or as two words; the time alone is of today. */
static const struct token *read_at(struct ask *a, const struct token *t)
{
	static const char expected[] = "a day and a time, such as \"Mon 10:00\"";
	unsigned day = a->r->ask.now / DAY_MINUTES, minute;
	struct token day_token, time_token;
	const char *space;

	if (!parse_word(&a->p, t, expected))
		return NULL;
	day_token = time_token = *t;
	space = memchr(t->text, ' ', t->len);
	if (space) {
		day_token.len = (size_t)(space - t->text);
		time_token.text = space + 1;
		time_token.len -= day_token.len + 1;
	} else if (one_day(t) < 7 && t[1].kind == TOKEN_WORD) {
		time_token = *++t;
	} else {
		day_token.len = 0;
	}
	if (day_token.len > 0)
		day = one_day(&day_token);
	if (day == 7 || !hours_parse_time(time_token.text, time_token.len, &minute) ||
	    minute == DAY_MINUTES) {
		parse_fail(&a->p, t, expected, "'%.*s' is not a time of the week", SHOWN(t));
		return NULL;
	}
	a->r->ask.now = day * DAY_MINUTES + minute;
	return t + 1;
}

/* A word out of a table, as its value. */
static const struct token *read_choice(
    struct ask *a, const struct token *t, const struct word *table, const char *what, int *ret)
{
	const struct word *w = parse_keyword(&a->p, t, table, what);

	if (!w)
		return NULL;
	*ret = w->value;
	return t + 1;
}

static const struct token *read_listener(struct ask *a, const struct token *t)
{
	static const char expected[] = "the address of a 'listen' statement, written as there";

	if (!parse_word(&a->p, t, expected))
		return NULL;
	for (size_t i = 0; i < a->policy->n_listeners; i++) {
		if (strcmp(a->policy->listeners[i].text, t->text) == 0) {
			a->r->ask.listener = a->policy->listeners[i].text;
			return t + 1;
		}
	}
	parse_fail(&a->p, t, expected, "no listener is called '%.*s'", SHOWN(t));
	return NULL;
}

static void address_item(struct parser *p, const struct token *t, void *context)
{
	struct explain_request *r = context;

	if (r->n_addresses == EXPLAIN_ADDRESSES_MAX)
		parse_fail(p, t, NULL, "more than 16 addresses");
	else if (ip_parse(t->text, t->len, &r->addresses[r->n_addresses]))
		parse_fail(p, t, "an address such as 192.0.2.1 or 2001:db8::1",
		    "'%.*s' is not an address", SHOWN(t));
	else
		r->n_addresses++;
}

static const struct token *read_value(struct ask *a, enum ask_word word, const struct token *t)
{
	struct policy_request *ask = &a->r->ask;
	const struct token *next = NULL;
	int value = 0;

	switch (word) {
	case ASK_USER:
		return read_user(a, t);
	case ASK_FROM:
		return read_from(a, t);
	case ASK_TO:
		return read_to(a, t);
	case ASK_AT:
		return read_at(a, t);
	case ASK_COMMAND:
		next = read_choice(a, t, rule_commands, "command", &value);
		ask->command = (enum command)value;
		break;
	case ASK_PROTOCOL:
		next = read_choice(a, t, rule_protocols, "protocol", &value);
		ask->proto = (enum proto)value;
		break;
	case ASK_METHOD:
		next = read_choice(a, t, rule_methods, "method", &value);
		ask->method = (enum auth_method)value;
		break;
	case ASK_LISTENER:
		return read_listener(a, t);
	case ASK_ADDRESS:
		return parse_list(&a->p, t, "the addresses of the name", address_item, a->r);
	case ASK_COUNT:
		break;
	}
	return next;
}

static bool is_socks4(const struct policy_request *ask)
{
	return ask->proto == PROTO_SOCKS4 || ask->proto == PROTO_SOCKS4A;
}

/* What only shows once all words are read. */
static void check_together(struct ask *a, const struct token *end)
{
	const struct policy_request *ask = &a->r->ask;
	bool socks4 = is_socks4(ask);

	if (a->seen[ASK_TO].line == 0)
		parse_fail(&a->p, end, "to HOST:PORT", "the request does not say where to");
	else if (ask->has_ip && a->r->n_addresses > 0)
		diag_add(a->p.diags, &a->seen[ASK_ADDRESS], "a name after 'to'",
		    "'address' says what a name resolves to, and there is no name");
	if (socks4 && ask->method != AUTH_NONE && ask->method != AUTH_CERT &&
	    ask->method != AUTH_IDENT)
		diag_add(a->p.diags, &a->seen[ASK_PROTOCOL],
		    "socks5 or http, method cert or ident, or no user",
		    "SOCKS4 has no way to prove a user");
	else if (!socks4 && ask->method == AUTH_IDENT)
		diag_add(a->p.diags, &a->seen[ASK_METHOD], "protocol socks4",
		    "the method ident is of SOCKS4 alone");
	else if (!ask->user && ask->method != AUTH_NONE && ask->method != AUTH_GSSAPI)
		diag_add(a->p.diags, &a->seen[ASK_METHOD], "user NAME as well",
		    "the method %s proves a user, and there is none",
		    words_name(rule_methods, (int)ask->method));
	else if (ask->user && ask->method == AUTH_NONE)
		diag_add(a->p.diags, &a->seen[ASK_METHOD], "another method, or no user",
		    "the method none proves no user");
}

/* How somebody would prove who he is, if nothing is said of that. */
static enum auth_method likely_method(const struct policy *policy, const struct policy_request *ask)
{
	unsigned methods = offer_methods(policy, &ask->client, ask->listener);

	if (!ask->user)
		return AUTH_NONE;
	if (methods & AUTH_CERT)
		return AUTH_CERT;
	return methods & AUTH_IDENT && is_socks4(ask) ? AUTH_IDENT : AUTH_PASSWORD;
}

static void read_request(struct ask *a, const struct token *t)
{
	struct policy_request *ask = &a->r->ask;

	while (t->kind != TOKEN_END) {
		const struct word *w = parse_keyword(&a->p, t, ask_words, "word");

		if (!w || !parse_once(&a->p, &a->seen[w->value], t))
			return;
		t = read_value(a, (enum ask_word)w->value, t + 1);
		if (!t)
			return;
	}
	if (a->seen[ASK_METHOD].line == 0)
		ask->method = likely_method(a->policy, ask);
	check_together(a, t);
}

static int read_text(struct ask *a, struct lex *lex)
{
	size_t before = a->p.diags->n;
	const struct token *tokens, *more;

	switch (lex_statement(lex, &tokens)) {
	case LEX_STATEMENT:
		read_request(a, tokens);
		if (a->p.diags->n == before && lex_statement(lex, &more) == LEX_STATEMENT)
			parse_fail(&a->p, more, NULL, "a second request in the same text");
		break;
	case LEX_BROKEN:
		break;
	case LEX_EOF:
		return 1;
	case LEX_NO_MEMORY:
		return -ENOMEM;
	}
	if (a->p.arena.failed || a->p.diags->lost)
		return -ENOMEM;
	return a->p.diags->n > before ? ERR_MALFORMED : 0;
}

int explain_parse(const struct policy *policy, const struct explain_origin *origin,
    const char *text, size_t len, week_minute now, struct explain_request *ret,
    struct diagnostics *diags)
{
	static const uint8_t localhost[4] = {127, 0, 0, 1};
	struct ask a = {.p = {.diags = diags}, .policy = policy, .r = ret};
	struct lex lex;
	int err;

	*ret = (struct explain_request){
	    .ask = {.client = ip_from_v4(localhost),
		.proto = PROTO_SOCKS5,
		.command = COMMAND_CONNECT,
		.now = now % WEEK_MINUTES},
	};
	if (policy->n_listeners > 0)
		ret->ask.listener = policy->listeners[0].text;
	lex_init(&lex, &a.p.arena, diags, origin->file, text, len);
	lex.line = origin->line - 1;
	err = read_text(&a, &lex);
	ret->memory = a.p.arena.blocks;
	if (err)
		explain_fini(ret);
	return err;
}

void explain_fini(struct explain_request *r)
{
	struct arena arena = {0};

	arena.blocks = r->memory;
	arena_free(&arena);
	r->memory = NULL;
}

struct out {
	char *buf;
	size_t cap, len;
};

static void say(struct out *o, const char *format, ...) __attribute__((format(printf, 2, 3)));

static void say(struct out *o, const char *format, ...)
{
	va_list args;
	int n;

	va_start(args, format);
	n = vsnprintf(o->buf + o->len, o->cap - o->len, format, args);
	va_end(args);
	if (n > 0)
		o->len = (size_t)n < o->cap - o->len ? o->len + (size_t)n : o->cap - 1;
}

/* Would the server refuse it as itself? Of the host's addresses it knows more than is known here:
 * those of its listeners and loopback. */
static bool is_self(const struct policy *policy, const struct ip *ip, uint16_t port)
{
	bool port_is_ours = false, ip_is_ours = (ip_classes(ip) & IP_LOOPBACK) != 0;

	for (size_t i = 0; i < policy->n_listeners; i++) {
		const struct policy_listener *l = &policy->listeners[i];

		if (l->unix_path)
			continue;
		port_is_ours |= l->addr.port == port;
		ip_is_ours |= ip_equal(&l->addr.ip, ip);
	}
	return port_is_ours && ip_is_ours;
}

/* No URL: these have credentials. */
static void say_via(struct out *o, const struct policy_rule *rule)
{
	const struct policy_proxy *via = rule->via;

	say(o, "; via %s", via->name);
	for (size_t i = 0; i < via->n_members; i++)
		say(o, "%s%s", i == 0 ? " (" : " or ", via->members[i].text);
	say(o, ")%s", rule->forward_credentials ? ", with the client's credentials" : "");
}

static void say_granted(struct out *o, const struct decision *d)
{
	const struct policy_rule *rule = d->rule;
	bool first = true;

	say(o, "    granted: ");
	for (const struct word *w = rule_commands; w->text; w++) {
		if (rule->commands == 0 ? w->value == COMMAND_MULTICAST
					: (rule->commands >> w->value & 1) == 0)
			continue;
		if (rule->via && (w->value == COMMAND_MULTICAST ||
				     (w->value == COMMAND_UDP && !policy_proxy_has_udp(rule->via))))
			continue;
		say(o, "%s%s", first ? "" : ", ", w->text);
		first = false;
	}
	if (rule->filter != FILTER_ADDRESS_PORT)
		say(o, "; filter %s", words_name(rule_filters, (int)rule->filter));
	if (rule->ttl > 0)
		say(o, "; ttl %u", rule->ttl);
	if (rule->interface)
		say(o, "; interface %s", rule->interface);
	if (rule->rate != 0 && rule_has_rate(rule))
		say(o, "; rate %s", rule->rate_text);
	if (d->egress)
		say(o, "; egress %s", d->egress->text);
	if (rule->via)
		say_via(o, rule);
	if (rule->terms)
		say(o, "; %s (not in this version)", rule->terms);
	say(o, "\n");
}

/* The first line of a decision, without its end. */
static void say_decision(struct out *o, const struct decision *d)
{
	if (!d->rule)
		say(o, "deny, because no rule matches");
	else
		say(o, "%s, by %s:%u", d->rule->allow ? "allow" : "deny", d->rule->at.file,
		    d->rule->at.line);
}

static void say_rule(struct out *o, const struct decision *d)
{
	if (!d->rule)
		return;
	say(o, "    %s\n", d->rule->text);
	if (d->rule->allow)
		say_granted(o, d);
}

/* Nobody is there, or more than one: only datagrams go to groups. What carries a group inside is
 * none of those that can be sent to. To tell an address is not to go there. */
static bool is_nobody(const struct ip *ip, enum command command)
{
	unsigned classes = ip_classes(ip);

	if (command == COMMAND_RESOLVE)
		classes &= ~(unsigned)IP_MULTICAST;
	else if (command == COMMAND_UDP || command == COMMAND_MULTICAST)
		classes &= ~(ip_own_classes(ip) & IP_MULTICAST);
	return (classes & (IP_UNSPECIFIED | IP_MULTICAST)) != 0;
}

/* A decision about one address. Returns whether it allows. */
static bool say_address(struct out *o, const struct policy *policy,
    const struct policy_request *ask, const struct ip *ip, bool list)
{
	struct policy_request one = *ask;
	struct decision d;
	char text[IP_TEXT_MAX];
	bool connect = ask->command == COMMAND_CONNECT || ask->command == COMMAND_UDP;

	one.has_ip = true;
	one.ip = *ip;
	one.is_self = connect && is_self(policy, ip, ask->port);
	d = policy_decide(policy, &one);
	if (list)
		say(o, "  %s: ", ip_format(ip, text));
	if (one.is_self) {
		say(o, "deny, because that is this proxy itself\n");
		return false;
	}
	if (ask->command == COMMAND_MULTICAST && (ip_own_classes(ip) & IP_MULTICAST) == 0) {
		say(o, "deny, because that is no multicast group\n");
		return false;
	}
	if (is_nobody(ip, ask->command)) {
		say(o, "deny, because nothing can be reached at that address\n");
		return false;
	}
	say_decision(o, &d);
	say(o, "\n");
	say_rule(o, &d);
	return d.verdict == VERDICT_ALLOW;
}

/* Each address on its own, twice: the head counts what the lines behind it say. */
static void say_addresses(
    struct out *o, const struct policy *policy, const struct explain_request *r)
{
	struct out nowhere = {.buf = o->buf, .cap = o->cap};
	size_t allowed = 0;

	for (size_t i = 0; i < r->n_addresses; i++) {
		nowhere.len = 0;
		allowed += say_address(&nowhere, policy, &r->ask, &r->addresses[i], true);
	}
	if (allowed == 0)
		say(o, "deny, for every address\n");
	else if (allowed == r->n_addresses)
		say(o, "allow, for every address\n");
	else
		say(o, "allow, for %zu of %zu addresses\n", allowed, r->n_addresses);
	for (size_t i = 0; i < r->n_addresses; i++)
		say_address(o, policy, &r->ask, &r->addresses[i], true);
}

/* The rules that wait for the address, and what holds where none of them matches. */
static void say_depends(struct out *o, const struct policy *policy, const struct explain_request *r)
{
	struct decision rest = policy_decide_rest(policy, &r->ask);

	say(o, "depends on the address of %s\n", r->ask.name ? r->ask.name : "the peer");
	for (size_t i = 0; i < policy->n_rules; i++) {
		const struct policy_rule *rule = &policy->rules[i];

		if (rule == rest.rule)
			break;
		if (rule_match(rule, &r->ask) == RULE_WAITS)
			say(o, "  for some: %s, by %s:%u\n    %s\n", rule->allow ? "allow" : "deny",
			    rule->at.file, rule->at.line, rule->text);
	}
	say(o, "  for the rest: ");
	say_decision(o, &rest);
	say(o, "\n");
	say_rule(o, &rest);
	if (r->ask.name)
		say(o, "  'address IP' in the request says what the name resolves to\n");
}

/* Is there a way for the client to be known as it says? */
static bool can_prove(const struct policy *policy, const struct policy_request *ask)
{
	if ((offer_methods(policy, &ask->client, ask->listener) & ask->method) == 0)
		return false;
	/* Who signed the certificate vouches for whatever user it names. */
	if (ask->method == AUTH_CERT)
		return true;
	for (size_t i = 0; i < policy->n_auths; i++) {
		const struct policy_auth *auth = &policy->auths[i];

		if (auth->method == ask->method && offer_has(auth, &ask->client, ask->listener) &&
		    (!ask->user || offer_counts(auth, ask->user, strlen(ask->user))))
			return true;
	}
	return policy->n_auths == 0 && ask->method == AUTH_NONE;
}

static void say_not_offered(
    struct out *o, const struct policy *policy, const struct policy_request *ask)
{
	unsigned methods = offer_methods(policy, &ask->client, ask->listener);
	const char *method = words_name(rule_methods, (int)ask->method);
	const char *before = "";

	if ((methods & ask->method) != 0)
		say(o, "note: the method %s does not count for %s", method, ask->user);
	else
		say(o, "note: the method %s is not offered", method);
	say(o, ", so such a client is refused before any rule; offered: ");
	for (const struct word *w = rule_methods; w->text; w++) {
		if ((methods & (unsigned)w->value) == 0)
			continue;
		say(o, "%s%s", before, w->text);
		before = ", ";
	}
	say(o, "%s\n", methods == 0 ? "nothing" : "");
}

/* What stands in the way before or after the rules. */
static void say_notes(
    struct out *o, const struct policy *policy, const struct explain_request *r, bool sends_name)
{
	const struct policy_request *ask = &r->ask;

	if (!can_prove(policy, ask))
		say_not_offered(o, policy, ask);
	if (sends_name)
		say(o, "note: the name goes to the proxy, and is not looked up here\n");
}

/* A BIND to 0.0.0.0 or :: expects anybody: the rules are asked without an address. */
static bool expects_anybody(const struct policy_request *ask)
{
	return ask->command == COMMAND_BIND && ask->has_ip &&
	       ip_own_classes(&ask->ip) & IP_UNSPECIFIED;
}

size_t explain_format(
    const struct policy *policy, const struct explain_request *request, char *buf, size_t cap)
{
	struct out o = {.buf = buf, .cap = cap};
	struct explain_request copy = *request;
	const struct explain_request *r = &copy;
	struct decision d;

	if (cap == 0)
		return 0;
	buf[0] = '\0';
	if (expects_anybody(&copy.ask))
		copy.ask.has_ip = false;
	d = policy_decide(policy, &r->ask);
	if (r->ask.has_ip) {
		say_address(&o, policy, &r->ask, &r->ask.ip, false);
	} else if (d.verdict != VERDICT_DENY && r->n_addresses == 1) {
		say_address(&o, policy, &r->ask, &r->addresses[0], false);
	} else if (d.verdict != VERDICT_DENY && r->n_addresses > 0) {
		say_addresses(&o, policy, r);
	} else if (d.verdict == VERDICT_DEPENDS) {
		say_depends(&o, policy, r);
	} else {
		say_decision(&o, &d);
		say(&o, "\n");
		say_rule(&o, &d);
	}
	say_notes(&o, policy, r,
	    r->ask.name && !r->ask.has_ip && r->ask.command != COMMAND_BIND &&
		policy_sends_name(&d));
	return o.len;
}
