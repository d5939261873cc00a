/* SPDX-License-Identifier: MIT */
/*
 * Connecting through a chain of proxies in the loop: from their URLs to a descriptor that is the
 * destination's.
 *
 * Theory of operation. The names that have to be known here are looked up (the first proxy's, and
 * behind a hop that takes no names the next one's), the first proxy is dialled (net/dial), and
 * proto/connect speaks with one hop after the other over that connection. A hop that wants TLS gets
 * it over all there was before, its certificate checked for the host of its URL. Not a byte behind
 * the last answer is read, so the descriptor and its layer can be handed on as they are; only what
 * the layer itself has read ahead is pending (net/layer.h).
 *
 * What `fn` is called with tells:
 *
 *   COMMAND_CONNECT  once: `fd` is the destination's.
 *   COMMAND_BIND     twice where all goes well: first with `listening`, where `bound` is what the
 *                    peer has to connect to and `fd` is still the chain's; then with `fd` the
 *                    peer's and `bound` his address. Between the two no limit runs here.
 *   COMMAND_UDP      once: `fd` is the control connection, to be kept and watched for its end,
 *                    `bound` is where datagrams are to be sent (with a header, proto/udp.h). That
 *                    address is one of the last proxy's network: behind a chain of several hops it
 *                    may not be one of ours.
 *   COMMAND_RESOLVE  once: `bound` is the answer; `fd` is of no more use, and closed by whom has
 * it.
 */
#ifndef TABI_NET_CHAIN_H
#define TABI_NET_CHAIN_H

#include "net/chain_gss.h"
#include "net/layer.h"
#include "net/loop.h"
#include "net/resolve.h"
#include "net/source.h"
#include "net/tls.h"
#include "proto/accept.h"
#include "proto/connect.h"
#include "proto/gss.h"
#include "proto/url.h"

/* How far it came with the hop at `hop`. */
enum chain_stage {
	CHAIN_AT_RESOLVE, /* a name is looked up here: of hop `hop`, or, n_hops, the target's */
	CHAIN_AT_DIAL,    /* of hop 0: the connection to it */
	CHAIN_AT_TLS,     /* with that hop */
	CHAIN_AT_METHOD,  /* SOCKS5: which method it wants */
	CHAIN_AT_AUTH,    /* SOCKS5: what it thinks of our credentials */
	CHAIN_AT_REPLY,   /* what it answers to our request */
};

/* "resolve", "dial", "tls", "method", "auth", "reply"; never NULL. */
const char *chain_stage_name(enum chain_stage stage);

struct chain_result {
	int err; /* ERR_OK, or what failed: -errno or one of proto/err.h */
	/* Where that is not ERR_OK: */
	enum chain_stage stage;
	size_t hop; /* from 0 */
	int code;   /* what the proxy said (REP, CD, HTTP status, method, RFC 1929 status), or -1 */
	const char *why; /* more about it, for the time of the call; or NULL */
	/* Where it is ERR_OK: */
	bool listening;      /* the first of the two of BIND */
	int fd;              /* the receiver's from now on (not of `listening`), else -1 */
	struct layer *layer; /* the same; NULL where there is none */
	bool protects;     /* it is the last hop's own of GSS-API, and protects its datagrams too */
	struct addr bound; /* what the last proxy said; ADDR_NONE where it said nothing */
	struct ip proxy;   /* the address of the first proxy that was connected to */
};

/* Whose fault is it? For who has other proxies, and for the health of this one. */
enum chain_blame {
	CHAIN_BLAMES_PROXY,   /* one of the chain is not there, or does not do what it should */
	CHAIN_BLAMES_TARGET,  /* the last one has answered: the destination, or its policy */
	CHAIN_BLAMES_REQUEST, /* what was asked for cannot be asked of these proxies */
	/* The last one was asked and hung up without an answer: it may be dying, or have no other
	 * way to say that the destination cannot be reached (ssh -D). */
	CHAIN_BLAMES_SILENCE,
	CHAIN_BLAMES_US, /* this host is short of something just now */
};

enum chain_blame chain_blame(const struct chain_result *failed, size_t n_hops);

/*
 * The error in the terms of a connection made from here: a proxy's code becomes the -errno or the
 * error that would be answered by that very code, so that a client behind us hears what the proxy
 * has said. What is no answer of the last proxy stays as it is.
 */
int chain_error(const struct chain_result *failed, size_t n_hops);

/* GSS-API, offered to every hop that speaks SOCKS5. All is borrowed until the end. */
struct chain_gss_options {
	enum gss_level level; /* a weaker one is an error */
	bool nec;             /* in NEC's form, where the level is not wrapped */
	bool demanded;        /* of the last hop, which is offered nothing else */
	const char *service;  /* of whom a ticket is presented: "rcmd" */
	/* Who has tickets. NULL: the library, which may wait for a KDC; then a
	 * thread of the pool does. */
	struct chain_tickets *tickets;
};

typedef void chain_fn(void *ctx, const struct chain_result *result);

struct chain_options {
	const struct url *hops; /* first hop first; copied */
	size_t n_hops;          /* at least 1 */
	/* The first proxy has this address, whatever it is called; or NULL. Copied. */
	const struct ip *first;
	enum command command;
	struct addr target;       /* sent as a name where the last proxy takes names */
	const struct addr *forms; /* other forms of it: see connect_set_forms(); copied */
	size_t n_forms;
	unsigned early; /* enum connect_early; but CONNECT_EARLY_STREAM is not for here */
	struct resolver *resolver; /* outlives the chain; NULL: names are ERR_RESOLVER */
	struct tls_context *tls;   /* for hops that want it; NULL: they fail */
	/* Whom their certificates must be for; borrowed until the end. NULL: for their URLs' host.
	 */
	const char *tls_name;
	const struct chain_gss_options *gss; /* NULL: it is not offered */
	/* In milliseconds; 0: none. `proxy_ms` ends with the last proxy's having been asked (the
	 * destination may be slow, a proxy may not), `whole_ms` with its first answer. */
	unsigned proxy_ms, whole_ms;
	const struct source
	    *source; /* from where to leave for the first proxy; copied; NULL: any */
	/* Must this address not be dialled? NULL: any may be. Not called after chain_start(), or
	 * from the loop before `fn`. */
	bool (*refuses)(void *ctx, const struct ip *ip, uint16_t port);
	chain_fn *fn;
	void *ctx;
};

struct chain;

/*
 * Begins. `fn` is called from the loop; but where its result has `listening`, the chain is gone
 * before the call. Returns 0, or a negative error with `*ret_failed` where it is over already; then
 * `fn` is not called.
 */
int chain_start(struct chain **ret_chain, struct loop *loop, const struct chain_options *options,
    struct chain_result *ret_failed);

/* Ends it; `fn` is not called any more. May be called from `fn` of `listening`. NULL is fine. */
void chain_cancel(struct chain *chain);

#endif
