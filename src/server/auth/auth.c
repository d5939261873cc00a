/* SPDX-License-Identifier: MIT */
#include "server/auth/auth.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "proto/err.h"
#include "server/auth/password.h"

struct auth_check {
	struct job job; /* first: the thread pool knows the check by it */
	struct auth *auth;
	struct config *config;   /* a reference is held */
	struct lane *lane;       /* that it waits in; NULL while it runs */
	struct auth_check *next; /* in its lane */
	auth_fn *fn;             /* NULL: cancelled */
	void *ctx;
	bool ok;
	uint8_t user_len, password_len;
	char user[ACCEPT_CREDENTIAL_MAX];
	char password[ACCEPT_CREDENTIAL_MAX];
};

struct lane {
	struct auth_check *first, **last;
	size_t n;
};

struct auth {
	struct loop *loop;
	uint64_t secret;
	size_t waiting, running;
	unsigned turn; /* the lane to look at next */
	struct lane lanes[AUTH_LANES];
};

int auth_new(struct auth **ret_auth, struct loop *loop)
{
	struct auth *auth = calloc(1, sizeof(*auth));

	if (!auth)
		return -ENOMEM;
	auth->loop = loop;
	if (getrandom(&auth->secret, sizeof(auth->secret), 0) != sizeof(auth->secret)) {
		int err = -errno;

		free(auth);
		return err;
	}
	for (size_t i = 0; i < AUTH_LANES; i++)
		auth->lanes[i].last = &auth->lanes[i].first;
	*ret_auth = auth;
	return 0;
}

void auth_free(struct auth *auth)
{
	free(auth);
}

size_t auth_pending(const struct auth *auth)
{
	return auth->waiting + auth->running;
}

/* Multiply-xorshift over the IPv4 address or the IPv6 /64: only has to be unaimable, not strong. */
static struct lane *lane_of(struct auth *auth, const struct ip *source)
{
	uint64_t high, low;

	memcpy(&high, source->b, 8);
	memcpy(&low, source->b + 8, 8);
	high = (high ^ auth->secret) * 0x9e3779b97f4a7c15u;
	if (ip_is_v4(source))
		high ^= (low ^ auth->secret) * 0xc2b2ae3d27d4eb4fu;
	high ^= high >> 32;
	high *= 0x9e3779b97f4a7c15u;
	return &auth->lanes[(high >> 40) % AUTH_LANES];
}

static void check_free(struct auth_check *check)
{
	config_unref(check->config);
	explicit_bzero(check->password, sizeof(check->password));
	free(check);
}

/* On a thread. */
static void work(struct job *job)
{
	struct auth_check *check = (struct auth_check *)job;

	check->ok = password_check(check->config->passwords, check->config->n_passwords,
	    check->user, check->user_len, check->password, check->password_len);
}

static void run_next(struct auth *auth);

static void done(struct job *job)
{
	struct auth_check *check = (struct auth_check *)job;
	struct auth *auth = check->auth;

	auth->running--;
	if (check->fn)
		check->fn(check->ctx, check->ok);
	check_free(check);
	run_next(auth);
}

/* Takes the check that `at` points to out of its lane. */
static struct auth_check *leave_lane(struct auth_check **at)
{
	struct auth_check *check = *at;
	struct lane *lane = check->lane;

	*at = check->next;
	if (!*at)
		lane->last = at;
	lane->n--;
	check->auth->waiting--;
	check->lane = NULL;
	return check;
}

static struct auth_check *take_next(struct auth *auth)
{
	while (auth->waiting > 0) {
		struct lane *lane = &auth->lanes[auth->turn++ % AUTH_LANES];

		if (lane->first)
			return leave_lane(&lane->first);
	}
	return NULL;
}

static void run_next(struct auth *auth)
{
	while (auth->running < AUTH_RUNNING_MAX) {
		struct auth_check *check = take_next(auth);

		if (!check)
			return;
		auth->running++;
		check->job.work = work;
		check->job.done = done;
		/* Cannot fail: uv_queue_work() only refuses a missing work function. */
		(void)job_start(&check->job, auth->loop);
	}
}

int auth_check_start(struct auth *auth, struct config *config, const struct ip *source,
    const struct accept *accept, auth_fn *fn, void *ctx, struct auth_check **ret_check)
{
	struct lane *lane = lane_of(auth, source);
	struct auth_check *check;

	if (lane->n >= AUTH_LANE_MAX)
		return ERR_UNAVAILABLE;
	check = calloc(1, sizeof(*check));
	if (!check)
		return -ENOMEM;
	check->auth = auth;
	check->lane = lane;
	check->config = config_ref(config);
	check->fn = fn;
	check->ctx = ctx;
	check->user_len = accept->user_len;
	check->password_len = accept->password_len;
	memcpy(check->user, accept->user, accept->user_len);
	memcpy(check->password, accept->password, accept->password_len);
	*lane->last = check;
	lane->last = &check->next;
	lane->n++;
	auth->waiting++;
	*ret_check = check;
	run_next(auth);
	return 0;
}

/* One that waits goes at once, or those who come and go would fill their lane with nobody. */
void auth_check_cancel(struct auth_check *check)
{
	struct auth_check **at;

	if (!check)
		return;
	if (!check->lane) {
		check->fn = NULL;
		return;
	}
	at = &check->lane->first;
	while (*at != check)
		at = &(*at)->next;
	check_free(leave_lane(at));
}
