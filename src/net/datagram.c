/* SPDX-License-Identifier: MIT */
/* UDP sockets over recvmmsg(2) and sendmsg(2). */
#include "net/datagram.h"

#include <errno.h>
#include <linux/sock_diag.h>
#include <netinet/in.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "net/sockaddr.h"

/* Reads that may find nothing but the error of an earlier datagram, before the loop's next turn. */
#define ERRORS_AT_ONCE 4

struct datagram_shared {
	struct mmsghdr msgs[DATAGRAM_BATCH];
	struct iovec parts[DATAGRAM_BATCH];
	struct sockaddr_storage from[DATAGRAM_BATCH];
	struct datagram list[DATAGRAM_BATCH];
	uint8_t data[DATAGRAM_BATCH][DATAGRAM_SIZE];
};

int datagram_shared_new(struct datagram_shared **ret_shared)
{
	struct datagram_shared *s = malloc(sizeof(*s));

	if (!s)
		return -ENOMEM;
	/* Not the data: that would touch two megabytes of pages that may never be needed. */
	memset(s, 0, offsetof(struct datagram_shared, data));
	for (size_t i = 0; i < DATAGRAM_BATCH; i++) {
		s->parts[i] = (struct iovec){s->data[i], DATAGRAM_SIZE};
		s->msgs[i].msg_hdr.msg_iov = &s->parts[i];
		s->msgs[i].msg_hdr.msg_iovlen = 1;
		s->msgs[i].msg_hdr.msg_name = &s->from[i];
	}
	*ret_shared = s;
	return 0;
}

void datagram_shared_free(struct datagram_shared *shared)
{
	free(shared);
}

/* Makes the list of what recvmmsg() brought. Returns its length. */
static size_t make_list(struct datagram_socket *sock, size_t received)
{
	struct datagram_shared *s = sock->shared;
	size_t n = 0;

	for (size_t i = 0; i < received; i++) {
		struct datagram *d = &s->list[n];

		if (s->msgs[i].msg_hdr.msg_flags & MSG_TRUNC) {
			sock->cut++;
			continue;
		}
		if (!sockaddr_read(&s->from[i], &d->from, &d->port))
			continue;
		d->data = s->data[i];
		d->len = s->msgs[i].msg_len;
		n++;
	}
	return n;
}

/* The kernel has written the lengths of the names over. */
static int receive(struct datagram_socket *sock)
{
	struct datagram_shared *s = sock->shared;

	for (size_t i = 0; i < DATAGRAM_BATCH; i++)
		s->msgs[i].msg_hdr.msg_namelen = sizeof(s->from[i]);
	return recvmmsg(sock->fd, s->msgs, DATAGRAM_BATCH, MSG_DONTWAIT, NULL);
}

static void on_readable(struct watch *watch, unsigned events)
{
	struct datagram_socket *sock =
	    (struct datagram_socket *)((char *)watch - offsetof(struct datagram_socket, watch));
	size_t n;
	int received;

	/* An error stops the watch; it is over with the next read. */
	if (events & WATCH_ERROR)
		watch_set(watch, WATCH_READ);
	for (int i = 0; i < ERRORS_AT_ONCE; i++) {
		received = receive(sock);
		if (received >= 0 || errno == EAGAIN)
			break;
		sock->errors++;
	}
	if (received <= 0)
		return;
	n = make_list(sock, (size_t)received);
	if (n > 0)
		sock->fn(sock, sock->shared->list, n);
}

int datagram_open(struct datagram_socket *sock, struct datagram_shared *shared, struct loop *loop,
    const struct sockaddr_storage *local, datagram_fn *fn)
{
	bool v6 = local->ss_family == AF_INET6;
	socklen_t len = v6 ? sizeof(struct sockaddr_in6) : sizeof(struct sockaddr_in);
	const int one = 1;
	struct addr bound;
	int fd, err = 0;

	*sock = (struct datagram_socket){.fd = -1, .fn = fn, .shared = shared};
	fd = socket(local->ss_family, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	if ((v6 && setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &one, sizeof(one)) < 0) ||
	    bind(fd, (const struct sockaddr *)local, len) < 0)
		err = -errno;
	if (!err)
		err = watch_init(&sock->watch, loop, fd, on_readable);
	if (err) {
		close(fd);
		return err;
	}
	sock->fd = fd;
	bound = socket_local_addr(fd);
	sock->local = bound.ip;
	sock->port = bound.port;
	watch_set(&sock->watch, WATCH_READ);
	return 0;
}

int datagram_send(struct datagram_socket *sock, const void *header, size_t header_len,
    const void *data, size_t len, const struct ip *to, uint16_t port)
{
	struct iovec parts[2] = {
	    /* struct iovec serves both directions, so it has no const. */
	    {(void *)(uintptr_t)header, header_len},
	    {(void *)(uintptr_t)data, len},
	};
	struct sockaddr_storage sa;
	struct msghdr msg = {.msg_name = &sa, .msg_iov = parts, .msg_iovlen = 2};
	int err = 0;

	msg.msg_namelen = sockaddr_from_ip(&sa, to, port);
	/* The error of an earlier datagram is told once, in place of sending this one. */
	for (int i = 0; i < ERRORS_AT_ONCE; i++) {
		if (sendmsg(sock->fd, &msg, MSG_DONTWAIT | MSG_NOSIGNAL) >= 0)
			return 0;
		err = errno;
		if (err != ECONNREFUSED)
			break;
		sock->errors++;
	}
	return -(err == ENOBUFS || err == ENOMEM ? EAGAIN : err);
}

uint64_t datagram_overflowed(const struct datagram_socket *sock)
{
	uint32_t info[SK_MEMINFO_VARS] = {0};
	socklen_t len = sizeof(info);

	if (getsockopt(sock->fd, SOL_SOCKET, SO_MEMINFO, info, &len) < 0)
		return 0;
	return info[SK_MEMINFO_DROPS];
}

static void watch_closed(struct watch *watch)
{
	struct datagram_socket *sock =
	    (struct datagram_socket *)((char *)watch - offsetof(struct datagram_socket, watch));

	sock->closed(sock);
}

void datagram_close(struct datagram_socket *sock, void (*closed)(struct datagram_socket *sock))
{
	sock->closed = closed;
	watch_close(&sock->watch, watch_closed);
	close(sock->fd);
	sock->fd = -1;
}
