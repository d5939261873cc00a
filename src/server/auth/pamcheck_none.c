/* SPDX-License-Identifier: MIT */
/* In the place of pamcheck.c where PAM is not built in. */
#include "server/auth/pamcheck.h"

#include "proto/err.h"

const bool pamcheck_built = false;

struct pam_result pamcheck_run(const struct pam_question *question)
{
	(void)question;
	return (struct pam_result){.answer.err = ERR_UNAVAILABLE};
}

const char *pamcheck_text(int32_t code)
{
	(void)code;
	return "PAM is not in this build";
}
