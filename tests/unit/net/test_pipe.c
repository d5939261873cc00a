/* SPDX-License-Identifier: MIT */
/* The pool of pipes: its bounds, what the kernel grants, and that nobody gets another's bytes. */
#include "net/pipe.h"

#include <errno.h>
#include <stdlib.h>

#include "sockets.h"

#define KIB ((size_t)1024)
#define MIB (1024 * KIB)

static struct loop loop;
static struct pipe_pool pool;
static struct timer guard;
static bool waited;

/* What the kernel does that counts the pages of a user's pipes. */
static int pipe2_error;   /* or 0 */
static unsigned grown;    /* pipes that were made larger */
static unsigned may_grow; /* so many may be */
static int given_size;    /* what a pipe is said to have, or 0: what it has */
static unsigned made;

/* NOLINTBEGIN(bugprone-reserved-identifier): so the linker's --wrap calls them */
int __real_pipe2(int fd[2], int flags);
int __wrap_pipe2(int fd[2], int flags);
int __real_fcntl64(int fd, int cmd, ...);
int __wrap_fcntl64(int fd, int cmd, int value);

int __wrap_pipe2(int fd[2], int flags)
{
	if (pipe2_error) {
		errno = pipe2_error;
		return -1;
	}
	made++;
	return __real_pipe2(fd, flags);
}

int __wrap_fcntl64(int fd, int cmd, int value)
{
	if (cmd == F_SETPIPE_SZ && ++grown > may_grow) {
		errno = EPERM;
		return -1;
	}
	if (cmd == F_GETPIPE_SZ && given_size > 0)
		return given_size;
	return __real_fcntl64(fd, cmd, value);
}
/* NOLINTEND(bugprone-reserved-identifier) */

static void on_guard(struct timer *timer)
{
	(void)timer;
	waited = true;
}

static void turn_for(uint64_t ms)
{
	waited = false;
	timer_start(&guard, ms);
	while (!waited)
		loop_turn(&loop, true);
}

static int set_up(void **state)
{
	(void)state;
	pipe2_error = given_size = 0;
	made = grown = 0;
	may_grow = 100000;
	assert_int_equal(loop_init(&loop), 0);
	timer_init(&guard, &loop, on_guard);
	pipe_pool_init(&pool, &loop);
	pipe_pool_limit(&pool, 4 * MIB, 1000);
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	timer_close(&guard, NULL);
	pipe_pool_fini(&pool);
	loop_fini(&loop);
	return loop.watching != 0 || pool.n != 0 || pool.bytes != 0;
}

static bool is_open(int fd)
{
	return __real_fcntl64(fd, F_GETFD) >= 0;
}

#define MANY 200

/* Takes until there is none. Returns how many. */
static unsigned take_all(struct pipe *taken[MANY])
{
	unsigned n = 0;

	while (n < MANY && (taken[n] = pipe_take(&pool)))
		n++;
	return n;
}

static void give_all(struct pipe *const taken[MANY], unsigned n)
{
	while (n > 0)
		pipe_give(taken[--n]);
}

static void has_none_without_a_limit(void **state)
{
	(void)state;
	pipe_pool_limit(&pool, 0, 0);
	assert_null(pipe_take(&pool));
	pipe_pool_limit(&pool, 4 * MIB, 0);
	assert_null(pipe_take(&pool));
	pipe_give(NULL);
	assert_int_equal(made, 0);
}

static void large_ones_first_then_ordinary_ones_then_none(void **state)
{
	struct pipe *taken[MANY];
	unsigned n = take_all(taken);

	(void)state;
	assert_int_equal(n, 2 * MIB / PIPE_SIZE_LARGE + 2 * MIB / PIPE_SIZE_LEAST);
	for (unsigned i = 0; i < n; i++)
		assert_int_equal(taken[i]->size,
		    i < 2 * MIB / PIPE_SIZE_LARGE ? PIPE_SIZE_LARGE : PIPE_SIZE_LEAST);
	assert_int_equal(pool.bytes, 4 * MIB);
	assert_null(pipe_take(&pool));
	give_all(taken, n);
	assert_int_equal(pool.n_idle, n);
	assert_ptr_equal(pipe_take(&pool), taken[0]);
	pipe_give(taken[0]);
	assert_int_equal(made, n);
}

static void as_many_as_there_are_descriptors_for(void **state)
{
	struct pipe *taken[MANY];
	unsigned n;

	(void)state;
	pipe_pool_limit(&pool, 4 * MIB, 3);
	n = take_all(taken);
	assert_int_equal(n, 3);
	give_all(taken, n);
}

/* The kernel has a bound too, which others may have used up. */
static void takes_what_is_granted(void **state)
{
	struct pipe *taken[MANY];
	unsigned n;

	(void)state;
	may_grow = 2;
	n = take_all(taken);
	assert_int_equal(n, 2 + (4 * MIB - 2 * PIPE_SIZE_LARGE) / PIPE_SIZE_LEAST);
	for (unsigned i = 0; i < n; i++)
		assert_int_equal(taken[i]->size, i < 2 ? PIPE_SIZE_LARGE : PIPE_SIZE_LEAST);
	give_all(taken, n);
}

/* Beyond the bound a new pipe has two pages, which is no use to anybody. */
static void tiny_ones_are_none(void **state)
{
	(void)state;
	may_grow = 0;
	given_size = 8192;
	assert_null(pipe_take(&pool));
	assert_int_equal(made, 1);
	assert_int_equal(pool.n, 0);
	/* Who wants another at once is not made to try again. */
	assert_null(pipe_take(&pool));
	assert_int_equal(made, 1);
	given_size = 0;
	turn_for(1100);
	pipe_give(pipe_take(&pool));
	assert_int_equal(pool.n, 1);
}

static void no_pipe_is_no_error(void **state)
{
	static const int errors[] = {EMFILE, ENFILE, ENOMEM, EPERM, ENOSYS};

	(void)state;
	for (size_t i = 0; i < sizeof(errors) / sizeof(errors[0]); i++) {
		pipe2_error = errors[i];
		pipe_pool_limit(&pool, 4 * MIB, 1000);
		assert_null(pipe_take(&pool));
	}
	pipe2_error = 0;
	pipe_pool_limit(&pool, 4 * MIB, 1000);
	pipe_give(pipe_take(&pool));
	assert_int_equal(pool.n_idle, 1);
}

static void fill(struct pipe *pipe, int from, int to, const void *data, size_t len)
{
	assert_int_equal(send(to, data, len, 0), len);
	assert_int_equal(pipe_fill(pipe, from, 1000), len);
	assert_int_equal(pipe->held, len);
}

/* They are somebody's. */
static void one_with_bytes_is_closed(void **state)
{
	struct pipe *pipe = pipe_take(&pool);
	int in = pipe->in, out = pipe->out, fd[2];

	(void)state;
	tcp_pair(fd);
	fill(pipe, fd[0], fd[1], "secret", 6);
	pipe_give(pipe);
	assert_false(is_open(in) || is_open(out));
	assert_int_equal(pool.n + pool.n_idle, 0);
	close(fd[0]);
	close(fd[1]);
}

static void bytes_are_counted(void **state)
{
	struct pipe *pipe = pipe_take(&pool);
	uint8_t buf[16];
	int fd[2];

	(void)state;
	tcp_pair(fd);
	assert_int_equal(pipe_fill(pipe, fd[0], 1000), -EAGAIN);
	fill(pipe, fd[0], fd[1], "some bytes", 10);
	assert_int_equal(pipe_drain(pipe, fd[0]), 10);
	assert_int_equal(pipe->held, 0);
	assert_int_equal(recv(fd[1], buf, sizeof(buf), 0), 10);
	assert_memory_equal(buf, "some bytes", 10);
	fill(pipe, fd[0], fd[1], "others", 6);
	assert_int_equal(pipe_read(pipe, buf), 0);
	assert_memory_equal(buf, "others", 6);
	assert_int_equal(pipe->held, 0);
	close(fd[1]);
	assert_int_equal(pipe_fill(pipe, fd[0], 1000), 0);
	close(fd[0]);
	pipe_give(pipe);
	assert_int_equal(pool.n_idle, 1);
}

static void idle_ones_go_in_time(void **state)
{
	struct pipe *taken[MANY], *busy;
	unsigned n = take_all(taken);

	(void)state;
	give_all(taken, n);
	/* One of them is needed now and then. */
	for (int i = 0; i < 5; i++) {
		turn_for(500);
		busy = pipe_take(&pool);
		assert_non_null(busy);
		pipe_give(busy);
	}
	assert_int_equal(pool.n, 1);
	turn_for(2200);
	assert_int_equal(pool.n, 0);
	assert_false(pool.ticking);
}

static void a_smaller_limit_takes_effect(void **state)
{
	struct pipe *taken[MANY];
	unsigned n = take_all(taken);

	(void)state;
	pipe_pool_limit(&pool, 4 * MIB, 2);
	give_all(taken, n);
	assert_int_equal(pool.n, 2);
	pipe_pool_limit(&pool, 0, 0);
	pipe_give(pipe_take(&pool));
	assert_int_equal(pool.n, 1);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(has_none_without_a_limit),
	    TEST(large_ones_first_then_ordinary_ones_then_none),
	    TEST(as_many_as_there_are_descriptors_for),
	    TEST(takes_what_is_granted),
	    TEST(tiny_ones_are_none),
	    TEST(no_pipe_is_no_error),
	    TEST(one_with_bytes_is_closed),
	    TEST(bytes_are_counted),
	    TEST(idle_ones_go_in_time),
	    TEST(a_smaller_limit_takes_effect),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
