/* SPDX-License-Identifier: MIT */
#include "proto/wire.h"

#include <string.h>

struct wire_reader wire_reader_of(const void *data, size_t len)
{
	return (struct wire_reader){.data = data, .len = len};
}

size_t wire_left(const struct wire_reader *r)
{
	return r->failed ? 0 : r->len - r->pos;
}

const uint8_t *wire_read_bytes(struct wire_reader *r, size_t n)
{
	const uint8_t *at;

	if (r->failed || n > r->len - r->pos) {
		r->failed = true;
		return NULL;
	}
	/* An empty reader may hold NULL, and NULL + 0 is undefined in C. */
	at = r->data ? r->data + r->pos : NULL;
	r->pos += n;
	return at;
}

uint8_t wire_read_u8(struct wire_reader *r)
{
	const uint8_t *p = wire_read_bytes(r, 1);

	return p ? p[0] : 0;
}

uint16_t wire_read_u16(struct wire_reader *r)
{
	const uint8_t *p = wire_read_bytes(r, 2);

	if (!p)
		return 0;
	return (uint16_t)(p[0] << 8 | p[1]);
}

uint32_t wire_read_u32(struct wire_reader *r)
{
	const uint8_t *p = wire_read_bytes(r, 4);

	if (!p)
		return 0;
	return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

const uint8_t *wire_read_until(struct wire_reader *r, uint8_t stop, size_t *ret_len)
{
	const uint8_t *start, *end;
	size_t left = wire_left(r);

	*ret_len = 0;
	if (left == 0) {
		r->failed = true;
		return NULL;
	}
	start = r->data + r->pos;
	end = memchr(start, stop, left);
	if (!end) {
		r->failed = true;
		return NULL;
	}
	*ret_len = (size_t)(end - start);
	r->pos += *ret_len + 1;
	return start;
}

struct wire_writer wire_writer_of(void *data, size_t cap)
{
	return (struct wire_writer){.data = data, .cap = cap};
}

void wire_write_bytes(struct wire_writer *w, const void *data, size_t n)
{
	if (w->failed || n > w->cap - w->len) {
		w->failed = true;
		return;
	}
	if (n > 0)
		memcpy(w->data + w->len, data, n);
	w->len += n;
}

void wire_write_u8(struct wire_writer *w, uint8_t v)
{
	wire_write_bytes(w, &v, 1);
}

void wire_write_u16(struct wire_writer *w, uint16_t v)
{
	const uint8_t b[2] = {(uint8_t)(v >> 8), (uint8_t)v};

	wire_write_bytes(w, b, sizeof(b));
}

void wire_write_u32(struct wire_writer *w, uint32_t v)
{
	const uint8_t b[4] = {
	    (uint8_t)(v >> 24), (uint8_t)(v >> 16), (uint8_t)(v >> 8), (uint8_t)v};

	wire_write_bytes(w, b, sizeof(b));
}

void wire_write_text(struct wire_writer *w, const char *text)
{
	wire_write_bytes(w, text, strlen(text));
}
