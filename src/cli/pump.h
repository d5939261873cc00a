/* SPDX-License-Identifier: MIT */
/*
 * The bytes between standard input and output and a connection, until both directions have ended.
 *
 * Theory of operation. One poll() for three descriptors, of which standard input and output may be
 * anything (cli/stdio.h), which is why this is not net/relay: epoll takes no files, and a loop
 * wants descriptors that do not block. Each direction has a buffer that is filled when it is empty
 * and emptied before it is filled again: that is the back-pressure.
 *
 * The end of standard input ends the sending half of the connection, the end of the connection
 * closes standard output, and the other direction goes on. Where a person sits at standard input
 * the connection's end is the end of all. Whoever reads our output and goes away ends it too, even
 * while there is nothing to write.
 */
#ifndef TABI_CLI_PUMP_H
#define TABI_CLI_PUMP_H

#include <stdbool.h>
#include <stdint.h>

#include "cli/stdio.h"
#include "net/layer.h"

enum pump_place { PUMP_CONNECTION, PUMP_STDIN, PUMP_STDOUT };

/* How long it may take. */
struct pump_limits {
	uint64_t idle_ms; /* that nothing moves; 0: for ever */
	int64_t quit_ms;  /* from the end of one direction to that of the other; -1: no limit */
	/* Milliseconds of the monotonic clock. */
	uint64_t moved_at;
	uint64_t half_at; /* 0: both directions go on */
};

/* Something moved. */
void pump_moved(struct pump_limits *limits);
/* One direction has ended; only the first counts. */
void pump_half(struct pump_limits *limits);
/* For poll(): milliseconds, or -1. */
int pump_time_left(const struct pump_limits *limits);
/* Is the time over? `*ret_err` is then 0 or ERR_IDLE. */
bool pump_is_late(const struct pump_limits *limits, int *ret_err);

struct pump {
	/* Set by the caller. */
	int fd;              /* connected and non-blocking; the caller's, as is the layer */
	struct layer *layer; /* or NULL */
	struct pump_limits limits;
	/* Told by pump_run(). */
	uint64_t up, down;     /* bytes */
	enum pump_place place; /* what an error was about */

	struct stdio in, out;
	bool terminal;
	bool told;  /* that no more is sent */
	bool over;  /* nothing comes any more */
	int broken; /* what sending failed with; what the other side still has to say is heard */
	struct pump_buffer *to, *from;
};

/*
 * Runs to the end. Returns 0 where both directions ended as they should (or the second was given
 * up after `quit_ms`), ERR_IDLE, or what broke, at `place`: -EPIPE at PUMP_STDOUT is a reader who
 * has gone away. Standard output is closed or shut down afterwards.
 */
int pump_run(struct pump *pump);

#endif
