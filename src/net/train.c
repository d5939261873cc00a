/* SPDX-License-Identifier: MIT */
#include "net/train.h"

bool train_takes(const struct train *t, const struct ip *to, uint16_t port, size_t len)
{
	if (t->n == 0)
		return len <= TRAIN_BYTES;
	/* One that is shorter than the first is the last; an empty one is none to the kernel. */
	return len > 0 && len <= t->segment && t->len == t->n * t->segment && t->n < TRAIN_MAX &&
	       len <= TRAIN_BYTES - t->len && t->port == port && ip_equal(&t->to, to);
}

void train_add(struct train *t, const struct ip *to, uint16_t port, size_t len)
{
	if (t->n == 0) {
		t->to = *to;
		t->port = port;
		t->segment = len;
	}
	t->len += len;
	t->n++;
}
