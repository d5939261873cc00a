/* SPDX-License-Identifier: MIT */
/*
 * Relays through layers. The layer here is a toy that has all the habits a real one may have: its
 * messages have heads, come in halves and several at once; it gives out a message bit by bit, takes
 * less than it is offered, and holds what the socket does not take. Two relays speak it to each
 * other, plain peers sit at the far ends.
 */
#include "net/relay.h"

#include <errno.h>
#include <stdlib.h>

#include "proto/err.h"

#include "sockets.h"

#define KIB ((size_t)1024)
#define MIB (1024 * KIB)

/* ---- the toy: length in two bytes, then as many bytes, all flipped; length 0 is the end ---- */

#define TOY_MAX ((size_t)4000)

struct toy {
	struct layer layer; /* first */
	int fd;
	bool told_end, got_end;
	uint8_t in[8 * KIB], out[TOY_MAX + 2];
	size_t in_len, in_at; /* of the first message `in_at` bytes were given out */
	size_t out_len, out_at;
};

static unsigned random_state = 1;
static size_t toys;

static size_t up_to(size_t n)
{
	return 1 + (size_t)rand_r(&random_state) % n;
}

static size_t toy_length(const struct toy *t)
{
	return (size_t)t->in[0] << 8 | t->in[1];
}

/* Is there a whole message, or the end? */
static bool toy_has(const struct toy *t)
{
	return t->got_end || (t->in_len >= 2 && t->in_len >= 2 + toy_length(t));
}

static ssize_t toy_fill(struct toy *t)
{
	ssize_t n = recv(t->fd, t->in + t->in_len, sizeof(t->in) - t->in_len, 0);

	if (n < 0)
		return -errno;
	/* A socket that ends before the end was told. */
	if (n == 0)
		return ERR_TRUNCATED;
	t->in_len += (size_t)n;
	return n;
}

static void toy_drop(struct toy *t, size_t n)
{
	memmove(t->in, t->in + n, t->in_len - n);
	t->in_len -= n;
	t->in_at = 0;
}

static ssize_t toy_recv(struct layer *layer, void *buf, size_t size)
{
	struct toy *t = (struct toy *)layer;
	uint8_t *to = buf;
	size_t n;

	while (!toy_has(t)) {
		ssize_t got = toy_fill(t);

		if (got < 0)
			layer->pending = false;
		if (got < 0)
			return got;
	}
	if (t->got_end || toy_length(t) == 0) {
		t->got_end = true;
		return 0;
	}
	n = up_to(toy_length(t) - t->in_at);
	n = n < size ? n : size;
	for (size_t i = 0; i < n; i++)
		to[i] = t->in[2 + t->in_at + i] ^ 0xff;
	t->in_at += n;
	if (t->in_at == toy_length(t))
		toy_drop(t, 2 + t->in_at);
	layer->pending = toy_has(t);
	return (ssize_t)n;
}

static int toy_flush(struct layer *layer)
{
	struct toy *t = (struct toy *)layer;
	ssize_t n;

	if (t->out_at == t->out_len)
		return 0;
	/* Bit by bit, and at times not at all. */
	if (rand_r(&random_state) % 4 == 0)
		return -EAGAIN;
	n = send(t->fd, t->out + t->out_at, up_to(t->out_len - t->out_at), MSG_NOSIGNAL);
	if (n < 0)
		return -errno;
	t->out_at += (size_t)n;
	layer->holds = t->out_at < t->out_len;
	return layer->holds ? -EAGAIN : 0;
}

static void toy_put(struct toy *t, const uint8_t *from, size_t n)
{
	assert_false(t->layer.holds);
	assert_false(t->told_end);
	t->out[0] = (uint8_t)(n >> 8);
	t->out[1] = (uint8_t)n;
	for (size_t i = 0; i < n; i++)
		t->out[2 + i] = from[i] ^ 0xff;
	t->out_at = 0;
	t->out_len = 2 + n;
	t->layer.holds = true;
}

static ssize_t toy_send(struct layer *layer, const void *buf, size_t len)
{
	size_t n = up_to(len < TOY_MAX ? len : TOY_MAX);
	int err;

	toy_put((struct toy *)layer, buf, n);
	err = toy_flush(layer);
	return err && err != -EAGAIN ? err : (ssize_t)n;
}

static int toy_end(struct layer *layer)
{
	toy_put((struct toy *)layer, NULL, 0);
	((struct toy *)layer)->told_end = true;
	return 0;
}

static void toy_free(struct layer *layer)
{
	toys--;
	free(layer);
}

static struct layer *toy_new(int fd)
{
	static const struct layer_ops ops = {toy_recv, toy_send, toy_flush, toy_end, toy_free};
	struct toy *t = calloc(1, sizeof(*t));

	assert_non_null(t);
	toys++;
	t->layer.ops = &ops;
	t->fd = fd;
	return &t->layer;
}

/* ---- peer 0 - first relay = toy = second relay - peer 1 ---- */

static struct loop loop;
static struct relay_shared shared;
static struct relay relays[2];
static int over[2], calls[2];
static unsigned gone;
static int peer[2];
static uint64_t to_send[2], sent[2], received[2];
static bool ended[2];
static int failed[2];

static uint8_t byte_at(int from, uint64_t i)
{
	return (uint8_t)((i * 167 + (i >> 8) * 13 + (i >> 16) * 7) ^ (unsigned)from);
}

static void on_over(struct relay *relay, int err)
{
	over[relay - relays] = err;
	calls[relay - relays]++;
}

static void nothing(struct watch *watch, unsigned events)
{
	(void)watch;
	(void)events;
}

static void give_end(struct relay *relay, enum relay_side side, int fd, struct layer *layer)
{
	struct relay_end *end = &relay->end[side];

	end->fd = fd;
	end->layer = layer;
	assert_int_equal(watch_init(&end->watch, &loop, fd, nothing), 0);
}

static int set_up(void **state)
{
	int outer[2][2], inner[2];

	(void)state;
	assert_int_equal(loop_init(&loop), 0);
	assert_int_equal(relay_shared_init(&shared, &loop), 0);
	tcp_pair(inner);
	for (int i = 0; i < 2; i++) {
		enum relay_side side = i == 0 ? RELAY_CLIENT : RELAY_TARGET;

		tcp_pair(outer[i]);
		peer[i] = outer[i][1];
		relay_init(&relays[i], &shared, on_over);
		give_end(&relays[i], side, outer[i][0], NULL);
		give_end(&relays[i], side == RELAY_CLIENT ? RELAY_TARGET : RELAY_CLIENT, inner[i],
		    toy_new(inner[i]));
		over[i] = calls[i] = failed[i] = 0;
		to_send[i] = sent[i] = received[i] = 0;
		ended[i] = false;
	}
	return 0;
}

static void count_gone(struct relay *relay)
{
	(void)relay;
	gone++;
}

static int tear_down(void **state)
{
	(void)state;
	gone = 0;
	for (int i = 0; i < 2; i++) {
		relay_close(&relays[i], count_gone);
		if (peer[i] >= 0)
			close(peer[i]);
	}
	while (gone < 2)
		loop_turn(&loop, true);
	relay_shared_fini(&shared);
	loop_fini(&loop);
	assert_int_equal(toys, 0);
	return loop.watching != 0;
}

static void start(void)
{
	for (int i = 0; i < 2; i++)
		assert_int_equal(relay_start(&relays[i], NULL, 0), 0);
}

static void peer_turn(int i)
{
	static uint8_t buf[64 * KIB];
	ssize_t n;

	if (sent[i] < to_send[i]) {
		size_t len = up_to(sizeof(buf));

		len = len < to_send[i] - sent[i] ? len : (size_t)(to_send[i] - sent[i]);
		for (size_t k = 0; k < len; k++)
			buf[k] = byte_at(i, sent[i] + k);
		n = send(peer[i], buf, len, MSG_NOSIGNAL);
		sent[i] += n > 0 ? (uint64_t)n : 0;
	}
	n = recv(peer[i], buf, sizeof(buf), 0);
	for (ssize_t k = 0; k < n; k++)
		assert_int_equal(buf[k], byte_at(!i, received[i] + (uint64_t)k));
	received[i] += n > 0 ? (uint64_t)n : 0;
	ended[i] |= n == 0;
	if (n < 0 && errno != EAGAIN)
		failed[i] = errno;
}

/* Polling without waiting: the test is over when its condition holds, or never. */
#define UNTIL(condition)                                                                           \
	for (unsigned turns = 0; !(condition); turns++) {                                          \
		assert_true(turns < 2000000);                                                      \
		peer_turn(0);                                                                      \
		peer_turn(1);                                                                      \
		loop_turn(&loop, false);                                                           \
	}

static void both_ways_at_once(void **state)
{
	(void)state;
	start();
	to_send[0] = 2 * MIB;
	to_send[1] = 2 * MIB + 1;
	UNTIL(received[0] == to_send[1] && received[1] == to_send[0]);
	for (int i = 0; i < 2; i++)
		shutdown(peer[i], SHUT_WR);
	UNTIL(calls[0] && calls[1] && ended[0] && ended[1]);
	assert_int_equal(over[0], ERR_OK);
	assert_int_equal(over[1], ERR_OK);
	/* What is counted is what the peers sent, not what went over the wire. */
	assert_int_equal(relays[0].end[RELAY_TARGET].sent, to_send[0]);
	assert_int_equal(relays[0].end[RELAY_TARGET].received, to_send[1]);
	assert_int_equal(relays[1].end[RELAY_CLIENT].received, to_send[0]);
}

static void one_half_ends_first(void **state)
{
	(void)state;
	start();
	to_send[0] = 1000;
	UNTIL(sent[0] == to_send[0]);
	shutdown(peer[0], SHUT_WR);
	UNTIL(ended[1]);
	assert_int_equal(received[1], 1000);
	assert_int_equal(calls[0] + calls[1], 0);
	to_send[1] = MIB;
	UNTIL(received[0] == to_send[1]);
	assert_false(ended[0]);
	shutdown(peer[1], SHUT_WR);
	UNTIL(calls[0] && calls[1] && ended[0]);
	assert_int_equal(over[0], ERR_OK);
	assert_int_equal(over[1], ERR_OK);
}

/* A reader that does not read stops the sender at the other end, through both layers. */
static void a_slow_reader_holds_the_sender(void **state)
{
	uint64_t before = 0;

	(void)state;
	start();
	to_send[0] = 64 * MIB;
	for (int quiet = 0; quiet < 2000; quiet++) {
		uint8_t byte = byte_at(0, sent[0]);

		if (sent[0] != before)
			quiet = 0;
		before = sent[0];
		sent[0] += send(peer[0], &byte, 1, MSG_NOSIGNAL) == 1;
		for (int i = 0; i < 64 && quiet == 0; i++) {
			uint8_t buf[KIB];
			ssize_t n;

			for (size_t k = 0; k < sizeof(buf); k++)
				buf[k] = byte_at(0, sent[0] + k);
			n = send(peer[0], buf, sizeof(buf), MSG_NOSIGNAL);
			sent[0] += n > 0 ? (uint64_t)n : 0;
		}
		loop_turn(&loop, false);
	}
	assert_true(sent[0] < to_send[0]);
	to_send[0] = sent[0];
	UNTIL(received[1] == sent[0]);
}

/* A socket that ends without the layer's own end is a broken one: nothing looks complete. */
static void an_end_without_the_layers_end(void **state)
{
	(void)state;
	start();
	to_send[0] = 5000;
	UNTIL(received[1] == to_send[0]);
	shutdown(relays[0].end[RELAY_TARGET].fd, SHUT_WR);
	UNTIL(calls[1]);
	assert_int_equal(over[1], ERR_TRUNCATED);
	relay_close(&relays[1], count_gone);
	UNTIL(failed[1]);
	assert_int_equal(failed[1], ECONNRESET);
	assert_false(ended[1]);
	relay_init(&relays[1], &shared, on_over);
	give_end(&relays[1], RELAY_CLIENT, dup(peer[0]), NULL);
}

/* What the layer had read before the relay began: nothing on the socket will tell of it. */
static void pending_at_the_start(void **state)
{
	struct relay_end *end = &relays[1].end[RELAY_CLIENT];
	uint8_t first = 0;

	(void)state;
	assert_int_equal(relay_start(&relays[0], NULL, 0), 0);
	to_send[0] = 3000;
	UNTIL(sent[0] == to_send[0]);
	for (int i = 0; i < 1000; i++)
		loop_turn(&loop, false);
	assert_int_equal(layer_recv(end->layer, end->fd, &first, 1), 1);
	assert_int_equal(first, byte_at(0, 0));
	assert_true(layer_pending(end->layer));
	assert_int_equal(relay_start(&relays[1], &first, 1), 0);
	UNTIL(received[1] == to_send[0]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(both_ways_at_once, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(one_half_ends_first, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(a_slow_reader_holds_the_sender, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(an_end_without_the_layers_end, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(pending_at_the_start, set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
