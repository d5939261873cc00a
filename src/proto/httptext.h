/* SPDX-License-Identifier: MIT */
/* What the text of HTTP/1.x is made of: lines, tokens, words in lists (RFC 9110 section 5.6). */
#ifndef TABI_PROTO_HTTPTEXT_H
#define TABI_PROTO_HTTPTEXT_H

#include "proto/wire.h"

/* Text inside the bytes that were read; opaque, without NUL at its end. */
struct http_text {
	const uint8_t *at;
	size_t len;
};

/* Is it this word: byte by byte, or without regard to case. */
bool http_text_is(const struct http_text *text, const char *word);
bool http_word_is(const struct http_text *text, const char *word);
/* Are both the same word, without regard to case? */
bool http_words_match(const struct http_text *a, const struct http_text *b);

bool http_is_digit(uint8_t c);
/* tchar of RFC 9110 section 5.6.2: what methods and field names are made of. */
bool http_is_tchar(uint8_t c);
bool http_is_token(const struct http_text *text);

/*
 * The next line, without its CRLF or LF. WIRE_DONE, or WIRE_MORE where it has no end yet. A CR
 * elsewhere, a NUL or another control character is ERR_MALFORMED: what one reader takes for a line
 * end another may not. `*ret_bare` (if not NULL) becomes true where the line ended in a lone LF.
 */
int http_read_line(struct wire_reader *r, struct http_text *ret_line, bool *ret_bare);

/* Splits `text` at the first `c`: what is before it goes to `*ret_head`, the rest stays. False
 * where there is no `c`, and nothing is changed. */
bool http_split(struct http_text *text, uint8_t c, struct http_text *ret_head);

/* The next word of a list with commas, trimmed; may be empty. False at the end of the list. */
bool http_next_word(struct http_text *list, struct http_text *ret_word);

/* Without the blanks at both ends. */
struct http_text http_trim(struct http_text text);

/* HTTP/1.x, in capitals as RFC 9112 section 2.3 has it; a higher minor version is read as 1.1 (RFC
 * 9110 section 2.5). */
bool http_is_version(const struct http_text *version);

/* The cursor that sees no more than `max` bytes. */
struct wire_reader http_head_of(const struct wire_reader *in, size_t max);

#endif
