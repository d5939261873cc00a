/* SPDX-License-Identifier: MIT */
/*
 * The body of an HTTP/1.x message on its way through: where it ends, and that what is passed on
 * leaves no second opinion about it.
 *
 * Chunks are read strictly (RFC 9112 section 7.1) and written without extensions, which nobody uses
 * but who hopes that two readers see different things in them. Trailers pass, except for fields
 * that would change what has gone before: those are an error.
 */
#ifndef TABI_PROTO_HTTPBODY_H
#define TABI_PROTO_HTTPBODY_H

#include "proto/httphead.h"

/* Bytes of all trailers, and of what one chunk has beside its data: size and extensions. */
#define HTTP_TRAILERS_MAX 8192
#define HTTP_CHUNK_LINE_MAX 256

/* Longer than the name of any trailer that is refused. */
#define HTTP_TRAILER_NAME_MAX 24

enum http_body_state {
	BODY_DATA, /* of a length, of a chunk, or until close */
	BODY_SIZE,
	BODY_EXTENSION,
	BODY_SIZE_LF,
	BODY_DATA_CR,
	BODY_DATA_LF,
	BODY_LINE, /* a trailer begins, or the last line end */
	BODY_NAME,
	BODY_VALUE,
	BODY_LINE_LF,
	BODY_LAST_LF,
	BODY_DONE,
};

/* Written by this module only. */
struct http_body {
	enum http_framing framing;
	enum http_body_state state;
	bool unwrap;   /* pass on the data alone, for those who know no chunks */
	uint64_t left; /* of BODY_DATA with a length */
	uint16_t line; /* bytes of this chunk's line, or of all trailers */
	uint8_t digits, name_len;
	char name[HTTP_TRAILER_NAME_MAX];
};

/* `length` is that of HTTP_LENGTH. */
void http_body_init(struct http_body *b, enum http_framing framing, uint64_t length, bool unwrap);

/* Has all of it been seen? With HTTP_UNTIL_CLOSE never. */
bool http_body_is_done(const struct http_body *b);

/*
 * Takes the next `n` bytes. What is to be passed on is left at the front of `buf`: `*ret_out`
 * bytes, never more than were taken. `*ret_taken` says how many belonged to the body: fewer than
 * `n` only where it has ended, and what is behind is untouched. Returns 0 or ERR_MALFORMED (then
 * the bytes before the mistake are there to be passed on), after which nothing more may be fed.
 */
int http_body_feed(struct http_body *b, uint8_t *buf, size_t n, size_t *ret_taken, size_t *ret_out);

#endif
