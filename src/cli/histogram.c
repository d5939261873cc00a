/* SPDX-License-Identifier: MIT */
#include "cli/histogram.h"

#define FINE (UINT64_C(1) << HISTOGRAM_FINE)

/* How far a value is shifted right so that HISTOGRAM_FINE + 1 bits of it are left. */
static unsigned shift_of(uint64_t value)
{
	unsigned top = 63 - (unsigned)__builtin_clzll(value | 1);

	return top > HISTOGRAM_FINE ? top - HISTOGRAM_FINE : 0;
}

/* Buckets of one width follow those of the next smaller one; the first two powers share theirs. */
static size_t bucket_of(uint64_t value)
{
	unsigned shift = shift_of(value);
	size_t i = (size_t)(shift * FINE + (value >> shift));

	return i < HISTOGRAM_BUCKETS ? i : HISTOGRAM_BUCKETS - 1;
}

static uint64_t last_of(size_t bucket)
{
	unsigned shift = bucket < 2 * FINE ? 0 : (unsigned)(bucket / FINE - 1);

	return ((bucket - shift * FINE + 1) << shift) - 1;
}

void histogram_add(struct histogram *h, uint64_t value)
{
	h->n++;
	h->buckets[bucket_of(value)]++;
	if (value > h->max)
		h->max = value;
}

uint64_t histogram_at(const struct histogram *h, double share)
{
	double wanted = share * (double)h->n;
	uint64_t seen = 0;

	for (size_t i = 0; i < HISTOGRAM_BUCKETS - 1; i++) {
		seen += h->buckets[i];
		if (seen > 0 && (double)seen >= wanted)
			return last_of(i) < h->max ? last_of(i) : h->max;
	}
	return h->max;
}
