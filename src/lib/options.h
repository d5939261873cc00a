/* SPDX-License-Identifier: MIT */
/* The options as this version of the library knows them, from a caller of any version. */
#ifndef TABI_LIB_OPTIONS_H
#define TABI_LIB_OPTIONS_H

#include "tabi.h"

/*
 * Copies what the caller filled in; NULL is all defaults. Returns 0, or TABI_E_ARGUMENT where
 * something is asked for that this version does not know: bits, values, and what stands behind the
 * end of its structure; `*ret_why` (if not NULL) is then a constant sentence.
 */
int options_take(
    const struct tabi_options *theirs, struct tabi_options *ret_options, const char **ret_why);

#endif
