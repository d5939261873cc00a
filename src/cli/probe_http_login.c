/* SPDX-License-Identifier: MIT */
/* Checks of tabi probe: Basic authentication with a proxy, RFC 9110 section 11.7 and RFC 7617. No
 * more guesses than a server that bounds them would let a person make. */
#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include "cli/probe_http.h"
#include "proto/http.h"

/* The password, with something done to it. */
enum twist { TWIST_NONE, TWIST_OTHER, TWIST_LONGER, TWIST_SHORTER, TWIST_LONGEST };

/* CONNECT with such a password. Returns the length. */
static size_t write_twisted(struct kit *k, enum twist twist, uint8_t *buf)
{
	const struct url *u = &k->p->o->proxy;
	uint8_t user[255], password[257];
	struct userpass login = {u->user_len, u->password_len, user, password};
	struct wire_writer w = wire_writer_of(buf, PROBE_HTTP);

	memset(user, 'u', sizeof(user));
	memset(password, 'p', sizeof(password));
	if (twist == TWIST_LONGEST) {
		login.user_len = login.password_len = 255;
	} else {
		memcpy(user, u->user, u->user_len);
		memcpy(password, u->password, u->password_len);
	}
	if (twist == TWIST_OTHER)
		password[0] ^= 1;
	if (twist == TWIST_SHORTER && login.password_len > 0)
		login.password_len--;
	if (twist == TWIST_LONGER && login.password_len < 254) {
		password[login.password_len++] = '\0';
		password[login.password_len++] = 'x';
	}
	http_write_connect(&w, &k->p->main, &login);
	explicit_bzero(password, sizeof(password));
	return w.len;
}

/* Dials and asks so; false where there is no connection. */
static bool ask_twisted(struct kit *k, enum twist twist, struct attempt *ret)
{
	uint8_t request[PROBE_HTTP];

	if (!ask_dial(k->p, k->t))
		return false;
	kit_say(k, k->t, request, write_twisted(k, twist, request));
	explicit_bzero(request, sizeof(request));
	ask_read_http(k->p, k->t, ret);
	return true;
}

static enum probe_verdict wrong(struct kit *k, enum twist twist)
{
	struct attempt a;

	if (!ask_twisted(k, twist, &a))
		return kit_stuck(k);
	return http_judge(k, (enum http_want)k->check->arg, &a);
}

static enum probe_verdict other(struct kit *k)
{
	return wrong(k, TWIST_OTHER);
}

static enum probe_verdict longer(struct kit *k)
{
	return wrong(k, TWIST_LONGER);
}

static enum probe_verdict shorter(struct kit *k)
{
	return wrong(k, TWIST_SHORTER);
}

static enum probe_verdict longest(struct kit *k)
{
	return wrong(k, TWIST_LONGEST);
}

static enum probe_verdict challenge(struct kit *k)
{
	struct attempt a;

	if (!http_say(k, k->check->bytes, k->check->n_bytes, &a))
		return kit_stuck(k);
	if (a.outcome != OUTCOME_NO || a.head.status != 407)
		return kit_fail(k, "%s", a.seen);
	return a.head.challenge ? kit_pass(k, "%s, with Proxy-Authenticate", a.seen)
				: kit_fail(k, "%s, without Proxy-Authenticate", a.seen);
}

/* The scheme's name in other letters: bASIC. */
static enum probe_verdict scheme_letters(struct kit *k)
{
	uint8_t request[PROBE_HTTP], *scheme;
	size_t len = write_twisted(k, TWIST_NONE, request);
	struct attempt a;

	if (!ask_dial(k->p, k->t))
		return kit_stuck(k);
	scheme = memmem(request, len, "Basic ", 6);
	for (size_t i = 0; scheme && i < 5; i++)
		scheme[i] = (uint8_t)(i == 0 ? tolower(scheme[i]) : toupper(scheme[i]));
	kit_say(k, k->t, request, len);
	explicit_bzero(request, sizeof(request));
	ask_read_http(k->p, k->t, &a);
	return http_judge(k, HTTP_ECHOES, &a);
}

/* Bytes behind a request that is refused must not reach anybody. */
static enum probe_verdict behind_wrong(struct kit *k)
{
	uint8_t request[PROBE_HTTP + 2 + TARGET_TOKEN];
	char token[TARGET_TOKEN + 1];
	struct target_line line;
	size_t len;

	if (!ask_dial(k->p, k->t))
		return kit_stuck(k);
	len = write_twisted(k, TWIST_OTHER, request);
	memcpy(request + len, "N\n", 2);
	memcpy(request + len + 2, kit_token(k, token), TARGET_TOKEN);
	kit_say(k, k->t, request, len + 2 + TARGET_TOKEN);
	explicit_bzero(request, sizeof(request));
	talk_await_end(k->t, PROBE_QUIET);
	if (!kit_query(k, token, false, &line))
		return kit_stuck(k);
	return line.peer.kind == ADDR_NONE ? kit_pass(k, "the target was not reached")
					   : kit_fail(k, "the target was reached");
}

/* As clients do it that ask first whether they have to. */
static enum probe_verdict second_try(struct kit *k)
{
	uint8_t request[PROBE_HTTP];
	struct attempt a;

	if (!http_say(k, k->check->bytes, k->check->n_bytes, &a))
		return kit_stuck(k);
	if (a.outcome != OUTCOME_NO)
		return kit_fail(k, "%s", a.seen);
	if (!a.head.stays)
		return kit_pass(k, "%s, which says that the connection ends", a.seen);
	if (!ask_skip_body(k->p, k->t, &a.head))
		return kit_fail(k, "%s, and no next request can be made", a.seen);
	kit_say(k, k->t, request, write_twisted(k, TWIST_NONE, request));
	explicit_bzero(request, sizeof(request));
	ask_read_http(k->p, k->t, &a);
	return http_judge(k, HTTP_ECHOES, &a);
}

static enum probe_verdict still_good(struct kit *k)
{
	struct attempt a;

	ask_http(k->p, k->t, &k->p->main, &a);
	return http_judge(k, HTTP_ECHOES, &a);
}

#define HL (NEED_HTTP | NEED_HTTP_LOGIN)
#define FIELDS(fields) BYTES("CONNECT %h HTTP/1.1\r\nHost: %h\r\n" fields "\r\n")

const struct check http_login_checks[] = {
    {"H60", LEVEL_REQUIRED, HL, "Whoever shows nothing is told what to show.",
	"RFC 9110 section 15.5.8: MUST; case H6", "407 with Proxy-Authenticate", .run = challenge,
	FIELDS("")},
    {"H61", LEVEL_REQUIRED, HL, "A wrong password is refused.", "RFC 9110 section 15.5.8", "4xx",
	.run = other, .arg = HTTP_CLIENT_ERROR},
    {"H62", LEVEL_REQUIRED, HL, "Bytes behind a wrong password reach nobody.",
	"RFC 9110 section 9.3.6; case N12", "the target is not reached", .run = behind_wrong},
    {"H63", LEVEL_REQUIRED, HL, "The scheme may be written in any letters.",
	"RFC 9110 section 11.1", "2xx, and bytes pass", .run = scheme_letters},
    {"H64", LEVEL_RECOMMENDED, HL,
	"The password is taken behind a 407 on the same connection, or that says close.",
	"RFC 9112 section 9.3; case H6", "2xx and bytes pass, or close", .run = second_try,
	FIELDS("")},
    {"H65", LEVEL_RECOMMENDED, HL, "The password and more behind a NUL is another.", "case N13",
	"4xx, or closed", .run = longer, .arg = HTTP_REFUSED},
    {"H66", LEVEL_RECOMMENDED, HL, "The password without its last letter is another.", "case N13",
	"4xx, or closed", .run = shorter, .arg = HTTP_REFUSED},
    {"H67", LEVEL_RECOMMENDED, HL, "What is no base64 is refused.", "protocol 10.3", "4xx",
	.run = http_row, FIELDS("Proxy-Authorization: Basic !!!!\r\n"), .arg = HTTP_CLIENT_ERROR},
    {"H68", LEVEL_RECOMMENDED, HL, "A name and a password of 255 bytes are read, and refused.",
	"RFC 7617 section 2", "4xx", .run = longest, .arg = HTTP_CLIENT_ERROR},
    {"H69", LEVEL_RECOMMENDED, HL, "Credentials of another scheme are refused.",
	"RFC 9110 section 15.5.8", "4xx", .run = http_row,
	FIELDS("Proxy-Authorization: Bearer abc\r\n"), .arg = HTTP_CLIENT_ERROR},
    {"H70", LEVEL_RECOMMENDED, HL, "After all these guesses the right password is good.",
	"case N20", "2xx, and bytes pass", .run = still_good},
};
const unsigned n_http_login_checks = N_CHECKS_OF(http_login_checks);
