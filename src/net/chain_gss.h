/* SPDX-License-Identifier: MIT */
/*
 * GSS-API with the proxies of a chain (RFC 1961): what proto/connect asks for at CONNECT_GSS_...,
 * done by net/gss. A part of net/chain.
 *
 * A context may need a ticket from a KDC, which blocks: that is the thread pool's. The rest is
 * computation, and happens in the loop.
 */
#ifndef TABI_NET_CHAIN_GSS_H
#define TABI_NET_CHAIN_GSS_H

#include "net/layer.h"
#include "net/loop.h"
#include "proto/connect.h"

/* Exists while a chain with GSS-API does. */
struct chain_gss;

/* `service` is borrowed. NULL without memory. */
struct chain_gss *chain_gss_new(const char *service);
/* `done` is not called any more. NULL is fine. */
void chain_gss_cancel(struct chain_gss *g);
/* After chain_gss_cancel(). What still runs on a thread is freed when it is over. */
void chain_gss_free(struct chain_gss *g);

/* A new connection: there is no context any more. NULL is fine. */
void chain_gss_forget(struct chain_gss *g);

/* The proxy's token, before it is overwritten. */
void chain_gss_take(struct chain_gss *g, const uint8_t *token, size_t len);

/* CONNECT_GSS_CONTEXT: begins. `done` is called from the loop; then chain_gss_context().
 * `datagrams` is whether some will be protected by it. Returns 0 or an error. */
int chain_gss_begin(struct chain_gss *g, struct loop *loop, const char *host, bool datagrams,
    void (*done)(void *ctx), void *ctx);

/*
 * Each tells the machine what came of it. The first two give what is to be sent, which stays until
 * the next call. Return 0 or an error.
 */
int chain_gss_context(struct chain_gss *g, struct connect *machine, struct wire_writer *ret_out);
int chain_gss_level(struct chain_gss *g, struct connect *machine, struct wire_writer *ret_out);
/* CONNECT_GSS_ANSWER: `*layer` is from here on what protects messages, where that was agreed; `n`
 * bytes at `early` are then its own, and `*ret_taken` is set. */
int chain_gss_answer(struct chain_gss *g, struct connect *machine, int fd, struct layer **layer,
    const void *early, size_t n, bool *ret_taken);

/* What the library says of a failure, or NULL; lives as long as `g`. */
const char *chain_gss_why(const struct chain_gss *g);

#endif
