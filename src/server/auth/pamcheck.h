/* SPDX-License-Identifier: MIT */
/* What PAM says of a user and a password. */
#ifndef TABI_SERVER_AUTH_PAMCHECK_H
#define TABI_SERVER_AUTH_PAMCHECK_H

#include "server/auth/pamwire.h"

/* A failure is told to the client no later than this, whatever the modules ask for. */
#define PAMCHECK_DELAY_MAX_MS 10000

/* What came of it, also for the log. */
struct pam_result {
	struct pam_answer answer;
	int32_t code; /* of PAM, where it has spoken */
	bool account; /* the password was right, the account is not */
};

/* Is PAM in this build? Without it every check is ERR_UNAVAILABLE. */
extern const bool pamcheck_built;

/*
 * Asks PAM whether the password is the user's (pam_authenticate) and whether the account may be
 * used now (pam_acct_mgmt); no session is opened. To be called in a process made for it: modules
 * block, keep variables, and may leave anything behind. Where they ask for a delay after a failure
 * it does not wait, but says how long to.
 */
struct pam_result pamcheck_run(const struct pam_question *question);

/* A word of PAM's about a result's code, for the log. */
const char *pamcheck_text(int32_t code);

#endif
