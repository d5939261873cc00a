/* SPDX-License-Identifier: MIT */
#include "net/deadline.h"

#include <stdlib.h>

#include "sockets.h"

struct item {
	struct deadline deadline;
	uint64_t set_at;
	unsigned order; /* of expiry, from 1; 0 = not expired */
};

static struct loop loop;
static struct deadline_class cls, other;
static unsigned expired;
static uint64_t latest; /* ms beyond its due time, of any */

static void on_expiry(struct deadline_class *of, struct deadline *deadline)
{
	struct item *item = (struct item *)deadline;
	uint64_t due = item->set_at + of->ms;

	assert_null(deadline->next);
	assert_true(loop_now(&loop) >= due);
	if (loop_now(&loop) - due > latest)
		latest = loop_now(&loop) - due;
	item->order = ++expired;
}

static void set(struct item *item, struct deadline_class *in)
{
	item->set_at = loop_now(&loop);
	deadline_set(&item->deadline, in);
}

static int set_up(void **state)
{
	(void)state;
	expired = 0;
	latest = 0;
	assert_int_equal(loop_init(&loop), 0);
	deadline_class_init(&cls, &loop, 20, on_expiry);
	deadline_class_init(&other, &loop, 40, on_expiry);
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	deadline_class_close(&cls);
	deadline_class_close(&other);
	loop_fini(&loop);
	return loop.watching != 0;
}

/* loop_run() returning at all shows that no timer is left when the lists are empty. */
static void expires_in_order(void **state)
{
	struct item items[3] = {{.order = 0}};

	(void)state;
	set(&items[0], &other);
	set(&items[1], &cls);
	set(&items[2], &cls);
	loop_run(&loop);
	assert_int_equal(items[1].order, 1);
	assert_int_equal(items[2].order, 2);
	assert_int_equal(items[0].order, 3);
}

static void cleared_does_not_expire(void **state)
{
	struct item items[3] = {{.order = 0}};

	(void)state;
	for (int i = 0; i < 3; i++)
		set(&items[i], &cls);
	deadline_clear(&items[1].deadline);
	deadline_clear(&items[1].deadline);
	loop_run(&loop);
	assert_int_equal(items[0].order, 1);
	assert_int_equal(items[1].order, 0);
	assert_int_equal(items[2].order, 2);
	set(&items[0], &cls);
	deadline_clear(&items[0].deadline);
	assert_null(loop.timers.first);
	loop_run(&loop);
	assert_int_equal(expired, 2);
}

static void setting_again_moves(void **state)
{
	struct item items[3] = {{.order = 0}};

	(void)state;
	for (int i = 0; i < 3; i++)
		set(&items[i], &cls);
	set(&items[0], &cls);   /* behind 2 */
	set(&items[1], &other); /* into another class */
	loop_run(&loop);
	assert_int_equal(items[2].order, 1);
	assert_int_equal(items[0].order, 2);
	assert_int_equal(items[1].order, 3);
}

static void zero_never_expires(void **state)
{
	struct item item = {.order = 0};

	(void)state;
	set(&item, &cls);
	deadline_class_change(&cls, 0);
	set(&item, &cls);
	assert_null(item.deadline.next);
	loop_run(&loop);
	assert_int_equal(expired, 0);
}

static void change_is_for_new_ones(void **state)
{
	struct item before = {.order = 0}, after = {.order = 0};
	uint64_t start = loop_now(&loop);

	(void)state;
	set(&before, &cls);
	deadline_class_change(&cls, 60);
	set(&after, &cls);
	before.set_at -= 40; /* on_expiry() reckons with the new length */
	loop_run(&loop);
	assert_int_equal(before.order, 1);
	assert_int_equal(after.order, 2);
	assert_true(loop_now(&loop) >= start + 60);
}

static struct item again;

static void set_again_once(struct deadline_class *of, struct deadline *deadline)
{
	on_expiry(of, deadline);
	if (expired == 1)
		set((struct item *)deadline, of);
	else if (expired == 2)
		deadline_clear(&again.deadline);
}

static void callbacks_may_set_and_clear(void **state)
{
	struct item item = {.order = 0};

	(void)state;
	again = (struct item){.order = 0};
	cls.fn = set_again_once;
	deadline_class_change(&cls, 5); /* twice, well before `again` is due */
	deadline_class_change(&other, 1000);
	set(&item, &cls);
	set(&again, &other);
	loop_run(&loop);
	assert_int_equal(item.order, 2);
	assert_int_equal(again.order, 0);
}

#define MANY 10000

static void many_share_one_timer(void **state)
{
	struct item *items = calloc(MANY, sizeof(*items));

	(void)state;
	assert_non_null(items);
	for (int i = 0; i < MANY; i++)
		set(&items[i], &cls);
	assert_int_equal(loop.watching, 2);
	for (int i = 0; i < MANY; i += 2)
		deadline_clear(&items[i].deadline);
	loop_run(&loop);
	assert_int_equal(expired, MANY / 2);
	for (unsigned i = 1, order = 1; i < MANY; i += 2, order++)
		assert_int_equal(items[i].order, order);
	free(items);
}

/* Deadlines set at different times come at most 1/16 late; the rest is a busy machine's, which may
 * need more than one try. */
static struct item spread[8];
static struct timer setter;
static unsigned spread_n;

static void set_next(struct timer *timer)
{
	set(&spread[spread_n++], &cls);
	if (spread_n < 8)
		timer_start(timer, 3);
}

static void lateness_is_bounded(void **state)
{
	(void)state;
	deadline_class_change(&cls, 160);
	timer_init(&setter, &loop, set_next);
	for (int tries = 0; tries < 20; tries++) {
		memset(spread, 0, sizeof(spread));
		spread_n = 0;
		expired = 0;
		latest = 0;
		timer_start(&setter, 1);
		loop_run(&loop);
		assert_int_equal(expired, 8);
		if (latest <= 160 / 16 + 20)
			break;
	}
	assert_true(latest <= 160 / 16 + 20);
	timer_close(&setter, NULL);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(expires_in_order),
	    TEST(cleared_does_not_expire),
	    TEST(setting_again_moves),
	    TEST(zero_never_expires),
	    TEST(change_is_for_new_ones),
	    TEST(callbacks_may_set_and_clear),
	    TEST(many_share_one_timer),
	    TEST(lateness_is_bounded),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
