/* SPDX-License-Identifier: MIT */
/* Loopback sockets for the tests of src/net: real TCP, nothing slower than it has to be. */
#ifndef TABI_TESTS_SOCKETS_H
#define TABI_TESTS_SOCKETS_H

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

/* A socket bound to 127.0.0.`host`, not listening yet. */
static inline int bound_socket(int host, uint16_t *ret_port)
{
	struct sockaddr_in sa = {.sin_family = AF_INET,
	    .sin_addr.s_addr = htonl(INADDR_LOOPBACK - 1 + (unsigned)host),
	    .sin_port = htons(*ret_port)};
	socklen_t len = sizeof(sa);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	assert_true(fd >= 0);
	assert_int_equal(bind(fd, (struct sockaddr *)&sa, len), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&sa, &len), 0);
	*ret_port = ntohs(sa.sin_port);
	return fd;
}

/* Two ends of a TCP connection over loopback, both non-blocking. */
static inline void tcp_pair(int ret_fd[2])
{
	struct sockaddr_in sa = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	uint16_t port = 0;
	int one = 1;
	int listener = bound_socket(1, &port);

	sa.sin_port = htons(port);
	assert_int_equal(listen(listener, 1), 0);
	ret_fd[0] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(connect(ret_fd[0], (struct sockaddr *)&sa, sizeof(sa)), 0);
	ret_fd[1] = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
	assert_true(ret_fd[1] >= 0);
	close(listener);
	for (int i = 0; i < 2; i++) {
		assert_int_equal(fcntl(ret_fd[i], F_SETFL, O_NONBLOCK), 0);
		setsockopt(ret_fd[i], IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	}
}

static inline void close_with_reset(int fd)
{
	struct linger linger = {.l_onoff = 1, .l_linger = 0};

	assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger)), 0);
	close(fd);
}

#endif
