/* SPDX-License-Identifier: MIT */
/*
 * Pipes for splice(2), which all relays of a loop share.
 *
 * Theory of operation. Who moves bytes takes a pipe, fills it from one socket, drains it into
 * another, and gives it back. As a rule it is empty by then, so that one pipe serves thousands of
 * streams; only those whose reader is slow keep theirs for a while. A pipe that is given back with
 * bytes in it is closed: they are somebody's, and nobody else may ever see them.
 *
 * The kernel counts the pages that the pipes of one user may hold, over the whole host
 * (fs.pipe-user-pages-soft): beyond that new pipes are tiny and none can grow. So the pool has a
 * bound of its own, asks for large pipes while there is room, for ordinary ones then, and believes
 * only what F_GETPIPE_SZ says. Where there is no pipe there is none, which is no error: whoever
 * asks copies. Pipes that nobody needed for a while are closed.
 */
#ifndef TABI_NET_PIPE_H
#define TABI_NET_PIPE_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "net/loop.h"

/* What a pipe may hold, if every page in it is full. On Ethernet a page has one segment. */
#define PIPE_SIZE_LARGE ((size_t)256 * 1024)
#define PIPE_SIZE_LEAST ((size_t)64 * 1024)
/* A default kernel lets a user have 64 MiB; others of his programs want some too. */
#define PIPE_BYTES_OF_ALL ((size_t)48 * 1024 * 1024)

struct pipe_pool;

/* Read by anybody, written by this module. */
struct pipe {
	struct pipe_pool *pool;
	struct pipe *next; /* among the idle ones */
	int in, out;       /* what is written to `in` is read from `out` */
	uint32_t size;     /* that was granted; pages count, not bytes */
	uint32_t held;     /* bytes in it */
};

struct pipe_pool {
	struct loop *loop;
	struct pipe *idle;       /* the last one given back first: its memory is the warmest */
	unsigned n_idle;         /* of these */
	unsigned least_idle;     /* since the timer was started */
	unsigned n, n_max;       /* pipes that there are, that there may be */
	size_t bytes, bytes_max; /* of their sizes */
	uint64_t retry_at;       /* loop_now() from which on it is worth trying to make one */
	struct timer timer;      /* runs while there are idle ones */
	bool ticking;
};

/* Without room for any, until pipe_pool_limit(). */
void pipe_pool_init(struct pipe_pool *pool, struct loop *loop);
/* All pipes have been given back. To be called before loop_fini(); the memory must stay until
 * then. */
void pipe_pool_fini(struct pipe_pool *pool);
/* How much it may have: `bytes` of pipes, and twice `n` descriptors. What is beyond that already
 * goes as it is given back. */
void pipe_pool_limit(struct pipe_pool *pool, size_t bytes, unsigned n);

/* An empty pipe, or NULL where there is none now. */
struct pipe *pipe_take(struct pipe_pool *pool);
/* NULL is fine. Closes it where it holds bytes. */
void pipe_give(struct pipe *pipe);

/* Moves at most `most` bytes from a socket into the pipe. Returns the count, 0 at the end of the
 * stream, or -errno: -EAGAIN where the socket has nothing, or the pipe no room. */
ssize_t pipe_fill(struct pipe *pipe, int fd, size_t most);
/* Moves what it holds to a socket, never asking for more than that. Returns the count or -errno.
 * SIGPIPE must be ignored: there is no flag against it here. */
ssize_t pipe_drain(struct pipe *pipe, int fd);
/* Reads all that it holds. `buf` has room for it. Returns 0 or -errno. */
int pipe_read(struct pipe *pipe, uint8_t *buf);

#endif
