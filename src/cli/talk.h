/* SPDX-License-Identifier: MIT */
/*
 * A connection on which one thing is done after the other, each with a time limit: for programs
 * that have nothing else to do meanwhile.
 *
 * Nothing here waits longer than it was told, whatever the other side does: each talk has a moment
 * beyond which no call waits at all.
 */
#ifndef TABI_CLI_TALK_H
#define TABI_CLI_TALK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

#include "net/layer.h"
#include "net/tls.h"

enum talk_end {
	TALK_OPEN,
	TALK_EOF,
	TALK_RESET,
	TALK_BROKEN, /* any other error; `err` has it */
};

#define TALK_ROOM 8192

struct talk {
	int fd;              /* -1: none */
	struct layer *layer; /* TLS, GSS-API: all bytes go through it; or NULL */
	uint64_t limit;      /* ns of talk_clock() */
	enum talk_end end;
	int err;        /* -errno of what failed first, or another negative error, or 0 */
	size_t at, len; /* of `in`: taken, received */
	uint8_t in[TALK_ROOM];
};

/* Monotonic, ns. */
uint64_t talk_clock(void);
/* A pause, where only time will do. */
void talk_pause(unsigned ms);

/* `limit` as in struct talk. Returns 0 or -errno (-ETIMEDOUT where `ms` or the limit is over). */
int talk_dial(struct talk *t, const struct sockaddr_storage *to, socklen_t to_len, unsigned ms,
    uint64_t limit);
/* TLS from here on, with whoever has a certificate for `peer`, before anything was received.
 * `*ret_why` is in words what failed, where that is known, and lives as long as the connection.
 * Returns 0 or a negative error. */
int talk_start_tls(struct talk *t, struct tls_context *context, const char *peer, unsigned ms,
    const char **ret_why);
/* Fine where there is no connection. */
void talk_close(struct talk *t);
/* With RST. */
void talk_reset(struct talk *t);
/* Ends our side. */
void talk_finish(struct talk *t);

/* All of it, within `ms`. Returns 0 or -errno. */
int talk_send(struct talk *t, const void *data, size_t len, unsigned ms);
/* In pieces of `piece` bytes with time in between, so that whoever reads gets each by itself. */
int talk_send_pieces(struct talk *t, const void *data, size_t len, size_t piece, unsigned ms);

/* Bytes received and not yet taken. */
size_t talk_left(const struct talk *t);
/* Waits until `n` of them are there (at most TALK_ROOM), till the end or for `ms`. Returns how many
 * there are. */
size_t talk_want(struct talk *t, size_t n, unsigned ms);
/* Takes `n` of those that are there. */
const uint8_t *talk_take(struct talk *t, size_t n);
/* Waits for the end, for `ms`; whatever comes before it is left where there is room, and then
 * nothing more is read. */
enum talk_end talk_await_end(struct talk *t, unsigned ms);
/* Reads up to the newline, which is replaced by NUL; NULL where none comes within `ms`, TALK_ROOM
 * or the connection. */
const char *talk_line(struct talk *t, unsigned ms);

/* Sends and receives at once, as fast as it goes. `out` may be NULL where out_len is 0. Counts what
 * came (also what was there before) and compares it with `expected`, of expected_len bytes, which
 * may be NULL. Ends when all is sent and `in_len` bytes have come, at the end of the stream, or
 * after `ms`. */
struct talk_bulk {
	const uint8_t *out, *expected;
	size_t out_len, in_len;
	bool finish; /* when all is sent our side ends */

	size_t sent, received; /* results */
	bool differs;
};
void talk_bulk(struct talk *t, struct talk_bulk *bulk, unsigned ms);

#endif
