/* SPDX-License-Identifier: MIT */
/* What tabi bench says on its connections, by mode; the other end is bench_serve.c. */
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "cli/bench.h"
#include "proto/err.h"

/* Reads and writes of one event, so that every connection has its turn. */
#define BUDGET 4

/* What arrives is looked at and forgotten; there is one thread. */
static uint8_t in[(size_t)256 << 10];

bool bench_counts(const struct bench *b, uint64_t due)
{
	return b->begin.at != 0 && due >= b->begin.at && (b->end.at == 0 || due < b->end.at);
}

/* ---- messages: rr, connect, idle ---- */

/* A message carries its number, where there is room, so that an echo of another is seen. */
static bool has_number(const struct bench *b)
{
	return b->o->size >= sizeof(uint64_t);
}

static void wait_for(struct bench_conn *conn)
{
	watch_set(&conn->watch, conn->left_out > 0 ? WATCH_READ | WATCH_WRITE : WATCH_READ);
}

/* The preface goes out in front of the first message. */
static void send_message(struct bench_conn *conn)
{
	struct bench *b = conn->bench;
	const uint8_t *end = b->out + BENCH_PREFACE + b->o->size;

	if (has_number(b))
		memcpy(b->out + BENCH_PREFACE, &conn->seq, sizeof(conn->seq));
	while (conn->left_out > 0) {
		ssize_t n = send(conn->fd, end - conn->left_out, conn->left_out, MSG_NOSIGNAL);
		uint64_t left, payload;

		if (n < 0) {
			if (errno != EAGAIN) {
				conn_fail(conn, "traffic", -errno, NULL, -1);
				return;
			}
			break;
		}
		left = conn->left_out - (uint64_t)n;
		payload = (conn->left_out < b->o->size ? conn->left_out : b->o->size) -
			  (left < b->o->size ? left : b->o->size);
		conn->left_out = (uint32_t)left;
		conn->up += payload;
		b->count.up += payload;
	}
	wait_for(conn);
}

static void begin_message(struct bench_conn *conn, uint64_t due)
{
	conn->busy = true;
	conn->due = due;
	conn->seq++;
	conn->left_out = (uint32_t)conn->bench->o->size + (conn->seq == 1 ? BENCH_PREFACE : 0);
	conn->left_in = (uint32_t)conn->bench->o->size;
	send_message(conn);
}

/* Message number `turn` of all, at a fixed rate. */
uint64_t bench_due_of(const struct bench *b, uint64_t turn)
{
	return b->rate_began + (uint64_t)((double)turn * 1e9 / (double)b->o->rate);
}

/* Whether it waits for the one before it or not, its time counts from when it was due. */
static void begin_due(struct bench_conn *conn)
{
	uint64_t due = bench_due_of(conn->bench, conn->turn);

	conn->pending--;
	conn->turn += conn->bench->n_conns;
	begin_message(conn, due);
}

void bench_message_due(struct bench_conn *conn)
{
	/* Of a connection that is gone they fail all the same. */
	if (conn->stage != CONN_OPEN) {
		bench_count_error(conn->bench, "traffic", "no-connection", -1);
		return;
	}
	conn->pending++;
	conn->bench->mode->due(conn);
}

static void rr_due(struct bench_conn *conn)
{
	if (!conn->busy)
		begin_due(conn);
}

/* Returns whether the echo is whole. */
static bool read_echo(struct bench_conn *conn)
{
	struct bench *b = conn->bench;
	ssize_t n = recv(conn->fd, in, sizeof(in), 0);

	if (n <= 0) {
		if (n == 0)
			conn_fail(conn, "traffic", 0, "ended", -1);
		else if (errno != EAGAIN)
			conn_fail(conn, "traffic", -errno, NULL, -1);
		return false;
	}
	/* More than was sent, or something else. */
	if ((size_t)n > conn->left_in ||
	    (has_number(b) && conn->left_in == b->o->size && (size_t)n >= sizeof(conn->seq) &&
		memcmp(in, &conn->seq, sizeof(conn->seq)) != 0)) {
		conn_fail(conn, "traffic", 0, "wrong-bytes", -1);
		return false;
	}
	conn->left_in -= (uint32_t)n;
	conn->down += (uint64_t)n;
	b->count.down += (uint64_t)n;
	return conn->left_in == 0;
}

static void message_ready(struct bench_conn *conn, unsigned events)
{
	struct bench *b = conn->bench;

	if (events & WATCH_WRITE && conn->left_out > 0)
		send_message(conn);
	if (conn->stage != CONN_OPEN || !(events & (WATCH_READ | WATCH_ERROR)) || !read_echo(conn))
		return;
	conn->busy = false;
	if (b->o->kind == BENCH_IDLE) {
		bench_settle(conn);
		return;
	}
	b->count.units++;
	if (bench_counts(b, conn->due))
		histogram_add(&b->latency, bench_clock() - conn->due);
	if (conn->pending > 0)
		begin_due(conn);
	else if (b->o->kind == BENCH_CONNECT || b->phase >= BENCH_DRAIN)
		conn_close(conn);
	else if (b->o->rate == 0)
		begin_message(conn, bench_clock());
}

static void rr_begin(struct bench_conn *conn)
{
	conn->turn = (uint64_t)(conn - conn->bench->conns);
	if (conn->bench->o->rate == 0)
		begin_message(conn, bench_clock());
}

static void rr_end(struct bench_conn *conn)
{
	if (!conn->busy)
		conn_close(conn);
}

/* Nothing is said yet; but the end of it is noticed. */
static void settled_and_waits(struct bench_conn *conn)
{
	watch_set(&conn->watch, WATCH_READ);
	bench_settle(conn);
}

/* What is timed of a session begins with its connection. */
static void say_one(struct bench_conn *conn)
{
	begin_message(conn, conn->due);
}

/* ---- streams ---- */

static bool sends(const struct bench_conn *conn)
{
	return conn->bench->o->direction != BENCH_DOWN;
}

static void stream_wait(struct bench_conn *conn)
{
	bool more = conn->left_out > 0 || (sends(conn) && !conn->ended);

	watch_set(&conn->watch, more ? WATCH_READ | WATCH_WRITE : WATCH_READ);
}

static void stream_end(struct bench_conn *conn)
{
	/* A preface that is still to go out goes first. */
	if (conn->ended || conn->left_out > 0)
		return;
	conn->ended = true;
	shutdown(conn->fd, SHUT_WR);
	stream_wait(conn);
}

static bool stream_send_some(struct bench_conn *conn)
{
	struct bench *b = conn->bench;
	bool preface = conn->left_out > 0;
	const uint8_t *from =
	    preface ? b->out + BENCH_PREFACE - conn->left_out : b->out + BENCH_PREFACE;
	ssize_t n = send(conn->fd, from, preface ? conn->left_out : b->o->size, MSG_NOSIGNAL);

	if (n < 0) {
		if (errno != EAGAIN)
			conn_fail(conn, "traffic", -errno, NULL, -1);
		return false;
	}
	if (preface) {
		conn->left_out -= (uint32_t)n;
	} else {
		conn->up += (uint64_t)n;
		b->count.up += (uint64_t)n;
	}
	return true;
}

static void stream_send(struct bench_conn *conn)
{
	for (unsigned i = 0; i < BUDGET && !conn->ended; i++) {
		if (conn->left_out == 0 && (!sends(conn) || conn->bench->phase >= BENCH_DRAIN))
			break;
		if (!stream_send_some(conn))
			return;
	}
}

static void keep_tail(struct bench_conn *conn, size_t n)
{
	if (n >= BENCH_TRAILER) {
		memcpy(conn->tail, in + (n - BENCH_TRAILER), BENCH_TRAILER);
		return;
	}
	memmove(conn->tail, conn->tail + n, BENCH_TRAILER - n);
	memcpy(conn->tail + BENCH_TRAILER - n, in, n);
}

/* 19 digits; returns whether they are. */
static bool read_sum(const uint8_t *at, uint64_t *ret_sum)
{
	*ret_sum = 0;
	for (unsigned i = 0; i < 19; i++) {
		if (at[i] < '0' || at[i] > '9')
			return false;
		*ret_sum = *ret_sum * 10 + (at[i] - '0');
	}
	return true;
}

/* What the server counted has to be what we counted. */
static const char *wrong_with_end(struct bench_conn *conn)
{
	uint64_t received, sent;

	if (!conn->ended)
		return "ended";
	if (conn->down < BENCH_TRAILER || !read_sum(conn->tail, &received) ||
	    conn->tail[19] != ' ' || !read_sum(conn->tail + 20, &sent) || conn->tail[39] != '\n')
		return "ended-early";
	conn->down -= BENCH_TRAILER;
	conn->bench->count.down -= BENCH_TRAILER;
	if (received != conn->up || sent != conn->down)
		return "wrong-count";
	return NULL;
}

static bool stream_read_some(struct bench_conn *conn)
{
	ssize_t n = recv(conn->fd, in, sizeof(in), 0);

	if (n < 0) {
		if (errno != EAGAIN)
			conn_fail(conn, "traffic", -errno, NULL, -1);
		return false;
	}
	if (n == 0) {
		const char *wrong = wrong_with_end(conn);

		if (wrong)
			conn_fail(conn, "traffic", 0, wrong, -1);
		else
			conn_close(conn);
		return false;
	}
	conn->down += (uint64_t)n;
	conn->bench->count.down += (uint64_t)n;
	keep_tail(conn, (size_t)n);
	return (size_t)n == sizeof(in);
}

static void stream_ready(struct bench_conn *conn, unsigned events)
{
	if (events & (WATCH_READ | WATCH_ERROR))
		for (unsigned i = 0; i < BUDGET && stream_read_some(conn); i++)
			;
	if (conn->stage == CONN_OPEN && events & WATCH_WRITE)
		stream_send(conn);
	if (conn->stage != CONN_OPEN)
		return;
	if (conn->bench->phase >= BENCH_DRAIN)
		stream_end(conn);
	stream_wait(conn);
}

/* ---- the table ---- */

static const struct bench_mode modes[] = {
    [BENCH_STREAM] =
	{
	    .unit = "byte",
	    .opened = settled_and_waits,
	    .begin = stream_wait,
	    .end = stream_end,
	    .ready = stream_ready,
	},
    [BENCH_RR] =
	{
	    .unit = "message",
	    .opened = settled_and_waits,
	    .begin = rr_begin,
	    .end = rr_end,
	    .ready = message_ready,
	    .due = rr_due,
	},
    [BENCH_CONNECT] =
	{
	    .unit = "session",
	    .opened = say_one,
	    .ready = message_ready,
	},
    [BENCH_IDLE] =
	{
	    .unit = "session",
	    .opened = say_one,
	    .end = conn_close,
	    .ready = message_ready,
	},
};

const struct bench_mode *bench_mode_of(const struct bench_options *o)
{
	return o->kind == BENCH_UDP ? &bench_udp : &modes[o->kind];
}
