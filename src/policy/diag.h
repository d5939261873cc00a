/* SPDX-License-Identifier: MIT */
/* Collecting mistakes: how the parser and the checks write diagnostics. */
#ifndef TABI_POLICY_DIAG_H
#define TABI_POLICY_DIAG_H

#include "policy/parse.h"

/* One pass reports no more than this; the list then ends with a line that says so. */
#define DIAG_MAX 100

/*
 * Adds a mistake at `at` (whose line may be 0: the file as a whole). `expected` may be NULL. What
 * is given is copied. Running out of memory loses the mistake and sets `d->lost`: a list without
 * mistakes says nothing unless that is false.
 */
void diag_add(struct diagnostics *d, const struct position *at, const char *expected,
    const char *format, ...) __attribute__((format(printf, 4, 5)));

/* Is the list full? Then nothing more is worth finding. */
bool diag_full(const struct diagnostics *d);

/* Orders the list by file, as they stand in `files`, then by line and column. */
void diag_sort(struct diagnostics *d, const char *const *files, size_t n_files);

/*
 * Length of the character that `text` begins with, or 0 where the byte is none that may go to a
 * terminal: control bytes, C1 controls and what is not UTF-8. Such a byte is shown as '?', and
 * counts as a column like any other: whoever counts columns asks this.
 */
size_t diag_character(const char *text, size_t left);

#endif
