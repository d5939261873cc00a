/* SPDX-License-Identifier: MIT */
/* net/passfd: what arrives is the receiver's, and of what does not arrive whole nothing stays. */
#include "net/passfd.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

static int from, to, spare;

static int open_pair(void **state)
{
	int pair[2];

	(void)state;
	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), 0);
	from = pair[0];
	to = pair[1];
	spare = open("/dev/null", O_RDWR | O_CLOEXEC);
	assert_true(spare >= 0);
	return 0;
}

static int close_pair(void **state)
{
	(void)state;
	close(from);
	close(to);
	close(spare);
	return 0;
}

/* The number that the next descriptor would get. */
static int next_descriptor(void)
{
	int fd = dup(spare);

	close(fd);
	return fd;
}

static void send_some(const char *text, size_t n)
{
	int fds[PASSFD_MAX];

	for (size_t i = 0; i < n; i++)
		fds[i] = spare;
	assert_int_equal(passfd_send(from, text, strlen(text), fds, n, MSG_DONTWAIT), 0);
}

static void test_arrives(void **state)
{
	static const size_t counts[] = {0, 1, 2, 3, PASSFD_MAX};
	int fds[PASSFD_MAX];
	char buf[8];
	size_t n;

	(void)state;
	for (size_t i = 0; i < sizeof(counts) / sizeof(counts[0]); i++) {
		send_some("hello", counts[i]);
		assert_int_equal(passfd_receive(to, buf, sizeof(buf), fds, PASSFD_MAX, &n), 5);
		assert_memory_equal(buf, "hello", 5);
		assert_int_equal(n, counts[i]);
		for (size_t k = 0; k < n; k++) {
			assert_int_equal(fcntl(fds[k], F_GETFD), FD_CLOEXEC);
			close(fds[k]);
		}
	}
}

static void test_more_than_there_is_room_for(void **state)
{
	const int before = next_descriptor();
	int fds[2];
	char buf[8];
	size_t n = 9;

	(void)state;
	for (size_t room = 1; room <= 2; room++) {
		send_some("hello", room + 1);
		assert_int_equal(passfd_receive(to, buf, sizeof(buf), fds, room, &n), -EMFILE);
		assert_int_equal(n, 0);
		assert_int_equal(next_descriptor(), before);
	}
}

static void test_a_long_packet(void **state)
{
	const int before = next_descriptor();
	int fd;
	char buf[4];
	size_t n = 9;

	(void)state;
	send_some("hello", 1);
	assert_int_equal(passfd_receive(to, buf, sizeof(buf), &fd, 1, &n), -EMSGSIZE);
	assert_int_equal(n, 0);
	assert_int_equal(next_descriptor(), before);
}

static void test_nothing(void **state)
{
	int fds[PASSFD_MAX + 1] = {0}, fd;
	char buf[4];
	size_t n = 9;

	(void)state;
	assert_int_equal(passfd_receive(to, buf, sizeof(buf), &fd, 1, &n), -EAGAIN);
	assert_int_equal(n, 0);
	assert_int_equal(passfd_send(from, "x", 1, fds, PASSFD_MAX + 1, 0), -E2BIG);
	assert_int_equal(passfd_receive(to, buf, sizeof(buf), &fd, 1, &n), -EAGAIN);
	shutdown(from, SHUT_WR);
	assert_int_equal(passfd_receive(to, buf, sizeof(buf), &fd, 1, &n), 0);
	shutdown(to, SHUT_RD);
	/* Without SIGPIPE. */
	assert_int_equal(passfd_send(from, "x", 1, NULL, 0, 0), -EPIPE);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(test_arrives, open_pair, close_pair),
	    cmocka_unit_test_setup_teardown(
		test_more_than_there_is_room_for, open_pair, close_pair),
	    cmocka_unit_test_setup_teardown(test_a_long_packet, open_pair, close_pair),
	    cmocka_unit_test_setup_teardown(test_nothing, open_pair, close_pair),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
