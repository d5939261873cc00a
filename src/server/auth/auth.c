/* SPDX-License-Identifier: MIT */
#include "server/auth/auth.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "net/log.h"
#include "proto/err.h"
#include "server/auth/cache.h"
#include "server/auth/limit.h"
#include "server/auth/password.h"

/* How often those who were wrong too often are looked at again: a token's time with one worker. */
#define TICK_MS 100

struct auth_check {
	struct job job; /* first: the thread pool knows the check by it */
	struct auth *auth;
	struct config *config; /* a reference is held */
	struct lane *lane;
	struct queue *queue;     /* that it waits in; NULL while it runs or is answered */
	struct auth_check *next; /* in its queue, or among the answered */
	auth_fn *fn;             /* NULL: cancelled */
	void *ctx;
	bool ok;
	struct cache_digest digest;
	struct limit_key key;
	uint8_t user_len, password_len;
	char user[ACCEPT_CREDENTIAL_MAX];
	char password[ACCEPT_CREDENTIAL_MAX];
};

struct queue {
	struct auth_check *first, **last;
	size_t n;
};

struct lane {
	struct queue held;  /* may not be tried yet, server/auth/limit.h */
	struct queue ready; /* wait for a thread */
};

struct auth {
	struct loop *loop;
	uint64_t secret;
	size_t held, ready, running, n_answered;
	unsigned turn; /* the lane to look at next */
	struct lane lanes[AUTH_LANES];
	struct cache *cache;
	struct config *cached_for; /* a reference, so that no other one can come to its place */
	/* Answered without a thread, to be told when the loop turns. */
	struct auth_check *answered, **last_answered;
	struct timer tell;
	struct limit *limit; /* NULL before the first check tells how many workers there are */
	struct timer tick;   /* runs while a check is held */
	bool ticking;
	unsigned open_timers;
};

static void tell_answers(struct timer *timer);
static void look_at_held(struct timer *timer);

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
	for (size_t i = 0; i < AUTH_LANES; i++) {
		struct lane *lane = &auth->lanes[i];

		lane->held.last = &lane->held.first;
		lane->ready.last = &lane->ready.first;
	}
	auth->last_answered = &auth->answered;
	timer_init(&auth->tell, loop, tell_answers);
	timer_init(&auth->tick, loop, look_at_held);
	auth->open_timers = 2;
	*ret_auth = auth;
	return 0;
}

static void timer_gone(struct auth *auth)
{
	if (--auth->open_timers == 0)
		free(auth);
}

static void tell_gone(struct timer *timer)
{
	timer_gone((struct auth *)((char *)timer - offsetof(struct auth, tell)));
}

static void tick_gone(struct timer *timer)
{
	timer_gone((struct auth *)((char *)timer - offsetof(struct auth, tick)));
}

void auth_free(struct auth *auth)
{
	if (!auth)
		return;
	cache_free(auth->cache);
	config_unref(auth->cached_for);
	limit_free(auth->limit);
	timer_close(&auth->tell, tell_gone);
	timer_close(&auth->tick, tick_gone);
}

size_t auth_pending(const struct auth *auth)
{
	return auth->held + auth->ready + auth->running + auth->n_answered;
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

/* Has the answer told from the loop if it is known. `check` is in no queue and has its tokens, or
 * this would tell a guesser, as often as he likes, who is logged in with what. */
static bool answer_from_cache(struct auth_check *check)
{
	struct auth *auth = check->auth;

	use_cache_for(auth, check->config);
	if (!cache_has(auth->cache, &check->digest, loop_now(auth->loop)))
		return false;
	limit_right(auth->limit, &check->key);
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

/* ---- who waits ---- */

/* How many wait in this kind of queue, in all lanes. */
static size_t *total_of(struct auth_check *check, const struct queue *queue)
{
	return queue == &check->lane->held ? &check->auth->held : &check->auth->ready;
}

static void enter(struct auth_check *check, struct queue *queue)
{
	check->queue = queue;
	check->next = NULL;
	*queue->last = check;
	queue->last = &check->next;
	queue->n++;
	++*total_of(check, queue);
}

/* Takes the check that `at` points to out of its queue. */
static struct auth_check *leave(struct auth_check **at)
{
	struct auth_check *check = *at;
	struct queue *queue = check->queue;

	*at = check->next;
	if (!*at)
		queue->last = at;
	queue->n--;
	--*total_of(check, queue);
	check->queue = NULL;
	return check;
}

/* Lets those of a lane go on who may, first come, first served. */
static void admit(struct auth *auth, struct lane *lane)
{
	struct auth_check **at = &lane->held.first;

	while (*at) {
		if (!limit_take(auth->limit, &(*at)->key, loop_now(auth->loop))) {
			at = &(*at)->next;
		} else {
			struct auth_check *check = leave(at);

			if (!answer_from_cache(check))
				enter(check, &lane->ready);
		}
	}
	if (auth->held > 0 && !auth->ticking) {
		auth->ticking = true;
		timer_start(&auth->tick, TICK_MS);
	}
}

/* ---- the threads ---- */

static void run_next(struct auth *auth);

static void done(struct job *job)
{
	struct auth_check *check = (struct auth_check *)job;
	struct auth *auth = check->auth;
	struct lane *lane = check->lane;

	auth->running--;
	if (check->ok)
		limit_right(auth->limit, &check->key);
	else
		limit_wrong(auth->limit, &check->key, loop_now(auth->loop));
	if (check->ok && check->config == auth->cached_for)
		cache_add(auth->cache, &check->digest, loop_now(auth->loop));
	tell(check);
	/* A token may have come back. */
	admit(auth, lane);
	run_next(auth);
}

static struct auth_check *take_next(struct auth *auth)
{
	while (auth->ready > 0) {
		struct lane *lane = &auth->lanes[auth->turn++ % AUTH_LANES];

		if (lane->ready.first)
			return leave(&lane->ready.first);
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

static void look_at_held(struct timer *timer)
{
	struct auth *auth = (struct auth *)((char *)timer - offsetof(struct auth, tick));

	auth->ticking = false;
	for (size_t i = 0; i < AUTH_LANES; i++)
		admit(auth, &auth->lanes[i]);
	run_next(auth);
}

/* What it is known by to the cache and to the limits. Returns 0 or -errno. */
static int identify(struct auth_check *check, struct auth *auth, const struct config *config,
    const struct ip *source, const struct accept *a)
{
	int err = 0;

	/* A changed `workers` takes effect at the next start, so one look is enough. */
	if (!auth->limit)
		err = limit_new(&auth->limit, config_workers(config));
	if (!err)
		err = limit_key(auth->limit, source, a->user, a->user_len, &check->key);
	if (!err)
		err = cache_digest(auth->cache, config, a->user, a->user_len, a->password,
		    a->password_len, &check->digest);
	return err;
}

/* With a copy of the credentials. NULL without memory. */
static struct auth_check *check_new(
    struct auth *auth, struct config *config, const struct ip *source, const struct accept *accept)
{
	struct auth_check *check = calloc(1, sizeof(*check));

	if (!check)
		return NULL;
	if (identify(check, auth, config, source, accept) != 0) {
		free(check);
		return NULL;
	}
	check->lane = lane_of(auth, source);
	check->auth = auth;
	check->config = config_ref(config);
	check->user_len = accept->user_len;
	check->password_len = accept->password_len;
	memcpy(check->user, accept->user, accept->user_len);
	memcpy(check->password, accept->password, accept->password_len);
	return check;
}

int auth_check_start(struct auth *auth, struct config *config, const struct ip *source,
    const struct accept *accept, auth_fn *fn, void *ctx, struct auth_check **ret_check)
{
	struct lane *lane = lane_of(auth, source);
	struct auth_check *check;

	if (lane->held.n + lane->ready.n >= AUTH_LANE_MAX)
		return ERR_UNAVAILABLE;
	check = check_new(auth, config, source, accept);
	if (!check)
		return -ENOMEM;
	check->fn = fn;
	check->ctx = ctx;
	*ret_check = check;
	/* Behind those of the same source who are held already. */
	enter(check, &lane->held);
	admit(auth, lane);
	run_next(auth);
	return 0;
}

/* One that waits goes at once, or those who come and go would fill their lane with nobody.
 * Its tokens stay taken: the cache may have been asked. */
void auth_check_cancel(struct auth_check *check)
{
	struct auth_check **at;

	if (!check)
		return;
	if (!check->queue) {
		check->fn = NULL;
		return;
	}
	at = &check->queue->first;
	while (*at != check)
		at = &(*at)->next;
	check_free(leave(at));
}
