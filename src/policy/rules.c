/* SPDX-License-Identifier: MIT */
/* Rules: allow and deny, and everything that may follow them. */
#include "policy/rule.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "policy/diag.h"
#include "policy/parse_int.h"

/* What a name known without being defined stands for. */
enum builtin { BUILTIN_ANY = -1, BUILTIN_INTERNET = -2, BUILTIN_SELF = -3 };

/* Positive values are enum ip_class bits. */
static const struct word builtins[] = {
    {"any", BUILTIN_ANY},
    {"all", BUILTIN_ANY},
    {"loopback", IP_LOOPBACK},
    {"private", IP_PRIVATE},
    {"linklocal", IP_LINKLOCAL},
    {"metadata", IP_METADATA},
    {"multicast", IP_MULTICAST},
    {"self", BUILTIN_SELF},
    {"internet", BUILTIN_INTERNET},
    {NULL, 0},
};

const struct word rule_commands[] = {
    {"connect", COMMAND_CONNECT},
    {"bind", COMMAND_BIND},
    {"udp", COMMAND_UDP},
    {"resolve", COMMAND_RESOLVE},
    {"multicast", COMMAND_MULTICAST},
    {NULL, 0},
};

const struct word rule_protocols[] = {
    {"socks4", PROTO_SOCKS4},
    {"socks4a", PROTO_SOCKS4A},
    {"socks5", PROTO_SOCKS5},
    {"http", PROTO_HTTP},
    {NULL, 0},
};

const struct word rule_methods[] = {
    {"none", AUTH_NONE},
    {"password", AUTH_PASSWORD},
    {"gssapi", AUTH_GSSAPI},
    {"cert", AUTH_CERT},
    {"ident", AUTH_IDENT},
    {NULL, 0},
};

/* One rule being parsed. */
struct build {
	struct policy_rule *rule;
	/* What is written in the rule itself. */
	struct net_set *from_nets, *to_nets;
	struct host_set *to_hosts;
	struct string_set *users;
	struct port_range *ports;
	/* Of the word at hand. */
	struct place *place;
	struct net_set **nets;
	const struct word *table;
	const char *what;
	unsigned *mask;
	bool of_auth;             /* no rule: whom an `auth` statement is for */
	const struct token *rate; /* the word, where it stands */
	bool after_value; /* what stands before is no list: one value, or the rule's beginning */
};

/* Parses what follows the word at `t`; returns the token behind, or NULL after a mistake. */
typedef const struct token *rule_word_parse(
    struct parser *p, const struct token *t, struct build *b);

static rule_word_parse word_all, word_log, word_from, word_to, word_port, word_user, word_group,
    word_command, word_protocol, word_method, word_listener, word_during, word_via,
    word_credentials, word_egress, word_time, word_rate, word_quota, word_sessions, word_filter,
    word_ttl, word_interface;

struct rule_word {
	const char *text;
	rule_word_parse *parse;
	bool condition; /* says which requests the rule is about */
	bool grant;     /* says what is granted: after `allow` only */
	bool later;     /* not in this version */
};

static const struct rule_word rule_words[] = {
    {"all", word_all, true, false, false},
    {"any", word_all, true, false, false},
    {"from", word_from, true, false, false},
    {"to", word_to, true, false, false},
    {"port", word_port, true, false, false},
    {"user", word_user, true, false, false},
    {"group", word_group, true, false, false},
    {"command", word_command, true, false, false},
    {"protocol", word_protocol, true, false, false},
    {"method", word_method, true, false, false},
    {"listener", word_listener, true, false, false},
    {"during", word_during, true, false, false},
    {"log", word_log, false, false, false},
    {"filter", word_filter, false, true, false},
    {"ttl", word_ttl, false, true, false},
    {"interface", word_interface, false, true, false},
    {"via", word_via, false, true, false},
    {"credentials", word_credentials, false, true, false},
    {"egress", word_egress, false, true, false},
    {"for", word_time, false, true, true},
    {"idle", word_time, false, true, true},
    {"rate", word_rate, false, true, false},
    {"quota", word_quota, false, true, true},
    {"sessions", word_sessions, false, true, true},
};

#define N_RULE_WORDS (sizeof(rule_words) / sizeof(rule_words[0]))

static const struct rule_word *find_rule_word(const struct token *t)
{
	for (size_t i = 0; i < N_RULE_WORDS; i++)
		if (token_is(t, rule_words[i].text))
			return &rule_words[i];
	return NULL;
}

bool rules_is_word(const struct token *t)
{
	return find_rule_word(t) && !rules_is_builtin(t);
}

bool rules_is_builtin(const struct token *t)
{
	return !t->quoted && words_find(builtins, t->text, t->len);
}

bool rule_needs_proof(const struct policy_rule *rule)
{
	return rule->users || rule->n_groups > 0 ||
	       (rule->methods != 0 && (rule->methods & AUTH_NONE) == 0);
}

/* The list after a word of rules. A word of rules in it means that the list was forgotten. */
static const struct token *rule_list(struct parser *p, const struct token *t, const char *expected,
    parse_item *item, struct build *b)
{
	if (rules_is_word(t + 1)) {
		parse_fail(p, t + 1, expected, "the list after '%.*s' is missing", SHOWN(t));
		return NULL;
	}
	return parse_list(p, t + 1, expected, item, b);
}

static const struct token *word_all(struct parser *p, const struct token *t, struct build *b)
{
	(void)p;
	(void)b;
	return t + 1;
}

static const struct token *word_log(struct parser *p, const struct token *t, struct build *b)
{
	(void)p;
	b->rule->log = true;
	return t + 1;
}

static void add_nets(struct parser *p, struct place *place, const struct net_set *nets)
{
	const struct net_set **list =
	    arena_append(&p->arena, place->nets, place->n_nets, sizeof(*list));

	if (!list)
		return;
	place->nets = list;
	list[place->n_nets++] = nets;
}

static void add_hosts(struct parser *p, struct place *place, const struct host_set *hosts)
{
	const struct host_set **list =
	    arena_append(&p->arena, place->hosts, place->n_hosts, sizeof(*list));

	if (!list)
		return;
	place->hosts = list;
	list[place->n_hosts++] = hosts;
}

static bool add_builtin(struct parser *p, const struct token *t, struct build *b)
{
	const struct word *w = t->quoted ? NULL : words_find(builtins, t->text, t->len);

	if (!w)
		return false;
	if (w->value == BUILTIN_ANY)
		b->place->any = true;
	else if (w->value == BUILTIN_INTERNET)
		b->place->internet = true;
	else if (w->value != BUILTIN_SELF)
		b->place->classes |= (unsigned)w->value;
	else if (b->place == &b->rule->to)
		b->place->self = true;
	else
		parse_fail(p, t, NULL, "'self' is a destination, and belongs after 'to'");
	return true;
}

/* Is it meant as an address rather than a name? */
static bool looks_like_net(const struct token *t)
{
	bool numeric = t->len > 0;

	for (size_t i = 0; i < t->len; i++) {
		char c = t->text[i];

		if (c == '/' || c == ':')
			return true;
		numeric = numeric && ((c >= '0' && c <= '9') || c == '.');
	}
	return numeric;
}

static void add_literal_net(struct parser *p, const struct token *t, struct build *b)
{
	unsigned prefix;
	struct ip net;

	if (!parse_net(p, t, &net, &prefix))
		return;
	if (!*b->nets) {
		*b->nets = arena_alloc(&p->arena, sizeof(**b->nets));
		if (!*b->nets)
			return;
		add_nets(p, b->place, *b->nets);
	}
	net_set_add(*b->nets, &p->arena, &net, prefix);
}

static void add_literal_host(struct parser *p, const struct token *t, struct build *b)
{
	if (b->place == &b->rule->from) {
		parse_fail(p, t, "addresses, nets and names of nets",
		    "'from' knows clients by their address, not by name");
		return;
	}
	if (!b->to_hosts) {
		b->to_hosts = arena_alloc(&p->arena, sizeof(*b->to_hosts));
		if (!b->to_hosts)
			return;
		add_hosts(p, b->place, b->to_hosts);
	}
	parse_host(p, t, b->to_hosts);
}

static void undefined_place(struct parser *p, const struct token *t, const struct build *b)
{
	struct words_guess guess = words_guess_for(t->text, t->len);
	bool from = b->place == &b->rule->from;

	for (const struct definition *d = p->defined[NAMES_PLACE]; d; d = d->next)
		if (d->nets || !from)
			words_guess_offer(&guess, d->name);
	for (const struct word *w = builtins; w->text; w++)
		words_guess_offer(&guess, w->text);
	if (guess.best)
		parse_fail(p, t, NULL, "no net%s is called '%.*s'; did you mean '%s'?",
		    from ? "" : " or host", SHOWN(t), guess.best);
	else if (from)
		parse_fail(p, t, "a name that a 'net' statement defines, or an address",
		    "no net is called '%.*s'", SHOWN(t));
	else
		parse_fail(p, t,
		    "a name that a 'net' or 'host' statement defines, an address, or a host name "
		    "with a "
		    "dot in it",
		    "no net or host is called '%.*s'", SHOWN(t));
}

static void place_item(struct parser *p, const struct token *t, void *context)
{
	struct build *b = context;
	const struct definition *d = parse_lookup(p, NAMES_PLACE, t);

	if (add_builtin(p, t, b))
		return;
	if (d && d->nets)
		add_nets(p, b->place, d->nets);
	else if (d && d->hosts && b->place == &b->rule->to)
		add_hosts(p, b->place, d->hosts);
	else if (d)
		parse_fail(p, t, "addresses, nets and names of nets",
		    "'%.*s' is a 'host' of %s:%u, and 'from' knows clients by their address",
		    SHOWN(t), d->at.file, d->at.line);
	else if (looks_like_net(t))
		add_literal_net(p, t, b);
	else if (memchr(t->text, '.', t->len) || (t->len > 0 && t->text[0] == '*'))
		add_literal_host(p, t, b);
	else
		undefined_place(p, t, b);
}

static const struct token *word_from(struct parser *p, const struct token *t, struct build *b)
{
	b->place = &b->rule->from;
	b->nets = &b->from_nets;
	b->place->given = true;
	return rule_list(p, t, "nets, such as office or 10.0.0.0/8", place_item, b);
}

static const struct token *word_to(struct parser *p, const struct token *t, struct build *b)
{
	b->place = &b->rule->to;
	b->nets = &b->to_nets;
	b->place->given = true;
	return rule_list(
	    p, t, "nets and hosts, such as office, 10.0.0.0/8 or *.example.com", place_item, b);
}

static void port_item(struct parser *p, const struct token *t, void *context)
{
	struct build *b = context;
	struct port_range r, *list;

	if (!parse_port_range(p, t, 1, &r))
		return;
	list = arena_append(&p->arena, b->ports, b->rule->n_ports, sizeof(*list));
	if (!list)
		return;
	b->ports = list;
	list[b->rule->n_ports++] = r;
}

static int compare_ports(const void *a, const void *b)
{
	const struct port_range *x = a, *y = b;

	return (x->first > y->first) - (x->first < y->first);
}

/* Sorts and merges, so that looking one up is a binary search. */
static void close_ports(struct build *b)
{
	struct port_range *list = b->ports;
	size_t n = 0;

	qsort(list, b->rule->n_ports, sizeof(*list), compare_ports);
	for (size_t i = 1; i < b->rule->n_ports; i++) {
		if (list[i].first <= list[n].last + 1) {
			if (list[i].last > list[n].last)
				list[n].last = list[i].last;
		} else {
			list[++n] = list[i];
		}
	}
	b->rule->n_ports = n + 1;
	b->rule->ports = list;
}

static const struct token *word_port(struct parser *p, const struct token *t, struct build *b)
{
	if (token_is(t + 1, "any"))
		return t + 2;
	t = rule_list(p, t, "ports, such as 443, 80,443 or 8000-8999", port_item, b);
	if (b->rule->n_ports > 0)
		close_ports(b);
	return t;
}

static void user_item(struct parser *p, const struct token *t, void *context)
{
	struct build *b = context;

	if (t->len == 0)
		parse_fail(p, t, "the name of a user", "an empty name");
	else if (token_is(t, "any") || token_is(t, "all"))
		parse_fail(p, t,
		    b->of_auth
			? "no 'user' for everybody, or \"any\" in quotes for a user called so"
			: "'method password' for everybody who has proved a name, or \"any\" in "
			  "quotes for a user called so",
		    "'%.*s' is not a user", SHOWN(t));
	else
		string_set_add(b->users, &p->arena, t->text, t->len);
}

static const struct token *word_user(struct parser *p, const struct token *t, struct build *b)
{
	b->users = arena_alloc(&p->arena, sizeof(*b->users));
	b->rule->users = b->users;
	return b->users ? rule_list(p, t, "users, such as alice,bob", user_item, b) : NULL;
}

static void group_item(struct parser *p, const struct token *t, void *context)
{
	struct build *b = context;
	const struct definition *d = parse_lookup(p, NAMES_GROUP, t);
	const struct string_set **list;

	if (!d) {
		parse_undefined(p, NAMES_GROUP, t, "group",
		    "a name that a 'group' statement defines, such as: group admins alice,bob");
		return;
	}
	list = arena_append(&p->arena, b->rule->groups, b->rule->n_groups, sizeof(*list));
	if (!list)
		return;
	b->rule->groups = list;
	list[b->rule->n_groups++] = d->group;
}

static const struct token *word_group(struct parser *p, const struct token *t, struct build *b)
{
	return rule_list(p, t, "groups, such as admins", group_item, b);
}

/* Words that are bits of a mask: which table, and what one of its words is called. */
static void mask_item(struct parser *p, const struct token *t, void *context)
{
	struct build *b = context;
	const struct word *w = parse_keyword(p, t, b->table, b->what);

	if (!w)
		return;
	if (b->table == rule_methods)
		*b->mask |= (unsigned)w->value;
	else
		*b->mask |= 1u << w->value;
}

static const struct token *mask_list(struct parser *p, const struct token *t, struct build *b)
{
	char list[WORDS_LIST_MAX];

	if (token_is(t + 1, "any"))
		return t + 2;
	return rule_list(p, t, words_list(b->table, list), mask_item, b);
}

static const struct token *word_command(struct parser *p, const struct token *t, struct build *b)
{
	b->table = rule_commands;
	b->what = "command";
	b->mask = &b->rule->commands;
	return mask_list(p, t, b);
}

static const struct token *word_protocol(struct parser *p, const struct token *t, struct build *b)
{
	b->table = rule_protocols;
	b->what = "protocol";
	b->mask = &b->rule->protocols;
	t = mask_list(p, t, b);
	/* 4A is what SOCKS4 became, not another protocol to administrators; `socks4a` is 4A alone.
	 */
	if (b->rule->protocols & 1u << PROTO_SOCKS4)
		b->rule->protocols |= 1u << PROTO_SOCKS4A;
	return t;
}

static const struct token *word_method(struct parser *p, const struct token *t, struct build *b)
{
	b->table = rule_methods;
	b->what = "method";
	b->mask = &b->rule->methods;
	return mask_list(p, t, b);
}

static void listener_item(struct parser *p, const struct token *t, void *context)
{
	struct build *b = context;
	const struct definition *d = parse_lookup(p, NAMES_LISTENER, t);
	const struct policy_listener **list;

	if (!d) {
		parse_undefined(p, NAMES_LISTENER, t, "listener",
		    "the address of a 'listen' statement, written as there");
		return;
	}
	list = arena_append(&p->arena, b->rule->listeners, b->rule->n_listeners, sizeof(*list));
	if (!list)
		return;
	b->rule->listeners = list;
	list[b->rule->n_listeners++] = &p->policy->listeners[d->listener];
}

static const struct token *word_listener(struct parser *p, const struct token *t, struct build *b)
{
	if (token_is(t + 1, "any"))
		return t + 2;
	return rule_list(
	    p, t, "the address of a 'listen' statement, written as there", listener_item, b);
}

static void during_item(struct parser *p, const struct token *t, void *context)
{
	struct build *b = context;
	const struct definition *d = parse_lookup(p, NAMES_HOURS, t);
	const struct hours **list;

	if (!d) {
		parse_undefined(p, NAMES_HOURS, t, "hours",
		    "a name that an 'hours' statement defines, such as: hours business Mon-Fri "
		    "09:00-18:00");
		return;
	}
	list = arena_append(&p->arena, b->rule->during, b->rule->n_during, sizeof(*list));
	if (!list)
		return;
	b->rule->during = list;
	list[b->rule->n_during++] = d->hours;
}

static const struct token *word_during(struct parser *p, const struct token *t, struct build *b)
{
	return rule_list(p, t, "hours, such as business", during_item, b);
}

static const struct token *word_via(struct parser *p, const struct token *t, struct build *b)
{
	return proxies_parse_via(p, t, b->rule);
}

static const struct token *word_credentials(
    struct parser *p, const struct token *t, struct build *b)
{
	return proxies_parse_credentials(p, t, b->rule);
}

static const struct token *word_egress(struct parser *p, const struct token *t, struct build *b)
{
	return egress_parse(p, t, &b->rule->egress);
}

const struct word rule_filters[] = {
    {"address-port", FILTER_ADDRESS_PORT},
    {"address", FILTER_ADDRESS},
    {"endpoint-independent", FILTER_ENDPOINT_INDEPENDENT},
    {NULL, 0},
};

static const struct token *word_filter(struct parser *p, const struct token *t, struct build *b)
{
	const struct word *w = parse_keyword(p, t + 1, rule_filters, "filter");

	if (!w)
		return NULL;
	b->rule->filter = (enum udp_filter)w->value;
	if (b->rule->filter > p->policy->widest_filter)
		p->policy->widest_filter = b->rule->filter;
	return t + 2;
}

static const struct token *word_ttl(struct parser *p, const struct token *t, struct build *b)
{
	return groups_parse_ttl(p, t, b->rule);
}

static const struct token *word_interface(struct parser *p, const struct token *t, struct build *b)
{
	return groups_parse_interface(p, t, b->rule);
}

static const struct token *word_time(struct parser *p, const struct token *t, struct build *b)
{
	uint64_t ms;

	(void)b;
	return parse_time(p, t + 1, &ms) ? t + 2 : NULL;
}

static const struct token *word_rate(struct parser *p, const struct token *t, struct build *b)
{
	if (!parse_rate(p, t + 1, &b->rule->rate))
		return NULL;
	b->rule->rate_text = t[1].text;
	b->rate = t;
	return t + 2;
}

static const struct token *word_quota(struct parser *p, const struct token *t, struct build *b)
{
	uint64_t bytes;

	(void)b;
	return parse_size(p, t + 1, &bytes) ? t + 2 : NULL;
}

static const struct token *word_sessions(struct parser *p, const struct token *t, struct build *b)
{
	unsigned n;

	(void)b;
	return parse_number(p, t + 1, 1, 1000000, "a number from 1 to 1000000", &n) ? t + 2 : NULL;
}

char *rule_join_words(struct parser *p, const struct token *t, const struct token *end)
{
	size_t cap = 1, len = 0;
	char *text;

	/* Quotes and a space, and every byte perhaps behind a '\'. */
	for (const struct token *i = t; i != end; i++)
		cap += 2 * i->len + 3;
	text = arena_alloc(&p->arena, cap);
	for (const struct token *i = t; text && i != end; i++) {
		if (i != t && i->spaced)
			text[len++] = ' ';
		if (i->quoted)
			text[len++] = '"';
		for (size_t k = 0; k < i->len; k++) {
			if (i->quoted && (i->text[k] == '"' || i->text[k] == '\\'))
				text[len++] = '\\';
			text[len++] = i->text[k];
		}
		if (i->quoted)
			text[len++] = '"';
	}
	return text;
}

static void add_term(
    struct parser *p, struct policy_rule *rule, const struct token *t, const struct token *end)
{
	const char *term = rule_join_words(p, t, end), *old = rule->terms;
	size_t cap;
	char *both;

	if (!old || !term) {
		rule->terms = term;
		return;
	}
	cap = strlen(old) + strlen(term) + 3;
	both = arena_alloc(&p->arena, cap);
	if (both)
		snprintf(both, cap, "%s, %s", old, term);
	rule->terms = both;
}

static void unknown_word(struct parser *p, const struct token *t, const struct build *b)
{
	const char *words =
	    b->rule->allow
		? "all, from, to, port, user, group, command, protocol, method, listener, during, "
		  "log, filter, ttl, interface, via, credentials, egress, for, idle, rate, quota "
		  "or sessions"
		: "all, from, to, port, user, group, command, protocol, method, listener, during "
		  "or log";
	struct words_guess guess = words_guess_for(t->text, t->len);

	if (t->kind == TOKEN_COMMA) {
		parse_fail(p, t, "a list without spaces, such as 80,443",
		    "white space around the ',' of a list");
		return;
	}
	for (size_t i = 0; i < N_RULE_WORDS; i++)
		if (!t->quoted)
			words_guess_offer(&guess, rule_words[i].text);
	if (guess.best)
		parse_fail(p, t, NULL, "unknown word '%.*s' in a rule; did you mean '%s'?",
		    SHOWN(t), guess.best);
	else if (t[-1].kind == TOKEN_WORD && !find_rule_word(&t[-1]) && !b->after_value)
		parse_fail(p, t, words,
		    "unknown word '%.*s' in a rule; in a list it is '%.*s,%.*s'", SHOWN(t),
		    SHOWN(&t[-1]), SHOWN(t));
	else
		parse_fail(p, t, words, "unknown word '%.*s' in a rule", SHOWN(t));
}

/* The words of a rule from `t` on. Sets `*ret_said` where one says which requests are meant. */
static bool read_words(struct parser *p, const struct token *t, struct build *b, bool *ret_said)
{
	struct position seen[N_RULE_WORDS] = {0};

	while (t->kind != TOKEN_END) {
		const struct rule_word *w = find_rule_word(t);
		const struct token *end;

		if (!w) {
			unknown_word(p, t, b);
			return false;
		}
		if (!parse_once(p, &seen[w - rule_words], t))
			return false;
		if (w->grant && !b->rule->allow) {
			parse_fail(p, t, NULL,
			    "'%s' says what is granted, and 'deny' grants nothing", w->text);
			return false;
		}
		if (w->later)
			parse_later(p, t);
		*ret_said = *ret_said || w->condition;
		end = w->parse(p, t, b);
		if (!end)
			return false;
		b->after_value = w->grant;
		if (w->later)
			add_term(p, b->rule, t, end);
		t = end;
	}
	return true;
}

static void close_nets(const struct build *b)
{
	if (b->from_nets)
		net_set_close(b->from_nets);
	if (b->to_nets)
		net_set_close(b->to_nets);
}

bool rule_has_rate(const struct policy_rule *rule)
{
	static const unsigned datagrams = 1u << COMMAND_UDP | 1u << COMMAND_MULTICAST;

	return rule->commands != 0 && (rule->commands & ~datagrams) == 0;
}

/* So far it has effect on datagrams alone, and a rule that promised more would not keep it. */
static void check_rate(struct parser *p, const struct build *b)
{
	struct policy_later *later;

	if (!b->rate || rule_has_rate(b->rule))
		return;
	later = parse_later(p, b->rate);
	if (later)
		later->expected =
		    "'command udp' in the same rule: it has effect on nothing else yet";
	add_term(p, b->rule, b->rate, b->rate + 2);
}

void rule_parse(struct parser *p, const struct token *t, struct policy_rule *rule)
{
	struct build b = {.rule = rule, .after_value = true};
	size_t before = p->diags->n;
	const struct token *end;
	bool said = false;

	rule->at = t->at;
	for (end = t; end->kind != TOKEN_END; end++)
		;
	rule->text = rule_join_words(p, t, end);
	rule->allow = token_is(t, "allow");
	if (!read_words(p, t + 1, &b, &said))
		return;
	check_rate(p, &b);
	if (!said)
		parse_fail(p, t, "'all', or words such as from, to, port and user",
		    "'%.*s' does not say whom or what", SHOWN(t));
	close_nets(&b);
	if (p->diags->n == before)
		groups_check(p, t, rule);
	if (p->diags->n == before)
		egress_check(p, t, rule);
	if (p->diags->n == before)
		proxies_check(p, t, rule);
}

/* The words of an `auth` statement; the values are places in rule_parse_client()'s table. */
static const struct word client_words[] = {
    {"from", 0},
    {"listener", 1},
    {"user", 2},
    {NULL, 0},
};

void rule_parse_client(struct parser *p, const struct token *t, struct policy_rule *rule)
{
	static rule_word_parse *const parse[] = {word_from, word_listener, word_user};
	struct build b = {.rule = rule, .of_auth = true};
	struct position seen[sizeof(parse) / sizeof(parse[0])] = {0};

	rule->allow = true;
	while (t && t->kind != TOKEN_END) {
		const struct word *w = parse_keyword(p, t, client_words, "word");

		if (!w || !parse_once(p, &seen[w->value], t))
			return;
		t = parse[w->value](p, t, &b);
	}
	close_nets(&b);
}

void rule_parse_from(struct parser *p, const struct token *t, struct policy_rule *rule)
{
	struct build b = {.rule = rule};

	rule->allow = true;
	if (word_from(p, t, &b))
		close_nets(&b);
}
