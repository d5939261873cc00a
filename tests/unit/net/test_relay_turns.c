/* SPDX-License-Identifier: MIT */
/* How much a relay moves at once: beside others, and alone. */
#include "relay_peers.h"

static int endless_in = -1, all_out = -1; /* descriptors: an endless source, a bottomless drain */

/* NOLINTBEGIN(bugprone-reserved-identifier): so the linker's --wrap calls them */
ssize_t __real_recv(int fd, void *buf, size_t size, int flags);
ssize_t __wrap_recv(int fd, void *buf, size_t size, int flags);
ssize_t __real_send(int fd, const void *buf, size_t len, int flags);
ssize_t __wrap_send(int fd, const void *buf, size_t len, int flags);
ssize_t __real_splice(int in, off_t *in_at, int out, off_t *out_at, size_t len, unsigned flags);
ssize_t __wrap_splice(int in, off_t *in_at, int out, off_t *out_at, size_t len, unsigned flags);

ssize_t __wrap_recv(int fd, void *buf, size_t size, int flags)
{
	return fd == endless_in ? (ssize_t)size : __real_recv(fd, buf, size, flags);
}

ssize_t __wrap_send(int fd, const void *buf, size_t len, int flags)
{
	return fd == all_out ? (ssize_t)len : __real_send(fd, buf, len, flags);
}

ssize_t __wrap_splice(int in, off_t *in_at, int out, off_t *out_at, size_t len, unsigned flags)
{
	/* Whoever moves bytes by splice() never asks for more than there may be. */
	assert_true(len <= RELAY_BUDGET_ALONE);
	if (in == endless_in || out == all_out)
		return (ssize_t)len;
	return __real_splice(in, in_at, out, out_at, len, flags);
}
/* NOLINTEND(bugprone-reserved-identifier) */

static int tear_down(void **state)
{
	endless_in = all_out = -1;
	return relay_tear_down(state);
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

/* Turns of `bulk` until one moves `wanted`, which is soon. */
static void turns_until(const struct relay_end *bulk, uint64_t wanted)
{
	uint64_t least, most = 0;

	for (unsigned i = 0; most != wanted && i < 1000; i++)
		turns_of(bulk, 1, &least, &most);
	assert_int_equal(most, wanted);
	turns_of(bulk, 10, &least, &most);
	assert_int_equal(most, wanted);
}

/* With nobody else there a turn of it takes longer; with somebody it is short again at once, and
 * the shortest where all else is small. */
static void a_stream_alone_takes_long_turns(void **state)
{
	struct relay_end *bulk = &g.relay.end[RELAY_TARGET];
	uint64_t least, most, in = 0, out = 0;

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
	turns_until(bulk, mode == RELAY_COPY ? RELAY_BUDGET : RELAY_BUDGET_BULK);
	turns_until(bulk, mode == RELAY_COPY ? RELAY_BUDGET : RELAY_BUDGET_ONLY);
	turns_until(bulk, mode == RELAY_COPY ? RELAY_BUDGET : RELAY_BUDGET_ALONE);
	peer_sends(client, 1);
	UNTIL(target->received == 1);
	turns_of(bulk, 10, &least, &most);
	assert_int_equal(most, mode == RELAY_COPY ? RELAY_BUDGET : RELAY_BUDGET_ONLY);
	peer_listens(client, false);
	peer_listens(target, false);
	/* Another stream. */
	for (most = 0; most < RELAY_BUDGET_BULK && in < 64 * MIB;) {
		uint64_t before = bulk->received;

		flow(&in, &out);
		most = bulk->received - before;
	}
	assert_int_equal(most, mode == RELAY_COPY ? RELAY_BUDGET : RELAY_BUDGET_BULK);
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

#define TEST(name) cmocka_unit_test_setup_teardown(name, relay_set_up, tear_down)

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
	    TEST(an_endless_stream_leaves_room),
	    TEST(a_stream_alone_takes_long_turns),
	    TEST(a_stream_alone_is_held_while_it_flows),
	};

	relay_mode_from(argc, argv);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
