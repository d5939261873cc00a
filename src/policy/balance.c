/* SPDX-License-Identifier: MIT */
#include "policy/balance.h"

#include <string.h>

/* FNV-1a, 64 bits: short texts, and nobody gains anything by a collision. */
uint64_t balance_key(const void *bytes, size_t len)
{
	const unsigned char *at = bytes;
	uint64_t hash = 0xcbf29ce484222325u;

	for (size_t i = 0; i < len; i++)
		hash = (hash ^ at[i]) * 0x100000001b3u;
	return hash;
}

uint64_t balance_id(const char *text)
{
	return balance_key(text, strlen(text));
}

/* The finalizer of SplitMix64. */
uint64_t balance_mix(uint64_t x)
{
	x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9u;
	x = (x ^ x >> 27) * 0x94d049bb133111ebu;
	return x ^ x >> 31;
}

/* Is it as good as any, as far as one knows? Once it has rested, for the one who tries it. */
static bool is_open(const struct balance_member *m, uint64_t now)
{
	return m->failures == 0 || (now >= m->rests_to && !m->tried);
}

/*
 * What a member is worth: the highest is chosen. By rendezvous (BALANCE_HASH) each client has an
 * order of its own, so when a member goes only its clients move, and each to another place.
 */
static uint64_t worth(const struct balance_request *r, const struct balance_member *m, size_t index)
{
	switch (r->how) {
	case BALANCE_FIRST:
		return UINT64_MAX - index;
	case BALANCE_LEAST:
		return (uint64_t)(UINT32_MAX - m->sessions) << 32 |
		       balance_mix(r->chance + index * 0x9e3779b97f4a7c15u) >> 32;
	case BALANCE_HASH:
		return balance_mix(r->key ^ balance_mix(m->id));
	case BALANCE_RANDOM:
		break;
	}
	return balance_mix(r->chance + index * 0x9e3779b97f4a7c15u);
}

/* Is `m` the better choice of the two? */
static bool is_better(const struct balance_request *r, const struct balance_member *const *members,
    size_t m, size_t best)
{
	const bool open = is_open(members[m], r->now), best_open = is_open(members[best], r->now);

	if (open != best_open)
		return open;
	if (!open && members[m]->rests_to != members[best]->rests_to)
		return members[m]->rests_to < members[best]->rests_to;
	return worth(r, members[m], m) > worth(r, members[best], best);
}

size_t balance_choose(
    const struct balance_request *r, const struct balance_member *const *members, size_t n)
{
	size_t best = BALANCE_NONE;

	for (size_t i = 0; i < n && i < POLICY_MEMBERS_MAX; i++)
		if (!(r->failed >> i & 1) &&
		    (best == BALANCE_NONE || is_better(r, members, i, best)))
			best = i;
	return best;
}

void balance_begin(struct balance_member *m, uint64_t now)
{
	m->sessions++;
	if (m->failures > 0 && now >= m->rests_to)
		m->tried = true;
}

bool balance_worked(struct balance_member *m)
{
	const bool was_ill = m->failures > 0;

	m->failures = 0;
	m->tried = false;
	return was_ill;
}

bool balance_failed(struct balance_member *m, uint64_t now)
{
	uint64_t rest = BALANCE_REST_MIN_MS;

	/* Many sessions may meet the same failure: it counts once. */
	if (m->failures > 0 && now < m->rests_to)
		return false;
	for (unsigned i = 0; i < m->failures && rest < BALANCE_REST_MAX_MS; i++)
		rest *= 2;
	m->rests_to = now + (rest < BALANCE_REST_MAX_MS ? rest : BALANCE_REST_MAX_MS);
	if (m->failures < UINT8_MAX)
		m->failures++;
	m->tried = false;
	return true;
}

void balance_unknown(struct balance_member *m)
{
	m->tried = false;
}

void balance_end(struct balance_member *m)
{
	m->sessions -= m->sessions > 0;
}
