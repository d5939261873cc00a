/* SPDX-License-Identifier: MIT */
/*
 * A relay between two peers, all three in one loop and on real sockets. Tests of it run once for
 * each way to move bytes: the only argument.
 */
#ifndef TABI_TESTS_RELAY_PEERS_H
#define TABI_TESTS_RELAY_PEERS_H

#include "net/relay.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>

#include "sockets.h"

#define KIB ((size_t)1024)
#define MIB (1024 * KIB)

/* One of the two programs at the far ends: sends and checks a stream that its seed determines. */
struct peer {
	struct watch watch; /* first */
	int fd;
	uint64_t to_send, sent, received;
	size_t write_max; /* bytes in one write; random below that */
	unsigned seed;    /* of what is sent */
	unsigned expects; /* seed of what is received */
	bool deaf;        /* does not read */
	bool shut_when_sent;
	bool echo; /* sends one byte for every byte received */
	bool eof;
	int err;
};

struct fixture {
	struct relay relay;  /* first */
	struct peer peer[2]; /* by enum relay_side */
	int calls, err;
};

static struct loop loop;
static struct relay_shared shared;
static struct timer guard;
static bool late;
static enum relay_mode mode;
static unsigned random_state = 1;
static unsigned relays_closed;

static struct fixture f, g; /* g is for tests to open and close */
static struct peer *const client = &f.peer[RELAY_CLIENT], *const target = &f.peer[RELAY_TARGET];

static inline uint8_t byte_at(unsigned seed, uint64_t i)
{
	return (uint8_t)((i * 167 + (i >> 8) * 13 + (i >> 16) * 7) ^ seed);
}

static inline void peer_shut_if_sent(struct peer *p)
{
	if (p->shut_when_sent && p->sent == p->to_send && !p->err) {
		p->shut_when_sent = false;
		shutdown(p->fd, SHUT_WR);
	}
}

static inline void peer_interest(struct peer *p)
{
	watch_set(&p->watch, (p->deaf || p->eof || p->err ? 0U : WATCH_READ) |
				 (p->sent < p->to_send && !p->err ? WATCH_WRITE : 0U));
}

static inline void peer_read(struct peer *p)
{
	static uint8_t buf[128 * KIB];
	ssize_t n = recv(p->fd, buf, sizeof(buf), 0);

	if (n < 0 && errno != EAGAIN && errno != EINTR)
		p->err = errno;
	if (n == 0)
		p->eof = true;
	for (ssize_t i = 0; i < n; i++)
		if (buf[i] != byte_at(p->expects, p->received + (uint64_t)i))
			fail_msg("wrong byte at %llu", (unsigned long long)p->received + i);
	if (n > 0) {
		p->received += (uint64_t)n;
		if (p->echo)
			p->to_send += (uint64_t)n;
	}
}

static inline void peer_write(struct peer *p)
{
	static uint8_t buf[128 * KIB];
	size_t n = p->write_max > 1 ? 1 + (size_t)rand_r(&random_state) % p->write_max : 1;
	ssize_t w;

	if (n > p->to_send - p->sent)
		n = (size_t)(p->to_send - p->sent);
	for (size_t i = 0; i < n; i++)
		buf[i] = byte_at(p->seed, p->sent + i);
	w = send(p->fd, buf, n, MSG_NOSIGNAL);
	if (w < 0 && errno != EAGAIN && errno != EINTR)
		p->err = errno;
	if (w > 0)
		p->sent += (uint64_t)w;
}

static inline void on_peer(struct watch *watch, unsigned events)
{
	struct peer *p = (struct peer *)watch;

	if (events & (WATCH_READ | WATCH_ERROR) && !p->deaf)
		peer_read(p);
	if (events & WATCH_WRITE && p->sent < p->to_send)
		peer_write(p);
	peer_shut_if_sent(p);
	peer_interest(p);
}

static inline void peer_sends(struct peer *p, uint64_t n)
{
	p->to_send += n;
	peer_interest(p);
}

static inline void peer_shuts_after(struct peer *p)
{
	p->shut_when_sent = true;
	peer_shut_if_sent(p);
}

static inline void peer_listens(struct peer *p, bool yes)
{
	p->deaf = !yes;
	peer_interest(p);
}

static inline void peer_closes(struct peer *p, bool reset)
{
	watch_close(&p->watch, NULL);
	if (reset)
		close_with_reset(p->fd);
	else
		close(p->fd);
	p->fd = -1;
}

static inline void on_guard(struct timer *timer)
{
	(void)timer;
	late = true;
}

static inline void one_turn(void)
{
	late = false;
	timer_start(&guard, 10000);
	loop_turn(&loop, true);
	timer_stop(&guard);
	if (late)
		fail_msg("nothing happened for ten seconds");
}

#define UNTIL(condition)                                                                           \
	while (!(condition))                                                                       \
	one_turn()

static inline void turn_for(uint64_t ms)
{
	timer_start(&guard, ms);
	for (late = false; !late;)
		loop_turn(&loop, true);
}

static inline void on_over(struct relay *relay, int err)
{
	struct fixture *x = (struct fixture *)relay;

	x->calls++;
	x->err = err;
}

static inline void fixture_open(struct fixture *x)
{
	memset(x, 0, sizeof(*x));
	relay_init(&x->relay, &shared, on_over);
	for (int i = 0; i < 2; i++) {
		struct relay_end *end = &x->relay.end[i];
		int fd[2];

		tcp_pair(fd);
		end->fd = fd[0];
		assert_int_equal(watch_init(&end->watch, &loop, end->fd, on_peer), 0);
		x->peer[i].fd = fd[1];
		x->peer[i].write_max = 96 * KIB;
		x->peer[i].seed = 0x55U + (unsigned)i;
		x->peer[i].expects = 0x55U + !i;
		assert_int_equal(watch_init(&x->peer[i].watch, &loop, fd[1], on_peer), 0);
		peer_interest(&x->peer[i]);
	}
}

static inline void on_relay_closed(struct relay *relay)
{
	(void)relay;
	relays_closed++;
}

static inline void fixture_close(struct fixture *x)
{
	if (x->relay.end[RELAY_CLIENT].fd >= 0) {
		relays_closed = 0;
		assert_int_equal(relay_close(&x->relay, on_relay_closed), 2);
	}
	for (int i = 0; i < 2; i++)
		if (x->peer[i].fd >= 0)
			peer_closes(&x->peer[i], false);
	UNTIL(relays_closed == 1);
}

static inline int relay_set_up(void **state)
{
	(void)state;
	assert_int_equal(loop_init(&loop), 0);
	assert_int_equal(relay_shared_init(&shared, &loop), 0);
	shared.mode = mode;
	pipe_pool_limit(&shared.pipes, PIPE_BYTES_OF_ALL, 100);
	timer_init(&guard, &loop, on_guard);
	fixture_open(&f);
	return 0;
}

static inline int relay_tear_down(void **state)
{
	(void)state;
	fixture_close(&f);
	timer_close(&guard, NULL);
	relay_shared_fini(&shared);
	loop_fini(&loop);
	return loop.watching != 0 || shared.pipes.n != 0;
}

/* For main(). */
static inline void relay_mode_from(int argc, char **argv)
{
	static const char *const names[] = {
	    [RELAY_AUTO] = "auto", [RELAY_COPY] = "copy", [RELAY_SPLICE] = "splice"};

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]) && argc > 1; i++)
		if (strcmp(argv[1], names[i]) == 0)
			mode = (enum relay_mode)i;
	signal(SIGPIPE, SIG_IGN);
}

#endif
