/* SPDX-License-Identifier: MIT */
#include "server/auth/limit.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "server/auth/keyed.h"

#define SETS (LIMIT_ENTRIES / LIMIT_WAYS)

struct entry {
	uint64_t key;
	uint64_t used;    /* when a token was last taken */
	uint64_t full_at; /* when the bucket is or was full again: each token missing moves it on */
	uint64_t wrong_at; /* of a source, when it was last wrong */
	bool taken, was_wrong;
};

struct table {
	struct entry entries[SETS][LIMIT_WAYS];
};

struct limit {
	struct keyed keyed;
	uint64_t period; /* in which a token comes back */
	uint64_t burst;
	struct table sources, users;
};

int limit_new(struct limit **ret_limit, unsigned workers)
{
	struct limit *limit = calloc(1, sizeof(*limit));
	int err;

	if (!limit)
		return -ENOMEM;
	limit->period = 1000 / LIMIT_PER_SECOND * workers;
	limit->burst = LIMIT_BURST > workers ? LIMIT_BURST / workers : 1;
	err = keyed_init(&limit->keyed);
	if (err)
		limit_free(limit);
	else
		*ret_limit = limit;
	return err;
}

void limit_free(struct limit *limit)
{
	if (!limit)
		return;
	keyed_fini(&limit->keyed);
	free(limit);
}

static int hash(const struct limit *limit, const void *data, size_t len, uint64_t *ret_hash)
{
	uint8_t digest[KEYED_DIGEST];
	int err = keyed_hash(&limit->keyed, data, len, digest);

	memcpy(ret_hash, digest, sizeof(*ret_hash));
	return err;
}

int limit_key(const struct limit *limit, const struct ip *source, const char *user, size_t user_len,
    struct limit_key *ret_key)
{
	/* Whoever has one address of a /64 has them all. */
	int err = hash(limit, source->b, ip_is_v4(source) ? 16 : 8, &ret_key->source);

	ret_key->from_user = false;
	return err ? err : hash(limit, user, user_len, &ret_key->user);
}

/* NULL where it is not known, and so full. */
static struct entry *find(struct table *table, uint64_t key)
{
	struct entry *set = table->entries[key % SETS];

	for (size_t i = 0; i < LIMIT_WAYS; i++)
		if (set[i].taken && set[i].key == key)
			return &set[i];
	return NULL;
}

static struct entry *find_or_make(struct table *table, uint64_t key)
{
	struct entry *e = find(table, key);
	struct entry *set = table->entries[key % SETS];

	if (e)
		return e;
	e = &set[0];
	for (size_t i = 1; i < LIMIT_WAYS && e->taken; i++)
		if (!set[i].taken || set[i].used < e->used)
			e = &set[i];
	*e = (struct entry){.key = key, .taken = true};
	return e;
}

static bool is_empty(const struct limit *limit, const struct entry *e, uint64_t now)
{
	return e && e->full_at > now + (limit->burst - 1) * limit->period;
}

static bool was_wrong_lately(const struct entry *source, uint64_t now)
{
	return source && source->was_wrong && now < source->wrong_at + LIMIT_LATELY_MS;
}

static void take(struct limit *limit, struct entry *e, uint64_t now)
{
	e->full_at = (e->full_at > now ? e->full_at : now) + limit->period;
	e->used = now;
}

static void give_back(const struct limit *limit, struct entry *e)
{
	if (e && e->full_at >= limit->period)
		e->full_at -= limit->period;
}

bool limit_take(struct limit *limit, struct limit_key *key, uint64_t now)
{
	const struct entry *source = find(&limit->sources, key->source);
	const struct entry *user = find(&limit->users, key->user);

	if (is_empty(limit, source, now))
		return false;
	key->from_user = !is_empty(limit, user, now);
	if (!key->from_user && was_wrong_lately(source, now))
		return false;
	take(limit, find_or_make(&limit->sources, key->source), now);
	if (key->from_user)
		take(limit, find_or_make(&limit->users, key->user), now);
	return true;
}

void limit_right(struct limit *limit, const struct limit_key *key)
{
	give_back(limit, find(&limit->sources, key->source));
	/* Or the owner's logins would pay for the guesses of others. */
	if (key->from_user)
		give_back(limit, find(&limit->users, key->user));
}

void limit_wrong(struct limit *limit, const struct limit_key *key, uint64_t now)
{
	struct entry *source = find(&limit->sources, key->source);

	if (!source)
		return;
	source->was_wrong = true;
	source->wrong_at = now;
}
