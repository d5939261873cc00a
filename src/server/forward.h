/* SPDX-License-Identifier: MIT */
/*
 * Forwarding plain HTTP: the requests of one client connection, one after the other, each to where
 * it wants to go (proto/httpfwd.h).
 *
 * Theory of operation. A request comes through the handshake like any other: proto/accept reads it,
 * its credentials are checked, the policy decides, its host is looked up and connected. Then its
 * head is written anew to the destination, and the two bodies are moved through the buffer that all
 * sessions of a worker share, exactly as far as the messages go. When the answer is with the client
 * the session rests: it owns its sockets, struct forward and no buffer, until the next request
 * makes a handshake of its own. Nothing of a request counts for the next one but the connection to
 * the destination, which is used again where the next one is decided to go to the same place.
 *
 * Requests that are sent ahead wait in the kernel and, up to ACCEPT_INPUT_MAX bytes, here; so the
 * end of the client's stream is seen while it waits for an answer. Each side is read only when the
 * other has taken what was read before.
 *
 * Where something goes wrong before the client has seen anything of an answer it gets a page that
 * says so; afterwards a reset, so that half an answer cannot be taken for a whole one.
 */
#ifndef TABI_SERVER_FORWARD_H
#define TABI_SERVER_FORWARD_H

#include <stdbool.h>

struct session;

/* The destination of session->hs is connected, its socket the session's. SESSION_FORWARD begins. */
void forward_begin(struct session *session);

/* If the connection of an earlier request leads to one of the addresses that are admitted now, and
 * is still good, this request goes on with it (as forward_begin()). Otherwise it is closed. */
bool forward_resume(struct session *session);

/* The request of session->hs asks this proxy itself. Ends the session. */
void forward_answer(struct session *session);

/* In SESSION_FORWARD: something happened to the client's socket. */
void forward_on_client(struct session *session, unsigned events);

/* Is no request under way? (True where none ever was.) */
bool forward_is_at_rest(const struct session *session);

/*
 * For session_end(), in any state: logs the request under way and closes the connection to the
 * destination where that takes nothing from the client. Returns whether the client is to be left in
 * good order, with what it was sent: everything, or a page that says what went wrong.
 */
bool forward_end(struct session *session, int reason);

void forward_free(struct session *session);

#endif
