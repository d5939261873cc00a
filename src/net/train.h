/* SPDX-License-Identifier: MIT */
/*
 * Which datagrams may leave as one: what udp(7) calls segmentation offload (UDP_SEGMENT).
 *
 * The kernel cuts a train into datagrams of one size, of which the last may be shorter. So all that
 * must be kept of them is where they go, the size, and how many there are. Pure: what is done with
 * it is net/datagram.
 */
#ifndef TABI_NET_TRAIN_H
#define TABI_NET_TRAIN_H

#include "proto/addr.h"

/* Datagrams in one (UDP_MAX_SEGMENTS of kernels before 6.9). */
#define TRAIN_MAX 64
/* Bytes in one: what fits into a packet of IPv4 (and of IPv6, where 20 more would). */
#define TRAIN_BYTES 65507

/* Zeroed is empty. */
struct train {
	struct ip to;
	uint16_t port;
	unsigned n;
	size_t segment; /* bytes of each datagram but the last, which has at most so many */
	size_t len;     /* bytes of all */
};

/* May a datagram of `len` bytes to there be the next? An empty train takes any up to TRAIN_BYTES.
 */
bool train_takes(const struct train *train, const struct ip *to, uint16_t port, size_t len);

/* Only where it may. */
void train_add(struct train *train, const struct ip *to, uint16_t port, size_t len);

#endif
