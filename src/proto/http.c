/* SPDX-License-Identifier: MIT */
#include "proto/http.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "proto/err.h"

/* RFC 9112 section 2.2 wants at least one. */
#define EMPTY_LINES_MAX 2

static bool is_digit(uint8_t c)
{
	return c >= '0' && c <= '9';
}

/* tchar of RFC 9110 section 5.6.2: what methods and field names are made of. */
static bool is_tchar(uint8_t c)
{
	if (is_digit(c) || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z'))
		return true;
	return c != 0 && strchr("!#$%&'*+-.^_`|~", c);
}

static bool is_token(const struct http_text *text)
{
	for (size_t i = 0; i < text->len; i++)
		if (!is_tchar(text->at[i]))
			return false;
	return text->len > 0;
}

bool http_text_is(const struct http_text *text, const char *word)
{
	return text->len == strlen(word) && memcmp(text->at, word, text->len) == 0;
}

static bool is_word(const struct http_text *text, const char *word)
{
	return text->len == strlen(word) &&
	       strncasecmp((const char *)text->at, word, text->len) == 0;
}

/*
 * The next line, without its CRLF or LF. WIRE_MORE where it has no end yet. A CR elsewhere, a NUL
 * or another control character is ERR_MALFORMED: what one reader takes for a line end another may
 * not.
 */
static int read_line(struct wire_reader *r, struct http_text *ret_line)
{
	const uint8_t *at;
	size_t len;

	at = wire_read_until(r, '\n', &len);
	if (!at)
		return WIRE_MORE;
	if (len > 0 && at[len - 1] == '\r')
		len--;
	for (size_t i = 0; i < len; i++)
		if ((at[i] < 0x20 && at[i] != '\t') || at[i] == 0x7f)
			return ERR_MALFORMED;
	*ret_line = (struct http_text){at, len};
	return WIRE_DONE;
}

/* Splits `text` at the first `c`: what is before it goes to `*ret_head`, the rest stays. */
static bool split(struct http_text *text, uint8_t c, struct http_text *ret_head)
{
	const uint8_t *at = text->len > 0 ? memchr(text->at, c, text->len) : NULL;
	size_t n;

	if (!at)
		return false;
	n = (size_t)(at - text->at);
	*ret_head = (struct http_text){text->at, n};
	*text = (struct http_text){at + 1, text->len - n - 1};
	return true;
}

static bool is_blank(uint8_t c)
{
	return c == ' ' || c == '\t';
}

static struct http_text trim(struct http_text text)
{
	while (text.len > 0 && is_blank(text.at[0])) {
		text.at++;
		text.len--;
	}
	while (text.len > 0 && is_blank(text.at[text.len - 1]))
		text.len--;
	return text;
}

/* HTTP/1.x, in capitals as RFC 9112 section 2.3 has it; a higher minor version is read as 1.1 (RFC
 * 9110 section 2.5). */
static bool is_http1(const struct http_text *version)
{
	return version->len == 8 && memcmp(version->at, "HTTP/1.", 7) == 0 &&
	       is_digit(version->at[7]);
}

/* method SP target SP HTTP/1.x, with single spaces and nothing else. */
static int parse_request_line(struct http_text line, struct http_request *q)
{
	if (!split(&line, ' ', &q->method) || !is_token(&q->method))
		return ERR_MALFORMED;
	if (!split(&line, ' ', &q->target) || q->target.len == 0)
		return ERR_MALFORMED;
	if (memchr(q->target.at, '\t', q->target.len) || !is_http1(&line))
		return ERR_MALFORMED;
	q->http10 = line.at[7] == '0';
	return 0;
}

static void field_host(struct http_request *q, struct http_text value)
{
	(void)value;
	q->n_host++;
}

static void field_credentials(struct http_request *q, struct http_text value)
{
	q->n_credentials++;
	q->credentials = value;
}

static void field_transfer_encoding(struct http_request *q, struct http_text value)
{
	(void)value;
	q->has_body = true;
}

/* Several fields add up: one that is not zero is enough, and so is one that is no number. */
static void field_content_length(struct http_request *q, struct http_text value)
{
	q->has_body |= value.len == 0;
	for (size_t i = 0; i < value.len; i++)
		q->has_body |= value.at[i] != '0';
}

/* A list of words; those about the life of the connection matter. */
static void field_connection(struct http_request *q, struct http_text value)
{
	struct http_text word;
	bool more = true;

	while (more) {
		more = split(&value, ',', &word);
		word = trim(more ? word : value);
		q->says_close |= is_word(&word, "close");
		q->says_keep_alive |= is_word(&word, "keep-alive");
	}
}

static const struct {
	const char *name;
	void (*read)(struct http_request *q, struct http_text value);
} fields[] = {
    {"host", field_host},
    {"proxy-authorization", field_credentials},
    {"transfer-encoding", field_transfer_encoding},
    {"content-length", field_content_length},
    {"connection", field_connection},
    {"proxy-connection", field_connection},
};

/* A name that is no token covers the space before the colon and the folded line, both of which
 * RFC 9112 section 5 wants refused. */
static int parse_field(struct http_text line, struct http_request *q)
{
	struct http_text name;

	if (!split(&line, ':', &name) || !is_token(&name))
		return ERR_MALFORMED;
	if (++q->n_fields > HTTP_FIELDS_MAX)
		return ERR_TOO_LONG;
	for (size_t i = 0; i < sizeof(fields) / sizeof(fields[0]); i++)
		if (is_word(&name, fields[i].name))
			fields[i].read(q, trim(line));
	return 0;
}

/* The first line that is not empty. */
static int read_first_line(struct wire_reader *r, struct http_text *ret_line)
{
	int rc = WIRE_DONE;

	for (int i = 0; i <= EMPTY_LINES_MAX; i++) {
		rc = read_line(r, ret_line);
		if (rc != WIRE_DONE || ret_line->len > 0)
			return rc;
	}
	return ERR_MALFORMED;
}

/*
 * Line by line, so that an error is found at the line it stands in however much is behind it; an
 * incomplete block is parsed anew with each line that it grows by, of which there are few.
 */
static int read_head(struct wire_reader *r, struct http_request *q)
{
	struct http_text line;
	int rc;

	rc = read_first_line(r, &line);
	if (rc != WIRE_DONE)
		return rc;
	rc = parse_request_line(line, q);
	while (rc == 0) {
		rc = read_line(r, &line);
		if (rc != WIRE_DONE || line.len == 0)
			return rc;
		rc = parse_field(line, q);
	}
	return rc;
}

/* The cursor that sees no more than the longest header block allowed. */
static struct wire_reader head_of(const struct wire_reader *in)
{
	struct wire_reader r = *in;

	if (wire_left(&r) > HTTP_HEAD_MAX)
		r.len = r.pos + HTTP_HEAD_MAX;
	return r;
}

int http_read_request(struct wire_reader *in, struct http_request *ret_request)
{
	struct wire_reader r = head_of(in);
	struct http_request q = {0};
	int rc;

	rc = read_head(&r, &q);
	if (rc == WIRE_MORE && wire_left(in) >= HTTP_HEAD_MAX)
		return ERR_TOO_LONG;
	if (rc != WIRE_DONE)
		return rc;
	*ret_request = q;
	in->pos = r.pos;
	return WIRE_DONE;
}

bool http_is_persistent(const struct http_request *request)
{
	return !request->says_close && (!request->http10 || request->says_keep_alive);
}

/* The six bits of a base64 digit, or -1. */
static int base64_value(uint8_t c)
{
	if (c >= 'A' && c <= 'Z')
		return c - 'A';
	if (c >= 'a' && c <= 'z')
		return c - 'a' + 26;
	if (is_digit(c))
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

	if (!split(&rest, ' ', &scheme) || !is_word(&scheme, "basic"))
		return ERR_AUTH;
	n = base64_decode(trim(rest), buf, HTTP_BASIC_MAX);
	if (n < 0)
		return ERR_AUTH;
	rest = (struct http_text){buf, (size_t)n};
	/* The user cannot hold a colon; the password may (RFC 7617 section 2). */
	if (!split(&rest, ':', &user) || user.len > UINT8_MAX || rest.len > UINT8_MAX)
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

/* HTTP/1.x SP three digits, then nothing or SP and a reason that nobody reads. */
static int parse_status_line(struct http_text line, int *ret_status)
{
	struct http_text version;
	int status = 0;

	if (!split(&line, ' ', &version) || !is_http1(&version) || line.len < 3)
		return ERR_MALFORMED;
	for (size_t i = 0; i < 3; i++) {
		if (!is_digit(line.at[i]))
			return ERR_MALFORMED;
		status = status * 10 + (line.at[i] - '0');
	}
	if (status < 100 || (line.len > 3 && line.at[3] != ' '))
		return ERR_MALFORMED;
	*ret_status = status;
	return 0;
}

/* Fields of an answer are not looked at: in one to CONNECT none of them means anything, not even
 * those that would give a length (RFC 9110 section 9.3.6). */
static int read_answer_head(struct wire_reader *r, int *ret_status)
{
	struct http_text line;
	int rc;

	rc = read_line(r, &line);
	if (rc != WIRE_DONE)
		return rc;
	rc = parse_status_line(line, ret_status);
	if (rc != 0)
		return rc;
	/* A refusal needs no more than its status; a body may follow that nobody wants. */
	if (*ret_status >= 300)
		return WIRE_DONE;
	do
		rc = read_line(r, &line);
	while (rc == WIRE_DONE && line.len > 0);
	return rc;
}

int http_read_answer(struct wire_reader *in, int *ret_status)
{
	struct wire_reader r = head_of(in);
	int rc, status;

	/* Whatever does not begin like HTTP is found out at once, not at its first line end. */
	for (size_t i = 0; i < 5 && i < wire_left(in); i++)
		if (in->data[in->pos + i] != (uint8_t) "HTTP/"[i])
			return ERR_MALFORMED;
	rc = read_answer_head(&r, &status);
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
