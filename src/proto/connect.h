/* SPDX-License-Identifier: MIT */
/*
 * The client handshake as a machine: through one proxy, or a chain of them of any kinds.
 *
 * Theory of operation. The caller has a connection to the first proxy. connect_step() takes the
 * bytes that arrived and writes the bytes to send. Each hop is asked to connect to the next hop,
 * the last one to the target; all of it runs over the same connection, one hop after the other. The
 * machine never consumes a byte beyond the last reply, and `want` tells how many bytes may be read
 * without taking any that belong to the destination, so that the descriptor can be handed on.
 *
 * TLS is the caller's: where a hop wants it, CONNECT_TLS says so, also in the midst of a chain,
 * when it runs inside all that there was before.
 *
 * One flight. Each message of SOCKS waits for an answer that is mostly known before it comes. With
 * connect_send_early() what can be said without it is said at once, and the answers are read as
 * they come; connect_early says what goes out, and what it costs where the proxy answers something
 * else: this connection is then of no use any more, and connect_retry() goes back to waiting.
 *
 * BIND has two answers. CONNECT_DONE for the first tells by `bound` where the last proxy listens;
 * connect_await_peer(), and CONNECT_DONE comes again when the peer has, with `bound` his address.
 */
#ifndef TABI_PROTO_CONNECT_H
#define TABI_PROTO_CONNECT_H

#include "proto/accept.h"
#include "proto/gss.h"
#include "proto/url.h"

enum connect_event {
	CONNECT_MORE, /* send what the writer holds, then read at most `want` bytes and step again
		       */
	CONNECT_TLS,  /* start TLS with the hop at `hop`, whose name or address its certificate
			 must be for; then step again, with what comes out of TLS. What is left in
			 the reader is TLS's already */
	/*
	 * GSS-API with the hop at `hop` (RFC 1961), where connect_use_gss() was called; the last
	 * `token_len` bytes that were consumed are the proxy's token. The first comes without one.
	 */
	CONNECT_GSS_CONTEXT, /* establish the context; then connect_gss_context() */
	CONNECT_GSS_LEVEL,   /* wrap `gss_level` (not where `gss_nec`); then connect_gss_level() */
	CONNECT_GSS_ANSWER,  /* unwrap the token (not where `gss_nec`); then connect_gss_answer(),
				and protect everything from here on: what is left in the reader is
				protected already */
	CONNECT_DONE,   /* the stream now belongs to the target; `bound` is what the last proxy said
			 */
	CONNECT_FAILED, /* `err`, `hop`, `stage` and `code` say what, where and why */
};

enum connect_stage {
	CONNECT_AT_START,  /* of this hop: nothing sent */
	CONNECT_AT_TLS,    /* of a hop with TLS: that was asked for */
	CONNECT_AT_METHOD, /* SOCKS5: greeting sent */
	CONNECT_AT_AUTH,   /* SOCKS5: RFC 1929 sent */
	/* SOCKS5 with GSS-API: the proxy's frame is awaited, or the caller. */
	CONNECT_WAITS_GSS_CONTEXT,
	CONNECT_AT_GSS_CONTEXT,
	CONNECT_WAITS_GSS_LEVEL,
	CONNECT_AT_GSS_LEVEL,
	CONNECT_WAITS_GSS_ANSWER,
	CONNECT_AT_REQUEST, /* SOCKS5: protection is agreed on, nothing asked */
	CONNECT_AT_REPLY,   /* request sent */
	CONNECT_AT_END,
};

/* What is sent before it has been asked for, as bits. */
enum connect_early {
	/*
	 * To a hop that speaks SOCKS5: authentication and request, directly behind the greeting.
	 * For that the method has to be known, so one alone is offered: the password where the hop
	 * has credentials (they are sent, whatever the proxy would have chosen), else none. A proxy
	 * that wants another answers 255, and one that looks at no more than one message at a time
	 * never answers the second. Nothing is early where GSS-API is offered.
	 */
	CONNECT_EARLY_REQUEST = 1 << 0,
	/*
	 * Behind a request of SOCKS that went out: what is for the next hop, as far as the writer
	 * has room, and the stream's first bytes (`stream_open`). A proxy that refuses has seen
	 * them all the same. Never behind the request of an HTTP proxy, which would take them for
	 * another request where it refuses (RFC 9110 section 9.3.6), and never before TLS.
	 */
	CONNECT_EARLY_STREAM = 1 << 1,
};

/* Longest output of one step. With CONNECT_EARLY_STREAM more room is of use. */
#define CONNECT_OUTPUT_MAX 2048
/* Longest message of a proxy that is read: a frame of GSS-API; without, an HTTP header block. */
#define CONNECT_INPUT_MAX GSS_FRAME_MAX

/* Open for reading; written by this module only. */
struct connect {
	const struct url *hops; /* borrowed from the caller until the end */
	size_t n_hops;
	size_t hop; /* the one spoken to */
	enum command command;
	struct addr target;
	enum connect_stage stage;
	size_t want; /* after CONNECT_MORE: at least 1 */
	int err;     /* after CONNECT_FAILED: from err.h */
	int code; /* after CONNECT_FAILED: the proxy's own code where it sent one (method 255, RFC
		     1929 status, REP, CD, HTTP status), else -1 */
	struct addr bound;

	unsigned early;   /* enum connect_early */
	size_t ahead;     /* hops before this one have got their first flight */
	bool sent_early;  /* something was, on this connection */
	bool stream_open; /* what the target is to get may be sent, behind what the writer holds */
	const struct addr *forms; /* borrowed like the hops */
	size_t n_forms;           /* that have not been tried */

	bool bind_answered; /* connect_await_peer() was called */
	bool gss;           /* offered to every hop that speaks SOCKS5 */
	bool gss_nec;       /* in NEC's form, where the level is not wrapped */
	bool gss_demanded;  /* the last hop is offered nothing else */
	uint8_t gss_level;  /* to ask for */
	uint8_t gss_rounds; /* of the hop */
	bool gss_complete;  /* our side of the context stands */
	bool gss_skipped;   /* a frame that said nothing was let pass */
	uint16_t token_len; /* at CONNECT_GSS_... */
};

/* `n_hops` is at least 1. A hop that cannot be asked for what follows it (SOCKS4 and an IPv6
 * address) fails at its turn with ERR_ADDRESS_TYPE. A target that is a
 * name is sent as one, to socks5 too: whoever wants it resolved here does that before.
 * COMMAND_RESOLVE of an IP address asks for its name, which SOCKS5 alone can; `bound` is then the
 * answer, of the kind that was asked for. */
void connect_init(struct connect *c, const struct url *hops, size_t n_hops, enum command command,
    const struct addr *target);

/* Directly behind connect_init(): GSS-API is offered too, and that level of protection asked for
 * (any of enum gss_level). A stronger one is fine, a weaker one is ERR_GSS_LEVEL. */
void connect_use_gss(struct connect *c, enum gss_level level, bool nec);

/* Behind that: the last hop, which speaks SOCKS5, is offered nothing else. So nobody on the way can
 * have what is meant to be protected go unprotected. */
void connect_demand_gss(struct connect *c);

/* Directly behind connect_init(): bits of enum connect_early. The stream's first bytes may only be
 * sent early where it does no harm that the target gets them twice: see connect_retry(). */
void connect_send_early(struct connect *c, unsigned early);

/*
 * Directly behind connect_init(): the same destination in other forms, `n` of them, for a proxy
 * that cannot take it in this one: an address for its name, one of IPv4 for one of IPv6. The last
 * hop is given the next one where its protocol cannot say what it was given (SOCKS4), at once, and
 * by connect_retry().
 */
void connect_set_forms(struct connect *c, const struct addr *forms, size_t n);

/*
 * After CONNECT_FAILED: is there another way to ask? Then everything begins anew: the caller closes
 * the connection, makes another one to the first hop and goes on with connect_step(). It is tried
 * without what was early where the proxy broke off, spoke nonsense or accepted no method, and with
 * the next form where the last one does not take the type of the address (reply 8 of SOCKS5), or
 * of an IPv6 address says that it cannot be reached (3 and 4). So there is an end of it.
 *
 * Who has waited too long may say connect_eof() and ask as well.
 */
bool connect_retry(struct connect *c);

/*
 * After CONNECT_GSS_CONTEXT: our next token, and whether our side now stands; it may without a
 * token. `out` has room for the token. A caller that cannot go on calls nothing and gives up.
 */
void connect_gss_context(
    struct connect *c, bool complete, const void *token, size_t len, struct wire_writer *out);
/* After CONNECT_GSS_LEVEL: the octet, wrapped. */
void connect_gss_level(struct connect *c, const void *token, size_t len, struct wire_writer *out);
/* After CONNECT_GSS_ANSWER: the token unwrapped, or NULL where it could not be. Returns the enum
 * gss_level in force from here on, or a negative error, with which connect_step() then fails. */
int connect_gss_answer(struct connect *c, const uint8_t *octets, size_t len);

/* Consumes whole messages from `in`; on CONNECT_MORE nothing of an incomplete one. `out` must have
 * room for CONNECT_OUTPUT_MAX bytes. */
enum connect_event connect_step(struct connect *c, struct wire_reader *in, struct wire_writer *out);

/* After the first CONNECT_DONE of COMMAND_BIND: goes on to the second answer. */
void connect_await_peer(struct connect *c);

/*
 * Where the peer of a BIND has to connect to, after the first CONNECT_DONE, and where the datagrams
 * of UDP ASSOCIATE have to be sent (proto/udp.h has their header). Many a server listens on all its
 * addresses and says 0.0.0.0, which stands for the one at which it was reached: `proxy`.
 */
struct addr connect_listens_at(const struct connect *c, const struct ip *proxy);

/* The connection ended: makes the best of what arrived (a truncated refusal is still a refusal). */
enum connect_event connect_eof(struct connect *c, struct wire_reader *in);

#endif
