/* SPDX-License-Identifier: MIT */
#include "server/auth/auth.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "net/log.h"
#include "proto/err.h"
#include "server/auth/cache.h"
#include "server/auth/password.h"

struct auth_check {
	struct job job; /* first: the thread pool knows the check by it */
	struct auth *auth;
	struct config *config;   /* a reference is held */
	struct lane *lane;       /* that it waits in; NULL while it runs or is answered */
	struct auth_check *next; /* in its lane, or among the answered */
	auth_fn *fn;             /* NULL: cancelled */
	void *ctx;
	bool ok;
	struct cache_digest digest;
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
	size_t waiting, running, n_answered;
	unsigned turn; /* the lane to look at next */
	struct lane lanes[AUTH_LANES];
	struct cache *cache;
	struct config *cached_for; /* a reference, so that no other one can come to its place */
	/* Answered without a thread, to be told when the loop turns. */
	struct auth_check *answered, **last_answered;
	struct timer tell;
};

static void tell_answers(struct timer *timer);

int auth_new(struct auth **ret_auth, struct loop *loop)
{
	struct auth *auth = calloc(1, sizeof(*auth));
	int err;

	if (!auth)
		return -ENOMEM;
	auth->loop = loop;
	err = getrandom(&auth->secret, sizeof(auth->secret), 0) < 0 ? -errno : 0;
	if (!err)
		err = cache_new(&auth->cache);
	if (err) {
		free(auth);
		return err;
	}
	for (size_t i = 0; i < AUTH_LANES; i++)
		auth->lanes[i].last = &auth->lanes[i].first;
	auth->last_answered = &auth->answered;
	timer_init(&auth->tell, loop, tell_answers);
	*ret_auth = auth;
	return 0;
}

static void gone(struct timer *timer)
{
	free((char *)timer - offsetof(struct auth, tell));
}

void auth_free(struct auth *auth)
{
	if (!auth)
		return;
	cache_free(auth->cache);
	config_unref(auth->cached_for);
	timer_close(&auth->tell, gone);
}

size_t auth_pending(const struct auth *auth)
{
	return auth->waiting + auth->running + auth->n_answered;
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
	explicit_bzero(&check->digest, sizeof(check->digest));
	free(check);
}

/* ---- what is known already ---- */

/* The cache is about one configuration: who asks under another finds it empty. */
static void use_cache_for(struct auth *auth, struct config *config)
{
	if (auth->cached_for == config)
		return;
	cache_drop(auth->cache);
	config_unref(auth->cached_for);
	auth->cached_for = config_ref(config);
}

/* Has the answer told from the loop if it is known. `check` is in no lane. */
static bool answer_from_cache(struct auth_check *check)
{
	struct auth *auth = check->auth;

	use_cache_for(auth, check->config);
	if (!cache_has(auth->cache, &check->digest, loop_now(auth->loop)))
		return false;
	check->ok = true;
	check->next = NULL;
	*auth->last_answered = check;
	auth->last_answered = &check->next;
	auth->n_answered++;
	timer_start(&auth->tell, 0);
	return true;
}

static void tell(struct auth_check *check)
{
	if (check->fn)
		check->fn(check->ctx, check->ok);
	check_free(check);
}

static void tell_answers(struct timer *timer)
{
	struct auth *auth = (struct auth *)((char *)timer - offsetof(struct auth, tell));
	struct auth_check *next, *check = auth->answered;

	/* What is answered from now on waits for the next turn. */
	auth->answered = NULL;
	auth->last_answered = &auth->answered;
	for (; check; check = next) {
		next = check->next;
		auth->n_answered--;
		tell(check);
	}
}

/* ---- what is not ---- */

/* One that had to be hashed; the tests count these. */
static void log_hash(const struct auth_check *check)
{
	struct log_record rec;

	log_begin(&rec, LOG_AT_DEBUG, "password-hash");
	log_bytes(&rec, "user", check->user, check->user_len);
	log_end(&rec);
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
	if (check->ok && check->config == auth->cached_for)
		cache_add(auth->cache, &check->digest, loop_now(auth->loop));
	tell(check);
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
		/* Another connection may have had the same ones checked meanwhile. */
		if (answer_from_cache(check))
			continue;
		auth->running++;
		log_hash(check);
		check->job.work = work;
		check->job.done = done;
		/* Cannot fail: uv_queue_work() only refuses a missing work function. */
		(void)job_start(&check->job, auth->loop);
	}
}

/* With a copy of the credentials. NULL without memory. */
static struct auth_check *check_new(
    struct auth *auth, struct config *config, const struct accept *accept)
{
	struct auth_check *check = calloc(1, sizeof(*check));

	if (!check)
		return NULL;
	if (cache_digest(auth->cache, config, accept->user, accept->user_len, accept->password,
		accept->password_len, &check->digest) != 0) {
		free(check);
		return NULL;
	}
	check->auth = auth;
	check->config = config_ref(config);
	check->user_len = accept->user_len;
	check->password_len = accept->password_len;
	memcpy(check->user, accept->user, accept->user_len);
	memcpy(check->password, accept->password, accept->password_len);
	return check;
}

static void enter_lane(struct auth_check *check, struct lane *lane)
{
	check->lane = lane;
	*lane->last = check;
	lane->last = &check->next;
	lane->n++;
	check->auth->waiting++;
}

int auth_check_start(struct auth *auth, struct config *config, const struct ip *source,
    const struct accept *accept, auth_fn *fn, void *ctx, struct auth_check **ret_check)
{
	struct lane *lane = lane_of(auth, source);
	struct auth_check *check;

	if (lane->n >= AUTH_LANE_MAX)
		return ERR_UNAVAILABLE;
	check = check_new(auth, config, accept);
	if (!check)
		return -ENOMEM;
	check->fn = fn;
	check->ctx = ctx;
	*ret_check = check;
	if (!answer_from_cache(check)) {
		enter_lane(check, lane);
		run_next(auth);
	}
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
