/* SPDX-License-Identifier: MIT */
#include "server/texts.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "proto/err.h"

static int source_read(
    struct parse_source *source, const char *name, const char **ret_text, size_t *ret_len)
{
	struct texts *texts = (struct texts *)source;
	const struct text *t = texts_find(texts, name);
	int err = 0;

	if (!t && strcmp(name, parse_default_name) == 0)
		t = texts_add(texts, name, parse_default_text, strlen(parse_default_text));
	else if (!t)
		err = texts->sealed ? -ENOENT : texts_read(texts, name, &t);
	if (!t)
		return err ? err : -ENOMEM;
	*ret_text = t->data;
	*ret_len = t->len;
	return 0;
}

/* Of what was read; it may be a password file. */
static void wipe_and_free(char *data, size_t len)
{
	if (data)
		explicit_bzero(data, len);
	free(data);
}

void texts_init(struct texts *texts)
{
	*texts = (struct texts){.source = {source_read}};
}

void texts_fini(struct texts *texts)
{
	for (size_t i = 0; i < texts->n; i++) {
		free(texts->list[i].name);
		/* It may be a password file, or a private key. */
		wipe_and_free(texts->list[i].data, texts->list[i].len);
	}
	free(texts->list);
	texts_init(texts);
}

const struct text *texts_find(const struct texts *texts, const char *name)
{
	for (size_t i = 0; i < texts->n; i++)
		if (strcmp(texts->list[i].name, name) == 0)
			return &texts->list[i];
	return NULL;
}

const struct text *texts_add(struct texts *texts, const char *name, const char *data, size_t len)
{
	struct text *list = realloc(texts->list, (texts->n + 1) * sizeof(*list));
	struct text *t;

	if (!list)
		return NULL;
	texts->list = list;
	t = &list[texts->n];
	t->name = strdup(name);
	t->data = malloc(len + 1);
	t->len = len;
	if (!t->name || !t->data) {
		free(t->name);
		free(t->data);
		return NULL;
	}
	if (len > 0)
		memcpy(t->data, data, len);
	t->data[len] = '\0';
	texts->n++;
	return t;
}

/* Everything there is in `fd`. Returns 0 or -errno; `*ret_data` is malloc'ed in either case. */
static int read_all(int fd, char **ret_data, size_t *ret_len)
{
	size_t cap = 0;

	for (;;) {
		ssize_t n;

		if (*ret_len == cap) {
			char *more;

			cap = cap == 0 ? 8192 : cap * 2;
			more = cap <= TEXTS_FILE_MAX ? malloc(cap) : NULL;
			if (!more)
				return cap <= TEXTS_FILE_MAX ? -ENOMEM : -EFBIG;
			/* Not realloc(), which leaves the old bytes behind. */
			if (*ret_len > 0)
				memcpy(more, *ret_data, *ret_len);
			wipe_and_free(*ret_data, *ret_len);
			*ret_data = more;
		}
		n = read(fd, *ret_data + *ret_len, cap - *ret_len);
		if (n == 0)
			return 0;
		if (n < 0 && errno != EINTR)
			return -errno;
		*ret_len += n > 0 ? (size_t)n : 0;
	}
}

int texts_read(struct texts *texts, const char *path, const struct text **ret_text)
{
	bool is_stdin = strcmp(path, "-") == 0;
	int fd = is_stdin ? STDIN_FILENO : open(path, O_RDONLY | O_CLOEXEC);
	char *data = NULL;
	size_t len = 0;
	int err;

	if (fd < 0)
		return -errno;
	err = read_all(fd, &data, &len);
	if (!is_stdin)
		close(fd);
	if (!err) {
		*ret_text = texts_add(texts, path, data, len);
		err = *ret_text ? 0 : -ENOMEM;
	}
	wipe_and_free(data, len);
	return err;
}

char *texts_path_beside(const char *name, const char *from)
{
	const char *slash = from ? strrchr(from, '/') : NULL;
	char *path = NULL;

	if (name[0] == '/' || !slash)
		return strdup(name);
	if (asprintf(&path, "%.*s%s", (int)(slash + 1 - from), from, name) < 0)
		return NULL;
	return path;
}

/* Only its owner may read it, and the owner is us or root. */
static const char *wrong_with_mode(const struct stat *st)
{
	if (st->st_mode & 077)
		return "others may read or write it; make it private with 'chmod 600'";
	if (st->st_uid != 0 && st->st_uid != geteuid())
		return "belongs to somebody else; it must be root's or your own";
	return NULL;
}

static int judge_file(const char *path, bool secret, const char **ret_why)
{
	struct stat st;
	int err;

	*ret_why = NULL;
	if (stat(path, &st) < 0) {
		err = -errno;
		*ret_why = err == -ENOENT ? "does not exist" : strerror(-err);
		return err;
	}
	if (!S_ISREG(st.st_mode))
		*ret_why = "is not a regular file";
	else if (secret)
		*ret_why = wrong_with_mode(&st);
	return *ret_why ? ERR_MALFORMED : 0;
}

int texts_need(struct texts *texts, const char *path, bool secret, const struct text **ret_text,
    const char **ret_why)
{
	int err;

	*ret_text = texts_find(texts, path);
	if (*ret_text && texts->sealed)
		return 0;
	/* What was read for another purpose may have been no secret there. */
	*ret_why = "is not in the bundle";
	err = texts->sealed ? ERR_MALFORMED : judge_file(path, secret, ret_why);
	if (err || *ret_text)
		return err;
	err = texts_read(texts, path, ret_text);
	if (err)
		*ret_why = strerror(-err);
	return err;
}
