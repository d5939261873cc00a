/* SPDX-License-Identifier: MIT */
/* A relay between two peers, all three in one loop and on real sockets. Runs once for each way to
 * move bytes: the only argument. */
#include "net/relay.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <time.h>

#include "proto/err.h"

#include "sockets.h"

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

static bool out_of_memory;
static bool fitful; /* the kernel interrupts, and takes and gives bit by bit */
static struct peer *resets_at_peek;
static int endless_in = -1, all_out = -1; /* descriptors: an endless source, a bottomless drain */

static void peer_closes(struct peer *p, bool reset);

/* NOLINTBEGIN(bugprone-reserved-identifier): so the linker's --wrap calls them */
void *__real_malloc(size_t size);
void *__wrap_malloc(size_t size);
ssize_t __real_recv(int fd, void *buf, size_t size, int flags);
ssize_t __wrap_recv(int fd, void *buf, size_t size, int flags);
ssize_t __real_send(int fd, const void *buf, size_t len, int flags);
ssize_t __wrap_send(int fd, const void *buf, size_t len, int flags);
ssize_t __real_splice(int in, off_t *in_at, int out, off_t *out_at, size_t len, unsigned flags);
ssize_t __wrap_splice(int in, off_t *in_at, int out, off_t *out_at, size_t len, unsigned flags);

void *__wrap_malloc(size_t size)
{
	return out_of_memory ? NULL : __real_malloc(size);
}

/* Returns a size to go on with, or 0 with errno set. */
static size_t by_fits(size_t size)
{
	static const size_t most[] = {1, 100, 5000, 100000, SIZE_MAX};
	size_t cut = most[rand_r(&random_state) % 5];

	if (rand_r(&random_state) % 4 == 0) {
		errno = rand_r(&random_state) % 2 ? EINTR : EAGAIN;
		return 0;
	}
	return size < cut ? size : cut;
}

ssize_t __wrap_recv(int fd, void *buf, size_t size, int flags)
{
	if (fd == endless_in)
		return (ssize_t)size;
	if (resets_at_peek && flags & MSG_PEEK) {
		peer_closes(resets_at_peek, true);
		resets_at_peek = NULL;
	}
	if (fitful && (size = by_fits(size)) == 0)
		return -1;
	return __real_recv(fd, buf, size, flags);
}

ssize_t __wrap_send(int fd, const void *buf, size_t len, int flags)
{
	if (fd == all_out)
		return (ssize_t)len;
	if (fitful && (len = by_fits(len)) == 0)
		return -1;
	return __real_send(fd, buf, len, flags);
}

ssize_t __wrap_splice(int in, off_t *in_at, int out, off_t *out_at, size_t len, unsigned flags)
{
	/* Whoever moves bytes by splice() never asks for more than there may be. */
	assert_true(len <= RELAY_BUDGET_ALONE);
	if (in == endless_in || out == all_out)
		return (ssize_t)len;
	if (fitful && (len = by_fits(len)) == 0)
		return -1;
	return __real_splice(in, in_at, out, out_at, len, flags);
}
/* NOLINTEND(bugprone-reserved-identifier) */

#define KIB ((size_t)1024)
#define MIB (1024 * KIB)

static uint8_t byte_at(unsigned seed, uint64_t i)
{
	return (uint8_t)((i * 167 + (i >> 8) * 13 + (i >> 16) * 7) ^ seed);
}

static void peer_shut_if_sent(struct peer *p)
{
	if (p->shut_when_sent && p->sent == p->to_send && !p->err) {
		p->shut_when_sent = false;
		shutdown(p->fd, SHUT_WR);
	}
}

static void peer_interest(struct peer *p)
{
	watch_set(&p->watch, (p->deaf || p->eof || p->err ? 0U : WATCH_READ) |
				 (p->sent < p->to_send && !p->err ? WATCH_WRITE : 0U));
}

static void peer_read(struct peer *p)
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

static void peer_write(struct peer *p)
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

static void on_peer(struct watch *watch, unsigned events)
{
	struct peer *p = (struct peer *)watch;

	if (events & (WATCH_READ | WATCH_ERROR) && !p->deaf)
		peer_read(p);
	if (events & WATCH_WRITE && p->sent < p->to_send)
		peer_write(p);
	peer_shut_if_sent(p);
	peer_interest(p);
}

static void peer_sends(struct peer *p, uint64_t n)
{
	p->to_send += n;
	peer_interest(p);
}

static void peer_shuts_after(struct peer *p)
{
	p->shut_when_sent = true;
	peer_shut_if_sent(p);
}

static void peer_listens(struct peer *p, bool yes)
{
	p->deaf = !yes;
	peer_interest(p);
}

static void peer_closes(struct peer *p, bool reset)
{
	watch_close(&p->watch, NULL);
	if (reset)
		close_with_reset(p->fd);
	else
		close(p->fd);
	p->fd = -1;
}

static void on_guard(struct timer *timer)
{
	(void)timer;
	late = true;
}

static void one_turn(void)
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

static void turn_for(uint64_t ms)
{
	timer_start(&guard, ms);
	for (late = false; !late;)
		loop_turn(&loop, true);
}

/* Turns for 30 ms in which nothing should happen, and sees that the processor had little to do. */
static void assert_rests(void)
{
	struct timespec before, after;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &before);
	turn_for(30);
	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &after);
	assert_true((after.tv_sec - before.tv_sec) * 1000000000 + after.tv_nsec - before.tv_nsec <
		    15000000);
}

static void on_over(struct relay *relay, int err)
{
	struct fixture *x = (struct fixture *)relay;

	x->calls++;
	x->err = err;
}

static void fixture_open(struct fixture *x)
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

static unsigned relays_closed;

static void on_relay_closed(struct relay *relay)
{
	(void)relay;
	relays_closed++;
}

static void fixture_close(struct fixture *x)
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

static struct fixture f, g;

static int set_up(void **state)
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

static int tear_down(void **state)
{
	(void)state;
	fitful = out_of_memory = false;
	endless_in = all_out = -1;
	fixture_close(&f);
	timer_close(&guard, NULL);
	relay_shared_fini(&shared);
	loop_fini(&loop);
	return loop.watching != 0 || shared.pipes.n != 0;
}

#define MANY (4 * MIB)

static struct peer *const client = &f.peer[RELAY_CLIENT], *const target = &f.peer[RELAY_TARGET];

static void both_ways_at_once(void **state)
{
	(void)state;
	assert_int_equal(relay_start(&f.relay, NULL, 0), 0);
	for (int i = 0; i < 2; i++) {
		peer_sends(&f.peer[i], MANY);
		peer_shuts_after(&f.peer[i]);
	}
	UNTIL(f.calls);
	assert_int_equal(f.err, ERR_OK);
	UNTIL(client->eof && target->eof);
	for (int i = 0; i < 2; i++) {
		assert_int_equal(f.peer[i].received, MANY);
		assert_int_equal(f.relay.end[i].received, MANY);
		assert_int_equal(f.relay.end[i].sent, MANY);
		assert_null(f.relay.end[i].unsent);
	}
	assert_true(f.relay.moved);
	assert_int_equal(f.calls, 1);
}

static void both_ways_by_fits(void **state)
{
	fitful = true;
	both_ways_at_once(state);
}

static void half_closes(struct peer *first, struct peer *second)
{
	assert_int_equal(relay_start(&f.relay, NULL, 0), 0);
	peer_sends(first, 1000);
	peer_shuts_after(first);
	UNTIL(second->eof);
	assert_int_equal(second->received, 1000);
	assert_true(relay_half_closed(&f.relay));
	assert_rests();
	assert_int_equal(f.calls, 0);
	peer_sends(second, 3000000);
	UNTIL(first->received == 3000000);
	assert_false(first->eof);
	peer_shuts_after(second);
	UNTIL(f.calls && first->eof);
	assert_int_equal(f.err, ERR_OK);
	assert_false(relay_half_closed(&f.relay));
}

static void client_ends_first(void **state)
{
	(void)state;
	half_closes(client, target);
}

static void target_ends_first(void **state)
{
	(void)state;
	half_closes(target, client);
}

/* The owner closes the sockets from inside, which is what sends the reset. */
static void close_when_over(struct relay *relay, int err)
{
	on_over(relay, err);
	relays_closed = 0;
	assert_int_equal(relay_close(relay, on_relay_closed), 2);
}

static void passes_reset(struct peer *from, struct peer *to, int err)
{
	f.relay.fn = close_when_over;
	assert_int_equal(relay_start(&f.relay, NULL, 0), 0);
	peer_sends(from, 20000); /* fits into any window, so it has arrived before the reset */
	UNTIL(from->sent == 20000);
	peer_closes(from, true);
	UNTIL(to->err || to->eof);
	assert_int_equal(to->err, ECONNRESET);
	assert_int_equal(to->received, 20000);
	assert_int_equal(f.err, err);
	assert_int_equal(f.calls, 1);
}

static void passes_reset_of_client(void **state)
{
	(void)state;
	passes_reset(client, target, ERR_CLIENT_RESET);
}

static void passes_reset_of_target(void **state)
{
	(void)state;
	passes_reset(target, client, ERR_TARGET_RESET);
}

/* Whoever looks whether there is more takes the error away, which the kernel tells once. */
static void reset_between_two_reads(void **state)
{
	(void)state;
	f.relay.fn = close_when_over;
	assert_int_equal(relay_start(&f.relay, NULL, 0), 0);
	resets_at_peek = target;
	peer_sends(target, 100);
	UNTIL(client->received == 100);
	if (resets_at_peek)
		peer_closes(target, true);
	resets_at_peek = NULL;
	UNTIL(client->err || client->eof);
	assert_int_equal(client->err, ECONNRESET);
	assert_int_equal(f.err, ERR_TARGET_RESET);
}

/* Half-closed, the relay reads nothing from the first and has nothing to write: only errors wait.
 */
static void passes_reset_after_end_of_stream(void **state)
{
	(void)state;
	f.relay.fn = close_when_over;
	assert_int_equal(relay_start(&f.relay, NULL, 0), 0);
	peer_shuts_after(client);
	UNTIL(target->eof);
	assert_rests();
	peer_closes(client, true);
	UNTIL(f.calls);
	assert_int_equal(f.err, ERR_CLIENT_RESET);
	/* The target has read the end of the client's stream; now its own breaks. */
	target->eof = false;
	peer_sends(target, 1);
	UNTIL(target->err);
}

/* Closing with unread data resets, so what the target still sends has nowhere to go. */
static void not_being_read_counts_as_reset(void **state)
{
	(void)state;
	f.relay.fn = close_when_over;
	peer_listens(client, false);
	assert_int_equal(relay_start(&f.relay, NULL, 0), 0);
	peer_sends(target, 1000);
	UNTIL(f.relay.end[RELAY_CLIENT].sent == 1000);
	peer_closes(client, false);
	UNTIL(target->err || target->eof);
	assert_int_equal(target->err, ECONNRESET);
	assert_int_equal(f.err, ERR_CLIENT_RESET);
}

/* Sends to a reader that does not read until nothing moves any more. */
static void fill(struct peer *from, struct peer *to)
{
	uint64_t before;

	peer_listens(to, false);
	assert_int_equal(relay_start(&f.relay, NULL, 0), 0);
	peer_sends(from, 64 * MIB);
	do {
		before = from->sent;
		turn_for(10);
	} while (from->sent != before);
}

static uint32_t held(const struct relay_end *end)
{
	return end->piped ? end->pipe->held : end->unsent_len;
}

static void holds_one_buffer_at_most(void **state)
{
	struct relay_end *end = &f.relay.end[RELAY_CLIENT];

	(void)state;
	fill(target, client);
	assert_non_null(end->unsent);
	assert_true(end->piped == (mode == RELAY_SPLICE) || mode == RELAY_AUTO);
	assert_true(held(end) <= RELAY_BUFFER_SIZE);
	assert_true(target->sent < target->to_send);
	assert_int_equal(f.relay.end[RELAY_TARGET].received, end->sent + held(end));
	assert_rests();
	/* The other way is open all the while. */
	peer_sends(client, 100000);
	UNTIL(target->received == 100000);
	peer_listens(client, true);
	UNTIL(client->received == target->to_send);
	assert_null(end->unsent);
	assert_int_equal(f.calls, 0);
}

/* The reset comes while what was sent before it is stuck: in the relay, and in both its sockets. */
static void reset_waits_for_a_slow_reader(void **state)
{
	struct relay_end *from = &f.relay.end[RELAY_TARGET];

	(void)state;
	f.relay.fn = close_when_over;
	fill(target, client);
	peer_closes(target, true);
	assert_rests();
	assert_int_equal(f.calls, 0);
	peer_listens(client, true);
	UNTIL(client->err || client->eof);
	assert_int_equal(client->err, ECONNRESET);
	assert_int_equal(f.err, ERR_TARGET_RESET);
	assert_int_equal(client->received, from->received);
	assert_true(client->received > RELAY_BUFFER_SIZE);
}

/* ... and in the kernel alone, which a close with reset would empty into nothing. */
static void reset_waits_for_the_kernel(void **state)
{
	(void)state;
	f.relay.fn = close_when_over;
	peer_listens(client, false);
	assert_int_equal(relay_start(&f.relay, NULL, 0), 0);
	peer_sends(target, 300000);
	UNTIL(f.relay.end[RELAY_CLIENT].sent == 300000);
	peer_closes(target, true);
	assert_rests();
	peer_listens(client, true);
	UNTIL(client->err || client->eof);
	assert_int_equal(client->err, ECONNRESET);
	assert_int_equal(client->received, 300000);
	assert_int_equal(f.err, ERR_TARGET_RESET);
}

/* A reader that never reads, and then goes away itself. */
static void both_may_reset(void **state)
{
	(void)state;
	fill(target, client);
	peer_closes(target, true);
	assert_rests();
	peer_closes(client, true);
	UNTIL(f.calls);
	assert_true(f.err == ERR_CLIENT_RESET || f.err == ERR_TARGET_RESET);
	assert_null(f.relay.end[RELAY_CLIENT].unsent);
}

/*
 * The client is stuck, data and end of the target wait in the relay's socket, and its other
 * direction is over too: epoll would tell that (EPOLLHUP) for ever.
 */
static void hang_up_behind_waiting_data(void **state)
{
	struct relay_end *end = &f.relay.end[RELAY_TARGET];
	const int small = 4096; /* so that the kernel does not find room for more after all */

	(void)state;
	setsockopt(client->fd, SOL_SOCKET, SO_RCVBUF, &small, sizeof(small));
	setsockopt(f.relay.end[RELAY_CLIENT].fd, SOL_SOCKET, SO_SNDBUF, &small, sizeof(small));
	peer_listens(client, false);
	assert_int_equal(relay_start(&f.relay, NULL, 0), 0);
	while (!f.relay.end[RELAY_CLIENT].unsent) {
		peer_sends(target, 8 * KIB);
		turn_for(2);
	}
	peer_sends(target, 1000);
	peer_shuts_after(target);
	peer_shuts_after(client);
	UNTIL(target->eof && target->sent == target->to_send);
	assert_rests();
	assert_true(end->quiet); /* or this does not test what it should */
	assert_true(end->received < target->sent);
	assert_int_equal(f.calls, 0);
	peer_listens(client, true);
	UNTIL(f.calls && client->eof);
	assert_int_equal(f.err, ERR_OK);
	assert_int_equal(client->received, target->sent);
}

/* What a broken connection will never take is given back at once, and nobody waits to write it. */
static void reset_of_a_stuck_reader(void **state)
{
	(void)state;
	peer_listens(client, false);
	peer_listens(target, false);
	assert_int_equal(relay_start(&f.relay, NULL, 0), 0);
	peer_sends(client, 64 * MIB);
	peer_sends(target, 64 * MIB);
	UNTIL(f.relay.end[RELAY_CLIENT].unsent && f.relay.end[RELAY_TARGET].unsent);
	peer_closes(client, true);
	UNTIL(!f.relay.end[RELAY_CLIENT].unsent);
	target->to_send = target->sent;
	peer_interest(target);
	assert_rests();
	assert_int_equal(f.calls, 0);
	peer_listens(target, true);
	UNTIL(f.calls);
	assert_int_equal(f.err, ERR_CLIENT_RESET);
	assert_int_equal(f.relay.end[RELAY_TARGET].sent, f.relay.end[RELAY_CLIENT].received);
}

static void early_data_goes_first(void **state)
{
	static uint8_t early[8 * MIB];

	(void)state;
	for (size_t i = 0; i < sizeof(early); i++)
		early[i] = byte_at(client->seed, i);
	client->sent = client->to_send = sizeof(early);
	peer_listens(target, false);
	assert_int_equal(relay_start(&f.relay, early, sizeof(early)), 0);
	memset(early, 0, sizeof(early));
	assert_non_null(f.relay.end[RELAY_TARGET].unsent);
	peer_sends(client, 100000);
	peer_shuts_after(client);
	assert_rests();
	peer_listens(target, true);
	UNTIL(target->eof);
	assert_int_equal(target->received, sizeof(early) + 100000);
	assert_int_equal(f.relay.end[RELAY_CLIENT].received, sizeof(early) + 100000);
}

static void early_data_to_a_dead_target(void **state)
{
	(void)state;
	peer_closes(target, true);
	assert_int_equal(relay_start(&f.relay, "x", 1), 0);
	assert_int_equal(f.calls, 0);
	UNTIL(f.calls);
	assert_int_equal(f.err, ERR_TARGET_RESET);
}

static void single_bytes(void **state)
{
	(void)state;
	client->write_max = target->write_max = 1;
	/* The echo is of the count, not of the bytes: they are the target's own stream. */
	target->echo = true;
	assert_int_equal(relay_start(&f.relay, NULL, 0), 0);
	for (int i = 1; i <= 1000; i++) {
		peer_sends(client, 1);
		UNTIL(client->received == (uint64_t)i);
	}
	peer_shuts_after(client);
	UNTIL(target->eof);
	peer_shuts_after(target);
	UNTIL(f.calls);
	assert_int_equal(f.err, ERR_OK);
	assert_int_equal(f.relay.end[RELAY_TARGET].received, 1000);
}

/* Beside a stream that never pauses a small one waits for a turn or two, not for its end. */
static void an_endless_stream_leaves_room(void **state)
{
	struct relay_end *bulk = &g.relay.end[RELAY_TARGET];
	struct peer *echo = target;
	uint64_t before;

	(void)state;
	fixture_open(&g);
	assert_int_equal(relay_start(&g.relay, NULL, 0), 0);
	assert_int_equal(relay_start(&f.relay, NULL, 0), 0);
	peer_sends(&g.peer[RELAY_TARGET], 1);
	UNTIL(g.peer[RELAY_CLIENT].received == 1);
	endless_in = bulk->fd;
	all_out = g.relay.end[RELAY_CLIENT].fd;
	peer_sends(&g.peer[RELAY_TARGET], 1); /* never taken: readable from now on */
	UNTIL(bulk->received > 1);
	echo->echo = true;
	for (unsigned i = 1; i <= 20; i++) {
		peer_sends(client, 1);
		while (client->received < i) {
			before = bulk->received;
			one_turn();
			assert_true(bulk->received - before <= RELAY_BUDGET);
		}
		assert_true(bulk->received < 1 + i * (16 * RELAY_BUDGET));
	}
	g.peer[RELAY_CLIENT].deaf = true;
	fixture_close(&g);
}

/* The least and the most that a turn has moved of `bulk` in the next `n` turns. */
static void turns_of(
    const struct relay_end *bulk, unsigned n, uint64_t *ret_least, uint64_t *ret_most)
{
	*ret_least = UINT64_MAX;
	*ret_most = 0;
	for (; n > 0; n--) {
		uint64_t before = bulk->received, moved;

		one_turn();
		moved = bulk->received - before;
		*ret_least = moved < *ret_least ? moved : *ret_least;
		*ret_most = moved > *ret_most ? moved : *ret_most;
	}
}

/* With nobody else there a turn of it takes longer; with somebody it is short again at once. */
static void a_stream_alone_takes_long_turns(void **state)
{
	struct relay_end *bulk = &g.relay.end[RELAY_TARGET];
	uint64_t least, most, alone = mode == RELAY_COPY ? RELAY_BUDGET : RELAY_BUDGET_ALONE;
	uint64_t beside = mode == RELAY_COPY ? RELAY_BUDGET : RELAY_BUDGET_BULK;

	(void)state;
	fixture_open(&g);
	assert_int_equal(relay_start(&g.relay, NULL, 0), 0);
	assert_int_equal(relay_start(&f.relay, NULL, 0), 0);
	peer_sends(&g.peer[RELAY_TARGET], 1);
	UNTIL(g.peer[RELAY_CLIENT].received == 1);
	endless_in = bulk->fd;
	all_out = g.relay.end[RELAY_CLIENT].fd;
	peer_sends(&g.peer[RELAY_TARGET], 1);
	UNTIL(bulk->received > 1);
	turns_of(bulk, 10, &least, &most);
	turns_of(bulk, 10, &least, &most);
	assert_int_equal(most, beside);
	turns_of(bulk, 50, &least, &most);
	turns_of(bulk, 10, &least, &most);
	assert_int_equal(least, alone);
	assert_int_equal(most, alone);
	peer_sends(client, 1);
	UNTIL(target->received == 1);
	turns_of(bulk, 10, &least, &most);
	assert_int_equal(most, beside);
	g.peer[RELAY_CLIENT].deaf = true;
	fixture_close(&g);
}

static int lowat(const struct relay_end *end)
{
	int bytes = 0;
	socklen_t size = sizeof(bytes);

	assert_int_equal(getsockopt(end->fd, SOL_SOCKET, SO_RCVLOWAT, &bytes, &size), 0);
	return bytes;
}

/* The peers' ends without the loop, whose only calls are then the relay's: what is written goes to
 * `*in`, what is read to `*out`. */
static void flow(uint64_t *in, uint64_t *out)
{
	static uint8_t buf[MIB];
	ssize_t n = send(target->fd, buf, sizeof(buf), MSG_DONTWAIT | MSG_NOSIGNAL);

	if (n > 0)
		*in += (uint64_t)n;
	loop_turn(&loop, false);
	while ((n = recv(client->fd, buf, sizeof(buf), MSG_DONTWAIT)) > 0)
		*out += (uint64_t)n;
}

static void flow_out(uint64_t in, uint64_t *out)
{
	static uint8_t buf[MIB];
	ssize_t n;

	while (*out < in) {
		one_turn();
		while ((n = recv(client->fd, buf, sizeof(buf), MSG_DONTWAIT)) > 0)
			*out += (uint64_t)n;
	}
}

/* It is woken for much at once. What is less comes all the same, and where that happens thrice it
 * is not held any more. */
static void a_stream_alone_is_held_while_it_flows(void **state)
{
	const struct relay_end *from = &f.relay.end[RELAY_TARGET];
	const uint64_t enough = (uint64_t)1024 * MIB;
	uint64_t in = 0, out = 0, before;
	unsigned holds = 0;

	(void)state;
	peer_listens(client, false);
	peer_listens(target, false);
	assert_int_equal(relay_start(&f.relay, NULL, 0), 0);
	/* On a busy machine it may stall by itself. */
	while (mode != RELAY_COPY && from->stalls < 3 && in < enough) {
		flow(&in, &out);
		if (!shared.held)
			continue;
		assert_ptr_equal(shared.held, from);
		assert_true(lowat(from) > 1);
		holds++;
		flow_out(in, &out);
		if (send(target->fd, "tail", 4, MSG_NOSIGNAL) == 4)
			in += 4;
		flow_out(in, &out);
		UNTIL(!shared.held);
		assert_int_equal(lowat(from), 1);
	}
	assert_true(holds > 0 || mode == RELAY_COPY);
	assert_int_equal(from->stalls, mode == RELAY_COPY ? 0 : 3);
	for (before = in; in - before < 64 * MIB; assert_null(shared.held))
		flow(&in, &out);
	flow_out(in, &out);
}

static void loses_nothing_silently(void **state)
{
	(void)state;
	peer_listens(client, false);
	assert_int_equal(relay_start(&f.relay, NULL, 0), 0);
	out_of_memory = true;
	peer_sends(target, 64 * MIB);
	UNTIL(f.calls);
	out_of_memory = false;
	assert_int_equal(f.err, -ENOMEM);
	f.relay.fn = NULL;
	relays_closed = 0;
	relay_close(&f.relay, on_relay_closed);
	peer_listens(client, true);
	UNTIL(client->err || client->eof);
	assert_int_equal(client->err, ECONNRESET);
}

static void early_data_without_memory(void **state)
{
	static const uint8_t early[8 * MIB];

	(void)state;
	out_of_memory = true;
	assert_int_equal(relay_start(&f.relay, early, sizeof(early)), -ENOMEM);
	out_of_memory = false;
	assert_true(f.relay.over);
	peer_closes(target, true);
	assert_rests();
	assert_int_equal(f.calls, 0);
}

static void closes_at_any_time(void **state)
{
	struct relay empty;

	(void)state;
	relay_init(&empty, &shared, on_over);
	assert_int_equal(relay_close(&empty, on_relay_closed), 0);
	fixture_open(&g); /* watched, not started */
	fixture_close(&g);
	fill(target, client);
	assert_non_null(f.relay.end[RELAY_CLIENT].unsent);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(int argc, char **argv)
{
	static const char *const names[] = {
	    [RELAY_AUTO] = "auto", [RELAY_COPY] = "copy", [RELAY_SPLICE] = "splice"};
	const struct CMUnitTest tests[] = {
	    TEST(both_ways_at_once),
	    TEST(both_ways_by_fits),
	    TEST(client_ends_first),
	    TEST(target_ends_first),
	    TEST(passes_reset_of_client),
	    TEST(passes_reset_of_target),
	    TEST(reset_between_two_reads),
	    TEST(passes_reset_after_end_of_stream),
	    TEST(not_being_read_counts_as_reset),
	    TEST(holds_one_buffer_at_most),
	    TEST(reset_waits_for_a_slow_reader),
	    TEST(reset_waits_for_the_kernel),
	    TEST(both_may_reset),
	    TEST(hang_up_behind_waiting_data),
	    TEST(reset_of_a_stuck_reader),
	    TEST(early_data_goes_first),
	    TEST(early_data_to_a_dead_target),
	    TEST(single_bytes),
	    TEST(an_endless_stream_leaves_room),
	    TEST(a_stream_alone_takes_long_turns),
	    TEST(a_stream_alone_is_held_while_it_flows),
	    TEST(loses_nothing_silently),
	    TEST(early_data_without_memory),
	    TEST(closes_at_any_time),
	};

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]) && argc > 1; i++)
		if (strcmp(argv[1], names[i]) == 0)
			mode = (enum relay_mode)i;
	signal(SIGPIPE, SIG_IGN);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
