/* SPDX-License-Identifier: MIT */
/* Files read whole and kept by name: what a configuration is made of. */
#ifndef TABI_SERVER_TEXTS_H
#define TABI_SERVER_TEXTS_H

#include <stdbool.h>

#include "policy/parse.h"

/* No configuration and no password file is longer; -EFBIG. */
#define TEXTS_FILE_MAX (64u << 20)

struct text {
	char *name; /* owned, as are the bytes, which a NUL follows */
	char *data;
	size_t len;
};

/* A growing set of texts, and the parser's way to them. */
struct texts {
	struct parse_source source; /* what policy_parse() is given */
	bool sealed; /* what is not in the set does not exist; else the parser's files are read */
	struct text *list;
	size_t n;
};

void texts_init(struct texts *texts);
void texts_fini(struct texts *texts);

/* Each returns a text that stays the set's, valid until the next one is added (its bytes until
 * texts_fini()). */
const struct text *texts_find(const struct texts *texts, const char *name);
/* Copies. NULL without memory. */
const struct text *texts_add(struct texts *texts, const char *name, const char *data, size_t len);
/* Reads the file at `path`, or standard input for "-". Returns 0 or -errno. */
int texts_read(struct texts *texts, const char *path, const struct text **ret_text);

/* A file that another one names is looked for beside that one. Returns malloc'ed text, or NULL. */
char *texts_path_beside(const char *name, const char *from);

/*
 * The text of a file that the configuration names: from the set, or, unless that is sealed, from
 * disk. A `secret` one is only read if nobody but its owner may, and the owner is us or root.
 * Returns 0, or a negative error with `*ret_why`: static text, a predicate such as "does not
 * exist".
 */
int texts_need(struct texts *texts, const char *path, bool secret, const struct text **ret_text,
    const char **ret_why);

#endif
