/* SPDX-License-Identifier: MIT */
/* Configuration files for the parser, which opens none itself. */
#ifndef TABI_CLI_SOURCE_H
#define TABI_CLI_SOURCE_H

#include <stdio.h>

#include "policy/parse.h"

struct source_text;

/* Files are read whole and kept until source_fini(). */
struct source {
	struct parse_source parse; /* what policy_parse() is given */
	struct source_text *texts;
};

/*
 * "-" is standard input, and parse_default_name the built-in configuration. A file larger than
 * 16 MiB is refused with -EFBIG.
 */
void source_init(struct source *s);
void source_fini(struct source *s);

/* Writes each mistake as text, a blank line between two. */
void source_print_mistakes(const struct diagnostics *diags, FILE *to);

#endif
