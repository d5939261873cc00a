/* SPDX-License-Identifier: MIT */
/* Fuzzes proto/gss: the first byte is the type that is read for, the rest a stream of frames, and
 * one datagram. */
#include "fuzz.h"

#include <string.h>

#include "proto/err.h"
#include "proto/gss.h"

/* Written again, a frame is what was read. */
static void check_written(const struct gss_frame *f, const uint8_t *at, size_t n)
{
	static uint8_t buf[GSS_FRAME_MAX];
	struct wire_writer out = wire_writer_of(buf, sizeof(buf));

	if (f->type == GSS_FRAME_ABORT)
		gss_frame_write_abort(&out);
	else
		gss_frame_write(&out, (enum gss_frame_type)f->type, f->token, f->len);
	CHECK(!out.failed && out.len == n && memcmp(buf, at, n) == 0);
}

/* Nothing that begins a frame is one already, nor wrong. */
static void check_pieces(enum gss_frame_type type, const uint8_t *at, size_t n)
{
	for (size_t i = 0; i < n; i = i < 8 || i + 8 > n ? i + 1 : i + 97 < n ? i + 97 : n - 1) {
		struct wire_reader in = wire_reader_of(at, i);
		struct gss_frame f;

		CHECK(gss_frame_read(&in, type, &f) == WIRE_MORE);
		CHECK(in.pos == 0 && !in.failed);
		CHECK((gss_frame_peek_length(&in) >= 0) == (i >= GSS_FRAME_HEADER));
	}
}

static void check_stream(enum gss_frame_type type, const uint8_t *data, size_t size)
{
	struct wire_reader in = wire_reader_of(data, size);

	for (;;) {
		size_t pos = in.pos;
		struct gss_frame f;
		int rc = gss_frame_read(&in, type, &f);

		CHECK(!in.failed);
		if (rc != WIRE_DONE) {
			CHECK(in.pos == pos && (rc == WIRE_MORE || rc == ERR_MALFORMED));
			return;
		}
		CHECK(f.type == type || f.type == GSS_FRAME_ABORT);
		check_written(&f, data + pos, in.pos - pos);
		check_pieces(type, data + pos, in.pos - pos);
	}
}

static void check_datagram(const uint8_t *data, size_t size)
{
	struct gss_frame f;
	int rc = gss_frame_read_datagram(data, size, &f);

	CHECK(rc == 0 || rc == ERR_MALFORMED);
	if (rc == 0)
		CHECK(f.len + (size_t)GSS_FRAME_HEADER == size && f.len > 0 &&
		      f.token == data + GSS_FRAME_HEADER);
}

/* Weaker than asked for only where nothing else is allowed, and never what is not allowed. */
static void check_level(uint8_t allowed, uint8_t asked)
{
	int level = gss_level_choose(allowed, asked);

	CHECK(level == ERR_GSS_LEVEL ||
	      (level >= GSS_LEVEL_CLEAR && level <= GSS_LEVEL_CONFIDENTIAL));
	if (level >= 0) {
		CHECK(allowed & GSS_LEVEL_BIT(level));
		CHECK(asked <= GSS_LEVEL_PER_MESSAGE);
		CHECK(asked != GSS_LEVEL_PER_MESSAGE || level > GSS_LEVEL_CLEAR);
		CHECK(level >= asked ||
		      allowed % (2u << GSS_LEVEL_CONFIDENTIAL) < 2 * GSS_LEVEL_BIT(level));
		CHECK(asked != GSS_LEVEL_CLEAR || level == GSS_LEVEL_CLEAR);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const enum gss_frame_type types[] = {
	    GSS_FRAME_CONTEXT, GSS_FRAME_LEVEL, GSS_FRAME_DATA};

	if (size < 2)
		return 0;
	check_stream(types[data[0] % 3], data + 1, size - 1);
	check_datagram(data + 1, size - 1);
	check_level(data[0], data[1]);
	return 0;
}
