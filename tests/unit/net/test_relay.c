/* SPDX-License-Identifier: MIT */
/* A relay whose kernel may be short of memory, and fitful. */
#include <time.h>

#include "proto/err.h"

#include "relay_peers.h"

static bool out_of_memory;
static bool fitful; /* the kernel interrupts, and takes and gives bit by bit */
static struct peer *resets_at_peek;

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
	if (fitful && (len = by_fits(len)) == 0)
		return -1;
	return __real_send(fd, buf, len, flags);
}

ssize_t __wrap_splice(int in, off_t *in_at, int out, off_t *out_at, size_t len, unsigned flags)
{
	/* Whoever moves bytes by splice() never asks for more than there may be. */
	assert_true(len <= RELAY_BUDGET_ALONE);
	if (fitful && (len = by_fits(len)) == 0)
		return -1;
	return __real_splice(in, in_at, out, out_at, len, flags);
}
/* NOLINTEND(bugprone-reserved-identifier) */

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

#define MANY (4 * MIB)

static int tear_down(void **state)
{
	fitful = out_of_memory = false;
	return relay_tear_down(state);
}

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

#define TEST(name) cmocka_unit_test_setup_teardown(name, relay_set_up, tear_down)

int main(int argc, char **argv)
{
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
	    TEST(loses_nothing_silently),
	    TEST(early_data_without_memory),
	    TEST(closes_at_any_time),
	};

	relay_mode_from(argc, argv);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
