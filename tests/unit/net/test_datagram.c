/* SPDX-License-Identifier: MIT */
#include "net/datagram.h"

#include <arpa/inet.h>
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "net/sockaddr.h"

/* Two sockets on loopback; what `b` receives is kept. */
struct bench {
	struct loop loop;
	struct datagram_shared *shared;
	struct datagram_socket a, b;
	struct timer limit;
	size_t wanted, got, largest_batch;
	uint8_t last[DATAGRAM_SIZE];
	size_t last_len;
	uint16_t last_port;
	struct ip last_from;
	unsigned closed;
};

static struct bench *bench_of(struct datagram_socket *sock, size_t offset)
{
	return (struct bench *)((char *)sock - offset);
}

static void on_b(struct datagram_socket *sock, const struct datagram *list, size_t n)
{
	struct bench *t = bench_of(sock, offsetof(struct bench, b));

	assert_in_range(n, 1, DATAGRAM_BATCH);
	if (n > t->largest_batch)
		t->largest_batch = n;
	t->got += n;
	t->last_len = list[n - 1].len;
	memcpy(t->last, list[n - 1].data, t->last_len);
	t->last_port = list[n - 1].port;
	t->last_from = list[n - 1].from;
	if (t->got >= t->wanted)
		loop_stop(&t->loop);
}

static void on_a(struct datagram_socket *sock, const struct datagram *list, size_t n)
{
	(void)sock;
	(void)list;
	(void)n;
	fail();
}

static void on_limit(struct timer *timer)
{
	struct bench *t = (struct bench *)((char *)timer - offsetof(struct bench, limit));

	loop_stop(&t->loop);
}

static struct sockaddr_storage loopback(int family)
{
	struct sockaddr_storage sa = {.ss_family = (sa_family_t)family};

	if (family == AF_INET)
		((struct sockaddr_in *)&sa)->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	else
		((struct sockaddr_in6 *)&sa)->sin6_addr = in6addr_loopback;
	return sa;
}

static struct bench *begin(int family)
{
	struct sockaddr_storage local = loopback(family);
	struct bench *t = calloc(1, sizeof(*t));

	assert_non_null(t);
	assert_int_equal(loop_init(&t->loop), 0);
	assert_int_equal(datagram_shared_new(&t->shared), 0);
	assert_int_equal(datagram_open(&t->a, t->shared, &t->loop, &local, on_a), 0);
	assert_int_equal(datagram_open(&t->b, t->shared, &t->loop, &local, on_b), 0);
	timer_init(&t->limit, &t->loop, on_limit);
	return t;
}

static void run_until(struct bench *t, size_t wanted)
{
	t->wanted = wanted;
	timer_start(&t->limit, 5000);
	loop_run(&t->loop);
	timer_stop(&t->limit);
	assert_int_equal(t->got, wanted);
}

static void a_closed(struct datagram_socket *sock)
{
	bench_of(sock, offsetof(struct bench, a))->closed++;
}

static void b_closed(struct datagram_socket *sock)
{
	bench_of(sock, offsetof(struct bench, b))->closed++;
}

static void end(struct bench *t)
{
	datagram_close(&t->a, a_closed);
	datagram_close(&t->b, b_closed);
	timer_close(&t->limit, NULL);
	loop_run(&t->loop);
	assert_int_equal(t->closed, 2);
	assert_int_equal(t->loop.watching, 0);
	loop_fini(&t->loop);
	datagram_shared_free(t->shared);
	free(t);
}

static struct ip address_of(const struct datagram_socket *sock)
{
	return socket_local_addr(sock->fd).ip;
}

static void goes_across(int family)
{
	struct bench *t = begin(family);
	struct ip to = address_of(&t->b);

	assert_int_equal(datagram_send(&t->a, "head", 4, "data", 4, &to, t->b.port), 0);
	run_until(t, 1);
	assert_int_equal(t->last_len, 8);
	assert_memory_equal(t->last, "headdata", 8);
	assert_int_equal(t->last_port, t->a.port);
	assert_true(ip_equal(&t->last_from, &to));
	end(t);
}

static void goes_across_v4(void **state)
{
	(void)state;
	goes_across(AF_INET);
}

static void goes_across_v6(void **state)
{
	(void)state;
	goes_across(AF_INET6);
}

static void empty_and_longest(void **state)
{
	struct bench *t = begin(AF_INET);
	struct ip to = address_of(&t->b);
	uint8_t *data = calloc(1, 65508);

	(void)state;
	assert_int_equal(datagram_send(&t->a, NULL, 0, NULL, 0, &to, t->b.port), 0);
	run_until(t, 1);
	assert_int_equal(t->last_len, 0);
	data[65506] = 'z';
	assert_int_equal(datagram_send(&t->a, data, 10, data + 10, 65497, &to, t->b.port), 0);
	run_until(t, 2);
	assert_int_equal(t->last_len, 65507);
	assert_int_equal(t->last[65506], 'z');
	/* What IP cannot carry is refused, not cut. */
	assert_int_equal(datagram_send(&t->a, data, 10, data, 65498, &to, t->b.port), -EMSGSIZE);
	free(data);
	end(t);
}

static void comes_in_batches(void **state)
{
	struct bench *t = begin(AF_INET);
	struct ip to = address_of(&t->b);

	(void)state;
	for (int i = 0; i < 100; i++)
		assert_int_equal(datagram_send(&t->a, "x", 1, NULL, 0, &to, t->b.port), 0);
	run_until(t, 100);
	assert_int_equal(t->largest_batch, DATAGRAM_BATCH);
	end(t);
}

/* What nobody reads in time is dropped by the kernel, and the count is to be had. */
static void counts_overflow(void **state)
{
	struct bench *t = begin(AF_INET);
	struct ip to = address_of(&t->b);
	size_t sent = 0;

	(void)state;
	while (datagram_overflowed(&t->b) < 10 && sent < 1000000)
		sent += datagram_send(&t->a, "x", 1, NULL, 0, &to, t->b.port) == 0;
	run_until(t, sent - datagram_overflowed(&t->b));
	end(t);
}

static size_t told;
static struct datagram_error last_error;

static void on_error(struct datagram_socket *sock, const struct datagram_error *error)
{
	assert_non_null(sock);
	last_error = *error;
	told++;
}

/* Turns until all has been read that is there. */
static void run_for(struct bench *t, uint64_t ms)
{
	timer_start(&t->limit, ms);
	loop_run(&t->loop);
}

/* U26: ICMP's answer is told with the place that it is about, and what comes behind it is sent and
 * received. */
static void icmp_is_no_end(int family)
{
	struct bench *t = begin(family);
	struct ip to = address_of(&t->b);
	uint16_t port = t->a.port;
	struct sockaddr_storage sa;

	sockaddr_from_ip(&sa, &to, port);
	t->b.failed = on_error;
	told = 0;
	datagram_close(&t->a, a_closed);
	/* Each of them meets the error of the one before. */
	for (int i = 0; i < 100; i++)
		assert_int_equal(datagram_send(&t->b, "x", 1, NULL, 0, &to, port), 0);
	/* The kernel limits how often it tells, for all of this network. */
	for (int i = 0; i < 500 && told == 0; i++)
		run_for(t, 20);
	assert_in_range(told, 1, 100);
	assert_int_equal(t->b.errors, told);
	assert_true(ip_equal(&last_error.to, &to));
	assert_int_equal(last_error.port, port);
	assert_int_equal(last_error.err, -ECONNREFUSED);
	assert_int_equal(datagram_open(&t->a, t->shared, &t->loop, &sa, on_a), 0);
	assert_int_equal(datagram_send(&t->a, "z", 1, NULL, 0, &to, t->b.port), 0);
	run_until(t, 1);
	t->closed = 0;
	end(t);
}

static void icmp_is_no_end_v4(void **state)
{
	(void)state;
	icmp_is_no_end(AF_INET);
}

static void icmp_is_no_end_v6(void **state)
{
	(void)state;
	icmp_is_no_end(AF_INET6);
}

/* A queue of errors that nobody reads would wake the loop for ever. */
static void errors_do_not_spin(void **state)
{
	struct bench *t = begin(AF_INET);
	struct ip to = address_of(&t->b);
	uint16_t port = t->a.port;
	unsigned turns = 0;

	(void)state;
	datagram_close(&t->a, a_closed);
	for (int i = 0; i < 1000; i++)
		assert_int_equal(datagram_send(&t->b, "x", 1, NULL, 0, &to, port), 0);
	timer_start(&t->limit, 200);
	while (!t->loop.stopping) {
		loop_turn(&t->loop, true);
		turns++;
	}
	t->loop.stopping = false;
	/* As many as it takes to read them in batches, and a few. */
	assert_in_range(turns, 2, 1000 / 32 + 10);
	assert_in_range(t->b.errors, 10, 1000);
	assert_int_equal(datagram_open(&t->a, t->shared, &t->loop,
			     &(struct sockaddr_storage){.ss_family = AF_INET}, on_a),
	    0);
	t->closed = 0;
	end(t);
}

/* What our own kernel refuses is told by the call alone, and is no error of ICMP's. */
static void refusals_of_our_own(void **state)
{
	struct bench *t = begin(AF_INET);
	struct ip to = address_of(&t->b);
	uint8_t *data = calloc(1, 65508);

	(void)state;
	t->a.failed = on_error;
	told = 0;
	assert_int_equal(datagram_send(&t->a, data, 65508, NULL, 0, &to, t->b.port), -EMSGSIZE);
	run_for(t, 20);
	assert_int_equal(told, 0);
	assert_int_equal(t->a.errors, 0);
	free(data);
	end(t);
}

static void port_in_use(void **state)
{
	struct bench *t = begin(AF_INET);
	struct sockaddr_storage sa;
	struct ip ip = address_of(&t->b);
	struct datagram_socket third;

	(void)state;
	sockaddr_from_ip(&sa, &ip, t->b.port);
	assert_int_equal(datagram_open(&third, t->shared, &t->loop, &sa, on_a), -EADDRINUSE);
	assert_int_equal(third.fd, -1);
	end(t);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
	    cmocka_unit_test(goes_across_v4),
	    cmocka_unit_test(goes_across_v6),
	    cmocka_unit_test(empty_and_longest),
	    cmocka_unit_test(comes_in_batches),
	    cmocka_unit_test(counts_overflow),
	    cmocka_unit_test(icmp_is_no_end_v4),
	    cmocka_unit_test(icmp_is_no_end_v6),
	    cmocka_unit_test(errors_do_not_spin),
	    cmocka_unit_test(refusals_of_our_own),
	    cmocka_unit_test(port_in_use),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
