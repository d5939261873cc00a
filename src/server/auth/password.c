/* SPDX-License-Identifier: MIT */
#include "server/auth/password.h"

#include <crypt.h>
#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "proto/err.h"

/*
 * What is hashed for a user whom nobody knows, where there is no real hash to imitate: yescrypt as
 * password_hash() sets it, with a fixed salt.
 */
static const char decoy_setting[] = "$y$j9T$tabidecoytabidecoy..$";

struct entry {
	const char *user; /* borrowed from the table's text */
	size_t user_len;
	const char *hash; /* NUL-terminated */
};

struct password_table {
	char *text; /* owned; entries point into it */
	size_t len;
	struct entry *entries; /* owned */
	size_t n;
};

static const struct entry *find(const struct password_table *table, const char *user, size_t len)
{
	for (size_t i = 0; i < table->n; i++)
		if (table->entries[i].user_len == len &&
		    memcmp(table->entries[i].user, user, len) == 0)
			return &table->entries[i];
	return NULL;
}

/* Cuts `line` (NUL-terminated) in two. Returns what is wrong with it, or NULL. */
static const char *read_line(struct password_table *table, char *line)
{
	struct entry *e = &table->entries[table->n];
	char *colon = strchr(line, ':');

	if (!colon)
		return "expected 'user:hash'; use 'tabi passwd' to make the line";
	*colon = '\0';
	e->user = line;
	e->user_len = (size_t)(colon - line);
	e->hash = colon + 1;
	if (e->user_len == 0 || e->user_len > PASSWORD_MAX)
		return "the user must have 1 to 255 bytes";
	if (strlen(e->hash) >= PASSWORD_HASH_MAX || crypt_checksalt(e->hash) != CRYPT_SALT_OK)
		return "the hash is of no format that crypt(5) accepts for new passwords; use "
		       "'tabi passwd' to make one";
	if (find(table, e->user, e->user_len))
		return "the user is listed twice";
	table->n++;
	return NULL;
}

static size_t count_lines(const char *text, size_t len)
{
	size_t n = 1;

	for (size_t i = 0; i < len; i++)
		n += text[i] == '\n';
	return n;
}

static const char *read_all(struct password_table *table, size_t len, unsigned *ret_line)
{
	char *line = table->text, *end = table->text + len;
	const char *why = NULL;

	for (*ret_line = 1; line < end && !why; (*ret_line)++) {
		char *next = memchr(line, '\n', (size_t)(end - line));
		size_t n = (size_t)((next ? next : end) - line);

		line[n] = '\0';
		if (memchr(line, '\0', n))
			why = "the line holds a NUL byte";
		else if (n > 0 && line[0] != '#')
			why = read_line(table, line);
		if (why)
			break;
		line += n + 1;
	}
	return why;
}

int password_table_new(struct password_table **ret_table, const char *text, size_t len,
    unsigned *ret_line, const char **ret_why)
{
	struct password_table *table = calloc(1, sizeof(*table));
	int ret = -ENOMEM;

	if (!table)
		return -ENOMEM;
	table->text = malloc(len + 1);
	table->entries = calloc(count_lines(text, len), sizeof(*table->entries));
	if (!table->text || !table->entries)
		goto out;
	table->len = len;
	if (len > 0)
		memcpy(table->text, text, len);
	table->text[len] = '\0';
	*ret_why = read_all(table, len, ret_line);
	ret = *ret_why ? ERR_MALFORMED : 0;
out:
	if (ret == 0)
		*ret_table = table;
	else
		password_table_free(table);
	return ret;
}

void password_table_free(struct password_table *table)
{
	if (!table)
		return;
	if (table->text)
		explicit_bzero(table->text, table->len);
	free(table->text);
	free(table->entries);
	free(table);
}

size_t password_table_size(const struct password_table *table)
{
	return table->n;
}

/* Takes the same time wherever two texts of one length differ. */
static bool equal_in_constant_time(const char *a, const char *b)
{
	size_t la = strlen(a), lb = strlen(b);
	volatile unsigned char diff = la != lb;

	for (size_t i = 0; i < la && i < lb; i++)
		diff |= (unsigned char)(a[i] ^ b[i]);
	return diff == 0;
}

/* The work that every check costs: hashing `password` with somebody's parameters. */
static bool hash_matches(const char *password, const char *hash)
{
	struct crypt_data *data = calloc(1, sizeof(*data));
	const char *out;
	bool same;

	if (!data)
		return false;
	out = crypt_r(password, hash, data);
	/* libxcrypt answers failure with a text that begins with '*', which no hash does. */
	same = out && out[0] != '*' && equal_in_constant_time(out, hash);
	explicit_bzero(data, sizeof(*data));
	free(data);
	return same;
}

bool password_check(const struct password_table *table, const char *user, size_t user_len,
    const char *password, size_t password_len)
{
	char text[PASSWORD_MAX + 1] = "";
	const struct entry *e = find(table, user, user_len);
	const char *hash = decoy_setting;
	bool fits, same;

	/* The decoy costs what the first real hash costs, whichever kind that is. */
	if (e)
		hash = e->hash;
	else if (table->n > 0)
		hash = table->entries[0].hash;
	/* crypt() stops at NUL: without this, "secret\0anything" would be "secret". */
	fits = password_len > 0 && password_len <= PASSWORD_MAX &&
	       !memchr(password, '\0', password_len);
	if (fits)
		memcpy(text, password, password_len);
	same = hash_matches(text, hash);
	explicit_bzero(text, sizeof(text));
	return same && e && fits;
}

int password_hash(const char *password, char ret_hash[static PASSWORD_HASH_MAX])
{
	char setting[CRYPT_GENSALT_OUTPUT_SIZE];
	struct crypt_data *data;
	const char *out;
	int ret = 0;

	if (!crypt_gensalt_rn("$y$", 0, NULL, 0, setting, sizeof(setting)))
		return -errno;
	data = calloc(1, sizeof(*data));
	if (!data)
		return -ENOMEM;
	out = crypt_r(password, setting, data);
	if (!out || out[0] == '*' || strlen(out) >= PASSWORD_HASH_MAX)
		ret = -EINVAL;
	else
		memcpy(ret_hash, out, strlen(out) + 1);
	explicit_bzero(data, sizeof(*data));
	free(data);
	return ret;
}
