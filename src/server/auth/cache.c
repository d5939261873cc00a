/* SPDX-License-Identifier: MIT */
#include "server/auth/cache.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct entry {
	struct cache_digest digest;
	uint64_t until; /* 0: free */
	uint64_t used;  /* the cache's count of uses when it was last of use */
};

struct cache {
	struct keyed keyed;
	uint64_t uses;
	struct entry entries[CACHE_ENTRIES];
};

int cache_new(struct cache **ret_cache)
{
	struct cache *cache = calloc(1, sizeof(*cache));
	int err;

	if (!cache)
		return -ENOMEM;
	err = keyed_init(&cache->keyed);
	if (err)
		cache_free(cache);
	else
		*ret_cache = cache;
	return err;
}

void cache_free(struct cache *cache)
{
	if (!cache)
		return;
	explicit_bzero(cache, sizeof(*cache));
	free(cache);
}

/* A length before each text, or "ab" with "c" would be "a" with "bc". */
static size_t put(uint8_t *at, const char *text, size_t len)
{
	at[0] = (uint8_t)len;
	memcpy(at + 1, text, len);
	return len + 1;
}

int cache_digest(const struct cache *cache, const void *scope, const char *user, size_t user_len,
    const char *password, size_t password_len, struct cache_digest *ret_digest)
{
	uint8_t text[sizeof(scope) + 2 * (1 + CACHE_CREDENTIAL_MAX)];
	size_t len = sizeof(scope);
	int err;

	memcpy(text, &scope, sizeof(scope));
	len += put(text + len, user, user_len);
	len += put(text + len, password, password_len);
	err = keyed_hash(&cache->keyed, text, len, ret_digest->b);
	explicit_bzero(text, sizeof(text));
	return err;
}

/* Looks at every byte, whatever the first ones say. */
static bool same(const struct cache_digest *a, const struct cache_digest *b)
{
	volatile uint8_t diff = 0;

	for (size_t i = 0; i < sizeof(a->b); i++)
		diff |= a->b[i] ^ b->b[i];
	return diff == 0;
}

static struct entry *find(struct cache *cache, const struct cache_digest *digest)
{
	struct entry *found = NULL;

	for (size_t i = 0; i < CACHE_ENTRIES; i++)
		if (same(&cache->entries[i].digest, digest))
			found = &cache->entries[i];
	return found;
}

/* A free entry, or the one that was of no use for longest. */
static struct entry *make_room(struct cache *cache)
{
	struct entry *oldest = &cache->entries[0];

	for (size_t i = 0; i < CACHE_ENTRIES; i++)
		if (cache->entries[i].used < oldest->used)
			oldest = &cache->entries[i];
	return oldest;
}

bool cache_has(struct cache *cache, const struct cache_digest *digest, uint64_t now)
{
	struct entry *e = find(cache, digest);

	if (!e || e->until == 0)
		return false;
	if (now >= e->until) {
		explicit_bzero(e, sizeof(*e));
		return false;
	}
	e->used = ++cache->uses;
	return true;
}

void cache_add(struct cache *cache, const struct cache_digest *digest, uint64_t now)
{
	struct entry *e = find(cache, digest);

	/* Two connections may have had the same credentials checked at once. */
	if (!e)
		e = make_room(cache);
	e->digest = *digest;
	e->until = now + CACHE_MS;
	e->used = ++cache->uses;
}

void cache_drop(struct cache *cache)
{
	explicit_bzero(cache->entries, sizeof(cache->entries));
}
