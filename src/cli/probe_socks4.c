/* SPDX-License-Identifier: MIT */
/* Checks of tabi probe: SOCKS4 and 4A, by Ying-Da Lee's memos. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/bench.h"
#include "cli/probe_kit.h"
#include "proto/err.h"
#include "proto/socks4.h"

#define ENDLESS ((size_t)1 << 20)

/* A request by hand: the 4A form where `name` is not NULL, with 0.0.0.`mark` in the address. */
struct by_hand {
	uint8_t command;
	const struct addr *to; /* its port; and its address unless there is a name */
	const void *user;
	size_t user_len;
	const void *name;
	size_t name_len;
	uint8_t mark;
};

static size_t write_by_hand(const struct by_hand *r, uint8_t *buf)
{
	size_t len = 8;

	buf[0] = SOCKS4_VERSION;
	buf[1] = r->command;
	buf[2] = (uint8_t)(r->to->port >> 8);
	buf[3] = (uint8_t)r->to->port;
	memset(buf + 4, 0, 4);
	buf[7] = r->mark;
	if (!r->name)
		memcpy(buf + 4, ip_v4_bytes(&r->to->ip), 4);
	if (r->user_len > 0)
		memcpy(buf + len, r->user, r->user_len);
	len += r->user_len;
	buf[len++] = 0;
	if (r->name) {
		memcpy(buf + len, r->name, r->name_len);
		len += r->name_len;
		buf[len++] = 0;
	}
	return len;
}

/* Sends it and reads the reply; false where there is no connection. */
static bool request(struct kit *k, const struct by_hand *r, struct attempt *ret)
{
	uint8_t message[PROBE_MESSAGE];

	if (!ask_dial(k->p, k->t))
		return false;
	kit_say(k, k->t, message, write_by_hand(r, message));
	ask_read4(k->p, k->t, ret);
	return true;
}

static enum probe_verdict granted(struct kit *k, const struct by_hand *r)
{
	struct attempt a;

	if (!request(k, r, &a))
		return kit_stuck(k);
	if (a.outcome != OUTCOME_YES)
		return kit_fail(k, "%s", a.seen);
	talk_send(k->t, "E\n", 2, probe_ms(k->p));
	return ask_ping(k->p, k->t, "four") ? kit_pass(k, "%s, and bytes pass", a.seen)
					    : kit_fail(k, "%s; %s", a.seen, k->p->why);
}

/* Rejected with 91, or at least not granted. */
static enum probe_verdict rejected(struct kit *k, const struct by_hand *r, bool with_91)
{
	struct attempt a;

	if (!request(k, r, &a))
		return kit_stuck(k);
	if (a.outcome == OUTCOME_NO && (a.reply.code == SOCKS4_REJECTED || !with_91))
		return kit_pass(k, "%s", a.seen);
	if (a.outcome == OUTCOME_CLOSED && !with_91)
		return kit_pass(k, "%s", a.seen);
	return kit_fail(k, "%s", a.seen);
}

static enum probe_verdict connects(struct kit *k)
{
	return granted(k, &(struct by_hand){SOCKS4_CONNECT, &k->p->target4, NULL, 0, NULL, 0, 0});
}

static enum probe_verdict user_id(struct kit *k)
{
	return granted(k, &(struct by_hand){SOCKS4_CONNECT, &k->p->target4, k->check->bytes,
			      k->check->n_bytes, NULL, 0, 0});
}

static enum probe_verdict user_id_longest(struct kit *k)
{
	char user[255];

	memset(user, 'u', sizeof(user));
	return granted(
	    k, &(struct by_hand){SOCKS4_CONNECT, &k->p->target4, user, sizeof(user), NULL, 0, 0});
}

static enum probe_verdict by_name(struct kit *k)
{
	const struct addr *name = &k->p->name;

	return granted(k, &(struct by_hand){SOCKS4_CONNECT, name, NULL, 0, name->name,
			      name->name_len, (uint8_t)k->check->arg});
}

static enum probe_verdict by_literal(struct kit *k)
{
	char text[IP_TEXT_MAX];

	ip_format(&k->p->target4.ip, text);
	return granted(
	    k, &(struct by_hand){SOCKS4_CONNECT, &k->p->target4, NULL, 0, text, strlen(text), 1});
}

/* The reply as bytes: a version that is 0, eight of them, and nothing more. */
static enum probe_verdict reply_bytes(struct kit *k)
{
	const struct by_hand r = {SOCKS4_CONNECT, &k->p->target4, NULL, 0, NULL, 0, 0};
	struct attempt a;

	if (!request(k, &r, &a))
		return kit_stuck(k);
	if (a.outcome != OUTCOME_YES)
		return kit_fail(k, "%s", a.seen);
	if (talk_want(k->t, 1, PROBE_QUIET) > 0)
		return kit_fail(k, "%s, and %zu bytes more", a.seen, talk_left(k->t));
	return kit_pass(k, "00 5a, 8 bytes");
}

static enum probe_verdict in_pieces(struct kit *k)
{
	uint8_t message[PROBE_MESSAGE];
	struct attempt a;
	size_t len;

	if (!ask_dial(k->p, k->t))
		return kit_stuck(k);
	len = ask_write_request4(message, SOCKS4_CONNECT, &k->p->target4);
	talk_send_pieces(k->t, message, len, k->check->arg, probe_ms(k->p));
	ask_read4(k->p, k->t, &a);
	return a.outcome == OUTCOME_YES ? kit_pass(k, "%s", a.seen) : kit_fail(k, "%s", a.seen);
}

static enum probe_verdict early(struct kit *k)
{
	uint8_t message[PROBE_MESSAGE];
	struct attempt a;
	size_t len;

	if (!ask_dial(k->p, k->t))
		return kit_stuck(k);
	len = ask_write_request4(message, SOCKS4_CONNECT, &k->p->target4);
	memcpy(message + len, "E\nearly", 7);
	kit_say(k, k->t, message, len + 7);
	ask_read4(k->p, k->t, &a);
	if (a.outcome != OUTCOME_YES)
		return kit_fail(k, "%s", a.seen);
	return talk_want(k->t, 5, probe_ms(k->p)) == 5
		   ? kit_pass(k, "they came back")
		   : kit_fail(k, "granted, and %zu of 5 bytes came back", talk_left(k->t));
}

static enum probe_verdict refused(struct kit *k)
{
	const struct by_hand r = {SOCKS4_CONNECT, &k->p->refusing, NULL, 0, NULL, 0, 0};

	if (!ip_is_v4(&k->p->refusing.ip))
		return kit_untested(k, "no port is known where nobody listens by IPv4");
	return rejected(k, &r, true);
}

/* Whoever gives no reply at all has failed F08 already. */
static enum probe_verdict refused_closes(struct kit *k)
{
	const struct by_hand r = {SOCKS4_CONNECT, &k->p->refusing, NULL, 0, NULL, 0, 0};
	struct attempt a;

	if (!ip_is_v4(&k->p->refusing.ip))
		return kit_untested(k, "no port is known where nobody listens by IPv4");
	if (!request(k, &r, &a))
		return kit_stuck(k);
	if (a.outcome != OUTCOME_NO && a.outcome != OUTCOME_CLOSED)
		return kit_fail(k, "%s", a.seen);
	return kit_ends(k, k->t) ? kit_pass(k, "%s, and closed", a.seen)
				 : kit_fail(k, "%s, and not closed", a.seen);
}

static enum probe_verdict command_unknown(struct kit *k)
{
	return rejected(k,
	    &(struct by_hand){(uint8_t)k->check->arg, &k->p->target4, NULL, 0, NULL, 0, 0}, true);
}

static enum probe_verdict port_zero(struct kit *k)
{
	struct addr to = k->p->target4;

	to.port = 0;
	return rejected(k, &(struct by_hand){SOCKS4_CONNECT, &to, NULL, 0, NULL, 0, 0}, false);
}

static enum probe_verdict unspecified(struct kit *k)
{
	static const uint8_t zero[4];
	struct ip ip = ip_from_v4(zero);
	struct addr to = addr_from_ip(&ip, k->p->target4.port);

	return rejected(k, &(struct by_hand){SOCKS4_CONNECT, &to, NULL, 0, NULL, 0, 0}, false);
}

static enum probe_verdict name_refused(struct kit *k)
{
	return rejected(k,
	    &(struct by_hand){
		SOCKS4_CONNECT, &k->p->target4, NULL, 0, k->check->bytes, k->check->n_bytes, 1},
	    k->check->arg != 0);
}

static enum probe_verdict name_longest(struct kit *k)
{
	char name[255];

	memset(name, 'a', sizeof(name));
	return rejected(k,
	    &(struct by_hand){SOCKS4_CONNECT, &k->p->target4, NULL, 0, name, sizeof(name), 1},
	    false);
}

/* A field that never ends: a user id, or (arg 1) a name. */
static enum probe_verdict endless(struct kit *k)
{
	const struct by_hand r = {SOCKS4_CONNECT, &k->p->target4, NULL, 0, "", 0, 1};
	uint8_t message[PROBE_MESSAGE], *letters = malloc(ENDLESS);
	struct talk_bulk b = {.out = letters, .out_len = ENDLESS, .in_len = SOCKS4_REPLY_SIZE};
	size_t len = write_by_hand(&r, message);

	if (!letters || !ask_dial(k->p, k->t)) {
		free(letters);
		return kit_stuck(k);
	}
	memset(letters, 'x', ENDLESS);
	/* Without the NUL of the name, or without both. */
	kit_say(k, k->t, message, len - (k->check->arg ? 1 : 2));
	talk_bulk(k->t, &b, 2 * probe_ms(k->p));
	free(letters);
	if (b.received == 0 && !kit_ends(k, k->t))
		return kit_fail(k, "%zu bytes later it still waits", b.sent);
	return kit_alive(k) ? kit_pass(k, "given up after at most %zu bytes", b.sent)
			    : kit_fail(k, "afterwards: %s", k->p->why);
}

/* ---- BIND ---- */

static bool connect_in(struct kit *k, uint16_t port, struct target_line *line)
{
	char arg[TARGET_PORT + 1];

	snprintf(arg, sizeof(arg), "%05u", port);
	if (!ask_open(k->p, &k->t[1], &k->p->target4, TARGET_CONNECT, arg) ||
	    !ask_line(k->p, &k->t[1], line))
		return false;
	if (line->failed)
		snprintf(k->p->why, sizeof(k->p->why), "it is refused");
	return !line->failed;
}

static enum probe_verdict bind_answered(struct kit *k)
{
	struct attempt a;

	ask4(k->p, k->t, SOCKS4_BIND, &k->p->target4, &a);
	return a.outcome == OUTCOME_YES || a.outcome == OUTCOME_NO ? kit_pass(k, "%s", a.seen)
								   : kit_fail(k, "%s", a.seen);
}

static enum probe_verdict bind_serves(struct kit *k)
{
	struct target_line line;
	struct attempt a;

	ask4(k->p, k->t, SOCKS4_BIND, &k->p->target4, &a);
	if (a.outcome != OUTCOME_YES || a.reply.bound.port == 0)
		return kit_fail(k, "%s, port %u", a.seen, a.reply.bound.port);
	if (!connect_in(k, a.reply.bound.port, &line))
		return kit_fail(k, "the target cannot connect: %.100s", k->p->why);
	ask_read4(k->p, k->t, &a);
	if (a.outcome != OUTCOME_YES)
		return kit_fail(k, "the second reply: %s", a.seen);
	return ask_ping(k->p, k->t, "by four") ? kit_pass(k, "granted twice, and bytes pass")
					       : kit_fail(k, "%s", k->p->why);
}

static enum probe_verdict bind_stranger(struct kit *k)
{
	struct addr to = kit_stranger(k);
	struct target_line line;
	struct attempt a;

	to.port = 80;
	ask4(k->p, k->t, SOCKS4_BIND, &to, &a);
	if (a.outcome != OUTCOME_YES)
		return kit_untested(k, "for somebody else: %s", a.seen);
	if (!connect_in(k, a.reply.bound.port, &line))
		return kit_untested(k, "the target cannot connect: %.100s", k->p->why);
	ask_read4(k->p, k->t, &a);
	if (a.outcome != OUTCOME_NO)
		return kit_fail(k, "%s", a.seen);
	return kit_ends(k, k->t) ? kit_pass(k, "%s, and closed", a.seen)
				 : kit_fail(k, "%s, and not closed", a.seen);
}

#define F4 NEED_SOCKS4

const struct check socks4_checks[] = {
    {"F01", LEVEL_REQUIRED, F4, "CONNECT to an IPv4 address.", "SOCKS4 memo: CONNECT",
	"90, and bytes pass", .run = connects},
    {"F02", LEVEL_REQUIRED, F4, "The reply is eight bytes, and the first is 00.",
	"SOCKS4 memo: CONNECT; case S8", "00 5a and six bytes", .run = reply_bytes},
    {"F03", LEVEL_REQUIRED, F4, "A request one byte at a time is understood.",
	"SOCKS4 memo: CONNECT; case T1", "90", .run = in_pieces, .arg = 1},
    {"F04", LEVEL_REQUIRED, F4, "A user id is let pass where nobody asks who it is.",
	"SOCKS4 memo: CONNECT", "90, and bytes pass", .run = user_id, BYTES("fred")},
    {"F05", LEVEL_RECOMMENDED, F4, "A user id may be of any bytes.", "case S15",
	"90, and bytes pass", .run = user_id, BYTES("\x80\xc3\xa4\xff")},
    {"F06", LEVEL_RECOMMENDED, F4, "A user id of 255 bytes is read.", "case S1",
	"90, and bytes pass", .run = user_id_longest},
    {"F07", LEVEL_RECOMMENDED, F4, "Bytes for the target behind the request reach it.", "case T2",
	"they come back from its echo", .run = early},
    {"F08", LEVEL_REQUIRED, F4 | NEED_REFUSING, "Where nobody listens the reply is 91.",
	"SOCKS4 memo: CONNECT", "91", .run = refused},
    {"F09", LEVEL_REQUIRED, F4 | NEED_REFUSING, "Behind a refusal the server closes.",
	"SOCKS4 memo: closes immediately", "closed", .run = refused_closes},
    {"F10", LEVEL_RECOMMENDED, F4, "Command 03 is rejected.", "case S7", "91",
	.run = command_unknown, .arg = 3},
    {"F11", LEVEL_RECOMMENDED, F4, "Command ff is rejected.", "case S7", "91",
	.run = command_unknown, .arg = 0xff},
    {"F12", LEVEL_RECOMMENDED, F4, "Port 0 is rejected.", "case S14", "rejected or closed",
	.run = port_zero},
    {"F13", LEVEL_RECOMMENDED, F4, "0.0.0.0 is no name and leads nowhere.", "case S2",
	"rejected or closed", .run = unspecified},
    {"F14", LEVEL_RECOMMENDED, F4, "A user id without end is not read for ever.", "case S1",
	"rejected or closed", .run = endless},
    {"F15", LEVEL_REQUIRED, F4 | NEED_SOCKS4A | NEED_NAME, "4A: CONNECT to a name.", "SOCKS4A memo",
	"90, and bytes pass", .run = by_name, .arg = 1},
    {"F16", LEVEL_REQUIRED, F4 | NEED_SOCKS4A | NEED_NAME,
	"4A: 0.0.0.255 says that a name follows, as does 0.0.0.1.", "SOCKS4A memo; case S3",
	"90, and bytes pass", .run = by_name, .arg = 255},
    {"F17", LEVEL_RECOMMENDED, F4 | NEED_SOCKS4A, "4A: an address sent as a name is one.",
	"case S5", "90, and bytes pass", .run = by_literal},
    {"F18", LEVEL_REQUIRED, F4 | NEED_SOCKS4A, "4A: a name that does not exist is rejected.",
	"SOCKS4A memo", "91", .run = name_refused, BYTES("no-such-host.invalid"), .arg = 1},
    {"F19", LEVEL_RECOMMENDED, F4 | NEED_SOCKS4A, "4A: a name of no bytes is rejected.", "case S4",
	"rejected or closed", .run = name_refused, BYTES("")},
    {"F20", LEVEL_RECOMMENDED, F4 | NEED_SOCKS4A, "4A: a name of 255 bytes is rejected in time.",
	"case R12", "rejected or closed", .run = name_longest},
    {"F21", LEVEL_RECOMMENDED, F4 | NEED_SOCKS4A, "4A: a name without end is not read for ever.",
	"case S1", "rejected or closed", .run = endless, .arg = 1},
    {"F22", LEVEL_REQUIRED, F4, "BIND is answered.", "SOCKS4 memo: BIND", "90 or 91 to 93",
	.run = bind_answered},
    {"F23", LEVEL_REQUIRED, F4 | NEED_BIND4,
	"BIND: a port, the peer connects, a second reply, and bytes pass.", "SOCKS4 memo: BIND",
	"90 twice, and an echo", .run = bind_serves},
    {"F24", LEVEL_REQUIRED, F4 | NEED_BIND4, "BIND: somebody else than the one named ends it.",
	"SOCKS4 memo: BIND; case S11", "91, and closed", .run = bind_stranger},
};
const unsigned n_socks4_checks = N_CHECKS_OF(socks4_checks);
