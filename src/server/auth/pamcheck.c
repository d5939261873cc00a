/* SPDX-License-Identifier: MIT */
#include "server/auth/pamcheck.h"

#include <security/pam_appl.h>
#include <stdlib.h>
#include <string.h>

#include "proto/err.h"

const bool pamcheck_built = true;

static void free_responses(struct pam_response *responses, int n)
{
	for (int i = 0; i < n; i++) {
		if (!responses[i].resp)
			continue;
		explicit_bzero(responses[i].resp, strlen(responses[i].resp));
		free(responses[i].resp);
	}
	free(responses);
}

/*
 * There is a password and nobody to talk to: it is the answer to what is asked for without echo.
 * Any other question fails. Messages that ask for nothing have no reader, and pass.
 */
static int answer_one(
    const struct pam_message *message, const char *password, struct pam_response *response)
{
	switch (message->msg_style) {
	case PAM_PROMPT_ECHO_OFF:
		response->resp = strdup(password);
		return response->resp ? PAM_SUCCESS : PAM_BUF_ERR;
	case PAM_ERROR_MSG:
	case PAM_TEXT_INFO:
		return PAM_SUCCESS;
	default:
		return PAM_CONV_ERR;
	}
}

static int converse(
    int n, const struct pam_message **messages, struct pam_response **ret_responses, void *ctx)
{
	const struct pam_question *question = ctx;
	struct pam_response *responses;
	int code = PAM_SUCCESS;

	if (n <= 0 || n > PAM_MAX_NUM_MSG)
		return PAM_CONV_ERR;
	responses = calloc((size_t)n, sizeof(*responses));
	if (!responses)
		return PAM_BUF_ERR;
	for (int i = 0; i < n && code == PAM_SUCCESS; i++)
		code = answer_one(messages[i], question->password, &responses[i]);
	if (code == PAM_SUCCESS)
		*ret_responses = responses;
	else
		free_responses(responses, n);
	return code;
}

/* PAM has no other way to hand this to its caller: its own context is that of the conversation. One
 * process makes one check. */
static unsigned delay_us;

/* In the place of a sleep, pam_fail_delay(3). */
static void note_delay(int code, unsigned us, void *ctx)
{
	(void)code;
	(void)ctx;
	delay_us = us;
}

static int set_items(pam_handle_t *pam, const struct pam_question *q)
{
	/* A function pointer among the items: the interface has them all as const void *. */
	void (*delay)(int, unsigned, void *) = note_delay;
	const void *item;
	int code;

	memcpy(&item, &delay, sizeof(item));
	code = pam_set_item(pam, PAM_RHOST, q->client);
	/* No terminal: a name that no list of secure terminals has. */
	if (code == PAM_SUCCESS)
		code = pam_set_item(pam, PAM_TTY, "tabi");
	if (code == PAM_SUCCESS)
		code = pam_set_item(pam, PAM_FAIL_DELAY, item);
	return code;
}

/* Modules may turn one user into another; who was let in must be who asked. */
static bool is_same_user(pam_handle_t *pam, const char *user)
{
	const void *item = NULL;

	return pam_get_item(pam, PAM_USER, &item) == PAM_SUCCESS && item && strcmp(item, user) == 0;
}

/* Is it the client who is wrong, or could PAM not find out? What modules call an error of the
 * system may be either (pam_exec says so of every refusal), and then counts as a wrong guess. */
static int err_of(int code)
{
	switch (code) {
	case PAM_SUCCESS:
		return 0;
	case PAM_OPEN_ERR:
	case PAM_SYMBOL_ERR:
	case PAM_BUF_ERR:
	case PAM_ABORT:
	case PAM_AUTHINFO_UNAVAIL:
		return ERR_UNAVAILABLE;
	default:
		return ERR_AUTH;
	}
}

struct pam_result pamcheck_run(const struct pam_question *q)
{
	struct pam_question copy = *q;
	const struct pam_conv conv = {.conv = converse, .appdata_ptr = &copy};
	struct pam_result result = {0};
	pam_handle_t *pam = NULL;
	int code = pam_start(q->service, q->user, &conv, &pam);

	if (code == PAM_SUCCESS)
		code = set_items(pam, q);
	if (code == PAM_SUCCESS)
		code = pam_authenticate(pam, PAM_SILENT | PAM_DISALLOW_NULL_AUTHTOK);
	if (code == PAM_SUCCESS && !is_same_user(pam, q->user))
		code = PAM_USER_UNKNOWN;
	if (code == PAM_SUCCESS) {
		/* Also refuses who should change the password first: nobody can do so here. */
		code = pam_acct_mgmt(pam, PAM_SILENT | PAM_DISALLOW_NULL_AUTHTOK);
		result.account = true;
	}
	if (pam)
		pam_end(pam, code);
	explicit_bzero(&copy, sizeof(copy));
	result.code = code;
	result.answer.err = err_of(code);
	result.answer.delay_ms =
	    delay_us / 1000 < PAMCHECK_DELAY_MAX_MS ? delay_us / 1000 : PAMCHECK_DELAY_MAX_MS;
	return result;
}

const char *pamcheck_text(int32_t code)
{
	/* Linux-PAM does not look at the handle. */
	return pam_strerror(NULL, code);
}
