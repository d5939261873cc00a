/* SPDX-License-Identifier: MIT */
/* A bounded list of names, each with a bounded queue. */
#include "server/names.h"

#include <stdlib.h>
#include <string.h>

static void name_free(struct name *name)
{
	struct held *h;

	resolve_cancel(&name->wait);
	while ((h = name_take(name)) != NULL)
		free(h);
	free(name);
}

void names_fini(struct names *all)
{
	for (size_t i = 0; i < all->n; i++)
		name_free(all->list[i]);
	all->n = 0;
}

struct name *names_find(struct names *all, const struct socks5_address *address)
{
	for (size_t i = 0; i < all->n; i++) {
		struct name *name = all->list[i];

		if (name->port == address->port && name->len == address->host_len &&
		    memcmp(name->text, address->host, name->len) == 0)
			return name;
	}
	return NULL;
}

static bool may_be(const struct name *n, const struct addr *from)
{
	if (from->kind == ADDR_NAME)
		return n->port == from->port && n->len == from->name_len &&
		       memcmp(n->text, from->name, n->len) == 0;
	return n->port == from->port ||
	       (n->grant.filter >= FILTER_ADDRESS && n->answered && ip_equal(&n->ip, &from->ip));
}

struct name *names_find_speaker(
    const struct names *all, const struct policy_proxy *via, const struct addr *from)
{
	for (size_t i = 0; i < all->n; i++) {
		struct name *n = all->list[i];

		if (n->named && n->sent && n->grant.via == via && may_be(n, from))
			return n;
	}
	return NULL;
}

/* The place of the one to be given up, or `all->n` where none may be. */
static size_t oldest(const struct names *all)
{
	size_t best = all->n;

	for (size_t i = 0; i < all->n; i++)
		if (!all->list[i]->resolving &&
		    (best == all->n || all->list[i]->used < all->list[best]->used))
			best = i;
	return best;
}

struct name *names_add(struct names *all, const struct addr *addr)
{
	size_t place = all->n < NAMES_MAX ? all->n : oldest(all);
	struct name *name = place < NAMES_MAX ? calloc(1, sizeof(*name)) : NULL;

	if (!name)
		return NULL;
	if (place < all->n)
		name_free(all->list[place]);
	else
		all->n++;
	all->list[place] = name;
	name->all = all;
	name->port = addr->port;
	name->len = addr->name_len;
	memcpy(name->text, addr->name, (size_t)addr->name_len + 1);
	name->last = &name->first;
	return name;
}

bool name_hold(struct name *name, const void *data, size_t len)
{
	struct names *all = name->all;
	struct held *h;

	if (name->n_held == NAME_WAITING_MAX || len > NAMES_WAITING_BYTES - all->held_bytes)
		return false;
	h = malloc(sizeof(*h) + len);
	if (!h)
		return false;
	h->next = NULL;
	h->len = len;
	if (len > 0)
		memcpy(h->data, data, len);
	*name->last = h;
	name->last = &h->next;
	name->n_held++;
	all->n_held++;
	all->held_bytes += len;
	return true;
}

struct held *name_take(struct name *name)
{
	struct held *h = name->first;

	if (!h)
		return NULL;
	name->first = h->next;
	if (!name->first)
		name->last = &name->first;
	name->n_held--;
	name->all->n_held--;
	name->all->held_bytes -= h->len;
	return h;
}
