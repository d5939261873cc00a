/* SPDX-License-Identifier: MIT */
/* tabi probe speaks with a proxy, as it should be spoken with. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "cli/probe.h"
#include "net/sockaddr.h"
#include "proto/err.h"
#include "proto/socks4.h"
#include "proto/userpass.h"

#define BYTES_SHOWN 72

const struct probe_method probe_methods[PROBE_METHODS] = {
    {SOCKS5_METHOD_NONE, "none"},
    {SOCKS5_METHOD_GSSAPI, "gssapi"},
    {SOCKS5_METHOD_PASSWORD, "password"},
    {0x03, "chap"},
    {0x05, "cram"},
    {0x06, "ssl"},
    {0x08, "maf"},
    {SOCKS5_METHOD_TLS, "gost-tls"},
    {SOCKS5_METHOD_TLS_PASSWORD, "gost-tls-password"},
};

uint64_t probe_limit(void)
{
	return talk_clock() + PROBE_STEP_SECONDS * UINT64_C(1000000000);
}

unsigned probe_ms(const struct probe *p)
{
	return p->o->timeout_ms;
}

enum probe_way probe_way(const struct probe *p)
{
	switch (p->o->proxy.scheme) {
	case URL_HTTP:
	case URL_HTTPS:
		return WAY_HTTP;
	case URL_SOCKS4:
	case URL_SOCKS4A:
		return WAY_SOCKS4;
	default:
		return WAY_SOCKS5;
	}
}

bool ask_fail(struct probe *p, const char *what, const char *why)
{
	snprintf(p->why, sizeof(p->why), "%s: %.100s", what, why);
	return false;
}

/* With whom the URL names. */
static int start_tls(struct probe *p, struct talk *t, const char **ret_why)
{
	const struct addr *proxy = &p->o->proxy.proxy;
	char text[IP_TEXT_MAX];
	const char *peer = proxy->kind == ADDR_NAME ? proxy->name : ip_format(&proxy->ip, text);

	return talk_start_tls(t, p->o->proxies.tls, peer, probe_ms(p), ret_why);
}

bool ask_dial(struct probe *p, struct talk *t)
{
	uint64_t began = talk_clock();
	int err = talk_dial(t, &p->proxy, p->proxy_len, probe_ms(p), probe_limit());
	const char *why = NULL;

	if (err < 0)
		return ask_fail(p, "no connection to the proxy", strerror(-err));
	p->dial_ns = talk_clock() - began;
	p->tls_ns = 0;
	if (!p->o->proxies.tls)
		return true;
	err = start_tls(p, t, &why);
	p->tls_ns = talk_clock() - began - p->dial_ns;
	if (err == 0)
		return true;
	ask_fail(p, "no TLS with the proxy", why ? why : err_text(err));
	talk_close(t);
	return false;
}

/* ---- messages ---- */

size_t ask_write_greeting(const struct probe *p, uint8_t *buf)
{
	struct wire_writer w = wire_writer_of(buf, PROBE_MESSAGE);

	socks5_write_greeting(&w, &p->s.method, 1);
	return w.len;
}

size_t ask_write_login(const struct probe *p, uint8_t *buf)
{
	const struct url *u = &p->o->proxy;
	struct wire_writer w = wire_writer_of(buf, PROBE_MESSAGE);

	if (p->s.method != SOCKS5_METHOD_PASSWORD)
		return 0;
	userpass_write_request(&w, &(struct userpass){
				       .user_len = u->user_len,
				       .password_len = u->password_len,
				       .user = (const uint8_t *)u->user,
				       .password = (const uint8_t *)u->password,
				   });
	return w.len;
}

size_t ask_write_request(uint8_t *buf, uint8_t command, const struct addr *to)
{
	struct wire_writer w = wire_writer_of(buf, PROBE_MESSAGE);

	socks5_write_request(&w, command, to);
	return w.len;
}

size_t ask_write_request4(uint8_t *buf, uint8_t command, const struct addr *to)
{
	struct wire_writer w = wire_writer_of(buf, PROBE_MESSAGE);
	struct socks4_request r = {.command = command, .port = to->port, .ip = {0, 0, 0, 1}};

	if (to->kind == ADDR_NAME) {
		r.named = true;
		r.name_len = to->name_len;
		r.name = (const uint8_t *)to->name;
	} else {
		memcpy(r.ip, ip_v4_bytes(&to->ip), 4);
	}
	socks4_write_request(&w, &r);
	return w.len;
}

/* ---- greeting and login ---- */

/* What came instead of what should have, in words. */
static void describe(struct talk *t, const char *of, char *buf, size_t cap)
{
	char bytes[BYTES_SHOWN];
	size_t len = talk_left(t);
	static const char *const ends[] = {
	    [TALK_OPEN] = "nothing more in time",
	    [TALK_EOF] = "the end",
	    [TALK_RESET] = "a reset",
	    [TALK_BROKEN] = "an error",
	};

	bytes_format(t->in + t->at, len < 24 ? len : 24, bytes, sizeof(bytes));
	if (len == 0 && t->end == TALK_OPEN)
		snprintf(buf, cap, "nothing%s%s in time", *of ? " to " : "", of);
	else if (len == 0)
		snprintf(
		    buf, cap, "%s instead of an answer%s%s", ends[t->end], *of ? " to " : "", of);
	else
		snprintf(buf, cap, "%s (%zu bytes), then %s", bytes, len, ends[t->end]);
}

bool ask_fail_bytes(struct probe *p, struct talk *t, const char *of)
{
	char what[BYTES_SHOWN + 60];

	describe(t, "", what, sizeof(what));
	snprintf(p->why, sizeof(p->why), "%s: %s", of, what);
	return false;
}

int ask_read_choice(struct probe *p, struct talk *t)
{
	const uint8_t *choice;

	if (talk_want(t, 2, probe_ms(p)) < 2 || t->in[t->at] != SOCKS5_VERSION) {
		ask_fail_bytes(p, t, "the answer to the greeting");
		return -1;
	}
	choice = talk_take(t, 2);
	return choice[1];
}

bool ask_login(struct probe *p, struct talk *t)
{
	uint8_t message[PROBE_MESSAGE];
	size_t len = ask_write_login(p, message);

	if (p->s.method == SOCKS5_METHOD_GSSAPI)
		return ask_gss(p, t);
	if (len == 0)
		return true;
	talk_send(t, message, len, probe_ms(p));
	explicit_bzero(message, len);
	if (talk_want(t, 2, probe_ms(p)) < 2)
		return ask_fail_bytes(p, t, "the answer to the password");
	return talk_take(t, 2)[1] == USERPASS_OK ? true
						 : ask_fail(p, "the password", "was refused");
}

bool ask_enter(struct probe *p, struct talk *t)
{
	uint8_t greeting[PROBE_MESSAGE];
	char what[40];
	int method;

	talk_send(t, greeting, ask_write_greeting(p, greeting), probe_ms(p));
	method = ask_read_choice(p, t);
	if (method < 0)
		return false;
	snprintf(what, sizeof(what), "%02x, with %02x offered", (unsigned)method, p->s.method);
	return method == p->s.method ? ask_login(p, t) : ask_fail(p, "the method chosen is", what);
}

bool ask_hello(struct probe *p, struct talk *t)
{
	return ask_dial(p, t) && ask_enter(p, t);
}

/* ---- replies ---- */

static const char *code_name(uint8_t code)
{
	static const char *const names[] = {
	    "succeeded",
	    "general failure",
	    "not allowed",
	    "network unreachable",
	    "host unreachable",
	    "refused",
	    "TTL expired",
	    "command not supported",
	    "address type not supported",
	};

	return code < sizeof(names) / sizeof(names[0]) ? names[code] : "unassigned";
}

void ask_no_answer(struct talk *t, bool any, struct attempt *ret)
{
	ret->outcome = t->end == TALK_OPEN ? OUTCOME_SILENT : OUTCOME_CLOSED;
	if (any)
		ret->outcome = OUTCOME_WRONG;
	describe(t, "the request", ret->seen, sizeof(ret->seen));
}

void ask_read5(struct probe *p, struct talk *t, struct attempt *ret)
{
	uint64_t began = talk_clock();
	size_t want = 1, have;
	char bound[ADDR_TEXT_MAX];

	*ret = (struct attempt){0};
	do {
		have = talk_want(t, want, probe_ms(p));
		want = reply5_read(t->in + t->at, have, &ret->reply);
	} while (have > 0 && have < want && t->end == TALK_OPEN &&
		 talk_want(t, want, probe_ms(p)) >= want);
	reply5_read(t->in + t->at, talk_left(t), &ret->reply);
	ret->ns = talk_clock() - began;
	if (ret->reply.shape != SHAPE_WHOLE) {
		ask_no_answer(t, ret->reply.shape != SHAPE_NONE, ret);
		return;
	}
	talk_take(t, ret->reply.len);
	ret->outcome = ret->reply.code == SOCKS5_SUCCEEDED ? OUTCOME_YES : OUTCOME_NO;
	snprintf(bound, sizeof(bound), "a name");
	if (ret->reply.bound.kind == ADDR_IP)
		addr_format(&ret->reply.bound, bound);
	snprintf(ret->seen, sizeof(ret->seen), "reply %02x (%s), bound %.60s", ret->reply.code,
	    code_name(ret->reply.code), bound);
}

void ask_read4(struct probe *p, struct talk *t, struct attempt *ret)
{
	uint64_t began = talk_clock();
	size_t have = talk_want(t, SOCKS4_REPLY_SIZE, probe_ms(p));

	*ret = (struct attempt){.ns = talk_clock() - began};
	reply4_read(t->in + t->at, have, &ret->reply);
	if (ret->reply.shape != SHAPE_WHOLE) {
		ask_no_answer(t, ret->reply.shape != SHAPE_NONE, ret);
		return;
	}
	talk_take(t, ret->reply.len);
	ret->outcome = ret->reply.code == SOCKS4_GRANTED ? OUTCOME_YES : OUTCOME_NO;
	snprintf(ret->seen, sizeof(ret->seen), "reply %u (%s)", ret->reply.code,
	    ret->reply.code == SOCKS4_GRANTED ? "granted" : "rejected");
}

void ask_untried(struct probe *p, struct attempt *ret)
{
	*ret = (struct attempt){.outcome = OUTCOME_UNTRIED};
	snprintf(ret->seen, sizeof(ret->seen), "%s", p->why);
}

void ask5(
    struct probe *p, struct talk *t, uint8_t command, const struct addr *to, struct attempt *ret)
{
	uint8_t message[PROBE_MESSAGE];

	if (!ask_hello(p, t)) {
		ask_untried(p, ret);
		return;
	}
	talk_send(t, message, ask_write_request(message, command, to), probe_ms(p));
	ask_read5(p, t, ret);
}

void ask4(
    struct probe *p, struct talk *t, uint8_t command, const struct addr *to, struct attempt *ret)
{
	uint8_t message[PROBE_MESSAGE];

	if (!ask_dial(p, t)) {
		ask_untried(p, ret);
		return;
	}
	talk_send(t, message, ask_write_request4(message, command, to), probe_ms(p));
	ask_read4(p, t, ret);
}

/* ---- as far as the target ---- */

bool ask_open(struct probe *p, struct talk *t, const struct addr *to, char letter, const char *arg)
{
	char preface[3] = {letter, '\n'};
	struct attempt a;

	if (probe_way(p) == WAY_HTTP)
		ask_http(p, t, to, &a);
	else if (probe_way(p) == WAY_SOCKS4)
		ask4(p, t, SOCKS4_CONNECT, to, &a);
	else
		ask5(p, t, SOCKS5_CONNECT, to, &a);
	if (a.outcome != OUTCOME_YES)
		return ask_fail(p, "CONNECT", a.seen);
	talk_send(t, preface, 2, probe_ms(p));
	talk_send(t, arg, strlen(arg), probe_ms(p));
	return true;
}

bool ask_line(struct probe *p, struct talk *t, struct target_line *ret)
{
	const char *line = talk_line(t, probe_ms(p));

	if (!line)
		return ask_fail(p, "the target", "says nothing");
	return target_line_read(line, ret) ? true
					   : ask_fail(p, "the target", "says something else");
}

bool ask_target(struct probe *p, char letter, const char *arg, struct target_line *ret)
{
	struct talk t = {.fd = -1};
	bool ok = ask_open(p, &t, &p->main, letter, arg) && ask_line(p, &t, ret);

	talk_close(&t);
	return ok;
}

bool ask_ping(struct probe *p, struct talk *t, const char *text)
{
	size_t len = strlen(text);

	if (talk_send(t, text, len, probe_ms(p)) < 0 || talk_want(t, len, probe_ms(p)) < len)
		return ask_fail_bytes(p, t, "the echo");
	return memcmp(talk_take(t, len), text, len) == 0 ? true
							 : ask_fail(p, "the echo", "is another");
}
