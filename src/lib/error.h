/* SPDX-License-Identifier: MIT */
/* Errors of proto/err as those of the public header. */
#ifndef TABI_LIB_ERROR_H
#define TABI_LIB_ERROR_H

#include "tabi.h"

/* Nobody's fault but the caller's: no hop, `why` is a constant sentence or NULL. */
struct tabi_error error_of_call(int code, const char *why);

/* The enum tabi_code of an enum err. */
int error_code(int err);

/* What connect() would have said to a proxy's refusal. `scheme` is an enum url_scheme. */
int error_number_of_reply(int scheme, int reply);

/* Puts a library's sentence into the error, with nothing in it that a terminal could mind. */
void error_say(struct tabi_error *error, const char *said);

/* Into `*ret`, which may be NULL. Returns the code. */
int error_tell(struct tabi_error *ret, const struct tabi_error *error);

#endif
