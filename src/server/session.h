/* SPDX-License-Identifier: MIT */
/*
 * A session: one client's connection, from accept to the last byte.
 *
 * Theory of operation. A session owns all that belongs to it, and data goes forward only: bytes
 * from the client to proto/accept, its decisions to policy, net/resolve and net/dial, and when the
 * destination is connected both sockets to net/relay. What only the handshake needs lives in a
 * block of its own, which is freed when the relay begins. Whatever goes wrong anywhere ends in one
 * function, session_end(), with one reason.
 */
#ifndef TABI_SERVER_SESSION_H
#define TABI_SERVER_SESSION_H

#include "net/deadline.h"
#include "net/dial.h"
#include "net/relay.h"
#include "net/resolve.h"
#include "policy/decide.h"
#include "policy/policy.h"
#include "proto/accept.h"
#include "proto/addr.h"
#include "server/bind.h"
#include "server/config.h"

struct association;
struct auth_check;
struct forward;
struct ident;
struct gssapi;
struct multicast;
struct proxied;
struct worker;
struct session;
struct upstream;

/*
 * Each state is a contract. The client's socket is open in all but CLOSED; `deadline` is set in all
 * but CLOSED (and RELAY where `timeout idle 0`).
 */
enum session_state {
	/*
	 * Only where the listener says `proxy-protocol`: its header is awaited, and nothing but it
	 * is read. Handshake deadline. Left for HANDSHAKE, as the client's that the header names,
	 * or the end.
	 */
	SESSION_PREFACE,
	/*
	 * The client speaks. Waits for its bytes; the handshake deadline runs from accept, whatever
	 * arrives. Left by proto/accept's events: for AUTH, RESOLVE, DIAL, BIND, ASSOCIATE or
	 * the end.
	 */
	SESSION_HANDSHAKE,
	/*
	 * A password check is under way, or the client's host is asked who it is. The client is not
	 * read, only watched for a reset. Handshake deadline. Left by the answer, for HANDSHAKE or
	 * the end.
	 */
	SESSION_AUTH,
	/* A name is looked up, or the name of an address; the client as in AUTH. The connect
	   deadline runs from the request. Left for DIAL or BIND, or the end. */
	SESSION_RESOLVE,
	/* Addresses that the policy admits are tried, as in RESOLVE. Left for RELAY, or the end. */
	SESSION_DIAL,
	/*
	 * BIND: a peer is listened for, and the first reply told where. The client is read up to
	 * ACCEPT_INPUT_MAX bytes, which are for the peer; its end of stream is the end. Bind
	 * deadline. Comes from RESOLVE or HANDSHAKE; left for RELAY, or the end with a second
	 * reply.
	 */
	SESSION_BIND,
	/* The success was told. The relay has both sockets; the handshake block is gone. Idle
	   deadline. */
	SESSION_RELAY,
	/*
	 * Plain HTTP is forwarded (server/forward.h): of one request the answer is awaited or on
	 * its way, or the next one is awaited. The handshake block is gone. Idle deadline,
	 * half-close deadline once the client has ended its half, keepalive deadline between
	 * requests. Comes from DIAL, or RESOLVE where a connection is used again; left for
	 * HANDSHAKE with the first byte of the next request, or the end.
	 */
	SESSION_FORWARD,
	/*
	 * UDP ASSOCIATE was granted. What the client sends on this connection is discarded, and its
	 * end of stream ends all. The handshake block is gone, the target end of the relay never
	 * has a socket. UDP deadline.
	 */
	SESSION_ASSOCIATE,
	/*
	 * The enhanced UDP mode was granted: the client sends control messages, each of which is
	 * answered (server/multicast.h). It is not read while it does not read the answers. The
	 * rest as in ASSOCIATE.
	 */
	SESSION_MULTICAST,
	/*
	 * Refused and logged. The refusal was sent and our half closed; what the client still sends
	 * is discarded, for a close with unread bytes would make the kernel send a reset that can
	 * destroy the refusal on its way (protocol.md 2.12). Left for CLOSED by its end of stream,
	 * LINGER_MAX bytes, or the linger deadline.
	 */
	SESSION_LINGER,
	/* The sockets are closed; the memory goes when the loop has let go of the watches. */
	SESSION_CLOSED,
};

/* What a session needs until it relays, and not a moment longer. */
struct handshake {
	struct session *session;
	struct accept accept;
	/* The client's bytes from in_at to in_len are not yet understood; behind the request they
	 * are early data. */
	uint8_t *in; /* owned */
	uint32_t in_at, in_len, in_cap;
	bool eof;      /* the client has ended its sending half */
	bool answered; /* something was sent to the client */

	/* At most one of these is under way, as the state says. */
	struct auth_check *check;
	struct ident *ident;
	struct gssapi *login; /* owned, between its tokens; NULL while `check` has it */
	struct resolve_wait wait;
	struct dial *dial;
	struct bind *bind;
	struct upstream *upstream; /* also of BIND */

	/* What the deciding rule says of the way: through which proxies, NULL for none, and whether
	 * the client's credentials go with it. */
	const struct policy_proxy *via;
	bool forward_credentials;
	/* And from where it leaves, NULL: as the kernel chooses. */
	const struct policy_egress *egress;

	/* The addresses that the policy admits, in the order in which to try them; of BIND the
	 * peers that may come, none meaning anybody. */
	struct ip ips[RESOLVE_ADDRS_MAX];
	size_t n_ips;

	struct addr found; /* of RESOLVE: what was answered */
};

/* The addresses of struct session are stable: others point to what is embedded in it. */
struct session {
	struct relay
	    relay; /* first: the relay knows the session by it; holds both sockets from the start */
	struct session *prev, *next; /* the worker's ring */
	struct worker *worker;
	struct config *config; /* a reference; `listener` and `rule` point into it */
	const struct policy_listener *listener;
	struct handshake *hs;            /* owned; NULL from RELAY, FORWARD or ASSOCIATE on */
	struct association *association; /* owned; of ASSOCIATE */
	struct forward *forward;         /* owned; from the first FORWARD on, but in RELAY */
	struct multicast *multicast;     /* owned; of MULTICAST */
	struct deadline deadline;
	uint64_t began;          /* loop_now() */
	struct bind_ends *ends;  /* owned; of BIND alone */
	struct proxied *proxied; /* owned; NULL where the client itself has connected */

	/* For the log, known bit by bit. From here on the greatest first: an idle session is little
	 * more than this struct, and no byte of it should be padding. */
	const struct policy_rule *rule;
	char *labels;         /* owned: user, claim and name, one behind the other; NULL: none */
	struct ip client;     /* 127.0.0.1 where it came over a Unix socket */
	struct ip address;    /* of the destination */
	uint32_t requests;    /* that were forwarded, the one under way included */
	uint32_t discarded;   /* bytes, while lingering */
	uint16_t client_port; /* of `client` */
	uint16_t port;        /* of `address` or the name */
	uint16_t via_group;   /* 1 + which of the policy's proxies is gone through; 0: none */
	uint8_t via_member;   /* of `via_group`, see server/upstream.h */
	uint8_t user_len, claim_len, name_len; /* in `labels` */
	uint8_t protection; /* by GSS-API: 1 + enum gss_level; 0: none was agreed on */
	uint8_t slab_index; /* the slab's */
	enum session_state state : 8;
	enum auth_method method : 8;
	enum proto proto : 4;
	enum command command : 4;
	bool decided : 1, allowed : 1, has_address : 1;
};

_Static_assert(sizeof(struct session) <= 408, "nine thousand idle ones are to be cheap");

/* The client's end of the relay: its socket from the start, relaying or not. */
static inline struct relay_end *session_client(struct session *session)
{
	return &session->relay.end[RELAY_CLIENT];
}

/* Waits for these events of the client (as watch_set()), and for room while its layer holds bytes.
 */
void session_wait(struct session *session, unsigned events);

/* From here on the client speaks TLS, beginning with these bytes that were already read. Returns
 * false without memory. Of a session whose listener has a certificate. */
bool session_secure(struct session *session, const void *early, size_t n);

/* Why a session ends whose client cannot be read from or written to: what the layer says, or that
 * it was reset. */
int session_client_error(int err);

/* To be called once in a worker's life, and after the time limits in its configuration have
 * changed. */
void session_slab_init(struct worker *worker);
void session_deadlines_init(struct worker *worker);
void session_deadlines_change(struct worker *worker);
void session_deadlines_close(struct worker *worker);

/*
 * Takes over an accepted, non-blocking `fd`. `peer` is ADDR_NONE for a Unix socket. Never fails
 * visibly: without memory the connection is closed.
 */
void session_begin(
    struct worker *worker, const struct policy_listener *listener, int fd, const struct addr *peer);

/* For server/preface.c: who the client is is known, and what it sends is its own from here on. May
 * end the session. */
void session_greet(struct session *session);

/*
 * Ends it, for a reason from proto/err.h: answers the client where an answer is still due, writes
 * the log line, and closes now or after lingering. Idempotent.
 */
void session_end(struct session *session, int reason);

/* The same for all sessions of the worker; those that linger are closed too. */
void session_end_all(struct worker *worker, int reason);

/* The same for those that only wait for a request that may never come. */
void session_end_resting(struct worker *worker, int reason);

/* For server/request.c: the destination is connected through `fd`, which becomes the session's,
 * from the address `local`. */
void session_connected(struct session *session, int fd, const struct addr *local);

/* For server/upstream.c: the same behind proxies, or of BIND the peer. `layer` becomes the
 * session's too. `told` is what the last proxy says of its end. */
void session_connected_via(
    struct session *session, int fd, struct layer *layer, const struct addr *told);

/* For server/bind.c: it is listened at `told`, the first reply is due. May end the session. */
void session_listening(struct session *session, const struct addr *told);

/* For server/bind.c: `peer` is connected through `fd`, which becomes the session's. */
void session_accepted(struct session *session, int fd, const struct addr *peer);

/* For server/request.c: `found` is what a RESOLVE asks for. Answers, and ends the session. */
void session_resolved(struct session *session, const struct addr *found);

/* For server/associate.c: the association stands and becomes the session's; its client is to send
 * to `bound`. */
void session_associated(
    struct session *session, struct association *association, const struct addr *bound);

/* For server/multicast.c: the same of the enhanced UDP mode. */
void session_multicast(struct session *session, struct multicast *multicast);

#endif
