/* SPDX-License-Identifier: MIT */
#include "server/config.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "proto/err.h"
#include "server/auth/password.h"

/* What the text made of --listen options is called in messages. */
static const char listen_name[] = "(--listen)";
/* No configuration and no password file is that long. */
#define FILE_MAX (64u << 20)

/* What follows the listeners that were named instead of the built-in ones. */
static const char default_rules[] = "allow from loopback to any\n";

/* A configuration being made: its texts grow while the parser asks for them. */
struct loading {
	struct parse_source source; /* first: the parser knows us by it */
	struct config *config;
	bool from_disk; /* else only what is in the bundle exists */
	config_complain_fn *complain;
	void *ctx;
};

/* ---- texts ---- */

static struct config_text *find_text(const struct config *config, const char *name)
{
	for (size_t i = 0; i < config->n_texts; i++)
		if (strcmp(config->texts[i].name, name) == 0)
			return &config->texts[i];
	return NULL;
}

/* Copies. NULL without memory. */
static struct config_text *add_text(
    struct config *config, const char *name, const char *data, size_t len)
{
	struct config_text *texts =
	    realloc(config->texts, (config->n_texts + 1) * sizeof(*config->texts));
	struct config_text *t;

	if (!texts)
		return NULL;
	config->texts = texts;
	t = &texts[config->n_texts];
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
	config->n_texts++;
	return t;
}

/* Everything there is in `fd`, from its current offset. Returns malloc'ed bytes, or NULL with
 * errno. */
static char *read_all(int fd, size_t *ret_len)
{
	size_t cap = 4096, len = 0;
	char *data = malloc(cap);
	ssize_t n = 1;

	if (!data)
		return NULL;
	while (n > 0) {
		if (len == cap) {
			char *more = cap < FILE_MAX ? realloc(data, cap * 2) : NULL;

			if (!more) {
				errno = cap < FILE_MAX ? ENOMEM : EFBIG;
				break;
			}
			data = more;
			cap *= 2;
		}
		n = read(fd, data + len, cap - len);
		if (n < 0 && errno == EINTR)
			n = 1;
		else if (n > 0)
			len += (size_t)n;
	}
	if (n == 0) {
		*ret_len = len;
		return data;
	}
	free(data);
	return NULL;
}

/* Returns 0 and the new text, or -errno. */
static int read_file(struct config *config, const char *path, struct config_text **ret_text)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	size_t len = 0;
	char *data;
	int err = 0;

	if (fd < 0)
		return -errno;
	data = read_all(fd, &len);
	if (!data)
		err = -errno;
	close(fd);
	if (!data)
		return err;
	*ret_text = add_text(config, path, data, len);
	free(data);
	return *ret_text ? 0 : -ENOMEM;
}

static int source_read(
    struct parse_source *src, const char *path, const char **ret_text, size_t *ret_len)
{
	struct loading *l = (struct loading *)src;
	struct config_text *t = find_text(l->config, path);
	int err = 0;

	if (!t)
		err = l->from_disk ? read_file(l->config, path, &t) : -ENOENT;
	if (!t)
		return err;
	*ret_text = t->data;
	*ret_len = t->len;
	return 0;
}

/* ---- password files ---- */

/* A file that another one names is looked for beside that one. Returns malloc'ed text, or NULL. */
static char *path_beside(const char *name, const char *from)
{
	const char *slash = from ? strrchr(from, '/') : NULL;
	char *path = NULL;

	if (name[0] == '/' || !slash)
		return strdup(name);
	if (asprintf(&path, "%.*s%s", (int)(slash + 1 - from), from, name) < 0)
		return NULL;
	return path;
}

static void complain_about(
    const struct loading *l, const struct policy_auth *auth, const char *path, const char *what)
{
	char text[1024];

	snprintf(text, sizeof(text), "%s:%u: password file %s: %s", auth->at.file, auth->at.line,
	    path, what);
	l->complain(l->ctx, text);
}

/* Only its owner may read it, and the owner is us or root. */
static const char *wrong_with_mode(const char *path)
{
	struct stat st;

	if (stat(path, &st) < 0)
		return strerror(errno);
	if (!S_ISREG(st.st_mode))
		return "is not a regular file";
	if (st.st_mode & 077)
		return "others may read or write it; make it private with 'chmod 600'";
	if (st.st_uid != 0 && st.st_uid != geteuid())
		return "belongs to somebody else; it must be root's or your own";
	return NULL;
}

/* The text of a password file: from the bundle, or from disk if it is as private as it should be.
 */
static int find_passwords(struct loading *l, const struct policy_auth *auth, const char *path,
    struct config_text **ret_text)
{
	const char *why;
	int err;

	*ret_text = find_text(l->config, path);
	if (*ret_text)
		return 0;
	why = l->from_disk ? wrong_with_mode(path) : "is not in the bundle";
	err = why ? ERR_MALFORMED : read_file(l->config, path, ret_text);
	if (err)
		complain_about(l, auth, path, why ? why : strerror(-err));
	return err;
}

static int read_passwords(struct loading *l, const struct policy_auth *auth, const char *path)
{
	struct config *config = l->config;
	const char *why = NULL;
	struct config_text *t;
	unsigned line = 0;
	char text[400];
	int err = find_passwords(l, auth, path, &t);

	if (err)
		return err;
	err = password_table_new(
	    &config->passwords[config->n_passwords], t->data, t->len, &line, &why);
	if (err == 0) {
		config->n_passwords++;
		return 0;
	}
	snprintf(text, sizeof(text), "line %u: %s", line, why ? why : strerror(-err));
	complain_about(l, auth, path, text);
	return err;
}

static int read_all_passwords(struct loading *l)
{
	const struct policy *policy = l->config->policy;
	int err = 0;

	l->config->passwords = calloc(policy->n_auths + 1, sizeof(struct password_table *));
	if (!l->config->passwords)
		return -ENOMEM;
	for (size_t i = 0; i < policy->n_auths; i++) {
		const struct policy_auth *a = &policy->auths[i];
		char *path;
		int e;

		if (a->method != AUTH_PASSWORD)
			continue;
		path = path_beside(a->file, a->at.file);
		e = path ? read_passwords(l, a, path) : -ENOMEM;
		free(path);
		if (e)
			err = e;
	}
	return err;
}

/* ---- loading ---- */

static void complain_all(const struct loading *l, const struct diagnostics *diags, int err)
{
	char text[4096];

	for (size_t i = 0; i < diags->n; i++) {
		diagnostic_format(&diags->list[i], text, sizeof(text));
		l->complain(l->ctx, text);
	}
	if (err && diags->n == 0)
		l->complain(l->ctx, err == -ENOMEM ? "out of memory" : err_text(err));
}

/* Parses `name` and all that belongs to it. Takes over the reference to l->config. */
static int finish(struct loading *l, const char *name, struct config **ret_config)
{
	struct diagnostics diags = {0};
	int err;

	l->source.read = source_read;
	err = policy_parse(&l->source, name, &l->config->policy, &diags);
	if (!err)
		err = policy_check_servable(l->config->policy, &diags);
	complain_all(l, &diags, err);
	diagnostics_free(&diags);
	if (!err)
		err = read_all_passwords(l);
	if (err)
		config_unref(l->config);
	else
		*ret_config = l->config;
	return err;
}

static struct config *config_new(void)
{
	struct config *config = calloc(1, sizeof(*config));

	if (config)
		config->refs = 1;
	return config;
}

int config_load(
    const char *path, config_complain_fn *complain, void *ctx, struct config **ret_config)
{
	struct loading l = {
	    .config = config_new(), .from_disk = true, .complain = complain, .ctx = ctx};
	struct config_text *t;
	char text[512];
	int err;

	if (!l.config)
		return -ENOMEM;
	err = read_file(l.config, path, &t);
	if (!err)
		return finish(&l, path, ret_config);
	snprintf(text, sizeof(text), "%s: cannot be read: %s", path, strerror(-err));
	complain(ctx, text);
	config_unref(l.config);
	return err;
}

/* The text that stands for a file where there is none; malloc'ed, or NULL. */
static char *default_text(const char *const *listen, size_t n_listen)
{
	char *text = NULL;
	size_t len = 0;
	FILE *f;

	if (n_listen == 0)
		return strdup(parse_default_text);
	f = open_memstream(&text, &len);
	if (!f)
		return NULL;
	for (size_t i = 0; i < n_listen; i++)
		fprintf(f, "listen %s\n", listen[i]);
	fputs(default_rules, f);
	if (fclose(f) == 0)
		return text;
	free(text);
	return NULL;
}

int config_load_default(const char *const *listen, size_t n_listen, config_complain_fn *complain,
    void *ctx, struct config **ret_config)
{
	struct loading l = {
	    .config = config_new(), .from_disk = true, .complain = complain, .ctx = ctx};
	const char *name = n_listen > 0 ? listen_name : parse_default_name;
	char *text = default_text(listen, n_listen);
	int err = -ENOMEM;

	if (l.config && text && add_text(l.config, name, text, strlen(text)))
		err = finish(&l, name, ret_config);
	else
		config_unref(l.config);
	free(text);
	return err;
}

struct config *config_ref(struct config *config)
{
	config->refs++;
	return config;
}

void config_unref(struct config *config)
{
	if (!config || --config->refs > 0)
		return;
	for (size_t i = 0; i < config->n_passwords; i++)
		password_table_free(config->passwords[i]);
	free(config->passwords);
	policy_free(config->policy);
	for (size_t i = 0; i < config->n_texts; i++) {
		free(config->texts[i].name);
		free(config->texts[i].data);
	}
	free(config->texts);
	free(config);
}

/* ---- from process to process: for each text two lengths, its name, its bytes ---- */

static int write_all(int fd, const void *data, size_t len)
{
	const char *at = data;

	while (len > 0) {
		ssize_t n = write(fd, at, len);

		if (n < 0)
			return -errno;
		at += n;
		len -= (size_t)n;
	}
	return 0;
}

static int write_text(int fd, const struct config_text *t)
{
	const uint64_t lens[2] = {strlen(t->name), t->len};
	int err = write_all(fd, lens, sizeof(lens));

	if (!err)
		err = write_all(fd, t->name, lens[0]);
	return err ? err : write_all(fd, t->data, lens[1]);
}

int config_to_memfd(const struct config *config)
{
	int fd = memfd_create("tabi-config", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	int err = 0;

	if (fd < 0)
		return -errno;
	for (size_t i = 0; i < config->n_texts && !err; i++)
		err = write_text(fd, &config->texts[i]);
	/* Workers share it: none may change what the next one reads. */
	if (!err &&
	    fcntl(fd, F_ADD_SEALS, F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE) < 0)
		err = -errno;
	if (err) {
		close(fd);
		return err;
	}
	return fd;
}

static int unpack(struct config *config, const char *data, size_t len)
{
	size_t at = 0;

	while (at < len) {
		uint64_t lens[2];
		char *name;
		bool ok;

		if (len - at < sizeof(lens))
			return ERR_MALFORMED;
		memcpy(lens, data + at, sizeof(lens));
		at += sizeof(lens);
		if (lens[0] > len - at || lens[1] > len - at - lens[0])
			return ERR_MALFORMED;
		name = strndup(data + at, lens[0]);
		ok = name && add_text(config, name, data + at + lens[0], lens[1]);
		free(name);
		if (!ok)
			return -ENOMEM;
		at += lens[0] + lens[1];
	}
	return config->n_texts > 0 ? 0 : ERR_MALFORMED;
}

/* Mapped, not read: the offset is one for all who hold the descriptor. NULL on failure. */
static char *map_file(int fd, size_t *ret_len)
{
	struct stat st;
	void *data;

	if (fstat(fd, &st) < 0 || st.st_size <= 0)
		return NULL;
	data = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_SHARED, fd, 0);
	if (data == MAP_FAILED)
		return NULL;
	*ret_len = (size_t)st.st_size;
	return data;
}

/* In the worker nobody reads complaints: the supervisor found nothing to complain about. */
static void ignore_complaint(void *ctx, const char *text)
{
	(void)ctx;
	(void)text;
}

int config_from_memfd(int fd, struct config **ret_config)
{
	struct loading l = {.config = config_new(), .complain = ignore_complaint};
	size_t len = 0;
	char *data;
	int err;

	if (!l.config)
		return -ENOMEM;
	data = map_file(fd, &len);
	err = data ? unpack(l.config, data, len) : -EIO;
	if (data)
		munmap(data, len);
	if (!err)
		return finish(&l, l.config->texts[0].name, ret_config);
	config_unref(l.config);
	return err;
}
