/* SPDX-License-Identifier: MIT */
#include "vector.h"

#include <ctype.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

struct vector_file {
	struct vector *vectors;
	size_t n_vectors;
};

struct source {
	const char *path;
	unsigned line;
};

static void die(const struct source *src, const char *why)
{
	fprintf(stderr, "%s:%u: %s\n", src->path, src->line, why);
	exit(2);
}

static void *grow(void *p, size_t size)
{
	p = realloc(p, size > 0 ? size : 1);
	if (!p)
		abort();
	return p;
}

static void add(uint8_t **bytes, size_t *n, uint8_t b)
{
	*bytes = grow(*bytes, *n + 1);
	(*bytes)[(*n)++] = b;
}

static int hex_pair(const char *s)
{
	char two[3] = {s[0], s[0] ? s[1] : '\0', '\0'};

	if (!isxdigit((unsigned char)two[0]) || !isxdigit((unsigned char)two[1]))
		return -1;
	return (int)strtol(two, NULL, 16);
}

/* One character of a quoted string, or the escape for one. */
static const char *read_char(const struct source *src, const char *s, uint8_t *ret)
{
	static const char names[] = "rnt0\\\"", values[] = "\r\n\t\0\\\"";
	const char *at;
	int hex;

	if (*s != '\\') {
		*ret = (uint8_t)*s;
		return s + 1;
	}
	s++;
	if (*s == 'x') {
		hex = hex_pair(s + 1);
		if (hex < 0)
			die(src, "bad \\x escape");
		*ret = (uint8_t)hex;
		return s + 3;
	}
	at = *s ? strchr(names, *s) : NULL;
	if (!at)
		die(src, "unknown escape");
	*ret = (uint8_t)values[at - names];
	return s + 1;
}

/* "text" or a hex pair, and an optional *COUNT. */
static const char *read_item(
    const struct source *src, const char *s, uint8_t **bytes, size_t *n_bytes)
{
	size_t start = *n_bytes, n;
	uint8_t b;
	int hex;

	if (*s == '"') {
		for (s++; *s != '"';) {
			if (*s == '\0')
				die(src, "a string without an end");
			s = read_char(src, s, &b);
			add(bytes, n_bytes, b);
		}
		s++;
	} else {
		hex = hex_pair(s);
		if (hex < 0)
			die(src, "expected a hex pair or a string");
		add(bytes, n_bytes, (uint8_t)hex);
		s += 2;
	}
	n = *n_bytes - start;
	if (*s == '*') {
		char *after;
		unsigned long times = strtoul(s + 1, &after, 10);

		s = after;
		while (times-- > 1)
			for (size_t i = 0; i < n; i++)
				add(bytes, n_bytes, (*bytes)[start + i]);
	}
	return s;
}

/* The whole rest of a > or < line is one byte string. */
static void read_bytes(const struct source *src, const char *s, struct vector_line *line)
{
	while (*s) {
		if (*s == ' ')
			s++;
		else
			s = read_item(src, s, &line->bytes[0], &line->n_bytes[0]);
	}
	line->has_bytes = true;
}

/* Elsewhere only quoted strings are bytes; the other words stay text. */
static void read_args(const struct source *src, const char *s, struct vector_line *line)
{
	size_t n = 0, strings = 0;

	while (*s) {
		if (*s == '"') {
			if (strings == 2)
				die(src, "too many strings");
			s = read_item(src, s, &line->bytes[strings], &line->n_bytes[strings]);
			strings++;
			line->has_bytes = true;
			while (*s == ' ')
				s++;
			continue;
		}
		if (n + 1 == sizeof(line->args))
			die(src, "line too long");
		line->args[n++] = *s++;
	}
	while (n > 0 && line->args[n - 1] == ' ')
		n--;
	line->args[n] = '\0';
}

static void read_line(const struct source *src, const char *s, struct vector *v)
{
	static const char *const words[] = {"offer", ">", "<", ">>", "<<", "unfinished", "auth",
	    "request", "reply", "peer", "end", "more", "timeout", "rest", "chain", "to", "command",
	    "listens", "done", "fail", "eof", "tls", "levels", "token", "level", "extended",
	    "ident", "early", "or", "open", "again"};
	struct vector_line *line;
	size_t n = strcspn(s, " ");
	bool known = false;

	v->lines = grow(v->lines, (v->n_lines + 1) * sizeof(*v->lines));
	line = &v->lines[v->n_lines++];
	memset(line, 0, sizeof(*line));
	line->number = src->line;
	line->bytes[0] = grow(NULL, 1);
	line->bytes[1] = grow(NULL, 1);
	if (n >= sizeof(line->word))
		die(src, "unknown word");
	memcpy(line->word, s, n);
	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
		known |= strcmp(words[i], line->word) == 0;
	if (!known)
		die(src, "unknown word");
	s += n + strspn(s + n, " ");
	if (line->word[0] == '>' || line->word[0] == '<')
		read_bytes(src, s, line);
	else
		read_args(src, s, line);
}

static void read_case(const struct source *src, const char *s, struct vector_file *file)
{
	struct vector *v;

	file->vectors = grow(file->vectors, (file->n_vectors + 1) * sizeof(*file->vectors));
	v = &file->vectors[file->n_vectors++];
	memset(v, 0, sizeof(*v));
	if (strlen(s) >= sizeof(v->name))
		die(src, "name too long");
	memcpy(v->name, s, strlen(s) + 1);
}

static void vector_file_read(struct vector_file *file, const char *path)
{
	struct source src = {.path = path};
	char *text = NULL;
	size_t cap = 0;
	ssize_t n;
	FILE *f = fopen(path, "r");

	if (!f)
		die(&src, "cannot be opened");
	while ((n = getline(&text, &cap, f)) >= 0) {
		src.line++;
		while (n > 0 && (text[n - 1] == '\n' || text[n - 1] == ' '))
			text[--n] = '\0';
		if (n == 0 || text[0] == '#')
			continue;
		if (strncmp(text, "case ", 5) == 0)
			read_case(&src, text + 5, file);
		else if (file->n_vectors > 0)
			read_line(&src, text, &file->vectors[file->n_vectors - 1]);
		else
			die(&src, "a line before the first case");
	}
	free(text);
	fclose(f);
}

static void vector_file_free(struct vector_file *file)
{
	for (size_t i = 0; i < file->n_vectors; i++) {
		for (size_t j = 0; j < file->vectors[i].n_lines; j++) {
			free(file->vectors[i].lines[j].bytes[0]);
			free(file->vectors[i].lines[j].bytes[1]);
		}
		free(file->vectors[i].lines);
	}
	free(file->vectors);
}

int vector_run(const char *group, void (*test)(void **state), int argc, char **argv)
{
	struct vector_file file = {0};
	struct CMUnitTest *tests;
	int failed;

	for (int i = 1; i < argc; i++)
		vector_file_read(&file, argv[i]);
	tests = grow(NULL, file.n_vectors * sizeof(*tests));
	for (size_t i = 0; i < file.n_vectors; i++)
		tests[i] = (struct CMUnitTest){.name = file.vectors[i].name,
		    .test_func = test,
		    .initial_state = &file.vectors[i]};
	failed = _cmocka_run_group_tests(group, tests, file.n_vectors, NULL, NULL);
	free(tests);
	vector_file_free(&file);
	return failed;
}

const struct vector_line *vector_find(const struct vector *v, const char *word, size_t n)
{
	for (size_t i = 0; i < v->n_lines; i++)
		if (strcmp(v->lines[i].word, word) == 0 && n-- == 0)
			return &v->lines[i];
	return NULL;
}

const char *vector_args(const struct vector *v, const char *word, const char *otherwise)
{
	const struct vector_line *line = vector_find(v, word, 0);

	return line ? line->args : otherwise;
}

uint8_t *vector_stream(const struct vector *v, const char *word, size_t *ret_len)
{
	const struct vector_line *line;
	uint8_t *bytes = grow(NULL, 1);

	*ret_len = 0;
	for (size_t i = 0; (line = vector_find(v, word, i)); i++) {
		bytes = grow(bytes, *ret_len + line->n_bytes[0]);
		memcpy(bytes + *ret_len, line->bytes[0], line->n_bytes[0]);
		*ret_len += line->n_bytes[0];
	}
	return bytes;
}

size_t vector_next_split(size_t at, size_t len)
{
	bool inside = len > 4096 && at > 128 && at + 128 < len;

	return at + (inside ? 13 : 1);
}

static void put(struct transcript *t, const char *text)
{
	size_t n = strlen(text);

	if (t->len + n + 1 > t->cap) {
		t->cap = 2 * (t->len + n + 1);
		t->text = grow(t->text, t->cap);
	}
	memcpy(t->text + t->len, text, n + 1);
	t->len += n;
}

static void put_hex(struct transcript *t, const uint8_t *bytes, size_t n)
{
	char two[4];

	for (size_t i = 0; i < n; i++) {
		snprintf(two, sizeof(two), " %02x", bytes[i]);
		put(t, two);
	}
}

void transcript_free(struct transcript *t)
{
	free(t->text);
}

void transcript_bytes(struct transcript *t, char direction, const uint8_t *bytes, size_t n)
{
	const char text[] = {'\n', direction, '\0'};

	if (n == 0)
		return;
	if (!t->in_bytes)
		put(t, text);
	put_hex(t, bytes, n);
	t->in_bytes = true;
}

void transcript_line_bytes(struct transcript *t, const char *text, const uint8_t *bytes, size_t n)
{
	put(t, "\n");
	put(t, text);
	put_hex(t, bytes, n);
	t->in_bytes = false;
}

void transcript_line(struct transcript *t, const char *text)
{
	transcript_line_bytes(t, text, NULL, 0);
}

const char *transcript_text(const struct transcript *t)
{
	return t->text ? t->text : "";
}
