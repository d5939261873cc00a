/* SPDX-License-Identifier: MIT */
#include "proto/http.h"

#include <stdio.h>
#include <string.h>

#include "proto/err.h"

/* The six bits of a base64 digit, or -1. */
static int base64_value(uint8_t c)
{
	if (c >= 'A' && c <= 'Z')
		return c - 'A';
	if (c >= 'a' && c <= 'z')
		return c - 'a' + 26;
	if (http_is_digit(c))
		return c - '0' + 52;
	if (c == '+')
		return 62;
	return c == '/' ? 63 : -1;
}

/*
 * RFC 4648 section 4, with or without padding. Returns the number of bytes, or -1 where the text is
 * not base64 or has more than `cap` bytes. Left-over bits must be zero: one password, one spelling.
 */
static int base64_decode(struct http_text text, uint8_t *buf, size_t cap)
{
	size_t n = 0, padding = 0, digits;
	uint32_t bits = 0;
	unsigned held = 0;

	while (padding < 2 && text.len > padding && text.at[text.len - 1 - padding] == '=')
		padding++;
	digits = text.len - padding;
	if (digits % 4 == 1 || (padding > 0 && text.len % 4 != 0))
		return -1;
	for (size_t i = 0; i < digits; i++) {
		int v = base64_value(text.at[i]);

		if (v < 0)
			return -1;
		bits = bits << 6 | (uint32_t)v;
		held += 6;
		if (held < 8)
			continue;
		if (n == cap)
			return -1;
		held -= 8;
		buf[n++] = (uint8_t)(bits >> held);
		bits &= (1u << held) - 1;
	}
	return bits == 0 ? (int)n : -1;
}

int http_decode_basic(const struct http_text *credentials, uint8_t buf[static HTTP_BASIC_MAX],
    struct userpass *ret_credentials)
{
	struct http_text rest = *credentials, scheme, user;
	int n;

	if (!http_split(&rest, ' ', &scheme) || !http_word_is(&scheme, "basic"))
		return ERR_AUTH;
	n = base64_decode(http_trim(rest), buf, HTTP_BASIC_MAX);
	if (n < 0)
		return ERR_AUTH;
	rest = (struct http_text){buf, (size_t)n};
	/* The user cannot hold a colon; the password may (RFC 7617 section 2). */
	if (!http_split(&rest, ':', &user) || user.len > UINT8_MAX || rest.len > UINT8_MAX)
		return ERR_AUTH;
	*ret_credentials = (struct userpass){
	    .user_len = (uint8_t)user.len,
	    .password_len = (uint8_t)rest.len,
	    .user = user.at,
	    .password = rest.at,
	};
	return 0;
}

static void write_base64(struct wire_writer *out, const uint8_t *data, size_t len)
{
	static const char digits[] =
	    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

	for (size_t i = 0; i < len; i += 3) {
		size_t n = len - i < 3 ? len - i : 3;
		uint32_t v = (uint32_t)data[i] << 16;

		if (n > 1)
			v |= (uint32_t)data[i + 1] << 8;
		if (n > 2)
			v |= data[i + 2];
		wire_write_u8(out, digits[v >> 18]);
		wire_write_u8(out, digits[v >> 12 & 63]);
		wire_write_u8(out, n > 1 ? digits[v >> 6 & 63] : '=');
		wire_write_u8(out, n > 2 ? digits[v & 63] : '=');
	}
}

static const char *reason_of(int status)
{
	static const struct {
		int status;
		const char *reason;
	} reasons[] = {
	    {400, "Bad Request"},
	    {403, "Forbidden"},
	    {407, "Proxy Authentication Required"},
	    {408, "Request Timeout"},
	    {431, "Request Header Fields Too Large"},
	    {501, "Not Implemented"},
	    {502, "Bad Gateway"},
	    {503, "Service Unavailable"},
	    {504, "Gateway Timeout"},
	};

	for (size_t i = 0; i < sizeof(reasons) / sizeof(reasons[0]); i++)
		if (reasons[i].status == status)
			return reasons[i].reason;
	return "Error";
}

void http_write_answer(struct wire_writer *out, const struct http_answer *answer)
{
	char line[80];

	snprintf(
	    line, sizeof(line), "HTTP/1.1 %d %s\r\n", answer->status, reason_of(answer->status));
	wire_write_text(out, line);
	if (answer->challenge)
		wire_write_text(
		    out, "Proxy-Authenticate: Basic realm=\"tabi\", charset=\"UTF-8\"\r\n");
	wire_write_text(out, "Content-Type: text/plain\r\n");
	snprintf(line, sizeof(line), "Content-Length: %zu\r\n", strlen(answer->text) + 1);
	wire_write_text(out, line);
	wire_write_text(out,
	    answer->keep_alive ? "Connection: keep-alive\r\n\r\n" : "Connection: close\r\n\r\n");
	if (answer->no_body)
		return;
	wire_write_text(out, answer->text);
	wire_write_u8(out, '\n');
}

void http_write_established(struct wire_writer *out)
{
	wire_write_text(out, "HTTP/1.1 200 Connection established\r\n\r\n");
}

static void write_credentials(struct wire_writer *out, const struct userpass *credentials)
{
	uint8_t pair[HTTP_BASIC_MAX];
	struct wire_writer w = wire_writer_of(pair, sizeof(pair));

	wire_write_bytes(&w, credentials->user, credentials->user_len);
	wire_write_u8(&w, ':');
	wire_write_bytes(&w, credentials->password, credentials->password_len);
	wire_write_text(out, "Proxy-Authorization: Basic ");
	write_base64(out, pair, w.len);
	wire_write_text(out, "\r\n");
	explicit_bzero(pair, sizeof(pair));
}

void http_write_connect(
    struct wire_writer *out, const struct addr *target, const struct userpass *credentials)
{
	char authority[ADDR_TEXT_MAX];

	addr_format(target, authority);
	wire_write_text(out, "CONNECT ");
	wire_write_text(out, authority);
	wire_write_text(out, " HTTP/1.1\r\nHost: ");
	wire_write_text(out, authority);
	wire_write_text(out, "\r\n");
	if (credentials)
		write_credentials(out, credentials);
	wire_write_text(out, "\r\n");
}

/* Fields of an answer are not looked at: in one to CONNECT none of them means anything, not even
 * those that would give a length (RFC 9110 section 9.3.6). */
static int read_answer_head(struct wire_reader *r, int *ret_status)
{
	struct http_response a = {0};
	struct http_text line;
	int rc = http_read_status(r, &a);

	if (rc != WIRE_DONE)
		return rc;
	*ret_status = a.status;
	/* A refusal needs no more than its status; a body may follow that nobody wants. */
	if (*ret_status >= 300)
		return WIRE_DONE;
	do
		rc = http_read_line(r, &line, NULL);
	while (rc == WIRE_DONE && line.len > 0);
	return rc;
}

int http_read_answer(struct wire_reader *in, int *ret_status)
{
	struct wire_reader r = http_head_of(in, HTTP_HEAD_MAX);
	int status, rc = read_answer_head(&r, &status);

	if (rc == WIRE_MORE && wire_left(in) >= HTTP_HEAD_MAX)
		return ERR_TOO_LONG;
	if (rc != WIRE_DONE)
		return rc;
	*ret_status = status;
	in->pos = r.pos;
	return WIRE_DONE;
}

size_t http_answer_missing(const struct wire_reader *in)
{
	static const size_t shortest = sizeof("HTTP/1.1 200\n\n") - 1;
	size_t have = wire_left(in);
	const uint8_t *end;

	if (have < shortest)
		return shortest - have;
	/* The block ends in LF LF, or LF CR LF. */
	end = in->data + in->len;
	return end[-1] == '\n' || (end[-1] == '\r' && end[-2] == '\n') ? 1 : 2;
}
