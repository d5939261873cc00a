/* SPDX-License-Identifier: MIT */
#include "server/auth/auth.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "policy/offer.h"
#include "proto/err.h"
#include "server/auth/cache.h"
#include "server/auth/gssapi.h"
#include "server/auth/source.h"

/* How often those who were wrong too often are looked at again: a token's time with one worker. */
#define TICK_MS 100

/* Those who come from one place. */
struct auth_lane {
	struct auth_queue held;              /* may not be tried yet, server/auth/limit.h */
	struct auth_queue ready[AUTH_KINDS]; /* wait for a place */
	size_t asked[AUTH_KINDS];            /* have one */
};

struct auth {
	struct loop *loop;
	uint64_t secret;
	size_t held, ready[AUTH_KINDS], asked[AUTH_KINDS], n_answered;
	unsigned turn[AUTH_KINDS]; /* the lane to look at next */
	struct auth_lane lanes[AUTH_LANES];
	struct auth_queue late; /* failures that are to be told later */
	int helper;
	struct cache *cache;
	struct config *cached_for; /* a reference, so that no other one can come to its place */
	/* Answered without a source, to be told when the loop turns. */
	struct auth_check *answered, **last_answered;
	struct timer tell;
	struct limit *limit; /* NULL before the first check tells how many workers there are */
	struct timer tick;   /* runs while a check is held, or late */
	bool ticking;
	unsigned open_timers;
};

static const struct auth_source *const sources[AUTH_KINDS] = {
    [AUTH_BY_FILE] = &auth_source_file,
    [AUTH_BY_PAM] = &auth_source_pam,
    [AUTH_BY_GSSAPI] = &auth_source_gssapi,
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
		struct auth_lane *lane = &auth->lanes[i];

		lane->held.last = &lane->held.first;
		for (size_t kind = 0; kind < AUTH_KINDS; kind++)
			lane->ready[kind].last = &lane->ready[kind].first;
	}
	auth->late.last = &auth->late.first;
	auth->helper = -1;
	auth->last_answered = &auth->answered;
	timer_init(&auth->tell, loop, tell_answers);
	timer_init(&auth->tick, loop, look_at_held);
	auth->open_timers = 2;
	*ret_auth = auth;
	return 0;
}

void auth_use_helper(struct auth *auth, int fd)
{
	auth->helper = fd;
}

int auth_helper(const struct auth *auth)
{
	return auth->helper;
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
	size_t n = auth->held + auth->late.n + auth->n_answered;

	for (size_t kind = 0; kind < AUTH_KINDS; kind++)
		n += auth->ready[kind] + auth->asked[kind];
	return n;
}

/* Multiply-xorshift over the IPv4 address or the IPv6 /64: only has to be unaimable, not strong. */
static struct auth_lane *lane_of(struct auth *auth, const struct ip *source)
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
	gssapi_free(check->login);
	free(check);
}

/* ---- which sources a check goes to ---- */

/* Credentials go to these. A login by GSS-API goes to one statement alone: what its tokens mean to
 * another's keys is nothing. */
static bool is_asked(const struct auth_check *check, size_t statement)
{
	const struct policy *policy = check->config->policy;
	const struct policy_auth *auth = &policy->auths[statement];

	if (check->login)
		return auth ==
		       offer_first(policy, AUTH_GSSAPI, &check->client.ip, check->client.listener);
	return auth->method == AUTH_PASSWORD &&
	       offer_has(auth, &check->client.ip, check->client.listener);
}

/* Moves check->statement on to the first from `statement` on that is to be asked. Returns whether
 * there is one. */
static bool move_on(struct auth_check *check, size_t statement)
{
	size_t n = check->config->policy->n_auths;

	while (statement < n && !is_asked(check, statement))
		statement++;
	check->statement = statement;
	return statement < n;
}

/* Of the statement that it has come to. */
static enum auth_kind kind_of(const struct auth_check *check)
{
	if (check->login)
		return AUTH_BY_GSSAPI;
	return check->config->policy->auths[check->statement].file ? AUTH_BY_FILE : AUTH_BY_PAM;
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

/* What the cache knows these credentials by, where the statement at hand proved them. */
static int digest_of(const struct auth_check *check, struct cache_digest *ret_digest)
{
	return cache_digest(check->auth->cache, &check->config->policy->auths[check->statement],
	    check->user, check->user_len, check->password, check->password_len, ret_digest);
}

static bool is_cached(struct auth_check *check)
{
	struct auth *auth = check->auth;
	struct cache_digest digest;
	bool found = false;

	if (check->login)
		return false;
	use_cache_for(auth, check->config);
	for (bool more = move_on(check, 0); more && !found;
	     more = move_on(check, check->statement + 1))
		found = digest_of(check, &digest) == 0 &&
			cache_has(auth->cache, &digest, loop_now(auth->loop));
	explicit_bzero(&digest, sizeof(digest));
	return found;
}

static void remember(struct auth_check *check)
{
	struct auth *auth = check->auth;
	struct cache_digest digest;

	if (check->login || check->config != auth->cached_for || digest_of(check, &digest) != 0)
		return;
	cache_add(auth->cache, &digest, loop_now(auth->loop));
	explicit_bzero(&digest, sizeof(digest));
}

/* ---- the answer ---- */

static void tell(struct auth_check *check)
{
	if (check->fn)
		check->fn(check->ctx, check->verdict);
	check_free(check);
}

/* From the loop; `check` is in no queue. */
static void tell_soon(struct auth_check *check, int verdict)
{
	struct auth *auth = check->auth;

	check->verdict = verdict;
	check->next = NULL;
	*auth->last_answered = check;
	auth->last_answered = &check->next;
	auth->n_answered++;
	timer_start(&auth->tell, 0);
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

/* Has the answer told if it is known. `check` is in no queue and has its tokens, or this would tell
 * a guesser, as often as he likes, who is logged in with what. */
static bool answer_from_cache(struct auth_check *check)
{
	if (!is_cached(check))
		return false;
	limit_right(check->auth->limit, &check->key);
	tell_soon(check, 0);
	return true;
}

/* ---- who waits ---- */

/* How many wait in this kind of queue, in all lanes. NULL where there is one for all. */
static size_t *total_of(struct auth_check *check, const struct auth_queue *queue)
{
	if (queue == &check->auth->late)
		return NULL;
	if (queue == &check->lane->held)
		return &check->auth->held;
	return &check->auth->ready[queue - check->lane->ready];
}

static void enter(struct auth_check *check, struct auth_queue *queue)
{
	size_t *total = total_of(check, queue);

	check->queue = queue;
	check->next = NULL;
	*queue->last = check;
	queue->last = &check->next;
	queue->n++;
	if (total)
		++*total;
}

/* Takes the check that `at` points to out of its queue. */
static struct auth_check *leave(struct auth_check **at)
{
	struct auth_check *check = *at;
	struct auth_queue *queue = check->queue;
	size_t *total = total_of(check, queue);

	*at = check->next;
	if (!*at)
		queue->last = at;
	queue->n--;
	if (total)
		--*total;
	check->queue = NULL;
	return check;
}

/* To the first source, unless the answer is known. */
static void set_out(struct auth_check *check)
{
	if (answer_from_cache(check))
		return;
	if (move_on(check, 0))
		enter(check, &check->lane->ready[kind_of(check)]);
	else
		tell_soon(check, ERR_AUTH);
}

static void tick_if_needed(struct auth *auth)
{
	if (auth->held + auth->late.n == 0 || auth->ticking)
		return;
	auth->ticking = true;
	timer_start(&auth->tick, TICK_MS);
}

/* Lets those of a lane go on who may, first come, first served. */
static void admit(struct auth *auth, struct auth_lane *lane)
{
	struct auth_check **at = &lane->held.first;

	while (*at) {
		if (limit_take(auth->limit, &(*at)->key, loop_now(auth->loop)))
			set_out(leave(at));
		else
			at = &(*at)->next;
	}
	tick_if_needed(auth);
}

/* ---- who is asked ---- */

static void run_next(struct auth *auth);

/* The last source was asked, or one said yes. */
static void finish(struct auth_check *check)
{
	struct auth *auth = check->auth;
	struct auth_lane *lane = check->lane;

	if (check->verdict == ERR_AUTH)
		limit_wrong(auth->limit, &check->key, loop_now(auth->loop));
	if (check->verdict == 0) {
		limit_right(auth->limit, &check->key);
		remember(check);
	}
	/* Where nobody could say the tokens stay taken: there was a try all the same. */
	if (check->verdict != 0 && check->fn && check->not_before > loop_now(auth->loop)) {
		enter(check, &auth->late);
		tick_if_needed(auth);
	} else {
		tell(check);
	}
	/* A token may have come back. */
	admit(auth, lane);
}

/* A source has said no, or could not say: what was not asked cannot be told from a no. */
static void go_on(struct auth_check *check, int err)
{
	if (err != ERR_AUTH)
		check->verdict = ERR_UNAVAILABLE;
	if (check->fn && move_on(check, check->statement + 1))
		enter(check, &check->lane->ready[kind_of(check)]);
	else
		finish(check);
}

void auth_source_answer(struct auth_check *check, int err)
{
	struct auth *auth = check->auth;
	enum auth_kind kind = kind_of(check);

	auth->asked[kind]--;
	check->lane->asked[kind]--;
	check->asked = false;
	if (err == 0) {
		check->verdict = 0;
		finish(check);
	} else {
		go_on(check, err);
	}
	run_next(auth);
}

/* Of the lanes whose turn it is, the first that has somebody waiting and not too many there. */
static struct auth_check *take_next(struct auth *auth, enum auth_kind kind)
{
	for (size_t i = 0; auth->ready[kind] > 0 && i < AUTH_LANES; i++) {
		struct auth_lane *lane = &auth->lanes[auth->turn[kind]++ % AUTH_LANES];

		if (lane->ready[kind].first && lane->asked[kind] < sources[kind]->places_each)
			return leave(&lane->ready[kind].first);
	}
	return NULL;
}

/* Another connection may have had the same ones checked meanwhile. */
static void ask(struct auth_check *check, enum auth_kind kind)
{
	size_t statement = check->statement;
	int err;

	if (answer_from_cache(check))
		return;
	check->statement = statement;
	check->asked = true;
	check->auth->asked[kind]++;
	check->lane->asked[kind]++;
	err = sources[kind]->ask(check);
	if (!err)
		return;
	check->auth->asked[kind]--;
	check->lane->asked[kind]--;
	check->asked = false;
	limit_right(check->auth->limit, &check->key);
	tell_soon(check, ERR_UNAVAILABLE);
}

static void run_next(struct auth *auth)
{
	for (enum auth_kind kind = 0; kind < AUTH_KINDS; kind++) {
		struct auth_check *check;

		while (auth->asked[kind] < sources[kind]->places &&
		       (check = take_next(auth, kind)) != NULL)
			ask(check, kind);
	}
}

static void tell_late_ones(struct auth *auth)
{
	struct auth_check **at = &auth->late.first;

	while (*at) {
		struct auth_check *check = *at;

		if (check->not_before > loop_now(auth->loop))
			at = &check->next;
		else
			tell_soon(leave(at), check->verdict);
	}
}

static void look_at_held(struct timer *timer)
{
	struct auth *auth = (struct auth *)((char *)timer - offsetof(struct auth, tick));

	auth->ticking = false;
	tell_late_ones(auth);
	for (size_t i = 0; i < AUTH_LANES; i++)
		admit(auth, &auth->lanes[i]);
	tick_if_needed(auth);
	run_next(auth);
}

/* `user` is what the limits count by. NULL without memory. */
static struct auth_check *check_new(struct auth *auth, struct config *config,
    const struct auth_client *client, const void *user, size_t user_len)
{
	struct auth_check *check = calloc(1, sizeof(*check));
	int err = 0;

	if (!check)
		return NULL;
	/* A changed `workers` takes effect at the next start, so one look is enough. */
	if (!auth->limit)
		err = limit_new(&auth->limit, config_workers(config));
	if (!err)
		err = limit_key(auth->limit, &client->ip, user, user_len, &check->key);
	if (err) {
		free(check);
		return NULL;
	}
	check->lane = lane_of(auth, &client->ip);
	check->auth = auth;
	check->loop = auth->loop;
	check->config = config_ref(config);
	check->client = *client;
	check->verdict = ERR_AUTH;
	return check;
}

static size_t waiting_in(const struct auth_lane *lane)
{
	size_t n = lane->held.n;

	for (size_t kind = 0; kind < AUTH_KINDS; kind++)
		n += lane->ready[kind].n;
	return n;
}

/* Behind those of the same source who are held already. */
static void start(struct auth_check *check, auth_fn *fn, void *ctx, struct auth_check **ret_check)
{
	struct auth_lane *lane = check->lane;

	check->fn = fn;
	check->ctx = ctx;
	*ret_check = check;
	enter(check, &lane->held);
	admit(check->auth, lane);
	run_next(check->auth);
}

int auth_check_start(struct auth *auth, struct config *config, const struct auth_client *client,
    const struct accept *accept, auth_fn *fn, void *ctx, struct auth_check **ret_check)
{
	struct auth_check *check;

	if (waiting_in(lane_of(auth, &client->ip)) >= AUTH_LANE_MAX)
		return ERR_UNAVAILABLE;
	check = check_new(auth, config, client, accept->user, accept->user_len);
	if (!check)
		return -ENOMEM;
	check->user_len = accept->user_len;
	check->password_len = accept->password_len;
	memcpy(check->user, accept->user, accept->user_len);
	memcpy(check->password, accept->password, accept->password_len);
	start(check, fn, ctx, ret_check);
	return 0;
}

/* Nobody knows the user yet, so the source is counted twice. */
int auth_login_start(struct auth *auth, struct config *config, const struct auth_client *client,
    struct gssapi *login, auth_fn *fn, void *ctx, struct auth_check **ret_check)
{
	size_t len = ip_is_v4(&client->ip) ? sizeof(client->ip.b) : sizeof(client->ip.b) / 2;
	struct auth_check *check;

	if (waiting_in(lane_of(auth, &client->ip)) >= AUTH_LANE_MAX)
		return ERR_UNAVAILABLE;
	check = check_new(auth, config, client, client->ip.b, len);
	if (!check)
		return -ENOMEM;
	check->login = login;
	start(check, fn, ctx, ret_check);
	return 0;
}

struct gssapi *auth_check_take_login(struct auth_check *check)
{
	struct gssapi *login = check->login;

	check->login = NULL;
	return login;
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
		if (check->asked && sources[kind_of(check)]->cancel)
			sources[kind_of(check)]->cancel(check);
		return;
	}
	at = &check->queue->first;
	while (*at != check)
		at = &(*at)->next;
	check_free(leave(at));
}
