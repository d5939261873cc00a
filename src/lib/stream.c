/* SPDX-License-Identifier: MIT */
#include "lib/stream.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "lib/error.h"
#include "lib/os.h"

struct tabi_stream {
	tabi_socket fd;
	struct layer *top;
	int send_waits, recv_waits; /* enum tabi_events, of calls that have moved nothing */
	/* Of its failures: a direction that has failed stays failed, and the other one may well
	 * have something yet. */
	int send_code, recv_code;
	int code;           /* the last one */
	bool ending, ended; /* its end is to be told, and is told */
};

struct tabi_stream *stream_new(tabi_socket fd, struct layer *top)
{
	struct tabi_stream *s = calloc(1, sizeof(*s));

	if (s) {
		s->fd = fd;
		s->top = top;
	}
	return s;
}

void tabi_stream_close(struct tabi_stream *s)
{
	if (!s)
		return;
	layer_free(s->top);
	os_close(s->fd);
	free(s);
}

static uint64_t end_of(int timeout)
{
	return timeout < 0 ? UINT64_MAX : os_now() + (uint64_t)timeout;
}

/* What a layer said that moved nothing; notes in `*ret_waits` what it waits for, or in `*ret_code`
 * that it has failed. Returns 0 when it
 * may be tried again, TABI_E_AGAIN when there is no time for that, or another error. */
static int wait_for(struct tabi_stream *s, long said, uint64_t end, int *ret_waits, int *ret_code)
{
	struct os_wait w = {.fd = s->fd};
	const uint64_t now = os_now();

	*ret_waits = 0;
	if (said == TABI_IO_READ || said == TABI_IO_WRITE) {
		w.events = said == TABI_IO_READ ? TABI_READABLE : TABI_WRITABLE;
		*ret_waits = w.events;
		if (now >= end)
			return TABI_E_AGAIN;
		return os_wait(&w, 1, os_timeout(now, end)) < 0 ? TABI_E_IO : 0;
	}
	s->code = said == TABI_IO_END ? TABI_E_CLOSED : layer_at_fault(s->top)->ops->code;
	*ret_code = s->code;
	return s->code;
}

long tabi_stream_send(struct tabi_stream *s, const void *data, size_t len, int timeout)
{
	const uint64_t end = end_of(timeout);
	size_t sent = 0;
	int err = s->ending ? TABI_E_STATE : s->send_code;

	while (err == 0 && sent < len) {
		long n = layer_send(s->top, (const char *)data + sent, len - sent);

		s->send_waits = 0;
		if (n > 0)
			sent += (size_t)n;
		else
			err = wait_for(s, n, end, &s->send_waits, &s->send_code);
	}
	return err == 0 || (err == TABI_E_AGAIN && sent > 0) ? (long)sent : err;
}

long tabi_stream_recv(struct tabi_stream *s, void *buf, size_t cap, int timeout)
{
	const uint64_t end = end_of(timeout);
	int err = s->recv_code;

	while (err == 0) {
		const long n = layer_receive(s->top, buf, cap);

		s->recv_waits = 0;
		if (n >= 0)
			return n;
		err = wait_for(s, n, end, &s->recv_waits, &s->recv_code);
	}
	return err;
}

int tabi_stream_end(struct tabi_stream *s, int timeout)
{
	const uint64_t end = end_of(timeout);
	int err = s->send_code;

	if (!layer_can_end(s->top))
		return TABI_E_UNSUPPORTED;
	if (s->ended)
		return 0;
	s->ending = true;
	while (err == 0) {
		const int rc = layer_end(s->top);

		s->send_waits = 0;
		s->ended = rc == 1;
		if (s->ended)
			return 0;
		err = wait_for(s, rc, end, &s->send_waits, &s->send_code);
	}
	return err;
}

tabi_socket tabi_stream_fd(const struct tabi_stream *s)
{
	return s->fd;
}

int tabi_stream_events(const struct tabi_stream *s)
{
	return s->send_waits | s->recv_waits;
}

int tabi_stream_is_protected(const struct tabi_stream *s)
{
	return !layer_is_bare(s->top);
}

void tabi_stream_error(const struct tabi_stream *s, struct tabi_error *ret_error)
{
	const struct layer *fault = layer_at_fault(s->top);

	*ret_error = error_of_call(s->code, fault->why);
	if (s->code == 0)
		return;
	ret_error->stage = TABI_AT_STREAM;
	ret_error->hop = fault->hop;
	ret_error->error_number = fault->error_number;
	memcpy(ret_error->proxy, fault->proxy, sizeof(ret_error->proxy));
}
