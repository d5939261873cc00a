/* SPDX-License-Identifier: MIT */
/* Password files: user:hash lines, in the hash formats of crypt(5). */
#ifndef TABI_SERVER_AUTH_PASSWORD_H
#define TABI_SERVER_AUTH_PASSWORD_H

#include <stdbool.h>
#include <stddef.h>

/* Longest user and password, RFC 1929 section 2. */
#define PASSWORD_MAX 255
/* Longest line of a password file, and so the longest hash. */
#define PASSWORD_HASH_MAX 384

/* Users and their hashes; immutable once made, so that threads may read it. */
struct password_table;

/*
 * Reads the text of a password file: `user:hash` lines, empty lines, and comments that begin with
 * '#'. Returns 0, -ENOMEM, or ERR_MALFORMED with the line and a sentence about it (no part of the
 * line itself: it may hold a secret).
 */
int password_table_new(struct password_table **ret_table, const char *text, size_t len,
    unsigned *ret_line, const char **ret_why);
/* Wipes it. NULL is fine. */
void password_table_free(struct password_table *table);
size_t password_table_size(const struct password_table *table);

/*
 * Does this password belong to this user? Slow on purpose (tens of
 * milliseconds): for the thread pool. It takes as long for a user nobody knows, and compares in
 * constant time. Both are bytes of any value, NUL too (which no stored password can hold).
 */
bool password_check(const struct password_table *table, const char *user, size_t user_len,
    const char *password, size_t password_len);

/*
 * A new yescrypt hash with a random salt. `password` is NUL-terminated. Returns 0 or -errno.
 */
int password_hash(const char *password, char ret_hash[static PASSWORD_HASH_MAX]);

#endif
