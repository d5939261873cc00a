/* SPDX-License-Identifier: MIT */
/* A small table of remotes with a bound. */
#include "server/remotes.h"

#include <stdlib.h>
#include <string.h>

void remotes_fini(struct remotes *all)
{
	free(all->list);
	*all = (struct remotes){0};
}

static size_t hash_of(const struct ip *ip, uint16_t port)
{
	uint64_t word[2];

	memcpy(word, ip->b, sizeof(word));
	word[0] ^= word[1] * 0x9e3779b97f4a7c15u;
	word[0] ^= (uint64_t)port * 0xc2b2ae3d27d4eb4fu;
	word[0] *= 0xff51afd7ed558ccdu;
	return (size_t)(word[0] >> 32);
}

static struct remote *set_of(const struct remotes *all, const struct ip *ip, uint16_t port)
{
	return all->list + (hash_of(ip, port) & (all->n_sets - 1)) * REMOTE_WAYS;
}

static bool is(const struct remote *r, const struct ip *ip, uint16_t port)
{
	return r->known && r->port == port && ip_equal(&r->ip, ip);
}

struct remote *remotes_find(const struct remotes *all, const struct ip *ip, uint16_t port)
{
	struct remote *set;

	if (all->n_sets == 0)
		return NULL;
	set = set_of(all, ip, port);
	for (size_t i = 0; i < REMOTE_WAYS; i++)
		if (is(&set[i], ip, port))
			return &set[i];
	return NULL;
}

/* The entry to be given up: a free one, or that which was used longest ago. */
static struct remote *oldest(struct remote *set)
{
	struct remote *best = set;

	for (size_t i = 0; i < REMOTE_WAYS; i++) {
		if (!set[i].known)
			return &set[i];
		if (set[i].used < best->used)
			best = &set[i];
	}
	return best;
}

/* Twice as many sets. Each splits in two, so that all entries find room. */
static bool grow(struct remotes *all)
{
	size_t n = all->n_sets > 0 ? all->n_sets * 2 : 1;
	struct remotes more = {.list = calloc(n * REMOTE_WAYS, sizeof(*more.list)), .n_sets = n};

	if (!more.list)
		return false;
	for (size_t i = 0; i < all->n_sets * REMOTE_WAYS; i++) {
		const struct remote *r = &all->list[i];

		if (r->known)
			*oldest(set_of(&more, &r->ip, r->port)) = *r;
	}
	free(all->list);
	*all = more;
	return true;
}

struct remote *remotes_get(
    struct remotes *all, const struct ip *ip, uint16_t port, uint64_t now, uint64_t old)
{
	struct remote *r = remotes_find(all, ip, port);

	if (!r) {
		if (all->n_sets == 0 && !grow(all))
			return NULL;
		r = oldest(set_of(all, ip, port));
		if (r->known && r->used >= old && all->n_sets < REMOTES_MAX / REMOTE_WAYS &&
		    grow(all))
			r = oldest(set_of(all, ip, port));
		*r = (struct remote){.ip = *ip, .port = port, .known = true};
	}
	r->used = now;
	return r;
}

struct remote *remotes_find_address(
    const struct remotes *all, const struct ip *ip, const struct policy_proxy *via, unsigned filter)
{
	for (size_t i = 0; i < all->n_sets * REMOTE_WAYS; i++) {
		struct remote *r = &all->list[i];

		if (r->known && r->sent && r->via == via && r->filter >= filter &&
		    ip_equal(&r->ip, ip))
			return r;
	}
	return NULL;
}
