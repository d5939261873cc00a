/* SPDX-License-Identifier: MIT */
/* tabi probe finds out what a proxy can do, each thing by asking for it. */
#include <stdio.h>
#include <string.h>

#include "cli/probe.h"
#include "proto/http.h"
#include "proto/socks4.h"

/* Is anything behind this method? 0xfe where there is no answer. */
static uint8_t offer(struct probe *p, uint8_t method)
{
	struct talk t = {.fd = -1};
	const uint8_t greeting[] = {SOCKS5_VERSION, 1, method};
	int choice = -1;

	if (ask_dial(p, &t)) {
		talk_send(&t, greeting, sizeof(greeting), probe_ms(p));
		choice = ask_read_choice(p, &t);
	}
	talk_close(&t);
	return choice < 0 ? 0xfe : (uint8_t)choice;
}

static void find_methods(struct probe *p)
{
	struct survey *s = &p->s;

	for (unsigned i = 0; i < PROBE_METHODS; i++) {
		s->chosen[i] = offer(p, probe_methods[i].number);
		s->v5 |= s->chosen[i] != 0xfe;
		/* Who does not answer one does not answer the others, and waiting takes time. */
		if (i == 0 && !s->v5)
			break;
	}
	s->open = s->v5 && s->chosen[0] == SOCKS5_METHOD_NONE;
}

/* With a password where one is given and taken, for that is how the proxy is to be used; with
 * GSS-API where that was asked for. */
static void find_way_in(struct probe *p)
{
	struct survey *s = &p->s;
	struct talk t = {.fd = -1};
	uint64_t began;

	if (!s->v5)
		return;
	s->method = SOCKS5_METHOD_NONE;
	if (p->o->proxy.has_user && s->chosen[2] == SOCKS5_METHOD_PASSWORD)
		s->method = SOCKS5_METHOD_PASSWORD;
	if (p->o->proxies.gss && s->chosen[1] == SOCKS5_METHOD_GSSAPI)
		s->method = SOCKS5_METHOD_GSSAPI;
	if (ask_dial(p, &t)) {
		began = talk_clock();
		s->enters = ask_enter(p, &t);
		s->method_ns = talk_clock() - began;
	}
	talk_close(&t);
}

static void connect_by(
    struct probe *p, enum probe_way way, struct talk *t, const struct addr *to, struct attempt *ret)
{
	if (way == WAY_HTTP)
		ask_http(p, t, to, ret);
	else if (way == WAY_SOCKS4)
		ask4(p, t, SOCKS4_CONNECT, to, ret);
	else
		ask5(p, t, SOCKS5_CONNECT, to, ret);
}

/* CONNECT, and what the target sees of it. */
static void try_connect(struct probe *p, enum probe_way way, const struct addr *to,
    struct attempt *ret, struct target_line *ret_seen)
{
	struct talk t = {.fd = -1};
	struct target_line line;
	uint64_t began;

	if (to->kind == ADDR_NONE || (way == WAY_SOCKS5 && !p->s.enters))
		return;
	connect_by(p, way, &t, to, ret);
	if (ret->outcome == OUTCOME_YES) {
		began = talk_clock();
		talk_send(&t, "P\n", 2, probe_ms(p));
		if (!ask_line(p, &t, &line)) {
			ret->outcome = OUTCOME_NO_ECHO;
			snprintf(ret->seen, sizeof(ret->seen), "granted, but %.120s", p->why);
		} else {
			p->s.echo_ns = talk_clock() - began;
			if (ret_seen)
				*ret_seen = line;
		}
	}
	talk_close(&t);
}

/* HTTP, with the credentials that there are and without. */
static void try_http(struct probe *p)
{
	struct survey *s = &p->s;
	struct talk t = {.fd = -1};
	uint8_t request[PROBE_HTTP];
	struct wire_writer w = wire_writer_of(request, sizeof(request));

	try_connect(p, WAY_HTTP, &p->target4, &s->http, s->seen4.refuses ? NULL : &s->seen4);
	/* Who says nothing in HTTP does not need to be waited for again. */
	if (p->target4.kind != ADDR_NONE && s->http.head.status == 0)
		return;
	try_connect(p, WAY_HTTP, &p->target6, &s->http6, s->seen6.refuses ? NULL : &s->seen6);
	if (s->http.outcome != OUTCOME_YES && s->http6.outcome != OUTCOME_YES)
		return;
	try_connect(p, WAY_HTTP, &p->name, &s->http_name, NULL);
	if (!p->o->proxy.has_user)
		return;
	http_write_connect(&w, &p->main, NULL);
	if (ask_dial(p, &t)) {
		talk_send(&t, request, w.len, probe_ms(p));
		ask_read_http(p, &t, &s->http_open);
	}
	talk_close(&t);
}

/* BIND for a peer that will never come, and UDP ASSOCIATE: the first reply tells. */
static void try_command(struct probe *p, uint8_t command, struct attempt *ret)
{
	struct talk t = {.fd = -1};
	struct addr to = command == SOCKS5_BIND ? p->main : (struct addr){.kind = ADDR_NONE};

	if (!p->s.enters)
		return;
	to.port = 0;
	ask5(p, &t, command, &to, ret);
	talk_close(&t);
}

/* Tor's extensions: the reply has the answer. */
static void try_resolve(struct probe *p)
{
	struct talk t = {.fd = -1};

	if (!p->s.enters)
		return;
	if (p->name.kind == ADDR_NAME)
		ask5(p, &t, SOCKS5_RESOLVE, &p->name, &p->s.resolve);
	talk_close(&t);
	if (p->main.kind == ADDR_IP)
		ask5(p, &t, SOCKS5_RESOLVE_PTR, &p->main, &p->s.resolve_ptr);
	talk_close(&t);
}

static void try_bind4(struct probe *p, struct attempt *ret)
{
	struct talk t = {.fd = -1};

	if (p->s.socks4.outcome != OUTCOME_YES)
		return;
	ask4(p, &t, SOCKS4_BIND, &p->target4, ret);
	talk_close(&t);
}

/* Through whatever reaches the target, and by IPv4 if it can be. */
static void find_refusing(struct probe *p)
{
	const struct target_line *seen = p->s.seen4.refuses ? &p->s.seen4 : &p->s.seen6;

	if (seen->refuses == 0)
		return;
	p->refusing = seen == &p->s.seen4 ? p->target4 : p->target6;
	p->refusing.port = seen->refuses;
}

/* What comes by IPv4 alone cannot be the way of everything if that is not there. */
static void choose_main(struct probe *p, const struct attempt *four, const struct attempt *six)
{
	bool by6 = four->outcome != OUTCOME_YES && six->outcome == OUTCOME_YES;

	if (by6)
		p->main = p->target6;
	p->s.reached = by6 || four->outcome == OUTCOME_YES;
	p->s.reply_ns = by6 ? six->ns : four->ns;
	p->s.dial_ns = p->dial_ns;
	p->s.tls_ns = p->tls_ns;
}

/* Whoever is said to speak HTTP is not asked for anything else: it would wait for lines. */
static bool survey_http(struct probe *p)
{
	struct survey *s = &p->s;

	try_http(p);
	choose_main(p, &s->http, &s->http6);
	find_refusing(p);
	return s->http.outcome == OUTCOME_YES || s->http.outcome == OUTCOME_NO ||
	       s->http6.outcome == OUTCOME_YES;
}

static bool survey_socks(struct probe *p)
{
	struct survey *s = &p->s;
	uint64_t echo_ns;

	find_methods(p);
	find_way_in(p);
	if (s->v5 && !s->enters && probe_way(p) == WAY_SOCKS5)
		return true;
	try_connect(p, WAY_SOCKS5, &p->target4, &s->connect4, &s->seen4);
	try_connect(p, WAY_SOCKS5, &p->target6, &s->connect6, &s->seen6);
	try_connect(p, WAY_SOCKS4, &p->target4, &s->socks4, s->seen4.refuses ? NULL : &s->seen4);
	s->connects = s->connect4.outcome == OUTCOME_YES || s->connect6.outcome == OUTCOME_YES;
	if (probe_way(p) == WAY_SOCKS4)
		choose_main(p, &s->socks4, &s->socks4);
	else
		choose_main(p, &s->connect4, &s->connect6);
	echo_ns = s->echo_ns;
	find_refusing(p);
	try_connect(p, WAY_SOCKS5, &p->name, &s->by_name, NULL);
	try_connect(p, WAY_SOCKS4, &p->name, &s->socks4a, NULL);
	try_http(p);
	s->echo_ns = echo_ns;
	try_command(p, SOCKS5_BIND, &s->bind);
	try_command(p, SOCKS5_UDP_ASSOCIATE, &s->udp);
	try_resolve(p);
	try_bind4(p, &s->bind4);
	return s->v5 || s->socks4.outcome == OUTCOME_YES || s->http.outcome == OUTCOME_YES;
}

bool probe_survey(struct probe *p)
{
	return probe_way(p) == WAY_HTTP ? survey_http(p) : survey_socks(p);
}
