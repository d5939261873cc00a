/* SPDX-License-Identifier: MIT */
/*
 * One request and its answer, on their way between a client and its destination; what
 * server/forward.c and server/exchange.c share.
 *
 * All functions are about a session that has its struct forward and, but for the first two groups,
 * a request under way. None ends the session: they return why it has to end, or 0.
 */
#ifndef TABI_SERVER_EXCHANGE_H
#define TABI_SERVER_EXCHANGE_H

#include "proto/addr.h"
#include "proto/httpfwd.h"
#include "server/session.h"

struct forward {
	/* Of the connection to the destination, while there is one: for whom it was made and what
	 * for. What the destination knows of it may be who has logged in there (RFC 4559). */
	char *name; /* owned; in canonical form, NULL where an address was asked for */
	char *user; /* owned; NULL: nobody in particular */
	const struct policy_egress *egress; /* from where it was made */
	struct ip ip;
	uint16_t port;

	/* What the client has sent beyond what has been forwarded, from in_at to in_len. */
	uint8_t *in; /* owned; NULL while there is nothing */
	uint32_t in_at, in_len;
	bool client_ended; /* and behind it comes no more */

	/* The request under way. */
	bool active;
	bool reused;       /* its connection has served another one */
	bool cut;          /* the destination takes no more of it */
	bool heard;        /* the destination has said something */
	bool told;         /* the client has got something of the answer */
	bool headed;       /* the head of the final answer is through; `down` is its body */
	bool complete;     /* the answer is with the client, or in its unsent bytes */
	uint16_t interims; /* of its interim answers */
	struct httpfwd_request request;
	struct httpfwd_answer answer;
	struct http_body up, down;
	uint8_t *head; /* owned; what there is of the answer's head, NULL while there is nothing */
	uint32_t head_len, head_cap;
	uint64_t began, up_before, down_before;
};

static inline struct relay_end *session_target(struct session *session)
{
	return &session->relay.end[RELAY_TARGET];
}

/* ---- memory ---- */

void exchange_drop_unsent(struct relay_end *end);
/* What there is of an answer's head. */
void exchange_drop_head(struct forward *f);
/* What the client has sent ahead. Wiped: it may bring credentials. */
void exchange_drop_input(struct forward *f);

/* Adds to what the client has sent ahead. Returns 0 or -ENOMEM. */
int exchange_stash(struct forward *f, const uint8_t *buf, size_t n);

/* ---- bytes ---- */

/* Has everything been taken that was to be written? */
bool exchange_takes_more(const struct relay_end *to);

/* Writes, and keeps what is not taken. */
int exchange_put(struct session *session, struct relay_end *to, const uint8_t *buf, size_t len);

/* Writes what was kept. */
int exchange_flush(struct session *session, struct relay_end *to);

/* The connection to the destination is broken; what it has said before is still read. */
void exchange_target_failed(struct session *session, int err);

/* Reads what the client sends behind its request. */
int exchange_read_ahead(struct session *session);

/* But for the answer, may the client's connection be used again? */
bool exchange_may_keep(const struct session *session);

/* Moves what can be moved: of the request's body, and of what is behind it... */
int exchange_from_client(struct session *session);
/* ...and of the answer. */
int exchange_from_target(struct session *session);

/* What to wait for. */
unsigned exchange_client_interest(const struct session *session);
unsigned exchange_target_interest(const struct session *session);

#endif
