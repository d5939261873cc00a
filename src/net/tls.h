/* SPDX-License-Identifier: MIT */
/*
 * TLS 1.2 and 1.3 as a layer (net/layer.h), for both sides of a connection.
 *
 * Theory of operation. A context holds what many connections share: a certificate with its key, and
 * whose certificates are trusted. A connection keeps what it needs of its context alive, so the
 * context may go before it. Nothing of one connection is used in another: there are no session
 * tickets and no early data, so who connects is asked for a certificate every time. Renegotiation
 * and compression are off.
 *
 * The end of a stream is a close_notify alert, both ways and for each half alone; a socket that
 * ends without one is ERR_TLS_TRUNCATED.
 *
 * A build without TLS has tls_none.c in place of tls.c: contexts cannot be made there.
 */
#ifndef TABI_NET_TLS_H
#define TABI_NET_TLS_H

#include <stdbool.h>
#include <stddef.h>

#include "net/layer.h"

struct tls_context;

/* A PEM text. */
struct tls_pem {
	const char *data; /* NULL: none */
	size_t len;
};

/* What of a context could not be made. */
enum tls_part { TLS_CERTIFICATE, TLS_KEY, TLS_CA, TLS_ITSELF };

/* For the side that is connected to. */
struct tls_server_options {
	struct tls_pem certificate; /* its own first, then those that lead to the root */
	struct tls_pem key;         /* not encrypted */
	struct tls_pem client_ca;   /* given: a client must have a certificate signed by these */
};

/*
 * Returns 0, or a negative error with `*ret_part` and `*ret_why` (static text): which text is not
 * as it should be, and why.
 */
int tls_server_new(struct tls_context **ret_context, const struct tls_server_options *options,
    enum tls_part *ret_part, const char **ret_why);

/* For the side that connects. */
struct tls_client_options {
	struct tls_pem ca;  /* who is trusted; none: whom the system trusts */
	bool trust_anybody; /* no certificate is looked at: anybody may pretend to be the peer */
	struct tls_pem certificate, key; /* our own, where the peer asks for one; or none */
};

int tls_client_new(struct tls_context **ret_context, const struct tls_client_options *options,
    enum tls_part *ret_part, const char **ret_why);

/* NULL is fine. */
void tls_context_free(struct tls_context *context);

/* How a connection begins. */
struct tls_start {
	int fd;              /* the caller's, connected and non-blocking */
	struct layer *below; /* what the socket has already; the new layer's from now on; or NULL */
	const void *early;   /* bytes that were read behind those that led here; copied */
	size_t early_len;
	const char *peer; /* the name or address that the server's certificate must be for */
};

/* Each returns a layer in which the handshake is still to come, or NULL without memory (then
 * `below` is still the caller's). */
struct layer *tls_accept(struct tls_context *context, const struct tls_start *start);
struct layer *tls_connect(struct tls_context *context, const struct tls_start *start);

/*
 * For a client that has to speak first: 0 once the handshake is over, -EAGAIN while the peer has to
 * be waited for (or the socket, where the layer holds bytes), or an error, which stays.
 */
int tls_handshake(struct layer *layer);

/*
 * Of a layer that tls_accept() made with `client_ca`, once something was received: the user that
 * the client's certificate names. Not empty, at most 255 bytes of UTF-8 without control characters,
 * and a NUL behind them. NULL where there is none.
 */
const char *tls_user(const struct layer *layer);

/* "TLSv1.3"; for the log. */
const char *tls_version(const struct layer *layer);

#endif
