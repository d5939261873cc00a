/* SPDX-License-Identifier: MIT */
/*
 * How often each value came: of fixed size, whatever the values, to within 1 in 128.
 *
 * Each power of two is split into 128 buckets of equal width, so percentiles are wrong by less than
 * 0.8 percent from nanoseconds to hours.
 */
#ifndef TABI_CLI_HISTOGRAM_H
#define TABI_CLI_HISTOGRAM_H

#include <stddef.h>
#include <stdint.h>

/* Values from 2^HISTOGRAM_BITS on are counted in the last bucket. */
#define HISTOGRAM_BITS 44
#define HISTOGRAM_FINE 7
#define HISTOGRAM_BUCKETS ((size_t)(HISTOGRAM_BITS - HISTOGRAM_FINE + 1) << HISTOGRAM_FINE)

/* All zeros is an empty one. */
struct histogram {
	uint64_t n;
	uint64_t max; /* exact */
	uint64_t buckets[HISTOGRAM_BUCKETS];
};

void histogram_add(struct histogram *h, uint64_t value);

/* The least value that `share` of all (0 to 1) do not exceed, rounded up to the end of its bucket,
 * but never above the greatest. 0 of an empty histogram. */
uint64_t histogram_at(const struct histogram *h, double share);

#endif
