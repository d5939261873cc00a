/* SPDX-License-Identifier: MIT */
/* Datagrams by recvmmsg(2), sendmmsg(2) and, where it is wanted, in trains (UDP_GRO, UDP_SEGMENT).
 */
#include "cli/bench_batch.h"

#include <errno.h>
#include <linux/sock_diag.h>
#include <netinet/udp.h>
#include <stdlib.h>
#include <string.h>

#define ROOM_BYTES (32 << 20)

int batch_new(struct batch **ret_batch, size_t row)
{
	struct batch *b = calloc(1, sizeof(*b));

	if (!b)
		return -ENOMEM;
	/* Rows one page apart would fight for the same lines of the cache. */
	b->row = (row + 127) / 64 * 64;
	b->data = malloc(b->row * BATCH_MAX);
	if (!b->data) {
		free(b);
		return -ENOMEM;
	}
	for (unsigned i = 0; i < BATCH_MAX; i++) {
		b->parts[i].iov_base = b->data + i * b->row;
		b->msgs[i].msg_hdr.msg_iov = &b->parts[i];
		b->msgs[i].msg_hdr.msg_iovlen = 1;
		b->msgs[i].msg_hdr.msg_name = &b->from[i];
	}
	*ret_batch = b;
	return 0;
}

void batch_free(struct batch *b)
{
	if (!b)
		return;
	free(b->data);
	free(b);
}

int batch_receive(struct batch *b, int fd)
{
	int n;

	for (unsigned i = 0; i < BATCH_MAX; i++) {
		struct msghdr *m = &b->msgs[i].msg_hdr;

		b->parts[i].iov_len = b->row;
		m->msg_namelen = sizeof(b->from[i]);
		m->msg_control = b->control[i].room;
		m->msg_controllen = sizeof(b->control[i].room);
	}
	b->n = 0;
	n = recvmmsg(fd, b->msgs, BATCH_MAX, MSG_DONTWAIT, NULL);
	if (n < 0)
		return errno == EAGAIN ? 0 : -errno;
	b->n = (unsigned)n;
	return n;
}

struct batch_one batch_at(const struct batch *b, unsigned i)
{
	struct msghdr *m = (struct msghdr *)(uintptr_t)&b->msgs[i].msg_hdr;
	struct batch_one one = {
	    .data = b->parts[i].iov_base,
	    .len = b->msgs[i].msg_len,
	    .segment = b->msgs[i].msg_len,
	};
	int size;

	for (struct cmsghdr *c = CMSG_FIRSTHDR(m); c; c = CMSG_NXTHDR(m, c)) {
		if (c->cmsg_level != IPPROTO_UDP || c->cmsg_type != UDP_GRO)
			continue;
		memcpy(&size, CMSG_DATA(c), sizeof(size));
		if (size > 0 && (size_t)size < one.len)
			one.segment = (size_t)size;
	}
	return one;
}

void batch_set_segment(struct msghdr *msg, union batch_control *control, uint16_t size)
{
	struct cmsghdr *c;

	msg->msg_control = control->room;
	msg->msg_controllen = CMSG_SPACE(sizeof(size));
	c = CMSG_FIRSTHDR(msg);
	c->cmsg_level = IPPROTO_UDP;
	c->cmsg_type = UDP_SEGMENT;
	c->cmsg_len = CMSG_LEN(sizeof(size));
	memcpy(CMSG_DATA(c), &size, sizeof(size));
}

void batch_return(struct batch *b, int fd)
{
	unsigned sent = 0;

	for (unsigned i = 0; i < b->n; i++) {
		struct batch_one one = batch_at(b, i);

		b->parts[i].iov_len = one.len;
		b->msgs[i].msg_hdr.msg_control = NULL;
		b->msgs[i].msg_hdr.msg_controllen = 0;
		if (one.segment < one.len)
			batch_set_segment(
			    &b->msgs[i].msg_hdr, &b->control[i], (uint16_t)one.segment);
	}
	/* It stops at the first that cannot be sent, and that one is let go. */
	while (sent < b->n) {
		int n = sendmmsg(fd, b->msgs + sent, b->n - sent, MSG_DONTWAIT);

		sent += n > 0 ? (unsigned)n : 1;
	}
}

int batch_want_trains(int fd)
{
	return setsockopt(fd, IPPROTO_UDP, UDP_GRO, &(int){1}, sizeof(int)) < 0 ? -errno : 0;
}

void batch_want_room(int fd)
{
	const int bytes = ROOM_BYTES;

	if (setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &bytes, sizeof(bytes)) < 0)
		(void)setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &bytes, sizeof(bytes));
	if (setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &bytes, sizeof(bytes)) < 0)
		(void)setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &bytes, sizeof(bytes));
}

uint64_t batch_overflowed(int fd)
{
	uint32_t info[SK_MEMINFO_VARS] = {0};
	socklen_t len = sizeof(info);

	if (getsockopt(fd, SOL_SOCKET, SO_MEMINFO, info, &len) < 0)
		return 0;
	return info[SK_MEMINFO_DROPS];
}
