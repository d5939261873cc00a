/* SPDX-License-Identifier: MIT */
#include "lib/gsslayer.h"

#include <stdlib.h>
#include <string.h>

#include "proto/gss.h"

/* Little enough that a slow line brings the beginning soon, enough that the frame's overhead is a
 * few per mille. */
#define SLICE_MAX ((size_t)32 * 1024)
/* So many reads in one call: frames may be empty, and a proxy may send nothing else. As long as the
 * layer below holds bytes there are more, for the socket does not tell of those: enough for any
 * frame. */
#define READS_MAX 4
#define READS_OF_HELD_MAX GSS_FRAME_MAX

struct protection {
	struct layer layer; /* first */
	struct gss_ctx_id_struct *context;
	bool confidential;
	size_t slice;
	/* Wrapped, and not yet with the kernel: `of` bytes of the caller's. */
	size_t out_len, out_at, of;
	/* Received, and what of it is unwrapped and not yet asked for. */
	size_t in_len, plain_at, plain_end;
	uint8_t out[GSS_FRAME_MAX], in[GSS_FRAME_MAX];
};

static long broken(struct protection *p, const char *why)
{
	p->layer.why = why;
	return TABI_IO_BROKEN;
}

/* ---- outward ---- */

/* Half of a slice where the library said that it would fit and it did not. */
static bool wrap_slice(struct protection *p, const void *data, size_t len)
{
	size_t n, token = 0;

	for (n = len < p->slice ? len : p->slice; n > 0; n /= 2)
		if (gssapi_wrap(p->context, p->confidential, data, n, p->out + GSS_FRAME_HEADER,
			GSS_TOKEN_MAX, &token) == 0)
			break;
	if (n == 0)
		return false;
	gss_frame_header(p->out, GSS_FRAME_DATA, (uint16_t)token);
	p->out_len = GSS_FRAME_HEADER + token;
	p->out_at = 0;
	p->of = n;
	return true;
}

static long protection_send(struct layer *layer, const void *data, size_t len)
{
	struct protection *p = (struct protection *)layer;
	long n;

	if (p->layer.why)
		return TABI_IO_BROKEN;
	if (len == 0)
		return 0;
	if (p->out_len == 0 && !wrap_slice(p, data, len))
		return broken(p, "what is sent cannot be wrapped");
	while (p->out_at < p->out_len) {
		n = layer_send(layer->below, p->out + p->out_at, p->out_len - p->out_at);
		if (n <= 0)
			return n;
		p->out_at += (size_t)n;
	}
	p->out_len = 0;
	return (long)p->of;
}

/* ---- inward ---- */

static long read_more(struct protection *p)
{
	long n = layer_receive(p->layer.below, p->in + p->in_len, sizeof(p->in) - p->in_len);

	if (n > 0)
		p->in_len += (size_t)n;
	else if (n == TABI_IO_END && p->in_len > 0)
		return broken(p, "the stream ended in the middle of a frame");
	return n;
}

/* The frame at the beginning, once it is whole. Returns 1, 0 for more, or TABI_IO_BROKEN. */
static long open_frame(struct protection *p)
{
	struct wire_reader r = wire_reader_of(p->in, p->in_len);
	struct gss_frame f;
	const int rc = gss_frame_read(&r, GSS_FRAME_DATA, &f);
	size_t len;

	if (rc == WIRE_MORE)
		return 0;
	if (rc < 0 || f.type != GSS_FRAME_DATA)
		return broken(p, "what came is not a frame of protected data");
	if (gssapi_unwrap(p->context, p->confidential, false, f.token, f.len,
		p->in + GSS_FRAME_HEADER, f.len, &len) < 0)
		return broken(p, "what came is not genuine, repeated, or not encrypted");
	p->plain_at = GSS_FRAME_HEADER;
	p->plain_end = GSS_FRAME_HEADER + len;
	/* Its token is longer than what was in it: the rest of the input moves up to it. */
	memmove(p->in + p->plain_end, p->in + r.pos, p->in_len - r.pos);
	p->in_len = p->in_len - r.pos + p->plain_end;
	return 1;
}

/* The message has been read: what follows begins the buffer. */
static void drop_plain(struct protection *p)
{
	memmove(p->in, p->in + p->plain_end, p->in_len - p->plain_end);
	p->in_len -= p->plain_end;
	p->plain_at = p->plain_end = 0;
}

static bool may_read(const struct protection *p, int reads)
{
	return reads < READS_MAX || (reads < READS_OF_HELD_MAX && layer_holds(p->layer.below));
}

static long protection_receive(struct layer *layer, void *data, size_t cap)
{
	struct protection *p = (struct protection *)layer;
	int reads = 0;
	size_t n;

	if (p->layer.why)
		return TABI_IO_BROKEN;
	while (p->plain_at == p->plain_end) {
		long rc;

		drop_plain(p);
		rc = open_frame(p);
		if (rc == 0)
			rc = may_read(p, reads++) ? read_more(p) : TABI_IO_READ;
		if (rc <= 0)
			return rc;
	}
	n = p->plain_end - p->plain_at;
	n = n < cap ? n : cap;
	memcpy(data, p->in + p->plain_at, n);
	p->plain_at += n;
	return (long)n;
}

/* The beginning of a frame is not enough. */
static bool protection_holds(const struct layer *layer)
{
	const struct protection *p = (const struct protection *)layer;
	struct wire_reader r = wire_reader_of(p->in + p->plain_end, p->in_len - p->plain_end);
	struct gss_frame f;

	return p->plain_at < p->plain_end || gss_frame_read(&r, GSS_FRAME_DATA, &f) != WIRE_MORE ||
	       layer_holds(layer->below);
}

/* ---- the rest ---- */

static int protection_end(struct layer *layer)
{
	(void)layer;
	return 1;
}

static void protection_free(struct layer *layer)
{
	struct protection *p = (struct protection *)layer;

	gssapi_context_free(p->context);
	explicit_bzero(p, sizeof(*p));
	free(p);
}

static const struct layer_ops protection_ops = {.send = protection_send,
    .receive = protection_receive,
    .end = protection_end,
    .holds = protection_holds,
    .free = protection_free,
    .code = TABI_E_GSS};

bool gsslayer_is(const struct layer *layer)
{
	return layer && layer->ops == &protection_ops;
}

struct layer *gsslayer_new(
    struct gss_ctx_id_struct *context, bool confidential, struct layer *below)
{
	struct protection *p = calloc(1, sizeof(*p));
	size_t limit;

	if (!p)
		return NULL;
	limit = gssapi_wrap_limit(context, confidential);
	p->layer.ops = &protection_ops;
	p->layer.below = below;
	p->context = context;
	p->confidential = confidential;
	p->slice = limit < SLICE_MAX ? limit : SLICE_MAX;
	return &p->layer;
}

/* ---- datagrams ---- */

int gsslayer_wrap(
    struct layer *layer, const void *data, size_t len, void *buf, size_t size, size_t *ret_len)
{
	const struct protection *p = (const struct protection *)layer;
	size_t token = size < GSS_FRAME_HEADER ? 0 : size - GSS_FRAME_HEADER;
	int err;

	token = token < GSS_TOKEN_MAX ? token : GSS_TOKEN_MAX;
	err = gssapi_wrap(p->context, p->confidential, data, len, (uint8_t *)buf + GSS_FRAME_HEADER,
	    token, &token);
	if (err < 0)
		return err;
	gss_frame_header(buf, GSS_FRAME_DATA, (uint16_t)token);
	*ret_len = GSS_FRAME_HEADER + token;
	return 0;
}

int gsslayer_unwrap(
    struct layer *layer, const void *data, size_t len, void *buf, size_t size, size_t *ret_len)
{
	const struct protection *p = (const struct protection *)layer;
	struct gss_frame f;

	if (gss_frame_read_datagram(data, len, &f) != 0)
		return TABI_E_GSS;
	return gssapi_unwrap(p->context, p->confidential, true, f.token, f.len, buf, size, ret_len);
}
