/* SPDX-License-Identifier: MIT */
#include "net/gss.h"

#include <errno.h>
#include <gssapi/gssapi.h>
#include <gssapi/gssapi_ext.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proto/err.h"
#include "proto/gss.h"

/* What is wrapped at once: little enough that a slow line brings the beginning soon, enough that
 * the frame's overhead is a few per mille. */
#define SLICE_MAX ((size_t)32 * 1024)
/* What one call sends at most, so that others get their turn. */
#define SEND_MAX ((size_t)256 * 1024)
#define READS_MAX 4

struct gss {
	struct layer layer; /* first */
	struct layer *below;
	int fd;
	gss_ctx_id_t context;
	bool confidential;
	int err;      /* of the first failure */
	size_t slice; /* so many bytes make a frame that is not too long */

	/* Received: GSS_FRAME_MAX bytes, or NULL while there is nothing in it. */
	uint8_t *in;
	size_t in_at, in_len;
	/* Unwrapped, and not yet asked for. */
	gss_buffer_desc plain;
	size_t plain_at;
	/* Wrapped, and not yet with the kernel: a header and a token. */
	uint8_t header[GSS_FRAME_HEADER];
	gss_buffer_desc out;
	size_t out_at; /* of both */
};

bool gss_is_there(void)
{
	return true;
}

void gss_context_free(struct gss_ctx_id_struct *context)
{
	gss_ctx_id_t c = context;
	OM_uint32 minor;

	if (c != GSS_C_NO_CONTEXT)
		gss_delete_sec_context(&minor, &c, GSS_C_NO_BUFFER);
}

/* ---- messages ---- */

/* GSS-API wants what it only reads to be writable. */
static gss_buffer_desc buffer_of(const void *data, size_t len)
{
	return (gss_buffer_desc){.length = len, .value = (void *)(uintptr_t)data};
}

static void release_plain(gss_buffer_desc *plain)
{
	OM_uint32 minor;

	if (plain->length > 0)
		explicit_bzero(plain->value, plain->length);
	/* Of an empty message MIT's library allocates a byte, and would not release it. */
	else if (plain->value)
		plain->length = 1;
	gss_release_buffer(&minor, plain);
}

/* The library's buffer, to be released. */
static int wrap(gss_ctx_id_t context, bool confidential, const void *data, size_t len,
    gss_buffer_desc *ret_token)
{
	gss_buffer_desc in = buffer_of(data, len);
	OM_uint32 major, minor;
	int encrypted = 0;

	major =
	    gss_wrap(&minor, context, confidential, GSS_C_QOP_DEFAULT, &in, &encrypted, ret_token);
	if (GSS_ERROR(major))
		return ERR_GSS_MESSAGE;
	if (confidential && !encrypted) {
		gss_release_buffer(&minor, ret_token);
		return ERR_GSS_MESSAGE;
	}
	return 0;
}

/*
 * A stream loses nothing and keeps its order, so there any supplementary word is an attack. Of
 * datagrams some are late (GSS_S_UNSEQ_TOKEN) and some are lost (GSS_S_GAP_TOKEN), and what comes
 * twice or too late to tell is refused.
 */
static int unwrap(gss_ctx_id_t context, bool confidential, bool datagram, const void *data,
    size_t len, gss_buffer_desc *ret_plain)
{
	const OM_uint32 twice = GSS_S_DUPLICATE_TOKEN | GSS_S_OLD_TOKEN;
	const OM_uint32 order = GSS_S_UNSEQ_TOKEN | GSS_S_GAP_TOKEN;
	gss_buffer_desc in = buffer_of(data, len);
	OM_uint32 major, minor;
	int encrypted = 0;

	*ret_plain = (gss_buffer_desc)GSS_C_EMPTY_BUFFER;
	major = gss_unwrap(&minor, context, &in, ret_plain, &encrypted, NULL);
	if (!GSS_ERROR(major) && !(major & (datagram ? twice : twice | order)) &&
	    (encrypted || !confidential))
		return 0;
	release_plain(ret_plain);
	return ERR_GSS_MESSAGE;
}

static int put(const gss_buffer_desc *from, uint8_t *buf, size_t size, size_t *ret_len)
{
	if (from->length > size)
		return -ENOBUFS;
	if (from->length > 0)
		memcpy(buf, from->value, from->length);
	*ret_len = from->length;
	return 0;
}

int gss_message_wrap(struct gss_ctx_id_struct *context, bool confidential, const void *data,
    size_t len, uint8_t *buf, size_t size, size_t *ret_len)
{
	gss_buffer_desc token = GSS_C_EMPTY_BUFFER;
	OM_uint32 minor;
	int err = wrap(context, confidential, data, len, &token);

	if (!err)
		err = put(&token, buf, size, ret_len);
	gss_release_buffer(&minor, &token);
	return err;
}

static int unwrap_into(gss_ctx_id_t context, bool confidential, bool datagram, const void *data,
    size_t len, uint8_t *buf, size_t size, size_t *ret_len)
{
	gss_buffer_desc plain;
	int err = unwrap(context, confidential, datagram, data, len, &plain);

	if (!err)
		err = put(&plain, buf, size, ret_len);
	release_plain(&plain);
	return err;
}

int gss_message_unwrap(struct gss_ctx_id_struct *context, bool confidential, const void *data,
    size_t len, uint8_t *buf, size_t size, size_t *ret_len)
{
	return unwrap_into(context, confidential, false, data, len, buf, size, ret_len);
}

/* ---- the client's side of a context ---- */

static int import_name(const char *service, gss_name_t *ret_name)
{
	gss_buffer_desc text = buffer_of(service, strlen(service));
	OM_uint32 minor;
	gss_OID type = strchr(service, '/') ? GSS_C_NO_OID : GSS_C_NT_HOSTBASED_SERVICE;

	return GSS_ERROR(gss_import_name(&minor, &text, type, ret_name)) ? ERR_PROXY_AUTH : 0;
}

static void explain(OM_uint32 major, OM_uint32 minor, char *why, size_t size)
{
	gss_buffer_desc text = GSS_C_EMPTY_BUFFER;
	OM_uint32 ignored, context = 0;

	if (GSS_ERROR(gss_display_status(&ignored, minor ? minor : major,
		minor ? GSS_C_MECH_CODE : GSS_C_GSS_CODE, GSS_C_NO_OID, &context, &text)))
		return;
	snprintf(why, size, "%.*s", (int)text.length, (char *)text.value);
	gss_release_buffer(&ignored, &text);
}

/* The credentials in that cache, and no others: not those of the system's keytab for clients, with
 * which the library would go to the KDC where it finds none. */
static OM_uint32 open_cache(OM_uint32 *ret_minor, const char *cache, gss_cred_id_t *ret_cred)
{
	gss_key_value_element_desc elements[] = {
	    {.key = "ccache", .value = cache},
	    {.key = "client_keytab", .value = "MEMORY:tabi-none"},
	};
	gss_key_value_set_desc store = {.count = 2, .elements = elements};

	if (!cache)
		return GSS_S_COMPLETE;
	return gss_acquire_cred_from(ret_minor, GSS_C_NO_NAME, GSS_C_INDEFINITE, GSS_C_NO_OID_SET,
	    GSS_C_INITIATE, &store, ret_cred, NULL, NULL);
}

int gss_initiate(struct gss_ctx_id_struct **context, const char *service, const char *cache,
    bool datagrams, const void *token, size_t len, uint8_t *buf, size_t size, size_t *ret_len,
    char *why, size_t why_size)
{
	const OM_uint32 flags = GSS_C_MUTUAL_FLAG | GSS_C_REPLAY_FLAG | GSS_C_INTEG_FLAG |
				GSS_C_CONF_FLAG | (datagrams ? 0 : GSS_C_SEQUENCE_FLAG);
	gss_buffer_desc in = buffer_of(token, len), out = GSS_C_EMPTY_BUFFER;
	gss_cred_id_t cred = GSS_C_NO_CREDENTIAL;
	gss_name_t name = GSS_C_NO_NAME;
	OM_uint32 major, minor, ignored;
	int err = import_name(service, &name);

	snprintf(why, why_size, "not a service");
	*ret_len = 0;
	if (err)
		return err;
	major = open_cache(&minor, cache, &cred);
	if (!GSS_ERROR(major))
		major = gss_init_sec_context(&minor, cred, context, name, GSS_C_NO_OID, flags,
		    GSS_C_INDEFINITE, GSS_C_NO_CHANNEL_BINDINGS, len > 0 ? &in : GSS_C_NO_BUFFER,
		    NULL, &out, NULL, NULL);
	if (GSS_ERROR(major)) {
		explain(major, minor, why, why_size);
		err = ERR_PROXY_AUTH;
	} else {
		err = put(&out, buf, size, ret_len);
	}
	gss_release_buffer(&ignored, &out);
	gss_release_name(&ignored, &name);
	gss_release_cred(&ignored, &cred);
	if (err)
		return err;
	return major & GSS_S_CONTINUE_NEEDED ? 0 : 1;
}

/* ---- the stream, inward ---- */

static int fail(struct gss *g, int err, const char *why)
{
	g->err = err;
	g->layer.why = why;
	g->layer.pending = g->layer.holds = false;
	return err;
}

static struct wire_reader unread(const struct gss *g)
{
	/* NULL + 0 is undefined in C. */
	return wire_reader_of(g->in ? g->in + g->in_at : NULL, g->in_len - g->in_at);
}

/* Whole frames of which nothing was looked at yet? */
static bool has_frame(const struct gss *g)
{
	struct wire_reader in = unread(g);
	struct gss_frame f;

	/* An error is something to tell as well. */
	return gss_frame_read(&in, GSS_FRAME_DATA, &f) != WIRE_MORE;
}

static void show_pending(struct gss *g)
{
	g->layer.pending =
	    g->err == 0 && (g->plain.length > 0 || has_frame(g) || layer_pending(g->below));
}

static void drop_in(struct gss *g)
{
	free(g->in);
	g->in = NULL;
	g->in_at = g->in_len = 0;
}

/* The next frame into `plain`. Returns WIRE_DONE, WIRE_MORE or an error. */
static int next_frame(struct gss *g)
{
	struct wire_reader in = unread(g);
	struct gss_frame f;
	int rc = gss_frame_read(&in, GSS_FRAME_DATA, &f);

	if (rc == WIRE_MORE)
		return rc;
	if (rc < 0 || f.type != GSS_FRAME_DATA || f.len == 0)
		return fail(g, ERR_GSS_MESSAGE, "not a frame of protected data");
	if (unwrap(g->context, g->confidential, false, f.token, f.len, &g->plain))
		return fail(g, ERR_GSS_MESSAGE, "not genuine, repeated, or not encrypted");
	g->plain_at = 0;
	g->in_at += in.pos;
	if (g->in_at == g->in_len)
		drop_in(g);
	return WIRE_DONE;
}

/* Gives from `plain` what there is room for. */
static size_t give(struct gss *g, uint8_t *buf, size_t size)
{
	size_t n = g->plain.length - g->plain_at;

	n = n < size ? n : size;
	if (n > 0)
		memcpy(buf, (uint8_t *)g->plain.value + g->plain_at, n);
	g->plain_at += n;
	if (g->plain_at == g->plain.length)
		release_plain(&g->plain);
	return n;
}

/* Reads what the socket has, up to a whole frame. Returns a count, or what layer_recv() does. */
static ssize_t read_more(struct gss *g)
{
	ssize_t n;

	if (!g->in) {
		g->in = malloc(GSS_FRAME_MAX);
		g->in_at = g->in_len = 0;
		if (!g->in)
			return fail(g, -ENOMEM, NULL);
	}
	/* Less than a frame: there is always room behind it. */
	if (g->in_at > 0)
		memmove(g->in, g->in + g->in_at, g->in_len - g->in_at);
	g->in_len -= g->in_at;
	g->in_at = 0;
	n = layer_recv(g->below, g->fd, g->in + g->in_len, GSS_FRAME_MAX - g->in_len);
	if (n > 0)
		g->in_len += (size_t)n;
	else if (n == 0 && g->in_len > 0)
		return fail(g, -ECONNRESET, "ended in the middle of a frame");
	else if (n < 0 && n != -EAGAIN)
		return fail(g, (int)n, g->below ? g->below->why : NULL);
	if (g->in_len == 0)
		drop_in(g);
	return n;
}

/* As many frames as are here and fit. The socket is read READS_MAX times at most: frames may be
 * empty, and somebody may send nothing else. */
static ssize_t gss_recv(struct layer *layer, void *buf, size_t size)
{
	struct gss *g = (struct gss *)layer;
	unsigned reads = 0;
	size_t got = 0;
	ssize_t n = 1;

	if (g->err)
		return g->err;
	while (got < size && n > 0) {
		int rc = WIRE_DONE;

		if (g->plain.length == 0)
			rc = next_frame(g);
		if (rc == WIRE_DONE)
			got += give(g, (uint8_t *)buf + got, size - got);
		else if (rc == WIRE_MORE)
			n = got == 0 && reads++ < READS_MAX ? read_more(g) : -EAGAIN;
		else
			n = rc;
	}
	show_pending(g);
	/* What came before an error is genuine; the error comes with the next call. */
	if (got > 0) {
		g->layer.pending |= g->err != 0;
		return (ssize_t)got;
	}
	return n;
}

/* ---- outward ---- */

static size_t left(const struct gss *g)
{
	return g->out.length > 0 ? GSS_FRAME_HEADER + g->out.length - g->out_at : 0;
}

/* Returns 0, -EAGAIN or an error. */
static int gss_flush(struct layer *layer)
{
	struct gss *g = (struct gss *)layer;
	OM_uint32 minor;

	while (!g->err && left(g) > 0) {
		bool in_header = g->out_at < GSS_FRAME_HEADER;
		const uint8_t *at = in_header
					? g->header + g->out_at
					: (uint8_t *)g->out.value + g->out_at - GSS_FRAME_HEADER;
		ssize_t n = layer_send(
		    g->below, g->fd, at, in_header ? GSS_FRAME_HEADER - g->out_at : left(g));

		if (n == -EAGAIN)
			return -EAGAIN;
		if (n < 0)
			return fail(g, (int)n, NULL);
		g->out_at += (size_t)n;
		if (left(g) == 0)
			gss_release_buffer(&minor, &g->out);
	}
	if (!g->err) {
		int err = layer_flush(g->below);

		if (err)
			return err == -EAGAIN ? err : fail(g, err, g->below->why);
	}
	g->layer.holds = false;
	return g->err;
}

/* Wraps a slice, half of it where the library said it would fit and it did not. Returns how many
 * bytes it took, or an error. */
static ssize_t wrap_slice(struct gss *g, const void *buf, size_t len)
{
	OM_uint32 minor;

	for (size_t n = len < g->slice ? len : g->slice; n > 0; n /= 2) {
		int err = wrap(g->context, g->confidential, buf, n, &g->out);

		if (err)
			return fail(g, err, "cannot be wrapped");
		if (g->out.length <= GSS_TOKEN_MAX) {
			gss_frame_header(g->header, GSS_FRAME_DATA, (uint16_t)g->out.length);
			g->out_at = 0;
			g->layer.holds = true;
			return (ssize_t)n;
		}
		gss_release_buffer(&minor, &g->out);
	}
	return fail(g, ERR_GSS_MESSAGE, "cannot be wrapped");
}

static ssize_t gss_send(struct layer *layer, const void *buf, size_t len)
{
	struct gss *g = (struct gss *)layer;
	size_t taken = 0;

	if (g->err)
		return g->err;
	while (taken < len && taken < SEND_MAX && !g->layer.holds) {
		ssize_t n = wrap_slice(g, (const uint8_t *)buf + taken, len - taken);
		int err;

		if (n < 0)
			return n;
		taken += (size_t)n;
		err = gss_flush(layer);
		if (err && err != -EAGAIN)
			return err;
	}
	return taken > 0 ? (ssize_t)taken : -EAGAIN;
}

/* RFC 1961 has no word for it; what is below may have. */
static int gss_end(struct layer *layer)
{
	struct gss *g = (struct gss *)layer;
	int err;

	if (!g->below || g->below->ended)
		return 0;
	g->below->ended = true;
	err = g->below->ops->end(g->below);
	layer->holds = layer_holds(g->below);
	return err;
}

static void gss_free(struct layer *layer)
{
	struct gss *g = (struct gss *)layer;
	OM_uint32 minor;

	drop_in(g);
	release_plain(&g->plain);
	gss_release_buffer(&minor, &g->out);
	gss_context_free(g->context);
	layer_free(g->below);
	free(g);
}

static const struct layer_ops ops = {
    .recv = gss_recv,
    .send = gss_send,
    .flush = gss_flush,
    .end = gss_end,
    .free = gss_free,
};

/* ---- beginning ---- */

static size_t slice_of(gss_ctx_id_t context, bool confidential)
{
	OM_uint32 minor, max = 0;

	if (GSS_ERROR(gss_wrap_size_limit(
		&minor, context, confidential, GSS_C_QOP_DEFAULT, GSS_TOKEN_MAX, &max)) ||
	    max == 0)
		max = 1024;
	return max < SLICE_MAX ? max : SLICE_MAX;
}

int gss_layer_new(struct layer **ret_layer, int fd, struct layer *below,
    struct gss_ctx_id_struct *context, bool confidential, const void *early, size_t n)
{
	struct gss *g = calloc(1, sizeof(*g));

	if (!g)
		return -ENOMEM;
	/* A handshake's buffer holds one frame at most, and its read-ahead. */
	if (n > 0)
		g->in = malloc(n > GSS_FRAME_MAX ? n : GSS_FRAME_MAX);
	if (n > 0 && !g->in) {
		free(g);
		return -ENOMEM;
	}
	if (n > 0)
		memcpy(g->in, early, n);
	g->in_len = n;
	g->layer.ops = &ops;
	g->fd = fd;
	g->below = below;
	g->context = context;
	g->confidential = confidential;
	g->slice = slice_of(context, confidential);
	show_pending(g);
	*ret_layer = &g->layer;
	return 0;
}

bool gss_layer_is(const struct layer *layer)
{
	return layer && layer->ops == &ops;
}

/* ---- datagrams ---- */

int gss_datagram_wrap(
    struct layer *layer, const void *data, size_t len, uint8_t *buf, size_t size, size_t *ret_len)
{
	const struct gss *g = (const struct gss *)layer;
	size_t n = 0;
	int err;

	if (size < GSS_FRAME_HEADER)
		return -ENOBUFS;
	err = gss_message_wrap(g->context, g->confidential, data, len, buf + GSS_FRAME_HEADER,
	    size - GSS_FRAME_HEADER, &n);
	if (!err && n > GSS_TOKEN_MAX)
		err = -ENOBUFS;
	if (err)
		return err;
	gss_frame_header(buf, GSS_FRAME_DATA, (uint16_t)n);
	*ret_len = GSS_FRAME_HEADER + n;
	return 0;
}

int gss_datagram_unwrap(
    struct layer *layer, const void *data, size_t len, uint8_t *buf, size_t size, size_t *ret_len)
{
	const struct gss *g = (const struct gss *)layer;
	struct gss_frame f;

	if (gss_frame_read_datagram(data, len, &f) != 0)
		return ERR_GSS_MESSAGE;
	return unwrap_into(g->context, g->confidential, true, f.token, f.len, buf, size, ret_len);
}
