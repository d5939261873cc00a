/* SPDX-License-Identifier: MIT */
/*
 * Who is this? Questions from sessions, put to those who know.
 *
 * Theory of operation. What the configuration names by `auth password` and the like are sources
 * (server/auth/source.h). A check goes from one to the next, in the order of the statements and
 * past those that are not for this client, until one says yes; who says no only passes it on, so a
 * user may be known to any of them. None says how far it came: a wrong password has been through
 * all of them.
 *
 * A password check is slow by design, so a source takes a few at a time and the rest wait. Were
 * that one queue, somebody who guesses a thousand passwords would make everybody wait for a
 * thousand checks. So waiting checks are sorted by their source address into AUTH_LANES lanes (with
 * a secret per process, so that nobody can aim), and free places go to the lanes in turn: a guesser
 * waits for himself. An IPv6 source counts as its /64.
 *
 * Credentials that were found right under the same configuration in the last minutes are known
 * again (server/auth/cache.h) without asking and without waiting; the answer still comes from the
 * loop. They are known by the statement that proved them, so they count where that one does.
 * Another configuration, as a reload brings it, empties the cache.
 *
 * A failure may be told later than it is known: PAM's modules want guessers to wait. Such a check
 * has no place any more, so nobody waits with it.
 *
 * Who is wrong too often has to wait (server/auth/limit.h): his checks are held in his lane, and
 * take neither a place nor anybody's turn, until the limit lets them go on or whoever asked gives
 * up. Even the cache is asked only then.
 */
#ifndef TABI_SERVER_AUTH_AUTH_H
#define TABI_SERVER_AUTH_AUTH_H

#include "net/loop.h"
#include "proto/accept.h"
#include "server/config.h"

#define AUTH_LANES 256
/* How many hashes run at once. */
#define AUTH_RUNNING_MAX 2
/* How many may wait in a lane; more are turned away with ERR_UNAVAILABLE. All lanes together have
 * no bound but that of sessions: it would be one that a single guesser could use up for all. */
#define AUTH_LANE_MAX 256

/* One per worker. */
struct auth;

/* Who asks: whence, and by which listener (policy_listener.text, of the same configuration). */
struct auth_client {
	struct ip ip;
	const char *listener;
};

struct gssapi;
struct auth_check;
/* The answer, from the loop: 0 where the credentials are right, ERR_AUTH where they are not, or
 * ERR_UNAVAILABLE where none is right and not all could be asked. The check is gone after the call.
 */
typedef void auth_fn(void *ctx, int err);

int auth_new(struct auth **ret_auth, struct loop *loop);
/* `fd` (the caller's, open as long as it is in use) is where to ask the auth helper; -1 before. */
void auth_use_helper(struct auth *auth, int fd);
/* No check may be under way; the rest of it goes with loop_fini(). NULL is fine. */
void auth_free(struct auth *auth);

/*
 * Begins to check the credentials that `accept` holds (copied) for a client, against what `config`
 * (kept alive until the end) offers it. Returns 0, ERR_UNAVAILABLE or -errno.
 */
int auth_check_start(struct auth *auth, struct config *config, const struct auth_client *client,
    const struct accept *accept, auth_fn *fn, void *ctx, struct auth_check **ret_check);
/*
 * The same for the next token of a login by GSS-API (gssapi_set_token()), of which one statement
 * alone is asked: the first for this client. The login is the check's until `fn` takes it back.
 */
int auth_login_start(struct auth *auth, struct config *config, const struct auth_client *client,
    struct gssapi *login, auth_fn *fn, void *ctx, struct auth_check **ret_check);
/* To be called by `fn`, once. */
struct gssapi *auth_check_take_login(struct auth_check *check);

/* `fn` will not be called. NULL is fine. */
void auth_check_cancel(struct auth_check *check);

/* Checks held, waiting, asked or about to be answered. */
size_t auth_pending(const struct auth *auth);

#endif
