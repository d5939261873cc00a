/* SPDX-License-Identifier: MIT */
/* The source that is PAM: a question to the auth helper. */
#include "server/auth/source.h"

#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "policy/offer.h"
#include "proto/err.h"
#include "server/auth/pamwire.h"

/* Its checks take long, so a guesser gets few of the places: another finds one free. */
#define PLACES 16
#define PLACES_EACH 2

/* What is asked for a user for whom the statement does not count, so that this takes as long as a
 * wrong password: nobody can type it, nor has PAM let anybody in by it. */
static const char not_a_password[] = "\b\n\r\177INCORRECT";

struct asking {
	struct watch watch;       /* first */
	struct auth_check *check; /* NULL: answered */
	int fd;
};

static void forget(struct watch *watch)
{
	free(watch);
}

/* The answer is told when all that was for the question is gone. */
static void end(struct asking *asking, const struct pam_answer *answer)
{
	struct auth_check *check = asking->check;

	watch_close(&asking->watch, forget);
	close(asking->fd);
	check->asking = NULL;
	if (answer->err == ERR_AUTH && answer->delay_ms > 0)
		check->not_before = loop_now(check->loop) + answer->delay_ms;
	auth_source_answer(check, answer->err);
}

static void on_answer(struct watch *watch, unsigned events)
{
	struct asking *asking = (struct asking *)watch;
	const struct auth_check *check = asking->check;
	const struct policy_auth *auth = &check->config->policy->auths[check->statement];
	struct pam_answer answer;
	int err = pamwire_hear(asking->fd, &answer);

	(void)events;
	if (err == -EAGAIN || err == -EINTR) {
		watch_set(&asking->watch, WATCH_READ);
		return;
	}
	if (err)
		answer = (struct pam_answer){.err = ERR_UNAVAILABLE};
	if (answer.err == 0 && !offer_counts(auth, check->user, check->user_len))
		answer.err = ERR_AUTH;
	end(asking, &answer);
}

static void cancel(struct auth_check *check)
{
	const struct pam_answer none = {.err = ERR_UNAVAILABLE};

	/* The helper sees the other end closed, and ends what it has begun. */
	if (check->asking)
		end(check->asking, &none);
}

/* Returns whether these are credentials that could be anybody's. */
static bool fill(struct pam_question *q, const struct auth_check *check)
{
	const struct policy_auth *auth = &check->config->policy->auths[check->statement];
	bool counts = offer_counts(auth, check->user, check->user_len);
	const char *password = counts ? check->password : not_a_password;
	size_t password_len = counts ? check->password_len : sizeof(not_a_password) - 1;

	memset(q, 0, sizeof(*q));
	ip_format(&check->client.ip, q->client);
	return pamwire_put(q->service, sizeof(q->service), auth->service, strlen(auth->service)) &&
	       pamwire_put(q->user, sizeof(q->user), check->user, check->user_len) &&
	       pamwire_put(q->password, sizeof(q->password), password, password_len);
}

static int send_question(struct auth_check *check, const struct pam_question *question)
{
	struct asking *asking = calloc(1, sizeof(*asking));
	int pair[2], err = -ENOMEM;

	if (!asking)
		return -ENOMEM;
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) < 0) {
		err = -errno;
		free(asking);
		return err;
	}
	err = pamwire_ask(auth_helper(check->auth), question, pair[1]);
	close(pair[1]);
	if (!err)
		err = watch_init(&asking->watch, check->loop, pair[0], on_answer);
	if (err) {
		close(pair[0]);
		free(asking);
		return err;
	}
	asking->fd = pair[0];
	asking->check = check;
	check->asking = asking;
	watch_set(&asking->watch, WATCH_READ);
	return 0;
}

static void nothing_to_do(struct job *job)
{
	(void)job;
}

static void is_wrong(struct job *job)
{
	auth_source_answer((struct auth_check *)job, ERR_AUTH);
}

/* Empty, or with a NUL: nobody's. PAM would hear another user or password than was said. */
static int refuse_soon(struct auth_check *check)
{
	check->job.work = nothing_to_do;
	check->job.done = is_wrong;
	return job_start(&check->job, check->loop);
}

static int ask(struct auth_check *check)
{
	struct pam_question question;
	int err = fill(&question, check) ? send_question(check, &question) : refuse_soon(check);

	explicit_bzero(&question, sizeof(question));
	return err;
}

const struct auth_source auth_source_pam = {
    .places = PLACES,
    .places_each = PLACES_EACH,
    .ask = ask,
    .cancel = cancel,
};
