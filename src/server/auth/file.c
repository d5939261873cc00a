/* SPDX-License-Identifier: MIT */
/* The source that is a password file: a hash on the thread pool. */
#include "server/auth/source.h"

#include "net/log.h"
#include "policy/offer.h"
#include "proto/err.h"
#include "server/auth/password.h"

/* How many hashes run at once: half of libuv's four threads, so that the loop keeps a core. */
#define PLACES 2

_Static_assert(PLACES == AUTH_RUNNING_MAX, "what the header says");

/* The tests count these. */
static void log_hash(const struct auth_check *check)
{
	struct log_record rec;

	log_begin(&rec, LOG_AT_DEBUG, "password-hash");
	log_bytes(&rec, "user", check->user, check->user_len);
	log_end(&rec);
}

/*
 * On a thread. Whether the user is known, and whether this file counts for him, must not show in
 * the time it takes: there is one hash in any case.
 */
static void work(struct job *job)
{
	struct auth_check *check = (struct auth_check *)job;
	const struct config *config = check->config;
	bool counts =
	    offer_counts(&config->policy->auths[check->statement], check->user, check->user_len);
	bool right = password_check(config->passwords[check->statement], check->user,
	    check->user_len, check->password, check->password_len);

	check->heard = right && counts ? 0 : ERR_AUTH;
}

static void done(struct job *job)
{
	struct auth_check *check = (struct auth_check *)job;

	auth_source_answer(check, check->heard);
}

static int ask(struct auth_check *check)
{
	log_hash(check);
	check->job.work = work;
	check->job.done = done;
	return job_start(&check->job, check->loop);
}

const struct auth_source auth_source_file = {
    .places = PLACES,
    .places_each = PLACES,
    .ask = ask,
};
