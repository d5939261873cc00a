/* SPDX-License-Identifier: MIT */
#include "cli/source.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FILE_MAX (16u << 20)
/* A message, its line and the caret are cut at about 100 characters each; those of UTF-8 are
 * longer. */
#define MESSAGE_MAX 4096

struct source_text {
	struct source_text *next;
	char *bytes;
	size_t len;
};

/* Reads to the end. Returns 0 or -errno; `t->bytes` is to be freed in either case. */
static int read_stream(FILE *f, struct source_text *t)
{
	size_t cap = 0;

	while (!feof(f)) {
		if (t->len == cap) {
			char *more;

			if (cap > FILE_MAX)
				return -EFBIG;
			cap = cap == 0 ? 8192 : cap * 2;
			more = realloc(t->bytes, cap);
			if (!more)
				return -ENOMEM;
			t->bytes = more;
		}
		errno = 0;
		t->len += fread(t->bytes + t->len, 1, cap - t->len, f);
		if (ferror(f))
			return errno ? -errno : -EIO;
	}
	return t->len > FILE_MAX ? -EFBIG : 0;
}

static int read_file(const char *name, struct source_text *t)
{
	bool is_stdin = strcmp(name, "-") == 0;
	FILE *f = is_stdin ? stdin : fopen(name, "re");
	int err;

	if (!f)
		return -errno;
	err = read_stream(f, t);
	if (!is_stdin)
		fclose(f);
	return err;
}

static int source_read(
    struct parse_source *parse, const char *name, const char **ret_text, size_t *ret_len)
{
	struct source *s = (struct source *)parse;
	struct source_text *t;
	int err;

	if (strcmp(name, parse_default_name) == 0) {
		*ret_text = parse_default_text;
		*ret_len = strlen(parse_default_text);
		return 0;
	}
	t = calloc(1, sizeof(*t));
	if (!t)
		return -ENOMEM;
	t->next = s->texts;
	s->texts = t;
	err = read_file(name, t);
	if (err)
		return err;
	*ret_text = t->bytes;
	*ret_len = t->len;
	return 0;
}

void source_init(struct source *s)
{
	*s = (struct source){.parse = {source_read}};
}

void source_fini(struct source *s)
{
	while (s->texts) {
		struct source_text *next = s->texts->next;

		free(s->texts->bytes);
		free(s->texts);
		s->texts = next;
	}
}

void source_print_mistakes(const struct diagnostics *diags, FILE *to)
{
	char text[MESSAGE_MAX];

	for (size_t i = 0; i < diags->n; i++) {
		diagnostic_format(&diags->list[i], text, sizeof(text));
		fprintf(to, "%s%s", i > 0 ? "\n" : "", text);
	}
}
