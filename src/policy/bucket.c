/* SPDX-License-Identifier: MIT */
#include "policy/bucket.h"

/* Beyond this it is no limit, and its thousandths would not fit. */
#define RATE_MAX ((uint64_t)1 << 50)

static uint64_t capacity(const struct bucket *b)
{
	uint64_t bytes = b->rate / 4;

	return (bytes > BUCKET_LEAST ? bytes : BUCKET_LEAST) * 1000;
}

void bucket_init(struct bucket *b, uint64_t rate, uint64_t now)
{
	b->rate = rate < RATE_MAX ? rate : RATE_MAX;
	b->level = capacity(b);
	b->at = now;
}

/* A thousandth of a second at so many bytes a second: so many thousandths of a byte. */
static void fill(struct bucket *b, uint64_t now)
{
	uint64_t room = capacity(b) - b->level, ms;

	if (now <= b->at)
		return;
	ms = now - b->at;
	b->at = now;
	/* Divided, for the product could be too large. */
	b->level += ms > room / b->rate ? room : ms * b->rate;
}

bool bucket_take(struct bucket *b, uint64_t bytes, uint64_t now)
{
	fill(b, now);
	/* What is more than it can hold does not fit its thousandths either. */
	if (bytes > b->level / 1000)
		return false;
	b->level -= bytes * 1000;
	return true;
}
