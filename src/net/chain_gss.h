/* SPDX-License-Identifier: MIT */
/*
 * GSS-API with the proxies of a chain (RFC 1961): what proto/connect asks for at CONNECT_GSS_...,
 * done by net/gss. A part of net/chain.
 *
 * A context may need a ticket from a KDC, which blocks: that is the thread pool's, or, where there
 * are `tickets`, theirs. The rest is computation.
 */
#ifndef TABI_NET_CHAIN_GSS_H
#define TABI_NET_CHAIN_GSS_H

#include "net/layer.h"
#include "net/loop.h"
#include "proto/connect.h"

/* A ticket for one service, that whoever made it keeps until it is released. */
struct chain_ticket {
	const char *cache;     /* of credentials, for the library; holds nothing else */
	const char *principal; /* the service's, with its realm */
	void (*release)(struct chain_ticket *ticket);
};

struct chain_ticket_wait {
	/* Called from the loop with 0 and `ticket`, which is then the receiver's, or with an error
	 * and `why`. */
	void (*fn)(struct chain_ticket_wait *wait, int err);
	struct chain_ticket *ticket;
	const char *why; /* for the time of the call; or NULL */
	/* Whoever has tickets: the next one who waits, and what leads here; NULL: nobody waits. */
	struct chain_ticket_wait *next, **at;
};

/* Whoever has tickets at hand, so that nobody but he waits for a KDC: the head of his own struct.
 */
struct chain_tickets {
	/* Returns 1 with `wait->ticket`, 0 where `wait->fn` is called later (`fn` is set; the
	 * names are copied), or an error with `wait->why`. */
	int (*ask)(struct chain_tickets *tickets, struct loop *loop, const char *service,
	    const char *host, struct chain_ticket_wait *wait);
};

/* Exists while a chain with GSS-API does. */
struct chain_gss;

/* Both are borrowed; `tickets` may be NULL. NULL without memory. */
struct chain_gss *chain_gss_new(const char *service, struct chain_tickets *tickets);
/* `done` is not called any more. NULL is fine. */
void chain_gss_cancel(struct chain_gss *g);
/* After chain_gss_cancel(). What still runs on a thread is freed when it is over. */
void chain_gss_free(struct chain_gss *g);

/* A new connection: there is no context any more. NULL is fine. */
void chain_gss_forget(struct chain_gss *g);

/* The proxy's token, before it is overwritten. */
void chain_gss_take(struct chain_gss *g, const uint8_t *token, size_t len);

/* Nobody waits any more who did. */
void chain_ticket_cancel(struct chain_ticket_wait *wait);

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
