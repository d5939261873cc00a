/* SPDX-License-Identifier: MIT */
/* lib/race with a system of the test's own: its clock stands still unless it is moved, and sockets
 * do what the test says. */
#include "lib/race.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>

/* ---- the system ---- */

enum fate { PENDING = 1 }; /* else 0: connected, or -errno */

static uint64_t now;
static int begin_fate[RACE_MAX]; /* by the last byte of the address: of os_connect() */
static int fate[RACE_MAX];       /* and of the attempt */
static char events[400];         /* what was done, in order */
static tabi_socket group = TABI_NO_SOCKET;

static void note(const char *what, int i)
{
	size_t len = 0;

	while (events[len])
		len++;
	snprintf(events + len, sizeof(events) - len, "%s%d ", what, i);
}

uint64_t os_now(void)
{
	return now;
}

int os_connect(const struct tabi_address *to, tabi_socket *ret_fd)
{
	const int i = to->ip[3];

	assert_int_equal(to->port, 1080);
	note("begin", i);
	if (begin_fate[i] < 0)
		return begin_fate[i];
	*ret_fd = 100 + i;
	return 0;
}

int os_connected(tabi_socket fd)
{
	return fate[fd - 100];
}

int os_wait(struct os_wait *waits, int n, int timeout)
{
	assert_int_equal(n, 1);
	assert_int_equal(timeout, 0);
	return fate[waits[0].fd - 100] != PENDING;
}

void os_close(tabi_socket fd)
{
	if (fd == group)
		note("group-gone", 0);
	else
		note("close", fd - 100);
}

tabi_socket os_group(void)
{
	return group;
}

int os_group_add(tabi_socket to, tabi_socket fd, int wanted)
{
	assert_int_equal(to, group);
	assert_int_equal(wanted, TABI_WRITABLE);
	note("add", fd - 100);
	return 0;
}

void os_group_remove(tabi_socket from, tabi_socket fd)
{
	assert_int_equal(from, group);
	note("remove", fd - 100);
}

/* ---- the tests ---- */

/* Families as digits, 4 or 6; the addresses are numbered from 0 in this order. */
static void set(struct race *r, const char *families)
{
	struct tabi_address to[RACE_MAX] = {{0}};
	int n = 0;

	for (; families[n]; n++) {
		to[n].family = families[n] == '4' ? TABI_IPV4 : TABI_IPV6;
		to[n].ip[3] = (unsigned char)n;
		fate[n] = PENDING;
		begin_fate[n] = 0;
	}
	now = 1000;
	group = TABI_NO_SOCKET;
	events[0] = '\0';
	race_set(r, to, n, 1080);
}

static void expect(const char *what)
{
	assert_string_equal(events, what);
	events[0] = '\0';
}

static void families_alternate(void **state)
{
	static const struct {
		const char *families;
		const char *order;
	} rows[] = {{"6644", "0213"}, {"4446", "0312"}, {"444", "012"}, {"64", "01"}, {"4", "0"},
	    {"66646", "03124"}};
	struct race r;

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		set(&r, rows[i].families);
		for (int k = 0; k < r.n; k++)
			assert_int_equal(r.to[k].ip[3], rows[i].order[k] - '0');
	}
}

static void another_one_every_quarter_of_a_second(void **state)
{
	tabi_socket fd = TABI_NO_SOCKET;
	struct race r;

	(void)state;
	set(&r, "646");
	race_start(&r);
	expect("begin0 ");
	assert_int_equal(race_step(&r, &fd), 0);
	now += 249;
	assert_int_equal(race_step(&r, &fd), 0);
	expect("");
	assert_int_equal(race_next(&r), 1250);
	now++;
	assert_int_equal(race_step(&r, &fd), 0);
	expect("begin1 ");
	now += 250;
	assert_int_equal(race_step(&r, &fd), 0);
	expect("begin2 ");
	/* The second one is there: the first and the third have lost. */
	fate[1] = 0;
	assert_int_equal(race_step(&r, &fd), 1);
	assert_int_equal(fd, 101);
	expect("close0 close2 ");
	/* Asked again, it is asked first, and the others after it. */
	race_start(&r);
	expect("begin1 ");
	race_stop(&r);
	expect("close1 ");
}

static void a_failure_begins_the_next_at_once(void **state)
{
	tabi_socket fd;
	struct race r;

	(void)state;
	set(&r, "6464");
	begin_fate[0] = -ENETUNREACH;
	race_start(&r);
	expect("begin0 begin1 ");
	fate[1] = -ECONNREFUSED;
	assert_int_equal(race_step(&r, &fd), 0);
	expect("close1 begin2 ");
	/* And from then on another quarter of a second. */
	assert_int_equal(race_next(&r), 1250);
	fate[2] = fate[3] = -ETIMEDOUT;
	assert_int_equal(race_step(&r, &fd), -ECONNREFUSED);
	expect("close2 begin3 close3 ");
	assert_int_equal(r.flying, 0);
	race_stop(&r);
	expect("");
}

static void nothing_can_be_begun(void **state)
{
	tabi_socket fd;
	struct race r;

	(void)state;
	set(&r, "64");
	begin_fate[0] = -ENETUNREACH;
	begin_fate[1] = -EMFILE;
	race_start(&r);
	assert_int_equal(race_step(&r, &fd), -EMFILE);
	race_stop(&r);
}

static void one_descriptor_stands_for_all(void **state)
{
	tabi_socket fd;
	struct race r;
	int waits_for;

	(void)state;
	set(&r, "64");
	group = 99;
	race_start(&r);
	expect("begin0 add0 ");
	assert_int_equal(race_fd(&r, &waits_for), 99);
	assert_int_equal(waits_for, TABI_READABLE);
	now += 250;
	assert_int_equal(race_step(&r, &fd), 0);
	expect("begin1 add1 ");
	assert_int_equal(race_fd(&r, &waits_for), 99);
	/* Nothing more can be begun: no clock is needed. */
	assert_true(race_next(&r) == UINT64_MAX);
	fate[0] = -ECONNREFUSED;
	assert_int_equal(race_step(&r, &fd), 0);
	expect("remove0 close0 ");
	fate[1] = 0;
	assert_int_equal(race_step(&r, &fd), 1);
	expect("remove1 group-gone0 ");
	/* A single address needs none. */
	set(&r, "4");
	group = 99;
	race_start(&r);
	assert_int_equal(race_fd(&r, &waits_for), 100);
	assert_int_equal(waits_for, TABI_WRITABLE);
	race_stop(&r);
	expect("begin0 close0 ");
}

/* A child of fork() that frees its copy must not take out of the group what its parent waits for:
 * the group is the same. */
static void stopping_takes_nothing_out_of_the_group(void **state)
{
	struct race r;
	tabi_socket fd;

	(void)state;
	set(&r, "64");
	group = 99;
	race_start(&r);
	now += 250;
	assert_int_equal(race_step(&r, &fd), 0);
	race_stop(&r);
	expect("begin0 add0 begin1 add1 group-gone0 close0 close1 ");
}

static void without_it_they_are_looked_at_often(void **state)
{
	struct os_wait waits[RACE_MAX];
	tabi_socket fd;
	struct race r;
	int waits_for;

	(void)state;
	set(&r, "64");
	race_start(&r);
	now += 250;
	assert_int_equal(race_step(&r, &fd), 0);
	assert_int_equal(race_fd(&r, &waits_for), 101);
	assert_int_equal(waits_for, TABI_WRITABLE);
	assert_true(race_next(&r) <= now + 50);
	/* Who can wait for several need not. */
	assert_int_equal(race_waits(&r, waits), 2);
	assert_int_equal(waits[0].fd, 100);
	race_stop(&r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(families_alternate),
	    cmocka_unit_test(another_one_every_quarter_of_a_second),
	    cmocka_unit_test(a_failure_begins_the_next_at_once),
	    cmocka_unit_test(nothing_can_be_begun),
	    cmocka_unit_test(one_descriptor_stands_for_all),
	    cmocka_unit_test(stopping_takes_nothing_out_of_the_group),
	    cmocka_unit_test(without_it_they_are_looked_at_often),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
