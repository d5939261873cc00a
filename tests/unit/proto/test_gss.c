/* SPDX-License-Identifier: MIT */
/* The frames of GSS-API at their bounds; the rest is in tests/vectors/gss.txt. */
#include "proto/gss.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include "proto/accept.h"
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

int main(void)
{
	static const struct CMUnitTest tests[] = {
	    cmocka_unit_test(longest_frame),
	    cmocka_unit_test(too_long_is_not_written),
	    cmocka_unit_test(a_datagram_is_one_frame),
	    cmocka_unit_test(longest_token),
	    cmocka_unit_test(more_than_256_kib),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
