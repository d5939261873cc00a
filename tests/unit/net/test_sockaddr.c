/* SPDX-License-Identifier: MIT */
#include "net/sockaddr.h"

#include <poll.h>
#include <sys/un.h>

#include "sockets.h"

static struct ip ip_of(const char *text)
{
	struct ip ip;

	assert_int_equal(ip_parse(text, strlen(text), &ip), 0);
	return ip;
}

static void goes_there_and_back(void **state)
{
	static const char *const texts[] = {"192.0.2.7", "0.0.0.0", "255.255.255.255",
	    "2001:db8::1", "::", "::1", "::ffff:10.0.0.1"};

	(void)state;
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		struct sockaddr_storage sa;
		struct ip ip = ip_of(texts[i]);
		socklen_t len = sockaddr_from_ip(&sa, &ip, 258);
		struct addr addr = sockaddr_to_addr(&sa);

		assert_int_equal(sa.ss_family, ip_is_v4(&ip) ? AF_INET : AF_INET6);
		assert_int_equal(
		    len, ip_is_v4(&ip) ? sizeof(struct sockaddr_in) : sizeof(struct sockaddr_in6));
		assert_int_equal(addr.kind, ADDR_IP);
		assert_int_equal(addr.port, 258);
		assert_true(ip_equal(&addr.ip, &ip));
	}
}

static void mapped_is_ipv4(void **state)
{
	struct sockaddr_storage sa = {.ss_family = AF_INET6};
	struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)&sa;
	struct ip ip = ip_of("10.0.0.1");
	struct addr addr;

	(void)state;
	memcpy(&in6->sin6_addr, "\0\0\0\0\0\0\0\0\0\0\xff\xff\x0a\0\0\1", 16);
	addr = sockaddr_to_addr(&sa);
	assert_true(ip_is_v4(&addr.ip));
	assert_true(ip_equal(&addr.ip, &ip));
}

static void sockets_know_their_addresses(void **state)
{
	struct addr local, peer;
	int fd[2];

	(void)state;
	tcp_pair(fd);
	local = socket_local_addr(fd[0]);
	peer = socket_peer_addr(fd[1]);
	assert_int_equal(local.kind, ADDR_IP);
	assert_int_equal(local.port, peer.port);
	assert_true(ip_equal(&local.ip, &peer.ip));
	close(fd[0]);
	close(fd[1]);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fd), 0);
	assert_int_equal(socket_local_addr(fd[0]).kind, ADDR_NONE);
	assert_int_equal(socket_peer_addr(fd[0]).kind, ADDR_NONE);
	close(fd[0]);
	close(fd[1]);
	assert_int_equal(socket_peer_addr(-1).kind, ADDR_NONE);
}

static void resets_on_close_and_takes_the_error_once(void **state)
{
	struct pollfd p = {.events = POLLIN};
	int fd[2];

	(void)state;
	tcp_pair(fd);
	assert_int_equal(socket_take_error(fd[1]), 0);
	socket_set_reset_on_close(fd[0]);
	close(fd[0]);
	p.fd = fd[1];
	assert_int_equal(poll(&p, 1, 5000), 1);
	assert_int_equal(socket_take_error(fd[1]), -ECONNRESET);
	assert_int_equal(socket_take_error(fd[1]), 0);
	close(fd[1]);
	assert_int_equal(socket_take_error(-1), -EBADF);
}

static void knows_this_host(void **state)
{
	static const char *const ours[] = {"127.0.0.1", "127.200.3.4", "0.0.0.0"};
	static const char *const others[] = {
	    "192.0.2.1", "224.0.0.1", "239.1.2.3", "2001:db8::1", "ff02::1", "fe80::1"};
	struct ip ip;

	(void)state;
	for (size_t i = 0; i < sizeof(ours) / sizeof(ours[0]); i++) {
		ip = ip_of(ours[i]);
		assert_true(ip_is_local(&ip));
	}
	for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++) {
		ip = ip_of(others[i]);
		assert_false(ip_is_local(&ip));
	}
}

static void urgent_bytes_stay_in_the_stream(void **state)
{
	char buf[8] = "";
	int fd[2];
	ssize_t n, have = 0;

	(void)state;
	tcp_pair(fd);
	socket_keep_urgent(fd[1]);
	assert_int_equal(send(fd[0], "ab", 2, MSG_OOB), 2);
	assert_int_equal(send(fd[0], "c", 1, 0), 1);
	/* One read stops before the urgent byte. */
	while (have < 3) {
		struct pollfd p = {.fd = fd[1], .events = POLLIN};

		assert_int_equal(poll(&p, 1, 5000), 1);
		n = recv(fd[1], buf + have, sizeof(buf) - (size_t)have, 0);
		assert_true(n > 0);
		have += n;
	}
	assert_memory_equal(buf, "abc", 3);
	close(fd[0]);
	close(fd[1]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(goes_there_and_back),
	    cmocka_unit_test(mapped_is_ipv4),
	    cmocka_unit_test(sockets_know_their_addresses),
	    cmocka_unit_test(resets_on_close_and_takes_the_error_once),
	    cmocka_unit_test(knows_this_host),
	    cmocka_unit_test(urgent_bytes_stay_in_the_stream),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
