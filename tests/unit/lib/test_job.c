/* SPDX-License-Identifier: MIT */
/* lib/job: whoever leaves last frees, and a child of fork() is told that nobody works for it. */
#include "lib/job.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

struct work {
	int gate[2]; /* the thread goes on when a byte comes */
	int done;
	int blocked; /* it had SIGTERM blocked */
};

static atomic_int dropped;

static void work(void *ctx)
{
	struct work *w = ctx;
	sigset_t set;
	char c;

	pthread_sigmask(SIG_SETMASK, NULL, &set);
	w->blocked = sigismember(&set, SIGTERM);
	w->done = read(w->gate[0], &c, 1) == 1;
}

static void drop(void *ctx)
{
	struct work *w = ctx;

	close(w->gate[0]);
	close(w->gate[1]);
	free(w);
	atomic_fetch_add(&dropped, 1);
}

static struct work *begin(struct job **ret_job)
{
	struct work *w = calloc(1, sizeof(*w));

	assert_non_null(w);
	assert_int_equal(pipe(w->gate), 0);
	atomic_store(&dropped, 0);
	assert_int_equal(job_start(ret_job, work, drop, w), 0);
	return w;
}

static int is_readable(const struct job *job, int timeout)
{
	struct pollfd p = {.fd = job_fd(job), .events = POLLIN};

	return poll(&p, 1, timeout);
}

static void taken_when_it_is_over(void **state)
{
	struct job *job;
	struct work *w = begin(&job);
	sigset_t set;

	(void)state;
	assert_int_equal(job_is_over(job), 0);
	assert_int_equal(is_readable(job, 0), 0);
	assert_int_equal(write(w->gate[1], "", 1), 1);
	assert_int_equal(is_readable(job, -1), 1);
	assert_int_equal(job_is_over(job), 1);
	assert_ptr_equal(job_take(job), w);
	assert_int_equal(w->done, 1);
	assert_int_equal(w->blocked, 1);
	assert_int_equal(dropped, 0);
	drop(w);
	/* Ours are as they were. */
	pthread_sigmask(SIG_SETMASK, NULL, &set);
	assert_int_equal(sigismember(&set, SIGTERM), 0);
}

static void left_while_it_goes_on(void **state)
{
	struct job *job;
	struct work *w = begin(&job);
	int gate = dup(w->gate[1]);

	(void)state;
	job_leave(job);
	assert_int_equal(dropped, 0);
	assert_int_equal(write(gate, "", 1), 1);
	while (dropped == 0)
		usleep(1000);
	close(gate);
}

static void left_when_it_is_over(void **state)
{
	struct job *job;
	struct work *w = begin(&job);

	(void)state;
	assert_int_equal(write(w->gate[1], "", 1), 1);
	assert_int_equal(is_readable(job, -1), 1);
	job_leave(job);
	while (dropped == 0)
		usleep(1000);
	job_leave(NULL);
}

static void a_child_has_no_thread(void **state)
{
	struct job *job;
	struct work *w = begin(&job);
	int status;
	pid_t child = fork();

	(void)state;
	if (child == 0) {
		const int over = job_is_over(job);

		job_leave(job);
		_exit(over == -ECHILD && dropped == 0 ? 0 : 1);
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_int_equal(status, 0);
	/* Ours goes on as if nothing had been. */
	assert_int_equal(job_is_over(job), 0);
	assert_int_equal(write(w->gate[1], "", 1), 1);
	assert_int_equal(is_readable(job, -1), 1);
	drop(job_take(job));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(taken_when_it_is_over),
	    cmocka_unit_test(left_while_it_goes_on),
	    cmocka_unit_test(left_when_it_is_over),
	    cmocka_unit_test(a_child_has_no_thread),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
