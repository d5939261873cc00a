/* SPDX-License-Identifier: MIT */
/* Asking a client's own host (RFC 1413) whether a SOCKS4 client is who it says. */
#ifndef TABI_SERVER_AUTH_IDENT_H
#define TABI_SERVER_AUTH_IDENT_H

#include <stddef.h>

#include "net/loop.h"
#include "proto/addr.h"

/* For how long to wait, from the question on: the client waits meanwhile. */
#define IDENT_MS 5000

struct ident;

/* The answer, from the loop: 0 where it is that user's connection, ERR_IDENT_MISMATCH where it is
 * another's, ERR_NO_IDENTD where nobody says. The question is gone after the call. */
typedef void ident_fn(void *ctx, int err);

/*
 * Asks about the connection on `fd`, whose other end is to be `client` (else somebody stands in
 * between, and there is nobody to ask), from our end's address. `user` is copied. Returns 0, or an
 * error after which no answer comes: ERR_NO_IDENTD, ERR_UNAVAILABLE or -ENOMEM.
 */
int ident_start(struct loop *loop, int fd, const struct addr *client, const char *user, size_t len,
    ident_fn *fn, void *ctx, struct ident **ret_ident);
/* `fn` will not be called. NULL is fine. */
void ident_cancel(struct ident *ident);

#endif
