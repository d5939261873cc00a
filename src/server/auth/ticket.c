/* SPDX-License-Identifier: MIT */
/* The source that is a keytab: a token of GSS-API, looked at on the thread pool. */
#include "server/auth/source.h"

#include "policy/offer.h"
#include "proto/err.h"
#include "server/auth/gssapi.h"

/* How many tokens are looked at at once. It takes well below a millisecond of computing, but
 * libkrb5 looks whether its configuration has changed. */
#define PLACES 2

/* On a thread. */
static void work(struct job *job)
{
	struct auth_check *check = (struct auth_check *)job;
	const struct config *config = check->config;
	struct accept_gss_answer answer;

	check->heard = gssapi_step(check->login, config->keytabs.services[check->statement]);
	if (check->heard)
		return;
	gssapi_answer(check->login, &answer);
	if (answer.outcome == ACCEPT_GSS_DONE &&
	    !offer_counts(&config->policy->auths[check->statement], answer.user, answer.user_len))
		check->heard = gssapi_refuse(check->login, "not a user of this 'auth' statement");
}

static void done(struct job *job)
{
	struct auth_check *check = (struct auth_check *)job;

	auth_source_answer(check, check->heard);
}

static int ask(struct auth_check *check)
{
	check->job.work = work;
	check->job.done = done;
	return job_start(&check->job, check->loop);
}

const struct auth_source auth_source_gssapi = {
    .places = PLACES,
    .places_each = PLACES,
    .ask = ask,
};
