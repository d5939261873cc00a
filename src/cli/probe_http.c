/* SPDX-License-Identifier: MIT */
/* Checks of tabi probe: CONNECT in HTTP/1.1, RFC 9110 section 9.3.6 and RFC 9112. */
#include "cli/probe_http.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SESSIONS 64
#define SILENT_CLIENTS 50
#define RESETS 20
#define GARBAGE 100
#define EARLY_LEN ((size_t)64 << 10)
#define ENDLESS ((size_t)1 << 20)
#define SILENCE_MS 120000
#define BLACKHOLE_MS 150000

/* ---- requests from the rows ---- */

static size_t expand(struct kit *k, char what, char *buf, size_t cap)
{
	const struct addr *to = &k->p->main;
	const uint8_t *b = ip_v4_bytes(&k->p->target4.ip);
	char text[ADDR_TEXT_MAX];

	switch (what) {
	case 'a':
		return ask_write_credentials(k->p, buf);
	case 'h':
		return (size_t)snprintf(buf, cap, "%s", addr_format(to, text));
	case 'i':
		*strrchr(addr_format(to, text), ':') = '\0';
		return (size_t)snprintf(buf, cap, "%s", text);
	case 'p':
		return (size_t)snprintf(buf, cap, "%u", to->port);
	case 's':
		return (size_t)snprintf(buf, cap, "%s", addr_format(&k->p->proxy_addr, text));
	default:
		return (size_t)snprintf(buf, cap, what == 'x' ? "0x%x" : "%u",
		    (unsigned)b[0] << 24 | (unsigned)b[1] << 16 | (unsigned)b[2] << 8 | b[3]);
	}
}

size_t http_expand(struct kit *k, const char *from, size_t n, char *buf)
{
	size_t len = 0;

	for (size_t i = 0; i < n && len + PROBE_HTTP / 4 < PROBE_HTTP; i++) {
		if (from[i] == '%')
			len += expand(k, from[++i], buf + len, PROBE_HTTP - len);
		else
			buf[len++] = from[i];
	}
	return len;
}

bool http_say(struct kit *k, const char *from, size_t n, struct attempt *ret)
{
	char request[PROBE_HTTP];
	size_t len;

	if (!ask_dial(k->p, k->t))
		return false;
	len = http_expand(k, from, n, request);
	kit_say(k, k->t, request, len);
	explicit_bzero(request, sizeof(request));
	ask_read_http(k->p, k->t, ret);
	return true;
}

/* ---- verdicts ---- */

static enum probe_verdict echoes(struct kit *k, const struct attempt *a)
{
	if (a->outcome == OUTCOME_UNTRIED)
		return kit_stuck(k);
	if (a->outcome != OUTCOME_YES)
		return kit_fail(k, "%s", a->seen);
	talk_send(k->t, "E\n", 2, probe_ms(k->p));
	return ask_ping(k->p, k->t, "to and fro") ? kit_pass(k, "%s, and bytes pass", a->seen)
						  : kit_fail(k, "%s; %s", a->seen, k->p->why);
}

static bool is_refused(const struct attempt *a)
{
	return a->outcome == OUTCOME_NO || a->outcome == OUTCOME_CLOSED;
}

/* Is it closed? */
static bool ends(struct kit *k)
{
	return talk_await_end(k->t, 2 * probe_ms(k->p)) != TALK_OPEN;
}

enum probe_verdict http_judge(struct kit *k, enum http_want want, const struct attempt *a)
{
	unsigned status = a->head.status;
	bool right;

	switch (want) {
	case HTTP_ECHOES:
		return echoes(k, a);
	case HTTP_CLIENT_ERROR:
		right = a->outcome == OUTCOME_NO && status / 100 == 4;
		break;
	case HTTP_GATEWAY:
		right = a->outcome == OUTCOME_NO && status >= 502 && status <= 504;
		break;
	case HTTP_REFUSED:
		right = is_refused(a);
		break;
	case HTTP_ENDED:
		/* An answer and a connection that stays are as good: the next request is read. */
		right = is_refused(a) || (a->outcome == OUTCOME_WRONG && ends(k));
		break;
	default:
		right = a->outcome == OUTCOME_YES || is_refused(a);
	}
	return right ? kit_pass(k, "%s", a->seen) : kit_fail(k, "%s", a->seen);
}

enum probe_verdict http_row(struct kit *k)
{
	struct attempt a;

	if (!http_say(k, k->check->bytes, k->check->n_bytes, &a))
		return kit_stuck(k);
	return http_judge(k, (enum http_want)k->check->arg, &a);
}

/* As above, of the target's address as a number. */
static enum probe_verdict as_number(struct kit *k)
{
	if (k->p->target4.kind == ADDR_NONE)
		return kit_untested(k, "there is no target with IPv4");
	return http_row(k);
}

static enum probe_verdict connects_to(struct kit *k, const struct addr *to, const char *none)
{
	struct attempt a;

	if (to->kind == ADDR_NONE)
		return kit_untested(k, "%s", none);
	ask_http(k->p, k->t, to, &a);
	return echoes(k, &a);
}

static enum probe_verdict connects4(struct kit *k)
{
	return connects_to(k, &k->p->target4, "there is no target with IPv4");
}

static enum probe_verdict connects6(struct kit *k)
{
	return connects_to(k, &k->p->target6, "there is no target with IPv6; --target tells one");
}

static enum probe_verdict connects_name(struct kit *k)
{
	return connects_to(k, &k->p->name, "no name of the target is known; --name tells one");
}

/* ---- the answer ---- */

static enum probe_verdict no_length(struct kit *k)
{
	struct attempt a;

	ask_http(k->p, k->t, &k->p->main, &a);
	if (a.outcome != OUTCOME_YES)
		return kit_fail(k, "%s", a.seen);
	return a.head.has_length ? kit_fail(k, "%s, with a length", a.seen)
				 : kit_pass(k, "%s, without a length", a.seen);
}

static enum probe_verdict answer_is_all(struct kit *k)
{
	struct attempt a;

	ask_http(k->p, k->t, &k->p->main, &a);
	if (a.outcome != OUTCOME_YES)
		return kit_fail(k, "%s", a.seen);
	if (talk_want(k->t, 1, PROBE_QUIET) > 0)
		return kit_fail(k, "%s, and %zu bytes behind it", a.seen, talk_left(k->t));
	return kit_pass(k, "%s, in %zu bytes", a.seen, a.head.len);
}

/* To a port where nobody listens: judged as the row says. */
static enum probe_verdict refused_port(struct kit *k)
{
	struct attempt a;

	ask_http(k->p, k->t, &k->p->refusing, &a);
	return http_judge(k, (enum http_want)k->check->arg, &a);
}

static enum probe_verdict unknown_name(struct kit *k)
{
	struct addr to = {
	    .kind = ADDR_NAME, .name = "no-such-host.invalid", .name_len = 20, .port = 80};
	struct attempt a;

	ask_http(k->p, k->t, &to, &a);
	return http_judge(k, HTTP_GATEWAY, &a);
}

static enum probe_verdict refusal_ends(struct kit *k)
{
	struct attempt a;

	ask_http(k->p, k->t, &k->p->refusing, &a);
	if (a.outcome == OUTCOME_CLOSED)
		return kit_none(k, "%s", a.seen);
	if (a.outcome != OUTCOME_NO)
		return kit_fail(k, "%s", a.seen);
	if (a.head.has_length)
		return kit_pass(k, "%s, with a length", a.seen);
	return ends(k) ? kit_pass(k, "%s, and closed", a.seen)
		       : kit_fail(k, "%s without a length, and not closed", a.seen);
}

/* Whoever does not say that the connection ends is asked again. */
static enum probe_verdict again(struct kit *k)
{
	uint8_t request[PROBE_HTTP];
	struct attempt a;

	ask_http(k->p, k->t, &k->p->refusing, &a);
	if (a.outcome != OUTCOME_NO)
		return kit_none(k, "%s", a.seen);
	if (!a.head.stays)
		return kit_pass(k, "%s, which says that the connection ends", a.seen);
	if (!ask_skip_body(k->p, k->t, &a.head))
		return kit_fail(k, "%s, and no next request can be made", a.seen);
	kit_say(k, k->t, request, ask_write_http(k->p, request, &k->p->main));
	explicit_bzero(request, sizeof(request));
	ask_read_http(k->p, k->t, &a);
	return echoes(k, &a);
}

static enum probe_verdict under_fire(struct kit *k)
{
	uint8_t request[PROBE_HTTP];
	struct talk *t = k->t;
	struct attempt a;

	if (!ask_dial(k->p, t))
		return kit_stuck(k);
	kit_say(k, t, request, ask_write_http(k->p, request, &k->p->refusing));
	explicit_bzero(request, sizeof(request));
	kit_fire(t);
	ask_read_http(k->p, t, &a);
	return a.outcome == OUTCOME_NO ? kit_pass(k, "%s", a.seen) : kit_fail(k, "%s", a.seen);
}

/* ---- TCP is a stream ---- */

static enum probe_verdict in_pieces(struct kit *k)
{
	uint8_t request[PROBE_HTTP];
	struct attempt a;
	size_t len;

	if (!ask_dial(k->p, k->t))
		return kit_stuck(k);
	len = ask_write_http(k->p, request, &k->p->main);
	talk_send_pieces(k->t, request, len, k->check->arg, 2 * probe_ms(k->p));
	explicit_bzero(request, sizeof(request));
	ask_read_http(k->p, k->t, &a);
	return echoes(k, &a);
}

/* The request, and behind it in the same write `arg` bytes for the target's echo. */
static enum probe_verdict early_data(struct kit *k)
{
	struct talk_bulk bulk = {.in_len = k->check->arg};
	uint8_t *data = malloc(PROBE_HTTP + 2 + k->check->arg);
	struct attempt a = {0};
	size_t len;

	if (!data || !ask_dial(k->p, k->t)) {
		free(data);
		return kit_stuck(k);
	}
	len = ask_write_http(k->p, data, &k->p->main);
	memcpy(data + len, "E\n", 2);
	for (size_t i = 0; i < bulk.in_len; i++)
		data[len + 2 + i] = (uint8_t)(i * 7 + (i >> 8));
	kit_say(k, k->t, data, len + 2 + bulk.in_len);
	ask_read_http(k->p, k->t, &a);
	bulk.expected = data + len + 2;
	if (a.outcome == OUTCOME_YES)
		talk_bulk(k->t, &bulk, probe_ms(k->p));
	explicit_bzero(data, len);
	free(data);
	if (a.outcome != OUTCOME_YES)
		return kit_fail(k, "%s", a.seen);
	if (bulk.received != bulk.in_len || bulk.differs)
		return kit_fail(k, "%zu of %zu bytes came back%s", bulk.received, bulk.in_len,
		    bulk.differs ? ", and others" : "");
	return kit_pass(k, "all %zu bytes came back", bulk.in_len);
}

static enum probe_verdict half_closed(struct kit *k)
{
	uint8_t request[PROBE_HTTP + 2];
	struct attempt a;
	size_t len;

	if (!ask_dial(k->p, k->t))
		return kit_stuck(k);
	len = ask_write_http(k->p, request, &k->p->main);
	memcpy(request + len, "U\n", 2);
	kit_say(k, k->t, request, len + 2);
	explicit_bzero(request, sizeof(request));
	talk_finish(k->t);
	ask_read_http(k->p, k->t, &a);
	if (a.outcome != OUTCOME_YES)
		return kit_fail(k, "%s", a.seen);
	/* What the sink says when the client's end has reached it. */
	return talk_want(k->t, 40, probe_ms(k->p)) == 40
		   ? kit_pass(k, "the target's answer came")
		   : kit_fail(k, "granted, but no answer came");
}

/* ---- who is no client ---- */

/* In the row's head, at its %e: a megabyte of one letter. */
static enum probe_verdict endless(struct kit *k)
{
	uint8_t *letters = malloc(ENDLESS);
	struct talk_bulk b = {.out = letters, .out_len = ENDLESS, .in_len = 12};
	char head[PROBE_HTTP];

	if (!letters || !ask_dial(k->p, k->t)) {
		free(letters);
		return kit_stuck(k);
	}
	memset(letters, 'x', ENDLESS);
	kit_say(k, k->t, head, http_expand(k, k->check->bytes, k->check->n_bytes, head));
	talk_bulk(k->t, &b, 2 * probe_ms(k->p));
	free(letters);
	if (b.received == 0 && !ends(k))
		return kit_fail(k, "%zu bytes later it still waits", b.sent);
	return kit_alive(k) ? kit_pass(k, "given up after at most %zu bytes", b.sent)
			    : kit_fail(k, "afterwards: %s", k->p->why);
}

static enum probe_verdict longest_name(struct kit *k)
{
	struct addr to = {.kind = ADDR_NAME, .name_len = ADDR_NAME_MAX, .port = 80};
	struct attempt a;

	for (size_t i = 0; i < ADDR_NAME_MAX; i++)
		to.name[i] = i % 2 ? '.' : 'a';
	ask_http(k->p, k->t, &to, &a);
	return http_judge(k, HTTP_REFUSED, &a);
}

static enum probe_verdict many_at_once(struct kit *k)
{
	struct talk *t = calloc(SESSIONS, sizeof(*t));
	unsigned opened = 0, echoed = 0;
	struct attempt a = {.outcome = OUTCOME_YES};

	while (t && opened < SESSIONS && a.outcome == OUTCOME_YES) {
		ask_http(k->p, &t[opened], &k->p->main, &a);
		talk_send(&t[opened++], "E\n", 2, probe_ms(k->p));
	}
	for (unsigned i = 0; i < opened; i++)
		echoed += ask_ping(k->p, &t[i], "each of many");
	for (unsigned i = 0; i < opened; i++)
		talk_close(&t[i]);
	free(t);
	return echoed == SESSIONS ? kit_pass(k, "%u sessions, all alive", SESSIONS)
				  : kit_fail(k, "%u of %u: %s", echoed, SESSIONS, a.seen);
}

static enum probe_verdict silent_clients(struct kit *k)
{
	struct talk *silent = calloc(SILENT_CLIENTS, sizeof(*silent));
	unsigned n = 0;
	bool alive;
	struct attempt a;

	while (silent && n < SILENT_CLIENTS && ask_dial(k->p, &silent[n]))
		n++;
	ask_http(k->p, k->t, &k->p->main, &a);
	alive = a.outcome == OUTCOME_YES;
	for (unsigned i = 0; i < n; i++)
		talk_close(&silent[i]);
	free(silent);
	if (n < SILENT_CLIENTS)
		return kit_untested(k, "no more than %u connections: %s", n, k->p->why);
	return alive ? kit_pass(k, "another one is served")
		     : kit_fail(k, "another one is not served: %s", a.seen);
}

/* Is it there for somebody new, by HTTP? */
static enum probe_verdict alive_after(struct kit *k, unsigned n, const char *of)
{
	struct attempt a;

	talk_close(k->t);
	ask_http(k->p, k->t, &k->p->main, &a);
	return a.outcome == OUTCOME_YES ? kit_pass(k, "it serves after %u %s", n, of)
					: kit_fail(k, "after %u %s: %s", n, of, a.seen);
}

/* In the midst of a head, and behind a whole one. */
static enum probe_verdict resets(struct kit *k)
{
	uint8_t request[PROBE_HTTP];
	size_t len = ask_write_http(k->p, request, &k->p->main);

	for (unsigned i = 0; i < RESETS; i++) {
		if (!ask_dial(k->p, k->t))
			return kit_fail(k, "after %u resets: %s", i, k->p->why);
		kit_say(k, k->t, request, i % 2 ? len : len / 2);
		talk_reset(k->t);
	}
	explicit_bzero(request, sizeof(request));
	return alive_after(k, RESETS, "resets");
}

/* Something of HTTP, and then anything; the same in every run. */
static enum probe_verdict garbage(struct kit *k)
{
	static const char *const begins[] = {"CONNECT ", "CONNECT a:1 HTTP/1.1\r\n", "\r\n", ""};
	uint32_t seed = 1;
	uint8_t bytes[96];

	for (unsigned i = 0; i < GARBAGE; i++) {
		for (size_t at = 0; at < sizeof(bytes); at++) {
			seed = seed * 1664525 + 1013904223;
			bytes[at] = (uint8_t)(seed >> 24);
		}
		memcpy(bytes, begins[i % 4], strlen(begins[i % 4]));
		if (!ask_dial(k->p, k->t))
			return kit_fail(k, "after %u of them: %s", i, k->p->why);
		kit_say(k, k->t, bytes, 1 + seed % sizeof(bytes));
		talk_close(k->t);
	}
	return alive_after(k, GARBAGE, "of them");
}

static enum probe_verdict silent_for_ever(struct kit *k)
{
	uint64_t began = talk_clock();

	if (!ask_dial(k->p, k->t))
		return kit_stuck(k);
	k->t->limit += SILENCE_MS * UINT64_C(1000000);
	kit_say(k, k->t, k->check->bytes, k->check->n_bytes);
	if (talk_await_end(k->t, SILENCE_MS) == TALK_OPEN && talk_left(k->t) == 0)
		return kit_fail(k, "still open after %u s", SILENCE_MS / 1000);
	return kit_pass(k, "answered or closed after %u s",
	    (unsigned)((talk_clock() - began) / UINT64_C(1000000000)));
}

/* An address reserved for documentation: where packets go nowhere, it answers nothing. */
static enum probe_verdict nowhere(struct kit *k)
{
	static const uint8_t ip[4] = {192, 0, 2, 1};
	struct ip nobody = ip_from_v4(ip);
	struct addr to = addr_from_ip(&nobody, 9);
	uint8_t request[PROBE_HTTP];
	uint64_t began = talk_clock();
	struct attempt a;

	if (!ask_dial(k->p, k->t))
		return kit_stuck(k);
	k->t->limit += BLACKHOLE_MS * UINT64_C(1000000);
	kit_say(k, k->t, request, ask_write_http(k->p, request, &to));
	explicit_bzero(request, sizeof(request));
	talk_want(k->t, 1, BLACKHOLE_MS);
	ask_read_http(k->p, k->t, &a);
	return a.outcome == OUTCOME_NO
		   ? kit_pass(k, "%s after %u s", a.seen,
			 (unsigned)((talk_clock() - began) / UINT64_C(1000000000)))
		   : kit_fail(k, "%s", a.seen);
}

#define HT NEED_HTTP
#define TLS_HELLO                                                                                  \
	"\x16\x03\x01\x00\x2f\x01\x00\x00\x2b\x03\x03"                                             \
	"0123456789abcdef0123456789abcdef\x00\x00\x02\x13\x01\x01\x00"
/* In these %h is the target, %i and %p are its address and port, %d and %x the address as a
 * number, %s is the proxy, and %a a line of credentials where some are needed. */
#define TO(target) BYTES("CONNECT " target " HTTP/1.1\r\nHost: " target "\r\n%a\r\n")
#define FIELDS(fields) BYTES("CONNECT %h HTTP/1.1\r\n" fields "%a\r\n")

const struct check http_checks[] = {
    {"H01", LEVEL_REQUIRED, NEED_HTTP_SAID, "CONNECT to an IPv4 address.", "RFC 9110 section 9.3.6",
	"2xx, and bytes pass", .run = connects4},
    {"H02", LEVEL_REQUIRED, NEED_HTTP_SAID, "CONNECT to a name.", "RFC 9110 section 9.3.6",
	"2xx, and bytes pass", .run = connects_name},
    {"H03", LEVEL_REQUIRED, NEED_HTTP_SAID, "CONNECT to an IPv6 address in brackets.",
	"RFC 9112 section 3.2.3; case H3", "2xx, and bytes pass", .run = connects6},
    {"H04", LEVEL_REQUIRED, HT, "The answer that opens the tunnel has no length.",
	"RFC 9110 section 9.3.6: MUST NOT; case H4",
	"2xx, neither Content-Length nor Transfer-Encoding", .run = no_length},
    {"H05", LEVEL_REQUIRED, HT, "A request that arrives one byte at a time is understood.",
	"RFC 9112 section 2.2; case T1", "the same as in one piece", .run = in_pieces, .arg = 1},
    {"H06", LEVEL_REQUIRED, HT, "A request in pieces of seventeen bytes is understood.",
	"RFC 9112 section 2.2; case T1", "the same as in one piece", .run = in_pieces, .arg = 17},
    {"H07", LEVEL_RECOMMENDED, HT, "Bytes for the target in the same segment reach it.", "case H5",
	"they come back from its echo", .run = early_data, .arg = 5},
    {"H08", LEVEL_RECOMMENDED, HT,
	"64 KiB sent before the answer reach the target whole and in order.", "case H5",
	"all come back from its echo", .run = early_data, .arg = EARLY_LEN},
    {"H09", LEVEL_RECOMMENDED, HT, "A client that has ended its side behind the request is served.",
	"case T13", "the target's answer comes", .run = half_closed},
    {"H10", LEVEL_REQUIRED, HT, "Behind the answer comes nothing but the target.",
	"RFC 9110 section 9.3.6", "a head, then silence", .run = answer_is_all},
    {"H11", LEVEL_RECOMMENDED, HT | NEED_REFUSING, "Where nobody listens the answer is 502 to 504.",
	"RFC 9110 section 15.6.3; protocol 10.2", "502, 503 or 504", .run = refused_port,
	.arg = HTTP_GATEWAY},
    {"H12", LEVEL_RECOMMENDED, HT, "A name that does not exist is answered with 502 to 504.",
	"RFC 9110 section 15.6.3; protocol 10.2", "502, 503 or 504", .run = unknown_name},
    {"H13", LEVEL_REQUIRED, HT | NEED_REFUSING, "Where nobody listens there is no tunnel.",
	"RFC 9110 section 9.3.6", "no 2xx", .run = refused_port, .arg = HTTP_REFUSED},
    {"H14", LEVEL_RECOMMENDED, HT | NEED_REFUSING,
	"Behind a refusal another request can be made, or the answer says close.",
	"RFC 9112 section 9.3; protocol 10.2", "another CONNECT is granted, or close",
	.run = again},
    {"H15", LEVEL_REQUIRED, HT | NEED_REFUSING, "Where a refusal ends can be known.",
	"RFC 9112 section 6.3", "a length, or closed", .run = refusal_ends},
    {"H16", LEVEL_RECOMMENDED, HT | NEED_REFUSING,
	"A refusal reaches a client that is still sending.", "RFC 9112 section 9.6; case T15",
	"the whole head, not lost to a reset", .run = under_fire},
    {"H17", LEVEL_REQUIRED, HT, "An empty port is refused.",
	"RFC 9110 section 9.3.6: MUST; case H2", "no 2xx", .run = http_row, TO("%i:"),
	.arg = HTTP_REFUSED},
    {"H18", LEVEL_REQUIRED, HT, "Port 99999 is refused.", "RFC 9110 section 9.3.6: MUST; case H2",
	"no 2xx", .run = http_row, TO("%i:99999"), .arg = HTTP_REFUSED},
    {"H19", LEVEL_REQUIRED, HT, "A port with a letter behind it is refused.",
	"RFC 9110 section 9.3.6: MUST; case H2", "no 2xx", .run = http_row, TO("%i:%px"),
	.arg = HTTP_REFUSED},
    {"H20", LEVEL_RECOMMENDED, HT, "Port 0 is refused.", "case H2", "no 2xx", .run = http_row,
	TO("%i:0"), .arg = HTTP_REFUSED},
    {"H21", LEVEL_REQUIRED, HT, "A target without a port is refused.",
	"RFC 9112 section 3.2.3; case H1", "no 2xx", .run = http_row, TO("%i"),
	.arg = HTTP_REFUSED},
    {"H22", LEVEL_REQUIRED, HT, "A request of HTTP/1.1 without Host is refused.",
	"RFC 9112 section 3.2: MUST", "4xx", .run = http_row, FIELDS(""), .arg = HTTP_CLIENT_ERROR},
    {"H23", LEVEL_REQUIRED, HT, "A request with two Host fields is refused.",
	"RFC 9112 section 3.2: MUST", "4xx", .run = http_row,
	FIELDS("Host: %h\r\nHost: other.invalid\r\n"), .arg = HTTP_CLIENT_ERROR},
    {"H24", LEVEL_REQUIRED, HT, "A blank before the colon of a field is refused.",
	"RFC 9112 section 5.1: MUST; case H8", "4xx", .run = http_row,
	FIELDS("Host: %h\r\nX-Blank : 1\r\n"), .arg = HTTP_CLIENT_ERROR},
    {"H25", LEVEL_REQUIRED, HT, "A folded field is refused, or unfolded.",
	"RFC 9112 section 5.2: MUST; case H9", "an answer, or closed", .run = http_row,
	FIELDS("Host: %h\r\nX-Folded: 1\r\n 2\r\n"), .arg = HTTP_ANSWERED},
    {"H26", LEVEL_RECOMMENDED, HT, "What Host says changes nothing.", "protocol 10.2",
	"2xx, and bytes pass", .run = http_row, FIELDS("Host: other.invalid\r\n"),
	.arg = HTTP_ECHOES},
    {"H27", LEVEL_RECOMMENDED, HT, "A request of HTTP/1.0 is served.", "protocol 10.2",
	"2xx, and bytes pass", .run = http_row, BYTES("CONNECT %h HTTP/1.0\r\n%a\r\n"),
	.arg = HTTP_ECHOES},
    {"H28", LEVEL_RECOMMENDED, HT, "An empty line before the request is passed over.",
	"RFC 9112 section 2.2: SHOULD; case H17", "2xx, and bytes pass", .run = http_row,
	BYTES("\r\nCONNECT %h HTTP/1.1\r\nHost: %h\r\n%a\r\n"), .arg = HTTP_ECHOES},
    {"H29", LEVEL_RECOMMENDED, HT, "connect in small letters is another method.",
	"RFC 9110 section 9.1", "no 2xx", .run = http_row,
	BYTES("connect %h HTTP/1.1\r\nHost: %h\r\n%a\r\n"), .arg = HTTP_REFUSED},
    {"H30", LEVEL_RECOMMENDED, HT, "A method that nobody knows is refused.",
	"RFC 9110 section 15.6.2", "no 2xx", .run = http_row,
	BYTES("BREW %h HTTP/1.1\r\nHost: %h\r\n%a\r\n"), .arg = HTTP_REFUSED},
    {"H31", LEVEL_RECOMMENDED, HT, "A version that nobody knows is refused.",
	"RFC 9110 section 15.6.6", "no 2xx", .run = http_row,
	BYTES("CONNECT %h HTTP/7.3\r\nHost: %h\r\n%a\r\n"), .arg = HTTP_REFUSED},
    {"H32", LEVEL_RECOMMENDED, HT, "The first bytes of HTTP/2 are not waited on.", "case H16",
	"an answer, or closed", .run = http_row, BYTES("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
	.arg = HTTP_ENDED},
    {"H33", LEVEL_RECOMMENDED, HT, "A line of no protocol at all is not waited on.", "case T4",
	"an answer, or closed", .run = http_row, BYTES("\x01\x80\xff what?\r\n\r\n"),
	.arg = HTTP_ENDED},
    {"H34", LEVEL_RECOMMENDED, HT, "A lone line feed ends a line, or is refused.",
	"RFC 9112 section 2.2", "an answer, or closed", .run = http_row,
	BYTES("CONNECT %h HTTP/1.1\nHost: %h\r\n%a\r\n"), .arg = HTTP_ANSWERED},
    {"H35", LEVEL_RECOMMENDED, HT, "An address written as one decimal number is none.", "case R8",
	"no 2xx", .run = as_number, TO("%d:%p"), .arg = HTTP_REFUSED},
    {"H36", LEVEL_RECOMMENDED, HT, "An address written as one hexadecimal number is none.",
	"case R8", "no 2xx", .run = as_number, TO("%x:%p"), .arg = HTTP_REFUSED},
    {"H37", LEVEL_RECOMMENDED, HT, "0.0.0.0 leads nowhere, not to the proxy's host.", "case R16",
	"no 2xx", .run = http_row, TO("0.0.0.0:%p"), .arg = HTTP_REFUSED},
    {"H38", LEVEL_RECOMMENDED, HT, ":: leads nowhere, not to the proxy's host.", "case R16",
	"no 2xx", .run = http_row, TO("[::]:%p"), .arg = HTTP_REFUSED},
    {"H39", LEVEL_RECOMMENDED, HT, "A multicast address is no host.", "case R16", "no 2xx",
	.run = http_row, TO("224.0.0.1:%p"), .arg = HTTP_REFUSED},
    {"H40", LEVEL_RECOMMENDED, HT, "The proxy does not connect to itself.", "case R18", "no 2xx",
	.run = http_row, TO("%s"), .arg = HTTP_REFUSED},
    {"H41", LEVEL_RECOMMENDED, HT, "A target with a user is refused.", "RFC 9112 section 3.2.3",
	"no 2xx", .run = http_row, TO("user@%h"), .arg = HTTP_REFUSED},
    {"H42", LEVEL_RECOMMENDED, HT, "A target with a path is refused.", "RFC 9112 section 3.2.3",
	"no 2xx", .run = http_row, TO("%h/path"), .arg = HTTP_REFUSED},
    {"H43", LEVEL_RECOMMENDED, HT, "A NUL in a target does not cut it off.", "case R9", "no 2xx",
	.run = http_row, BYTES("CONNECT %h\0.invalid:80 HTTP/1.1\r\nHost: %h\r\n%a\r\n"),
	.arg = HTTP_REFUSED},
    {"H44", LEVEL_RECOMMENDED, HT, "The longest name is refused in time.", "case R12", "no 2xx",
	.run = longest_name},
    {"H45", LEVEL_RECOMMENDED, HT, "A target without end is not read for ever.",
	"RFC 9112 section 3; protocol 10.1", "an answer, or closed", .run = endless,
	BYTES("CONNECT ")},
    {"H46", LEVEL_RECOMMENDED, HT, "A field without end is not read for ever.",
	"RFC 9112 section 5; protocol 10.1", "an answer, or closed", .run = endless,
	FIELDS("Host: %h\r\nX-Endless: ")},
    {"H47", LEVEL_RECOMMENDED, HT, "64 tunnels at once.", "reliability: many sessions",
	"all are served", .run = many_at_once},
    {"H48", LEVEL_RECOMMENDED, HT, "Fifty clients that say nothing keep nobody out.", "case T3",
	"another one is served", .run = silent_clients},
    {"H49", LEVEL_RECOMMENDED, HT, "Clients that reset in the midst of it do no harm.", "case T14",
	"others are served afterwards", .run = resets},
    {"H50", LEVEL_RECOMMENDED, HT, "TLS on a port without it is turned away.", "case T5",
	"closed, no tunnel", .run = http_row, BYTES(TLS_HELLO "\r\n\r\n"), .arg = HTTP_ENDED},
    {"H51", LEVEL_RECOMMENDED, HT, "Garbage in 100 connections does no harm.",
	"reliability: hostile handshakes", "others are served afterwards", .run = garbage},
    {"H52", LEVEL_RECOMMENDED, HT | NEED_SLOW, "A client that says nothing is not kept.", "case T3",
	"an answer, or closed, within two minutes", .run = silent_for_ever, BYTES("")},
    {"H53", LEVEL_RECOMMENDED, HT | NEED_SLOW, "A client that says half of a head is not kept.",
	"case T3", "an answer, or closed, within two minutes", .run = silent_for_ever,
	BYTES("CONNECT a.invalid:80 HTTP/1.1\r\nHost: a.inv")},
    {"H54", LEVEL_RECOMMENDED, HT | NEED_SLOW, "Where nothing answers, the proxy does in the end.",
	"case R20", "an answer within 150 s", .run = nowhere},
};
const unsigned n_http_checks = N_CHECKS_OF(http_checks);
