/* SPDX-License-Identifier: MIT */
#include "cli/mistakes.h"

/* A message, its line and the caret are cut at about 100 characters each; those of UTF-8 are
 * longer. */
#define MESSAGE_MAX 4096

void mistakes_print(const struct diagnostics *diags, FILE *to)
{
	char text[MESSAGE_MAX];

	for (size_t i = 0; i < diags->n; i++) {
		diagnostic_format(&diags->list[i], text, sizeof(text));
		fprintf(to, "%s%s", i > 0 ? "\n" : "", text);
	}
}
