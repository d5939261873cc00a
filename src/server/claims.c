/* SPDX-License-Identifier: MIT */
/* A hash table of intrusive lists. */
#include "server/claims.h"

#include <stdlib.h>
#include <string.h>

#define LISTS_FIRST 64

void claims_fini(struct claims *all)
{
	free(all->list);
	*all = (struct claims){0};
}

static struct claim_list *list_of(const struct claims *all, const struct ip *ip, uint16_t port)
{
	uint64_t word[2];

	if (!all->list)
		return (struct claim_list *)(uintptr_t)&all->one;
	memcpy(word, ip->b, sizeof(word));
	word[0] ^= word[1] * 0x9e3779b97f4a7c15u;
	word[0] ^= (uint64_t)port * 0xc2b2ae3d27d4eb4fu;
	word[0] *= 0xff51afd7ed558ccdu;
	return &all->list[(size_t)(word[0] >> 32) & (all->n_lists - 1)];
}

static void append(struct claims *all, struct claim *c)
{
	struct claim_list *l = list_of(all, &c->ip, c->port);

	c->prev = l->last;
	c->next = NULL;
	if (l->last)
		l->last->next = c;
	else
		l->first = c;
	l->last = c;
}

/* Each list splits in its own order, so that what is equal stays in order. */
static void grow(struct claims *all)
{
	size_t n_old = all->n_lists;
	struct claim_list *old = all->list, one = all->one;
	size_t n = n_old > 0 ? n_old * 4 : LISTS_FIRST;
	struct claim_list *list = calloc(n, sizeof(*list));

	if (!list)
		return;
	all->list = list;
	all->n_lists = n;
	all->one = (struct claim_list){0};
	for (size_t i = 0; i < (old ? n_old : 1); i++) {
		struct claim *c = old ? old[i].first : one.first, *next;

		for (; c; c = next) {
			next = c->next;
			append(all, c);
		}
	}
	free(old);
}

void claim_make(
    struct claims *all, struct claim *c, enum claim_kind kind, const struct ip *ip, uint16_t port)
{
	*c = (struct claim){.ip = *ip, .port = port, .kind = (uint8_t)kind, .made = true};
	if (all->n >= (all->n_lists > 0 ? all->n_lists * 2 : 4))
		grow(all);
	append(all, c);
	all->n++;
}

void claim_drop(struct claims *all, struct claim *c)
{
	struct claim_list *l;

	if (!c->made)
		return;
	l = list_of(all, &c->ip, c->port);
	if (c->prev)
		c->prev->next = c->next;
	else
		l->first = c->next;
	if (c->next)
		c->next->prev = c->prev;
	else
		l->last = c->prev;
	c->made = false;
	all->n--;
}

struct claim *claims_find(
    const struct claims *all, enum claim_kind kind, const struct ip *ip, uint16_t port)
{
	struct claim *c = list_of(all, ip, port)->first;

	while (c && (c->kind != kind || c->port != port || !ip_equal(&c->ip, ip)))
		c = c->next;
	return c;
}
