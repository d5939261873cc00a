/* SPDX-License-Identifier: MIT */
#include "policy/words.h"

#include <stdio.h>
#include <string.h>

/* Longer words are not compared: nobody misspells a keyword into one. */
#define GUESS_MAX 40

const struct word *words_find(const struct word *table, const char *text, size_t len)
{
	for (const struct word *w = table; w->text; w++)
		if (strlen(w->text) == len && memcmp(w->text, text, len) == 0)
			return w;
	return NULL;
}

const char *words_name(const struct word *table, int value)
{
	for (const struct word *w = table; w->text; w++)
		if (w->value == value)
			return w->text;
	return NULL;
}

const char *words_list(const struct word *table, char buf[static WORDS_LIST_MAX])
{
	size_t len = 0;

	buf[0] = '\0';
	for (const struct word *w = table; w->text && len < WORDS_LIST_MAX; w++) {
		const char *between = w == table ? "" : w[1].text ? ", " : " or ";
		int n = snprintf(buf + len, WORDS_LIST_MAX - len, "%s%s", between, w->text);

		len += n > 0 ? (size_t)n : 0;
	}
	return buf;
}

static char lower(char c)
{
	return c >= 'A' && c <= 'Z' ? (char)(c + ('a' - 'A')) : c;
}

static unsigned least(unsigned a, unsigned b)
{
	return a < b ? a : b;
}

/*
 * Slips between two words: letters left out, put in, exchanged, or swapped with their neighbour.
 * Case costs nothing: `Allow` is near `allow`. Three rows of the usual table suffice.
 */
static unsigned slips_between(const char *a, size_t a_len, const char *b, size_t b_len)
{
	unsigned rows[3][GUESS_MAX + 1];

	for (size_t k = 0; k <= b_len; k++)
		rows[0][k] = (unsigned)k;
	for (size_t i = 1; i <= a_len; i++) {
		unsigned *row = rows[i % 3], *above = rows[(i + 2) % 3],
			 *above2 = rows[(i + 1) % 3];

		row[0] = (unsigned)i;
		for (size_t k = 1; k <= b_len; k++) {
			bool same = lower(a[i - 1]) == lower(b[k - 1]);

			row[k] = least(least(above[k], row[k - 1]) + 1, above[k - 1] + !same);
			if (i > 1 && k > 1 && lower(a[i - 1]) == lower(b[k - 2]) &&
			    lower(a[i - 2]) == lower(b[k - 1]))
				row[k] = least(row[k], above2[k - 2] + 1);
		}
	}
	return rows[a_len % 3][b_len];
}

struct words_guess words_guess_for(const char *text, size_t len)
{
	/* One more than what is near enough. */
	return (struct words_guess){.text = text, .len = len, .slips = len <= 4 ? 2 : 3};
}

void words_guess_offer(struct words_guess *g, const char *candidate)
{
	size_t len = strlen(candidate);
	unsigned slips;

	if (len > GUESS_MAX || g->len > GUESS_MAX || g->len == 0)
		return;
	slips = slips_between(g->text, g->len, candidate, len);
	if (slips < g->slips) {
		g->slips = slips;
		g->best = candidate;
	}
}

const char *words_nearest(const struct word *table, const char *text, size_t len)
{
	struct words_guess g = words_guess_for(text, len);

	for (const struct word *w = table; w->text; w++)
		words_guess_offer(&g, w->text);
	return g.best;
}
