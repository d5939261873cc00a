/* SPDX-License-Identifier: MIT */
#include "cli/probe_kit.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "proto/err.h"

static const struct {
	const struct check *checks;
	const unsigned *n;
} groups[] = {
    {transport_checks, &n_transport_checks},
    {method_checks, &n_method_checks},
    {request_checks, &n_request_checks},
    {relay_checks, &n_relay_checks},
    {bind_checks, &n_bind_checks},
    {udp_checks, &n_udp_checks},
    {socks4_checks, &n_socks4_checks},
    {http_checks, &n_http_checks},
    /* Who guesses may be made to wait afterwards. */
    {login_checks, &n_login_checks},
    {http_login_checks, &n_http_login_checks},
    {last_checks, &n_last_checks},
};

#define N_GROUPS (sizeof(groups) / sizeof(groups[0]))
/* RFC 1928 section 6 gives a server ten seconds to close after a failure: twice what is waited for
 * an answer unless --timeout says otherwise, and a bit. */
#define CLOSE_MS(answer_ms) (2 * (answer_ms) + 500)
#define NOTE_TRIES 40
#define NOTE_PAUSE_MS 50

unsigned kit_count(void)
{
	unsigned n = 0;

	for (size_t g = 0; g < N_GROUPS; g++)
		n += *groups[g].n;
	return n;
}

const struct check *kit_check(unsigned i)
{
	size_t g = 0;

	while (i >= *groups[g].n)
		i -= *groups[g++].n;
	return &groups[g].checks[i];
}

const struct check *kit_find(const char *id)
{
	for (unsigned i = 0; i < kit_count(); i++)
		if (strcmp(kit_check(i)->id, id) == 0)
			return kit_check(i);
	return NULL;
}

/* ---- what checks share ---- */

static enum probe_verdict __attribute__((format(printf, 3, 0)))
say(struct kit *k, enum probe_verdict verdict, const char *format, va_list args)
{
	vsnprintf(k->seen, sizeof(k->seen), format, args);
	return verdict;
}

#define DEFINE_VERDICT(name, value)                                                                \
	enum probe_verdict name(struct kit *k, const char *format, ...)                            \
	{                                                                                          \
		va_list args;                                                                      \
		enum probe_verdict v;                                                              \
                                                                                                   \
		va_start(args, format);                                                            \
		v = say(k, value, format, args);                                                   \
		va_end(args);                                                                      \
		return v;                                                                          \
	}

DEFINE_VERDICT(kit_pass, VERDICT_PASS)
DEFINE_VERDICT(kit_fail, VERDICT_FAIL)
DEFINE_VERDICT(kit_none, VERDICT_NOT_APPLICABLE)
DEFINE_VERDICT(kit_untested, VERDICT_UNTESTED)

enum probe_verdict kit_stuck(struct kit *k)
{
	return kit_untested(k, "%s", k->p->why);
}

const char *kit_token(struct kit *k, char buf[static TARGET_TOKEN + 1])
{
	/* Other runs against the same target have other processes, or another time. */
	snprintf(buf, TARGET_TOKEN + 1, "%08x%08x", (unsigned)getpid() ^ k->token++ << 16,
	    (unsigned)talk_clock());
	return buf;
}

bool kit_query(struct kit *k, const char *token, bool ended, struct target_line *ret)
{
	for (unsigned i = 0; i < NOTE_TRIES; i++) {
		struct talk *t = &k->t[KIT_TALKS - 1];
		const char *line;

		talk_close(t);
		*ret = (struct target_line){0};
		if (!ask_open(k->p, t, &k->p->main, TARGET_QUERY, token))
			return false;
		line = talk_line(t, probe_ms(k->p));
		if (line && strcmp(line, "none") != 0 && !target_line_read(line, ret))
			return false;
		if (!line || !ended || (ret->noted && strcmp(ret->end, "open") != 0))
			return line != NULL;
		talk_pause(NOTE_PAUSE_MS);
	}
	return true;
}

void kit_say(struct kit *k, struct talk *t, const void *data, size_t len)
{
	talk_send(t, data, len, probe_ms(k->p));
}

void kit_fire(struct talk *t)
{
	static uint8_t fire[16384];

	for (unsigned i = 0; i < 8 && talk_send(t, fire, sizeof(fire), PROBE_QUIET) == 0; i++) {
		talk_pause(1);
		/* A layer that has failed to send gives nothing any more, a socket does. */
		if (t->layer)
			talk_want(t, 1, 0);
	}
	t->end = TALK_OPEN;
}

bool kit_ends(struct kit *k, struct talk *t)
{
	return talk_await_end(t, CLOSE_MS(probe_ms(k->p))) != TALK_OPEN;
}

struct addr kit_stranger(const struct kit *k)
{
	static const uint8_t loopback[4] = {127, 77, 0, 9}, v4[4] = {192, 0, 2, 77},
			     v6[16] = {0x20, 0x01, 0x0d, 0xb8, [15] = 77};
	const struct ip *main = &k->p->main.ip;
	struct ip ip = ip_from_v6(v6);

	if (ip_is_v4(main))
		ip = ip_from_v4(ip_classes(main) & IP_LOOPBACK ? loopback : v4);
	return addr_from_ip(&ip, 0);
}

bool kit_alive(struct kit *k)
{
	struct talk *t = &k->t[KIT_TALKS - 1];
	struct attempt a;
	bool ok;

	talk_close(t);
	if (probe_way(k->p) == WAY_HTTP) {
		ask_http(k->p, t, &k->p->main, &a);
		ok = a.outcome == OUTCOME_YES || ask_fail(k->p, "CONNECT", a.seen);
	} else {
		ok = k->p->s.enters ? ask_hello(k->p, t) : ask_dial(k->p, t);
	}
	talk_close(t);
	return ok;
}

enum probe_verdict kit_refused_with(struct kit *k, const struct attempt *a, uint8_t code)
{
	if (a->outcome == OUTCOME_UNTRIED)
		return kit_stuck(k);
	if (a->outcome == OUTCOME_NO && a->reply.code == code)
		return kit_pass(k, "%s", a->seen);
	return kit_fail(k, "%s", a->seen);
}

enum probe_verdict kit_refused(struct kit *k, const struct attempt *a)
{
	if (a->outcome == OUTCOME_UNTRIED)
		return kit_stuck(k);
	if (a->outcome == OUTCOME_NO || a->outcome == OUTCOME_CLOSED)
		return kit_pass(k, "%s", a->seen);
	return kit_fail(k, "%s", a->seen);
}

/* ---- is there anything to check? ---- */

/* Returns VERDICT_PASS to go on. Whether what the URL says is missing, or what it does not say,
 * makes the difference between "could not be tested" and "not applicable". */
static enum probe_verdict miss(struct kit *k, bool has, bool promised, const char *why)
{
	if (has)
		return VERDICT_PASS;
	return promised ? kit_untested(k, "%s", why) : kit_none(k, "%s", why);
}

static enum probe_verdict miss_way_in(struct kit *k, unsigned needs)
{
	const struct survey *s = &k->p->s;
	bool v5 = probe_way(k->p) == WAY_SOCKS5;
	enum probe_verdict v = VERDICT_PASS;

	if (needs & NEED_SOCKS5_SAID)
		v = miss(k, v5 || s->v5, false, "the URL does not say SOCKS5");
	if (v == VERDICT_PASS && needs & NEED_GREETING)
		v = miss(k, s->v5, v5, "no greeting of SOCKS5 is answered");
	if (v == VERDICT_PASS &&
	    needs & (NEED_V5 | NEED_BIND | NEED_UDP | NEED_LOGIN | NEED_CONNECT))
		v = miss(k, s->enters, v5, "no request can be made by SOCKS5");
	if (v == VERDICT_PASS && needs & NEED_LOGIN)
		v = miss(k, s->method == SOCKS5_METHOD_PASSWORD, false,
		    "no password in the URL, or the proxy wants none");
	if (v == VERDICT_PASS && needs & NEED_CLOSED)
		v = miss(k, !s->open, false, "the proxy lets in whoever shows nothing");
	if (v == VERDICT_PASS && needs & NEED_FREE)
		v = miss(k, s->open, false, "the proxy wants authentication");
	if (v == VERDICT_PASS && needs & NEED_NO_GSS)
		v = miss(k, s->method != SOCKS5_METHOD_GSSAPI, false,
		    "with GSS-API each message waits for an answer");
	return v;
}

static enum probe_verdict miss_target(struct kit *k, unsigned needs)
{
	const struct survey *s = &k->p->s;
	enum probe_verdict v = VERDICT_PASS;

	if (needs & NEED_MAIN)
		v = miss(k, k->p->main.kind == ADDR_IP, true, "there is no target");
	if (v == VERDICT_PASS && needs & NEED_CONNECT)
		v = miss(k, s->connects, true, "the target cannot be reached through the proxy");
	if (v == VERDICT_PASS && needs & NEED_REACHED)
		v = miss(k, s->reached, true, "the target cannot be reached through the proxy");
	if (v == VERDICT_PASS && needs & NEED_TARGET4)
		v = miss(
		    k, s->connect4.outcome == OUTCOME_YES, true, "no target is reached by IPv4");
	if (v == VERDICT_PASS && needs & NEED_TARGET6)
		v = miss(
		    k, s->connect6.outcome == OUTCOME_YES, true, "no target is reached by IPv6");
	if (v == VERDICT_PASS && needs & NEED_NAME)
		v = miss(k, k->p->name.kind == ADDR_NAME, true,
		    "no name of the target is known; --name tells one");
	if (v == VERDICT_PASS && needs & NEED_REFUSING)
		v = miss(k, k->p->refusing.kind == ADDR_IP, true,
		    "no port is known where nobody listens");
	return v;
}

static bool is_offered(const struct attempt *a)
{
	return a->outcome == OUTCOME_YES;
}

static enum probe_verdict miss_command(struct kit *k, unsigned needs)
{
	const struct survey *s = &k->p->s;
	bool v4 = probe_way(k->p) == WAY_SOCKS4;
	enum probe_verdict v = VERDICT_PASS;

	if (needs & NEED_HTTP_SAID)
		v = miss(k, probe_way(k->p) == WAY_HTTP || is_offered(&s->http), false,
		    "the URL does not say HTTP");
	if (v == VERDICT_PASS && needs & NEED_HTTP)
		v = miss(k, is_offered(&s->http) || is_offered(&s->http6),
		    probe_way(k->p) == WAY_HTTP, "the target is not reached by HTTP");
	if (v == VERDICT_PASS && needs & NEED_HTTP_LOGIN)
		v = miss(k, s->http_open.outcome == OUTCOME_NO, false,
		    "no password in the URL, or the proxy wants none");
	if (v == VERDICT_PASS && needs & NEED_SOCKS4)
		v = miss(k, is_offered(&s->socks4), v4, "the target is not reached by SOCKS4");
	if (v == VERDICT_PASS && needs & NEED_SOCKS4A)
		v = miss(k, is_offered(&s->socks4a), v4, "the target is not reached by SOCKS4A");
	if (v == VERDICT_PASS && needs & NEED_BIND)
		v = miss(k, is_offered(&s->bind), false, "the proxy does not do BIND");
	if (v == VERDICT_PASS && needs & NEED_BIND4)
		v = miss(k, is_offered(&s->bind4), false, "the proxy does not do BIND by SOCKS4");
	if (v == VERDICT_PASS && needs & NEED_UDP)
		v = miss(k, is_offered(&s->udp), false, "the proxy does not do UDP ASSOCIATE");
	if (v == VERDICT_PASS && needs & NEED_SLOW)
		v = miss(k, k->p->o->slow, true, "it takes minutes; --slow asks for it");
	return v;
}

/* ---- running ---- */

static void clean_up(struct kit *k)
{
	for (unsigned i = 0; i < KIT_TALKS; i++) {
		talk_close(&k->t[i]);
		if (k->udp[i] >= 0)
			close(k->udp[i]);
	}
}

void kit_run(struct probe *p, const struct check *check, struct kit_result *ret_result)
{
	static unsigned token;
	struct kit *k = calloc(1, sizeof(*k));
	uint64_t began = talk_clock();
	enum probe_verdict v;

	*ret_result = (struct kit_result){.check = check, .verdict = VERDICT_UNTESTED};
	if (!k)
		return;
	k->p = p;
	k->check = check;
	k->token = token;
	for (unsigned i = 0; i < KIT_TALKS; i++)
		k->t[i].fd = k->udp[i] = -1;
	v = miss_way_in(k, check->needs);
	if (v == VERDICT_PASS)
		v = miss_command(k, check->needs);
	if (v == VERDICT_PASS)
		v = miss_target(k, check->needs);
	if (v == VERDICT_PASS)
		v = check->run(k);
	clean_up(k);
	token = k->token;
	ret_result->verdict = v;
	ret_result->ns = talk_clock() - began;
	memcpy(ret_result->seen, k->seen, sizeof(k->seen));
	free(k);
}

/* By its id, or by the letter of its group. */
static bool is_asked_for(const struct probe_options *o, const struct check *check)
{
	for (unsigned i = 0; i < o->n_only; i++)
		if (strcmp(o->only[i], check->id) == 0 ||
		    (strlen(o->only[i]) == 1 && o->only[i][0] == check->id[0]))
			return true;
	return o->n_only == 0;
}

static bool is_known(const char *only)
{
	for (unsigned i = 0; i < kit_count(); i++)
		if (strcmp(only, kit_check(i)->id) == 0 ||
		    (strlen(only) == 1 && only[0] == kit_check(i)->id[0]))
			return true;
	return false;
}

bool kit_knows_all(const struct probe_options *o)
{
	for (unsigned i = 0; i < o->n_only; i++) {
		if (!is_known(o->only[i])) {
			fprintf(
			    stderr, "tabi probe: --only %s: there is no such check\n", o->only[i]);
			return false;
		}
	}
	return true;
}

int kit_main(struct probe *p)
{
	unsigned counts[2][VERDICTS] = {{0}};
	struct kit_result result;
	bool first = true;

	kit_show_begin(p);
	for (unsigned i = 0; i < kit_count(); i++) {
		if (!is_asked_for(p->o, kit_check(i)))
			continue;
		kit_run(p, kit_check(i), &result);
		counts[result.check->level][result.verdict]++;
		kit_show(p, &result, first);
		first = false;
	}
	kit_show_end(p, counts);
	if (counts[LEVEL_REQUIRED][VERDICT_FAIL] > 0)
		return PROBE_FAILED;
	return counts[LEVEL_RECOMMENDED][VERDICT_FAIL] > 0 ? PROBE_WEAK : PROBE_FINE;
}
