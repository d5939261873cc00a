/* SPDX-License-Identifier: MIT */
/* lib/gsslayer with a GSS-API of the test's own, which changes nothing, and a socket that gives all
 * it has at once: what a layer has read the socket does not tell of any more. */
#include "lib/gsslayer.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "lib/gssapi.h"
#include "proto/gss.h"

/* ---- GSS-API ---- */

static char context[1];

void gssapi_context_free(struct gss_ctx_id_struct *c)
{
	assert_ptr_equal(c, context);
}

size_t gssapi_wrap_limit(struct gss_ctx_id_struct *c, bool confidential)
{
	(void)c;
	(void)confidential;
	return GSS_TOKEN_MAX;
}

int gssapi_wrap(struct gss_ctx_id_struct *c, bool confidential, const void *data, size_t len,
    void *buf, size_t size, size_t *ret_len)
{
	(void)c;
	(void)confidential;
	if (len > size)
		return TABI_E_TOO_LONG;
	memcpy(buf, data, len);
	*ret_len = len;
	return 0;
}

int gssapi_unwrap(struct gss_ctx_id_struct *c, bool confidential, bool datagram, const void *token,
    size_t len, void *buf, size_t size, size_t *ret_len)
{
	(void)datagram;
	(void)size;
	memmove(buf, token, len);
	(void)c;
	(void)confidential;
	*ret_len = len;
	return 0;
}

/* ---- the socket ---- */

static uint8_t line[400000];
static size_t line_len, line_at;

static long line_receive(struct layer *layer, void *data, size_t cap)
{
	size_t n = line_len - line_at;

	(void)layer;
	if (n == 0)
		return TABI_IO_READ;
	n = n < cap ? n : cap;
	memcpy(data, line + line_at, n);
	line_at += n;
	return (long)n;
}

static void line_free(struct layer *layer)
{
	(void)layer;
}

static struct layer *two_layers(void)
{
	static const struct layer_ops ops = {.receive = line_receive, .free = line_free};
	static struct layer bottom;
	struct layer *lower;

	bottom = (struct layer){.ops = &ops};
	line_len = line_at = 0;
	lower = gsslayer_new((struct gss_ctx_id_struct *)(void *)context, true, &bottom);
	assert_non_null(lower);
	return gsslayer_new((struct gss_ctx_id_struct *)(void *)context, true, lower);
}

static void free_all(struct layer *layer)
{
	while (layer) {
		struct layer *below = layer->below;

		layer->ops->free(layer);
		layer = below;
	}
}

/* In frames of the lower layer, each of at most `slice` bytes. */
static void put(const uint8_t *data, size_t len, size_t slice)
{
	for (size_t at = 0; at < len; at += slice) {
		const size_t n = len - at < slice ? len - at : slice;

		assert_true(line_len + GSS_FRAME_HEADER + n <= sizeof(line));
		gss_frame_header(line + line_len, GSS_FRAME_DATA, (uint16_t)n);
		memcpy(line + line_len + GSS_FRAME_HEADER, data + at, n);
		line_len += GSS_FRAME_HEADER + n;
	}
}

/* One frame of the upper layer. */
static uint8_t frame[GSS_FRAME_MAX], got[GSS_FRAME_MAX];

static void put_frame(size_t len, size_t slice)
{
	gss_frame_header(frame, GSS_FRAME_DATA, (uint16_t)len);
	memset(frame + GSS_FRAME_HEADER, 'x', len);
	put(frame, GSS_FRAME_HEADER + len, slice);
}

/* ---- tests ---- */

/* TABI_IO_READ is a promise that the socket will tell: with nothing left in it nobody would come
 * back. */
static void test_what_is_held_is_read_without_the_socket(void **state)
{
	static const size_t slices[] = {1, 7, 100, 1000, 8000};

	(void)state;
	for (size_t i = 0; i < sizeof(slices) / sizeof(slices[0]); i++) {
		struct layer *top = two_layers();
		size_t all = 0;
		long n;

		put_frame(30000, slices[i]);
		while ((n = layer_receive(top, got, sizeof(got))) > 0 || line_at < line_len)
			all += n > 0 ? (size_t)n : 0;
		assert_int_equal(n, TABI_IO_READ);
		assert_int_equal(all, 30000);
		free_all(top);
	}
}

/* Who sends nothing but empty frames does not have the call go on for as long as he likes. */
static void test_empty_frames_do_not_keep_a_call(void **state)
{
	struct layer *top = two_layers();

	(void)state;
	for (int i = 0; i < 40000; i++)
		put_frame(0, GSS_FRAME_HEADER);
	assert_int_equal(layer_receive(top, got, sizeof(got)), TABI_IO_READ);
	assert_true(line_at > 0 && line_at < line_len);
	assert_false(layer_holds(top->below));
	free_all(top);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_what_is_held_is_read_without_the_socket),
	    cmocka_unit_test(test_empty_frames_do_not_keep_a_call),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
