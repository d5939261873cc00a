/* SPDX-License-Identifier: MIT */
#include "policy/diag.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "policy/arena.h"

#define MESSAGE_MAX 600
/* Of a longer line only this many characters are shown, those around the mistake. */
#define SHOWN_MAX 96

static struct arena *memory_of(struct diagnostics *d)
{
	if (!d->memory)
		d->memory = calloc(1, sizeof(struct arena));
	return d->memory;
}

size_t diag_character(const char *text, size_t left)
{
	const unsigned char *s = (const unsigned char *)text;
	size_t n = s[0] < 0x80 ? 1 : s[0] >= 0xf0 ? 4 : s[0] >= 0xe0 ? 3 : 2;

	if (n == 1)
		return s[0] >= 0x20 && s[0] != 0x7f ? 1 : 0;
	if (s[0] < 0xc2 || s[0] > 0xf4 || n > left || (s[0] == 0xc2 && s[1] < 0xa0))
		return 0;
	for (size_t i = 1; i < n; i++)
		if ((s[i] & 0xc0) != 0x80)
			return 0;
	return n;
}

/* How far the next character goes, whatever it is. */
static size_t character_or_byte(const char *text, size_t left)
{
	size_t n = diag_character(text, left);

	return n ? n : 1;
}

/* The end of the password of a URL whose authority begins at `text`: its '@'. NULL for none. */
static const char *password_end(const char *text)
{
	return memrchr(text, '@', strcspn(text, " \t"));
}

/*
 * A copy without passwords: messages end up in logs, and the lines they show may hold proxy URLs.
 * One '*' for each character keeps the caret under its word.
 */
static const char *copy_masked(struct arena *m, const char *text)
{
	size_t len = text ? strlen(text) : 0, n = 0;
	char *result = text ? arena_alloc(m, len + 1) : NULL;
	const char *at = result ? strstr(text, "://") : NULL;

	for (; at; at = strstr(at, "://")) {
		const char *end = password_end(at += 3);
		const char *colon = end ? memchr(at, ':', (size_t)(end - at)) : NULL;

		if (!colon)
			continue;
		memcpy(result + n, text, (size_t)(colon + 1 - text));
		n += (size_t)(colon + 1 - text);
		for (text = colon + 1; text < end; result[n++] = '*')
			text += character_or_byte(text, (size_t)(end - text));
		at = text;
	}
	if (result)
		memcpy(result + n, text, strlen(text));
	return result;
}

static void append(
    struct diagnostics *d, const struct position *at, const char *message, const char *expected)
{
	struct arena *m = memory_of(d);
	struct diagnostic one = {.line = at->line, .column = at->column, .width = at->width};
	struct diagnostic *list;

	if (!m) {
		d->lost = true;
		return;
	}
	one.file = copy_masked(m, at->file);
	one.source = copy_masked(m, at->source ? at->source : "");
	one.message = copy_masked(m, message);
	one.expected = copy_masked(m, expected);
	list = arena_append(m, d->list, d->n, sizeof(*list));
	if (m->failed || !list) {
		d->lost = true;
		return;
	}
	d->list = list;
	d->list[d->n++] = one;
}

void diag_add(
    struct diagnostics *d, const struct position *at, const char *expected, const char *format, ...)
{
	char message[MESSAGE_MAX];
	va_list args;

	if (d->n > DIAG_MAX)
		return;
	if (d->n == DIAG_MAX) {
		struct position whole = {.file = at->file};

		append(d, &whole, "too many mistakes; the rest is not shown", NULL);
		return;
	}
	va_start(args, format);
	vsnprintf(message, sizeof(message), format, args);
	va_end(args);
	append(d, at, message, expected);
}

bool diag_full(const struct diagnostics *d)
{
	return d->n > DIAG_MAX;
}

void diagnostics_free(struct diagnostics *d)
{
	struct arena *m = d->memory;

	if (m)
		arena_free(m);
	free(m);
	*d = (struct diagnostics){0};
}

static size_t rank(const char *file, const char *const *files, size_t n_files)
{
	size_t i = 0;

	while (i < n_files && strcmp(file, files[i]) != 0)
		i++;
	return i;
}

/* The line that ends a full list has line 0 and belongs behind all others. */
static bool before(const struct diagnostic *a, const struct diagnostic *b, const char *const *files,
    size_t n_files)
{
	size_t rank_a = a->line ? rank(a->file, files, n_files) : n_files + 1;
	size_t rank_b = b->line ? rank(b->file, files, n_files) : n_files + 1;

	if (rank_a != rank_b)
		return rank_a < rank_b;
	if (a->line != b->line)
		return a->line < b->line;
	return a->column < b->column;
}

void diag_sort(struct diagnostics *d, const char *const *files, size_t n_files)
{
	/* By insertion: the list is short, and equals keep their order. */
	for (size_t i = 1; i < d->n; i++) {
		struct diagnostic one = d->list[i];
		size_t k = i;

		for (; k > 0 && before(&one, &d->list[k - 1], files, n_files); k--)
			d->list[k] = d->list[k - 1];
		d->list[k] = one;
	}
}

struct out {
	char *buf;
	size_t cap, len;
};

static void put(struct out *o, const char *bytes, size_t n)
{
	for (size_t i = 0; i < n && o->len + 1 < o->cap; i++)
		o->buf[o->len++] = bytes[i];
}

/* Puts the characters from number `first` (from 0) to before `last`, made harmless. Returns the
 * number of the one behind. */
static size_t put_text(struct out *o, const char *text, size_t first, size_t last)
{
	size_t len = strlen(text), i = 0, number = 0;

	while (i < len && number < last) {
		size_t n = diag_character(text + i, len - i);

		if (number >= first && (n > 0 || text[i] == '\t'))
			put(o, text + i, n ? n : 1);
		else if (number >= first)
			put(o, "?", 1);
		i += n ? n : 1;
		number++;
	}
	return number;
}

static void put_string(struct out *o, const char *text)
{
	put_text(o, text, 0, (size_t)-1);
}

/* Blanks under `text`; a tab stays one, or the caret would miss its word. */
static void put_blanks(struct out *o, const char *text, size_t first, size_t last)
{
	size_t len = strlen(text), i = 0;

	for (size_t number = 0; number < last; number++) {
		size_t n = i < len ? diag_character(text + i, len - i) : 1;

		if (number >= first)
			put(o, i < len && text[i] == '\t' ? "\t" : " ", 1);
		i += n ? n : 1;
	}
}

/* Our own text, newlines and all. */
static void put_plain(struct out *o, const char *text)
{
	put(o, text, strlen(text));
}

static void put_source(struct out *o, const struct diagnostic *d)
{
	size_t at = d->column > 0 ? d->column - 1 : 0;
	struct out nowhere = {0};
	size_t all = put_text(&nowhere, d->source, 0, (size_t)-1);
	size_t first = all > SHOWN_MAX && at > SHOWN_MAX * 3 / 4 ? at - SHOWN_MAX / 2 : 0;
	size_t shown;

	put_plain(o, first > 0 ? "    ..." : "    ");
	shown = put_text(o, d->source, first, first + SHOWN_MAX);
	if (shown < all)
		put_plain(o, "...");
	put_plain(o, first > 0 ? "\n       " : "\n    ");
	put_blanks(o, d->source, first, at);
	put_plain(o, "^");
	for (size_t i = 1; i < d->width && at + i < first + SHOWN_MAX; i++)
		put_plain(o, "~");
	put_plain(o, "\n");
}

size_t diagnostic_format(const struct diagnostic *d, char *buf, size_t cap)
{
	struct out o = {.buf = buf, .cap = cap};
	char number[32];

	if (cap == 0)
		return 0;
	put_string(&o, d->file);
	if (d->line > 0) {
		snprintf(number, sizeof(number), ":%u:%u", d->line, d->column);
		put_plain(&o, number);
	}
	put_plain(&o, ": ");
	put_string(&o, d->message);
	put_plain(&o, "\n");
	if (d->line > 0)
		put_source(&o, d);
	if (d->expected) {
		put_plain(&o, "    expected ");
		put_string(&o, d->expected);
		put_plain(&o, "\n");
	}
	buf[o.len] = '\0';
	return o.len;
}
