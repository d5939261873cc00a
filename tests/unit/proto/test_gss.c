/* SPDX-License-Identifier: MIT */
/* The frames of GSS-API at their bounds; the rest is in tests/vectors/gss.txt. */
#include "proto/gss.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "proto/accept.h"
#include "proto/connect.h"
#include "proto/err.h"

static uint8_t frame[GSS_FRAME_MAX + 1], answer[GSS_FRAME_MAX + ACCEPT_OUTPUT_MAX];

/* A frame of `len` bytes in `frame`. */
static void make_frame(enum gss_frame_type type, size_t len)
{
	memset(frame, 't', sizeof(frame));
	gss_frame_header(frame, type, (uint16_t)len);
}

static void longest_frame(void **state)
{
	struct wire_reader in;
	struct wire_writer out = wire_writer_of(answer, sizeof(answer));
	struct gss_frame f;

	(void)state;
	make_frame(GSS_FRAME_DATA, GSS_TOKEN_MAX);
	for (size_t n = 0; n < GSS_FRAME_MAX; n++) {
		in = wire_reader_of(frame, n);
		assert_int_equal(gss_frame_read(&in, GSS_FRAME_DATA, &f), WIRE_MORE);
		assert_int_equal(in.pos, 0);
	}
	in = wire_reader_of(frame, sizeof(frame));
	assert_int_equal(gss_frame_read(&in, GSS_FRAME_DATA, &f), WIRE_DONE);
	assert_int_equal(in.pos, GSS_FRAME_MAX);
	assert_int_equal(f.len, GSS_TOKEN_MAX);
	gss_frame_write(&out, GSS_FRAME_DATA, f.token, f.len);
	assert_int_equal(out.len, GSS_FRAME_MAX);
	assert_memory_equal(out.data, frame, GSS_FRAME_MAX);
}

static void too_long_is_not_written(void **state)
{
	struct wire_writer out = wire_writer_of(answer, sizeof(answer));

	(void)state;
	gss_frame_write(&out, GSS_FRAME_DATA, frame, GSS_TOKEN_MAX + 1);
	assert_true(out.failed);
	assert_int_equal(out.len, 0);
	out = wire_writer_of(answer, GSS_FRAME_HEADER + 9);
	gss_frame_write(&out, GSS_FRAME_DATA, frame, 10);
	assert_true(out.failed);
	assert_int_equal(out.len, 0);
}

static void a_datagram_is_one_frame(void **state)
{
	struct gss_frame f;

	(void)state;
	make_frame(GSS_FRAME_DATA, 10);
	assert_int_equal(gss_frame_read_datagram(frame, 14, &f), 0);
	assert_int_equal(f.len, 10);
	assert_int_equal(gss_frame_read_datagram(frame, 13, &f), ERR_MALFORMED);
	assert_int_equal(gss_frame_read_datagram(frame, 15, &f), ERR_MALFORMED);
	assert_int_equal(gss_frame_read_datagram(frame, 0, &f), ERR_MALFORMED);
	make_frame(GSS_FRAME_CONTEXT, 10);
	assert_int_equal(gss_frame_read_datagram(frame, 14, &f), ERR_MALFORMED);
	make_frame(GSS_FRAME_DATA, 0);
	assert_int_equal(gss_frame_read_datagram(frame, 4, &f), ERR_MALFORMED);
	assert_int_equal(gss_frame_read_datagram("\x01\xff", 2, &f), ERR_MALFORMED);
}

/* Shows the machine the first `n` bytes of `frame`; what it consumes must be all or nothing. */
static enum accept_event show(struct accept *a, size_t n, struct wire_writer *out)
{
	struct wire_reader in = wire_reader_of(frame, n);
	enum accept_event event = accept_step(a, &in, out);

	assert_int_equal(in.pos, event == ACCEPT_GSS_CONTEXT ? n : 0);
	return event;
}

static void begin(struct accept *a)
{
	struct wire_writer out = wire_writer_of(answer, sizeof(answer));
	struct wire_reader in = wire_reader_of("\x05\x01\x01", 3);

	accept_init(a, AUTH_GSSAPI);
	accept_offer_gss(a, GSS_LEVEL_BIT(GSS_LEVEL_INTEGRITY), false);
	assert_int_equal(accept_input_max(a), ACCEPT_INPUT_MAX);
	assert_int_equal(accept_step(a, &in, &out), ACCEPT_MORE);
	assert_int_equal(accept_input_max(a), GSS_FRAME_MAX);
}

/* G3. The answer may be as long. */
static void longest_token(void **state)
{
	const struct accept_gss_answer more = {
	    .outcome = ACCEPT_GSS_CONTINUE, .token = frame, .len = GSS_TOKEN_MAX};
	struct wire_writer out = wire_writer_of(answer, sizeof(answer));
	struct accept a;

	(void)state;
	begin(&a);
	make_frame(GSS_FRAME_CONTEXT, GSS_TOKEN_MAX);
	for (size_t n = 0; n < GSS_FRAME_MAX; n += n < 8 ? 1 : 1021)
		assert_int_equal(show(&a, n, &out), ACCEPT_MORE);
	assert_int_equal(show(&a, GSS_FRAME_MAX, &out), ACCEPT_GSS_CONTEXT);
	assert_int_equal(a.token_len, GSS_TOKEN_MAX);
	accept_gss_context(&a, &more, &out);
	assert_false(out.failed);
	assert_int_equal(out.len, GSS_FRAME_MAX);
}

/* What a stranger may send is told by the header of what is too much, whole or not. */
static void more_than_256_kib(void **state)
{
	const struct accept_gss_answer more = {.outcome = ACCEPT_GSS_CONTINUE};
	struct accept a;

	(void)state;
	for (size_t last = 4; last <= 5; last++) {
		struct wire_writer out = wire_writer_of(answer, sizeof(answer));

		begin(&a);
		for (int i = 0; i < 4; i++) {
			make_frame(GSS_FRAME_CONTEXT, GSS_TOKEN_MAX);
			assert_int_equal(show(&a, GSS_FRAME_MAX, &out), ACCEPT_GSS_CONTEXT);
			accept_gss_context(&a, &more, &out);
		}
		/* Four bytes are left. */
		make_frame(GSS_FRAME_CONTEXT, last);
		out.len = 0;
		assert_int_equal(show(&a, 4, &out), last == 4 ? ACCEPT_MORE : ACCEPT_END);
		if (last == 4)
			continue;
		assert_int_equal(a.err, ERR_TOO_LONG);
		assert_int_equal(out.len, 2);
		assert_memory_equal(out.data, "\x01\xff", 2);
	}
}

/* ---- the client ---- */

/* What a proxy says, byte by byte, and what of it the client wants at most. */
struct proxied {
	struct url hop;
	struct connect c;
	enum connect_event event;
	size_t at, seen; /* bytes consumed, and shown */
	char said[200];
	size_t n_said;
};

static void connect_begin(struct proxied *p, enum gss_level level, bool nec)
{
	const char *why, *url = "socks5h://127.0.0.1:1080", *to = "example.org:80";
	struct addr target;

	memset(p, 0, sizeof(*p));
	assert_int_equal(url_parse_chain(url, strlen(url), &p->hop, 1, &why, NULL), 1);
	assert_int_equal(addr_parse(to, strlen(to), &target), 0);
	connect_init(&p->c, &p->hop, 1, COMMAND_CONNECT, &target);
	connect_use_gss(&p->c, level, nec);
}

static void note_said(struct proxied *p, const struct wire_writer *out)
{
	assert_false(out->failed);
	assert_in_range(p->n_said + out->len, 0, sizeof(p->said));
	memcpy(p->said + p->n_said, out->data, out->len);
	p->n_said += out->len;
}

/* Up to where the caller is asked for something, or nothing is left. */
static void connect_feed(struct proxied *p, const char *bytes, size_t n, bool whole)
{
	do {
		struct wire_writer out = wire_writer_of(answer, sizeof(answer));
		struct wire_reader in;

		if (whole)
			p->seen = n;
		in = wire_reader_of(bytes + p->at, p->seen - p->at);
		p->event = connect_step(&p->c, &in, &out);
		p->at += in.pos;
		note_said(p, &out);
		if (p->event == CONNECT_MORE)
			assert_in_range(p->c.want, 1, n > p->seen ? n - p->seen : SIZE_MAX);
	} while (p->event == CONNECT_MORE && p->seen++ < n);
}

static void say_token(struct proxied *p, bool complete, const char *ours)
{
	struct wire_writer out = wire_writer_of(answer, sizeof(answer));

	assert_int_equal(p->event, CONNECT_GSS_CONTEXT);
	connect_gss_context(&p->c, complete, ours, strlen(ours), &out);
	note_said(p, &out);
}

static void say_level(struct proxied *p, const char *token, size_t len)
{
	struct wire_writer out = wire_writer_of(answer, sizeof(answer));

	assert_int_equal(p->event, CONNECT_GSS_LEVEL);
	connect_gss_level(&p->c, token, len, &out);
	note_said(p, &out);
}

static void client_logs_in(void **state)
{
	static const char bytes[] = "\x05\x01"
				    "\x01\x01\x00\x02xy"
				    "\x01\x02\x00\x03wl2"
				    "\x05\x00\x00\x01\x7f\x00\x00\x01\x04\x38rest";
	static const char expected[] = "\x05\x02\x00\x01"
				       "\x01\x01\x00\x03"
				       "abc"
				       "\x01\x02\x00\x02wl"
				       "\x05\x01\x00\x03\x0b"
				       "example.org\x00\x50";
	struct proxied p;

	(void)state;
	for (int whole = 0; whole < 2; whole++) {
		connect_begin(&p, GSS_LEVEL_CONFIDENTIAL, false);
		connect_feed(&p, bytes, sizeof(bytes) - 1, whole);
		assert_int_equal(p.c.token_len, 0);
		say_token(&p, false, "abc");
		connect_feed(&p, bytes, sizeof(bytes) - 1, whole);
		assert_int_equal(p.c.token_len, 2);
		say_token(&p, true, "");
		connect_feed(&p, bytes, sizeof(bytes) - 1, whole);
		say_level(&p, "wl", 2);
		connect_feed(&p, bytes, sizeof(bytes) - 1, whole);
		assert_int_equal(p.event, CONNECT_GSS_ANSWER);
		assert_memory_equal(bytes + p.at - p.c.token_len, "wl2", 3);
		assert_int_equal(connect_gss_answer(&p.c, (const uint8_t *)"\x02", 1), 2);
		connect_feed(&p, bytes, sizeof(bytes) - 1, whole);
		assert_int_equal(p.event, CONNECT_DONE);
		assert_int_equal(p.at, sizeof(bytes) - 1 - 4);
		assert_int_equal(p.n_said, sizeof(expected) - 1);
		assert_memory_equal(p.said, expected, sizeof(expected) - 1);
	}
}

/* Our side stands with a token of its own: the proxy's frame is read all the same. */
static void client_reads_an_empty_frame(void **state)
{
	static const char bytes[] = "\x05\x01\x01\x01\x00\x00\x01\x02\x00\x01\x01";
	struct proxied p;

	(void)state;
	connect_begin(&p, GSS_LEVEL_INTEGRITY, true);
	connect_feed(&p, bytes, sizeof(bytes) - 1, false);
	say_token(&p, true, "abc");
	connect_feed(&p, bytes, sizeof(bytes) - 1, false);
	say_level(&p, "\x01", 1);
	connect_feed(&p, bytes, sizeof(bytes) - 1, false);
	assert_int_equal(p.event, CONNECT_GSS_ANSWER);
	assert_int_equal(p.c.token_len, 1);
}

/* Or without: then it may come before the answer to the level, once. */
static void client_skips_an_empty_frame(void **state)
{
	static const char bytes[] = "\x05\x01\x01\x01\x00\x00\x01\x02\x00\x02wl"
				    "\x01\x01\x00\x00";
	struct proxied p;

	(void)state;
	for (int twice = 0; twice < 2; twice++) {
		connect_begin(&p, GSS_LEVEL_INTEGRITY, false);
		connect_feed(&p, bytes, sizeof(bytes) - 1, false);
		say_token(&p, true, "");
		connect_feed(&p, bytes, sizeof(bytes) - 1, false);
		say_level(&p, "wl", 2);
		if (twice)
			p.c.gss_skipped = true;
		connect_feed(&p, bytes, sizeof(bytes) - 1, false);
		assert_int_equal(p.event, twice ? CONNECT_FAILED : CONNECT_GSS_ANSWER);
	}
}

/* G4: there is no length behind an abort, and none is waited for. */
static void client_is_refused(void **state)
{
	struct proxied p;

	(void)state;
	connect_begin(&p, GSS_LEVEL_INTEGRITY, false);
	connect_feed(&p, "\x05\x01\x01\xff", 4, false);
	say_token(&p, false, "abc");
	connect_feed(&p, "\x05\x01\x01\xff", 4, false);
	assert_int_equal(p.event, CONNECT_FAILED);
	assert_int_equal(p.c.err, ERR_PROXY_AUTH);
	assert_int_equal(p.c.code, 255);
	assert_int_equal(p.at, 4);
	/* And method 1 is not taken from a proxy to whom it was not offered. */
	connect_begin(&p, GSS_LEVEL_INTEGRITY, false);
	p.c.gss = false;
	connect_feed(&p, "\x05\x01", 2, false);
	assert_int_equal(p.event, CONNECT_FAILED);
	assert_int_equal(p.c.err, ERR_PROXY_PROTOCOL);
}

/* Where it is demanded neither "none" nor a password is offered, nor taken. */
static void client_demands_gss(void **state)
{
	static const uint8_t others[] = {0, 2, 3, 255};
	struct proxied p;

	(void)state;
	for (size_t i = 0; i < sizeof(others); i++) {
		const char choice[] = {5, (char)others[i]};

		connect_begin(&p, GSS_LEVEL_CONFIDENTIAL, false);
		p.hop.has_user = p.hop.has_password = true;
		p.hop.user_len = p.hop.password_len = 1;
		connect_demand_gss(&p.c);
		connect_feed(&p, choice, 2, i & 1);
		assert_int_equal(p.event, CONNECT_FAILED);
		assert_int_equal(
		    p.c.err, others[i] == 255 ? ERR_PROXY_NO_METHOD : ERR_PROXY_PROTOCOL);
		assert_int_equal(p.n_said, 3);
		assert_memory_equal(p.said, "\5\1\1", 3);
	}
	connect_begin(&p, GSS_LEVEL_CONFIDENTIAL, false);
	connect_demand_gss(&p.c);
	connect_feed(&p, "\5\1", 2, false);
	assert_int_equal(p.event, CONNECT_GSS_CONTEXT);
}

/* Of the last hop alone: who is before it is offered it beside what else there is. */
static void client_demands_it_of_the_last(void **state)
{
	static const char url[] = "socks5h://127.0.0.1:1080,socks5h://127.0.0.1:1081";
	struct wire_writer out = wire_writer_of(answer, sizeof(answer));
	struct wire_reader in = wire_reader_of(NULL, 0);
	struct url hops[2];
	struct addr target;
	struct connect c;
	const char *why;

	(void)state;
	assert_int_equal(url_parse_chain(url, strlen(url), hops, 2, &why, NULL), 2);
	assert_int_equal(addr_parse("192.0.2.1:80", 12, &target), 0);
	connect_init(&c, hops, 2, COMMAND_CONNECT, &target);
	connect_use_gss(&c, GSS_LEVEL_INTEGRITY, false);
	connect_demand_gss(&c);
	assert_int_equal(connect_step(&c, &in, &out), CONNECT_MORE);
	assert_int_equal(out.len, 4);
	assert_memory_equal(answer, "\5\2\0\1", 4);
	in = wire_reader_of("\5\0"
			    "\5\0\0\1\0\0\0\0\0\0"
			    "\5\0",
	    14);
	out = wire_writer_of(answer, sizeof(answer));
	for (int i = 0; i < 3 && c.err == 0; i++)
		(void)connect_step(&c, &in, &out);
	assert_int_equal(c.hop, 1);
	assert_int_equal(c.err, ERR_PROXY_PROTOCOL);
}

/* What the proxy answers to the level that was asked for. */
static void client_judges_the_level(void **state)
{
	static const struct {
		uint8_t asked, answer;
		bool fine;
	} cases[] = {{0, 0, true}, {0, 1, false}, {1, 0, false}, {1, 1, true}, {1, 2, true},
	    {1, 3, false}, {2, 0, false}, {2, 1, false}, {2, 2, true}, {3, 0, false}, {3, 1, true},
	    {3, 2, true}, {3, 3, false}, {2, 255, false}};
	struct proxied p;

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		connect_begin(&p, (enum gss_level)cases[i].asked, false);
		p.c.stage = CONNECT_WAITS_GSS_ANSWER;
		assert_int_equal(connect_gss_answer(&p.c, &cases[i].answer, 1),
		    cases[i].fine ? cases[i].answer : ERR_GSS_LEVEL);
	}
	connect_begin(&p, GSS_LEVEL_INTEGRITY, false);
	p.c.stage = CONNECT_WAITS_GSS_ANSWER;
	assert_int_equal(
	    connect_gss_answer(&p.c, (const uint8_t *)"\x01\x01", 2), ERR_PROXY_PROTOCOL);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
	    cmocka_unit_test(longest_frame),
	    cmocka_unit_test(too_long_is_not_written),
	    cmocka_unit_test(a_datagram_is_one_frame),
	    cmocka_unit_test(longest_token),
	    cmocka_unit_test(more_than_256_kib),
	    cmocka_unit_test(client_logs_in),
	    cmocka_unit_test(client_reads_an_empty_frame),
	    cmocka_unit_test(client_skips_an_empty_frame),
	    cmocka_unit_test(client_is_refused),
	    cmocka_unit_test(client_judges_the_level),
	    cmocka_unit_test(client_demands_gss),
	    cmocka_unit_test(client_demands_it_of_the_last),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
