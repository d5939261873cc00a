/* SPDX-License-Identifier: MIT */
#include "server/channel.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

static void make_pair(int pair[2])
{
	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK, 0, pair), 0);
}

static void words_and_descriptors(void **state)
{
	struct channel_message msg = {.word = CHANNEL_CONFIG, .number = -7, .listener = {3, 2, 1}},
			       got;
	int pair[2], pipefd[2], fds[CHANNEL_FDS_MAX], many[CHANNEL_FDS_MAX];
	struct stat a, b;
	size_t n;

	(void)state;
	make_pair(pair);
	assert_int_equal(pipe(pipefd), 0);
	for (int i = 0; i < CHANNEL_FDS_MAX; i++)
		many[i] = pipefd[i % 2];
	assert_int_equal(channel_send(pair[0], &msg, many, CHANNEL_FDS_MAX), 0);
	msg.word = CHANNEL_STOP;
	assert_int_equal(channel_send(pair[0], &msg, NULL, 0), 0);

	assert_int_equal(channel_receive(pair[1], &got, fds, &n), 1);
	assert_int_equal(n, CHANNEL_FDS_MAX);
	assert_int_equal(got.word, CHANNEL_CONFIG);
	assert_int_equal(got.number, -7);
	assert_int_equal(got.listener[1], 2);
	assert_int_equal(fstat(fds[n - 1], &a), 0);
	assert_int_equal(fstat(pipefd[(n - 1) % 2], &b), 0);
	assert_int_equal(a.st_ino, b.st_ino);
	for (size_t i = 0; i < n; i++)
		close(fds[i]);

	assert_int_equal(channel_receive(pair[1], &got, fds, &n), 1);
	assert_int_equal(got.word, CHANNEL_STOP);
	assert_int_equal(n, 0);
	assert_int_equal(channel_receive(pair[1], &got, fds, &n), -EAGAIN);
	close(pair[0]);
	assert_int_equal(channel_receive(pair[1], &got, fds, &n), 0);
	assert_int_equal(channel_send(pair[1], &msg, NULL, 0), -EPIPE);
	close(pair[1]);
	close(pipefd[0]);
	close(pipefd[1]);
}

static void too_many_descriptors(void **state)
{
	struct channel_message msg = {.word = CHANNEL_CONFIG};
	int pair[2], fds[CHANNEL_FDS_MAX + 1] = {0};

	(void)state;
	make_pair(pair);
	assert_int_equal(channel_send(pair[0], &msg, fds, CHANNEL_FDS_MAX + 1), -E2BIG);
	close(pair[0]);
	close(pair[1]);
}

static void no_room_for_descriptors(void **state)
{
	struct channel_message msg = {.word = CHANNEL_CONFIG}, got;
	int pair[2], many[8] = {0}, fds[CHANNEL_FDS_MAX];
	struct rlimit old, few;
	size_t n;

	(void)state;
	make_pair(pair);
	assert_int_equal(channel_send(pair[0], &msg, many, 8), 0);
	assert_int_equal(channel_send(pair[0], &msg, many, 1), 0);
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &old), 0);
	few = (struct rlimit){(rlim_t)pair[1] + 3, old.rlim_max};
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &few), 0);
	assert_int_equal(channel_receive(pair[1], &got, fds, &n), -EMFILE);
	assert_int_equal(n, 0);
	/* Those that did arrive were closed: there is room for another. */
	assert_int_equal(channel_receive(pair[1], &got, fds, &n), 1);
	assert_int_equal(n, 1);
	assert_int_equal(fds[0], pair[1] + 1);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &old), 0);
	close(fds[0]);
	close(pair[0]);
	close(pair[1]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(words_and_descriptors),
	    cmocka_unit_test(too_many_descriptors),
	    cmocka_unit_test(no_room_for_descriptors),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
