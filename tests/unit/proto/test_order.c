/* SPDX-License-Identifier: MIT */
/*
 * Every sequence of up to five messages, right proofs among them, for every set of methods that
 * asks for one: the machine asks for a connection only behind a proof that the caller found right,
 * and names whom that proof was for.
 *
 * Sequences are grown message by message from a copy of the machine, so each is played from its
 * first byte; one that the machine has ended is not made longer.
 */
#include "proto/accept.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include "proto/err.h"
#include "proto/gss.h"

#define LENGTH 5
#define INPUT_MAX 1024

struct message {
	const char *bytes;
	size_t len;
};

#define MESSAGE(text)                                                                              \
	{                                                                                          \
		(text), sizeof(text) - 1                                                           \
	}

static const struct message messages[] = {
    MESSAGE("\x05\x00"),
    MESSAGE("\x05\x01\x00"),
    MESSAGE("\x05\x01\x01"),
    MESSAGE("\x05\x01\x02"),
    MESSAGE("\x05\x04\x00\x01\x02\x80"),
    MESSAGE("\x05\x02\x80\x82"),
    MESSAGE("\x01\x05\x61lice\x06secret"),
    MESSAGE("\x01\x05\x61lice\x05wrong"),
    MESSAGE("\x01\x00\x00"),
    MESSAGE("\x05\x01\x00\x01\x7f\x00\x00\x01\x1b\x58"),
    MESSAGE("\x05\x03\x00\x01\x00\x00\x00\x00\x00\x00"),
    MESSAGE("\x04\x01\x1b\x58\x7f\x00\x00\x01\x61lice\x00"),
    MESSAGE("\x04\x01\x1b\x58\x7f\x00\x00\x01\x62ob\x00"),
    MESSAGE("CONNECT h:1 HTTP/1.1\r\nHost: h:1\r\n\r\n"),
    MESSAGE("CONNECT h:1 HTTP/1.1\r\nHost: h:1\r\n"
	    "Proxy-Authorization: Basic YWxpY2U6d3Jvbmc=\r\n\r\n"),
    MESSAGE("CONNECT h:1 HTTP/1.1\r\nHost: h:1\r\n"
	    "Proxy-Authorization: Basic YWxpY2U6c2VjcmV0\r\n\r\n"),
    MESSAGE("\x01\x01\x00\x04good"),
    MESSAGE("\x01\x01\x00\x04"
	    "evil"),
    MESSAGE("\x01\x01\x00\x04more"),
    MESSAGE("\x01\x02\x00\x01\x01"),
    MESSAGE("\x01\x02\x00\x05level"),
    MESSAGE("\x01\xff"),
};

#define N_MESSAGES (sizeof(messages) / sizeof(messages[0]))

/* A connection so far. */
struct play {
	struct accept accept;
	uint8_t in[INPUT_MAX];
	size_t len;
	enum auth_method proven; /* what the caller has found right; 0: nothing */
	bool level_agreed;
};

static unsigned long n_played, n_asked;

static bool is(const char *text, size_t len, const char *expected)
{
	return len == strlen(expected) && memcmp(text, expected, len) == 0;
}

static void answer_password(struct play *p, struct wire_writer *out)
{
	struct accept *a = &p->accept;
	bool ok = is(a->user, a->user_len, "alice") && is(a->password, a->password_len, "secret");

	p->proven = ok ? AUTH_PASSWORD : 0;
	accept_auth_result(a, ok, out);
}

static void answer_ident(struct play *p, struct wire_writer *out)
{
	bool ok = is(p->accept.claim, p->accept.claim_len, "alice");

	p->proven = ok ? AUTH_IDENT : 0;
	accept_ident_result(&p->accept, ok ? 0 : ERR_IDENT_MISMATCH, out);
}

static void answer_context(struct play *p, const uint8_t *token, struct wire_writer *out)
{
	struct accept_gss_answer answer = {.outcome = ACCEPT_GSS_FAILED, .token = "", .len = 0};

	if (is((const char *)token, p->accept.token_len, "more"))
		answer.outcome = ACCEPT_GSS_CONTINUE;
	if (is((const char *)token, p->accept.token_len, "good")) {
		answer.outcome = ACCEPT_GSS_DONE;
		answer.user = "alice";
		answer.user_len = 5;
		answer.confidential = true;
		p->proven = AUTH_GSSAPI;
	}
	accept_gss_context(&p->accept, &answer, out);
}

static void answer_level(struct play *p, const uint8_t *token, struct wire_writer *out)
{
	static const uint8_t confidential = GSS_LEVEL_CONFIDENTIAL;
	bool wrapped = is((const char *)token, p->accept.token_len, "level");
	int level;

	if (p->accept.gss_nec)
		level = accept_gss_level(&p->accept, token, p->accept.token_len, out);
	else if (wrapped)
		level = accept_gss_level(&p->accept, &confidential, 1, out);
	else
		level = accept_gss_level(&p->accept, NULL, 0, out);
	if (level < 0)
		return;
	p->level_agreed = true;
	accept_gss_answer_level(&p->accept, "answer", 6, out);
}

/* A connection is asked for. */
static void check_request(const struct play *p)
{
	const struct accept *a = &p->accept;

	n_asked++;
	assert_int_not_equal(p->proven, 0);
	assert_int_equal(a->method, p->proven);
	assert_true(is(a->user, a->user_len, "alice"));
	/* Outranks all that follows, and serves all protocols. */
	if (p->proven == AUTH_CERT)
		return;
	assert_true((a->methods & p->proven) != 0);
	assert_true(p->proven != AUTH_GSSAPI || p->level_agreed);
	assert_int_equal(a->proto == PROTO_SOCKS4, p->proven == AUTH_IDENT);
}

/* Returns whether it goes on. */
static bool step(struct play *p)
{
	uint8_t buf[2 * ACCEPT_OUTPUT_MAX];
	struct wire_writer out = wire_writer_of(buf, sizeof(buf));
	struct wire_reader in = wire_reader_of(p->in, p->len);
	enum accept_event event = accept_step(&p->accept, &in, &out);
	const uint8_t *token = p->in + in.pos - p->accept.token_len;
	bool more = true;

	switch (event) {
	case ACCEPT_AUTH:
		answer_password(p, &out);
		break;
	case ACCEPT_IDENT:
		answer_ident(p, &out);
		break;
	case ACCEPT_GSS_CONTEXT:
		answer_context(p, token, &out);
		break;
	case ACCEPT_GSS_LEVEL:
		answer_level(p, token, &out);
		break;
	case ACCEPT_TLS:
		/* What has come by then is not TLS, and so nothing. */
		in.pos = p->len;
		break;
	case ACCEPT_MORE:
	case ACCEPT_END:
		more = false;
		break;
	default:
		check_request(p);
		more = false;
		break;
	}
	p->len -= in.pos;
	memmove(p->in, p->in + in.pos, p->len);
	return more;
}

static void grow(const struct play *known, unsigned length)
{
	for (size_t i = 0; i < N_MESSAGES; i++) {
		struct play p = *known;

		memcpy(p.in + p.len, messages[i].bytes, messages[i].len);
		p.len += messages[i].len;
		n_played++;
		while (step(&p))
			;
		if (length < LENGTH && p.accept.state != ACCEPT_AT_END &&
		    p.accept.state != ACCEPT_WAITS_REPLY)
			grow(&p, length + 1);
	}
}

static void play_from(struct play *p, unsigned methods)
{
	n_played = n_asked = 0;
	grow(p, 1);
	print_message("# methods %u: %lu sequences, %lu asked for a connection\n", methods,
	    n_played, n_asked);
}

static void play_all(unsigned methods, unsigned levels, bool nec)
{
	struct play p = {.len = 0};

	accept_init(&p.accept, methods);
	accept_offer_gss(&p.accept, levels, nec);
	play_from(&p, methods);
}

static void no_way_past(void **state)
{
	static const unsigned methods[] = {AUTH_PASSWORD, AUTH_GSSAPI, AUTH_PASSWORD | AUTH_GSSAPI,
	    AUTH_IDENT, AUTH_IDENT | AUTH_PASSWORD};
	unsigned rfc = GSS_LEVEL_BIT(GSS_LEVEL_INTEGRITY) | GSS_LEVEL_BIT(GSS_LEVEL_CONFIDENTIAL);

	(void)state;
	for (size_t i = 0; i < sizeof(methods) / sizeof(methods[0]); i++) {
		play_all(methods[i], rfc, false);
		assert_true(n_asked > 0);
		play_all(methods[i], rfc | GSS_LEVEL_BIT(GSS_LEVEL_CLEAR), true);
		assert_true(n_asked > 0);
	}
}

static void no_way_past_with_tls(void **state)
{
	static const unsigned methods[] = {
	    AUTH_PASSWORD, AUTH_PASSWORD | AUTH_GSSAPI, AUTH_IDENT | AUTH_PASSWORD};

	(void)state;
	for (size_t i = 0; i < sizeof(methods) / sizeof(methods[0]); i++) {
		struct play p = {.len = 0};

		accept_init(&p.accept, methods[i]);
		accept_offer_gss(&p.accept, GSS_LEVEL_BIT(GSS_LEVEL_CONFIDENTIAL), false);
		accept_offer_tls(&p.accept);
		play_from(&p, methods[i]);
		assert_true(n_asked > 0);
	}
}

/* Nobody becomes another, or nobody, by what he says behind a certificate. */
static void a_certificate_stays(void **state)
{
	struct play p = {.proven = AUTH_CERT};

	(void)state;
	accept_init(&p.accept, AUTH_CERT);
	accept_prove(&p.accept, AUTH_CERT, "alice", 5);
	play_from(&p, AUTH_CERT);
	assert_true(n_asked > 0);
}

static void nothing_offered(void **state)
{
	(void)state;
	play_all(0, 0, false);
	assert_int_equal(n_asked, 0);
	/* Of one that asks for a certificate, before there is one. */
	play_all(AUTH_CERT, 0, false);
	assert_int_equal(n_asked, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(no_way_past),
	    cmocka_unit_test(no_way_past_with_tls),
	    cmocka_unit_test(a_certificate_stays),
	    cmocka_unit_test(nothing_offered),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
