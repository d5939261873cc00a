/* SPDX-License-Identifier: MIT */
#include "proto/httpfwd.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "proto/err.h"

#define PORT_HTTP 80
/* Digits of Max-Forwards. Nobody counts further. */
#define FORWARDS_DIGITS_MAX 9

/* ---- the target ---- */

/* http://AUTHORITY and what follows, which is empty or begins with '/' or '?'. */
struct url {
	struct http_text authority, rest;
};

static const char no_page[] =
    "This port is a proxy for SOCKS 4, 4A and 5 and for HTTP; it has no pages of its own.";
static const char other_scheme[] =
    "This proxy forwards http:// alone. For https:// it opens a tunnel (CONNECT): "
    "set it as the client's proxy for https too.";
static const char other_coding[] = "This proxy knows no transfer coding but chunked.";

/* Returns 0, or ERR_COMMAND with `*ret_why`. */
static int split_url(const struct http_text *target, struct url *ret_url, const char **ret_why)
{
	struct http_text rest = *target, scheme;

	*ret_why = no_page;
	if (target->at[0] == '/' || !http_split(&rest, ':', &scheme))
		return ERR_COMMAND;
	if (rest.len < 2 || memcmp(rest.at, "//", 2) != 0)
		return ERR_COMMAND;
	*ret_why = other_scheme;
	if (!http_word_is(&scheme, "http"))
		return ERR_COMMAND;
	rest.at += 2;
	rest.len -= 2;
	ret_url->authority = rest;
	for (size_t i = 0; i < rest.len; i++)
		if (rest.at[i] == '/' || rest.at[i] == '?') {
			ret_url->authority.len = i;
			break;
		}
	ret_url->rest.at = rest.at + ret_url->authority.len;
	ret_url->rest.len = rest.len - ret_url->authority.len;
	return 0;
}

/* The port may be missing, or empty behind its colon (RFC 3986 section 3.2.3). */
static int read_authority(struct http_text text, struct addr *ret)
{
	struct http_text host = text;
	uint16_t port = PORT_HTTP;
	const uint8_t *at;
	int rc;

	at = text.len > 0 && text.at[0] == '[' ? memchr(text.at, ']', text.len) : text.at;
	if (!at)
		return ERR_NAME;
	at = memchr(at, ':', text.len - (size_t)(at - text.at));
	if (at) {
		host.len = (size_t)(at - text.at);
		text.len -= host.len + 1;
		if (text.len > 0 && port_parse((const char *)at + 1, text.len, &port) != 0)
			return ERR_ADDRESS;
	}
	if (port == 0)
		return ERR_ADDRESS;
	rc = addr_set_host(ret, (const char *)host.at, host.len);
	ret->port = port;
	return rc;
}

static bool is_traced(const struct http_request *q)
{
	return http_text_is(&q->method, "TRACE") || http_text_is(&q->method, "OPTIONS");
}

/* Max-Forwards of a TRACE or OPTIONS, or -1 where it says nothing or nothing that makes sense. */
static int64_t forwards_left(const struct http_request *q)
{
	const struct http_text *text = &q->fields.forwards;
	int64_t n = 0;

	if (!is_traced(q) || q->fields.n_forwards != 1 || text->len == 0 ||
	    text->len > FORWARDS_DIGITS_MAX)
		return -1;
	for (size_t i = 0; i < text->len; i++) {
		if (!http_is_digit(text->at[i]))
			return -1;
		n = n * 10 + (text->at[i] - '0');
	}
	return n;
}

int httpfwd_judge(const struct http_request *q, struct addr *ret_target, const char **ret_why)
{
	enum http_framing framing;
	struct addr target = {.kind = ADDR_NONE};
	struct url url;
	int rc = split_url(&q->target, &url, ret_why);

	if (rc != 0)
		return rc;
	/* A fragment is no part of a request, and two readers may differ about where it begins. (A
	 * user before '@' is no host: that is seen below.) */
	if (memchr(q->target.at, '#', q->target.len) || q->fields.bare_lf)
		return ERR_MALFORMED;
	if (is_traced(q) && q->fields.n_forwards > 0 && forwards_left(q) < 0)
		return ERR_MALFORMED;
	rc = http_request_framing(q, &framing);
	*ret_why = other_coding;
	if (rc == 0 && http_text_is(&q->method, "TRACE") && framing != HTTP_NO_BODY)
		rc = ERR_MALFORMED;
	if (rc == 0)
		rc = read_authority(url.authority, &target);
	if (rc == 0)
		*ret_target = target;
	return rc;
}

bool httpfwd_is_for_us(const struct http_request *q)
{
	return forwards_left(q) == 0;
}

/* ---- writing heads ---- */

static void write_http_text(struct wire_writer *out, struct http_text text)
{
	wire_write_bytes(out, text.at, text.len);
}

static void write_field(struct wire_writer *out, const char *name, const char *value)
{
	wire_write_text(out, name);
	wire_write_text(out, ": ");
	wire_write_text(out, value);
	wire_write_text(out, "\r\n");
}

static bool is_one_of(const struct http_text *name, const char *const *names)
{
	for (; *names; names++)
		if (http_word_is(name, *names))
			return true;
	return false;
}

/* Written anew, or for this hop alone. */
static const char *const hop_fields[] = {"connection", "proxy-connection", "keep-alive", "te",
    "transfer-encoding", "upgrade", "http2-settings", "content-length", "proxy-authorization",
    "proxy-authenticate", "proxy-authentication-info", NULL};

static bool is_for_us(const struct http_fields *f, const struct http_text *name)
{
	return is_one_of(name, hop_fields) || http_is_named(f, name);
}

/*
 * The fields of a head that has been read before, one call each: `*ret_name`, and the value. `line`
 * behind the last one is false. The cursor stands behind the first line.
 */
static bool next_field(
    struct wire_reader *in, struct http_text *ret_name, struct http_text *ret_value)
{
	struct http_text line;

	if (http_read_line(in, &line, NULL) != WIRE_DONE || line.len == 0)
		return false;
	if (!http_field_name(&line, true, ret_name))
		return false;
	*ret_value = http_trim(line);
	return true;
}

static void copy_field(struct wire_writer *out, struct http_text name, struct http_text value)
{
	write_http_text(out, name);
	wire_write_text(out, ": ");
	write_http_text(out, value);
	wire_write_text(out, "\r\n");
}

static void write_length(struct wire_writer *out, uint64_t length)
{
	char text[24];

	snprintf(text, sizeof(text), "%" PRIu64, length);
	write_field(out, "Content-Length", text);
}

static void write_via(struct wire_writer *out, bool http10)
{
	write_field(out, "Via", http10 ? "1.0 tabi" : "1.1 tabi");
}

/* ---- the request ---- */

static void write_request_line(
    struct wire_writer *out, const struct http_request *q, struct url url)
{
	write_http_text(out, q->method);
	/* RFC 9112 section 3.2.4: OPTIONS without a path asks about the server as a whole. */
	if (url.rest.len == 0)
		wire_write_text(out, http_text_is(&q->method, "OPTIONS") ? " *" : " /");
	else
		wire_write_text(out, url.rest.at[0] == '/' ? " " : " /");
	write_http_text(out, url.rest);
	wire_write_text(out, " HTTP/1.1\r\n");
}

/* From the target alone: what the client says in its own Host has no say. */
static void write_host(struct wire_writer *out, const struct addr *target)
{
	char text[ADDR_TEXT_MAX];
	size_t len;

	addr_format(target, text);
	len = strlen(text);
	/* The port that everybody expects is left out, and some servers expect that too. */
	if (target->port == PORT_HTTP)
		text[len - 3] = '\0';
	write_field(out, "Host", text);
}

static void copy_request_fields(
    struct wire_reader *in, struct wire_writer *out, const struct http_request *q)
{
	struct http_text name, value;
	char text[24];

	while (next_field(in, &name, &value)) {
		if (is_for_us(&q->fields, &name) || http_word_is(&name, "host"))
			continue;
		/* Of HTTP/1.0 nobody waits for 100 (RFC 9110 section 10.1.1). */
		if (q->http10 && http_word_is(&name, "expect"))
			continue;
		if (is_traced(q) && http_word_is(&name, "max-forwards")) {
			snprintf(text, sizeof(text), "%" PRId64, forwards_left(q) - 1);
			write_field(out, "Max-Forwards", text);
		} else {
			copy_field(out, name, value);
		}
	}
}

static void note_request(const struct http_request *q, struct httpfwd_request *ret)
{
	size_t n = q->method.len;

	*ret = (struct httpfwd_request){
	    .is_head = http_text_is(&q->method, "HEAD"),
	    .http10 = q->http10,
	    .persistent = http_is_persistent(q),
	};
	if (n >= sizeof(ret->method))
		n = sizeof(ret->method) - 1;
	memcpy(ret->method, q->method.at, n);
}

/* Behind the first line that is not empty. */
static void skip_first_line(struct wire_reader *in)
{
	struct http_text line;

	while (http_read_line(in, &line, NULL) == WIRE_DONE && line.len == 0)
		;
}

int httpfwd_write_request(struct wire_reader *in, struct wire_writer *out,
    struct httpfwd_request *ret_request, struct http_body *ret_body)
{
	struct wire_reader fields = *in, r = *in;
	enum http_framing framing;
	struct http_request q;
	struct addr target;
	struct url url;
	const char *why;
	int rc = http_read_request(&r, &q);

	if (rc != WIRE_DONE)
		return rc;
	rc = httpfwd_judge(&q, &target, &why);
	if (rc != 0)
		return rc;
	in->pos = r.pos;
	split_url(&q.target, &url, &why);
	http_request_framing(&q, &framing);
	note_request(&q, ret_request);
	http_body_init(ret_body, framing, q.fields.length, false);
	write_request_line(out, &q, url);
	write_host(out, &target);
	skip_first_line(&fields);
	copy_request_fields(&fields, out, &q);
	write_via(out, q.http10);
	if (framing == HTTP_LENGTH)
		write_length(out, q.fields.length);
	else if (framing == HTTP_CHUNKED)
		write_field(out, "Transfer-Encoding", "chunked");
	if (!ret_request->persistent)
		write_field(out, "Connection", "close");
	wire_write_text(out, "\r\n");
	return WIRE_DONE;
}

/* ---- an answer of our own ---- */

/* What TRACE must not show to a script in a page, and what is ours (RFC 9110 section 9.3.8). */
static const char *const secret_fields[] = {
    "authorization", "proxy-authorization", "cookie", "cookie2", NULL};

static void write_trace(struct wire_reader *in, struct wire_writer *out)
{
	struct http_text line, name, value;

	do
		if (http_read_line(in, &line, NULL) != WIRE_DONE)
			return;
	while (line.len == 0);
	write_http_text(out, line);
	wire_write_text(out, "\r\n");
	while (next_field(in, &name, &value))
		if (!is_one_of(&name, secret_fields))
			copy_field(out, name, value);
	wire_write_text(out, "\r\n");
}

void httpfwd_write_own_answer(struct wire_reader *in, struct wire_writer *out)
{
	struct wire_reader head = *in;
	struct http_request q;

	if (http_read_request(in, &q) != WIRE_DONE)
		return;
	wire_write_text(out, "HTTP/1.1 200 OK\r\nConnection: close\r\n");
	if (http_text_is(&q.method, "TRACE")) {
		/* Close-delimited: the copy is written once, behind the head. */
		wire_write_text(out, "Content-Type: message/http\r\n\r\n");
		write_trace(&head, out);
	} else {
		wire_write_text(out, "Allow: CONNECT, OPTIONS, TRACE\r\nContent-Length: 0\r\n\r\n");
	}
}

/* ---- the answer ---- */

static void write_status_line(struct wire_writer *out, const struct http_response *a)
{
	char text[24];

	snprintf(text, sizeof(text), "HTTP/1.1 %03d ", a->status);
	wire_write_text(out, text);
	write_http_text(out, a->reason);
	wire_write_text(out, "\r\n");
}

static void write_answer_length(
    struct wire_writer *out, const struct http_response *a, enum http_framing framing, bool unwrap)
{
	bool has_no_length = a->status < 200 || a->status == 204;

	if (framing == HTTP_CHUNKED && !unwrap)
		write_field(out, "Transfer-Encoding", "chunked");
	/* Without a body, to HEAD or in 304, it is that of the body which there might have been. */
	else if (a->fields.n_lengths > 0 && !has_no_length)
		write_length(out, a->fields.length);
}

static void write_answer_connection(
    struct wire_writer *out, const struct httpfwd_request *q, const struct httpfwd_answer *ret)
{
	if (ret->interim)
		return;
	if (!ret->keep_client)
		write_field(out, "Connection", "close");
	else if (q->http10)
		write_field(out, "Connection", "keep-alive");
}

/* An answer that no destination may give: 101, since nobody asked for another protocol, and 407,
 * since nobody but us may ask for the credentials that are meant for us. */
static bool is_out_of_place(int status)
{
	return status == 101 || status == 407;
}

int httpfwd_write_answer(struct wire_reader *in, struct wire_writer *out,
    const struct httpfwd_request *q, bool may_keep, struct httpfwd_answer *ret_answer,
    struct http_body *ret_body)
{
	struct wire_reader fields = *in, r = *in;
	struct http_text name, value;
	enum http_framing framing;
	struct http_response a;
	bool unwrap;
	int rc = http_read_response(&r, &a);

	if (rc != WIRE_DONE)
		return rc;
	if (is_out_of_place(a.status) || http_response_framing(&a, q->is_head, &framing) != 0)
		return ERR_MALFORMED;
	in->pos = r.pos;
	unwrap = q->http10 && framing == HTTP_CHUNKED;
	*ret_answer = (struct httpfwd_answer){
	    .status = a.status,
	    .interim = a.status < 200,
	    .keep_client = may_keep && q->persistent && framing != HTTP_UNTIL_CLOSE && !unwrap,
	    .keep_target = framing != HTTP_UNTIL_CLOSE && !a.fields.says_close &&
			   (!a.http10 || a.fields.says_keep_alive),
	};
	http_body_init(ret_body, framing, a.fields.length, unwrap);
	if (ret_answer->interim && q->http10)
		return WIRE_DONE;
	write_status_line(out, &a);
	skip_first_line(&fields);
	while (next_field(&fields, &name, &value))
		if (!is_for_us(&a.fields, &name))
			copy_field(out, name, value);
	write_via(out, a.http10);
	write_answer_length(out, &a, framing, unwrap);
	write_answer_connection(out, q, ret_answer);
	wire_write_text(out, "\r\n");
	return WIRE_DONE;
}
