/* SPDX-License-Identifier: MIT */
/* The settings: statements that say how the server runs, each once. */
#include "policy/parse_int.h"

#include <stdio.h>
#include <string.h>

#include "policy/diag.h"

#define WORKERS_MAX 256 /* as many as the supervisor has room for */
#define RESOLVER_PORT 53
#define RESOLVERS_MAX 16
#define USER_NAME_MAX 64
#define TIMEOUT_UDP_MIN_MS (2 * 60 * 1000) /* RFC 4787, REQ-5 */
#define PORT_MAX 65535
#define PORT_UNPRIVILEGED 1024 /* workers have no privileges to listen on those before */

static const struct word timeouts[] = {
    {"handshake", TIMEOUT_HANDSHAKE},
    {"connect", TIMEOUT_CONNECT},
    {"idle", TIMEOUT_IDLE},
    {"halfclose", TIMEOUT_HALFCLOSE},
    {"keepalive", TIMEOUT_KEEPALIVE},
    {"bind", TIMEOUT_BIND},
    {"udp", TIMEOUT_UDP},
    {"drain", TIMEOUT_DRAIN},
    {NULL, 0},
};

static const struct word log_levels[] = {
    {"error", LOG_AT_ERROR},
    {"warn", LOG_AT_WARN},
    {"info", LOG_AT_INFO},
    {"debug", LOG_AT_DEBUG},
    {"trace", LOG_AT_TRACE},
    {NULL, 0},
};

static const struct word relay_modes[] = {
    {"auto", RELAY_AUTO},
    {"copy", RELAY_COPY},
    {"splice", RELAY_SPLICE},
    {NULL, 0},
};

static const struct word sandbox_modes[] = {
    {"auto", SANDBOX_AUTO},
    {"require", SANDBOX_REQUIRE},
    {"off", SANDBOX_OFF},
    {NULL, 0},
};

void setting_workers(struct parser *p, const struct token *t)
{
	unsigned n = 0;

	if (!parse_once(p, &p->seen[SETTING_WORKERS], t))
		return;
	if (!token_is(t + 1, "auto") &&
	    !parse_number(p, t + 1, 1, WORKERS_MAX, "auto or a number from 1 to 256", &n))
		return;
	if (parse_end(p, t + 2))
		p->policy->set.workers = n;
}

void setting_user(struct parser *p, const struct token *t)
{
	static const char expected[] = "the name of a user of this system";

	if (!parse_once(p, &p->seen[SETTING_USER], t) || !parse_path(p, t + 1, expected) ||
	    !parse_end(p, t + 2))
		return;
	if (t[1].len > USER_NAME_MAX || memchr(t[1].text, ':', t[1].len)) {
		parse_fail(p, t + 1, expected, "'%.*s' cannot be a user", SHOWN(t + 1));
		return;
	}
	p->policy->set.user = t[1].text;
}

enum log_word { LOG_JSON, LOG_STDERR, LOG_SYSLOG, LOG_FILE, LOG_LEVEL };

static const struct word log_words[] = {
    {"json", LOG_JSON},
    {"stderr", LOG_STDERR},
    {"syslog", LOG_SYSLOG},
    {"file", LOG_FILE},
    {"level", LOG_LEVEL},
    {NULL, 0},
};

/* One word of `log` and its value. Returns the token behind, or NULL after a mistake. */
static const struct token *log_word(struct parser *p, const struct token *t, enum log_word word)
{
	struct policy_settings *set = &p->policy->set;
	const struct word *level;

	switch (word) {
	case LOG_JSON:
		set->log_json = true;
		return t + 1;
	case LOG_STDERR:
		set->log_place = LOG_TO_STDERR;
		return t + 1;
	case LOG_SYSLOG:
		set->log_place = LOG_TO_SYSLOG;
		return t + 1;
	case LOG_FILE:
		set->log_place = LOG_TO_FILE;
		set->log_file = t[1].text;
		return parse_path(p, t + 1, "the path of the log file") ? t + 2 : NULL;
	case LOG_LEVEL:
		level = parse_keyword(p, t + 1, log_levels, "level");
		if (!level)
			return NULL;
		set->log_level = (enum log_level)level->value;
		return t + 2;
	}
	return NULL;
}

void setting_log(struct parser *p, const struct token *t)
{
	/* The three places exclude each other, so they count as one word. */
	struct position json = {0}, place = {0}, level = {0};

	if (!parse_once(p, &p->seen[SETTING_LOG], t))
		return;
	t++;
	do {
		const struct word *w = parse_keyword(p, t, log_words, "word");
		struct position *seen;

		if (!w)
			return;
		seen = w->value == LOG_JSON ? &json : w->value == LOG_LEVEL ? &level : &place;
		if (seen == &place && place.line > 0) {
			parse_fail(
			    p, t, "one of stderr, syslog and file", "a second place to log to");
			return;
		}
		if (!parse_once(p, seen, t))
			return;
		t = log_word(p, t, (enum log_word)w->value);
	} while (t && t->kind != TOKEN_END);
}

void setting_relay(struct parser *p, const struct token *t)
{
	const struct word *w;

	if (!parse_once(p, &p->seen[SETTING_RELAY], t))
		return;
	w = parse_keyword(p, t + 1, relay_modes, "relay");
	if (w && parse_end(p, t + 2))
		p->policy->set.relay = (enum relay_mode)w->value;
}

void setting_timeout(struct parser *p, const struct token *t)
{
	const struct word *w = parse_keyword(p, t + 1, timeouts, "timeout");
	uint64_t ms;

	if (!w || !parse_once(p, &p->seen[SETTING_TIMEOUT + w->value], t + 1) ||
	    !parse_time(p, t + 2, &ms) || !parse_end(p, t + 3))
		return;
	if (ms == 0 && w->value != TIMEOUT_IDLE) {
		parse_fail(p, t + 2, "at least 1ms; only 'timeout idle' knows 0, which means never",
		    "no time at all");
		return;
	}
	if (w->value == TIMEOUT_UDP && ms < TIMEOUT_UDP_MIN_MS) {
		parse_fail(p, t + 2, "at least 2m (RFC 4787)",
		    "too short for a UDP association: remotes would be cut off in mid-talk");
		return;
	}
	p->policy->set.timeout_ms[w->value] = (unsigned)ms;
}

void setting_control(struct parser *p, const struct token *t)
{
	if (!parse_once(p, &p->seen[SETTING_CONTROL], t))
		return;
	if (parse_path(p, t + 1, "the path of the control socket") && parse_end(p, t + 2))
		parse_later(p, t);
}

void setting_metrics(struct parser *p, const struct token *t)
{
	static const char expected[] = "ADDRESS:PORT, such as 127.0.0.1:9180";
	struct addr addr = {0};

	if (!parse_once(p, &p->seen[SETTING_METRICS], t) || !parse_word(p, t + 1, expected))
		return;
	if (addr_parse(t[1].text, t[1].len, &addr) || addr.kind != ADDR_IP || addr.port == 0)
		parse_fail(
		    p, t + 1, expected, "'%.*s' is not an address with a port", SHOWN(t + 1));
	else if (parse_end(p, t + 2))
		parse_later(p, t);
}

void setting_sandbox(struct parser *p, const struct token *t)
{
	const struct word *w;

	if (!parse_once(p, &p->seen[SETTING_SANDBOX], t))
		return;
	w = parse_keyword(p, t + 1, sandbox_modes, "sandbox");
	if (!w || !parse_end(p, t + 2))
		return;
	p->policy->set.sandbox = (enum sandbox_mode)w->value;
	if (w->value == SANDBOX_REQUIRE)
		parse_later(p, t + 1);
}

/* ADDRESS, or ADDRESS:PORT with brackets around IPv6. */
static bool read_resolver(const struct token *t, struct addr *ret)
{
	struct ip ip;

	if (ip_parse(t->text, t->len, &ip) == 0) {
		*ret = addr_from_ip(&ip, RESOLVER_PORT);
		return true;
	}
	return addr_parse(t->text, t->len, ret) == 0 && ret->kind == ADDR_IP && ret->port != 0;
}

void setting_resolver(struct parser *p, const struct token *t)
{
	static const char expected[] =
	    "addresses of name servers, such as 192.0.2.53 or [2001:db8::53]:5353";
	struct policy_settings *set = &p->policy->set;

	if (!parse_once(p, &p->seen[SETTING_RESOLVER], t))
		return;
	t++;
	do {
		struct addr addr = {0}, *list;

		if (!parse_word(p, t, expected))
			return;
		if (!read_resolver(t, &addr) || set->n_resolvers == RESOLVERS_MAX) {
			if (set->n_resolvers == RESOLVERS_MAX)
				parse_fail(p, t, NULL, "more than 16 name servers");
			else
				parse_fail(p, t, expected, "'%.*s' is not a name server", SHOWN(t));
			return;
		}
		list = arena_append(&p->arena, set->resolvers, set->n_resolvers, sizeof(*list));
		if (!list)
			return;
		set->resolvers = list;
		list[set->n_resolvers++] = addr;
		t++;
	} while (t->kind != TOKEN_END);
}

void setting_bind_ports(struct parser *p, const struct token *t)
{
	struct port_range r;

	if (!parse_once(p, &p->seen[SETTING_BIND_PORTS], t) ||
	    !parse_word(p, t + 1, "ports to listen on, such as 40000-40999") ||
	    !parse_port_range(p, t + 1, PORT_UNPRIVILEGED, &r) || !parse_end(p, t + 2))
		return;
	p->policy->set.bind_first = r.first;
	p->policy->set.bind_last = r.last;
}

/* `shared PORT`: of each worker one port, from that one on. */
static void udp_shared_port(struct parser *p, const struct token *t)
{
	static const char expected[] =
	    "a port from 1024 to 65280: each worker has one, from that one on";
	struct policy_settings *set = &p->policy->set;
	uint16_t port;

	if (!parse_word(p, t, expected))
		return;
	if (port_parse(t->text, t->len, &port) || port < PORT_UNPRIVILEGED ||
	    port > PORT_MAX - WORKERS_MAX + 1) {
		parse_fail(p, t, expected, "'%.*s' cannot be shared", SHOWN(t));
		return;
	}
	if (!parse_end(p, t + 1))
		return;
	set->udp_first = set->udp_last = port;
	set->udp_shared = true;
}

void setting_udp_ports(struct parser *p, const struct token *t)
{
	struct port_range r;

	if (!parse_once(p, &p->seen[SETTING_UDP_PORTS], t))
		return;
	if (token_is(t + 1, "shared")) {
		udp_shared_port(p, t + 2);
		return;
	}
	if (!parse_word(p, t + 1, "ports for clients to send to, such as 50000-50999") ||
	    !parse_port_range(p, t + 1, PORT_UNPRIVILEGED, &r) || !parse_end(p, t + 2))
		return;
	p->policy->set.udp_first = r.first;
	p->policy->set.udp_last = r.last;
}

void setting_fragments(struct parser *p, const struct token *t)
{
	static const struct word on_off[] = {{"on", 0}, {"off", 1}, {NULL, 0}};
	const struct word *w;

	if (!parse_once(p, &p->seen[SETTING_FRAGMENTS], t))
		return;
	w = parse_keyword(p, t + 1, on_off, "value");
	if (w && parse_end(p, t + 2))
		p->policy->set.fragments_off = w->value != 0;
}
