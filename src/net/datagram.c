/* SPDX-License-Identifier: MIT */
/* UDP sockets over recvmmsg(2) and sendmsg(2), with the offloads of udp(7) where there are any. */
#include "net/datagram.h"

#include <errno.h>
#include <linux/errqueue.h>
#include <linux/sock_diag.h>
#include <netinet/in.h>
#include <netinet/udp.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "net/sockaddr.h"
#include "net/train.h"

/* Calls that may find nothing but the error of an earlier datagram, before it is taken for theirs
 * or left to the loop's next turn. */
#define ERRORS_AT_ONCE 4
/*
 * What a socket asks the kernel to hold; net.core.rmem_max may cut it. The default is half of what
 * even the default maximum allows, and at 5,000 small datagrams a second full after 55 ms.
 */
#define RECEIVE_BYTES (1024 * 1024)
/* Errors read in one turn; what is left makes the next one come at once. */
#define ERRORS_BATCH 32

/* Room for what IP_RECVERR tells and, behind it, who told it. */
struct error_control {
	_Alignas(struct cmsghdr)
	    uint8_t buf[CMSG_SPACE(sizeof(struct sock_extended_err) + sizeof(struct sockaddr_in6))];
};

/* Room for the size of the segments of a train, in either direction. */
union train_control {
	char room[CMSG_SPACE(sizeof(int))];
	struct cmsghdr align;
};

/* What was posted and not sent. */
struct posted {
	struct train train;
	struct datagram_socket *sock;
	struct datagram_poster *poster;
	size_t bytes;               /* of data, without headers */
	uint16_t header[TRAIN_MAX]; /* bytes of each that are header */
	uint8_t data[TRAIN_BYTES];
};

/* One row is more than a datagram takes, and no power of two: the same places of all rows would
 * fight for the same lines of the cache. */
#define ROW (DATAGRAM_SIZE + 4096 + 192)

struct datagram_shared {
	struct mmsghdr msgs[DATAGRAM_BATCH];
	struct iovec parts[DATAGRAM_BATCH];
	struct sockaddr_storage from[DATAGRAM_BATCH];
	union train_control control[DATAGRAM_BATCH];
	struct datagram list[DATAGRAM_BATCH];
	struct mmsghdr error_msgs[ERRORS_BATCH];
	struct error_control error_control[ERRORS_BATCH];
	bool probed, has_trains; /* the kernel knows UDP_SEGMENT */
	bool collecting;         /* more than one datagram is being handed over */
	struct posted posted;
	uint8_t data[DATAGRAM_BATCH][ROW];
};

int datagram_shared_new(struct datagram_shared **ret_shared)
{
	struct datagram_shared *s = malloc(sizeof(*s));

	if (!s)
		return -ENOMEM;
	/* Not the data: that would touch two megabytes of pages that may never be needed. */
	memset(s, 0, offsetof(struct datagram_shared, posted.data));
	for (size_t i = 0; i < DATAGRAM_BATCH; i++) {
		s->parts[i] = (struct iovec){s->data[i], DATAGRAM_SIZE};
		s->msgs[i].msg_hdr.msg_iov = &s->parts[i];
		s->msgs[i].msg_hdr.msg_iovlen = 1;
		s->msgs[i].msg_hdr.msg_name = &s->from[i];
		s->msgs[i].msg_hdr.msg_control = s->control[i].room;
	}
	*ret_shared = s;
	return 0;
}

void datagram_shared_free(struct datagram_shared *shared)
{
	free(shared);
}

/* ---- received ---- */

/* The size of the datagrams that came as one; the whole where it is one. */
static size_t segment_of(struct mmsghdr *m)
{
	struct cmsghdr *c = CMSG_FIRSTHDR(&m->msg_hdr);
	int size = 0;

	/* Nothing else was asked for. */
	if (c && c->cmsg_level == IPPROTO_UDP && c->cmsg_type == UDP_GRO)
		memcpy(&size, CMSG_DATA(c), sizeof(size));
	return size > 0 ? (size_t)size : m->msg_len;
}

/* Hands over the datagrams of a list that is full, or the last. Returns an empty list's length. */
static size_t hand_over(struct datagram_socket *sock, size_t n)
{
	if (n > 0 && sock->fd >= 0)
		sock->fn(sock, sock->shared->list, n);
	return 0;
}

/* Adds what came as message `i` to a list with `n` in it, which is handed over whenever it is full.
 * Returns what is in it then. */
static size_t take_apart(struct datagram_socket *sock, size_t i, size_t n)
{
	struct datagram_shared *s = sock->shared;
	struct datagram d = {.data = s->data[i]};
	size_t left = s->msgs[i].msg_len, segment = segment_of(&s->msgs[i]);

	if (s->msgs[i].msg_hdr.msg_flags & MSG_TRUNC) {
		sock->cut++;
		return n;
	}
	if (!sockaddr_read(&s->from[i], &d.from, &d.port))
		return n;
	do {
		d.len = left < segment ? left : segment;
		s->list[n++] = d;
		d.data += d.len;
		left -= d.len;
		if (n == DATAGRAM_BATCH)
			n = hand_over(sock, n);
	} while (left > 0);
	return n;
}

/* What is posted meanwhile may wait for more, unless there will be none. */
static void take_received(struct datagram_socket *sock, size_t received)
{
	struct datagram_shared *s = sock->shared;
	size_t n = 0;

	s->collecting = received > 1 || segment_of(&s->msgs[0]) < s->msgs[0].msg_len;
	for (size_t i = 0; i < received; i++)
		n = take_apart(sock, i, n);
	hand_over(sock, n);
	s->collecting = false;
	datagram_flush(s);
}

/* A turn is as long as it is: after one that was too long the next is shorter. */
static void set_next_batch(struct datagram_socket *sock, size_t received)
{
	size_t bytes = 0;

	for (size_t i = 0; i < received; i++)
		bytes += sock->shared->msgs[i].msg_len;
	if (bytes > DATAGRAM_BUDGET && sock->batch > 1)
		sock->batch /= 2;
	else if (bytes < DATAGRAM_BUDGET / 2 && sock->batch < DATAGRAM_BATCH)
		sock->batch *= 2;
}

/* The kernel has written the lengths of names and control messages over. */
static int receive(struct datagram_socket *sock)
{
	struct datagram_shared *s = sock->shared;

	for (size_t i = 0; i < sock->batch; i++) {
		s->msgs[i].msg_hdr.msg_namelen = sizeof(s->from[i]);
		s->msgs[i].msg_hdr.msg_controllen = sizeof(s->control[i]);
	}
	return recvmmsg(sock->fd, s->msgs, sock->batch, MSG_DONTWAIT, NULL);
}

/* ---- errors that ICMP brought ---- */

/*
 * The kernel puts them in a queue of the socket (IP_RECVERR, ip(7)), bounded by its receive buffer,
 * and has the next call of any kind fail once as well. The queue is read for what it says; the
 * failing calls are made again. A queue that is not read would wake the loop for ever.
 */
static bool want_errors(int fd, bool v6)
{
	const int one = 1;

	if (v6)
		return setsockopt(fd, IPPROTO_IPV6, IPV6_RECVERR, &one, sizeof(one)) == 0;
	return setsockopt(fd, IPPROTO_IP, IP_RECVERR, &one, sizeof(one)) == 0;
}

/* What ICMP said, or 0: of our own kernel's refusals datagram_send() has told already. */
static int error_of(struct msghdr *msg)
{
	struct sock_extended_err e;

	for (struct cmsghdr *c = CMSG_FIRSTHDR(msg); c; c = CMSG_NXTHDR(msg, c)) {
		bool v4 = c->cmsg_level == IPPROTO_IP && c->cmsg_type == IP_RECVERR;
		bool v6 = c->cmsg_level == IPPROTO_IPV6 && c->cmsg_type == IPV6_RECVERR;

		if ((!v4 && !v6) || c->cmsg_len < CMSG_LEN(sizeof(e)))
			continue;
		memcpy(&e, CMSG_DATA(c), sizeof(e));
		if (e.ee_origin == SO_EE_ORIGIN_ICMP || e.ee_origin == SO_EE_ORIGIN_ICMP6)
			return -(int)e.ee_errno;
	}
	return 0;
}

/* Where a datagram went is where the name of a message from this queue leads. Its bytes are let go
 * of: they are the beginning of what we sent. */
static int receive_errors(struct datagram_socket *sock)
{
	struct datagram_shared *s = sock->shared;

	for (size_t i = 0; i < ERRORS_BATCH; i++)
		s->error_msgs[i].msg_hdr = (struct msghdr){
		    .msg_name = &s->from[i],
		    .msg_namelen = sizeof(s->from[i]),
		    .msg_control = s->error_control[i].buf,
		    .msg_controllen = sizeof(s->error_control[i].buf),
		};
	return recvmmsg(sock->fd, s->error_msgs, ERRORS_BATCH, MSG_ERRQUEUE | MSG_DONTWAIT, NULL);
}

static void take_errors(struct datagram_socket *sock)
{
	struct datagram_shared *s = sock->shared;
	struct datagram_error e;
	int n = receive_errors(sock);

	for (int i = 0; i < n; i++) {
		e.err = error_of(&s->error_msgs[i].msg_hdr);
		if (e.err == 0 || !sockaddr_read(&s->from[i], &e.to, &e.port))
			continue;
		sock->errors++;
		if (sock->failed)
			sock->failed(sock, &e);
	}
}

static void on_readable(struct watch *watch, unsigned events)
{
	struct datagram_socket *sock =
	    (struct datagram_socket *)((char *)watch - offsetof(struct datagram_socket, watch));
	int received;

	/* An error stops the watch; it is over when it has been read. */
	if (events & WATCH_ERROR) {
		watch_set(watch, WATCH_READ);
		take_errors(sock);
	}
	for (int i = 0; i < ERRORS_AT_ONCE; i++) {
		received = receive(sock);
		if (received >= 0 || errno == EAGAIN)
			break;
	}
	if (received <= 0)
		return;
	set_next_batch(sock, (size_t)received);
	take_received(sock, (size_t)received);
}

/* ---- opened ---- */

/* One bound to no address would hear the groups that others on this host have joined. */
static void hear_own_groups_only(int fd, bool v6)
{
	const int zero = 0;

	/* Kernels before 4.20 know no such option for IPv6. */
	if (v6)
		(void)setsockopt(fd, IPPROTO_IPV6, IPV6_MULTICAST_ALL, &zero, sizeof(zero));
	else
		(void)setsockopt(fd, IPPROTO_IP, IP_MULTICAST_ALL, &zero, sizeof(zero));
}

static int join_group(int fd, bool v6, const struct group_req *join)
{
	hear_own_groups_only(fd, v6);
	return setsockopt(
	    fd, v6 ? IPPROTO_IPV6 : IPPROTO_IP, MCAST_JOIN_GROUP, join, sizeof(*join));
}

/* Kernels before 5.0 and 4.18 know nothing of it. */
static void use_trains(struct datagram_socket *sock, int fd)
{
	struct datagram_shared *s = sock->shared;
	const int one = 1, none = 0;

	(void)setsockopt(fd, IPPROTO_UDP, UDP_GRO, &one, sizeof(one));
	if (!s->probed)
		s->has_trains = setsockopt(fd, IPPROTO_UDP, UDP_SEGMENT, &none, sizeof(none)) == 0;
	s->probed = true;
	/* Of longer ones no two would fit. */
	sock->segment_max = s->has_trains ? TRAIN_BYTES / 2 : 0;
	sock->batch = DATAGRAM_BATCH;
}

/* Where a socket is to be. */
struct place {
	struct sockaddr_storage local;
	const struct group_req *join; /* a group at that address, and others may have it; or NULL */
	const struct source *source;  /* by which the address was found; or NULL */
};

static int take_place(int fd, const struct place *at)
{
	bool v6 = at->local.ss_family == AF_INET6;
	socklen_t len = v6 ? sizeof(struct sockaddr_in6) : sizeof(struct sockaddr_in);
	struct addr local = sockaddr_to_addr(&at->local);

	if (at->source)
		return source_bind(fd, at->source, &local.ip, 0, false);
	if (bind(fd, (const struct sockaddr *)&at->local, len) < 0)
		return -errno;
	return at->join && join_group(fd, v6, at->join) < 0 ? -errno : 0;
}

static int open_bound(struct datagram_socket *sock, struct loop *loop, const struct place *at)
{
	bool v6 = at->local.ss_family == AF_INET6;
	const int one = 1, bytes = RECEIVE_BYTES;
	struct addr bound;
	int fd, err = 0;

	fd = socket(at->local.ss_family, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	if ((v6 && setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &one, sizeof(one)) < 0) ||
	    (at->join && setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)) < 0) ||
	    !want_errors(fd, v6) ||
	    setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &bytes, sizeof(bytes)) < 0)
		err = -errno;
	if (!err)
		err = take_place(fd, at);
	if (!err)
		err = watch_init(&sock->watch, loop, fd, on_readable);
	if (err) {
		close(fd);
		return err;
	}
	use_trains(sock, fd);
	sock->fd = fd;
	bound = socket_local_addr(fd);
	if (ip_own_classes(&bound.ip) & IP_UNSPECIFIED)
		hear_own_groups_only(fd, v6);
	sock->local = bound.ip;
	sock->port = bound.port;
	watch_set(&sock->watch, WATCH_READ);
	return 0;
}

int datagram_open(struct datagram_socket *sock, struct datagram_shared *shared, struct loop *loop,
    const struct sockaddr_storage *local, datagram_fn *fn)
{
	const struct place at = {.local = *local};

	*sock = (struct datagram_socket){.fd = -1, .fn = fn, .shared = shared};
	return open_bound(sock, loop, &at);
}

int datagram_open_source(struct datagram_socket *sock, struct datagram_shared *shared,
    struct loop *loop, const struct source *source, const struct ip *to, datagram_fn *fn)
{
	struct place at = {.source = source};
	struct ip from;
	int err = source_find(source, to, &from);

	*sock = (struct datagram_socket){.fd = -1, .fn = fn, .shared = shared};
	if (err)
		return err;
	sockaddr_from_ip(&at.local, &from, 0);
	return open_bound(sock, loop, &at);
}

int datagram_open_group(struct datagram_socket *sock, struct datagram_shared *shared,
    struct loop *loop, const struct ip *group, uint16_t port, unsigned interface, datagram_fn *fn)
{
	struct group_req join = {.gr_interface = interface};
	struct place at = {.join = &join};

	*sock = (struct datagram_socket){.fd = -1, .fn = fn, .shared = shared};
	sockaddr_from_ip(&at.local, group, port);
	/* To be bound to a group of one link needs to say which link. */
	if (at.local.ss_family == AF_INET6)
		((struct sockaddr_in6 *)&at.local)->sin6_scope_id = interface;
	memcpy(&join.gr_group, &at.local, sizeof(at.local));
	return open_bound(sock, loop, &at);
}

int datagram_connect(struct datagram_socket *sock, const struct ip *to, uint16_t port)
{
	struct sockaddr_storage sa;
	socklen_t len = sockaddr_from_ip(&sa, to, port);

	if (connect(sock->fd, (const struct sockaddr *)&sa, len) < 0)
		return -errno;
	sock->local = socket_local_addr(sock->fd).ip;
	return 0;
}

/* ---- sent ---- */

/* Returns 0 or -errno, -EAGAIN for all that says "full". */
static int send_now(const struct datagram_socket *sock, const struct msghdr *msg)
{
	int err = 0;

	/* The error of an earlier datagram is told once, in place of sending this one, and looks
	 * like any error of this one. */
	for (int i = 0; i < ERRORS_AT_ONCE; i++) {
		if (sendmsg(sock->fd, msg, MSG_DONTWAIT | MSG_NOSIGNAL) >= 0)
			return 0;
		err = errno;
		if (err == EAGAIN || err == ENOBUFS || err == ENOMEM)
			return -EAGAIN;
	}
	return -err;
}

/* The control message that has the kernel cut a train. */
static void set_segment(struct msghdr *msg, union train_control *control, uint16_t size)
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

/* A train that the kernel did not take as one: each by itself, and no more like these of this
 * socket. */
static void send_singly(struct posted *p, struct msghdr *msg, struct iovec *part)
{
	size_t left = part->iov_len;

	for (unsigned i = 0; i < p->train.n; i++) {
		size_t len = left < p->train.segment ? left : p->train.segment;
		int err;

		part->iov_len = len;
		err = send_now(p->sock, msg);
		if (err)
			p->poster->unsent(p->poster, 1, len - p->header[i], err);
		part->iov_base = (uint8_t *)part->iov_base + len;
		left -= len;
	}
}

/*
 * What the kernel says when it cannot cut a train: EIO, for good, where the way leads over a device
 * that does not sum what it sends, or through IPsec; EINVAL or EMSGSIZE where one segment is longer
 * than the way takes whole. By itself each can be sent, in fragments in the latter case. Returns
 * how long one may be that leaves with others from now on, or -1 where that is not what is wrong.
 */
static int segment_allowed(int err, size_t segment)
{
	if (err == -EIO || err == -EOPNOTSUPP || err == -ENOPROTOOPT)
		return 0;
	return err == -EINVAL || err == -EMSGSIZE ? (int)segment - 1 : -1;
}

void datagram_flush(struct datagram_shared *s)
{
	struct posted *p = &s->posted;
	struct iovec part = {p->data, p->train.len};
	struct sockaddr_storage sa;
	struct msghdr msg = {.msg_name = &sa, .msg_iov = &part, .msg_iovlen = 1};
	union train_control control;
	int err, allowed = -1;

	if (p->train.n == 0)
		return;
	msg.msg_namelen = sockaddr_from_ip(&sa, &p->train.to, p->train.port);
	if (p->train.n > 1)
		set_segment(&msg, &control, (uint16_t)p->train.segment);
	err = send_now(p->sock, &msg);
	if (err && p->train.n > 1)
		allowed = segment_allowed(err, p->train.segment);
	if (allowed >= 0) {
		p->sock->segment_max = (uint16_t)allowed;
		msg.msg_control = NULL;
		msg.msg_controllen = 0;
		send_singly(p, &msg, &part);
	} else if (err) {
		p->poster->unsent(p->poster, p->train.n, p->bytes, err);
	} else {
		p->sock->trains += p->train.n > 1;
	}
	p->train = (struct train){0};
}

int datagram_post(struct datagram_socket *sock, struct datagram_poster *poster, const void *header,
    size_t header_len, const void *data, size_t len, const struct ip *to, uint16_t port)
{
	struct posted *p = &sock->shared->posted;
	size_t whole = header_len + len;

	if (!sock->shared->collecting || whole > sock->segment_max)
		return datagram_send(sock, header, header_len, data, len, to, port);
	if (p->sock != sock || p->poster != poster || !train_takes(&p->train, to, port, whole))
		datagram_flush(sock->shared);
	if (p->train.n == 0) {
		p->sock = sock;
		p->poster = poster;
		p->bytes = 0;
	}
	if (header_len > 0)
		memcpy(p->data + p->train.len, header, header_len);
	if (len > 0)
		memcpy(p->data + p->train.len + header_len, data, len);
	p->header[p->train.n] = (uint16_t)header_len;
	p->bytes += len;
	train_add(&p->train, to, port, whole);
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

	/* What came first leaves first. */
	datagram_flush(sock->shared);
	msg.msg_namelen = sockaddr_from_ip(&sa, to, port);
	return send_now(sock, &msg);
}

/* One control message behind `at`, which is moved on. */
static void add_control(
    struct msghdr *msg, struct cmsghdr **at, int level, int type, const void *data, size_t len)
{
	struct cmsghdr *c = *at ? CMSG_NXTHDR(msg, *at) : CMSG_FIRSTHDR(msg);

	c->cmsg_level = level;
	c->cmsg_type = type;
	c->cmsg_len = CMSG_LEN(len);
	memcpy(CMSG_DATA(c), data, len);
	*at = c;
}

/* Per datagram and not per socket, since one socket sends to many groups. The kernel takes IP_TTL
 * for multicast as well when it comes this way (ip_setup_cork). */
int datagram_send_group(struct datagram_socket *sock, const void *data, size_t len,
    const struct ip *group, uint16_t port, const struct datagram_way *way)
{
	union {
		char room[CMSG_SPACE(sizeof(int)) + CMSG_SPACE(sizeof(struct in6_pktinfo))];
		struct cmsghdr align;
	} control = {.room = {0}};
	struct in_pktinfo info = {.ipi_ifindex = (int)way->interface};
	struct in6_pktinfo info6 = {.ipi6_ifindex = way->interface};
	struct iovec part = {(void *)(uintptr_t)data, len};
	struct sockaddr_storage sa;
	struct msghdr msg = {.msg_name = &sa, .msg_iov = &part, .msg_iovlen = 1};
	struct cmsghdr *last = NULL;
	int ttl = way->ttl;

	msg.msg_namelen = sockaddr_from_ip(&sa, group, port);
	msg.msg_control = control.room;
	msg.msg_controllen = sizeof(control.room);
	if (ip_is_v4(group)) {
		/* Or the kernel would choose anew (ip_cmsg_send); of IPv6 it does not. */
		memcpy(&info.ipi_spec_dst, ip_v4_bytes(&sock->local), 4);
		add_control(&msg, &last, IPPROTO_IP, IP_TTL, &ttl, sizeof(ttl));
		add_control(&msg, &last, IPPROTO_IP, IP_PKTINFO, &info, sizeof(info));
		msg.msg_controllen = CMSG_SPACE(sizeof(ttl)) + CMSG_SPACE(sizeof(info));
	} else {
		add_control(&msg, &last, IPPROTO_IPV6, IPV6_HOPLIMIT, &ttl, sizeof(ttl));
		add_control(&msg, &last, IPPROTO_IPV6, IPV6_PKTINFO, &info6, sizeof(info6));
		msg.msg_controllen = CMSG_SPACE(sizeof(ttl)) + CMSG_SPACE(sizeof(info6));
	}
	return send_now(sock, &msg);
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
	datagram_flush(sock->shared);
	sock->closed = closed;
	watch_close(&sock->watch, watch_closed);
	close(sock->fd);
	sock->fd = -1;
}
