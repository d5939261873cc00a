/* SPDX-License-Identifier: MIT */
/*
 * HTTP/1.x as far as a CONNECT proxy needs it, in both directions (protocol.md section 10).
 *
 * The reader of requests is strict where leniency has let requests be smuggled: a space before a
 * colon, a folded line, a bare CR, a NUL, a second Host. It takes a lone LF for a line end, and
 * skips up to two empty lines before the request line, as RFC 9112 section 2.2 allows.
 */
#ifndef TABI_PROTO_HTTP_H
#define TABI_PROTO_HTTP_H

#include "proto/addr.h"
#include "proto/userpass.h"
#include "proto/wire.h"

#define HTTP_HEAD_MAX 16384 /* request or status line and all fields */
#define HTTP_FIELDS_MAX 100

/* Text inside the bytes that were read; opaque, without NUL at its end. */
struct http_text {
	const uint8_t *at;
	size_t len;
};

struct http_request {
	struct http_text method, target;
	bool http10;
	unsigned n_fields;
	unsigned n_host;
	unsigned n_credentials;       /* Proxy-Authorization fields */
	struct http_text credentials; /* value of the last of them */
	bool has_body;                /* Transfer-Encoding, or a Content-Length that is not 0 */
	bool says_close, says_keep_alive;
};

/*
 * Reads a whole header block. WIRE_DONE, WIRE_MORE, ERR_TOO_LONG or ERR_MALFORMED; the last as soon
 * as the line that is wrong is complete.
 */
int http_read_request(struct wire_reader *in, struct http_request *ret_request);

bool http_text_is(const struct http_text *text, const char *word);

/* May the connection be used again after an answer that is no tunnel? */
bool http_is_persistent(const struct http_request *request);

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
