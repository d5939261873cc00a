/* SPDX-License-Identifier: MIT */
/*
 * GSS-API by the system's library.
 *
 * Theory of operation. The library is opened when a caller asks for GSS-API first (lib/library.h):
 * a program that does not want Kerberos neither needs nor loads it. A build without has
 * gssapi_none.c in the place of gssapi.c, and there gssapi_load() fails.
 */
#ifndef TABI_LIB_GSSAPI_H
#define TABI_LIB_GSSAPI_H

#include <stdbool.h>
#include <stddef.h>

#include "tabi.h"

struct gss_ctx_id_struct; /* gss_ctx_id_t points to one */

#define GSSAPI_SAID_MAX 160

/* Opens the library, once. Returns 0, or TABI_E_GSS with the reason in `said`. The functions that
 * follow are called only when it was 0. */
int gssapi_load(char said[static GSSAPI_SAID_MAX]);

/* NULL is fine. */
void gssapi_context_free(struct gss_ctx_id_struct *context);

/*
 * The client's side of establishing a context, which starts as NULL: takes the proxy's token (none
 * at first) and gives ours, perhaps none. `service` is SERVICE@HOST. Asks for mutual
 * authentication, replay detection, integrity and confidentiality, and for an order unless
 * `datagrams` are to be sent. It blocks: a ticket comes from a KDC. Returns 1 when our side stands,
 * 0 when another token is needed, or TABI_E_GSS with the library's own sentence in `said`.
 */
int gssapi_initiate(struct gss_ctx_id_struct **context, const char *service, bool datagrams,
    const void *token, size_t len, void *buf, size_t size, size_t *ret_len,
    char said[static GSSAPI_SAID_MAX]);

/*
 * Single messages. `*ret_len` says how many of `size` bytes of `buf` were written. Return 0,
 * TABI_E_TOO_LONG for what does not fit, or TABI_E_GSS where the message cannot be wrapped, is not
 * genuine, comes again or out of its order (which of datagrams is no fault), or is not
 * `confidential` though that is asked for. Unwrapping, `buf` may be where the token is.
 */
int gssapi_wrap(struct gss_ctx_id_struct *context, bool confidential, const void *data, size_t len,
    void *buf, size_t size, size_t *ret_len);
int gssapi_unwrap(struct gss_ctx_id_struct *context, bool confidential, bool datagram,
    const void *token, size_t len, void *buf, size_t size, size_t *ret_len);

/* How many bytes can be wrapped at once; for small ones a token of at most 65535 bytes is certain.
 */
size_t gssapi_wrap_limit(struct gss_ctx_id_struct *context, bool confidential);

#endif
