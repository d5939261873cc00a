/* SPDX-License-Identifier: MIT */
/* Checks of tabi probe: TCP is a stream, and some of those who connect are no clients. */
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/probe_kit.h"

#define EARLY_LEN ((size_t)64 << 10)
#define SILENT_CLIENTS 50
#define RESETS 20
#define HANDSHAKE_LIMIT_MS 120000

/* ---- a whole handshake in odd pieces ---- */

/* Greeting, login and request, one behind the other. Returns the length. */
static size_t write_all(struct kit *k, const struct addr *to, uint8_t *buf)
{
	size_t len = ask_write_greeting(k->p, buf);
	uint8_t message[PROBE_MESSAGE];
	size_t n = ask_write_login(k->p, message);

	memcpy(buf + len, message, n);
	explicit_bzero(message, sizeof(message));
	len += n;
	n = ask_write_request(message, SOCKS5_CONNECT, to);
	memcpy(buf + len, message, n);
	return len + n;
}

/* The answers to all of it. */
static bool read_all(struct kit *k, struct talk *t, struct attempt *ret)
{
	int method = ask_read_choice(k->p, t);

	*ret = (struct attempt){0};
	if (method != k->p->s.method) {
		snprintf(ret->seen, sizeof(ret->seen), "%s",
		    method < 0 ? k->p->why : "another method than the one offered");
		return false;
	}
	if (method == SOCKS5_METHOD_PASSWORD &&
	    (talk_want(t, 2, probe_ms(k->p)) < 2 || talk_take(t, 2)[1] != 0)) {
		snprintf(ret->seen, sizeof(ret->seen), "the login was not answered, or refused");
		return false;
	}
	ask_read5(k->p, t, ret);
	return ret->outcome == OUTCOME_YES;
}

/* In lockstep, each message in pieces of `arg` bytes. */
static enum probe_verdict in_pieces(struct kit *k)
{
	uint8_t message[PROBE_MESSAGE];
	struct talk *t = k->t;
	struct attempt a;
	size_t len;

	if (!ask_dial(k->p, t))
		return kit_stuck(k);
	talk_send_pieces(
	    t, message, ask_write_greeting(k->p, message), k->check->arg, probe_ms(k->p));
	if (ask_read_choice(k->p, t) != k->p->s.method)
		return kit_fail(k, "greeting: %s", k->p->why);
	len = ask_write_login(k->p, message);
	if (len == 0 && !ask_login(k->p, t))
		return kit_fail(k, "login: %s", k->p->why);
	talk_send_pieces(t, message, len, k->check->arg, probe_ms(k->p));
	explicit_bzero(message, len);
	if (len > 0 && (talk_want(t, 2, probe_ms(k->p)) < 2 || talk_take(t, 2)[1] != 0))
		return kit_fail(k, "login: no answer, or refused");
	len = ask_write_request(message, SOCKS5_CONNECT, &k->p->main);
	talk_send_pieces(t, message, len, k->check->arg, probe_ms(k->p));
	ask_read5(k->p, t, &a);
	if (a.outcome != OUTCOME_YES)
		return kit_fail(k, "request: %s", a.seen);
	talk_send(t, "E\n", 2, probe_ms(k->p));
	return ask_ping(k->p, t, "in pieces") ? kit_pass(k, "%s, and bytes pass", a.seen)
					      : kit_fail(k, "%s", k->p->why);
}

/* Everything at once, and with `arg` the first bytes for the target too. */
static enum probe_verdict at_once(struct kit *k)
{
	uint8_t message[3 * PROBE_MESSAGE];
	static const char early[] = "E\nearly";
	struct talk *t = k->t;
	struct attempt a;
	size_t len;

	if (!ask_dial(k->p, t))
		return kit_stuck(k);
	len = write_all(k, &k->p->main, message);
	if (k->check->arg) {
		memcpy(message + len, early, sizeof(early) - 1);
		len += sizeof(early) - 1;
	}
	talk_send(t, message, len, probe_ms(k->p));
	explicit_bzero(message, len);
	if (!read_all(k, t, &a))
		return kit_fail(k, "%s", a.seen);
	if (!k->check->arg)
		talk_send(t, early, sizeof(early) - 1, probe_ms(k->p));
	if (talk_want(t, 5, probe_ms(k->p)) < 5)
		return kit_fail(k, "granted, and %zu of 5 bytes came back", talk_left(t));
	return memcmp(talk_take(t, 5), "early", 5) == 0 ? kit_pass(k, "all answered, bytes pass")
							: kit_fail(k, "other bytes came back");
}

/* The request, and behind it in the same write a lot for the target. */
static enum probe_verdict early_data(struct kit *k)
{
	struct talk_bulk bulk = {.in_len = EARLY_LEN};
	uint8_t *data = malloc(PROBE_MESSAGE + 2 + EARLY_LEN);
	struct talk *t = k->t;
	struct attempt a;
	size_t len;

	if (!data || !ask_hello(k->p, t)) {
		free(data);
		return kit_stuck(k);
	}
	len = ask_write_request(data, SOCKS5_CONNECT, &k->p->main);
	memcpy(data + len, "E\n", 2);
	for (size_t i = 0; i < EARLY_LEN; i++)
		data[len + 2 + i] = (uint8_t)(i * 7 + (i >> 8));
	talk_send(t, data, len + 2 + EARLY_LEN, probe_ms(k->p));
	ask_read5(k->p, t, &a);
	bulk.expected = data + len + 2;
	if (a.outcome == OUTCOME_YES)
		talk_bulk(t, &bulk, probe_ms(k->p));
	free(data);
	if (a.outcome != OUTCOME_YES)
		return kit_fail(k, "%s", a.seen);
	if (bulk.received != EARLY_LEN || bulk.differs)
		return kit_fail(k, "%zu of %zu bytes came back%s", bulk.received, EARLY_LEN,
		    bulk.differs ? ", and others" : "");
	return kit_pass(k, "all %zu bytes came back", EARLY_LEN);
}

/* ---- who ends in the midst of it ---- */

static enum probe_verdict half_closed_request(struct kit *k)
{
	uint8_t message[PROBE_MESSAGE + 2];
	struct talk *t = k->t;
	struct attempt a;
	size_t len;

	if (!ask_hello(k->p, t))
		return kit_stuck(k);
	len = ask_write_request(message, SOCKS5_CONNECT, &k->p->main);
	memcpy(message + len, "U\n", 2);
	talk_send(t, message, len + 2, probe_ms(k->p));
	talk_finish(t);
	ask_read5(k->p, t, &a);
	if (a.outcome != OUTCOME_YES)
		return kit_fail(k, "%s", a.seen);
	/* What the sink says when the client's end has reached it. */
	return talk_want(t, 40, probe_ms(k->p)) == 40 ? kit_pass(k, "the target's answer came")
						      : kit_fail(k, "granted, but no answer came");
}

static enum probe_verdict resets(struct kit *k)
{
	uint8_t message[PROBE_MESSAGE];

	for (unsigned i = 0; i < RESETS; i++) {
		if (!ask_dial(k->p, k->t))
			return kit_fail(k, "after %u resets: %s", i, k->p->why);
		/* At a greeting not yet whole, a whole one, and one behind a request. */
		if (i % 3 < 2)
			talk_send(k->t, message, ask_write_greeting(k->p, message) - (i % 3 == 0),
			    probe_ms(k->p));
		else if (ask_enter(k->p, k->t))
			talk_send(k->t, message,
			    ask_write_request(message, SOCKS5_CONNECT, &k->p->main),
			    probe_ms(k->p));
		talk_reset(k->t);
	}
	return kit_alive(k) ? kit_pass(k, "it serves after %u resets", RESETS)
			    : kit_fail(k, "%s", k->p->why);
}

/* Many who say nothing, and one who does. */
static enum probe_verdict silent_clients(struct kit *k)
{
	struct talk *silent = calloc(SILENT_CLIENTS, sizeof(*silent));
	unsigned n = 0;
	bool alive;

	while (silent && n < SILENT_CLIENTS && ask_dial(k->p, &silent[n]))
		n++;
	alive = kit_alive(k);
	for (unsigned i = 0; i < n; i++)
		talk_close(&silent[i]);
	free(silent);
	if (n < SILENT_CLIENTS)
		return kit_untested(k, "no more than %u connections: %s", n, k->p->why);
	return alive ? kit_pass(k, "another one is greeted")
		     : kit_fail(k, "another one is not greeted: %s", k->p->why);
}

static enum probe_verdict silent_for_ever(struct kit *k)
{
	uint64_t began = talk_clock();

	if (!ask_dial(k->p, k->t))
		return kit_stuck(k);
	k->t->limit += HANDSHAKE_LIMIT_MS * UINT64_C(1000000);
	if (talk_await_end(k->t, HANDSHAKE_LIMIT_MS) == TALK_OPEN)
		return kit_fail(k, "still open after %u s", HANDSHAKE_LIMIT_MS / 1000);
	return kit_pass(
	    k, "closed after %u s", (unsigned)((talk_clock() - began) / UINT64_C(1000000000)));
}

/* ---- other protocols ---- */

/* First bytes that are no SOCKS: each must be closed, and none granted. */
static enum probe_verdict first_bytes(struct kit *k)
{
	for (unsigned i = 0; i < k->check->n_bytes; i++) {
		uint8_t bytes[8] = {(uint8_t)k->check->bytes[i], 1, 0};

		if (!ask_dial(k->p, k->t))
			return kit_fail(k, "before byte %02x: %s", bytes[0], k->p->why);
		talk_send(k->t, bytes, sizeof(bytes), probe_ms(k->p));
		if (!kit_ends(k, k->t))
			return kit_fail(k, "first byte %02x: not closed", bytes[0]);
		talk_close(k->t);
	}
	return kit_alive(k) ? kit_pass(k, "all closed") : kit_fail(k, "afterwards: %s", k->p->why);
}

/* A whole message of another protocol: it is closed, perhaps after an answer of that protocol, and
 * nothing in SOCKS is said. */
static enum probe_verdict other_protocol(struct kit *k)
{
	char shown[40];

	if (!ask_dial(k->p, k->t))
		return kit_stuck(k);
	talk_send(k->t, k->check->bytes, k->check->n_bytes, probe_ms(k->p));
	if (!kit_ends(k, k->t))
		return kit_fail(k, "not closed, %zu bytes came", talk_left(k->t));
	bytes_format(k->t->in + k->t->at, talk_left(k->t), shown, sizeof(shown));
	if (talk_left(k->t) > 1 && k->t->in[k->t->at] == SOCKS5_VERSION &&
	    k->t->in[k->t->at + 1] != SOCKS5_METHOD_UNACCEPTABLE)
		return kit_fail(k, "answered as SOCKS: %s", shown);
	return kit_alive(k) ? kit_pass(k, "closed after %zu bytes: %s", talk_left(k->t), shown)
			    : kit_fail(k, "afterwards: %s", k->p->why);
}

/* A reply that refuses must reach a client that is still sending. */
static enum probe_verdict reply_under_fire(struct kit *k)
{
	uint8_t message[PROBE_MESSAGE];
	struct talk *t = k->t;
	struct attempt a;

	if (!ask_hello(k->p, t))
		return kit_stuck(k);
	talk_send(t, message, ask_write_request(message, SOCKS5_CONNECT, &k->p->refusing),
	    probe_ms(k->p));
	kit_fire(t);
	ask_read5(k->p, t, &a);
	return a.outcome == OUTCOME_NO ? kit_pass(k, "%s", a.seen) : kit_fail(k, "%s", a.seen);
}

#define TLS_HELLO                                                                                  \
	"\x16\x03\x01\x00\x2f\x01\x00\x00\x2b\x03\x03"                                             \
	"0123456789abcdef0123456789abcdef\x00\x00\x02\x13\x01\x01\x00"

const struct check transport_checks[] = {
    {"T01", LEVEL_REQUIRED, NEED_V5 | NEED_CONNECT,
	"A handshake that arrives one byte at a time is understood.",
	"RFC 1928 sections 3, 4; case T1", "the same as in one piece", .run = in_pieces, .arg = 1},
    {"T02", LEVEL_REQUIRED, NEED_V5 | NEED_CONNECT,
	"A handshake in pieces of two bytes is understood.", "RFC 1928 sections 3, 4; case T1",
	"the same as in one piece", .run = in_pieces, .arg = 2},
    {"T03", LEVEL_REQUIRED, NEED_V5 | NEED_CONNECT,
	"A request that breaks off in its address and goes on is understood.",
	"RFC 1928 section 4; case T1", "the same as in one piece", .run = in_pieces, .arg = 6},
    {"T04", LEVEL_RECOMMENDED, NEED_V5 | NEED_CONNECT | NEED_NO_GSS,
	"Greeting, login and request in one segment are all answered.", "case T2",
	"each message is answered", .run = at_once, .arg = 0},
    {"T05", LEVEL_RECOMMENDED, NEED_V5 | NEED_CONNECT | NEED_NO_GSS,
	"Bytes for the target in the same segment as the handshake reach it.", "case T2",
	"they are forwarded after the reply", .run = at_once, .arg = 1},
    {"T06", LEVEL_RECOMMENDED, NEED_V5 | NEED_CONNECT,
	"64 KiB sent before the reply reach the target whole and in order.", "cases T2, R26",
	"all come back from its echo", .run = early_data},
    {"T07", LEVEL_RECOMMENDED, NEED_V5 | NEED_CONNECT,
	"A client that has ended its side behind the request is served.", "case T13",
	"the target's answer comes", .run = half_closed_request},
    {"T08", LEVEL_RECOMMENDED, NEED_V5, "Clients that reset in the midst of it do no harm.",
	"case T14", "others are served afterwards", .run = resets},
    {"T09", LEVEL_RECOMMENDED, NEED_V5, "Fifty clients that say nothing keep nobody out.",
	"case T3", "another one is greeted", .run = silent_clients},
    {"T10", LEVEL_RECOMMENDED, NEED_V5 | NEED_SLOW, "A client that says nothing is not kept.",
	"case T3", "closed within two minutes", .run = silent_for_ever},
    {"T11", LEVEL_RECOMMENDED, NEED_V5, "First bytes of no protocol at all are not waited on.",
	"case T4", "closed", .run = first_bytes, BYTES("\x00\x01\x07\x80\xff")},
    {"T12", LEVEL_RECOMMENDED, NEED_V5, "TLS on a port without it is turned away.", "case T5",
	"closed, nothing in SOCKS", .run = other_protocol, BYTES(TLS_HELLO)},
    {"T13", LEVEL_RECOMMENDED, NEED_V5, "A request of HTTP/1.1 for a page is turned away.",
	"case T6", "an answer in HTTP or none, and closed", .run = other_protocol,
	BYTES("GET / HTTP/1.1\r\nHost: proxy.invalid\r\nConnection: close\r\n\r\n")},
    {"T14", LEVEL_RECOMMENDED, NEED_V5, "A header of the PROXY protocol is not let pass unasked.",
	"case T7", "an answer in HTTP or none, and closed", .run = other_protocol,
	BYTES("PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n\x05\x01\x00")},
    {"T15", LEVEL_RECOMMENDED, NEED_V5 | NEED_REFUSING,
	"A refusal reaches a client that is still sending.", "cases T15, R25",
	"the whole reply, not lost to a reset", .run = reply_under_fire},
};
const unsigned n_transport_checks = N_CHECKS_OF(transport_checks);
