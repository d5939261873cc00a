/* SPDX-License-Identifier: MIT */
#include "server/rates.h"

#include <stdlib.h>

void rates_fini(struct rates *all)
{
	free(all->list);
	*all = (struct rates){0};
}

bool rates_number(struct rates *all, const struct decision *d, uint64_t now, uint16_t *ret_number)
{
	struct rate *list;
	size_t i = 0;

	*ret_number = 0;
	if (d->rate == 0)
		return true;
	while (i < all->n && all->list[i].rule != d->rule)
		i++;
	if (i == UINT16_MAX)
		return false;
	if (i == all->n) {
		list = realloc(all->list, (all->n + 1) * sizeof(*list));
		if (!list)
			return false;
		all->list = list;
		all->n++;
		list[i].rule = d->rule;
		bucket_init(&list[i].bucket[RATE_UP], d->rate, now);
		bucket_init(&list[i].bucket[RATE_DOWN], d->rate, now);
	}
	*ret_number = (uint16_t)(i + 1);
	return true;
}

bool rates_take(
    struct rates *all, uint16_t number, enum rate_direction way, size_t len, uint64_t now)
{
	return number == 0 ||
	       bucket_take(&all->list[number - 1].bucket[way], len + RATE_HEADERS, now);
}
