/* SPDX-License-Identifier: MIT */
/*
 * What a worker asks the auth helper, and what it hears: packets of a fixed size, checked by who
 * receives them.
 *
 * Each question brings the descriptor to answer to, an end of a socketpair that the worker made for
 * it. So there are no numbers to match, no worker can hear what another asked, and whichever side
 * goes away is noticed by the other on that pair.
 */
#ifndef TABI_SERVER_AUTH_PAMWIRE_H
#define TABI_SERVER_AUTH_PAMWIRE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/accept.h"

/* Longest name of a PAM service; it is the name of a file. */
#define PAMWIRE_SERVICE_MAX 63

/* All are NUL-terminated and none is empty. Holds a password: wipe it. */
struct pam_question {
	char service[PAMWIRE_SERVICE_MAX + 1];
	char user[ACCEPT_CREDENTIAL_MAX + 1];
	char password[ACCEPT_CREDENTIAL_MAX + 1];
	char client[IP_TEXT_MAX]; /* address */
};

struct pam_answer {
	int32_t err;       /* 0, ERR_AUTH or ERR_UNAVAILABLE */
	uint32_t delay_ms; /* of ERR_AUTH: for how long the client is to wait for it */
};

/* Fills one of the fields. Returns false where the bytes are none, too many or hold a NUL. */
bool pamwire_put(char *field, size_t size, const char *bytes, size_t len);

/* Sends a question; `answer_to` stays the caller's. Returns 0 or -errno. */
int pamwire_ask(int socket, const struct pam_question *question, int answer_to);

/*
 * Takes the next question; `*ret_answer_to` is then the caller's. Returns 1, 0 at the end (nobody
 * is left who could ask), -EAGAIN, ERR_MALFORMED (what came is no question, and is gone) or -errno.
 */
int pamwire_take(int socket, struct pam_question *ret_question, int *ret_answer_to);

/* The answer. Return 0 or -errno; pamwire_hear() ERR_MALFORMED where it is none, and -EPIPE where
 * none will come. */
int pamwire_answer(int answer_to, const struct pam_answer *answer);
int pamwire_hear(int socket, struct pam_answer *ret_answer);

#endif
