/* SPDX-License-Identifier: MIT */
#include "proto/httphead.h"

#include <string.h>

#include "proto/err.h"

/* RFC 9112 section 2.2 wants at least one. */
#define EMPTY_LINES_MAX 2
/* Digits of a Content-Length: what 64 bits certainly hold. */
#define LENGTH_DIGITS_MAX 18

static int field_host(struct http_fields *f, struct http_text value)
{
	(void)value;
	f->n_host++;
	return 0;
}

static int field_credentials(struct http_fields *f, struct http_text value)
{
	f->n_credentials++;
	f->credentials = value;
	return 0;
}

static int field_transfer_encoding(struct http_fields *f, struct http_text value)
{
	f->chunked = ++f->n_codings == 1 && http_word_is(&value, "chunked");
	return 0;
}

/* Digits alone: no sign, no list, no blank inside. */
static bool read_length(const struct http_text *value, uint64_t *ret_length)
{
	uint64_t length = 0;

	for (size_t i = 0; i < value->len; i++) {
		if (!http_is_digit(value->at[i]) || i == LENGTH_DIGITS_MAX)
			return false;
		length = length * 10 + (uint64_t)(value->at[i] - '0');
	}
	*ret_length = length;
	return value->len > 0;
}

static int field_content_length(struct http_fields *f, struct http_text value)
{
	uint64_t length = 0;

	if (!read_length(&value, &length) || (f->n_lengths > 0 && length != f->length))
		f->bad_length = true;
	f->length = length;
	f->n_lengths++;
	return 0;
}

/* A list of words: about the life of the connection, and names of fields. */
static int field_connection(struct http_fields *f, struct http_text value)
{
	struct http_text list = value, word;
	size_t bytes = value.len;

	for (unsigned i = 0; i < f->n_named; i++)
		bytes += f->named[i].len;
	if (f->n_named == HTTP_NAMED_MAX || bytes > HTTP_NAMED_BYTES_MAX)
		return ERR_TOO_LONG;
	f->named[f->n_named++] = value;
	while (http_next_word(&list, &word)) {
		f->says_close |= http_word_is(&word, "close");
		f->says_keep_alive |= http_word_is(&word, "keep-alive");
	}
	return 0;
}

static int field_max_forwards(struct http_fields *f, struct http_text value)
{
	f->n_forwards++;
	f->forwards = value;
	return 0;
}

static const struct {
	const char *name;
	int (*read)(struct http_fields *f, struct http_text value);
} fields[] = {
    {"host", field_host},
    {"proxy-authorization", field_credentials},
    {"transfer-encoding", field_transfer_encoding},
    {"content-length", field_content_length},
    {"connection", field_connection},
    {"proxy-connection", field_connection},
    {"max-forwards", field_max_forwards},
};

bool http_field_name(struct http_text *line, bool lenient, struct http_text *ret_name)
{
	if (!http_split(line, ':', ret_name))
		return false;
	if (lenient && ret_name->len > 0 && http_is_tchar(ret_name->at[0]))
		*ret_name = http_trim(*ret_name);
	return http_is_token(ret_name);
}

/* A name that is no token covers the space before the colon and the folded line, both of which
 * RFC 9112 section 5 wants refused. */
static int read_field(struct http_text line, bool lenient, unsigned max, struct http_fields *f)
{
	struct http_text name;
	int rc = 0;

	if (!http_field_name(&line, lenient, &name))
		return ERR_MALFORMED;
	if (++f->n_fields > max)
		return ERR_TOO_LONG;
	for (size_t i = 0; rc == 0 && i < sizeof(fields) / sizeof(fields[0]); i++)
		if (http_word_is(&name, fields[i].name))
			rc = fields[i].read(f, http_trim(line));
	return rc;
}

/*
 * Line by line, so that an error is found at the line it stands in however much is behind it; an
 * incomplete block is parsed anew with each line that it grows by, of which there are few.
 */
static int read_fields(struct wire_reader *r, bool lenient, unsigned max, struct http_fields *f)
{
	struct http_text line;
	int rc = 0;

	while (rc == 0) {
		rc = http_read_line(r, &line, &f->bare_lf);
		if (rc != WIRE_DONE || line.len == 0)
			return rc;
		rc = read_field(line, lenient, max, f);
	}
	return rc;
}

/* The first line that is not empty. */
static int read_first_line(struct wire_reader *r, struct http_text *ret_line, bool *ret_bare)
{
	int rc = WIRE_DONE;

	for (int i = 0; i <= EMPTY_LINES_MAX; i++) {
		rc = http_read_line(r, ret_line, ret_bare);
		if (rc != WIRE_DONE || ret_line->len > 0)
			return rc;
	}
	return ERR_MALFORMED;
}

/* method SP target SP HTTP/1.x, with single spaces and nothing else. */
static int parse_request_line(struct http_text line, struct http_request *q)
{
	if (!http_split(&line, ' ', &q->method) || !http_is_token(&q->method))
		return ERR_MALFORMED;
	if (!http_split(&line, ' ', &q->target) || q->target.len == 0)
		return ERR_MALFORMED;
	if (memchr(q->target.at, '\t', q->target.len) || !http_is_version(&line))
		return ERR_MALFORMED;
	q->http10 = line.at[7] == '0';
	return 0;
}

static int read_request(struct wire_reader *r, struct http_request *q)
{
	struct http_text line;
	int rc = read_first_line(r, &line, &q->fields.bare_lf);

	if (rc != WIRE_DONE)
		return rc;
	rc = parse_request_line(line, q);
	return rc != 0 ? rc : read_fields(r, false, HTTP_FIELDS_MAX, &q->fields);
}

int http_read_request(struct wire_reader *in, struct http_request *ret_request)
{
	struct wire_reader r = http_head_of(in, HTTP_HEAD_MAX);
	struct http_request q = {0};
	int rc = read_request(&r, &q);

	if (rc == WIRE_MORE && wire_left(in) >= HTTP_HEAD_MAX)
		return ERR_TOO_LONG;
	if (rc != WIRE_DONE)
		return rc;
	*ret_request = q;
	in->pos = r.pos;
	return WIRE_DONE;
}

bool http_has_body(const struct http_request *request)
{
	const struct http_fields *f = &request->fields;

	return f->n_codings > 0 || f->bad_length || f->length > 0;
}

bool http_is_persistent(const struct http_request *request)
{
	return !request->fields.says_close && (!request->http10 || request->fields.says_keep_alive);
}

/* HTTP/1.x SP three digits, then nothing or SP and a reason. */
static int parse_status_line(struct http_text line, struct http_response *a)
{
	struct http_text version;

	if (!http_split(&line, ' ', &version) || !http_is_version(&version) || line.len < 3)
		return ERR_MALFORMED;
	a->http10 = version.at[7] == '0';
	for (size_t i = 0; i < 3; i++) {
		if (!http_is_digit(line.at[i]))
			return ERR_MALFORMED;
		a->status = a->status * 10 + (line.at[i] - '0');
	}
	if (a->status < 100 || (line.len > 3 && line.at[3] != ' '))
		return ERR_MALFORMED;
	if (line.len > 4)
		a->reason = (struct http_text){line.at + 4, line.len - 4};
	return WIRE_DONE;
}

int http_read_status(struct wire_reader *r, struct http_response *response)
{
	struct http_text line;
	int rc;

	for (size_t i = 0; i < 5 && i < wire_left(r); i++)
		if (r->data[r->pos + i] != (uint8_t) "HTTP/"[i])
			return ERR_MALFORMED;
	rc = http_read_line(r, &line, &response->fields.bare_lf);
	return rc != WIRE_DONE ? rc : parse_status_line(line, response);
}

static int read_response(struct wire_reader *r, struct http_response *a)
{
	int rc = http_read_status(r, a);

	return rc != WIRE_DONE ? rc : read_fields(r, true, HTTP_ANSWER_FIELDS_MAX, &a->fields);
}

int http_read_response(struct wire_reader *in, struct http_response *ret_response)
{
	struct wire_reader r = http_head_of(in, HTTP_ANSWER_MAX);
	struct http_response a = {0};
	int rc = read_response(&r, &a);

	if (rc == WIRE_MORE && wire_left(in) >= HTTP_ANSWER_MAX)
		return ERR_TOO_LONG;
	if (rc != WIRE_DONE)
		return rc;
	*ret_response = a;
	in->pos = r.pos;
	return WIRE_DONE;
}

bool http_is_named(const struct http_fields *f, const struct http_text *name)
{
	for (unsigned i = 0; i < f->n_named; i++) {
		struct http_text list = f->named[i], word;

		while (http_next_word(&list, &word))
			if (http_words_match(&word, name))
				return true;
	}
	return false;
}

/*
 * Two lengths are how requests are smuggled: who reads the other one sees another request behind
 * the body. RFC 9112 section 6.1 allows to refuse what we could also repair.
 */
int http_request_framing(const struct http_request *q, enum http_framing *ret_framing)
{
	const struct http_fields *f = &q->fields;

	if (f->n_codings > 0) {
		if (f->n_lengths > 0 || q->http10)
			return ERR_MALFORMED;
		*ret_framing = HTTP_CHUNKED;
		return f->chunked ? 0 : ERR_COMMAND;
	}
	if (f->n_lengths > 1 || f->bad_length)
		return ERR_MALFORMED;
	*ret_framing = f->n_lengths > 0 ? HTTP_LENGTH : HTTP_NO_BODY;
	return 0;
}

int http_response_framing(
    const struct http_response *a, bool to_head, enum http_framing *ret_framing)
{
	const struct http_fields *f = &a->fields;

	*ret_framing = HTTP_NO_BODY;
	if (f->bad_length || (f->n_codings > 0 && (f->n_lengths > 0 || a->http10 || !f->chunked)))
		return ERR_MALFORMED;
	if (to_head || a->status < 200 || a->status == 204 || a->status == 304)
		return 0;
	if (f->n_codings > 0)
		*ret_framing = HTTP_CHUNKED;
	else
		*ret_framing = f->n_lengths > 0 ? HTTP_LENGTH : HTTP_UNTIL_CLOSE;
	return 0;
}
