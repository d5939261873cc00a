/* SPDX-License-Identifier: MIT */
/* The connections of tabi bench: dialled, through the proxy, and ended. */
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/bench.h"
#include "net/sockaddr.h"
#include "proto/connect.h"
#include "proto/err.h"

/* Only while the proxy is spoken to. */
struct bench_handshake {
	struct connect machine;
	size_t in_len, out_at, out_len;
	uint8_t out[CONNECT_OUTPUT_MAX];
	uint8_t in[CONNECT_INPUT_MAX];
};

const char *conn_stage_name(const struct bench_conn *conn)
{
	static const char *const names[] = {
	    [CONN_NONE] = "connect",
	    [CONN_DIALS] = "connect",
	    [CONN_SHAKES_HANDS] = "handshake",
	    [CONN_OPEN] = "traffic",
	    [CONN_CLOSING] = "traffic",
	};

	return names[conn->stage];
}

/* ---- the end ---- */

static void on_closed(struct watch *watch)
{
	struct bench_conn *conn = (struct bench_conn *)watch;

	conn->stage = CONN_NONE;
	conn->bench->live--;
	bench_closed(conn);
}

static void made_or_not(struct bench_conn *conn)
{
	if (conn->stage == CONN_DIALS || conn->stage == CONN_SHAKES_HANDS)
		conn->bench->dialing--;
	/* A password went out through it. */
	if (conn->handshake)
		explicit_bzero(conn->handshake->out, sizeof(conn->handshake->out));
	free(conn->handshake);
	conn->handshake = NULL;
}

void conn_close(struct bench_conn *conn)
{
	if (conn->stage == CONN_NONE || conn->stage == CONN_CLOSING)
		return;
	made_or_not(conn);
	if (conn->bench->mode->close)
		conn->bench->mode->close(conn);
	conn->stage = CONN_CLOSING;
	watch_close(&conn->watch, on_closed);
	close(conn->fd);
	conn->fd = -1;
}

void conn_fail(struct bench_conn *conn, const char *stage, int err, const char *word, int code)
{
	bench_count_error(conn->bench, stage, word ? word : err_word(err), code);
	/* What was due and waits has nobody to send it any more. */
	for (; conn->pending > 0; conn->pending--)
		bench_count_error(conn->bench, "traffic", "no-connection", -1);
	conn->failed = true;
	conn_close(conn);
	bench_settle(conn);
}

/* ---- through the proxy ---- */

static void is_open(struct bench_conn *conn)
{
	made_or_not(conn);
	conn->stage = CONN_OPEN;
	conn->bench->mode->opened(conn);
}

/* Returns whether all is sent. */
static bool flush(struct bench_conn *conn)
{
	struct bench_handshake *h = conn->handshake;

	while (h->out_at < h->out_len) {
		ssize_t n =
		    send(conn->fd, h->out + h->out_at, h->out_len - h->out_at, MSG_NOSIGNAL);

		if (n < 0) {
			int err = -errno;

			if (err == -EAGAIN)
				watch_set(&conn->watch, WATCH_WRITE);
			else
				conn_fail(conn, "handshake", err, NULL, -1);
			return false;
		}
		h->out_at += (size_t)n;
	}
	h->out_at = h->out_len = 0;
	return true;
}

/* Of UDP ASSOCIATE; a proxy that says it by name is not asked for more. */
static void find_relay(struct bench_conn *conn)
{
	struct addr proxy = socket_peer_addr(conn->fd);
	struct addr relay = connect_listens_at(&conn->handshake->machine, &proxy.ip);

	conn->relay = relay.kind == ADDR_IP ? relay.ip : proxy.ip;
	conn->relay_port = relay.port;
}

static void step(struct bench_conn *conn, bool at_end)
{
	struct bench_handshake *h = conn->handshake;
	struct wire_reader in = wire_reader_of(h->in, h->in_len);
	struct wire_writer out = wire_writer_of(h->out, sizeof(h->out));
	enum connect_event event =
	    at_end ? connect_eof(&h->machine, &in) : connect_step(&h->machine, &in, &out);

	memmove(h->in, h->in + in.pos, h->in_len - in.pos);
	h->in_len -= in.pos;
	h->out_len = out.len;
	if (event == CONNECT_FAILED) {
		conn_fail(conn, "handshake", h->machine.err, NULL, h->machine.code);
	} else if (event == CONNECT_DONE) {
		find_relay(conn);
		is_open(conn);
	} else if (event != CONNECT_MORE) {
		/* TLS and GSS-API, for which nobody asked. */
		conn_fail(conn, "handshake", ERR_PROXY_PROTOCOL, NULL, -1);
	} else if (flush(conn)) {
		watch_set(&conn->watch, WATCH_READ);
	}
}

static void read_answer(struct bench_conn *conn)
{
	struct bench_handshake *h = conn->handshake;
	size_t room = sizeof(h->in) - h->in_len;
	size_t want = h->machine.want < room ? h->machine.want : room;
	ssize_t n = recv(conn->fd, h->in + h->in_len, want, 0);

	if (n < 0) {
		int err = -errno;

		if (err != -EAGAIN)
			conn_fail(conn, "handshake", err, NULL, -1);
		return;
	}
	h->in_len += (size_t)n;
	step(conn, n == 0);
}

static void on_handshake(struct bench_conn *conn)
{
	if (conn->handshake->out_len > 0) {
		if (flush(conn))
			watch_set(&conn->watch, WATCH_READ);
		return;
	}
	read_answer(conn);
}

static void shake_hands(struct bench_conn *conn)
{
	struct bench *b = conn->bench;

	/* Not zeroed: most of it is never touched. */
	conn->handshake = malloc(sizeof(*conn->handshake));
	if (!conn->handshake) {
		conn_fail(conn, "handshake", -ENOMEM, NULL, -1);
		return;
	}
	conn->handshake->in_len = conn->handshake->out_at = conn->handshake->out_len = 0;
	conn->stage = CONN_SHAKES_HANDS;
	connect_init(&conn->handshake->machine, &b->o->proxy, 1,
	    b->o->kind == BENCH_UDP ? COMMAND_UDP : COMMAND_CONNECT,
	    b->o->kind == BENCH_UDP ? &b->any : &b->targets[conn->target]);
	step(conn, false);
}

/* ---- the beginning ---- */

static void on_dialled(struct bench_conn *conn)
{
	int err = socket_take_error(conn->fd);

	if (err)
		conn_fail(conn, "connect", err, NULL, -1);
	else if (conn->bench->o->direct)
		is_open(conn);
	else
		shake_hands(conn);
}

static void on_event(struct watch *watch, unsigned events)
{
	struct bench_conn *conn = (struct bench_conn *)watch;

	if (conn->stage == CONN_DIALS)
		on_dialled(conn);
	else if (conn->stage == CONN_SHAKES_HANDS)
		on_handshake(conn);
	else
		conn->bench->mode->ready(conn, events);
}

void conn_start(struct bench_conn *conn)
{
	struct bench *b = conn->bench;
	unsigned target = b->next_target++ % b->o->n_targets, way = b->o->direct ? target : 0;
	int type = b->o->kind == BENCH_UDP && b->o->direct ? SOCK_DGRAM : SOCK_STREAM;
	int fd = socket(b->first[way].sa.ss_family, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	if (fd < 0) {
		conn_fail(conn, "connect", -errno, NULL, -1);
		return;
	}
	*conn = (struct bench_conn){
	    .bench = b,
	    .fd = fd,
	    .stage = CONN_DIALS,
	    .settled = conn->settled,
	    .left_out = BENCH_PREFACE,
	    .due = bench_clock(),
	    .target = target,
	};
	b->live++;
	b->dialing++;
	if (type == SOCK_STREAM)
		setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int));
	watch_init(&conn->watch, &b->loop, fd, on_event);
	if (connect(fd, (const struct sockaddr *)&b->first[way].sa, b->first[way].len) < 0 &&
	    errno != EINPROGRESS)
		conn_fail(conn, "connect", -errno, NULL, -1);
	else
		watch_set(&conn->watch, WATCH_WRITE);
}
