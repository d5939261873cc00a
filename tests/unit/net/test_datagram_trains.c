/* SPDX-License-Identifier: MIT */
/* Datagrams that come and leave as one, with a kernel that can, cannot, or is full. */
#include "net/datagram.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/udp.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "net/sockaddr.h"
#include "net/train.h"

/* What the kernel says to a train, and to a datagram alone: 0 or an errno. */
static int train_fault, single_fault;
static bool no_offload; /* it knows neither option */
static unsigned trains, singles;

ssize_t __real_sendmsg(int fd, const struct msghdr *msg, int flags);
ssize_t __wrap_sendmsg(int fd, const struct msghdr *msg, int flags);
int __real_setsockopt(int fd, int level, int name, const void *value, socklen_t len);
int __wrap_setsockopt(int fd, int level, int name, const void *value, socklen_t len);

ssize_t __wrap_sendmsg(int fd, const struct msghdr *msg, int flags)
{
	bool train = msg->msg_controllen > 0;

	errno = train ? train_fault : single_fault;
	if (errno)
		return -1;
	trains += train;
	singles += !train;
	return __real_sendmsg(fd, msg, flags);
}

int __wrap_setsockopt(int fd, int level, int name, const void *value, socklen_t len)
{
	if (no_offload && level == IPPROTO_UDP) {
		errno = ENOPROTOOPT;
		return -1;
	}
	return __real_setsockopt(fd, level, name, value, len);
}

#define HEADER "head"

/* What comes to `a` is posted to `b`, with a header; what comes there is kept. */
struct scene {
	struct loop loop;
	struct datagram_shared *shared;
	struct datagram_socket a, b;
	struct datagram_poster poster;
	struct timer limit;
	int client; /* connected to `a` */
	struct ip to;
	size_t wanted, got, unsent, unsent_bytes, largest_list;
	int unsent_err;
	size_t lens[1000];
	uint8_t firsts[1000];
	unsigned closed;
};

static struct scene *scene; /* of the test under way */

static void on_a(struct datagram_socket *sock, const struct datagram *list, size_t n)
{
	(void)sock;
	if (n > scene->largest_list)
		scene->largest_list = n;
	for (size_t i = 0; i < n; i++)
		assert_int_equal(datagram_post(&scene->a, &scene->poster, HEADER, strlen(HEADER),
				     list[i].data, list[i].len, &scene->to, scene->b.port),
		    0);
	if (scene->unsent > 0)
		loop_stop(&scene->loop);
}

static void on_b(struct datagram_socket *sock, const struct datagram *list, size_t n)
{
	(void)sock;
	for (size_t i = 0; i < n; i++) {
		assert_true(list[i].len >= strlen(HEADER));
		assert_memory_equal(list[i].data, HEADER, strlen(HEADER));
		scene->lens[scene->got] = list[i].len - strlen(HEADER);
		scene->firsts[scene->got++] = list[i].data[strlen(HEADER)];
	}
	if (scene->got + scene->unsent >= scene->wanted)
		loop_stop(&scene->loop);
}

static void on_unsent(struct datagram_poster *poster, size_t n, size_t bytes, int err)
{
	assert_ptr_equal(poster, &scene->poster);
	scene->unsent += n;
	scene->unsent_bytes += bytes;
	scene->unsent_err = err;
	if (scene->got + scene->unsent >= scene->wanted)
		loop_stop(&scene->loop);
}

static void on_limit(struct timer *timer)
{
	(void)timer;
	loop_stop(&scene->loop);
}

static void on_closed(struct datagram_socket *sock)
{
	(void)sock;
	scene->closed++;
}

static int begin(void **state)
{
	struct sockaddr_storage local = {.ss_family = AF_INET}, sa;
	socklen_t len;

	(void)state;
	train_fault = single_fault = 0;
	trains = singles = 0;
	scene = calloc(1, sizeof(*scene));
	assert_non_null(scene);
	((struct sockaddr_in *)&local)->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	scene->poster.unsent = on_unsent;
	assert_int_equal(loop_init(&scene->loop), 0);
	assert_int_equal(datagram_shared_new(&scene->shared), 0);
	assert_int_equal(datagram_open(&scene->a, scene->shared, &scene->loop, &local, on_a), 0);
	assert_int_equal(datagram_open(&scene->b, scene->shared, &scene->loop, &local, on_b), 0);
	timer_init(&scene->limit, &scene->loop, on_limit);
	scene->to = socket_local_addr(scene->b.fd).ip;
	scene->client = socket(AF_INET, SOCK_DGRAM, 0);
	len = sockaddr_from_ip(&sa, &scene->to, scene->a.port);
	assert_int_equal(connect(scene->client, (struct sockaddr *)&sa, len), 0);
	return 0;
}

static int end(void **state)
{
	(void)state;
	close(scene->client);
	datagram_close(&scene->a, on_closed);
	datagram_close(&scene->b, on_closed);
	timer_close(&scene->limit, NULL);
	loop_run(&scene->loop);
	assert_int_equal(scene->closed, 2);
	loop_fini(&scene->loop);
	datagram_shared_free(scene->shared);
	free(scene);
	return 0;
}

static uint8_t first_of(size_t i)
{
	return (uint8_t)(i * 7 + 1);
}

/* A train of the client's: its length in all, and of each. Each begins with a byte of its own. */
static void client_sends(size_t len, size_t segment)
{
	static uint8_t data[TRAIN_BYTES];
	int size = (int)segment;

	for (size_t i = 0; i * segment < len; i++)
		data[i * segment] = first_of(i);
	assert_int_equal(
	    __real_setsockopt(scene->client, IPPROTO_UDP, UDP_SEGMENT, &size, sizeof(size)), 0);
	assert_int_equal(send(scene->client, data, len, 0), len);
}

static void run_until(size_t wanted)
{
	scene->wanted = wanted;
	timer_start(&scene->limit, 5000);
	loop_run(&scene->loop);
	timer_stop(&scene->limit);
	assert_int_equal(scene->got + scene->unsent, wanted);
}

static void check_arrived(size_t n, size_t segment, size_t last)
{
	assert_int_equal(scene->got, n);
	for (size_t i = 0; i < n; i++) {
		assert_int_equal(scene->lens[i], i + 1 < n ? segment : last);
		assert_int_equal(scene->firsts[i], first_of(i));
	}
}

static void comes_and_leaves_as_one(void **state)
{
	(void)state;
	client_sends(40 * 100 + 30, 100);
	run_until(41);
	check_arrived(41, 100, 30);
	assert_int_equal(trains, 1);
	assert_int_equal(singles, 0);
	assert_int_equal(scene->a.trains, 1);
	assert_int_equal(scene->largest_list, 41);
}

/* The headers make it longer than a packet, so it leaves as two. */
static void too_long_with_headers(void **state)
{
	size_t segment = 1100, n = 59, last = TRAIN_BYTES - n * segment;

	(void)state;
	client_sends(TRAIN_BYTES, segment);
	run_until(n + 1);
	check_arrived(n + 1, segment, last);
	assert_int_equal(trains + singles, 2);
}

static void one_alone(void **state)
{
	(void)state;
	client_sends(100, 100);
	run_until(1);
	check_arrived(1, 100, 100);
	assert_int_equal(trains, 0);
	assert_int_equal(singles, 1);
}

/* Of which no two would fit into a packet. */
static void long_ones(void **state)
{
	int no = 0;
	static uint8_t data[40000];

	(void)state;
	for (size_t i = 0; i < 4; i++) {
		data[0] = first_of(i);
		assert_int_equal(
		    __real_setsockopt(scene->client, IPPROTO_UDP, UDP_SEGMENT, &no, sizeof(no)), 0);
		assert_int_equal(send(scene->client, data, sizeof(data), 0), sizeof(data));
	}
	run_until(4);
	check_arrived(4, sizeof(data), sizeof(data));
	assert_int_equal(trains, 0);
}

/* What is refused as one goes one by one, at once and from then on. */
static void refused_as_one(int err, bool for_good)
{
	train_fault = err;
	client_sends(10 * 100, 100);
	run_until(10);
	check_arrived(10, 100, 100);
	assert_int_equal(singles, 10);
	assert_int_equal(scene->a.segment_max, for_good ? 0 : 103);
	train_fault = 0;
	scene->got = 0;
	client_sends(10 * 100, 100);
	run_until(10);
	assert_int_equal(singles, 20);
	assert_int_equal(trains, 0);
	scene->got = 0;
	client_sends(10 * 99, 99);
	run_until(10);
	check_arrived(10, 99, 99);
	assert_int_equal(trains, for_good ? 0 : 1);
	/* Another socket may have another way. */
	assert_true(scene->b.segment_max > 103);
}

static void no_checksums(void **state)
{
	(void)state;
	refused_as_one(EIO, true);
}

static void not_known(void **state)
{
	(void)state;
	refused_as_one(EOPNOTSUPP, true);
}

static void longer_than_the_way_takes(void **state)
{
	(void)state;
	refused_as_one(EMSGSIZE, false);
}

static void longer_than_the_way_takes_otherwise(void **state)
{
	(void)state;
	refused_as_one(EINVAL, false);
}

static void full(void **state)
{
	(void)state;
	train_fault = ENOBUFS;
	client_sends(10 * 100, 100);
	run_until(10);
	assert_int_equal(scene->unsent, 10);
	assert_int_equal(scene->unsent_bytes, 1000);
	assert_int_equal(scene->unsent_err, -EAGAIN);
	/* That is no reason to do without. */
	assert_true(scene->a.segment_max > 100);
}

static void neither_way(void **state)
{
	(void)state;
	train_fault = EIO;
	single_fault = EPERM;
	client_sends(10 * 100 + 7, 100);
	run_until(11);
	assert_int_equal(scene->unsent, 11);
	assert_int_equal(scene->unsent_bytes, 1007);
	assert_int_equal(scene->unsent_err, -EPERM);
}

static int begin_without(void **state)
{
	no_offload = true;
	begin(state);
	no_offload = false;
	return 0;
}

static void kernel_without(void **state)
{
	(void)state;
	assert_int_equal(scene->a.segment_max, 0);
	client_sends(10 * 100, 100);
	run_until(10);
	check_arrived(10, 100, 100);
	assert_int_equal(trains, 0);
	assert_int_equal(singles, 10);
}

/* Ten trains as long as can be, which others would have to wait for. */
static void shorter_turns(void **state)
{
	(void)state;
	assert_int_equal(scene->a.batch, DATAGRAM_BATCH);
	for (int i = 0; i < 10; i++)
		client_sends(60000, 1000);
	run_until(600);
	assert_true(scene->a.batch < DATAGRAM_BATCH);
	for (size_t i = 0; i < 600; i++)
		assert_int_equal(scene->firsts[i], first_of(i % 60));
	scene->got = 0;
	client_sends(100, 100);
	run_until(1);
	assert_int_equal(scene->a.batch, DATAGRAM_BATCH);
}

#define WITH(test) cmocka_unit_test_setup_teardown(test, begin, end)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    WITH(comes_and_leaves_as_one),
	    WITH(too_long_with_headers),
	    WITH(one_alone),
	    WITH(long_ones),
	    WITH(no_checksums),
	    WITH(not_known),
	    WITH(longer_than_the_way_takes),
	    WITH(longer_than_the_way_takes_otherwise),
	    WITH(full),
	    WITH(neither_way),
	    cmocka_unit_test_setup_teardown(kernel_without, begin_without, end),
	    WITH(shorter_turns),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
