/* SPDX-License-Identifier: MIT */
/* What the checks of HTTP share: requests that a row of a table writes, and what has to come. */
#ifndef TABI_CLI_PROBE_HTTP_H
#define TABI_CLI_PROBE_HTTP_H

#include "cli/probe_kit.h"

/* `arg` of a row that http_row() runs. */
enum http_want {
	HTTP_ECHOES,       /* a tunnel to the target */
	HTTP_CLIENT_ERROR, /* 4xx */
	HTTP_GATEWAY,      /* 502 to 504 */
	HTTP_REFUSED,      /* any answer but 2xx, or the end */
	HTTP_ENDED,        /* the same; or something else and the end */
	HTTP_ANSWERED,     /* anything but silence */
};

/* Writes `n` bytes of `from` with what its %LETTERs stand for into `buf`, which has PROBE_HTTP.
 * Returns the length. */
size_t http_expand(struct kit *k, const char *from, size_t n, char *buf);
/* Dials, says that, and reads an answer. False where there is no connection. */
bool http_say(struct kit *k, const char *from, size_t n, struct attempt *ret);
enum probe_verdict http_judge(struct kit *k, enum http_want want, const struct attempt *a);
/* For a check that says its `bytes`, and whose `arg` is what has to come. */
enum probe_verdict http_row(struct kit *k);

#endif
