/* SPDX-License-Identifier: MIT */
#include "net/dial.h"

#include <dirent.h>
#include <net/if.h>
#include <sched.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/resource.h>

#include "net/sockaddr.h"

#include "sockets.h"

static struct loop loop;
static int calls, result, result_fd;
static size_t result_which;
static uint64_t started, took; /* ms */

static void on_dial(void *ctx, int err, int fd, size_t which, const struct addr *local)
{
	assert_ptr_equal(ctx, &loop);
	calls++;
	result = err;
	result_fd = fd;
	result_which = which;
	if (err == 0) {
		const struct addr real = socket_local_addr(fd);

		assert_int_equal(local->port, real.port);
		assert_true(ip_equal(&local->ip, &real.ip));
	}
	took = loop_now(&loop) - started;
}

static struct ip ip_of(const char *text)
{
	struct ip ip;

	assert_int_equal(ip_parse(text, strlen(text), &ip), 0);
	return ip;
}

/* 127.0.0.`host` */
static struct ip loopback(int host)
{
	return ip_from_v4((const uint8_t[]){127, 0, 0, (uint8_t)host});
}

static int count_descriptors(void)
{
	DIR *dir = opendir("/proc/self/fd");
	int n = 0;

	assert_non_null(dir);
	while (readdir(dir))
		n++;
	closedir(dir);
	return n;
}

static int descriptors;

static int set_up(void **state)
{
	(void)state;
	calls = 0;
	result_fd = -1;
	assert_int_equal(loop_init(&loop), 0);
	descriptors = count_descriptors();
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	if (result_fd >= 0)
		close(result_fd);
	assert_int_equal(count_descriptors(), descriptors);
	loop_fini(&loop);
	return loop.watching != 0;
}

/* loop_run() comes back when nothing is left of the dial, so what it forgets would hang here. */
static int dial(const struct ip *ips, size_t n, uint16_t port)
{
	struct dial *d = NULL;
	int err;

	loop_turn(&loop, false);
	started = loop_now(&loop);
	err = dial_start(&d, &loop, ips, n, port, NULL, on_dial, &loop);
	assert_int_equal(calls, 0);
	loop_run(&loop);
	assert_int_equal(loop.watching, 0);
	assert_int_equal(calls, err == 0);
	return err ? err : result;
}

static int listener(int host, uint16_t *port)
{
	int fd = bound_socket(host, port);

	assert_int_equal(listen(fd, 16), 0);
	return fd;
}

static void connects(void **state)
{
	uint16_t port = 0;
	int l = listener(1, &port), value = 0;
	socklen_t len = sizeof(value);
	struct ip ip = loopback(1);
	struct addr peer;

	(void)state;
	assert_int_equal(dial(&ip, 1, port), 0);
	assert_int_equal(result_which, 0);
	peer = socket_peer_addr(result_fd);
	assert_int_equal(peer.port, port);
	assert_true(ip_equal(&peer.ip, &ip));
	assert_true(fcntl(result_fd, F_GETFL) & O_NONBLOCK);
	assert_true(fcntl(result_fd, F_GETFD) & FD_CLOEXEC);
	assert_int_equal(getsockopt(result_fd, IPPROTO_TCP, TCP_NODELAY, &value, &len), 0);
	assert_true(value);
	value = 0;
	assert_int_equal(getsockopt(result_fd, SOL_SOCKET, SO_OOBINLINE, &value, &len), 0);
	assert_true(value);
	close(l);
}

static void refused(void **state)
{
	uint16_t port = 0;
	int fd = bound_socket(1, &port);
	struct ip ip = loopback(1);

	(void)state;
	assert_int_equal(dial(&ip, 1, port), -ECONNREFUSED);
	assert_int_equal(result_fd, -1);
	close(fd);
}

static void failure_makes_room_at_once(void **state)
{
	uint16_t port = 0;
	int l = listener(3, &port);
	const struct ip ips[] = {loopback(2), loopback(3)};

	(void)state;
	assert_int_equal(dial(ips, 2, port), 0);
	assert_int_equal(result_which, 1);
	assert_true(took < 250);
	close(l);
}

/* A listener whose queue is full drops what else knocks: nobody answers. */
struct black_hole {
	int listener, inside;
};

static struct black_hole black_hole_open(int host, uint16_t port)
{
	struct sockaddr_storage sa;
	struct ip ip = loopback(host);
	struct black_hole hole;

	hole.listener = bound_socket(host, &port);
	assert_int_equal(listen(hole.listener, 0), 0);
	hole.inside = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(
	    connect(hole.inside, (struct sockaddr *)&sa, sockaddr_from_ip(&sa, &ip, port)), 0);
	return hole;
}

static void black_hole_close(struct black_hole *hole)
{
	close(hole->inside);
	close(hole->listener);
}

static void silence_is_overtaken(void **state)
{
	uint16_t port = 0;
	int l = listener(3, &port);
	struct black_hole hole = black_hole_open(2, port);
	const struct ip ips[] = {loopback(2), loopback(3)};

	(void)state;
	assert_int_equal(dial(ips, 2, port), 0);
	assert_int_equal(result_which, 1);
	assert_true(took >= 250 && took < 1000);
	black_hole_close(&hole);
	close(l);
}

static void cancelled_in_flight(void **state)
{
	uint16_t port = 0;
	int l = bound_socket(3, &port);
	struct black_hole hole = black_hole_open(2, port);
	const struct ip ips[] = {loopback(2), loopback(3)};
	struct dial *d;

	(void)state;
	dial_cancel(NULL);
	assert_int_equal(dial_start(&d, &loop, ips, 2, port, NULL, on_dial, &loop), 0);
	loop_turn(&loop, false);
	dial_cancel(d);
	loop_run(&loop);
	assert_int_equal(loop.watching, 0);
	assert_int_equal(calls, 0);
	black_hole_close(&hole);
	close(l);
}

static void sixteen_addresses(void **state)
{
	uint16_t port = 0;
	int l = listener(17, &port);
	struct ip ips[16];

	(void)state;
	for (int i = 0; i < 16; i++)
		ips[i] = loopback(2 + i);
	assert_int_equal(dial(ips, 16, port), 0);
	assert_int_equal(result_which, 15);
	close(l);
	close(result_fd);
	result_fd = -1;
	calls = 0;
	assert_int_equal(dial(ips, 16, port), -ECONNREFUSED);
}

static void families_alternate(void **state)
{
	uint16_t port = 0;
	int v4 = listener(3, &port);
	const struct ip ips[] = {loopback(2), loopback(3), ip_of("::1")};
	struct sockaddr_storage sa;
	socklen_t len = sockaddr_from_ip(&sa, &ips[2], port);
	int v6 = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);
	bool has_v6 = v6 >= 0 && bind(v6, (struct sockaddr *)&sa, len) == 0 && listen(v6, 1) == 0;

	(void)state;
	if (has_v6) {
		assert_int_equal(dial(ips, 3, port), 0);
		assert_int_equal(result_which, 2);
	}
	if (v6 >= 0)
		close(v6);
	close(v4);
	if (!has_v6)
		skip();
}

static void out_of_descriptors(void **state)
{
	struct rlimit old, none;
	uint16_t port = 0;
	int err, l = listener(3, &port);
	const struct ip ips[] = {loopback(2), loopback(3)};
	struct dial *d = NULL;

	(void)state;
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &old), 0);
	none = old;
	none.rlim_cur = 0;
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
	err = dial_start(&d, &loop, ips, 2, port, NULL, on_dial, &loop);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &old), 0);
	assert_int_equal(err, -EMFILE);
	loop_run(&loop);
	assert_int_equal(loop.watching, 0);
	close(l);
}

/*
 * From the first call on in a network of our own, which has a loopback interface and no way out.
 * False where the system does not let us.
 */
static bool enter_empty_network(void)
{
	static bool inside;
	struct ifreq ifr = {.ifr_name = "lo", .ifr_flags = IFF_UP};
	int fd;

	if (inside)
		return true;
	if (unshare(CLONE_NEWNET) < 0 && unshare(CLONE_NEWUSER | CLONE_NEWNET) < 0)
		return false;
	fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	assert_true(fd >= 0);
	inside = ioctl(fd, SIOCSIFFLAGS, &ifr) == 0;
	close(fd);
	return inside;
}

static void the_most_telling_error_is_told(void **state)
{
	uint16_t port = 0;
	int fd;
	struct ip nowhere = ip_of("192.0.2.1"), nowhere6 = ip_of("2001:db8::1");
	const struct ip mixed[] = {nowhere6, loopback(1), nowhere};

	(void)state;
	if (!enter_empty_network())
		skip();
	fd = bound_socket(1, &port);
	assert_int_equal(dial(&nowhere, 1, port), -ENETUNREACH);
	assert_int_equal(dial(mixed, 3, port), -ECONNREFUSED);
	assert_int_equal(result_fd, -1);
	calls = 0;
	assert_int_equal(dial(mixed, 2, port), -ECONNREFUSED);
	close(fd);
}

/* With one port to choose from, connecting to that port meets itself. */
static void nobody_answers_for_himself(void **state)
{
	struct ip ip = loopback(1);
	struct sockaddr_storage sa;
	socklen_t len = sockaddr_from_ip(&sa, &ip, 40000);
	FILE *range = NULL;
	int fd;

	(void)state;
	if (enter_empty_network())
		range = fopen("/proc/sys/net/ipv4/ip_local_port_range", "w");
	if (!range)
		skip();
	assert_true(fputs("40000 40000", range) >= 0);
	assert_int_equal(fclose(range), 0);
	fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	/* The kernel still does what this is about. */
	assert_int_equal(connect(fd, (struct sockaddr *)&sa, len), 0);
	close_with_reset(fd);
	assert_int_equal(dial(&ip, 1, 40000), -ECONNREFUSED);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(connects),
	    TEST(refused),
	    TEST(failure_makes_room_at_once),
	    TEST(silence_is_overtaken),
	    TEST(cancelled_in_flight),
	    TEST(sixteen_addresses),
	    TEST(families_alternate),
	    TEST(out_of_descriptors),
	    TEST(the_most_telling_error_is_told),
	    TEST(nobody_answers_for_himself),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
