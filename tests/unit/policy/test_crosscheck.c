/* SPDX-License-Identifier: MIT */
/*
 * Decisions about random policies against an evaluator that shares nothing with the real one.
 *
 * The policies are made as data, written as text for the parser, and judged here by walking the
 * data: strings are compared one by one, prefixes bit by bit, and what an address is stands in a
 * table written by hand. Without an address every way the waiting rules may turn out is tried.
 */
#include "policy/decide.h"
#include "policy/offer.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fixture.h"
#include "policy/rule.h"

#define POLICIES 3000
#define REQUESTS 60
#define RULES_MAX 6
#define ITEMS_MAX 3
#define COUNT(list) (sizeof(list) / sizeof((list)[0]))

static uint32_t seed = 20261122;

static unsigned pick(unsigned n)
{
	seed = seed * 1664525u + 1013904223u;
	return (seed >> 8) % n;
}

/* What an address is, and what it carries. */
struct known {
	const char *text;
	const char *own; /* the sets it belongs to itself */
	const char *v4;  /* carried inside, or NULL */
};

static const struct known addresses[] = {
    {"10.0.0.1", "private", NULL},
    {"10.1.2.3", "private", NULL},
    {"192.168.1.1", "private", NULL},
    {"127.0.0.1", "loopback", NULL},
    {"8.8.8.8", "", NULL},
    {"8.8.4.4", "", NULL},
    {"169.254.169.254", "metadata linklocal", NULL},
    {"169.254.1.1", "linklocal", NULL},
    {"224.0.0.1", "multicast", NULL},
    {"::1", "loopback", NULL},
    {"fd00::1", "private", NULL},
    {"fe80::1", "linklocal", NULL},
    {"ff02::1", "multicast", NULL},
    {"2606:4700::1", "", NULL},
    {"2a00:1450::8", "", NULL},
    {"64:ff9b::10.0.0.1", "", "10.0.0.1"},
    {"64:ff9b::8.8.8.8", "", "8.8.8.8"},
    {"2002:a00:1::1", "", "10.0.0.1"},
    {"2606:4700::5efe:127.0.0.1", "", "127.0.0.1"},
    {"2606:4700::5efe:8.8.4.4", "", "8.8.4.4"},
    {"fe80::5efe:169.254.169.254", "linklocal", "169.254.169.254"},
};

/* What `to` may list; `from` only the first ones, which are no names and not `self`. */
static const char *const places[] = {"any", "private", "loopback", "linklocal", "metadata",
    "multicast", "internet", "office", "10.0.0.0/8", "10.0.0.0/15", "10.0.0.1", "8.8.0.0/16",
    "8.0.0.0/6", "0.0.0.0/0", "127.0.0.0/8", "::/0", "2606:4700::/32", "2000::/3", "64:ff9b::/96",
    "fe80::/10", "192.168.1.0/24", "224.0.0.0/4", "ff02::/16", "self", "work", "*.example.com",
    "example.com", "a.example.com", "*.com", "*", "other.test."};
#define N_FROM 23

#define DEFINITIONS                                                                                \
	"listen 127.0.0.1:1080\nlisten [::1]:1080\n"                                               \
	"net office 10.1.0.0/16 8.8.4.4 fd00::/8\n"                                                \
	"host work *.a.example.com other.test\n"                                                   \
	"hours day Mon-Fri 09:00-18:00\nhours late Sat,Sun 22:00-06:00\n"                          \
	"group staff bob,\"al ice\"\n"

static const char prelude[] = DEFINITIONS "auth password /users\nauth none\n";

static const char *const names[] = {
    "example.com", "a.example.com", "b.a.example.com", "badexample.com", "com", "other.test"};
static const char *const users[] = {"alice", "bob", "Alice", "al ice"};
static const char *const ports[] = {"22", "80-443", "8000-8999", "1", "443", "9000-65535"};
static const unsigned port_bounds[][2] = {
    {22, 22}, {80, 443}, {8000, 8999}, {1, 1}, {443, 443}, {9000, 65535}};
static const uint16_t asked_ports[] = {1, 22, 79, 80, 443, 444, 8500, 9000, 65535};
static const char *const listeners[] = {"127.0.0.1:1080", "[::1]:1080"};
static const char *const commands[] = {"connect", "bind", "udp", "resolve", "multicast"};
static const char *const protocols[] = {"socks4", "socks4a", "socks5", "http"};
static const char *const methods[] = {"none", "password"};
static const char *const hours[] = {"day", "late"};
static const char *const groups[] = {"staff"};

enum list { FROM, TO, PORT, USER, GROUP, COMMAND, PROTOCOL, METHOD, LISTENER, DURING, LISTS };

struct list_row {
	const char *word;
	const char *const *items;
	unsigned n, chance; /* to be in a rule, of 100 */
};

static const struct list_row rows[LISTS] = {
    {"from", places, N_FROM, 50},
    {"to", places, COUNT(places), 70},
    {"port", ports, COUNT(ports), 25},
    {"user", users, COUNT(users), 20},
    {"group", groups, COUNT(groups), 10},
    {"command", commands, COUNT(commands), 15},
    {"protocol", protocols, COUNT(protocols), 15},
    {"method", methods, COUNT(methods), 10},
    {"listener", listeners, COUNT(listeners), 10},
    {"during", hours, COUNT(hours), 15},
};

/* A rule as data: for each word the items it lists; none where it is not said. */
struct model {
	bool allow;
	unsigned n[LISTS];
	const char *items[LISTS][ITEMS_MAX];
};

static bool is_of_groups(const char *item)
{
	return strcmp(item, "multicast") == 0 || strcmp(item, "224.0.0.0/4") == 0 ||
	       strcmp(item, "ff02::/16") == 0;
}

static bool names_groups(const struct model *m)
{
	for (unsigned i = 0; i < m->n[TO]; i++)
		if (is_of_groups(m->items[TO][i]))
			return true;
	return false;
}

static struct model make_rule(void)
{
	struct model m = {.allow = pick(2) == 0};

	for (unsigned list = 0; list < LISTS; list++) {
		if (pick(100) >= rows[list].chance)
			continue;
		m.n[list] = 1 + pick(ITEMS_MAX);
		for (unsigned i = 0; i < m.n[list]; i++)
			m.items[list][i] = rows[list].items[pick(rows[list].n)];
	}
	/* The parser wants to know which groups. */
	for (unsigned i = 0; m.allow && i < m.n[COMMAND]; i++)
		if (strcmp(m.items[COMMAND][i], "multicast") == 0 && !names_groups(&m))
			m.items[TO][m.n[TO] < ITEMS_MAX ? m.n[TO]++ : 0] = "multicast";
	return m;
}

/* The words stand in any order: begin somewhere and go round. */
static void write_rule(FILE *f, const struct model *m)
{
	unsigned start = pick(LISTS);

	fputs(m->allow ? "allow" : "deny", f);
	fputs(" all", f); /* or a rule may have no word at all */
	for (unsigned k = 0; k < LISTS; k++) {
		unsigned list = (start + k) % LISTS;

		for (unsigned i = 0; i < m->n[list]; i++) {
			const char *quote = list == USER ? "\"" : "";

			fprintf(f, "%s%s%s%s%s", i == 0 ? " " : "", i == 0 ? rows[list].word : ",",
			    i == 0 ? " " : "", quote, m->items[list][i]);
			fputs(quote, f);
		}
	}
	fputs(" log\n", f);
}

/* A request as data. */
struct asked {
	const struct known *client, *ip; /* ip: NULL where it is not known */
	const char *name, *user, *listener, *command, *protocol, *method;
	uint16_t port;
	unsigned day, minute;
	bool is_self;
};

static bool in_net(const char *net, const char *ip)
{
	unsigned char a[16] = {0}, b[16] = {0};
	const char *slash = strchr(net, '/');
	int family = strchr(net, ':') ? AF_INET6 : AF_INET, bits = family == AF_INET ? 32 : 128;
	char base[64];

	if ((strchr(ip, ':') != NULL) != (family == AF_INET6))
		return false;
	snprintf(base, sizeof(base), "%.*s", slash ? (int)(slash - net) : (int)strlen(net), net);
	assert_int_equal(inet_pton(family, base, a), 1);
	assert_int_equal(inet_pton(family, ip, b), 1);
	if (slash)
		bits = atoi(slash + 1);
	for (int i = 0; i < bits; i++)
		if ((a[i / 8] ^ b[i / 8]) & 0x80 >> i % 8)
			return false;
	return true;
}

static const struct known *known_of(const char *text)
{
	for (size_t i = 0; i < COUNT(addresses); i++)
		if (strcmp(addresses[i].text, text) == 0)
			return &addresses[i];
	fail();
	return NULL;
}

static bool host_matches(const char *pattern, const char *name)
{
	char plain[64];
	size_t tail;

	snprintf(plain, sizeof(plain), "%s", pattern);
	if (plain[strlen(plain) - 1] == '.')
		plain[strlen(plain) - 1] = '\0';
	if (!name)
		return false;
	if (strcmp(plain, "*") == 0)
		return true;
	if (plain[0] != '*')
		return strcmp(plain, name) == 0;
	tail = strlen(plain + 1);
	return strlen(name) > tail && strcmp(name + strlen(name) - tail, plain + 1) == 0;
}

static bool is_host(const char *item)
{
	return item[0] == '*' || (strchr(item, '.') && item[0] >= 'a' && !strchr(item, ':'));
}

static bool ip_in_item(const char *item, const struct known *ip, bool allow)
{
	const struct known *inside = ip->v4 ? known_of(ip->v4) : NULL;
	bool own, carried;

	if (strcmp(item, "internet") == 0) {
		own = ip->own[0] == '\0';
		carried = inside && inside->own[0] == '\0';
		return allow ? own && (!inside || carried) : own || carried;
	}
	if (strpbrk(item, ".:")) {
		own = in_net(item, ip->text);
		carried = inside && in_net(item, inside->text);
	} else {
		own = strstr(ip->own, item) != NULL;
		carried = inside && strstr(inside->own, item) != NULL;
	}
	return own || (!allow && carried);
}

static bool ip_in_place(const char *item, const struct known *ip, bool allow)
{
	if (strcmp(item, "office") != 0)
		return ip_in_item(item, ip, allow);
	return ip_in_item("10.1.0.0/16", ip, allow) || ip_in_item("8.8.4.4", ip, allow) ||
	       ip_in_item("fd00::/8", ip, allow);
}

enum answer { NO, YES, UNKNOWN };

static enum answer place_item(
    const char *item, const struct known *ip, const struct asked *a, bool allow)
{
	if (strcmp(item, "any") == 0)
		return YES;
	if (strcmp(item, "work") == 0)
		return host_matches("*.a.example.com", a->name) ||
			       host_matches("other.test", a->name)
			   ? YES
			   : NO;
	if (is_host(item))
		return host_matches(item, a->name) ? YES : NO;
	if (!ip)
		return UNKNOWN;
	if (strcmp(item, "self") == 0)
		return a->is_self ? YES : NO;
	return ip_in_place(item, ip, allow) ? YES : NO;
}

static bool during_item(const char *item, const struct asked *a)
{
	if (strcmp(item, "day") == 0)
		return a->day < 5 && a->minute >= 540 && a->minute < 1080;
	if (a->minute >= 1320)
		return a->day == 5 || a->day == 6;
	return a->minute < 360 && (a->day == 6 || a->day == 0);
}

static bool same(const char *item, const char *asked)
{
	return asked && strcmp(item, asked) == 0;
}

static bool port_item(const char *item, uint16_t port)
{
	for (size_t i = 0; i < COUNT(ports); i++)
		if (strcmp(ports[i], item) == 0)
			return port >= port_bounds[i][0] && port <= port_bounds[i][1];
	fail();
	return false;
}

static enum answer item_matches(enum list list, const char *item, const struct asked *a, bool allow)
{
	switch (list) {
	case FROM:
		return place_item(item, a->client, a, allow);
	case TO:
		return place_item(item, a->ip, a, allow);
	case PORT:
		return port_item(item, a->port) ? YES : NO;
	case USER:
		return same(item, a->user) ? YES : NO;
	case GROUP:
		return same("bob", a->user) || same("al ice", a->user) ? YES : NO;
	case COMMAND:
		return same(item, a->command) ? YES : NO;
	case PROTOCOL:
		return same(item, a->protocol) ||
			       (same(item, "socks4") && same("socks4a", a->protocol))
			   ? YES
			   : NO;
	case METHOD:
		return same(item, a->method) ? YES : NO;
	case LISTENER:
		return same(item, a->listener) ? YES : NO;
	case DURING:
		return during_item(item, a) ? YES : NO;
	case LISTS:
		break;
	}
	return NO;
}

/* Datagrams to a group: only what names groups allows them. */
static bool wants_name_of_group(const struct model *m, const struct asked *a)
{
	if (same(a->command, "multicast"))
		return m->allow;
	return m->allow && a->ip && same(a->command, "udp") && strcmp(a->ip->own, "multicast") == 0;
}

static enum answer rule_answer(const struct model *m, const struct asked *a)
{
	enum answer all = YES;

	for (unsigned list = 0; list < LISTS; list++) {
		bool group = list == TO && wants_name_of_group(m, a);
		/* And to join a group is granted by its name only. */
		bool must = list == COMMAND && m->allow && same(a->command, "multicast");
		enum answer any = m->n[list] == 0 && !group && !must ? YES : NO;

		for (unsigned i = 0; i < m->n[list]; i++) {
			const char *item = m->items[list][i];
			enum answer one = item_matches((enum list)list, item, a, m->allow);

			if (group && !is_of_groups(item))
				continue;
			if (one == YES)
				any = YES;
			else if (one == UNKNOWN && any == NO)
				any = UNKNOWN;
		}
		if (any == NO)
			return NO;
		if (any == UNKNOWN)
			all = UNKNOWN;
	}
	return all;
}

/* Tries every way the unknown rules may turn out. `*ret_rule` is the deciding one, or -1. */
static enum verdict naive_decide(
    const struct model *rules, unsigned n, const struct asked *a, int *ret_rule)
{
	enum answer answers[RULES_MAX];
	bool denied = false, allowed = false;
	int known = -1;

	for (unsigned i = 0; i < n; i++)
		answers[i] = rule_answer(&rules[i], a);
	for (unsigned way = 0; way < 1u << n; way++) {
		bool allow = false;

		for (unsigned i = 0; i < n; i++) {
			if (answers[i] == NO || (answers[i] == UNKNOWN && !(way >> i & 1)))
				continue;
			allow = rules[i].allow;
			break;
		}
		denied |= !allow;
		allowed |= allow;
	}
	for (unsigned i = 0; i < n && known < 0; i++)
		if (answers[i] == YES)
			known = (int)i;
	*ret_rule = allowed && denied ? -1 : known;
	return allowed && denied ? VERDICT_DEPENDS : allowed ? VERDICT_ALLOW : VERDICT_DENY;
}

/* One port of every piece into which `ports` cuts them. */
static const uint16_t port_pieces[] = {
    1, 2, 22, 23, 80, 100, 443, 444, 8000, 8500, 9000, 20000, 65535};

/*
 * A resolve is allowed where some port is. Where that is not certain without the address, it may
 * also be said to depend on it.
 */
static bool resolve_is_right(
    const struct model *rules, unsigned n, const struct asked *asked, const struct decision *d)
{
	bool some_allow = false, all_deny = true;

	for (size_t i = 0; i < COUNT(port_pieces); i++) {
		struct asked a = *asked;
		enum verdict verdict;
		int rule;

		a.port = port_pieces[i];
		verdict = naive_decide(rules, n, &a, &rule);
		some_allow |= verdict == VERDICT_ALLOW;
		all_deny &= verdict == VERDICT_DENY;
	}
	if (d->rule && d->rule->allow != (d->verdict == VERDICT_ALLOW))
		return false;
	if (d->verdict == VERDICT_DEPENDS)
		return !asked->ip && !all_deny && !d->rule;
	return d->verdict == VERDICT_ALLOW ? some_allow : all_deny;
}

static struct asked make_request(void)
{
	struct asked a = {
	    .client = &addresses[pick(COUNT(addresses))],
	    .name = pick(2) ? names[pick(COUNT(names))] : NULL,
	    .user = pick(2) ? users[pick(COUNT(users))] : NULL,
	    .listener = listeners[pick(COUNT(listeners))],
	    .command = commands[pick(COUNT(commands))],
	    .protocol = protocols[pick(COUNT(protocols))],
	    .port = asked_ports[pick(COUNT(asked_ports))],
	    .day = pick(7),
	    .minute = pick(24) * 60 + (pick(2) ? 59 : 0),
	    .is_self = pick(8) == 0,
	};

	a.method = a.user ? "password" : "none";
	if (!a.name || pick(2))
		a.ip = &addresses[pick(COUNT(addresses))];
	return a;
}

static int index_of(const char *const *list, size_t n, const char *text)
{
	for (size_t i = 0; i < n; i++)
		if (strcmp(list[i], text) == 0)
			return (int)i;
	fail();
	return -1;
}

static struct policy_request real_request(const struct asked *a)
{
	static const enum proto protos[] = {PROTO_SOCKS4, PROTO_SOCKS4A, PROTO_SOCKS5, PROTO_HTTP};
	struct policy_request req = {
	    .client = fixture_ip(a->client->text),
	    .listener = a->listener,
	    .user = a->user,
	    .method = a->user ? AUTH_PASSWORD : AUTH_NONE,
	    .proto = protos[index_of(protocols, COUNT(protocols), a->protocol)],
	    .name = a->name,
	    .has_ip = a->ip != NULL,
	    .port = a->port,
	    .is_self = a->is_self,
	    .now = a->day * 1440 + a->minute,
	};

	req.command =
	    (enum command)(COMMAND_CONNECT + index_of(commands, COUNT(commands), a->command));
	if (a->ip)
		req.ip = fixture_ip(a->ip->text);
	return req;
}

static char *write_policy(const struct model *rules, unsigned n)
{
	char *text = NULL;
	size_t len;
	FILE *f = open_memstream(&text, &len);

	assert_non_null(f);
	fputs(prelude, f);
	for (unsigned i = 0; i < n; i++)
		write_rule(f, &rules[i]);
	assert_int_equal(fclose(f), 0);
	return text;
}

static void check_one(const struct policy *policy, const char *text, const struct model *rules,
    unsigned n, unsigned tally[3])
{
	struct asked a = make_request();
	struct policy_request req = real_request(&a);
	struct decision d = policy_decide(policy, &req);
	unsigned first_line = 1;
	enum verdict verdict;
	int rule;

	if (req.command == COMMAND_RESOLVE) {
		if (!resolve_is_right(rules, n, &a, &d))
			fail_msg("%s\nclient %s name %s ip %s user %s: resolve verdict %d", text,
			    a.client->text, a.name ? a.name : "-", a.ip ? a.ip->text : "-",
			    a.user ? a.user : "-", (int)d.verdict);
		tally[d.verdict]++;
		return;
	}
	for (const char *c = prelude; *c; c++)
		first_line += *c == '\n';
	verdict = naive_decide(rules, n, &a, &rule);
	if (d.verdict != verdict || (d.rule != NULL) != (rule >= 0) ||
	    (d.rule && policy_rule_position(d.rule).line != first_line + (unsigned)rule)) {
		print_error(
		    "%s\nclient %s name %s ip %s user %s port %u: verdict %d not %d, rule %d\n",
		    text, a.client->text, a.name ? a.name : "-", a.ip ? a.ip->text : "-",
		    a.user ? a.user : "-", a.port, (int)d.verdict, (int)verdict, rule);
		fail();
	}
	assert_int_equal(d.log, d.rule != NULL);
	tally[verdict]++;
}

static void both_evaluators_agree(void **state)
{
	unsigned tally[3] = {0};

	(void)state;
	for (unsigned i = 0; i < POLICIES; i++) {
		struct model rules[RULES_MAX];
		unsigned n = 1 + pick(RULES_MAX);
		struct policy *policy;
		char *text;

		for (unsigned k = 0; k < n; k++)
			rules[k] = make_rule();
		text = write_policy(rules, n);
		policy = fixture_policy(text);
		for (unsigned k = 0; k < REQUESTS; k++)
			check_one(policy, text, rules, n, tally);
		policy_free(policy);
		free(text);
	}
	/* The cases are worth something only if all answers come up. */
	print_message("# %u denied, %u allowed, %u depend\n", tally[VERDICT_DENY],
	    tally[VERDICT_ALLOW], tally[VERDICT_DEPENDS]);
	for (unsigned i = 0; i < 3; i++)
		assert_true(tally[i] > 1000);
}

/* ---- what is offered ---- */

#define AUTHS_MAX 5

/* An `auth` statement as data: in `who` only these lists. */
static const enum list auth_lists[] = {FROM, LISTENER, USER};

struct model_auth {
	unsigned method;
	struct model who;
};

/* Of "none", which proves nobody, there is one at most: without a file two might be the same. */
static struct model_auth make_auth(bool none)
{
	struct model_auth m = {.method = pick(2) ? AUTH_PASSWORD : AUTH_GSSAPI};

	if (none)
		m.method = AUTH_NONE;
	for (size_t i = 0; i < COUNT(auth_lists); i++) {
		enum list list = auth_lists[i];

		if (pick(2) || (list == USER && none))
			continue;
		m.who.n[list] = 1 + pick(ITEMS_MAX);
		for (unsigned k = 0; k < m.who.n[list]; k++)
			m.who.items[list][k] = rows[list].items[pick(rows[list].n)];
	}
	return m;
}

static void write_auth(FILE *f, const struct model_auth *m, unsigned serial)
{
	unsigned start = pick(COUNT(auth_lists));

	if (m->method == AUTH_NONE)
		fputs("auth none", f);
	else
		fprintf(f, "auth %s /file%u",
		    m->method == AUTH_PASSWORD ? "password" : "gssapi keytab", serial);
	for (unsigned k = 0; k < COUNT(auth_lists); k++) {
		enum list list = auth_lists[(start + k) % COUNT(auth_lists)];
		const char *quote = list == USER ? "\"" : "";

		for (unsigned i = 0; i < m->who.n[list]; i++)
			fprintf(f, "%s%s%s%s%s%s", i == 0 ? " " : ",",
			    i == 0 ? rows[list].word : "", i == 0 ? " " : "", quote,
			    m->who.items[list][i], quote);
	}
	fputc('\n', f);
}

static bool list_has(const struct model_auth *m, enum list list, const struct asked *a)
{
	for (unsigned i = 0; i < m->who.n[list]; i++)
		if (item_matches(list, m->who.items[list][i], a, true) == YES)
			return true;
	return m->who.n[list] == 0;
}

static void check_offers(
    const struct policy *policy, const struct model_auth *auths, unsigned n, unsigned tally[8])
{
	struct asked a = make_request();
	const struct ip client = fixture_ip(a.client->text);
	unsigned offered = 0;

	a.user = users[pick(COUNT(users))];
	for (unsigned i = 0; i < n; i++) {
		const struct policy_auth *auth = &policy->auths[i];
		bool has = list_has(&auths[i], FROM, &a) && list_has(&auths[i], LISTENER, &a);

		assert_int_equal(offer_has(auth, &client, a.listener), has);
		assert_int_equal(
		    offer_counts(auth, a.user, strlen(a.user)), list_has(&auths[i], USER, &a));
		offered |= has ? auths[i].method : 0;
	}
	assert_int_equal(offer_methods(policy, &client, a.listener), offered);
	tally[offered]++;
}

static void offers_agree(void **state)
{
	unsigned tally[8] = {0};

	(void)state;
	for (unsigned i = 0; i < POLICIES; i++) {
		struct model_auth auths[AUTHS_MAX];
		unsigned n = 1 + pick(AUTHS_MAX), none = pick(AUTHS_MAX);
		struct policy *policy;
		char *text = NULL;
		size_t len;
		FILE *f = open_memstream(&text, &len);

		assert_non_null(f);
		fputs(DEFINITIONS, f);
		for (unsigned k = 0; k < n; k++) {
			auths[k] = make_auth(k == none);
			write_auth(f, &auths[k], k);
		}
		assert_int_equal(fclose(f), 0);
		policy = fixture_policy(text);
		assert_int_equal(policy->n_auths, n);
		for (unsigned k = 0; k < REQUESTS; k++)
			check_offers(policy, auths, n, tally);
		policy_free(policy);
		free(text);
	}
	/* Every set of three methods, the empty one too. */
	for (unsigned i = 0; i < 8; i++)
		assert_true(tally[i] > 1000);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(both_evaluators_agree),
	    cmocka_unit_test(offers_agree),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
