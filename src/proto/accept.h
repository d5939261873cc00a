/* SPDX-License-Identifier: MIT */
/*
 * The server handshake as a machine: SOCKS4, 4A, 5 and HTTP on one port, bytes in, bytes and
 * decisions out.
 *
 * Theory of operation. The caller owns the connection and a buffer of bytes not yet understood. It
 * calls accept_step() with a cursor over that buffer and a writer for the answer, and does what the
 * returned event says; before it waits for anything it sends what the writer holds. The machine
 * consumes whole messages only, never a byte beyond the one it answers, so the same bytes give the
 * same events in pieces of any size, and what follows the request stays in the buffer: it is the
 * client's early data and belongs to the relay. Of HTTP, CONNECT is such a request; one to be
 * forwarded (`forward`, proto/httpfwd.h) is consumed by whoever forwards it: it stays in the buffer
 * whole.
 *
 *     event           the caller then
 *     ACCEPT_MORE     waits for more bytes and calls accept_step() again with all it has
 *     ACCEPT_AUTH     checks accept_user/password, then accept_auth_result(), then accept_step()
 *     ACCEPT_GSS_...  gives the token to the GSS-API: see there
 *     ACCEPT_TLS      sends what the writer holds and starts TLS, then accept_step()
 *     ACCEPT_REQUEST  decides and connects, then accept_reply() once; of BIND twice
 *     ACCEPT_END      sends what the writer holds and ends the connection; `err` says why
 *
 * The machine keeps no clock and no pointer into the caller's buffers.
 */
#ifndef TABI_PROTO_ACCEPT_H
#define TABI_PROTO_ACCEPT_H

#include "proto/addr.h"
#include "proto/wire.h"

enum proto {
	PROTO_NONE, /* not known yet */
	PROTO_SOCKS4,
	PROTO_SOCKS4A,
	PROTO_SOCKS5,
	PROTO_HTTP,
};

enum command {
	COMMAND_NONE,
	COMMAND_CONNECT,
	COMMAND_BIND,
	COMMAND_UDP,
	COMMAND_RESOLVE,
	COMMAND_MULTICAST, /* the enhanced UDP mode, proto/mcast.h; `target` is ADDR_NONE */
};

/* How the client proved who it is; as bits where a set is meant. */
enum auth_method {
	AUTH_NONE = 1 << 0,
	AUTH_PASSWORD = 1 << 1,
	AUTH_GSSAPI = 1 << 2,
	AUTH_CERT = 1 << 3,
	AUTH_IDENT = 1 << 4, /* of SOCKS4 alone: the client's host says so, RFC 1413 */
};

/* "socks5", "connect", "password"...: the words of the policy language and of the log. */
const char *proto_name(enum proto proto);
const char *command_name(enum command command);
const char *auth_method_name(enum auth_method method);

#define ACCEPT_CREDENTIAL_MAX 255
/* No message is longer than this, but for GSS-API's: accept_input_max(). */
#define ACCEPT_INPUT_MAX 16384
/* No answer is longer than this: room for accept_step() and accept_reply() in the writer. Answers
 * with a token of the caller's need room for that too. */
#define ACCEPT_OUTPUT_MAX 1024

enum accept_event {
	ACCEPT_MORE,
	ACCEPT_AUTH,
	ACCEPT_IDENT, /* SOCKS4: is the client who `claim` says? Then accept_ident_result() */
	/*
	 * The last `token_len` bytes that were consumed are a token of RFC 1961: of the context,
	 * then accept_gss_context(); or the level of protection, then accept_gss_level() and
	 * accept_gss_answer_level(). With the answer to the level everything is protected, in both
	 * directions: the bytes for accept_step() come unwrapped, and what it writes is wrapped,
	 * unless the level is GSS_LEVEL_CLEAR.
	 */
	ACCEPT_GSS_CONTEXT,
	ACCEPT_GSS_LEVEL,
	/* The client goes on in TLS: what is left in the reader belongs to that, and
	 * accept_step() gets what comes out of it. */
	ACCEPT_TLS,
	ACCEPT_REQUEST,
	ACCEPT_END,
};

enum accept_state {
	/* Nothing read; leaves for any state below by the first byte. */
	ACCEPT_AT_START,
	/* SOCKS5: a method is chosen and told; password: waits for RFC 1929, none: for the request.
	 */
	ACCEPT_AT_USERPASS,
	/* SOCKS5: GSS-API was chosen, waits for a token of the context; it stands, for the level.
	 */
	ACCEPT_AT_GSS_CONTEXT,
	ACCEPT_AT_GSS_LEVEL,
	ACCEPT_AT_REQUEST, /* HTTP: the request is parsed, its credentials were right */
	/* HTTP: waits for a (further) header block, after a 407 too. */
	ACCEPT_AT_HTTP,
	/* The caller was asked; only accept_..._result(), accept_gss_...() or accept_reply() leave
	 * these. */
	ACCEPT_WAITS_AUTH,
	ACCEPT_WAITS_IDENT,
	ACCEPT_WAITS_GSS_CONTEXT,
	ACCEPT_WAITS_GSS_LEVEL,
	ACCEPT_WAITS_REPLY,
	/* BIND: the first reply said where the peer is awaited; accept_reply() says who came. */
	ACCEPT_WAITS_PEER,
	/* Answered; the machine will say no more. */
	ACCEPT_AT_END,
};

/* Open for reading; written by this module only. About 0.9 KB: it lives while the handshake does.
 */
struct accept {
	enum accept_state state;
	enum proto proto;
	unsigned methods;        /* enum auth_method bits that this client is offered */
	enum auth_method method; /* in force once the request is asked */
	bool proved;             /* by accept_prove() */
	bool keeps_password;     /* by accept_keep_password() */
	bool tls_offered;        /* by accept_offer_tls() */
	bool tls_due;            /* chosen, and the caller is still to be told */
	bool extended;           /* SOCKS5: Tor's extended codes are understood */
	bool userpass_unasked;   /* SOCKS5: credentials came although method "none" was chosen */
	uint8_t http_tries;      /* how many 407 were sent */
	bool http_close;         /* the client will not use the connection again after an answer */
	bool http_head;          /* HEAD: the answer has no body */
	uint16_t http_seen;      /* bytes of the incomplete header block looked at in vain */
	uint16_t http_len;       /* of the block of a request to be forwarded */
	uint16_t http_skip;      /* bytes of such a block whose credentials were wrong */
	const char *http_page;   /* constant text of a refusal, where it has one of its own */
	uint8_t gss_levels;      /* that may be agreed on, GSS_LEVEL_BIT(); of the RFC or clear */
	bool gss_nec_allowed;    /* clients may ask for the level in NEC's form... */
	bool gss_nec;            /* ...and this one did: its octet is not wrapped, nor ours */
	uint8_t gss_rounds;      /* tokens of the context that came, and their bytes */
	uint32_t gss_bytes;
	uint16_t token_len; /* at ACCEPT_GSS_... */
	int err;            /* why, after ACCEPT_END */

	/*
	 * The credentials at ACCEPT_AUTH; after its result the user stays (and the password is
	 * wiped, but where accept_keep_password() was called and it was right). Only while `method`
	 * is not AUTH_NONE has anybody vouched for the user. At ACCEPT_REQUEST of SOCKS4 `claim` is
	 * the USERID, which nobody has checked. Opaque bytes; may hold NUL.
	 */
	uint8_t user_len, password_len, claim_len;
	char user[ACCEPT_CREDENTIAL_MAX + 1];
	char password[ACCEPT_CREDENTIAL_MAX + 1];
	char claim[ACCEPT_CREDENTIAL_MAX + 1];

	/* At ACCEPT_REQUEST. */
	enum command command;
	bool resolve_reverse; /* of COMMAND_RESOLVE: the name of an address is asked for */
	bool forward;         /* of COMMAND_CONNECT: plain HTTP, to be forwarded */
	bool for_us;          /* of `forward`: httpfwd_is_for_us(), nobody is to be connected */
	struct addr target;
};

/* `methods`: the enum auth_method bits to offer, perhaps none; SOCKS4 is served only where
 * AUTH_NONE or AUTH_IDENT is among them. Where both are, a USERID is checked, and who gives none is
 * nobody. */
void accept_init(struct accept *a, unsigned methods);

/*
 * Before the first byte: the client has proved by other means, such as a certificate, that it is
 * `user` (`len` bytes, at most ACCEPT_CREDENTIAL_MAX). That outranks all that it may say of itself:
 * nothing but AUTH_NONE is offered, SOCKS4 is served, credentials of HTTP are not looked at, and
 * `method` and the user stay what they are here.
 */
void accept_prove(struct accept *a, enum auth_method method, const char *user, size_t len);

/*
 * Directly behind accept_init(): the caller can start TLS on the connection. Then a SOCKS5 client
 * that offers gost's methods 80 and 82 is asked for its password, or for nothing, inside of TLS
 * rather than without (protocol.md section 7.2).
 */
void accept_offer_tls(struct accept *a);

/* The same for a connection on which HTTP was spoken before: another request of it is awaited. */
void accept_init_http(struct accept *a, unsigned methods);

/* Directly behind accept_init(): the password is needed until the request, to be given to another
 * proxy. */
void accept_keep_password(struct accept *a);

/* Wipes what is secret. The struct may then be freed or used again after accept_init(). */
void accept_fini(struct accept *a);

/*
 * See "Theory of operation". `out` must have room for ACCEPT_OUTPUT_MAX bytes. While the machine
 * waits for the caller's word it consumes nothing and says ACCEPT_MORE. An ACCEPT_END that the
 * client's bytes brought about has written the refusal, where the protocol has one.
 */
enum accept_event accept_step(struct accept *a, struct wire_reader *in, struct wire_writer *out);

/* After ACCEPT_AUTH: were the credentials right? Then accept_step() goes on (with a refusal it may
 * return ACCEPT_END, or ACCEPT_MORE where the protocol allows another try). */
void accept_auth_result(struct accept *a, bool ok, struct wire_writer *out);

/* After ACCEPT_IDENT: 0 where the client is who it says, or the error to refuse it with. */
void accept_ident_result(struct accept *a, int err, struct wire_writer *out);

/* For GSS-API, directly behind accept_init(): the levels that may be agreed on (GSS_LEVEL_BIT() of
 * those that proto/gss.h tells), and whether NEC's form of asking for one is understood. */
void accept_offer_gss(struct accept *a, unsigned levels, bool nec);

/* Directly behind accept_init(): refusals of SOCKS5 may use Tor's extended codes. */
void accept_offer_extended(struct accept *a);

/* What one message of the client may have in this state: more than the caller keeps is never asked
 * for. */
size_t accept_input_max(const struct accept *a);

enum accept_gss_outcome {
	ACCEPT_GSS_CONTINUE, /* another token of the client is needed */
	ACCEPT_GSS_DONE,     /* the context stands */
	ACCEPT_GSS_FAILED,
};

struct accept_gss_answer {
	enum accept_gss_outcome outcome;
	const void *token; /* for the client; may be empty */
	size_t len;
	/* When it stands: who the client is, 1 to ACCEPT_CREDENTIAL_MAX bytes without NUL (else it
	 * is refused), and whether messages can be encrypted. */
	const char *user;
	size_t user_len;
	bool confidential;
};

/* After ACCEPT_GSS_CONTEXT: what became of the token. `out` has room for the answer's too. Then
 * accept_step() goes on. */
void accept_gss_context(
    struct accept *a, const struct accept_gss_answer *answer, struct wire_writer *out);

/*
 * After ACCEPT_GSS_LEVEL: the token unwrapped, where `gss_nec` the token itself; NULL where it
 * could not be. Returns the enum gss_level to answer, or a negative error: then it is refused, and
 * accept_step() says so.
 */
int accept_gss_level(struct accept *a, const uint8_t *octets, size_t len, struct wire_writer *out);
/* And the octet to answer, wrapped (or not, where `gss_nec`). */
void accept_gss_answer_level(
    struct accept *a, const void *token, size_t len, struct wire_writer *out);

/*
 * After ACCEPT_REQUEST: the answer. ERR_OK grants, with `bound` the address of the outgoing socket
 * (NULL or ADDR_NONE is sent as zeros); the relay may start behind the written bytes, which are
 * none where the request is to be forwarded. Anything else is the refusal that err.h maps it to.
 * Also right at any earlier moment, for a timeout or a shutdown: then it writes the refusal that
 * the client can read at that point, or nothing.
 *
 * BIND has two answers. ERR_OK to the request tells where the peer is awaited and leads to
 * ACCEPT_WAITS_PEER; the next call tells who has come (`bound` is then the peer's address), or why
 * nobody will. Any other first answer is the only one. In between the client's bytes stay unread.
 */
void accept_reply(struct accept *a, int err, const struct addr *bound, struct wire_writer *out);

#endif
