/* SPDX-License-Identifier: MIT */
#include "net/pipe.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

/* Idle pipes that were not needed for so long are closed. */
#define IDLE_MS 1000
/* After a pipe could not be made, the next try. Until then streams copy. */
#define RETRY_MS 1000

static void on_tick(struct timer *timer);

void pipe_pool_init(struct pipe_pool *pool, struct loop *loop)
{
	*pool = (struct pipe_pool){.loop = loop};
	timer_init(&pool->timer, loop, on_tick);
}

void pipe_pool_limit(struct pipe_pool *pool, size_t bytes, unsigned n)
{
	pool->bytes_max = bytes;
	pool->n_max = n;
	pool->retry_at = 0;
}

static void destroy(struct pipe *pipe)
{
	pipe->pool->n--;
	pipe->pool->bytes -= pipe->size;
	close(pipe->in);
	close(pipe->out);
	free(pipe);
}

static void destroy_idle(struct pipe_pool *pool, unsigned n)
{
	for (; n > 0 && pool->idle; n--) {
		struct pipe *pipe = pool->idle;

		pool->idle = pipe->next;
		pool->n_idle--;
		destroy(pipe);
	}
}

void pipe_pool_fini(struct pipe_pool *pool)
{
	destroy_idle(pool, pool->n_idle);
	timer_close(&pool->timer, NULL);
}

static void start_ticking(struct pipe_pool *pool)
{
	pool->ticking = true;
	pool->least_idle = pool->n_idle;
	timer_start(&pool->timer, IDLE_MS);
}

/* As many as were idle all the time are too many. */
static void on_tick(struct timer *timer)
{
	struct pipe_pool *pool =
	    (struct pipe_pool *)((char *)timer - offsetof(struct pipe_pool, timer));

	destroy_idle(pool, pool->least_idle);
	pool->ticking = false;
	if (pool->idle)
		start_ticking(pool);
}

/* Large ones for the first half of what there may be, so that the many have some as well. */
static size_t size_to_ask(const struct pipe_pool *pool)
{
	if (pool->bytes + PIPE_SIZE_LARGE <= pool->bytes_max / 2)
		return PIPE_SIZE_LARGE;
	return pool->bytes + PIPE_SIZE_LEAST <= pool->bytes_max ? PIPE_SIZE_LEAST : 0;
}

/* A pipe of that size or less, but not less than the least. Returns its size, or 0. */
static size_t make(int ret_fd[2], size_t size)
{
	int got;

	if (pipe2(ret_fd, O_CLOEXEC | O_NONBLOCK) < 0)
		return 0;
	got = fcntl(ret_fd[0], F_GETPIPE_SZ);
	if (got < 0 || (size_t)got != size) {
		(void)fcntl(ret_fd[0], F_SETPIPE_SZ, (int)size);
		got = fcntl(ret_fd[0], F_GETPIPE_SZ);
	}
	if (got >= 0 && (size_t)got >= PIPE_SIZE_LEAST)
		return (size_t)got;
	close(ret_fd[0]);
	close(ret_fd[1]);
	return 0;
}

static struct pipe *pipe_new(struct pipe_pool *pool)
{
	size_t size = pool->n < pool->n_max ? size_to_ask(pool) : 0;
	struct pipe *pipe;
	int fd[2];

	if (size == 0 || loop_now(pool->loop) < pool->retry_at)
		return NULL;
	pipe = malloc(sizeof(*pipe));
	size = pipe ? make(fd, size) : 0;
	if (size == 0) {
		free(pipe);
		pool->retry_at = loop_now(pool->loop) + RETRY_MS;
		return NULL;
	}
	*pipe = (struct pipe){.pool = pool, .in = fd[1], .out = fd[0], .size = (uint32_t)size};
	pool->n++;
	pool->bytes += size;
	return pipe;
}

struct pipe *pipe_take(struct pipe_pool *pool)
{
	struct pipe *pipe = pool->idle;

	if (!pipe)
		return pipe_new(pool);
	pool->idle = pipe->next;
	pool->n_idle--;
	if (pool->n_idle < pool->least_idle)
		pool->least_idle = pool->n_idle;
	return pipe;
}

void pipe_give(struct pipe *pipe)
{
	struct pipe_pool *pool;

	if (!pipe)
		return;
	pool = pipe->pool;
	if (pipe->held > 0 || pool->n > pool->n_max || pool->bytes > pool->bytes_max) {
		destroy(pipe);
		return;
	}
	pipe->next = pool->idle;
	pool->idle = pipe;
	pool->n_idle++;
	if (!pool->ticking)
		start_ticking(pool);
}

/* Non-blocking on both sides: without the flag a full pipe would stop the loop. */
static ssize_t move(int from, int to, size_t most)
{
	for (;;) {
		ssize_t n = splice(from, NULL, to, NULL, most, SPLICE_F_MOVE | SPLICE_F_NONBLOCK);
		int err = n < 0 ? errno : 0;

		if (n >= 0)
			return n;
		if (err != EINTR)
			return -err;
	}
}

ssize_t pipe_fill(struct pipe *pipe, int fd, size_t most)
{
	ssize_t n = move(fd, pipe->in, most);

	if (n > 0)
		pipe->held += (uint32_t)n;
	return n;
}

ssize_t pipe_drain(struct pipe *pipe, int fd)
{
	ssize_t n = move(pipe->out, fd, pipe->held);

	if (n > 0)
		pipe->held -= (uint32_t)n;
	return n;
}

int pipe_read(struct pipe *pipe, uint8_t *buf)
{
	while (pipe->held > 0) {
		ssize_t n = read(pipe->out, buf, pipe->held);
		int err = n < 0 ? errno : 0;

		/* -EAGAIN would say that it holds less than was counted. */
		if (n == 0 || err == EAGAIN)
			return -EIO;
		if (n < 0 && err != EINTR)
			return -err;
		if (n > 0) {
			buf += n;
			pipe->held -= (uint32_t)n;
		}
	}
	return 0;
}
