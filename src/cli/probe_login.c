/* SPDX-License-Identifier: MIT */
/* Checks of tabi probe: user name and password, RFC 1929. No more guesses than a server that bounds
 * them would let a person make. */
#include <stdio.h>
#include <string.h>

#include "cli/probe_kit.h"
#include "proto/userpass.h"

#define NO_STATUS (-1)

/* A login with these; version 1 unless `version` says otherwise. Returns the length. */
static size_t write_login(uint8_t version, const void *user, size_t user_len, const void *password,
    size_t password_len, uint8_t *buf)
{
	buf[0] = version;
	buf[1] = (uint8_t)user_len;
	memcpy(buf + 2, user, user_len);
	buf[2 + user_len] = (uint8_t)password_len;
	memcpy(buf + 3 + user_len, password, password_len);
	return 3 + user_len + password_len;
}

/* Up to the choice of passwords. */
static bool greeted(struct kit *k)
{
	if (!ask_dial(k->p, k->t))
		return false;
	kit_say(k, k->t, "\5\1\2", 3);
	return ask_read_choice(k->p, k->t) == SOCKS5_METHOD_PASSWORD;
}

static int read_status(struct kit *k)
{
	if (talk_want(k->t, 2, probe_ms(k->p)) < 2)
		return NO_STATUS;
	return talk_take(k->t, 2)[1];
}

/* Sends it; returns the status. */
static int try_login(struct kit *k, uint8_t *message, size_t len)
{
	kit_say(k, k->t, message, len);
	explicit_bzero(message, len);
	return read_status(k);
}

static enum probe_verdict right(struct kit *k)
{
	uint8_t message[PROBE_MESSAGE];
	const uint8_t *answer;

	if (!greeted(k))
		return kit_stuck(k);
	kit_say(k, k->t, message, ask_write_login(k->p, message));
	explicit_bzero(message, sizeof(message));
	if (talk_want(k->t, 2, probe_ms(k->p)) < 2)
		return kit_fail(k, "no answer of two bytes");
	answer = talk_take(k->t, 2);
	if (answer[0] != USERPASS_VERSION || answer[1] != USERPASS_OK)
		return kit_fail(k, "%02x %02x", answer[0], answer[1]);
	if (talk_want(k->t, 1, PROBE_QUIET) > 0)
		return kit_fail(k, "01 00 and %zu bytes more", talk_left(k->t));
	return kit_pass(k, "01 00");
}

/* Refused, by a status or the end; a status where the row says so (arg 1), and then the end too
 * (2). */
static enum probe_verdict judge_refusal(struct kit *k, int status)
{
	if (status == USERPASS_OK)
		return kit_fail(k, "01 00: accepted");
	if (status == NO_STATUS) {
		if (k->t->end == TALK_OPEN)
			return kit_fail(k, "no answer, and not closed");
		return k->check->arg == 0 ? kit_pass(k, "closed")
					  : kit_fail(k, "closed without a status");
	}
	if (k->check->arg == 2 && !kit_ends(k, k->t))
		return kit_fail(k, "01 %02x, and not closed", (unsigned)status);
	return kit_pass(k, "01 %02x%s", (unsigned)status, k->check->arg == 2 ? ", and closed" : "");
}

/* The password, with something done to it. */
enum twist {
	TWIST_NONE,
	TWIST_OTHER,
	TWIST_LONGER, /* a NUL and a letter behind it */
	TWIST_SHORTER,
	TWIST_USER, /* another user with the right password */
	TWIST_VERSION,
	TWIST_EMPTY,
	TWIST_LONGEST,
};

static size_t write_twisted(struct kit *k, enum twist twist, uint8_t *buf)
{
	const struct url *u = &k->p->o->proxy;
	uint8_t user[256], password[257];
	size_t user_len = u->user_len, password_len = u->password_len;
	uint8_t version = twist == TWIST_VERSION ? SOCKS5_VERSION : USERPASS_VERSION;

	memset(user, 'u', sizeof(user));
	memset(password, 'p', sizeof(password));
	if (twist == TWIST_EMPTY)
		user_len = password_len = 0;
	else if (twist == TWIST_LONGEST)
		user_len = password_len = 255;
	else
		memcpy(password, u->password, password_len);
	if (twist != TWIST_LONGEST)
		memcpy(user, u->user, user_len);
	if (twist == TWIST_OTHER)
		password[0] ^= 1;
	if (twist == TWIST_USER)
		user[0] ^= 1;
	if (twist == TWIST_SHORTER && password_len > 0)
		password_len--;
	if (twist == TWIST_LONGER && password_len < 254) {
		password[password_len++] = '\0';
		password[password_len++] = 'x';
	}
	user_len = write_login(version, user, user_len, password, password_len, buf);
	explicit_bzero(password, sizeof(password));
	return user_len;
}

static enum probe_verdict wrong(struct kit *k, enum twist twist)
{
	uint8_t message[PROBE_MESSAGE];
	int status;

	if (!greeted(k))
		return kit_stuck(k);
	status = try_login(k, message, write_twisted(k, twist, message));
	return judge_refusal(k, status);
}

static enum probe_verdict wrong_password(struct kit *k)
{
	return wrong(k, TWIST_OTHER);
}

static enum probe_verdict wrong_user(struct kit *k)
{
	return wrong(k, TWIST_USER);
}

static enum probe_verdict longer(struct kit *k)
{
	return wrong(k, TWIST_LONGER);
}

static enum probe_verdict shorter(struct kit *k)
{
	return wrong(k, TWIST_SHORTER);
}

static enum probe_verdict other_version(struct kit *k)
{
	return wrong(k, TWIST_VERSION);
}

static enum probe_verdict longest(struct kit *k)
{
	return wrong(k, TWIST_LONGEST);
}

static enum probe_verdict empty(struct kit *k)
{
	enum probe_verdict v = wrong(k, TWIST_EMPTY);

	if (v != VERDICT_PASS)
		return v;
	return kit_alive(k) ? v : kit_fail(k, "afterwards: %s", k->p->why);
}

/* A request goes out behind something that must not let it in; did it reach the target? */
static enum probe_verdict reached(struct kit *k, const char *token, const char *how)
{
	struct target_line line;

	talk_await_end(k->t, PROBE_QUIET);
	if (!kit_query(k, token, false, &line))
		return kit_stuck(k);
	return line.peer.kind == ADDR_NONE ? kit_pass(k, "%s: the target was not reached", how)
					   : kit_fail(k, "%s: the target was reached", how);
}

static void say_request(struct kit *k, const char *token)
{
	uint8_t message[PROBE_MESSAGE];
	size_t len = ask_write_request(message, SOCKS5_CONNECT, &k->p->main);

	memcpy(message + len, "N\n", 2);
	memcpy(message + len + 2, token, TARGET_TOKEN);
	kit_say(k, k->t, message, len + 2 + TARGET_TOKEN);
}

static enum probe_verdict pipelined_behind_wrong(struct kit *k)
{
	uint8_t message[2 * PROBE_MESSAGE];
	char token[TARGET_TOKEN + 1];
	size_t len, n;

	if (!greeted(k))
		return kit_stuck(k);
	kit_token(k, token);
	len = write_twisted(k, TWIST_OTHER, message);
	n = ask_write_request(message + len, SOCKS5_CONNECT, &k->p->main);
	memcpy(message + len + n, "N\n", 2);
	memcpy(message + len + n + 2, token, TARGET_TOKEN);
	kit_say(k, k->t, message, len + n + 2 + TARGET_TOKEN);
	explicit_bzero(message, sizeof(message));
	return reached(k, token, "a request behind a wrong password");
}

static enum probe_verdict skipped(struct kit *k)
{
	char token[TARGET_TOKEN + 1];

	if (!greeted(k))
		return kit_stuck(k);
	say_request(k, kit_token(k, token));
	return reached(k, token, "a request in the place of the login");
}

/* The right password behind a wrong one, on the same connection. */
static enum probe_verdict second_try(struct kit *k)
{
	uint8_t message[PROBE_MESSAGE];
	int status;

	if (!greeted(k))
		return kit_stuck(k);
	try_login(k, message, write_twisted(k, TWIST_OTHER, message));
	status = try_login(k, message, ask_write_login(k->p, message));
	return status == USERPASS_OK ? kit_fail(k, "01 00: accepted at the second try")
				     : kit_pass(k, "it is not looked at");
}

static enum probe_verdict still_good(struct kit *k)
{
	return ask_hello(k->p, k->t) ? kit_pass(k, "01 00") : kit_fail(k, "%s", k->p->why);
}

/* SOCKS4 knows no password. */
static enum probe_verdict socks4_around(struct kit *k)
{
	struct attempt a;

	ask4(k->p, k->t, SOCKS5_CONNECT, &k->p->target4, &a);
	if (a.outcome == OUTCOME_YES)
		return kit_fail(k, "%s", a.seen);
	return kit_pass(k, "%s", a.seen);
}

const struct check login_checks[] = {
    {"A01", LEVEL_REQUIRED, NEED_LOGIN, "The right password is answered with 01 00.",
	"RFC 1929 section 2", "01 00, and nothing more", .run = right},
    {"A02", LEVEL_REQUIRED, NEED_LOGIN, "A wrong password is refused by a status.",
	"RFC 1929 section 2; case N11", "01 and no 00", .run = wrong_password, .arg = 1},
    {"A03", LEVEL_REQUIRED, NEED_LOGIN, "Behind a wrong password the server closes.",
	"RFC 1929 section 2: MUST; case N11", "01 and no 00, then closed", .run = wrong_password,
	.arg = 2},
    {"A04", LEVEL_REQUIRED, NEED_LOGIN, "An unknown user is refused by a status.",
	"RFC 1929 section 2; case N11", "01 and no 00, then closed", .run = wrong_user, .arg = 2},
    {"A05", LEVEL_REQUIRED, NEED_LOGIN | NEED_CONNECT,
	"A request behind a wrong password is not served.", "RFC 1929 section 2; case N12",
	"the target is not reached", .run = pipelined_behind_wrong},
    {"A06", LEVEL_REQUIRED, NEED_LOGIN | NEED_CONNECT,
	"Whoever leaves the login out is not served.", "RFC 1929 section 2; case N12",
	"the target is not reached", .run = skipped},
    {"A07", LEVEL_REQUIRED, NEED_LOGIN,
	"The right password behind a wrong one, on the same connection, does not count.",
	"RFC 1929 section 2: MUST close", "no 01 00", .run = second_try},
    {"A08", LEVEL_REQUIRED, NEED_LOGIN, "A name and a password of 255 bytes are read.",
	"RFC 1929 section 2 (1 to 255); case N10", "01 and no 00", .run = longest, .arg = 1},
    {"A09", LEVEL_RECOMMENDED, NEED_LOGIN, "An empty name and password are refused.",
	"RFC 1929 section 2 (1 to 255); case N9", "a status or closed, and others are served",
	.run = empty},
    {"A10", LEVEL_RECOMMENDED, NEED_LOGIN, "The password and more behind a NUL is another.",
	"case N13", "refused", .run = longer},
    {"A11", LEVEL_RECOMMENDED, NEED_LOGIN, "The password without its last letter is another.",
	"case N13", "refused", .run = shorter},
    {"A12", LEVEL_RECOMMENDED, NEED_LOGIN, "A login of version 5 is refused.", "case N8",
	"a status or closed", .run = other_version},
    {"A13", LEVEL_RECOMMENDED, NEED_GREETING | NEED_CLOSED,
	"SOCKS4, which has no passwords, is no way around them.", "case N3", "refused or closed",
	.run = socks4_around},
    {"A14", LEVEL_RECOMMENDED, NEED_LOGIN, "After all these guesses the right password is good.",
	"case N20", "01 00", .run = still_good},
};
const unsigned n_login_checks = N_CHECKS_OF(login_checks);

static enum probe_verdict serves_still(struct kit *k)
{
	return ask_open(k->p, k->t, &k->p->main, 'E', "") && ask_ping(k->p, k->t, "still")
		   ? kit_pass(k, "granted, and bytes pass")
		   : kit_fail(k, "%s", k->p->why);
}

/* Garbage that begins like SOCKS, the same in every run. */
static enum probe_verdict garbage(struct kit *k)
{
	uint32_t seed = 1;
	uint8_t bytes[64];

	for (unsigned i = 0; i < 300; i++) {
		for (size_t at = 0; at < sizeof(bytes); at++) {
			seed = seed * 1664525 + 1013904223;
			bytes[at] = (uint8_t)(seed >> 24);
		}
		bytes[0] = i % 3 == 0 ? 4 : 5;
		bytes[1] = i % 2 == 0 ? 1 : bytes[1];
		if (i % 4 == 1)
			memcpy(bytes, "\5\1\0\5\1\0", 6);
		if (!ask_dial(k->p, k->t))
			return kit_fail(k, "after %u of them: %s", i, k->p->why);
		talk_send(k->t, bytes, 1 + seed % sizeof(bytes), probe_ms(k->p));
		talk_close(k->t);
	}
	return kit_alive(k) ? kit_pass(k, "it serves after 300 of them")
			    : kit_fail(k, "%s", k->p->why);
}

const struct check last_checks[] = {
    {"X01", LEVEL_RECOMMENDED, NEED_V5, "Garbage in 300 connections does no harm.",
	"reliability: hostile handshakes", "others are greeted afterwards", .run = garbage},
    {"X02", LEVEL_REQUIRED, NEED_REACHED, "After all these checks the proxy serves.",
	"RFC 1928 section 4", "granted, and bytes pass", .run = serves_still},
};
const unsigned n_last_checks = N_CHECKS_OF(last_checks);
