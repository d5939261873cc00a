/* SPDX-License-Identifier: MIT */
/*
 * A token bucket: how much may pass so that a rate is kept over time.
 *
 * It starts full and holds a quarter of a second's worth, but one longest datagram at least, so in
 * any time no more passes than that and what the rate gives in this time. The clock is the caller's
 * and counts milliseconds; where it stands still or runs back, nothing is added.
 */
#ifndef TABI_POLICY_BUCKET_H
#define TABI_POLICY_BUCKET_H

#include <stdbool.h>
#include <stdint.h>

/* The least that a full bucket holds, in bytes: the longest IP packet. */
#define BUCKET_LEAST 65535

struct bucket {
	uint64_t rate;  /* bytes per second */
	uint64_t level; /* thousandths of a byte */
	uint64_t at;    /* when it had that level */
};

/* `rate` is in bytes per second, at least 1. */
void bucket_init(struct bucket *bucket, uint64_t rate, uint64_t now);

/* Takes `bytes` if there are so many, and nothing otherwise. */
bool bucket_take(struct bucket *bucket, uint64_t bytes, uint64_t now);

#endif
