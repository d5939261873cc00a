/* SPDX-License-Identifier: MIT */
/*
 * tabi bench udp: datagrams through UDP ASSOCIATE, or without a proxy, and their echoes.
 *
 * Theory of operation. An association has so many slots. A datagram takes one, which its number
 * names, until its echo is back or LOST_AFTER is over; then it counts as lost, and the slot goes
 * to the next. So a loss costs a while, and stalls nothing. Datagrams are sent and received many at
 * a time, for the load should cost less than what is loaded; by default the network sees them one
 * by one all the same.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/bench.h"
#include "cli/bench_batch.h"
#include "net/sockaddr.h"
#include "proto/udp.h"

#define LOST_AFTER (UINT64_C(500) * 1000000)
/* Batches sent or received in one event, so that every association has its turn. */
#define BUDGET 4
/* In front of a payload: the header, and the number. */
#define FRONT_MAX (UDP_HEADER_MAX + BENCH_DATAGRAM_MIN)

struct slot {
	uint64_t number; /* 0: it is idle */
	uint64_t last;   /* that it had */
	uint64_t due, sent;
};

/* What all associations share: the buffers of one batch each way. */
struct bench_datagrams {
	struct batch *in;
	unsigned target; /* for which the fronts stand ready */
	size_t header;   /* bytes in front of the number */
	uint8_t front[BATCH_MAX][FRONT_MAX];
	struct iovec parts[BATCH_MAX][2];
	struct mmsghdr msgs[BATCH_MAX];
	union batch_control control[BATCH_MAX];
	uint32_t slot[BATCH_MAX]; /* of each that is being sent */
};

/* An association's datagrams. Without a proxy the connection itself is their socket. */
struct bench_flow {
	struct watch watch; /* first: found by it */
	struct bench_conn *conn;
	int fd;
	struct slot *slots; /* n_slots */
	uint32_t *idle;     /* a stack of their numbers */
	uint32_t n_slots, n_idle;
	uint32_t left; /* of the burst under way, not sent */
};

static struct watch *watch_of(struct bench_conn *conn)
{
	return conn->bench->o->direct ? &conn->watch : &conn->flow->watch;
}

static uint32_t slots_of(const struct bench_options *o)
{
	return (uint32_t)(o->burst > 0 ? o->burst : o->outstanding);
}

static bool is_over(const struct bench_conn *conn)
{
	return conn->bench->phase >= BENCH_DRAIN && conn->pending == 0 &&
	       conn->flow->n_idle == conn->flow->n_slots;
}

/* ---- out ---- */

/* How many may be sent now. */
static uint32_t allowed(const struct bench_conn *conn)
{
	const struct bench_flow *f = conn->flow;

	if (conn->bench->o->rate > 0)
		return conn->pending < f->n_idle ? conn->pending : f->n_idle;
	if (conn->bench->o->burst > 0)
		return f->left;
	return conn->bench->phase < BENCH_DRAIN ? f->n_idle : 0;
}

/* Puts datagram number `i` of a batch together. */
static void prepare_one(struct bench_conn *conn, unsigned i, uint32_t slot)
{
	struct bench_datagrams *all = conn->bench->datagrams;
	struct slot *s = &conn->flow->slots[slot];
	uint64_t number = s->last + conn->flow->n_slots;

	memcpy(all->front[i] + all->header, &number, sizeof(number));
	all->slot[i] = slot;
}

/* Each of a batch begins with the header for that target. */
static void aim(struct bench *b, unsigned target)
{
	struct bench_datagrams *all = b->datagrams;
	uint8_t header[UDP_HEADER_MAX];
	struct wire_writer out = wire_writer_of(header, sizeof(header));

	if (!b->o->direct)
		udp_write_header(&out, &b->targets[target]);
	all->target = target;
	all->header = out.len;
	for (unsigned i = 0; i < BATCH_MAX; i++) {
		memcpy(all->front[i], header, out.len);
		all->parts[i][0] = (struct iovec){all->front[i], out.len + BENCH_DATAGRAM_MIN};
	}
}

/* As one train, or one by one. Returns how many went, or -errno. */
static int send_batch(struct bench_conn *conn, unsigned n)
{
	struct bench_datagrams *all = conn->bench->datagrams;
	size_t each = all->header + conn->bench->o->size;
	struct msghdr train = {.msg_iov = all->parts[0], .msg_iovlen = 2 * (size_t)n};
	int sent;

	if (conn->bench->o->trains && n > 1) {
		batch_set_segment(&train, &all->control[0], (uint16_t)each);
		sent =
		    sendmsg(conn->flow->fd, &train, MSG_DONTWAIT | MSG_NOSIGNAL) < 0 ? -1 : (int)n;
	} else {
		sent = sendmmsg(conn->flow->fd, all->msgs, n, MSG_DONTWAIT | MSG_NOSIGNAL);
	}
	return sent < 0 ? -errno : sent;
}

/* They were sent: their slots are taken. */
static void note_sent(struct bench_conn *conn, unsigned n, uint64_t now)
{
	struct bench *b = conn->bench;
	struct bench_flow *f = conn->flow;

	for (unsigned i = 0; i < n; i++) {
		struct slot *s = &f->slots[b->datagrams->slot[i]];

		s->last += f->n_slots;
		s->number = s->last;
		s->sent = s->due = now;
		if (b->o->rate == 0)
			continue;
		s->due = bench_due_of(b, conn->turn);
		conn->turn += b->n_conns;
		conn->pending--;
	}
	f->n_idle -= n;
	f->left -= b->o->burst > 0 ? n : 0;
	conn->up += n * b->o->size;
	b->count.up += n * b->o->size;
}

/* Returns whether there may be room for more. */
static bool send_some(struct bench_conn *conn)
{
	struct bench *b = conn->bench;
	struct bench_flow *f = conn->flow;
	uint32_t n = allowed(conn);
	uint64_t now = bench_clock();
	size_t train;
	int sent;

	if (b->datagrams->target != conn->target)
		aim(b, conn->target);
	train = BATCH_BYTES / (b->datagrams->header + b->o->size);
	n = n < BATCH_MAX ? n : BATCH_MAX;
	if (b->o->trains && n > train)
		n = train > 0 ? (uint32_t)train : 1;
	if (n == 0)
		return false;
	for (uint32_t i = 0; i < n; i++)
		prepare_one(conn, i, f->idle[f->n_idle - 1 - i]);
	sent = send_batch(conn, n);
	if (sent < 0) {
		if (sent != -EAGAIN && sent != -ENOBUFS)
			conn_fail(conn, "traffic", sent, NULL, -1);
		return false;
	}
	note_sent(conn, (unsigned)sent, now);
	return true;
}

static void pump(struct bench_conn *conn)
{
	struct bench_flow *f = conn->flow;

	if (conn->bench->o->burst > 0 && f->n_idle == f->n_slots &&
	    conn->bench->phase < BENCH_DRAIN)
		f->left = f->n_slots;
	for (unsigned i = 0; i < BUDGET && send_some(conn); i++)
		;
	if (conn->stage == CONN_OPEN)
		watch_set(
		    watch_of(conn), allowed(conn) > 0 ? WATCH_READ | WATCH_WRITE : WATCH_READ);
}

/* ---- in ---- */

static void free_slot(struct bench_flow *f, struct slot *s)
{
	s->number = 0;
	f->idle[f->n_idle++] = (uint32_t)(s - f->slots);
}

/* Is it what was sent, and from whom it was sent to? The proxy says that in front. */
static bool is_whole(const struct bench *b, const uint8_t *payload, size_t len)
{
	size_t rest = b->o->size - BENCH_DATAGRAM_MIN;

	return len == b->o->size &&
	       memcmp(payload + BENCH_DATAGRAM_MIN, b->out + BENCH_PREFACE, rest) == 0;
}

static void take_one(struct bench_conn *conn, const uint8_t *data, size_t len, uint64_t now)
{
	struct bench *b = conn->bench;
	struct udp_packet p = {.data = data, .len = len};
	struct addr from;
	struct slot *s;
	uint64_t number;

	if ((!b->o->direct && udp_unwrap(data, len, &p, &from) != 0) ||
	    !is_whole(b, p.data, p.len)) {
		bench_count_error(b, "traffic", "wrong-bytes", -1);
		return;
	}
	memcpy(&number, p.data, sizeof(number));
	s = &conn->flow->slots[number % conn->flow->n_slots];
	conn->down += p.len;
	b->count.down += p.len;
	if (s->number != number) {
		b->count.late++;
		return;
	}
	b->count.units++;
	if (bench_counts(b, s->due))
		histogram_add(&b->latency, now - s->due);
	free_slot(conn->flow, s);
}

/* Returns whether there may be more. */
static bool receive_some(struct bench_conn *conn)
{
	struct batch *in = conn->bench->datagrams->in;
	int n = batch_receive(in, conn->flow->fd);
	uint64_t now = bench_clock();

	if (n < 0) {
		conn_fail(conn, "traffic", n, NULL, -1);
		return false;
	}
	for (int i = 0; i < n; i++) {
		struct batch_one one = batch_at(in, (unsigned)i);

		do {
			size_t len = one.len < one.segment ? one.len : one.segment;

			take_one(conn, one.data, len, now);
			one.data += len;
			one.len -= len;
		} while (one.len > 0);
	}
	return n == BATCH_MAX;
}

static void flow_ready(struct bench_conn *conn, unsigned events)
{
	if (events & (WATCH_READ | WATCH_ERROR))
		for (unsigned i = 0; i < BUDGET && receive_some(conn); i++)
			;
	if (conn->stage != CONN_OPEN)
		return;
	if (is_over(conn))
		conn_close(conn);
	else
		pump(conn);
}

static void on_datagrams(struct watch *watch, unsigned events)
{
	flow_ready(((struct bench_flow *)watch)->conn, events);
}

/* The connection by which an association lives says nothing. */
static void conn_ready(struct bench_conn *conn, unsigned events)
{
	uint8_t byte;
	ssize_t n;

	if (conn->bench->o->direct) {
		flow_ready(conn, events);
		return;
	}
	n = recv(conn->fd, &byte, 1, 0);
	if (n == 0)
		conn_fail(conn, "traffic", 0, "ended", -1);
	else if (n > 0 || errno != EAGAIN)
		conn_fail(conn, "traffic", n > 0 ? 0 : -errno, n > 0 ? "wrong-bytes" : NULL, -1);
}

/* ---- the flow's beginning and end ---- */

static void free_flow(struct bench_flow *f)
{
	free(f->slots);
	free(f->idle);
	free(f);
}

static void on_flow_closed(struct watch *watch)
{
	free_flow((struct bench_flow *)watch);
}

static void flow_close(struct bench_conn *conn)
{
	struct bench_flow *f = conn->flow;

	if (!f)
		return;
	conn->flow = NULL;
	/* What is under way is given up. */
	conn->bench->count.lost += f->n_slots - f->n_idle;
	conn->bench->own_overflow += batch_overflowed(f->fd);
	if (conn->bench->o->direct) {
		free_flow(f);
		return;
	}
	watch_close(&f->watch, on_flow_closed);
	close(f->fd);
}

/* Returns the socket, or -errno. */
static int open_socket(const struct bench_conn *conn)
{
	struct sockaddr_storage relay;
	socklen_t len = sockaddr_from_ip(&relay, &conn->relay, conn->relay_port);
	int fd = socket(relay.ss_family, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0), err;

	if (fd < 0)
		return -errno;
	if (connect(fd, (const struct sockaddr *)&relay, len) == 0)
		return fd;
	err = -errno;
	close(fd);
	return err;
}

static struct bench_flow *make_flow(struct bench_conn *conn)
{
	uint32_t n = slots_of(conn->bench->o);
	struct bench_flow *f = calloc(1, sizeof(*f));

	if (!f)
		return NULL;
	f->conn = conn;
	f->fd = conn->fd;
	f->n_slots = f->n_idle = n;
	f->slots = calloc(n, sizeof(*f->slots));
	f->idle = calloc(n, sizeof(*f->idle));
	if (!f->slots || !f->idle) {
		free_flow(f);
		return NULL;
	}
	for (uint32_t i = 0; i < n; i++) {
		f->slots[i].last = i;
		f->idle[i] = n - 1 - i;
	}
	return f;
}

static void flow_opened(struct bench_conn *conn)
{
	struct bench *b = conn->bench;
	struct bench_flow *f = make_flow(conn);
	int err = f ? 0 : -ENOMEM;

	if (!err && !b->o->direct) {
		f->fd = open_socket(conn);
		err = f->fd < 0 ? f->fd : watch_init(&f->watch, &b->loop, f->fd, on_datagrams);
	}
	if (!err && b->o->trains)
		err = batch_want_trains(f->fd);
	if (err) {
		if (f && !b->o->direct && f->fd >= 0)
			close(f->fd);
		if (f)
			free_flow(f);
		conn_fail(conn, "connect", err, NULL, -1);
		return;
	}
	batch_want_room(f->fd);
	conn->flow = f;
	watch_set(&conn->watch, WATCH_READ);
	watch_set(watch_of(conn), WATCH_READ);
	bench_settle(conn);
}

static void flow_begin(struct bench_conn *conn)
{
	conn->turn = (uint64_t)(conn - conn->bench->conns);
	pump(conn);
}

static void flow_end(struct bench_conn *conn)
{
	if (is_over(conn))
		conn_close(conn);
}

static void flow_tick(struct bench_conn *conn)
{
	struct bench_flow *f = conn->flow;
	uint64_t now = bench_clock();

	if (f->n_idle == f->n_slots)
		return;
	for (uint32_t i = 0; i < f->n_slots; i++) {
		struct slot *s = &f->slots[i];

		if (s->number == 0 || now - s->sent < LOST_AFTER)
			continue;
		conn->bench->count.lost++;
		free_slot(f, s);
	}
	if (is_over(conn))
		conn_close(conn);
	else
		pump(conn);
}

const struct bench_mode bench_udp = {
    .unit = "datagram",
    .opened = flow_opened,
    .begin = flow_begin,
    .end = flow_end,
    .ready = conn_ready,
    .due = pump,
    .tick = flow_tick,
    .close = flow_close,
};

/* ---- what all share ---- */

int bench_udp_prepare(struct bench *b)
{
	struct bench_datagrams *all = calloc(1, sizeof(*all));
	const struct ip any = ip_from_v4((const uint8_t[4]){0});
	size_t row = b->o->trains ? BATCH_BYTES : UDP_HEADER_MAX + b->o->size + 1;

	b->any = addr_from_ip(&any, 0);
	b->datagrams = all;
	if (!all || batch_new(&all->in, row) != 0)
		return bench_fail("memory", strerror(ENOMEM));
	aim(b, 0);
	for (unsigned i = 0; i < BATCH_MAX; i++) {
		all->parts[i][1] =
		    (struct iovec){b->out + BENCH_PREFACE, b->o->size - BENCH_DATAGRAM_MIN};
		all->msgs[i].msg_hdr.msg_iov = all->parts[i];
		all->msgs[i].msg_hdr.msg_iovlen = 2;
	}
	return 0;
}

void bench_udp_free(struct bench *b)
{
	if (b->datagrams)
		batch_free(b->datagrams->in);
	free(b->datagrams);
}
