/* SPDX-License-Identifier: MIT */
/*
 * The conversation with a client until its request is known: its bytes go to proto/accept, what
 * that says goes back.
 *
 * All of it is about a session that has its handshake block (session->hs); a function here may end
 * the session unless it says otherwise.
 */
#ifndef TABI_SERVER_CONVERSE_H
#define TABI_SERVER_CONVERSE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct session;
struct wire_writer;

/* Reads what the client has sent, and goes as far as that leads: to a question that somebody else
 * answers (a password, a destination), to the end, or to waiting for more. */
void converse_read(struct session *session);

/* The same after somebody else's answer, with the bytes that are here already. */
void converse_go_on(struct session *session);

/*
 * Sends what the machine wrote. A handshake's answers are a few hundred bytes in all and the
 * socket's buffer was empty: a client for whom they do not fit has arranged for that, and is left.
 * Returns 0 or ERR_CLIENT_RESET; never ends the session.
 */
int converse_answer(struct session *session, const struct wire_writer *out);

/* What a client sends before its peer has come is kept for him, up to a bound; behind that it waits
 * in the kernel, as does the end of the stream. */
void converse_early(struct session *session);

/*
 * A session without a handshake block gets one for another HTTP request of the same connection, of
 * which the client has sent `n` bytes (copied) and perhaps its end. Returns 0 or -ENOMEM; never
 * ends the session.
 */
int converse_again(struct session *session, const uint8_t *bytes, size_t n, bool eof);

/* Stops what is under way, wipes and frees the handshake block. None is fine. */
void converse_free(struct session *session);

#endif
