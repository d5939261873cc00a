/* SPDX-License-Identifier: MIT */
/* Reading and writing big-endian wire formats through a cursor with a sticky error. */
#ifndef TABI_PROTO_WIRE_H
#define TABI_PROTO_WIRE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * A cursor over bytes that somebody else owns. The first read past the end sets `failed`; every
 * later read is a no-op that yields 0 or NULL, so a parser reads a whole message and checks once.
 */
struct wire_reader {
	const uint8_t *data;
	size_t len;
	size_t pos;
	bool failed;
};

/*
 * What a parser of a message that may be incomplete returns, or else a negative error. It works on
 * a copy of the caller's cursor and assigns it back only when the message was whole: on "need more"
 * nothing has been consumed. And it is monotone: what it says of some bytes it also says of them
 * with more behind, unless it said WIRE_MORE. So the pieces in which bytes arrive change nothing.
 */
enum {
	WIRE_MORE = 0,
	WIRE_DONE = 1,
};

/* Starts reading at the first of `len` bytes; `data` may be NULL when `len` is 0. */
struct wire_reader wire_reader_of(const void *data, size_t len);

/* Bytes not yet read. */
size_t wire_left(const struct wire_reader *r);

uint8_t wire_read_u8(struct wire_reader *r);
uint16_t wire_read_u16(struct wire_reader *r);
uint32_t wire_read_u32(struct wire_reader *r);

/* The next `n` bytes, in place, or NULL where fewer are left. With n == 0 the result may be used
 * for nothing. */
const uint8_t *wire_read_bytes(struct wire_reader *r, size_t n);

/* The bytes up to and without the next `stop`, which is consumed too; `*ret_len` is their count.
 * NULL (and a failed cursor) where there is no `stop` in what is left. */
const uint8_t *wire_read_until(struct wire_reader *r, uint8_t stop, size_t *ret_len);

/*
 * A bounded writer with the same habit: what does not fit is not written at all, sets `failed`,
 * and so does everything after it.
 */
struct wire_writer {
	uint8_t *data;
	size_t cap;
	size_t len;
	bool failed;
};

struct wire_writer wire_writer_of(void *data, size_t cap);

void wire_write_u8(struct wire_writer *w, uint8_t v);
void wire_write_u16(struct wire_writer *w, uint16_t v);
void wire_write_u32(struct wire_writer *w, uint32_t v);
void wire_write_bytes(struct wire_writer *w, const void *data, size_t n);
void wire_write_text(struct wire_writer *w, const char *text);

#endif
