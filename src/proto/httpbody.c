/* SPDX-License-Identifier: MIT */
#include "proto/httpbody.h"

#include <string.h>

#include "proto/err.h"

/* So many hexadecimal digits a 64-bit number certainly holds. */
#define SIZE_DIGITS_MAX 15

void http_body_init(struct http_body *b, enum http_framing framing, uint64_t length, bool unwrap)
{
	*b = (struct http_body){.framing = framing, .unwrap = unwrap, .left = length};
	if (framing == HTTP_NO_BODY || (framing == HTTP_LENGTH && length == 0))
		b->state = BODY_DONE;
	else
		b->state = framing == HTTP_CHUNKED ? BODY_SIZE : BODY_DATA;
}

bool http_body_is_done(const struct http_body *b)
{
	return b->state == BODY_DONE;
}

static int hex_value(uint8_t c)
{
	if (http_is_digit(c))
		return c - '0';
	c |= 0x20;
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* What may stand in an extension or a trailer's value. */
static bool is_text(uint8_t c)
{
	return c == '\t' || (c >= 0x20 && c != 0x7f);
}

/* Fields of trailers that would have meant something in the head: to this hop, or about framing,
 * routing and who asks (RFC 9110 section 6.5.1). */
static bool is_forbidden(const struct http_body *b)
{
	static const char *const names[] = {"content-length", "transfer-encoding", "host",
	    "connection", "proxy-connection", "keep-alive", "te", "trailer", "upgrade",
	    "authorization", "proxy-authorization", "proxy-authenticate", "set-cookie", "cookie",
	    "content-encoding", "content-type", "content-range", "max-forwards", "expect"};
	const struct http_text name = {(const uint8_t *)b->name, b->name_len};

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (http_word_is(&name, names[i]))
			return true;
	return false;
}

/* The state that a byte of framing leads to from BODY_SIZE, or ERR_MALFORMED. */
static int step_size(struct http_body *b, uint8_t c)
{
	int v = hex_value(c);

	if (v >= 0) {
		if (b->digits++ == SIZE_DIGITS_MAX)
			return ERR_MALFORMED;
		b->left = b->left << 4 | (uint64_t)v;
		return BODY_SIZE;
	}
	if (b->digits == 0)
		return ERR_MALFORMED;
	if (c == '\r')
		return BODY_SIZE_LF;
	return c == ';' || c == ' ' || c == '\t' ? BODY_EXTENSION : ERR_MALFORMED;
}

static int step_name(struct http_body *b, uint8_t c)
{
	if (c == ':')
		return b->name_len == 0 || is_forbidden(b) ? ERR_MALFORMED : BODY_VALUE;
	if (!http_is_tchar(c))
		return ERR_MALFORMED;
	/* A name too long to be kept is none of the forbidden ones, and must not end as one. */
	if (b->name_len < HTTP_TRAILER_NAME_MAX)
		b->name[b->name_len++] = (char)c;
	return BODY_NAME;
}

static int expect(uint8_t c, uint8_t wanted, enum http_body_state next)
{
	return c == wanted ? (int)next : ERR_MALFORMED;
}

static enum http_body_state after_size(struct http_body *b)
{
	b->line = 0;
	return b->left == 0 ? BODY_LINE : BODY_DATA;
}

static int step(struct http_body *b, uint8_t c)
{
	switch (b->state) {
	case BODY_SIZE:
		return step_size(b, c);
	case BODY_EXTENSION:
		if (c == '\r')
			return BODY_SIZE_LF;
		return is_text(c) ? BODY_EXTENSION : ERR_MALFORMED;
	case BODY_SIZE_LF:
		return expect(c, '\n', after_size(b));
	case BODY_DATA_CR:
		return expect(c, '\r', BODY_DATA_LF);
	case BODY_DATA_LF:
		b->digits = 0;
		return expect(c, '\n', BODY_SIZE);
	case BODY_LINE:
		b->name_len = 0;
		return c == '\r' ? (int)BODY_LAST_LF : step_name(b, c);
	case BODY_NAME:
		return step_name(b, c);
	case BODY_VALUE:
		if (c == '\r')
			return BODY_LINE_LF;
		return is_text(c) ? BODY_VALUE : ERR_MALFORMED;
	case BODY_LINE_LF:
		return expect(c, '\n', BODY_LINE);
	case BODY_LAST_LF:
		return expect(c, '\n', BODY_DONE);
	case BODY_DATA:
	case BODY_DONE:
		break;
	}
	return ERR_MALFORMED;
}

static bool is_too_long(const struct http_body *b)
{
	return b->line > (b->state <= BODY_SIZE_LF ? HTTP_CHUNK_LINE_MAX : HTTP_TRAILERS_MAX);
}

/* One byte that is not data. Returns whether it is passed on, or ERR_MALFORMED. */
static int take_framing(struct http_body *b, uint8_t c)
{
	enum http_body_state was = b->state;
	int next;

	b->line++;
	next = is_too_long(b) ? ERR_MALFORMED : step(b, c);
	if (next < 0)
		return next;
	b->state = (enum http_body_state)next;
	if (b->unwrap || next == BODY_EXTENSION)
		return 0;
	/* Of the extension's own bytes only the CR that ends it stays. */
	return was != BODY_EXTENSION || next == BODY_SIZE_LF;
}

/* How many of `n` bytes are data. */
static size_t take_data(struct http_body *b, size_t n)
{
	if (b->framing == HTTP_UNTIL_CLOSE)
		return n;
	if (n > b->left)
		n = (size_t)b->left;
	b->left -= n;
	if (b->left == 0) {
		b->state = b->framing == HTTP_CHUNKED ? BODY_DATA_CR : BODY_DONE;
		b->line = 0;
	}
	return n;
}

int http_body_feed(struct http_body *b, uint8_t *buf, size_t n, size_t *ret_taken, size_t *ret_out)
{
	size_t at = 0, out = 0;
	int rc = 0;

	while (at < n && rc >= 0 && b->state != BODY_DONE) {
		size_t len = 1;

		if (b->state == BODY_DATA)
			rc = (len = take_data(b, n - at)) > 0;
		else
			rc = take_framing(b, buf[at]);
		if (rc > 0) {
			if (out != at)
				memmove(buf + out, buf + at, len);
			out += len;
		}
		at += len;
	}
	*ret_taken = at;
	*ret_out = out;
	return rc < 0 ? rc : 0;
}
