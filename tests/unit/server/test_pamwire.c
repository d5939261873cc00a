/* SPDX-License-Identifier: MIT */
/* What the auth helper takes for a question: nothing but a question. */
#include "server/auth/pamwire.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "proto/err.h"

static int ask_end, take_end, spare;

static int open_pair(void **state)
{
	int pair[2];

	(void)state;
	assert_int_equal(
	    socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair), 0);
	ask_end = pair[0];
	take_end = pair[1];
	spare = open("/dev/null", O_RDWR | O_CLOEXEC);
	assert_true(spare >= 0);
	return 0;
}

static int close_pair(void **state)
{
	(void)state;
	close(ask_end);
	close(take_end);
	close(spare);
	return 0;
}

static struct pam_question good(void)
{
	return (struct pam_question){
	    .service = "tabi", .user = "alice", .password = "secret", .client = "2001:db8::1"};
}

/* The number that the next descriptor would get: what was passed and not kept must be closed. */
static int next_descriptor(void)
{
	int fd = dup(spare);

	close(fd);
	return fd;
}

static void send_raw(const void *data, size_t len, const int *fds, size_t n)
{
	union {
		struct cmsghdr align;
		char space[CMSG_SPACE(4 * sizeof(int))];
	} control = {0};
	struct iovec iov = {.iov_base = (void *)(uintptr_t)data, .iov_len = len};
	struct msghdr hdr = {.msg_iov = &iov, .msg_iovlen = 1};

	if (n > 0) {
		struct cmsghdr *c;

		hdr.msg_control = control.space;
		hdr.msg_controllen = CMSG_SPACE(n * sizeof(int));
		c = CMSG_FIRSTHDR(&hdr);
		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN(n * sizeof(int));
		memcpy(CMSG_DATA(c), fds, n * sizeof(int));
	}
	assert_int_equal(sendmsg(ask_end, &hdr, 0), len);
}

static void a_question_arrives(void **state)
{
	struct pam_question q = good(), got;
	int fd = -1;

	(void)state;
	assert_int_equal(pamwire_take(take_end, &got, &fd), -EAGAIN);
	assert_int_equal(pamwire_ask(ask_end, &q, spare), 0);
	assert_int_equal(pamwire_take(take_end, &got, &fd), 1);
	assert_memory_equal(&q, &got, sizeof(q));
	assert_true(fd >= 0 && fd != spare);
	close(fd);
	close(ask_end);
	assert_int_equal(pamwire_take(take_end, &got, &fd), 0);
	ask_end = dup(spare);
}

static void is_refused(const struct pam_question *q, size_t len, size_t n_fds)
{
	const int fds[] = {spare, spare, spare};
	struct pam_question got;
	int fd = -1, before = next_descriptor();

	send_raw(q, len, fds, n_fds);
	assert_int_equal(pamwire_take(take_end, &got, &fd), ERR_MALFORMED);
	assert_int_equal(fd, -1);
	assert_int_equal(next_descriptor(), before);
}

static void nothing_else_is_one(void **state)
{
	struct {
		struct pam_question q;
		char more[100];
	} big = {.q = good()};
	struct pam_question q = good();

	(void)state;
	is_refused(&q, sizeof(q), 0);
	is_refused(&q, sizeof(q), 2);
	is_refused(&q, sizeof(q), 3);
	for (size_t len = 1; len < sizeof(q); len += 7)
		is_refused(&q, len, 1);
	is_refused(&big.q, sizeof(big.q) + 1, 1);
	is_refused(&big.q, sizeof(big), 1);
	memset(q.user, 'u', sizeof(q.user));
	is_refused(&q, sizeof(q), 1);
	q = good();
	memset(q.password, 'p', sizeof(q.password));
	is_refused(&q, sizeof(q), 1);
	q = good();
	memset(q.service, 's', sizeof(q.service));
	is_refused(&q, sizeof(q), 1);
	q = good();
	memset(q.client, '1', sizeof(q.client));
	is_refused(&q, sizeof(q), 1);
	q = good();
	q.user[0] = '\0';
	is_refused(&q, sizeof(q), 1);
	q = good();
	q.password[0] = '\0';
	is_refused(&q, sizeof(q), 1);
	q = good();
	strcpy(q.client, "example.org");
	is_refused(&q, sizeof(q), 1);
}

static void what_fits_a_field(void **state)
{
	char field[8] = "xxxxxxx";

	(void)state;
	assert_true(pamwire_put(field, sizeof(field), "abc", 3));
	assert_memory_equal(field, "abc\0\0\0\0\0", 8);
	assert_true(pamwire_put(field, sizeof(field), "abcdefg", 7));
	assert_false(pamwire_put(field, sizeof(field), "abcdefgh", 8));
	assert_false(pamwire_put(field, sizeof(field), "", 0));
	assert_false(pamwire_put(field, sizeof(field), "a\0b", 3));
	assert_false(pamwire_put(field, sizeof(field), "a\0", 2));
}

static void answers(void **state)
{
	const struct pam_answer said[] = {{0, 0}, {ERR_AUTH, 2000}, {ERR_UNAVAILABLE, 0}};
	const struct pam_answer other = {.err = ERR_DENIED};
	struct pam_answer heard;

	(void)state;
	assert_int_equal(pamwire_hear(take_end, &heard), -EAGAIN);
	for (size_t i = 0; i < 3; i++) {
		assert_int_equal(pamwire_answer(ask_end, &said[i]), 0);
		assert_int_equal(pamwire_hear(take_end, &heard), 0);
		assert_memory_equal(&heard, &said[i], sizeof(heard));
	}
	/* What is no answer lets nobody in. */
	assert_int_equal(pamwire_answer(ask_end, &other), 0);
	assert_int_equal(pamwire_hear(take_end, &heard), ERR_MALFORMED);
	send_raw(&said[0], 4, NULL, 0);
	assert_int_equal(pamwire_hear(take_end, &heard), ERR_MALFORMED);
	send_raw("0123456789", 10, NULL, 0);
	assert_int_equal(pamwire_hear(take_end, &heard), ERR_MALFORMED);
	close(ask_end);
	assert_int_equal(pamwire_hear(take_end, &heard), -EPIPE);
	ask_end = dup(spare);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(a_question_arrives, open_pair, close_pair),
	    cmocka_unit_test_setup_teardown(nothing_else_is_one, open_pair, close_pair),
	    cmocka_unit_test(what_fits_a_field),
	    cmocka_unit_test_setup_teardown(answers, open_pair, close_pair),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
