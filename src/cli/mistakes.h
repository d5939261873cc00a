/* SPDX-License-Identifier: MIT */
/* Showing what is wrong with a configuration or a request. */
#ifndef TABI_CLI_MISTAKES_H
#define TABI_CLI_MISTAKES_H

#include <stdio.h>

#include "policy/parse.h"

/* Writes each mistake as text, a blank line between two. */
void mistakes_print(const struct diagnostics *diags, FILE *to);

#endif
