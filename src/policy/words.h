/* SPDX-License-Identifier: MIT */
/* Tables of words, and the nearest one to a misspelt word. */
#ifndef TABI_POLICY_WORDS_H
#define TABI_POLICY_WORDS_H

#include <stdbool.h>
#include <stddef.h>

/* A row; a table ends with one whose text is NULL. */
struct word {
	const char *text;
	int value;
};

/* Longest result of words_list(). */
#define WORDS_LIST_MAX 400

/* The row of exactly this text, or NULL. */
const struct word *words_find(const struct word *table, const char *text, size_t len);

/* The first row with this value, or NULL. */
const char *words_name(const struct word *table, int value);

/* "connect, bind, udp or resolve". Returns `buf`. */
const char *words_list(const struct word *table, char buf[static WORDS_LIST_MAX]);

/*
 * The best of several candidates for a misspelt word: offer each, then read `best` (NULL: none is
 * near enough). A candidate is near with two slips, or one where the word is short.
 */
struct words_guess {
	const char *text;
	size_t len;
	unsigned slips; /* of the best so far */
	const char *best;
};

struct words_guess words_guess_for(const char *text, size_t len);
void words_guess_offer(struct words_guess *g, const char *candidate);

/* All of it for a table. */
const char *words_nearest(const struct word *table, const char *text, size_t len);

#endif
