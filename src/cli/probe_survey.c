/* SPDX-License-Identifier: MIT */
/* tabi probe finds out what a proxy can do, each thing by asking for it. */
#include <stdio.h>
#include <string.h>

#include "cli/probe.h"
#include "net/sockaddr.h"
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

/* With a password where one is given and taken, for that is how the proxy is to be used. */
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
	began = talk_clock();
	if (ask_dial(p, &t)) {
		s->dial_ns = talk_clock() - began;
		s->enters = ask_enter(p, &t);
		s->method_ns = talk_clock() - began - s->dial_ns;
	}
	talk_close(&t);
}

/* CONNECT, and what the target sees of it. */
static void try_connect(struct probe *p, const struct addr *to, bool v4, struct attempt *ret,
    struct target_line *ret_seen)
{
	struct talk t = {.fd = -1};
	struct target_line line;
	uint64_t began;

	if (to->kind == ADDR_NONE || (!v4 && !p->s.enters))
		return;
	if (v4)
		ask4(p, &t, SOCKS4_CONNECT, to, ret);
	else
		ask5(p, &t, SOCKS5_CONNECT, to, ret);
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

static void try_http(struct probe *p, struct attempt *ret)
{
	struct talk t = {.fd = -1};
	char request[ADDR_TEXT_MAX + 64], to[ADDR_TEXT_MAX];
	unsigned status;
	size_t len;

	if (p->main.kind == ADDR_NONE || !ask_dial(p, &t))
		return;
	addr_format(&p->main, to);
	len = (size_t)snprintf(
	    request, sizeof(request), "CONNECT %.60s HTTP/1.1\r\nHost: %.60s\r\n\r\n", to, to);
	talk_send(&t, request, len, probe_ms(p));
	len = talk_want(&t, 12, probe_ms(p));
	status = http_status_read(t.in + t.at, len);
	ret->outcome = len == 0 && t.end == TALK_OPEN ? OUTCOME_SILENT : OUTCOME_CLOSED;
	snprintf(ret->seen, sizeof(ret->seen), "no HTTP");
	if (status > 0) {
		ret->outcome = status / 100 == 2 ? OUTCOME_YES : OUTCOME_NO;
		snprintf(ret->seen, sizeof(ret->seen), "status %u", status);
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

static void find_refusing(struct probe *p)
{
	const struct target_line *seen =
	    p->s.connect4.outcome == OUTCOME_YES || p->s.socks4.outcome == OUTCOME_YES
		? &p->s.seen4
		: &p->s.seen6;

	if (seen->refuses == 0)
		return;
	p->refusing = seen == &p->s.seen4 ? p->target4 : p->target6;
	p->refusing.port = seen->refuses;
}

bool probe_survey(struct probe *p)
{
	struct survey *s = &p->s;

	find_methods(p);
	find_way_in(p);
	if (s->v5 && !s->enters && p->o->proxy.scheme != URL_SOCKS4 &&
	    p->o->proxy.scheme != URL_SOCKS4A)
		return true;
	try_connect(p, &p->target4, false, &s->connect4, &s->seen4);
	s->reply_ns = s->connect4.ns;
	try_connect(p, &p->target6, false, &s->connect6, &s->seen6);
	try_connect(p, &p->target4, true, &s->socks4, s->seen4.refuses ? NULL : &s->seen4);
	/* What comes by IPv4 alone cannot be the way of everything if that is not there. */
	if (s->connect4.outcome != OUTCOME_YES && s->connect6.outcome == OUTCOME_YES) {
		p->main = p->target6;
		s->reply_ns = s->connect6.ns;
	}
	s->connects = s->connect4.outcome == OUTCOME_YES || s->connect6.outcome == OUTCOME_YES;
	find_refusing(p);
	try_connect(p, &p->name, false, &s->by_name, NULL);
	try_connect(p, &p->name, true, &s->socks4a, NULL);
	try_http(p, &s->http);
	try_command(p, SOCKS5_BIND, &s->bind);
	try_command(p, SOCKS5_UDP_ASSOCIATE, &s->udp);
	try_resolve(p);
	try_bind4(p, &s->bind4);
	return s->v5 || s->socks4.outcome == OUTCOME_YES || s->http.outcome == OUTCOME_YES;
}
