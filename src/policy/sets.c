/* SPDX-License-Identifier: MIT */
#include "policy/sets.h"

#include <stdlib.h>
#include <string.h>

/* Where IPv4 lies in the canonical form: ::ffff:0:0/96. */
static const struct ip v4_first = {{[10] = 0xff, [11] = 0xff}};
static const struct ip v4_last = {
    {[10] = 0xff, [11] = 0xff, [12] = 0xff, [13] = 0xff, [14] = 0xff, [15] = 0xff}};
static const struct ip v6_first = {{0}};
static const struct ip v6_last = {{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
    0xff, 0xff, 0xff, 0xff, 0xff}};

#define V4_BITS 96 /* of the canonical form before the four bytes of IPv4 */

/* The next address up; the highest one wraps. */
static struct ip after(struct ip ip)
{
	for (int i = 15; i >= 0 && ++ip.b[i] == 0; i--)
		;
	return ip;
}

static struct ip before(struct ip ip)
{
	for (int i = 15; i >= 0 && ip.b[i]-- == 0; i--)
		;
	return ip;
}

static uint8_t mask_byte(unsigned prefix, unsigned byte)
{
	unsigned bits = prefix > byte * 8 ? prefix - byte * 8 : 0;

	return bits >= 8 ? 0xff : (uint8_t)(0xff00 >> bits);
}

struct ip net_base(const struct ip *ip, unsigned prefix)
{
	struct ip base = *ip;

	for (unsigned i = 0; i < 16; i++)
		base.b[i] &= mask_byte(prefix, i);
	return base;
}

static bool append(struct ip_range **list, size_t *n, struct arena *a, const struct ip *first,
    const struct ip *last)
{
	struct ip_range *ranges = arena_append(a, *list, *n, sizeof(*ranges));

	if (!ranges)
		return false;
	*list = ranges;
	ranges[(*n)++] = (struct ip_range){*first, *last};
	return true;
}

static bool add_range(
    struct net_set *s, struct arena *a, const struct ip *first, const struct ip *last)
{
	/* No net begins and ends in multicast without lying there: the two blocks are apart. */
	if (ip_own_classes(first) & ip_own_classes(last) & IP_MULTICAST &&
	    ip_is_v4(first) == ip_is_v4(last) && !append(&s->groups, &s->n_groups, a, first, last))
		return false;
	return append(&s->ranges, &s->n, a, first, last);
}

bool net_set_add(struct net_set *s, struct arena *a, const struct ip *net, unsigned prefix)
{
	struct ip first = net_base(net, prefix), last = first, edge;

	for (unsigned i = 0; i < 16; i++)
		last.b[i] |= (uint8_t)~mask_byte(prefix, i);
	if (prefix < (ip_is_v4(net) ? V4_BITS + 8 : 16))
		s->wide = true;
	if (prefix >= V4_BITS || ip_compare(&first, &v4_first) > 0 ||
	    ip_compare(&last, &v4_last) < 0)
		return add_range(s, a, &first, &last);
	/* All of IPv4 lies in this net of IPv6: leave it out. The net begins before it, and may end
	 * with it. */
	edge = before(v4_first);
	if (!add_range(s, a, &first, &edge))
		return false;
	edge = after(v4_last);
	return ip_compare(&last, &v4_last) == 0 || add_range(s, a, &edge, &last);
}

static int compare_ranges(const void *a, const void *b)
{
	const struct ip_range *x = a, *y = b;

	return ip_compare(&x->first, &y->first);
}

/* Is all of first..last in one range of the set? */
static bool covers(const struct net_set *s, const struct ip *first, const struct ip *last)
{
	for (size_t i = 0; i < s->n; i++)
		if (ip_compare(&s->ranges[i].first, first) <= 0 &&
		    ip_compare(&s->ranges[i].last, last) >= 0)
			return true;
	return false;
}

/* Sorts and merges `count` ranges, at least one; returns how many are left. */
static size_t tidy(struct ip_range *ranges, size_t count)
{
	size_t n = 0;

	qsort(ranges, count, sizeof(*ranges), compare_ranges);
	for (size_t i = 1; i < count; i++) {
		struct ip_range *top = &ranges[n], *next = &ranges[i];
		struct ip touch = after(top->last);

		/* The highest address has none after it, so it swallows whatever follows. */
		if (ip_compare(&next->first, &touch) <= 0 ||
		    ip_compare(&top->last, &v6_last) == 0) {
			if (ip_compare(&next->last, &top->last) > 0)
				top->last = next->last;
		} else {
			ranges[++n] = *next;
		}
	}
	return n + 1;
}

void net_set_close(struct net_set *s)
{
	struct ip low_end = before(v4_first), high_start = after(v4_last);

	if (s->n == 0)
		return;
	s->n = tidy(s->ranges, s->n);
	if (s->n_groups > 0)
		s->n_groups = tidy(s->groups, s->n_groups);
	s->all_v4 = covers(s, &v4_first, &v4_last);
	s->all_v6 = covers(s, &v6_first, &low_end) && covers(s, &high_start, &v6_last);
}

static bool have(const struct ip_range *ranges, size_t n, const struct ip *ip)
{
	size_t low = 0, high = n;

	/* The last range that does not begin behind the address. */
	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (ip_compare(&ranges[middle].first, ip) <= 0)
			low = middle + 1;
		else
			high = middle;
	}
	return low > 0 && ip_compare(ip, &ranges[low - 1].last) <= 0;
}

bool net_set_has(const struct net_set *s, const struct ip *ip)
{
	return have(s->ranges, s->n, ip);
}

bool net_set_names_group(const struct net_set *s, const struct ip *ip)
{
	return have(s->groups, s->n_groups, ip);
}

bool net_set_meets(const struct net_set *a, const struct net_set *b)
{
	/* Of two ranges that overlap one holds the beginning of the other. */
	for (size_t i = 0; i < a->n; i++)
		if (net_set_has(b, &a->ranges[i].first))
			return true;
	for (size_t i = 0; i < b->n; i++)
		if (net_set_has(a, &b->ranges[i].first))
			return true;
	return false;
}

/* What a name in the table stands for. */
struct host_entry {
	bool itself, below;
};

bool host_set_add(struct host_set *s, struct arena *a, const char *name, size_t len, bool below)
{
	struct host_entry *entry = table_get(&s->names, name, len);

	if (!entry) {
		const char *key = arena_copy(a, name, len);

		entry = arena_alloc(a, sizeof(*entry));
		if (!key || !entry || !table_put(&s->names, a, key, len, entry))
			return false;
	}
	if (below)
		entry->below = true;
	else
		entry->itself = true;
	return true;
}

bool host_set_has(const struct host_set *s, const char *name, size_t len)
{
	uint32_t hash = TABLE_HASH_START;

	if (s->any)
		return true;
	/* One look-up for each suffix that begins at a label, from the shortest on. */
	for (size_t i = len; i > 0; i--) {
		const struct host_entry *entry;

		hash = table_hash_step(hash, name[i - 1]);
		if (i > 1 && name[i - 2] != '.')
			continue;
		entry = table_get_hashed(&s->names, hash, name + i - 1, len - i + 1);
		if (entry && (i == 1 ? entry->itself : entry->below))
			return true;
	}
	return false;
}

bool string_set_add(struct string_set *s, struct arena *a, const char *text, size_t len)
{
	/* The value only says "there"; any pointer that is not NULL would do. */
	return table_get(&s->strings, text, len) || table_put(&s->strings, a, text, len, s);
}

bool string_set_has(const struct string_set *s, const char *text, size_t len)
{
	return table_get(&s->strings, text, len) != NULL;
}

bool string_set_meets(const struct string_set *a, const struct string_set *b)
{
	for (size_t i = 0; i < a->strings.size; i++) {
		const struct table_slot *slot = &a->strings.slots[i];

		if (slot->key && string_set_has(b, slot->key, slot->len))
			return true;
	}
	return false;
}
