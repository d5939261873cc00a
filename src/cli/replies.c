/* SPDX-License-Identifier: MIT */
#include "cli/replies.h"

#include <stdio.h>
#include <string.h>

#include "proto/httphead.h"
#include "proto/socks4.h"
#include "proto/socks5.h"

#define REPLY5_HEAD 4
#define RECEIVED_DIGITS 18

static size_t length5(const uint8_t *data, size_t len)
{
	if (len < REPLY5_HEAD)
		return REPLY5_HEAD + 1;
	switch (data[3]) {
	case SOCKS5_ATYP_IPV4:
		return REPLY5_HEAD + 4 + 2;
	case SOCKS5_ATYP_IPV6:
		return REPLY5_HEAD + 16 + 2;
	case SOCKS5_ATYP_NAME:
		return len > REPLY5_HEAD ? (size_t)REPLY5_HEAD + 1 + data[4] + 2 : REPLY5_HEAD + 1;
	default:
		return REPLY5_HEAD;
	}
}

static struct addr bound_of(const uint8_t *data, size_t len)
{
	struct addr a = {.kind = ADDR_NAME};
	struct ip ip;

	if (data[3] == SOCKS5_ATYP_NAME) {
		a.name_len = data[4];
		memcpy(a.name, data + 5, data[4]);
	} else {
		ip = data[3] == SOCKS5_ATYP_IPV4 ? ip_from_v4(data + 4) : ip_from_v6(data + 4);
		a = addr_from_ip(&ip, 0);
	}
	a.port = (uint16_t)(data[len - 2] << 8 | data[len - 1]);
	return a;
}

static bool is_right5(const struct reply *r, size_t len)
{
	if (r->version != SOCKS5_VERSION || r->rsv != 0)
		return false;
	return len < REPLY5_HEAD || r->type == SOCKS5_ATYP_IPV4 || r->type == SOCKS5_ATYP_NAME ||
	       r->type == SOCKS5_ATYP_IPV6;
}

size_t reply5_read(const uint8_t *data, size_t len, struct reply *ret_reply)
{
	struct reply r = {.shape = SHAPE_NONE};
	size_t whole = length5(data, len);

	if (len > 0) {
		r.version = data[0];
		r.code = len > 1 ? data[1] : 0;
		r.rsv = len > 2 ? data[2] : 0;
		r.type = len > 3 ? data[3] : 0;
		if (!is_right5(&r, len)) {
			r.shape = SHAPE_WRONG;
		} else if (len < whole) {
			r.shape = SHAPE_SHORT;
		} else {
			r.shape = SHAPE_WHOLE;
			r.len = whole;
			r.bound = bound_of(data, whole);
		}
	}
	*ret_reply = r;
	return r.shape == SHAPE_WRONG ? len : whole;
}

size_t reply4_read(const uint8_t *data, size_t len, struct reply *ret_reply)
{
	struct reply r = {.shape = SHAPE_NONE};
	struct ip ip;

	if (len > 0) {
		r.shape = SHAPE_SHORT;
		r.version = data[0];
		r.code = len > 1 ? data[1] : 0;
		if (r.version != 0 || (len > 1 && (r.code < 90 || r.code > 93)))
			r.shape = SHAPE_WRONG;
		else if (len >= SOCKS4_REPLY_SIZE)
			r.shape = SHAPE_WHOLE;
	}
	if (r.shape == SHAPE_WHOLE) {
		ip = ip_from_v4(data + 4);
		r.len = SOCKS4_REPLY_SIZE;
		r.bound = addr_from_ip(&ip, (uint16_t)(data[2] << 8 | data[3]));
	}
	*ret_reply = r;
	return r.shape == SHAPE_WRONG ? len : SOCKS4_REPLY_SIZE;
}

/* ---- the target's lines ---- */

static bool read_count(const char *text, size_t len, uint64_t *ret_count)
{
	*ret_count = 0;
	for (size_t i = 0; i < len; i++) {
		if (text[i] < '0' || text[i] > '9')
			return false;
		*ret_count = *ret_count * 10 + (uint64_t)(text[i] - '0');
	}
	return len > 0 && len <= RECEIVED_DIGITS;
}

static bool read_end(const char *text, size_t len, struct target_line *line)
{
	static const char *const ends[] = {"open", "eof", "reset"};

	for (size_t i = 0; i < sizeof(ends) / sizeof(ends[0]); i++) {
		if (strlen(ends[i]) == len && memcmp(ends[i], text, len) == 0) {
			memcpy(line->end, text, len);
			return true;
		}
	}
	return false;
}

static bool is_key(const char *text, size_t len, const char *key)
{
	return strlen(key) == len && memcmp(text, key, len) == 0;
}

static bool read_field(const char *text, size_t len, struct target_line *line)
{
	const char *equals = memchr(text, '=', len);
	size_t key = equals ? (size_t)(equals - text) : len;
	const char *value = equals ? equals + 1 : text + len;
	size_t n = equals ? len - key - 1 : 0;

	if (is_key(text, key, "connected"))
		return !equals;
	if (is_key(text, key, "failed"))
		return line->failed = n > 0;
	if (is_key(text, key, "peer") || is_key(text, key, "from"))
		return addr_parse(value, n, &line->peer) == 0 && line->peer.kind == ADDR_IP;
	if (is_key(text, key, "refuses"))
		return port_parse(value, n, &line->refuses) == 0;
	if (is_key(text, key, "received"))
		return line->noted = read_count(value, n, &line->received);
	return is_key(text, key, "end") && read_end(value, n, line);
}

bool target_line_read(const char *line, struct target_line *ret_line)
{
	struct target_line l = {0};

	for (;;) {
		size_t len = strcspn(line, " ");

		if (!read_field(line, len, &l))
			return false;
		if (line[len] == '\0')
			break;
		line += len + 1;
	}
	l.noted = l.noted && l.end[0];
	*ret_line = l;
	return true;
}

/* ---- others ---- */

/* Has it a field of that name? The head is known to be a right one. */
static bool has_field(const uint8_t *data, size_t len, const char *name)
{
	struct wire_reader r = wire_reader_of(data, len);
	struct http_text line, field;

	while (http_read_line(&r, &line, NULL) == WIRE_DONE)
		if (http_field_name(&line, true, &field) && http_word_is(&field, name))
			return true;
	return false;
}

void head_read(const uint8_t *data, size_t len, struct head *ret_head)
{
	struct wire_reader r = wire_reader_of(data, len);
	struct http_response answer;
	int rc = http_read_response(&r, &answer);

	*ret_head = (struct head){.shape = len > 0 ? SHAPE_SHORT : SHAPE_NONE};
	if (rc < 0)
		ret_head->shape = SHAPE_WRONG;
	if (rc != WIRE_DONE)
		return;
	*ret_head = (struct head){
	    .shape = SHAPE_WHOLE,
	    .len = len - wire_left(&r),
	    .status = (unsigned)answer.status,
	    .has_length = answer.fields.n_lengths > 0 || answer.fields.n_codings > 0,
	    .chunked = answer.fields.chunked,
	    .length = answer.fields.length,
	    .stays = answer.http10 ? answer.fields.says_keep_alive : !answer.fields.says_close,
	};
	ret_head->challenge = has_field(data, ret_head->len, "proxy-authenticate");
}

char *bytes_format(const uint8_t *data, size_t len, char *buf, size_t cap)
{
	size_t at = 0;

	buf[0] = '\0';
	for (size_t i = 0; i < len; i++) {
		if (at + 8 > cap) {
			snprintf(buf + at, cap - at, "...");
			break;
		}
		at += (size_t)snprintf(buf + at, cap - at, i > 0 ? " %02x" : "%02x", data[i]);
	}
	return buf;
}
