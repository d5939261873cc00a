/* SPDX-License-Identifier: MIT */
#include "proto/httptext.h"

#include <string.h>
#include <strings.h>

#include "proto/err.h"

bool http_is_digit(uint8_t c)
{
	return c >= '0' && c <= '9';
}

bool http_is_tchar(uint8_t c)
{
	if (http_is_digit(c) || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z'))
		return true;
	return c != 0 && strchr("!#$%&'*+-.^_`|~", c);
}

bool http_is_token(const struct http_text *text)
{
	for (size_t i = 0; i < text->len; i++)
		if (!http_is_tchar(text->at[i]))
			return false;
	return text->len > 0;
}

bool http_text_is(const struct http_text *text, const char *word)
{
	return text->len == strlen(word) && memcmp(text->at, word, text->len) == 0;
}

bool http_word_is(const struct http_text *text, const char *word)
{
	return text->len == strlen(word) &&
	       strncasecmp((const char *)text->at, word, text->len) == 0;
}

bool http_words_match(const struct http_text *a, const struct http_text *b)
{
	return a->len == b->len &&
	       (a->len == 0 || strncasecmp((const char *)a->at, (const char *)b->at, a->len) == 0);
}

int http_read_line(struct wire_reader *r, struct http_text *ret_line, bool *ret_bare)
{
	const uint8_t *at;
	size_t len;

	at = wire_read_until(r, '\n', &len);
	if (!at)
		return WIRE_MORE;
	if (len > 0 && at[len - 1] == '\r')
		len--;
	else if (ret_bare)
		*ret_bare = true;
	for (size_t i = 0; i < len; i++)
		if ((at[i] < 0x20 && at[i] != '\t') || at[i] == 0x7f)
			return ERR_MALFORMED;
	*ret_line = (struct http_text){at, len};
	return WIRE_DONE;
}

bool http_split(struct http_text *text, uint8_t c, struct http_text *ret_head)
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

bool http_next_word(struct http_text *list, struct http_text *ret_word)
{
	if (!list->at)
		return false;
	if (!http_split(list, ',', ret_word)) {
		*ret_word = *list;
		*list = (struct http_text){NULL, 0};
	}
	*ret_word = http_trim(*ret_word);
	return true;
}

static bool is_blank(uint8_t c)
{
	return c == ' ' || c == '\t';
}

struct http_text http_trim(struct http_text text)
{
	while (text.len > 0 && is_blank(text.at[0])) {
		text.at++;
		text.len--;
	}
	while (text.len > 0 && is_blank(text.at[text.len - 1]))
		text.len--;
	return text;
}

bool http_is_version(const struct http_text *version)
{
	return version->len == 8 && memcmp(version->at, "HTTP/1.", 7) == 0 &&
	       http_is_digit(version->at[7]);
}

struct wire_reader http_head_of(const struct wire_reader *in, size_t max)
{
	struct wire_reader r = *in;

	if (wire_left(&r) > max)
		r.len = r.pos + max;
	return r;
}
