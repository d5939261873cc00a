/* SPDX-License-Identifier: MIT */
/*
 * BIND: listening for the one peer that a client expects.
 *
 * Theory of operation. The request was decided (server/request.h), so the peers that may come are
 * known: session->hs->ips, or, where the client expects anybody, whoever the policy admits. One
 * socket listens before the first reply is sent, for a peer may be faster than that reply. It is
 * bound to one address, the one from which this host would talk to the peer. Whoever connects is
 * compared before a byte is read from him; the first who may is the session's destination, and the
 * socket is closed before the second reply goes out.
 *
 * A stray connection is reset. SOCKS5 then waits on; in SOCKS4 it is the end of both (the memo).
 */
#ifndef TABI_SERVER_BIND_H
#define TABI_SERVER_BIND_H

#include "proto/addr.h"

struct session;
struct bind;

/* What the log tells of it; lives as long as the session. */
struct bind_ends {
	struct addr bound; /* what is listened on */
	struct addr peer;  /* who came; ADDR_NONE before */
	unsigned strays;
};

/*
 * Begins to listen: for session->hs->ips, or with n_ips == 0 for anybody. Ends in
 * session_listening(), and later session_accepted() or session_end(). Returns 0 or the reason why
 * not; then nothing has begun.
 */
int bind_start(struct session *session);

/* Closes the listening socket. NULL is fine. */
void bind_cancel(struct bind *bind);

#endif
