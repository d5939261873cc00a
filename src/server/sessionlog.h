/* SPDX-License-Identifier: MIT */
/*
 * What a session remembers for the log, and its lines there.
 *
 * The handshake knows most of it and is gone when the session ends, so what the line tells is noted
 * in the session as soon as it is known.
 */
#ifndef TABI_SERVER_SESSIONLOG_H
#define TABI_SERVER_SESSIONLOG_H

#include <stdbool.h>
#include <stdint.h>

struct session;

/* Takes from the handshake what the log tells of it; while there is one, as often as one likes. */
void session_note(struct session *session);

/* Did the client leave by itself? Then nobody is there to be told anything. */
bool session_client_is_gone(int reason);

/* The one line of a session that ends, for a reason from proto/err.h. */
void session_log(const struct session *session, int reason);

/* What the line of a request that was forwarded tells beside what session_log() would. */
struct forwarded {
	const char *method; /* as the client sent it, perhaps cut; of checked characters */
	int status;         /* of the answer, 0 where there was none */
	uint64_t up, down;  /* bytes */
	uint64_t began;     /* loop_now() */
};

/* The one line of a request that was forwarded. */
void session_log_request(const struct session *session, const struct forwarded *what, int reason);

/* What was noted of a request is not told again. */
void session_forget_request(struct session *session);

/* Every failure has its line, for HTTP lets a client try again and a session's own line comes late.
 * `why` says more, or is NULL. */
void session_log_auth_failure(const struct session *session, const char *why);

#endif
