/* SPDX-License-Identifier: MIT */
/*
 * What knows whether a user and a password belong together: a kind of source, and a check that
 * stands before it.
 *
 * To add one: its row in the table of auth.c, its way to be said in the configuration, and an
 * auth_source that begins to ask and answers later. Queues, turns, the cache and the limits of
 * guessing are the same for all and no source's business.
 */
#ifndef TABI_SERVER_AUTH_SOURCE_H
#define TABI_SERVER_AUTH_SOURCE_H

#include "net/loop.h"
#include "server/auth/auth.h"
#include "server/auth/limit.h"

enum auth_kind {
	AUTH_BY_FILE,
	AUTH_BY_PAM,
	AUTH_BY_GSSAPI,
	AUTH_KINDS,
};

struct auth_source {
	/* How many checks it takes at once, and how many of them from one lane. */
	size_t places, places_each;
	/*
	 * Begins to ask what check->statement says. The answer is auth_source_answer(), once, from
	 * the loop and not from inside of this call. Returns 0, or a negative error after which
	 * none comes.
	 */
	int (*ask)(struct auth_check *check);
	/* Nobody waits for the answer, which must come all the same: soon, if that is possible.
	 * NULL: it is not. */
	void (*cancel)(struct auth_check *check);
};

extern const struct auth_source auth_source_file, auth_source_pam, auth_source_gssapi;

struct auth_queue {
	struct auth_check *first, **last;
	size_t n;
};

/* One client's credentials on their way. */
struct auth_check {
	struct job job; /* first: the thread pool knows the check by it */
	struct loop *loop;
	struct config *config; /* a reference is held */
	struct auth_client client;
	size_t statement;      /* the one of the policy's `auth` that is or will be asked */
	struct asking *asking; /* a source's own */
	uint64_t not_before;   /* loop_now(): a failure is told no earlier, as a source wished */

	uint8_t user_len, password_len;
	char user[ACCEPT_CREDENTIAL_MAX];
	char password[ACCEPT_CREDENTIAL_MAX];
	struct gssapi *login; /* owned: a token, and no credentials; or NULL */

	/* The rest is for auth.c. */
	struct auth *auth;
	struct auth_lane *lane;
	struct auth_queue *queue; /* that it waits in; NULL while it is asked or answered */
	struct auth_check *next;  /* in its queue, or among the answered */
	auth_fn *fn;              /* NULL: cancelled */
	void *ctx;
	bool asked;  /* a source has it */
	int verdict; /* what the client is told if no source says yes; at last, the answer */
	int heard;   /* of a thread, for its source */
	struct limit_key key;
};

/* The source's word: 0 where they belong together and the statement is about that user, ERR_AUTH
 * where they do not, or ERR_UNAVAILABLE. The check is not the source's any more. */
void auth_source_answer(struct auth_check *check, int err);

/* The descriptor to ask the auth helper through. */
int auth_helper(const struct auth *auth);

#endif
