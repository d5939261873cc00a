/* SPDX-License-Identifier: MIT */
/* What a proxy says itself over HTTP/1.x, and CONNECT from the client's side (protocol.md
 * section 10): credentials, answers, the request for a tunnel. */
#ifndef TABI_PROTO_HTTP_H
#define TABI_PROTO_HTTP_H

#include "proto/addr.h"
#include "proto/httphead.h"
#include "proto/userpass.h"
#include "proto/wire.h"

/* Longest user ":" password of Basic credentials, decoded. */
#define HTTP_BASIC_MAX 511

/*
 * Reads `Basic BASE64` into `buf`, which the result leads into and the caller wipes. Split at the
 * first colon. Returns 0, or ERR_AUTH for whatever cannot be right: another scheme, bad base64, no
 * colon, more than 255 bytes.
 */
int http_decode_basic(const struct http_text *credentials, uint8_t buf[static HTTP_BASIC_MAX],
    struct userpass *ret_credentials);

struct http_answer {
	int status;
	const char *text; /* the body, one line without its end */
	bool keep_alive;  /* what the Connection field says */
	bool challenge;   /* ask for Basic credentials */
	bool no_body;     /* the answer to HEAD */
};

void http_write_answer(struct wire_writer *out, const struct http_answer *answer);

/* The answer to CONNECT that opens the tunnel. */
void http_write_established(struct wire_writer *out);

/* `target` is an IP address or a checked name. `credentials` may be NULL; its user holds no ':'. */
void http_write_connect(
    struct wire_writer *out, const struct addr *target, const struct userpass *credentials);

/*
 * Reads the answer to CONNECT, up to the end of its header block; interim (1xx) answers count as
 * answers of their own. A refusal (300 and more) is read as soon as its status line is there.
 * WIRE_DONE, WIRE_MORE, ERR_MALFORMED or ERR_TOO_LONG.
 */
int http_read_answer(struct wire_reader *in, int *ret_status);

/* How many bytes of an answer of which `in` holds an incomplete beginning are certainly still to
 * come. */
size_t http_answer_missing(const struct wire_reader *in);

#endif
