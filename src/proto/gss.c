/* SPDX-License-Identifier: MIT */
#include "proto/gss.h"

#include "proto/err.h"

int gss_frame_read(struct wire_reader *in, enum gss_frame_type type, struct gss_frame *ret_frame)
{
	struct wire_reader r = *in;
	struct gss_frame f = {0};

	if (wire_left(&r) > 0 && wire_read_u8(&r) != GSS_FRAME_VERSION)
		return ERR_MALFORMED;
	if (wire_left(&r) == 0)
		return WIRE_MORE;
	f.type = wire_read_u8(&r);
	if (f.type != type && f.type != GSS_FRAME_ABORT)
		return ERR_MALFORMED;
	/* Whoever waited for the length of an abort would wait for ever. */
	if (f.type != GSS_FRAME_ABORT) {
		f.len = wire_read_u16(&r);
		f.token = wire_read_bytes(&r, f.len);
	}
	if (r.failed)
		return WIRE_MORE;
	*ret_frame = f;
	*in = r;
	return WIRE_DONE;
}

int gss_frame_peek_length(const struct wire_reader *in)
{
	struct wire_reader r = *in;
	uint16_t len;

	wire_read_bytes(&r, 2);
	len = wire_read_u16(&r);
	return r.failed ? -1 : len;
}

int gss_frame_read_datagram(const void *data, size_t len, struct gss_frame *ret_frame)
{
	struct wire_reader in = wire_reader_of(data, len);
	struct gss_frame f;

	if (gss_frame_read(&in, GSS_FRAME_DATA, &f) != WIRE_DONE)
		return ERR_MALFORMED;
	if (f.type != GSS_FRAME_DATA || f.len == 0 || wire_left(&in) > 0)
		return ERR_MALFORMED;
	*ret_frame = f;
	return 0;
}

void gss_frame_header(
    uint8_t header[static GSS_FRAME_HEADER], enum gss_frame_type type, uint16_t len)
{
	struct wire_writer out = wire_writer_of(header, GSS_FRAME_HEADER);

	wire_write_u8(&out, GSS_FRAME_VERSION);
	wire_write_u8(&out, (uint8_t)type);
	wire_write_u16(&out, len);
}

void gss_frame_write(
    struct wire_writer *out, enum gss_frame_type type, const void *token, size_t len)
{
	uint8_t header[GSS_FRAME_HEADER];

	if (len > GSS_TOKEN_MAX || out->cap - out->len < GSS_FRAME_HEADER + len) {
		out->failed = true;
		return;
	}
	gss_frame_header(header, type, (uint16_t)len);
	wire_write_bytes(out, header, sizeof(header));
	wire_write_bytes(out, token, len);
}

void gss_frame_write_abort(struct wire_writer *out)
{
	wire_write_u8(out, GSS_FRAME_VERSION);
	wire_write_u8(out, GSS_FRAME_ABORT);
}

int gss_level_choose(unsigned allowed, uint8_t asked)
{
	/* What comes closest to each, from the first on. Who asks for none gets no other: he could
	 * not use it. */
	static const struct {
		size_t n;
		enum gss_level level[3];
	} closest[] = {
	    [GSS_LEVEL_CLEAR] = {1, {GSS_LEVEL_CLEAR}},
	    [GSS_LEVEL_INTEGRITY] = {3,
		{GSS_LEVEL_INTEGRITY, GSS_LEVEL_CONFIDENTIAL, GSS_LEVEL_CLEAR}},
	    [GSS_LEVEL_CONFIDENTIAL] = {3,
		{GSS_LEVEL_CONFIDENTIAL, GSS_LEVEL_INTEGRITY, GSS_LEVEL_CLEAR}},
	    [GSS_LEVEL_PER_MESSAGE] = {2, {GSS_LEVEL_CONFIDENTIAL, GSS_LEVEL_INTEGRITY}},
	};

	if (asked > GSS_LEVEL_PER_MESSAGE)
		return ERR_GSS_LEVEL;
	for (size_t i = 0; i < closest[asked].n; i++)
		if (allowed & GSS_LEVEL_BIT(closest[asked].level[i]))
			return (int)closest[asked].level[i];
	return ERR_GSS_LEVEL;
}
