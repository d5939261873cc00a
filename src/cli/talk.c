/* SPDX-License-Identifier: MIT */
#include "cli/talk.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "net/sockaddr.h"

#define NS_PER_MS UINT64_C(1000000)
/* Between pieces: whoever waits for bytes has read them by then. */
#define PIECE_PAUSE_MS 3
/* Until a layer's last bytes are with the kernel. */
#define END_MS 1000

uint64_t talk_clock(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000 * NS_PER_MS + (uint64_t)now.tv_nsec;
}

void talk_pause(unsigned ms)
{
	const struct timespec time = {ms / 1000, (long)(ms % 1000) * (long)NS_PER_MS};

	nanosleep(&time, NULL);
}

static uint64_t deadline(const struct talk *t, unsigned ms)
{
	uint64_t at = talk_clock() + ms * NS_PER_MS;

	return at < t->limit ? at : t->limit;
}

/* Returns the events, or 0 where the time is over. */
static short wait_for(const struct talk *t, short events, uint64_t until)
{
	struct pollfd p = {.fd = t->fd, .events = events};

	if (events & POLLIN && layer_pending(t->layer))
		return POLLIN;
	for (;;) {
		uint64_t now = talk_clock();
		uint64_t ms = now < until ? (until - now + NS_PER_MS - 1) / NS_PER_MS : 0;
		int n = poll(&p, 1, ms < 3600000 ? (int)ms : 3600000);

		if (n > 0)
			return p.revents;
		if (now >= until || (n < 0 && errno != EINTR))
			return 0;
	}
}

static void broke(struct talk *t, int err)
{
	if (t->err == 0)
		t->err = err;
	if (t->end == TALK_OPEN || t->end == TALK_EOF)
		t->end = err == -ECONNRESET || err == -EPIPE ? TALK_RESET : TALK_BROKEN;
}

/* ---- beginning and end ---- */

int talk_dial(struct talk *t, const struct sockaddr_storage *to, socklen_t to_len, unsigned ms,
    uint64_t limit)
{
	int err = 0;

	*t = (struct talk){.limit = limit};
	t->fd = socket(to->ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (t->fd < 0)
		return -errno;
	setsockopt(t->fd, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int));
	if (connect(t->fd, (const struct sockaddr *)to, to_len) < 0) {
		err = -errno;
		if (err == -EINPROGRESS)
			err = wait_for(t, POLLOUT, deadline(t, ms)) ? socket_take_error(t->fd)
								    : -ETIMEDOUT;
	}
	if (err < 0)
		talk_close(t);
	return err;
}

/* What the layer waits for: the socket, where it holds bytes, else the peer. */
static bool wait_for_layer(const struct talk *t, uint64_t until)
{
	return wait_for(t, layer_holds(t->layer) ? POLLIN | POLLOUT : POLLIN, until) != 0;
}

int talk_start_tls(struct talk *t, struct tls_context *context, const char *peer, unsigned ms,
    const char **ret_why)
{
	uint64_t until = deadline(t, ms);
	int err;

	*ret_why = NULL;
	t->layer = tls_connect(context, &(struct tls_start){.fd = t->fd, .peer = peer});
	if (!t->layer)
		return -ENOMEM;
	do {
		err = tls_handshake(t->layer);
	} while (err == -EAGAIN && wait_for_layer(t, until));
	*ret_why = t->layer->why;
	return err == -EAGAIN ? -ETIMEDOUT : err;
}

void talk_close(struct talk *t)
{
	layer_free(t->layer);
	t->layer = NULL;
	if (t->fd >= 0)
		close(t->fd);
	t->fd = -1;
}

void talk_reset(struct talk *t)
{
	if (t->fd >= 0)
		socket_set_reset_on_close(t->fd);
	talk_close(t);
}

void talk_finish(struct talk *t)
{
	uint64_t until = deadline(t, END_MS);

	while (t->fd >= 0 && layer_end(t->layer, t->fd) == -EAGAIN && wait_for(t, POLLOUT, until))
		;
}

/* ---- sending ---- */

/* Some of it, or of what the layer holds: a count, or a negative error. */
static ssize_t send_some(struct talk *t, const uint8_t *from, size_t len)
{
	return len > 0 ? layer_send(t->layer, t->fd, from, len) : layer_flush(t->layer);
}

int talk_send(struct talk *t, const void *data, size_t len, unsigned ms)
{
	const uint8_t *from = data;
	uint64_t until = deadline(t, ms);

	while (len > 0 || layer_holds(t->layer)) {
		ssize_t n = t->fd < 0 ? -ENOTCONN : send_some(t, from, len);

		if (n >= 0) {
			from += n;
			len -= (size_t)n;
		} else if (n != -EAGAIN) {
			if (n != -ENOTCONN)
				broke(t, (int)n);
			return (int)n;
		} else if (!wait_for(t, POLLOUT, until)) {
			return -ETIMEDOUT;
		}
	}
	return 0;
}

int talk_send_pieces(struct talk *t, const void *data, size_t len, size_t piece, unsigned ms)
{
	const uint8_t *from = data;

	for (size_t at = 0; at < len; at += piece) {
		int err = talk_send(t, from + at, len - at < piece ? len - at : piece, ms);

		if (err < 0)
			return err;
		talk_pause(PIECE_PAUSE_MS);
	}
	return 0;
}

/* ---- receiving ---- */

size_t talk_left(const struct talk *t)
{
	return t->len - t->at;
}

/* Returns whether to go on: false at the end, or where there is no room. */
static bool receive(struct talk *t)
{
	ssize_t n;

	if (t->at > 0) {
		memmove(t->in, t->in + t->at, t->len - t->at);
		t->len -= t->at;
		t->at = 0;
	}
	if (t->len == TALK_ROOM || t->end != TALK_OPEN)
		return false;
	n = layer_recv(t->layer, t->fd, t->in + t->len, TALK_ROOM - t->len);
	if (n > 0)
		t->len += (size_t)n;
	else if (n == 0)
		t->end = TALK_EOF;
	else if (n != -EAGAIN)
		broke(t, (int)n);
	return t->end == TALK_OPEN;
}

size_t talk_want(struct talk *t, size_t n, unsigned ms)
{
	uint64_t until = deadline(t, ms);

	while (t->fd >= 0 && t->end == TALK_OPEN && talk_left(t) < n &&
	       wait_for(t, POLLIN, until) && receive(t))
		;
	return talk_left(t);
}

const uint8_t *talk_take(struct talk *t, size_t n)
{
	const uint8_t *data = t->in + t->at;

	t->at += n;
	return data;
}

enum talk_end talk_await_end(struct talk *t, unsigned ms)
{
	talk_want(t, TALK_ROOM + 1, ms);
	return t->end;
}

const char *talk_line(struct talk *t, unsigned ms)
{
	for (size_t n = 0;; n++) {
		char *text;

		if (talk_want(t, n + 1, ms) <= n)
			return NULL;
		text = (char *)t->in + t->at;
		if (text[n] == '\n') {
			text[n] = '\0';
			t->at += n + 1;
			return text;
		}
	}
}

/* ---- both at once ---- */

static void bulk_received(struct talk_bulk *b, const uint8_t *data, size_t len)
{
	if (b->expected && b->received + len <= b->in_len)
		b->differs |= memcmp(b->expected + b->received, data, len) != 0;
	b->received += len;
}

static void bulk_receive(struct talk *t, struct talk_bulk *b)
{
	if (receive(t) || t->len > 0)
		bulk_received(b, t->in, t->len);
	t->len = t->at = 0;
}

static bool bulk_has_more(const struct talk *t, const struct talk_bulk *b)
{
	return b->sent < b->out_len || layer_holds(t->layer);
}

/* Returns whether there may be more to do. */
static bool bulk_send(struct talk *t, struct talk_bulk *b)
{
	size_t n = b->out_len - b->sent;
	ssize_t sent = send_some(t, b->out + b->sent, n < 65536 ? n : 65536);

	if (sent < 0 && sent != -EAGAIN) {
		broke(t, (int)sent);
		return false;
	}
	if (sent > 0)
		b->sent += (size_t)sent;
	if (b->sent == b->out_len && !layer_holds(t->layer) && b->finish)
		talk_finish(t);
	return true;
}

void talk_bulk(struct talk *t, struct talk_bulk *bulk, unsigned ms)
{
	uint64_t until = deadline(t, ms);

	bulk_received(bulk, t->in + t->at, talk_left(t));
	t->len = t->at = 0;
	if (bulk->out_len == 0 && bulk->finish)
		talk_finish(t);
	while (t->fd >= 0 && t->end == TALK_OPEN &&
	       (bulk_has_more(t, bulk) || bulk->received < bulk->in_len)) {
		short want = bulk_has_more(t, bulk) ? POLLIN | POLLOUT : POLLIN;
		short got = wait_for(t, want, until);

		if (!got)
			break;
		if (got & (POLLIN | POLLERR | POLLHUP))
			bulk_receive(t, bulk);
		if (got & POLLOUT && t->end == TALK_OPEN && !bulk_send(t, bulk))
			break;
	}
}
