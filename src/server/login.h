/* SPDX-License-Identifier: MIT */
/*
 * A session's login by GSS-API (RFC 1961): the client's tokens go to server/auth, and when the
 * level of protection is agreed on its connection gets the layer that protects it.
 *
 * All of it is about a session that has its handshake block.
 */
#ifndef TABI_SERVER_LOGIN_H
#define TABI_SERVER_LOGIN_H

#include <stdbool.h>

struct session;

/* What the machine may offer this client; directly behind accept_init(). */
void login_offer(struct session *session);

/* At ACCEPT_GSS_CONTEXT. Ends in converse_go_on(), or the end of the session. */
void login_context(struct session *session);

/* At ACCEPT_GSS_LEVEL. Returns 0, and from then on the client's layer protects everything; or an
 * error for session_end(). */
int login_level(struct session *session);

/* Stops nothing, and frees what is left. */
void login_free(struct session *session);

#endif
