/* SPDX-License-Identifier: MIT */
#include "lib/job.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "lib/thread.h"

struct job {
	void (*work)(void *ctx);
	void (*drop)(void *ctx);
	void *ctx;
	struct bell bell;
	long owner; /* the process that has the thread */
	atomic_int over;
	atomic_int left; /* of the two: caller and thread */
};

static void destroy(struct job *j)
{
	if (j->ctx)
		j->drop(j->ctx);
	bell_close(&j->bell);
	free(j);
}

static void leave(struct job *j)
{
	if (atomic_fetch_sub(&j->left, 1) == 1)
		destroy(j);
}

static void *run(void *arg)
{
	struct job *j = arg;

	j->work(j->ctx);
	atomic_store(&j->over, 1);
	bell_ring(&j->bell);
	leave(j);
	return NULL;
}

int job_start(struct job **ret_job, void (*work)(void *ctx), void (*drop)(void *ctx), void *ctx)
{
	struct job *j = malloc(sizeof(*j));
	int err;

	if (!j)
		return -ENOMEM;
	*j = (struct job){.work = work, .drop = drop, .ctx = ctx, .owner = thread_process()};
	atomic_init(&j->over, 0);
	atomic_init(&j->left, 2);
	err = bell_open(&j->bell);
	if (err < 0) {
		free(j);
		return err;
	}
	err = thread_start(run, j);
	if (err < 0) {
		bell_close(&j->bell);
		free(j);
		return err;
	}
	*ret_job = j;
	return 0;
}

tabi_socket job_fd(const struct job *j)
{
	return j->bell.listen;
}

int job_is_over(const struct job *j)
{
	return j->owner == thread_process() ? atomic_load(&j->over) : -ECHILD;
}

void *job_take(struct job *j)
{
	void *ctx;

	/* What is over is not touched by the thread any more. */
	if (!atomic_load(&j->over))
		return NULL;
	ctx = j->ctx;
	j->ctx = NULL;
	leave(j);
	return ctx;
}

void job_leave(struct job *j)
{
	if (!j)
		return;
	if (j->owner == thread_process())
		leave(j);
	else
		bell_close(&j->bell);
}
