/* SPDX-License-Identifier: MIT */
#include "proto/ident.h"

#include <stdio.h>
#include <string.h>

#include "proto/err.h"

void ident_write_query(struct wire_writer *out, const struct ident_ports *ports)
{
	char text[IDENT_QUERY_MAX];

	snprintf(text, sizeof(text), "%u,%u\r\n", ports->theirs, ports->ours);
	wire_write_text(out, text);
}

static bool is_blank(uint8_t c)
{
	return c == ' ' || c == '\t';
}

/* The line is taken apart by a cursor of its own. White space may stand between all its parts. */
static void skip_blanks(struct wire_reader *line)
{
	while (wire_left(line) > 0 && is_blank(line->data[line->pos]))
		line->pos++;
}

static bool read_char(struct wire_reader *line, char c)
{
	skip_blanks(line);
	return wire_read_u8(line) == (uint8_t)c && !line->failed;
}

static bool read_port(struct wire_reader *line, uint16_t expected)
{
	unsigned value = 0, digits = 0;

	skip_blanks(line);
	for (; wire_left(line) > 0 && digits < 6; digits++) {
		uint8_t c = line->data[line->pos];

		if (c < '0' || c > '9')
			break;
		value = value * 10 + (c - '0');
		line->pos++;
	}
	return digits > 0 && value == expected;
}

/* RFC 1413 does not say whether case matters in these, so it does not. */
static bool read_word(struct wire_reader *line, const char *word)
{
	skip_blanks(line);
	for (; *word; word++)
		if ((wire_read_u8(line) & 0xdf) != (uint8_t)*word || line->failed)
			return false;
	return true;
}

/* The system's name, perhaps with a character set behind a comma: something up to the colon. */
static bool skip_system(struct wire_reader *line)
{
	size_t len;

	skip_blanks(line);
	return wire_read_until(line, ':', &len) && len > 0;
}

static int read_line(struct wire_reader *line, const struct ident_ports *ports,
    const uint8_t **ret_user, size_t *ret_len)
{
	struct wire_reader error;

	if (!read_port(line, ports->theirs) || !read_char(line, ',') ||
	    !read_port(line, ports->ours) || !read_char(line, ':'))
		return ERR_MALFORMED;
	error = *line;
	if (read_word(&error, "ERROR") && read_char(&error, ':'))
		return ERR_NO_IDENTD;
	if (!read_word(line, "USERID") || !read_char(line, ':') || !skip_system(line))
		return ERR_MALFORMED;
	skip_blanks(line);
	*ret_len = wire_left(line);
	*ret_user = wire_read_bytes(line, *ret_len);
	if (*ret_len == 0 || memchr(*ret_user, '\0', *ret_len) || memchr(*ret_user, '\r', *ret_len))
		return ERR_MALFORMED;
	return WIRE_DONE;
}

int ident_read_answer(struct wire_reader *in, const struct ident_ports *ports,
    const uint8_t **ret_user, size_t *ret_len)
{
	struct wire_reader r = *in, line;
	const uint8_t *text;
	size_t len;
	int rc;

	text = wire_read_until(&r, '\n', &len);
	if (!text)
		return wire_left(in) >= IDENT_LINE_MAX ? ERR_TOO_LONG : WIRE_MORE;
	if (len >= IDENT_LINE_MAX)
		return ERR_TOO_LONG;
	if (len > 0 && text[len - 1] == '\r')
		len--;
	line = wire_reader_of(text, len);
	rc = read_line(&line, ports, ret_user, ret_len);
	if (rc == WIRE_DONE)
		*in = r;
	return rc;
}
