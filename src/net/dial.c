/* SPDX-License-Identifier: MIT */
/* Connecting to one of several addresses, a little staggered, first come first served. */
#include "net/dial.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stddef.h>
#include <stdlib.h>
#include <unistd.h>

#include "net/sockaddr.h"
#include "proto/err.h"

/* RFC 8305 section 5, "Connection Attempt Delay": the recommended value. */
#define STAGGER_MS 250

struct attempt {
	struct watch watch;
	struct dial *dial;
	struct ip ip;
	size_t which; /* in the caller's list */
	int fd;       /* -1: not begun, failed, or handed over */
};

struct dial {
	struct loop *loop;
	dial_fn *fn;
	void *ctx;
	struct timer timer;
	struct source source; /* where `has_source` */
	bool has_source;
	uint16_t port;
	unsigned closing; /* watches and timer that the loop has not let go of */
	bool over;
	int err;         /* the most telling so far */
	size_t n, begun; /* attempts, and how many of them were tried */
	size_t pending;  /* of these, how many may still succeed */
	struct attempt attempt[];
};

/*
 * From the most telling to the least. What this host lacks just now comes first, since not all was
 * tried then; that it has no way to a network at all comes last: an IPv4-only host says so of every
 * IPv6 address, whatever is wrong with the destination. 0 stands for what is not listed.
 */
static const int telling[] = {EMFILE, ENFILE, ENOMEM, ENOBUFS, -ERR_EGRESS, ECONNREFUSED,
    ECONNRESET, EHOSTUNREACH, EHOSTDOWN, EACCES, EPERM, ETIMEDOUT, 0, EADDRNOTAVAIL, ENETUNREACH,
    ENETDOWN, EAFNOSUPPORT, -ERR_EGRESS_FAMILY};

static size_t rank(int err)
{
	size_t other = 0;

	for (size_t i = 0; i < sizeof(telling) / sizeof(telling[0]); i++) {
		if (telling[i] == -err)
			return i;
		if (telling[i] == 0)
			other = i;
	}
	return other;
}

static void note_error(struct dial *dial, int err)
{
	if (!dial->err || rank(err) < rank(dial->err))
		dial->err = err;
}

static void let_go(struct dial *dial)
{
	if (--dial->closing == 0 && dial->over)
		free(dial);
}

static void on_watch_closed(struct watch *watch)
{
	let_go(((struct attempt *)((char *)watch - offsetof(struct attempt, watch)))->dial);
}

static void on_timer_closed(struct timer *timer)
{
	let_go((struct dial *)((char *)timer - offsetof(struct dial, timer)));
}

/* Ends one that is pending. */
static void attempt_end(struct attempt *a)
{
	a->dial->pending--;
	watch_drop(&a->watch, on_watch_closed);
	close(a->fd);
	a->fd = -1;
}

/* Ends all. The memory goes when the loop has let go of everything. */
static void dial_end(struct dial *dial)
{
	dial->over = true;
	for (size_t i = 0; i < dial->begun; i++)
		if (dial->attempt[i].fd >= 0)
			attempt_end(&dial->attempt[i]);
	timer_close(&dial->timer, on_timer_closed);
}

static int connect_from(int fd, const struct ip *from, const struct sockaddr_storage *sa)
{
	socklen_t len =
	    sa->ss_family == AF_INET ? sizeof(struct sockaddr_in) : sizeof(struct sockaddr_in6);
	struct addr local;
	int err = 0;

	/* Interrupted, connecting goes on all the same. */
	if (connect(fd, (const struct sockaddr *)sa, len) < 0)
		err = errno;
	if (err && err != EINPROGRESS && err != EINTR)
		return -err;
	if (!from)
		return 0;
	/* The kernel lets a socket be bound to the broadcast address of a net, and then connects
	 * from another address. */
	local = socket_local_addr(fd);
	return local.kind == ADDR_IP && ip_equal(&local.ip, from) ? 0 : ERR_EGRESS;
}

/* Connects a new socket. Returns 0 or a negative error. */
static int begin_on(int fd, const struct source *source, const struct ip *ip, uint16_t port)
{
	const int one = 1;
	struct sockaddr_storage sa;
	struct ip from;
	int err = 0;

	sockaddr_from_ip(&sa, ip, port);
	/* Both can only fail on a socket that is not TCP. */
	(void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	socket_keep_urgent(fd);
	if (source)
		err = source_find(source, ip, &from);
	if (!err && source)
		err = source_bind(fd, source, &from, 0, true);
	return err ? err : connect_from(fd, source ? &from : NULL, &sa);
}

/* A socket that is connecting, or a negative error. */
static int begin_connect(const struct source *source, const struct ip *ip, uint16_t port)
{
	int fd, err;

	fd = socket(ip_is_v4(ip) ? AF_INET : AF_INET6, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC,
	    IPPROTO_TCP);
	if (fd < 0)
		return -errno;
	err = begin_on(fd, source, ip, port);
	if (err) {
		close(fd);
		return err;
	}
	return fd;
}

static void on_attempt(struct watch *watch, unsigned events);

static int attempt_begin(struct attempt *a)
{
	const struct source *source = a->dial->has_source ? &a->dial->source : NULL;
	int err, fd = begin_connect(source, &a->ip, a->dial->port);

	if (fd < 0)
		return fd;
	err = watch_init(&a->watch, a->dial->loop, fd, on_attempt);
	if (err) {
		close(fd);
		return err;
	}
	a->fd = fd;
	a->dial->pending++;
	a->dial->closing++;
	watch_set_edge(&a->watch, true);
	watch_set(&a->watch, WATCH_WRITE);
	return 0;
}

/* Begins the next attempt that can be begun, and sees to it that its successor has its time. */
static void begin_next(struct dial *dial)
{
	int err = -1;

	while (err && dial->begun < dial->n) {
		err = attempt_begin(&dial->attempt[dial->begun++]);
		if (err)
			note_error(dial, err);
	}
	if (dial->begun < dial->n)
		timer_start(&dial->timer, STAGGER_MS);
	else
		timer_stop(&dial->timer);
}

static void on_stagger(struct timer *timer)
{
	struct dial *dial = (struct dial *)((char *)timer - offsetof(struct dial, timer));

	begin_next(dial);
}

/*
 * A connection to a local port that nobody listens on can meet itself, where the kernel happens to
 * choose that very port as its source (simultaneous open, RFC 9293 section 3.5). There is nobody
 * at the other end.
 */
static bool is_self_connected(const struct attempt *a, const struct addr *local)
{
	return local->kind == ADDR_IP && local->port == a->dial->port &&
	       ip_equal(&local->ip, &a->ip);
}

/* The descriptor and its registration with the loop become the receiver's, the rest ends. */
static void hand_over(struct attempt *a, const struct addr *local)
{
	struct dial *dial = a->dial;
	int fd = a->fd;

	a->fd = -1;
	dial->pending--;
	watch_give(&a->watch, on_watch_closed);
	dial_end(dial);
	dial->fn(dial->ctx, 0, fd, a->which, local);
	loop_give_up(dial->loop);
}

static void on_attempt(struct watch *watch, unsigned events)
{
	struct attempt *a = (struct attempt *)((char *)watch - offsetof(struct attempt, watch));
	struct dial *dial = a->dial;
	struct addr local = {.kind = ADDR_NONE};
	int err = 0;

	/* Writable without an error it is connected; what else it is the socket knows. */
	if (events & WATCH_ERROR)
		err = socket_take_error(a->fd);
	if (!err)
		local = socket_local_addr(a->fd);
	if (!err && is_self_connected(a, &local))
		err = -ECONNREFUSED;
	if (!err) {
		hand_over(a, &local);
		return;
	}
	attempt_end(a);
	note_error(dial, err);
	begin_next(dial);
	if (dial->pending == 0) {
		dial_end(dial);
		dial->fn(dial->ctx, dial->err, -1, 0, &local);
	}
}

/* RFC 8305 section 4: the families alternate, beginning with that of the first address. */
static void interleave(struct dial *dial, const struct ip *ips)
{
	size_t at[2] = {0, 0}; /* the next to look at: of the first family, of the other */
	bool v4 = ip_is_v4(&ips[0]);
	unsigned turn = 0;

	for (size_t i = 0; i < dial->n; turn ^= 1) {
		bool want_v4 = turn == 0 ? v4 : !v4;

		while (at[turn] < dial->n && ip_is_v4(&ips[at[turn]]) != want_v4)
			at[turn]++;
		if (at[turn] == dial->n)
			continue;
		dial->attempt[i++] = (struct attempt){
		    .dial = dial, .ip = ips[at[turn]], .which = at[turn], .fd = -1};
		at[turn]++;
	}
}

int dial_start(struct dial **ret_dial, struct loop *loop, const struct ip *ips, size_t n,
    uint16_t port, const struct source *source, dial_fn *fn, void *ctx)
{
	struct dial *dial = calloc(1, sizeof(*dial) + n * sizeof(dial->attempt[0]));

	if (!dial)
		return -ENOMEM;
	dial->loop = loop;
	dial->fn = fn;
	dial->ctx = ctx;
	dial->port = port;
	dial->has_source = source != NULL;
	if (source)
		dial->source = *source;
	dial->n = n;
	timer_init(&dial->timer, loop, on_stagger);
	dial->closing = 1;
	interleave(dial, ips);
	begin_next(dial);
	if (dial->pending == 0) {
		int err = dial->err;

		dial_end(dial);
		return err;
	}
	*ret_dial = dial;
	return 0;
}

void dial_cancel(struct dial *dial)
{
	if (dial)
		dial_end(dial);
}
