/* SPDX-License-Identifier: MIT */
/*
 * Standard input and output as ends of a connection: pipes, sockets, files and terminals, none of
 * which we may block on, and none of which may be left non-blocking.
 *
 * Theory of operation. O_NONBLOCK belongs to the open file, which a shell or an ssh shares with us
 * and goes on using; it is never set. Instead every call is made when poll() says that it will not
 * wait, or cannot wait: sockets by MSG_DONTWAIT; a pipe that is written to through an open file of
 * our own (/proc/self/fd), or where that cannot be had by no more than PIPE_BUF bytes at a time,
 * for which poll() vouches; terminals in the same small pieces. Files do not wait, whatever they
 * do.
 */
#ifndef TABI_CLI_STDIO_H
#define TABI_CLI_STDIO_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

enum stdio_kind {
	STDIO_SOCKET,
	STDIO_OWN,   /* a pipe, through an open file of our own that does not block */
	STDIO_OTHER, /* a pipe or a terminal, in small pieces */
	STDIO_FILE,
};

struct stdio {
	int fd; /* -1 once closed */
	enum stdio_kind kind;
};

/* 0, 1 and 2 that are closed become /dev/null, or the next socket would be one of them. Returns 0
 * or -errno. */
int stdio_fill(void);

void stdio_input(struct stdio *end, int fd);
void stdio_output(struct stdio *end, int fd);

/* Returns a count, 0 at the end, -EAGAIN or another -errno. */
ssize_t stdio_read(const struct stdio *end, void *buf, size_t size);
/* The same; never 0 for a `len` > 0. */
ssize_t stdio_write(const struct stdio *end, const void *data, size_t len);

/* Tells whoever reads our output that it is over: sockets are shut down, the rest is closed. */
void stdio_end(struct stdio *end);

#endif
