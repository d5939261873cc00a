/* SPDX-License-Identifier: MIT */
/* Checks of tabi probe: requests and replies of CONNECT, RFC 1928 sections 4 to 6. */
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/probe_kit.h"
#include "proto/err.h"

#define SESSIONS 64
#define BLACKHOLE_MS 150000

/* ---- granted ---- */

static enum probe_verdict granted_and_echoes(struct kit *k, const struct attempt *a)
{
	if (a->outcome != OUTCOME_YES)
		return kit_fail(k, "%s", a->seen);
	talk_send(k->t, "E\n", 2, probe_ms(k->p));
	return ask_ping(k->p, k->t, "to and fro") ? kit_pass(k, "%s, and bytes pass", a->seen)
						  : kit_fail(k, "%s; %s", a->seen, k->p->why);
}

static enum probe_verdict connects_to(struct kit *k, const struct addr *to)
{
	struct attempt a;

	ask5(k->p, k->t, SOCKS5_CONNECT, to, &a);
	return granted_and_echoes(k, &a);
}

static enum probe_verdict connects4(struct kit *k)
{
	if (k->p->target4.kind == ADDR_NONE)
		return kit_untested(k, "there is no target with IPv4");
	return connects_to(k, &k->p->target4);
}

static enum probe_verdict connects6(struct kit *k)
{
	if (k->p->target6.kind == ADDR_NONE)
		return kit_untested(k, "there is no target with IPv6; --target tells one");
	return connects_to(k, &k->p->target6);
}

static enum probe_verdict connects_name(struct kit *k)
{
	return connects_to(k, &k->p->name);
}

/* The name of the target, spelled otherwise. */
static enum probe_verdict connects_capitals(struct kit *k)
{
	struct addr a = k->p->name;

	for (size_t i = 0; i < a.name_len; i += 2)
		a.name[i] = (char)toupper((unsigned char)a.name[i]);
	return connects_to(k, &a);
}

static enum probe_verdict connects_dot(struct kit *k)
{
	struct addr a = k->p->name;

	/* One that comes from a file of hosts is written there without. */
	if (!memchr(a.name, '.', a.name_len))
		return kit_untested(k, "the name has no domain; --name tells another");
	if (a.name[a.name_len - 1] != '.')
		a.name[a.name_len++] = '.';
	return connects_to(k, &a);
}

/* A name of these bytes, whatever they are. */
static struct addr name_of(const void *bytes, size_t len, uint16_t port)
{
	struct addr a = {.kind = ADDR_NAME, .port = port, .name_len = (uint8_t)len};

	memcpy(a.name, bytes, len);
	return a;
}

/* A literal where a name should be: many clients send all they have as names. With brackets if
 * `arg` says so. */
static enum probe_verdict connects_literal(struct kit *k)
{
	const struct addr *to = k->check->needs & NEED_TARGET6 ? &k->p->target6 : &k->p->target4;
	char text[IP_TEXT_MAX], name[IP_TEXT_MAX + 2];
	struct addr a;
	int len;

	ip_format(&to->ip, text);
	len = snprintf(name, sizeof(name), k->check->arg ? "[%s]" : "%s", text);
	a = name_of(name, (size_t)len, to->port);
	return connects_to(k, &a);
}

/* ::ffff:a.b.c.d is the same host, or is refused; anything but to hang. */
static enum probe_verdict connects_mapped(struct kit *k)
{
	uint8_t message[32] = {SOCKS5_VERSION, SOCKS5_CONNECT, 0, SOCKS5_ATYP_IPV6};
	struct attempt a;

	if (!ask_hello(k->p, k->t))
		return kit_stuck(k);
	memcpy(message + 4, k->p->target4.ip.b, 16);
	message[20] = (uint8_t)(k->p->target4.port >> 8);
	message[21] = (uint8_t)k->p->target4.port;
	kit_say(k, k->t, message, 22);
	ask_read5(k->p, k->t, &a);
	return a.outcome == OUTCOME_NO ? kit_pass(k, "%s", a.seen) : granted_and_echoes(k, &a);
}

/* ---- what a reply says ---- */

/* Nothing but the reply before the target speaks; ours says nothing unasked. */
static enum probe_verdict reply_is_all(struct kit *k)
{
	struct attempt a;

	ask5(k->p, k->t, SOCKS5_CONNECT, &k->p->main, &a);
	if (a.outcome != OUTCOME_YES)
		return kit_fail(k, "%s", a.seen);
	if (talk_want(k->t, 1, PROBE_QUIET) > 0)
		return kit_fail(k, "%s, and %zu bytes more", a.seen, talk_left(k->t));
	return kit_pass(k, "%zu bytes, address type %u", a.reply.len, a.reply.type);
}

static enum probe_verdict bound_is_true(struct kit *k)
{
	const struct addr *to = k->check->needs & NEED_TARGET6 ? &k->p->target6 : &k->p->target4;
	char seen[ADDR_TEXT_MAX];
	struct target_line line;
	struct attempt a;

	ask5(k->p, k->t, SOCKS5_CONNECT, to, &a);
	if (a.outcome != OUTCOME_YES)
		return kit_fail(k, "%s", a.seen);
	talk_send(k->t, "P\n", 2, probe_ms(k->p));
	if (!ask_line(k->p, k->t, &line))
		return kit_stuck(k);
	addr_format(&line.peer, seen);
	if (a.reply.bound.kind == ADDR_IP && a.reply.bound.port == line.peer.port &&
	    ip_equal(&a.reply.bound.ip, &line.peer.ip))
		return kit_pass(k, "%s, as the target sees it", a.seen);
	return kit_fail(k, "%s, but the target sees %.60s", a.seen, seen);
}

/* Whoever gives no reply at all has failed R13 already. */
static enum probe_verdict refusal_is_whole(struct kit *k)
{
	struct attempt a;

	ask5(k->p, k->t, SOCKS5_CONNECT, &k->p->refusing, &a);
	if (a.outcome == OUTCOME_CLOSED)
		return kit_none(k, "%s", a.seen);
	if (a.outcome != OUTCOME_NO)
		return kit_fail(k, "%s", a.seen);
	if (k->check->arg && a.reply.len < 10)
		return kit_fail(k, "%s, in %zu bytes", a.seen, a.reply.len);
	if (talk_want(k->t, 1, PROBE_QUIET) > 0)
		return kit_fail(k, "%s, and %zu bytes more", a.seen, talk_left(k->t));
	return kit_pass(k, "%zu bytes, address type %u", a.reply.len, a.reply.type);
}

static enum probe_verdict refusal_closes(struct kit *k)
{
	struct attempt a;

	ask5(k->p, k->t, SOCKS5_CONNECT, &k->p->refusing, &a);
	if (a.outcome != OUTCOME_NO && a.outcome != OUTCOME_CLOSED)
		return kit_fail(k, "%s", a.seen);
	if (!kit_ends(k, k->t))
		return kit_fail(k, "%s, and not closed", a.seen);
	if (k->check->arg && k->t->end != TALK_EOF)
		return kit_fail(k, "%s, then a reset", a.seen);
	return kit_pass(k, "%s, and closed", a.seen);
}

static enum probe_verdict refused_port(struct kit *k)
{
	struct attempt a;

	ask5(k->p, k->t, SOCKS5_CONNECT, &k->p->refusing, &a);
	return kit_refused_with(k, &a, SOCKS5_REFUSED);
}

/* ---- names ---- */

static enum probe_verdict name_unknown(struct kit *k)
{
	struct addr a = name_of("no-such-host.invalid", 20, 80);
	struct attempt at;

	ask5(k->p, k->t, SOCKS5_CONNECT, &a, &at);
	return kit_refused_with(k, &at, SOCKS5_HOST_UNREACHABLE);
}

/* A name of the row's bytes must be refused, and soon. */
static enum probe_verdict name_refused(struct kit *k)
{
	struct addr a = name_of(k->check->bytes, k->check->n_bytes, k->p->main.port);
	struct attempt at;

	ask5(k->p, k->t, SOCKS5_CONNECT, &a, &at);
	return kit_refused(k, &at);
}

static enum probe_verdict name_longest(struct kit *k)
{
	char text[ADDR_NAME_MAX];
	struct attempt at;
	struct addr a;

	for (size_t i = 0; i < sizeof(text); i++)
		text[i] = i % 2 ? '.' : 'a';
	a = name_of(text, sizeof(text), 80);
	ask5(k->p, k->t, SOCKS5_CONNECT, &a, &at);
	return kit_refused(k, &at);
}

/* The target's address, then a NUL and something harmless: to a C string it is the address. */
static enum probe_verdict name_with_nul(struct kit *k)
{
	char text[IP_TEXT_MAX + 16];
	struct attempt at;
	struct addr a;
	size_t len;

	ip_format(&k->p->target4.ip, text);
	len = strlen(text);
	memcpy(text + len, "\0.invalid", 9);
	a = name_of(text, len + 9, k->p->target4.port);
	ask5(k->p, k->t, SOCKS5_CONNECT, &a, &at);
	return kit_refused(k, &at);
}

/* The address as one number, which inet_aton() takes and no rule about addresses expects. */
static enum probe_verdict name_number(struct kit *k)
{
	const uint8_t *b = ip_v4_bytes(&k->p->target4.ip);
	struct attempt at;
	struct addr a;
	char text[24];
	int len = snprintf(text, sizeof(text), k->check->arg ? "0x%x" : "%u",
	    (unsigned)b[0] << 24 | (unsigned)b[1] << 16 | (unsigned)b[2] << 8 | b[3]);

	a = name_of(text, (size_t)len, k->p->target4.port);
	ask5(k->p, k->t, SOCKS5_CONNECT, &a, &at);
	return kit_refused(k, &at);
}

/* ---- what no request may be ---- */

/* A request of the row's bytes, and the code that has to come; 0xff: any, or the end. */
static enum probe_verdict request_refused(struct kit *k)
{
	struct attempt a;

	if (!ask_hello(k->p, k->t))
		return kit_stuck(k);
	kit_say(k, k->t, k->check->bytes, k->check->n_bytes);
	ask_read5(k->p, k->t, &a);
	return k->check->arg == 0xff ? kit_refused(k, &a)
				     : kit_refused_with(k, &a, (uint8_t)k->check->arg);
}

static enum probe_verdict request_closes(struct kit *k)
{
	struct attempt a;

	if (!ask_hello(k->p, k->t))
		return kit_stuck(k);
	kit_say(k, k->t, k->check->bytes, k->check->n_bytes);
	ask_read5(k->p, k->t, &a);
	if (a.outcome != OUTCOME_NO && a.outcome != OUTCOME_CLOSED)
		return kit_fail(k, "%s", a.seen);
	return kit_ends(k, k->t) ? kit_pass(k, "%s, and closed", a.seen)
				 : kit_fail(k, "%s, and not closed", a.seen);
}

/* To the target's port at an address of the row's bytes that is nobody's. */
static enum probe_verdict address_refused(struct kit *k)
{
	bool v4 = k->check->n_bytes == 4;
	const uint8_t *bytes = (const uint8_t *)k->check->bytes;
	uint8_t message[32] = {
	    SOCKS5_VERSION, SOCKS5_CONNECT, 0, v4 ? SOCKS5_ATYP_IPV4 : SOCKS5_ATYP_IPV6};
	struct attempt a;

	if (!ask_hello(k->p, k->t))
		return kit_stuck(k);
	memcpy(message + 4, bytes, k->check->n_bytes);
	message[4 + k->check->n_bytes] = (uint8_t)(k->p->main.port >> 8);
	message[5 + k->check->n_bytes] = (uint8_t)k->p->main.port;
	kit_say(k, k->t, message, k->check->n_bytes + 6);
	ask_read5(k->p, k->t, &a);
	return kit_refused(k, &a);
}

static enum probe_verdict port_zero(struct kit *k)
{
	struct addr a = k->p->main;
	struct attempt at;

	a.port = 0;
	ask5(k->p, k->t, SOCKS5_CONNECT, &a, &at);
	return kit_refused(k, &at);
}

static enum probe_verdict to_itself(struct kit *k)
{
	struct attempt at;

	ask5(k->p, k->t, SOCKS5_CONNECT, &k->p->proxy_addr, &at);
	return kit_refused(k, &at);
}

static enum probe_verdict reserved_set(struct kit *k)
{
	uint8_t message[PROBE_MESSAGE];
	struct attempt a;
	size_t len;

	if (!ask_hello(k->p, k->t))
		return kit_stuck(k);
	len = ask_write_request(message, SOCKS5_CONNECT, &k->p->main);
	message[2] = 1;
	kit_say(k, k->t, message, len);
	ask_read5(k->p, k->t, &a);
	return granted_and_echoes(k, &a);
}

static enum probe_verdict version_four(struct kit *k)
{
	uint8_t message[PROBE_MESSAGE];
	struct attempt a;
	size_t len;

	if (!ask_hello(k->p, k->t))
		return kit_stuck(k);
	len = ask_write_request(message, SOCKS5_CONNECT, &k->p->main);
	message[0] = 4;
	kit_say(k, k->t, message, len);
	ask_read5(k->p, k->t, &a);
	return kit_refused(k, &a);
}

/* ---- others ---- */

static enum probe_verdict second_request(struct kit *k)
{
	uint8_t message[PROBE_MESSAGE];
	struct attempt a;
	size_t len;

	ask5(k->p, k->t, SOCKS5_CONNECT, &k->p->main, &a);
	if (a.outcome != OUTCOME_YES)
		return kit_fail(k, "%s", a.seen);
	talk_send(k->t, "E\n", 2, probe_ms(k->p));
	len = ask_write_request(message, SOCKS5_CONNECT, &k->p->main);
	kit_say(k, k->t, message, len);
	if (talk_want(k->t, len, probe_ms(k->p)) == len &&
	    memcmp(talk_take(k->t, len), message, len) == 0)
		return kit_pass(k, "the target has it, byte by byte");
	return kit_fail(k, "%zu bytes of %zu came back", talk_left(k->t), len);
}

static enum probe_verdict many_at_once(struct kit *k)
{
	struct talk *t = calloc(SESSIONS, sizeof(*t));
	unsigned opened = 0, echoed = 0;

	while (t && opened < SESSIONS && ask_open(k->p, &t[opened], &k->p->main, 'E', ""))
		opened++;
	for (unsigned i = 0; i < opened; i++)
		echoed += ask_ping(k->p, &t[i], "each of many");
	for (unsigned i = 0; t && i < SESSIONS; i++)
		if (i <= opened)
			talk_close(&t[i]);
	free(t);
	return echoed == SESSIONS ? kit_pass(k, "%u sessions, all alive", SESSIONS)
				  : kit_fail(k, "%u of %u: %s", echoed, SESSIONS, k->p->why);
}

/* An address reserved for documentation: where packets go nowhere, it answers nothing. */
static enum probe_verdict nowhere(struct kit *k)
{
	static const uint8_t ip[4] = {192, 0, 2, 1};
	struct ip a = ip_from_v4(ip);
	struct addr to = addr_from_ip(&a, 9);
	uint8_t message[PROBE_MESSAGE];
	uint64_t began = talk_clock();
	struct attempt at;

	if (!ask_hello(k->p, k->t))
		return kit_stuck(k);
	k->t->limit += BLACKHOLE_MS * UINT64_C(1000000);
	kit_say(k, k->t, message, ask_write_request(message, SOCKS5_CONNECT, &to));
	talk_want(k->t, 1, BLACKHOLE_MS);
	ask_read5(k->p, k->t, &at);
	if (at.outcome != OUTCOME_NO)
		return kit_fail(k, "%s", at.seen);
	return kit_pass(
	    k, "%s after %u s", at.seen, (unsigned)((talk_clock() - began) / UINT64_C(1000000000)));
}

#define REQUEST(command) BYTES("\5" command "\0\1\x7f\0\0\1\0\x50")
#define R5 NEED_V5

const struct check request_checks[] = {
    {"R01", LEVEL_REQUIRED, R5, "CONNECT to an IPv4 address.", "RFC 1928 section 4",
	"reply 00, and bytes pass", .run = connects4},
    {"R02", LEVEL_REQUIRED, R5 | NEED_NAME, "CONNECT to a name.", "RFC 1928 section 5",
	"reply 00, and bytes pass", .run = connects_name},
    {"R03", LEVEL_REQUIRED, R5, "CONNECT to an IPv6 address.", "RFC 1928 section 5",
	"reply 00, and bytes pass", .run = connects6},
    {"R04", LEVEL_RECOMMENDED, R5 | NEED_TARGET4, "An IPv4 address sent as a name is one.",
	"case R6 (Chromium)", "reply 00, and bytes pass", .run = connects_literal},
    {"R05", LEVEL_RECOMMENDED, R5 | NEED_TARGET6, "An IPv6 address sent as a name is one.",
	"case R7 (Chromium)", "reply 00, and bytes pass", .run = connects_literal},
    {"R06", LEVEL_RECOMMENDED, R5 | NEED_TARGET6, "The same with brackets.", "case R7",
	"reply 00, and bytes pass", .run = connects_literal, .arg = 1},
    {"R07", LEVEL_RECOMMENDED, R5 | NEED_CONNECT | NEED_NAME, "Capitals in a name mean nothing.",
	"RFC 4343; case R13", "reply 00, and bytes pass", .run = connects_capitals},
    {"R08", LEVEL_RECOMMENDED, R5 | NEED_CONNECT | NEED_NAME, "A name may end in a dot.",
	"RFC 1034; case R10", "reply 00, and bytes pass", .run = connects_dot},
    {"R09", LEVEL_RECOMMENDED, R5 | NEED_TARGET4,
	"An IPv4 address in the form of IPv6 is that address, or refused.", "case R15",
	"reply 00 and bytes pass, or a refusal", .run = connects_mapped},
    {"R10", LEVEL_REQUIRED, R5 | NEED_CONNECT, "Behind the reply comes nothing but the target.",
	"RFC 1928 section 6", "a reply of the right length, then silence", .run = reply_is_all},
    {"R11", LEVEL_REQUIRED, R5 | NEED_TARGET4,
	"BND is the address from which the target is reached.", "RFC 1928 section 6",
	"what the target sees", .run = bound_is_true},
    {"R12", LEVEL_REQUIRED, R5 | NEED_TARGET6, "The same by IPv6, in a reply of 22 bytes.",
	"RFC 1928 section 6; case R23", "what the target sees", .run = bound_is_true},
    {"R13", LEVEL_REQUIRED, R5 | NEED_REFUSING, "Where nobody listens the reply is 05.",
	"RFC 1928 section 6; case R19", "reply 05", .run = refused_port},
    {"R14", LEVEL_REQUIRED, R5 | NEED_REFUSING, "A refusal is a whole reply and nothing more.",
	"RFC 1928 section 6", "a reply of the right length", .run = refusal_is_whole},
    {"R15", LEVEL_RECOMMENDED, R5 | NEED_REFUSING, "A refusal has at least ten bytes.",
	"case R24 (curl reads ten)", "ten bytes or more", .run = refusal_is_whole, .arg = 1},
    {"R16", LEVEL_REQUIRED, R5 | NEED_REFUSING, "Behind a refusal the server closes.",
	"RFC 1928 section 6: MUST, within 10 s", "closed", .run = refusal_closes},
    {"R17", LEVEL_RECOMMENDED, R5 | NEED_REFUSING, "It closes without a reset.", "case T15",
	"the end of the stream", .run = refusal_closes, .arg = 1},
    {"R18", LEVEL_RECOMMENDED, R5 | NEED_CONNECT, "A name that does not exist is answered with 04.",
	"RFC 1928 section 6", "reply 04", .run = name_unknown},
    {"R19", LEVEL_REQUIRED, R5, "Command 00 is answered with 07.", "RFC 1928 section 6; case R2",
	"reply 07", .run = request_refused, REQUEST("\0"), .arg = 7},
    {"R20", LEVEL_REQUIRED, R5, "Command 7f is answered with 07.", "RFC 1928 section 6; case R2",
	"reply 07", .run = request_refused, REQUEST("\x7f"), .arg = 7},
    {"R21", LEVEL_REQUIRED, R5, "Command ff is answered with 07.", "RFC 1928 section 6; case R2",
	"reply 07", .run = request_refused, REQUEST("\xff"), .arg = 7},
    {"R22", LEVEL_REQUIRED, R5, "Behind an unknown command the server closes.",
	"RFC 1928 section 6: MUST, within 10 s", "closed", .run = request_closes, REQUEST("\x7f")},
    {"R23", LEVEL_REQUIRED, R5, "Address type 00 is answered with 08.",
	"RFC 1928 section 6; case R3", "reply 08", .run = request_refused,
	BYTES("\5\1\0\0\x7f\0\0\1\0\x50"), .arg = 8},
    {"R24", LEVEL_REQUIRED, R5, "Address type 02 is answered with 08.",
	"RFC 1928 section 6; case R3", "reply 08", .run = request_refused,
	BYTES("\5\1\0\2\x7f\0\0\1\0\x50"), .arg = 8},
    {"R25", LEVEL_REQUIRED, R5, "Behind an unknown address type the server closes.",
	"RFC 1928 section 6: MUST, within 10 s", "closed", .run = request_closes,
	BYTES("\5\1\0\xff\x7f\0\0\1\0\x50")},
    {"R26", LEVEL_RECOMMENDED, R5, "A request of version 4 behind a greeting of 5 is refused.",
	"case R1", "a refusal or closed", .run = version_four},
    {"R27", LEVEL_RECOMMENDED, R5 | NEED_CONNECT, "The reserved byte is not looked at.", "case R4",
	"reply 00, and bytes pass", .run = reserved_set},
    {"R28", LEVEL_RECOMMENDED, R5, "A name of no bytes is refused.", "case R5",
	"a refusal or closed", .run = request_refused, BYTES("\5\1\0\3\0\0\x50"), .arg = 0xff},
    {"R29", LEVEL_RECOMMENDED, R5 | NEED_TARGET4, "A NUL in a name does not cut it off.", "case R9",
	"a refusal or closed", .run = name_with_nul},
    {"R30", LEVEL_RECOMMENDED, R5, "A name with spaces and line ends is refused.", "case R9",
	"a refusal or closed", .run = name_refused, BYTES("a b\r\nc.invalid")},
    {"R31", LEVEL_RECOMMENDED, R5, "A name that is a dot is refused.", "case R11",
	"a refusal or closed", .run = name_refused, BYTES(".")},
    {"R32", LEVEL_RECOMMENDED, R5, "A name with two dots side by side is refused.", "case R11",
	"a refusal or closed", .run = name_refused, BYTES("a..b.invalid")},
    {"R33", LEVEL_RECOMMENDED, R5, "The longest name is refused in time.", "case R12",
	"a refusal or closed", .run = name_longest},
    {"R34", LEVEL_RECOMMENDED, R5 | NEED_TARGET4,
	"An address written as one decimal number is none.", "case R8", "a refusal or closed",
	.run = name_number},
    {"R35", LEVEL_RECOMMENDED, R5 | NEED_TARGET4,
	"An address written as one hexadecimal number is none.", "case R8", "a refusal or closed",
	.run = name_number, .arg = 1},
    {"R36", LEVEL_RECOMMENDED, R5 | NEED_MAIN, "0.0.0.0 leads nowhere, not to the proxy's host.",
	"case R16", "a refusal or closed", .run = address_refused, BYTES("\0\0\0\0")},
    {"R37", LEVEL_RECOMMENDED, R5 | NEED_MAIN, ":: leads nowhere, not to the proxy's host.",
	"case R16", "a refusal or closed", .run = address_refused,
	BYTES("\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0")},
    {"R38", LEVEL_RECOMMENDED, R5 | NEED_MAIN, "A multicast address is no host.", "case R16",
	"a refusal or closed", .run = address_refused, BYTES("\xe0\0\0\1")},
    {"R39", LEVEL_RECOMMENDED, R5 | NEED_MAIN, "Port 0 is refused.", "case R17",
	"a refusal or closed", .run = port_zero},
    {"R40", LEVEL_RECOMMENDED, R5, "The proxy does not connect to itself.", "case R18",
	"a refusal or closed", .run = to_itself},
    {"R41", LEVEL_REQUIRED, R5 | NEED_CONNECT,
	"A second request on the same connection is bytes for the target.",
	"RFC 1928 section 6; case N17", "the target has it", .run = second_request},
    {"R42", LEVEL_RECOMMENDED, R5 | NEED_CONNECT, "64 sessions at once.",
	"reliability: many sessions", "all are served", .run = many_at_once},
    {"R43", LEVEL_RECOMMENDED, R5 | NEED_SLOW, "Where nothing answers, the proxy does in the end.",
	"case R20", "a refusal within 150 s", .run = nowhere},
};
const unsigned n_request_checks = N_CHECKS_OF(request_checks);
