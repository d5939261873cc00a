/* SPDX-License-Identifier: MIT */
/*
 * Heads of HTTP/1.x messages: the first line, the fields that mean something to a proxy, and what
 * they say of the length of the body (RFC 9112).
 *
 * The reader of requests is strict where leniency has let requests be smuggled: a space before a
 * colon, a folded line, a bare CR, a NUL, a second Host. It takes a lone LF for a line end, and
 * skips up to two empty lines before the request line, as RFC 9112 section 2.2 allows.
 */
#ifndef TABI_PROTO_HTTPHEAD_H
#define TABI_PROTO_HTTPHEAD_H

#include "proto/httptext.h"

#define HTTP_HEAD_MAX 16384 /* of a request: its line and all fields */
#define HTTP_FIELDS_MAX 100
/* An answer comes from where the client wants to go, and cookies and policies are long. */
#define HTTP_ANSWER_MAX 65536
#define HTTP_ANSWER_FIELDS_MAX 256
/* Connection fields, and the bytes of their lists: each field of a head is compared with them. */
#define HTTP_NAMED_MAX 8
#define HTTP_NAMED_BYTES_MAX 1024

/* What the fields say. */
struct http_fields {
	unsigned n_fields;
	unsigned n_host;
	unsigned n_credentials;       /* Proxy-Authorization fields */
	struct http_text credentials; /* value of the last of them */
	unsigned n_lengths, n_codings;
	bool bad_length;           /* no number, or several that differ */
	uint64_t length;           /* of Content-Length */
	bool chunked;              /* Transfer-Encoding is "chunked" and nothing else */
	unsigned n_forwards;       /* Max-Forwards fields */
	struct http_text forwards; /* value of the last of them */
	bool says_close, says_keep_alive;
	/* Values of Connection: lists of the fields that are for the next hop alone. */
	struct http_text named[HTTP_NAMED_MAX];
	unsigned n_named;
	bool bare_lf; /* some line ended so */
};

struct http_request {
	struct http_text method, target;
	bool http10;
	struct http_fields fields;
};

/*
 * Reads a whole header block. WIRE_DONE, WIRE_MORE, ERR_TOO_LONG or ERR_MALFORMED; the last as soon
 * as the line that is wrong is complete.
 */
int http_read_request(struct wire_reader *in, struct http_request *ret_request);

/* Has the request a body, or says so little of it that it may have one? */
bool http_has_body(const struct http_request *request);

/* May the connection be used again after an answer that is no tunnel? */
bool http_is_persistent(const struct http_request *request);

struct http_response {
	int status; /* 100 to 999 */
	struct http_text reason;
	bool http10;
	struct http_fields fields;
};

/*
 * The same for an answer, of which a space before a colon is forgiven (whoever forwards it removes
 * it, RFC 9112 section 5.1), but no folded line. Whatever does not begin like HTTP is
 * ERR_MALFORMED at its first byte.
 */
int http_read_response(struct wire_reader *in, struct http_response *ret_response);

/* Its first line alone, into a zeroed `response`: WIRE_DONE, WIRE_MORE or ERR_MALFORMED. On
 * WIRE_MORE the cursor may have moved. */
int http_read_status(struct wire_reader *r, struct http_response *response);

/* The name of a field's line, and `*line` what is behind the colon, untrimmed. False where it is no
 * field. `lenient`: blanks before the colon are taken away. */
bool http_field_name(struct http_text *line, bool lenient, struct http_text *ret_name);

/* Is it in a Connection field? */
bool http_is_named(const struct http_fields *fields, const struct http_text *name);

/* How the end of a body is known (RFC 9112 section 6.3). */
enum http_framing {
	HTTP_NO_BODY,
	HTTP_LENGTH,
	HTTP_CHUNKED,
	HTTP_UNTIL_CLOSE, /* of answers alone */
};

/*
 * Returns 0, or what is wrong: ERR_MALFORMED where the length has two meanings or none, ERR_COMMAND
 * for a transfer coding that is not known. Of HTTP_LENGTH `fields.length` is the length.
 */
int http_request_framing(const struct http_request *q, enum http_framing *ret_framing);

/* `to_head`: it answers HEAD. Returns 0 or ERR_MALFORMED. */
int http_response_framing(
    const struct http_response *a, bool to_head, enum http_framing *ret_framing);

#endif
