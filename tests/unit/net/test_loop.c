/* SPDX-License-Identifier: MIT */
#include "net/loop.h"

#include <poll.h>

#include "sockets.h"

struct fixture {
	struct loop loop;
	struct watch watch;
	struct timer timer;
	int fd[2]; /* [0] is watched */
	unsigned calls;
	unsigned events; /* of the last call */
	struct fixture *other;
	struct watch timer_watch; /* of what comes in the place of another */
};

static struct fixture *of_watch(struct watch *watch)
{
	return (struct fixture *)((char *)watch - offsetof(struct fixture, watch));
}

static void count_and_stop(struct watch *watch, unsigned events)
{
	struct fixture *f = of_watch(watch);

	f->calls++;
	f->events = events;
	loop_stop(&f->loop);
}

static void count(struct watch *watch, unsigned events)
{
	struct fixture *f = of_watch(watch);

	f->calls++;
	f->events = events;
}

static void stop_on_timer(struct timer *timer)
{
	struct fixture *f = (struct fixture *)((char *)timer - offsetof(struct fixture, timer));

	loop_stop(&f->loop);
}

/* Lets the loop turn for a while in which nothing, or too much, might happen. */
static void turn(struct fixture *f, uint64_t ms)
{
	timer_start(&f->timer, ms);
	loop_run(&f->loop);
	timer_stop(&f->timer);
}

static int set_up(void **state)
{
	static struct fixture f;

	memset(&f, 0, sizeof(f));
	tcp_pair(f.fd);
	assert_int_equal(loop_init(&f.loop), 0);
	assert_int_equal(watch_init(&f.watch, &f.loop, f.fd[0], count_and_stop), 0);
	timer_init(&f.timer, &f.loop, stop_on_timer);
	*state = &f;
	return 0;
}

/* What a watch promises does not depend on how the kernel is asked. */
static int set_up_edge(void **state)
{
	int err = set_up(state);

	watch_set_edge(&((struct fixture *)*state)->watch, true);
	return err;
}

static int tear_down(void **state)
{
	struct fixture *f = *state;

	watch_close(&f->watch, NULL);
	timer_close(&f->timer, NULL);
	close(f->fd[0]);
	if (f->fd[1] >= 0)
		close(f->fd[1]);
	loop_fini(&f->loop);
	return f->loop.watching != 0;
}

static void reports_reading_and_writing(void **state)
{
	struct fixture *f = *state;

	watch_set(&f->watch, WATCH_READ);
	assert_int_equal(write(f->fd[1], "x", 1), 1);
	loop_run(&f->loop);
	assert_int_equal(f->events, WATCH_READ);
	watch_set(&f->watch, WATCH_READ | WATCH_WRITE);
	loop_run(&f->loop);
	assert_int_equal(f->events, WATCH_READ | WATCH_WRITE);
	watch_set(&f->watch, WATCH_WRITE);
	loop_run(&f->loop);
	assert_int_equal(f->events, WATCH_WRITE);
	assert_int_equal(f->calls, 3);
	assert_int_equal(f->watch.events, WATCH_WRITE);
}

static void waits_for_nothing_when_told(void **state)
{
	struct fixture *f = *state;

	watch_set(&f->watch, WATCH_READ);
	watch_set(&f->watch, 0);
	close_with_reset(f->fd[1]);
	f->fd[1] = -1;
	turn(f, 20);
	assert_int_equal(f->calls, 0);
}

static void end_of_stream_reads_as_readable(void **state)
{
	struct fixture *f = *state;

	watch_set(&f->watch, WATCH_READ | WATCH_ERROR);
	shutdown(f->fd[1], SHUT_WR);
	loop_run(&f->loop);
	assert_int_equal(f->events, WATCH_READ);
}

static void end_of_stream_and_data_are_no_errors(void **state)
{
	struct fixture *f = *state;

	watch_set(&f->watch, WATCH_ERROR);
	assert_int_equal(write(f->fd[1], "abc", 3), 3);
	shutdown(f->fd[1], SHUT_WR);
	turn(f, 20);
	assert_int_equal(f->calls, 0);
	assert_int_equal(f->watch.events, WATCH_ERROR);
}

static void reset_is_an_error_and_ends_the_watch(void **state)
{
	static const unsigned sets[] = {WATCH_ERROR, WATCH_READ, WATCH_READ | WATCH_ERROR};
	struct fixture *f = *state;

	f->watch.fn = count;
	for (size_t i = 0; i < sizeof(sets) / sizeof(sets[0]); i++) {
		watch_set(&f->watch, sets[i]);
		if (f->fd[1] >= 0)
			close_with_reset(f->fd[1]);
		f->fd[1] = -1;
		f->calls = 0;
		turn(f, 20);
		/* Level-triggered and never taken, the error would be told again and again. */
		assert_int_equal(f->calls, 1);
		assert_int_equal(f->events, sets[i] | WATCH_ERROR);
		assert_int_equal(f->watch.events, 0);
	}
}

static void reset_after_end_of_stream_is_seen(void **state)
{
	struct fixture *f = *state;

	watch_set(&f->watch, WATCH_ERROR);
	shutdown(f->fd[1], SHUT_WR);
	turn(f, 5);
	assert_int_equal(f->calls, 0);
	close_with_reset(f->fd[1]);
	f->fd[1] = -1;
	loop_run(&f->loop);
	assert_int_equal(f->calls, 1);
	assert_int_equal(f->events, WATCH_ERROR);
}

static void both_ends_gone_is_an_error(void **state)
{
	struct fixture *f = *state;

	watch_set(&f->watch, WATCH_ERROR);
	shutdown(f->fd[0], SHUT_WR);
	shutdown(f->fd[1], SHUT_WR);
	loop_run(&f->loop);
	assert_int_equal(f->events, WATCH_ERROR);
	assert_int_equal(f->watch.events, 0);
}

/* The processor time that a turn of 50 ms takes shows a loop that spins inside libuv. */
static uint64_t turns_cpu(struct fixture *f)
{
	struct timespec before, after;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &before);
	turn(f, 50);
	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &after);
	return (
	    uint64_t)((after.tv_sec - before.tv_sec) * 1000000000 + after.tv_nsec - before.tv_nsec);
}

static void urgent_data_neither_spins_nor_hides_errors(void **state)
{
	struct fixture *f = *state;
	struct pollfd p = {.fd = f->fd[0], .events = POLLPRI};

	watch_set(&f->watch, WATCH_ERROR);
	assert_int_equal(send(f->fd[1], "!", 1, MSG_OOB), 1);
	shutdown(f->fd[1], SHUT_WR);
	assert_int_equal(poll(&p, 1, 5000), 1);
	assert_true(turns_cpu(f) < 20000000);
	assert_int_equal(f->calls, 0);
	close_with_reset(f->fd[1]);
	f->fd[1] = -1;
	loop_run(&f->loop);
	assert_int_equal(f->calls, 1);
	assert_int_equal(f->events, WATCH_ERROR);
}

static void reading_goes_on_after_urgent_data(void **state)
{
	struct fixture *f = *state;

	watch_set(&f->watch, WATCH_ERROR);
	assert_int_equal(send(f->fd[1], "!", 1, MSG_OOB), 1);
	turn(f, 5);
	watch_set(&f->watch, WATCH_READ);
	assert_int_equal(write(f->fd[1], "x", 1), 1);
	loop_run(&f->loop);
	assert_int_equal(f->events, WATCH_READ);
}

static void close_in_callback(struct watch *watch, unsigned events)
{
	struct fixture *f = of_watch(watch);

	count(watch, events);
	watch_close(watch, NULL);
	/* The number may come back at once, for another watch. */
	close(f->fd[0]);
	f->fd[0] = -1;
}

static void closes_from_its_own_callback(void **state)
{
	struct fixture *f = *state;
	int again[2];

	f->watch.fn = close_in_callback;
	watch_set(&f->watch, WATCH_READ | WATCH_WRITE);
	turn(f, 5);
	assert_int_equal(f->calls, 1);
	assert_int_equal(f->loop.watching, 1);
	close(f->fd[1]);
	tcp_pair(again);
	memcpy(f->fd, again, sizeof(again));
	assert_int_equal(watch_init(&f->watch, &f->loop, f->fd[0], count_and_stop), 0);
	watch_set(&f->watch, WATCH_WRITE);
	loop_run(&f->loop);
	assert_int_equal(f->calls, 2);
}

/* Out of memory, say; here it is no descriptor at all. Told from the loop, not from the call. */
static void what_cannot_be_polled_is_an_error(void **state)
{
	struct fixture *f = *state, other = {0};

	assert_int_equal(watch_init(&other.watch, &f->loop, -1, count), 0);
	watch_set(&other.watch, WATCH_READ);
	assert_int_equal(other.calls, 0);
	loop_turn(&f->loop, true);
	assert_int_equal(other.calls, 1);
	assert_int_equal(other.events, WATCH_READ | WATCH_ERROR);
	assert_int_equal(other.watch.events, 0);
	loop_turn(&f->loop, false);
	assert_int_equal(other.calls, 1);

	/* Closed before it could be told, it is not told. */
	watch_set(&other.watch, WATCH_WRITE);
	watch_close(&other.watch, NULL);
	loop_turn(&f->loop, true);
	assert_int_equal(other.calls, 1);
	assert_int_equal(f->loop.watching, 2);
}

static void close_other(struct watch *watch, unsigned events)
{
	struct fixture *f = of_watch(watch);

	count(watch, events);
	watch_close(&f->other->watch, NULL);
}

/* Both are in one batch; whichever comes first closes the other, which then hears nothing. */
static void what_is_closed_in_a_batch_hears_no_more(void **state)
{
	struct fixture *f = *state, a = {0}, b = {0};

	a.other = &b;
	b.other = &a;
	assert_int_equal(watch_init(&a.watch, &f->loop, f->fd[0], close_other), 0);
	assert_int_equal(watch_init(&b.watch, &f->loop, f->fd[1], close_other), 0);
	watch_set(&a.watch, WATCH_WRITE);
	watch_set(&b.watch, WATCH_WRITE);
	loop_turn(&f->loop, true);
	assert_int_equal(a.calls + b.calls, 1);
	watch_close(a.calls ? &a.watch : &b.watch, NULL);
	loop_turn(&f->loop, false);
	assert_int_equal(a.calls + b.calls, 1);
	assert_int_equal(f->loop.watching, 2);
}

/* Reads so much and tells how that went, as whoever reads has to. */
static void read_some(struct watch *watch, unsigned events)
{
	struct fixture *f = of_watch(watch);
	char buf[8];
	ssize_t n = read(f->fd[0], buf, sizeof(buf));

	count(watch, events);
	if (n < 0)
		watch_is_drained(watch);
	else if (n == 0)
		watch_set(watch, 0);
	else if (n < (ssize_t)sizeof(buf))
		(void)watch_is_short(watch);
}

static unsigned turns(struct fixture *f, unsigned n)
{
	while (n-- > 0)
		loop_turn(&f->loop, false);
	return f->calls;
}

/* One call for what is there; none for what is not, and without asking for it. */
static void what_is_told_is_not_asked_again(void **state)
{
	struct fixture *f = *state;

	f->watch.fn = read_some;
	watch_set(&f->watch, WATCH_READ);
	assert_int_equal(turns(f, 3), 0);
	assert_int_equal(write(f->fd[1], "abc", 3), 3);
	assert_int_equal(turns(f, 3), 1);
	/* Exactly full: there might be more, which the kernel knows. */
	assert_int_equal(write(f->fd[1], "abcdefgh", 8), 8);
	assert_int_equal(turns(f, 3), 2);
	assert_int_equal(write(f->fd[1], "abcdefghi", 9), 9);
	assert_int_equal(turns(f, 5), 4);
	shutdown(f->fd[1], SHUT_WR);
	assert_int_equal(turns(f, 3), 5);
}

/* The end came with the data, in one event: a short read must not hide it. */
static void end_behind_a_short_read_is_told(void **state)
{
	struct fixture *f = *state;

	f->watch.fn = read_some;
	assert_int_equal(write(f->fd[1], "abc", 3), 3);
	shutdown(f->fd[1], SHUT_WR);
	watch_set(&f->watch, WATCH_READ);
	assert_int_equal(turns(f, 5), 2);
	assert_int_equal(f->watch.events, 0);
}

/* A read ends before an urgent byte in the stream, whatever is behind. */
static void bytes_behind_an_urgent_one_are_told(void **state)
{
	struct fixture *f = *state;
	const int one = 1;

	f->watch.fn = read_some;
	setsockopt(f->fd[0], SOL_SOCKET, SO_OOBINLINE, &one, sizeof(one));
	assert_int_equal(write(f->fd[1], "abc", 3), 3);
	assert_int_equal(send(f->fd[1], "!", 1, MSG_OOB), 1);
	assert_int_equal(write(f->fd[1], "def", 3), 3);
	watch_set(&f->watch, WATCH_READ);
	turns(f, 8);
	assert_int_equal(recv(f->fd[0], &(char){0}, 1, MSG_DONTWAIT), -1);
}

/* What came while nobody waited for it is told when somebody does. */
static void what_came_meanwhile_is_told(void **state)
{
	struct fixture *f = *state;

	f->watch.fn = read_some;
	watch_set(&f->watch, WATCH_ERROR);
	assert_int_equal(write(f->fd[1], "abc", 3), 3);
	assert_int_equal(turns(f, 3), 0);
	watch_set(&f->watch, WATCH_READ);
	assert_int_equal(turns(f, 3), 1);
}

/* Another goes on with the registration of one that has ended, with all it has heard. */
static void given_and_taken_nothing_is_lost(void **state)
{
	struct fixture *f = *state, other = {.fd = {f->fd[0], f->fd[1]}};

	watch_set(&f->watch, WATCH_ERROR);
	assert_int_equal(write(f->fd[1], "abc", 3), 3);
	assert_int_equal(turns(f, 2), 0);
	watch_give(&f->watch, NULL);
	assert_int_equal(watch_init(&other.watch, &f->loop, f->fd[0], read_some), 0);
	assert_true(watch_take(&other.watch));
	loop_give_up(&f->loop);
	assert_false(watch_take(&other.watch));
	watch_set(&other.watch, WATCH_READ);
	turns(f, 3);
	assert_int_equal(other.calls, 1);
	assert_int_equal(write(f->fd[1], "abc", 3), 3);
	turns(f, 3);
	assert_int_equal(other.calls, 2);
	watch_close(&other.watch, NULL);
	assert_int_equal(turns(f, 1), 0);
	assert_int_equal(watch_init(&f->watch, &f->loop, f->fd[0], count), 0);
}

/* What was given and not taken is no obstacle. */
static void given_and_not_taken_is_registered_anew(void **state)
{
	struct fixture *f = *state;

	watch_set(&f->watch, WATCH_READ);
	watch_give(&f->watch, NULL);
	loop_give_up(&f->loop);
	assert_int_equal(write(f->fd[1], "abc", 3), 3);
	assert_int_equal(turns(f, 2), 0);
	assert_int_equal(watch_init(&f->watch, &f->loop, f->fd[0], read_some), 0);
	assert_false(watch_take(&f->watch));
	watch_set(&f->watch, WATCH_READ);
	assert_int_equal(turns(f, 2), 1);
}

/* Its descriptor is closed and comes back in the same batch for another: that one hears nothing of
 * what was told of it. */
static void reopen_other(struct watch *watch, unsigned events)
{
	struct fixture *f = of_watch(watch), *other = f->other;

	count(watch, events);
	if (f->calls > 1)
		return;
	watch_drop(&other->watch, NULL);
	assert_int_equal(dup2(f->fd[1], other->fd[0]), other->fd[0]);
	assert_int_equal(watch_init(&f->timer_watch, watch->loop, other->fd[0], count), 0);
	watch_set_edge(&f->timer_watch, true);
	watch_set(&f->timer_watch, WATCH_ERROR);
}

static void number_that_comes_back_hears_its_own(void **state)
{
	struct fixture *f = *state, a = {0}, b = {0};
	int first[2], second[2];

	tcp_pair(first);
	tcp_pair(second);
	a.fd[0] = first[0];
	a.fd[1] = f->fd[0];
	b.fd[0] = second[0];
	b.fd[1] = f->fd[0];
	a.other = &b;
	b.other = &a;
	assert_int_equal(watch_init(&a.watch, &f->loop, first[0], reopen_other), 0);
	assert_int_equal(watch_init(&b.watch, &f->loop, second[0], reopen_other), 0);
	watch_set_edge(&a.watch, true);
	watch_set_edge(&b.watch, true);
	watch_set(&a.watch, WATCH_ERROR);
	watch_set(&b.watch, WATCH_ERROR);
	/* Both are reset, and both are in one batch. */
	close_with_reset(first[1]);
	close_with_reset(second[1]);
	turns(f, 3);
	assert_int_equal(a.calls + b.calls, 1);
	watch_close(a.calls ? &a.watch : &b.watch, NULL);
	watch_close(a.calls ? &a.timer_watch : &b.timer_watch, NULL);
	turns(f, 1);
	close(first[0]);
	close(second[0]);
}

struct test_job {
	struct job job;
	struct loop *loop;
	int n;
};

static void job_work(struct job *job)
{
	((struct test_job *)job)->n = 42;
}

static void job_done(struct job *job)
{
	struct test_job *t = (struct test_job *)job;

	t->n++;
	loop_stop(t->loop);
}

static void runs_jobs(void **state)
{
	struct fixture *f = *state;
	struct test_job t = {.job = {.work = job_work, .done = job_done}, .loop = &f->loop};

	assert_int_equal(job_start(&t.job, &f->loop), 0);
	loop_run(&f->loop);
	assert_int_equal(t.n, 43);
}

struct ticker {
	struct timer timer, *victim;
	unsigned calls, restarts;
};

static void tick(struct timer *timer)
{
	struct ticker *t = (struct ticker *)timer;

	t->calls++;
	if (t->victim)
		timer_stop(t->victim);
	if (t->restarts > 0) {
		t->restarts--;
		timer_start(timer, 0);
	}
}

/* One that starts itself anew waits for the next turn; one that another stops is not called. */
static void timers_that_meddle(void **state)
{
	struct fixture *f = *state;
	struct ticker a = {.restarts = 0}, b = {.restarts = 2};

	timer_init(&a.timer, &f->loop, tick);
	timer_init(&b.timer, &f->loop, tick);
	timer_start(&b.timer, 0);
	loop_turn(&f->loop, true);
	assert_int_equal(b.calls, 1);
	loop_turn(&f->loop, true);
	assert_int_equal(b.calls, 2);
	loop_turn(&f->loop, true);
	assert_int_equal(b.calls, 3);
	a.victim = &b.timer;
	b.victim = &a.timer;
	timer_start(&a.timer, 0);
	timer_start(&b.timer, 0);
	loop_turn(&f->loop, true);
	assert_int_equal(a.calls + b.calls, 4);
	timer_close(&a.timer, NULL);
	timer_close(&b.timer, NULL);
	loop_turn(&f->loop, false);
	assert_int_equal(f->loop.watching, 2);
}

static void timer_waits_its_time(void **state)
{
	struct fixture *f = *state;
	uint64_t before = loop_now(&f->loop);

	turn(f, 30);
	assert_true(loop_now(&f->loop) >= before + 30);
}

/* The loop prepares to wait for its timers, and something else is there. */
static void wait_in_vain(struct fixture *f)
{
	watch_set(&f->watch, WATCH_WRITE);
	loop_turn(&f->loop, true);
	watch_set(&f->watch, 0);
}

/* Returns after how many turns. */
static unsigned turns_until_called(struct fixture *f, const struct ticker *t)
{
	unsigned turns = 0;

	while (t->calls == 0) {
		loop_turn(&f->loop, true);
		turns++;
	}
	return turns;
}

static void nearer_timer_moves_the_alarm(void **state)
{
	struct fixture *f = *state;
	struct ticker far = {.calls = 0}, near = {.calls = 0};
	uint64_t before = loop_now(&f->loop);

	timer_init(&far.timer, &f->loop, tick);
	timer_init(&near.timer, &f->loop, tick);
	timer_start(&far.timer, 60000);
	wait_in_vain(f);
	timer_start(&near.timer, 1100);
	assert_in_range(turns_until_called(f, &near), 1, 3);
	assert_true(loop_now(&f->loop) >= before + 1100);
	assert_int_equal(far.calls, 0);
	timer_close(&far.timer, NULL);
	timer_close(&near.timer, NULL);
	loop_turn(&f->loop, false);
}

static void alarm_for_nobody_is_set_anew(void **state)
{
	struct fixture *f = *state;
	struct ticker gone = {.calls = 0}, next = {.calls = 0};
	uint64_t before = loop_now(&f->loop);

	timer_init(&gone.timer, &f->loop, tick);
	timer_init(&next.timer, &f->loop, tick);
	timer_start(&gone.timer, 1010);
	wait_in_vain(f);
	timer_stop(&gone.timer);
	timer_start(&next.timer, 2100);
	assert_in_range(turns_until_called(f, &next), 2, 3);
	assert_true(loop_now(&f->loop) >= before + 2100);
	assert_int_equal(gone.calls, 0);
	timer_close(&gone.timer, NULL);
	timer_close(&next.timer, NULL);
	loop_turn(&f->loop, false);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
#define TEST_EDGE(name)                                                                            \
	{                                                                                          \
		"edge_" #name, name, set_up_edge, tear_down, NULL                                  \
	}
#define TEST_BOTH(name) TEST(name), TEST_EDGE(name)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST_BOTH(reports_reading_and_writing),
	    TEST_BOTH(waits_for_nothing_when_told),
	    TEST_BOTH(end_of_stream_reads_as_readable),
	    TEST_BOTH(end_of_stream_and_data_are_no_errors),
	    TEST_BOTH(reset_is_an_error_and_ends_the_watch),
	    TEST_BOTH(reset_after_end_of_stream_is_seen),
	    TEST_BOTH(both_ends_gone_is_an_error),
	    TEST_BOTH(urgent_data_neither_spins_nor_hides_errors),
	    TEST_BOTH(reading_goes_on_after_urgent_data),
	    TEST_BOTH(closes_from_its_own_callback),
	    TEST(what_cannot_be_polled_is_an_error),
	    TEST(what_is_closed_in_a_batch_hears_no_more),
	    TEST_EDGE(what_is_told_is_not_asked_again),
	    TEST_BOTH(end_behind_a_short_read_is_told),
	    TEST_BOTH(bytes_behind_an_urgent_one_are_told),
	    TEST_BOTH(what_came_meanwhile_is_told),
	    TEST_EDGE(given_and_taken_nothing_is_lost),
	    TEST_EDGE(given_and_not_taken_is_registered_anew),
	    TEST(number_that_comes_back_hears_its_own),
	    TEST(timers_that_meddle),
	    TEST(runs_jobs),
	    TEST(timer_waits_its_time),
	    TEST(nearer_timer_moves_the_alarm),
	    TEST(alarm_for_nobody_is_set_anew),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
