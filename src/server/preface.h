/* SPDX-License-Identifier: MIT */
/*
 * Listeners with `proxy-protocol`: the header that comes before anything else and says whose the
 * connection is.
 *
 * It is read with exactly its own length, so whatever follows (a TLS handshake, a greeting) is
 * still in the socket for whoever reads next.
 */
#ifndef TABI_SERVER_PREFACE_H
#define TABI_SERVER_PREFACE_H

#include <stdbool.h>
#include <stdint.h>

#include "proto/addr.h"

struct session;

/* Of a connection that somebody else handed on: who, and the address that the client had reached
 * there. */
struct proxied {
	struct ip by, to;
	uint16_t by_port, to_port;
};

/* Is the one who connects among those who may send a header here? */
bool preface_admits(const struct session *session);

/* Reads what is there of the header. At its end the session is the client's that it names and goes
 * on with session_greet(); may end the session. */
void preface_read(struct session *session);

#endif
