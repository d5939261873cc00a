/* SPDX-License-Identifier: MIT */
/*
 * Forwarding plain HTTP (protocol.md section 10.4): what a request for `http://host/path` becomes
 * on its way to the host, and the answer on its way back.
 *
 * Both are written anew, line by line: one line end, one length, one Host, which is the target's.
 * What concerns one hop alone stays behind (RFC 9110 section 7.6.1), and so do the credentials that
 * were meant for this proxy. Nothing is said of the client but that somebody forwards for it (Via).
 *
 * Upgrades are not passed on: clients ask for a tunnel where they want another protocol.
 */
#ifndef TABI_PROTO_HTTPFWD_H
#define TABI_PROTO_HTTPFWD_H

#include "proto/addr.h"
#include "proto/httpbody.h"
#include "proto/httphead.h"

/* What a head may grow by: a line for Host, Via, Connection and the length each; and what a line
 * grows by that ended in LF alone. */
#define HTTPFWD_REQUEST_MAX (HTTP_HEAD_MAX + 1024)
#define HTTPFWD_ANSWER_MAX (HTTP_ANSWER_MAX + HTTP_ANSWER_FIELDS_MAX + 1024)

/*
 * May this request be forwarded, and where to? Returns 0 with `*ret_target`, or
 *   ERR_COMMAND     no http:// URL, or a transfer coding that we do not know; `*ret_why` is then a
 *                   constant sentence for the client
 *   ERR_MALFORMED   no URL that anybody could mean, a body of unclear length, lines without CR
 *   ERR_NAME, ERR_NUMERIC_NAME, ERR_ADDRESS   no host to go to
 * It must have no other method than CONNECT.
 */
int httpfwd_judge(const struct http_request *q, struct addr *ret_target, const char **ret_why);

/* Is it TRACE or OPTIONS whose Max-Forwards is used up (RFC 9110 section 7.6.2)? Then this proxy is
 * whom it asks. */
bool httpfwd_is_for_us(const struct http_request *q);

/* Writes that answer; the connection is closed behind it. Of the request that TRACE shows, what is
 * secret is left out. `in` stands before the request. */
void httpfwd_write_own_answer(struct wire_reader *in, struct wire_writer *out);

/* What has to be known of a request until its answer is through. */
struct httpfwd_request {
	bool is_head;
	bool http10;
	bool persistent; /* the client may use the connection again */
	char method[12]; /* as far as it fits, for the log */
};

/*
 * Reads a request that httpfwd_judge() lets pass and writes what goes to `target`; `out` has room
 * for HTTPFWD_REQUEST_MAX. Returns WIRE_DONE, with `*ret_body` ready for its body, or an error as
 * httpfwd_judge().
 */
int httpfwd_write_request(struct wire_reader *in, struct wire_writer *out,
    struct httpfwd_request *ret_request, struct http_body *ret_body);

struct httpfwd_answer {
	int status;
	bool interim;     /* 1xx: another answer follows */
	bool keep_client; /* the client was told that it may go on, or not told otherwise */
	bool keep_target; /* the destination will take another request */
};

/*
 * Reads the head of an answer to request `q` and writes what goes to the client; `out` has room for
 * HTTPFWD_ANSWER_MAX. `may_keep`: but for the answer itself nothing is against using the client's
 * connection again. Returns WIRE_DONE, WIRE_MORE, ERR_MALFORMED or ERR_TOO_LONG. An interim answer
 * to a client of HTTP/1.0, which knows none, is read and not written.
 */
int httpfwd_write_answer(struct wire_reader *in, struct wire_writer *out,
    const struct httpfwd_request *q, bool may_keep, struct httpfwd_answer *ret_answer,
    struct http_body *ret_body);

#endif
