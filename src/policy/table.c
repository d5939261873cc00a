/* SPDX-License-Identifier: MIT */
#include "policy/table.h"

#include <string.h>

uint32_t table_hash_step(uint32_t hash, char c)
{
	return (hash ^ (unsigned char)c) * 16777619u;
}

uint32_t table_hash(const char *key, size_t len)
{
	uint32_t hash = TABLE_HASH_START;

	while (len > 0)
		hash = table_hash_step(hash, key[--len]);
	return hash;
}

/* Where `key` stands or would stand. There is always a free slot to stop at. */
static struct table_slot *find(const struct table *t, uint32_t hash, const char *key, size_t len)
{
	/* FNV's low bits are its weak ones. */
	size_t i = (hash ^ hash >> 15) & (t->size - 1);

	while (t->slots[i].key) {
		const struct table_slot *s = &t->slots[i];

		if (s->hash == hash && s->len == len && memcmp(s->key, key, len) == 0)
			break;
		i = (i + 1) & (t->size - 1);
	}
	return &t->slots[i];
}

void *table_get_hashed(const struct table *t, uint32_t hash, const char *key, size_t len)
{
	return t->size == 0 ? NULL : find(t, hash, key, len)->value;
}

void *table_get(const struct table *t, const char *key, size_t len)
{
	return table_get_hashed(t, table_hash(key, len), key, len);
}

static bool grow(struct table *t, struct arena *a)
{
	struct table bigger = {.size = t->size == 0 ? 8 : t->size * 2, .n = t->n};

	bigger.slots = arena_alloc(a, bigger.size * sizeof(*bigger.slots));
	if (!bigger.slots)
		return false;
	for (size_t i = 0; i < t->size; i++) {
		const struct table_slot *s = &t->slots[i];

		if (s->key)
			*find(&bigger, s->hash, s->key, s->len) = *s;
	}
	*t = bigger;
	return true;
}

bool table_put(struct table *t, struct arena *a, const char *key, size_t len, void *value)
{
	uint32_t hash = table_hash(key, len);

	if (2 * (t->n + 1) > t->size && !grow(t, a))
		return false;
	*find(t, hash, key, len) =
	    (struct table_slot){.key = key, .len = len, .hash = hash, .value = value};
	t->n++;
	return true;
}
