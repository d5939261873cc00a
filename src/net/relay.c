/* SPDX-License-Identifier: MIT */
/* Moving bytes both ways between two sockets by copying. */
#include "net/relay.h"

#include <errno.h>
#include <linux/sockios.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "net/sockaddr.h"
#include "proto/err.h"

/*
 * How much is read at once for a destination that has just been slow: as much as it may take, so
 * that little has to be kept. An ordinary read takes RELAY_BUFFER_SIZE.
 */
#define NARROW_SIZE ((size_t)64 * 1024)

int relay_shared_init(struct relay_shared *shared, struct loop *loop)
{
	shared->loop = loop;
	shared->buffer = malloc(RELAY_BUFFER_SIZE);
	return shared->buffer ? 0 : -ENOMEM;
}

void relay_shared_fini(struct relay_shared *shared)
{
	free(shared->buffer);
	shared->buffer = NULL;
}

void relay_init(struct relay *relay, struct relay_shared *shared, relay_fn *fn)
{
	memset(relay, 0, sizeof(*relay));
	relay->shared = shared;
	relay->fn = fn;
	relay->end[RELAY_CLIENT].fd = -1;
	relay->end[RELAY_TARGET].fd = -1;
}

static struct relay_end *other_end(struct relay *relay, const struct relay_end *end)
{
	return &relay->end[end == &relay->end[RELAY_CLIENT] ? RELAY_TARGET : RELAY_CLIENT];
}

static void drop_unsent(struct relay_end *end)
{
	free(end->unsent);
	end->unsent = NULL;
	end->unsent_at = end->unsent_len = 0;
}

/* The connection at `end` is broken: nothing can be written to it any more. */
static void end_fail(struct relay_end *end, int err)
{
	if (!end->err)
		end->err = (int16_t)err;
	drop_unsent(end);
}

/* Writes what the kernel takes and accounts for it. Returns the count; failures count as 0. */
static size_t end_write(struct relay *relay, struct relay_end *to, const void *buf, size_t len)
{
	ssize_t n = layer_send(to->layer, to->fd, buf, len);

	if (n < (ssize_t)len && !to->layer)
		watch_is_full(&to->watch);
	if (n == -EAGAIN)
		return 0;
	if (n < 0) {
		end_fail(to, (int)n);
		/* A reset socket still yields what had arrived; of any other failure nothing good
		 * is known. */
		if (n != -EPIPE && n != -ECONNRESET)
			to->ended = true;
		return 0;
	}
	to->sent += (uint64_t)n;
	relay->moved |= n > 0;
	return (size_t)n;
}

/* Writes, and keeps what the kernel does not take. Returns 0 or -ENOMEM. */
static int end_write_or_keep(
    struct relay *relay, struct relay_end *to, const uint8_t *buf, size_t len)
{
	size_t n = end_write(relay, to, buf, len);

	if (to->err)
		return 0;
	if (n == len)
		return 0;
	to->unsent = malloc(len - n);
	if (!to->unsent)
		return -ENOMEM;
	memcpy(to->unsent, buf + n, len - n);
	to->unsent_len = (uint32_t)(len - n);
	return 0;
}

static void end_flush(struct relay *relay, struct relay_end *to)
{
	int err = to->err ? 0 : layer_flush(to->layer);
	size_t n;

	if (err && err != -EAGAIN)
		end_fail(to, err);
	if (!to->unsent)
		return;
	n = end_write(relay, to, to->unsent + to->unsent_at, to->unsent_len);
	to->unsent_at += (uint32_t)n;
	to->unsent_len -= (uint32_t)n;
	if (to->unsent_len == 0)
		drop_unsent(to);
}

/* May anything be read from `from` for `to` now? */
static bool can_pump(const struct relay_end *from, const struct relay_end *to)
{
	return !from->ended && !to->unsent && !to->err && !layer_holds(to->layer);
}

/*
 * One step of one direction: reads `size` bytes at a time and writes them until there is no more to
 * read, `to` takes no more, or the budget is spent. A read that does not fill its buffer has
 * emptied the socket, which spares the call that would only say so; an end of stream behind it is
 * reported by the next poll. What a layer has pending no poll reports, so that is read whatever the
 * budget says. This function is the place of other ways to move bytes. Returns 0 or -ENOMEM.
 */
static int relay_pump(
    struct relay *relay, struct relay_end *from, struct relay_end *to, size_t size)
{
	uint8_t *buffer = relay->shared->buffer;
	size_t moved = 0;

	while ((moved < RELAY_BUDGET || layer_pending(from->layer)) && can_pump(from, to)) {
		ssize_t n = layer_recv(from->layer, from->fd, buffer, size);
		int err;

		if (n == -EAGAIN) {
			if (!from->layer)
				watch_is_drained(&from->watch);
			return 0;
		}
		if (n <= 0) {
			from->ended = true;
			if (n < 0)
				end_fail(from, (int)n);
			return 0;
		}
		moved += (size_t)n;
		from->received += (uint64_t)n;
		relay->moved = true;
		err = end_write_or_keep(relay, to, buffer, (size_t)n);
		if (err)
			return err;
		if ((size_t)n < size && !from->layer && watch_is_short(&from->watch))
			return 0;
	}
	return 0;
}

/*
 * Passes the end of stream on once all before it is written. Of a broken connection the end is no
 * end of stream. On failure the connection at `to` is broken, which a pending error explains.
 */
static void pass_end(const struct relay_end *from, struct relay_end *to)
{
	int err;

	if (!from->ended || from->err || to->unsent || to->err || to->shut)
		return;
	err = layer_end(to->layer, to->fd);
	if (err == -EAGAIN)
		return;
	to->shut = true;
	if (err) {
		int cause = socket_take_error(to->fd);

		end_fail(to, cause ? cause : -ECONNRESET);
	}
}

/*
 * Closing with a reset drops what the kernel holds unsent, so wait until it has sent everything
 * (closing after that is safe: the reset follows the data). TCP_NOTSENT_LOWAT makes "writable" mean
 * just that. Not for Unix sockets, where what is written is with the peer already.
 */
static bool kernel_has_unsent(const struct relay_end *end)
{
	const int lowat = 1;
	int unsent = 0;

	if (ioctl(end->fd, SIOCOUTQNSD, &unsent) < 0 || unsent <= 0)
		return false;
	return setsockopt(end->fd, IPPROTO_TCP, TCP_NOTSENT_LOWAT, &lowat, sizeof(lowat)) == 0;
}

/* Is `broken` broken, and all that came from it before handed on (or not deliverable either)? */
static bool is_spent(const struct relay_end *broken, const struct relay_end *to)
{
	if (!broken->err)
		return false;
	return to->err ||
	       (broken->ended && !to->unsent && !layer_holds(to->layer) && !kernel_has_unsent(to));
}

static int reason(const struct relay *relay, const struct relay_end *broken)
{
	if (broken->err != -ECONNRESET && broken->err != -EPIPE)
		return broken->err;
	return broken == &relay->end[RELAY_CLIENT] ? ERR_CLIENT_RESET : ERR_TARGET_RESET;
}

/* Sets `*ret_err` if it is over. */
static bool is_over(const struct relay *relay, int *ret_err)
{
	const struct relay_end *c = &relay->end[RELAY_CLIENT];
	const struct relay_end *t = &relay->end[RELAY_TARGET];

	if (is_spent(c, t))
		*ret_err = reason(relay, c);
	else if (is_spent(t, c))
		*ret_err = reason(relay, t);
	else if (!c->err && !t->err && c->shut && t->shut)
		*ret_err = ERR_OK;
	else
		return false;
	return true;
}

/*
 * What to wait for at `end`. Its errors too, always, unless it has told all it ever will: polling
 * is level-triggered, and a socket that is over would report that for ever.
 */
static unsigned interest(const struct relay_end *end, const struct relay_end *other)
{
	unsigned events = 0;

	if (can_pump(end, other))
		events |= WATCH_READ;
	/* With the other end broken and nothing of it left, what is waited for is the kernel. */
	if (end->unsent || (layer_holds(end->layer) && !end->err) ||
	    (other->err && other->ended && !end->err))
		events |= WATCH_WRITE;
	if (!events && !end->err && !end->quiet)
		events = WATCH_ERROR;
	return events;
}

static void stop(struct relay *relay, int err)
{
	relay->over = true;
	for (int i = 0; i < 2; i++) {
		watch_set(&relay->end[i].watch, 0);
		drop_unsent(&relay->end[i]);
		if (err)
			socket_set_reset_on_close(relay->end[i].fd);
	}
}

static void tell_half_closed(struct relay *relay)
{
	void (*tell)(struct relay *) = relay->half_closed;

	if (!tell || !relay_half_closed(relay))
		return;
	relay->half_closed = NULL;
	tell(relay);
}

/* Draws the conclusions from what has just moved. Returns whether it is over, and why. */
static bool settle(struct relay *relay, int *ret_err)
{
	struct relay_end *c = &relay->end[RELAY_CLIENT];
	struct relay_end *t = &relay->end[RELAY_TARGET];

	pass_end(c, t);
	pass_end(t, c);
	if (is_over(relay, ret_err)) {
		stop(relay, *ret_err);
		return true;
	}
	tell_half_closed(relay);
	watch_set(&c->watch, interest(c, t));
	watch_set(&t->watch, interest(t, c));
	return false;
}

/*
 * Whoever has said through its layer that no more comes, and closed, answers our own last words
 * with a reset, since those are bytes too. That is no broken stream. Returns 0 or -ENOMEM.
 */
static int look_behind_reset(struct relay *relay, struct relay_end *end, bool *ret_is_end)
{
	int err = 0;

	if (end->layer && end->shut)
		err = relay_pump(relay, end, other_end(relay, end), RELAY_BUFFER_SIZE);
	*ret_is_end = end->layer && end->shut && end->ended && !end->err;
	return err;
}

/* The socket has news that no read or write tells. Returns 0 or -ENOMEM. */
static int take_news(struct relay *relay, struct relay_end *end)
{
	int cause = socket_take_error(end->fd), err = 0;
	bool is_end = cause == 0;

	if (cause)
		err = look_behind_reset(relay, end, &is_end);
	if (is_end)
		end->quiet = true;
	else
		end_fail(end, cause);
	return err;
}

static void on_event(struct relay *relay, struct relay_end *end, unsigned events)
{
	struct relay_end *other = other_end(relay, end);
	int err = 0;

	if (events & WATCH_ERROR)
		err = take_news(relay, end);
	end_flush(relay, end);
	if (!err && (events & (WATCH_READ | WATCH_ERROR)))
		err = relay_pump(relay, end, other, RELAY_BUFFER_SIZE);
	/* What was held back behind the unsent waits in the other socket: no need for a poll to say
	 * so. */
	if (!err && (events & WATCH_WRITE))
		err = relay_pump(relay, other, end, NARROW_SIZE);
	if (err)
		stop(relay, err);
	if (err || settle(relay, &err))
		relay->fn(relay, err);
}

static void on_client(struct watch *watch, unsigned events)
{
	struct relay *relay =
	    (struct relay *)((char *)watch - offsetof(struct relay, end[RELAY_CLIENT].watch));

	on_event(relay, &relay->end[RELAY_CLIENT], events);
}

static void on_target(struct watch *watch, unsigned events)
{
	struct relay *relay =
	    (struct relay *)((char *)watch - offsetof(struct relay, end[RELAY_TARGET].watch));

	on_event(relay, &relay->end[RELAY_TARGET], events);
}

int relay_start(struct relay *relay, const void *early, size_t n)
{
	struct relay_end *client = &relay->end[RELAY_CLIENT];
	struct relay_end *target = &relay->end[RELAY_TARGET];
	int err = 0;

	client->watch.fn = on_client;
	target->watch.fn = on_target;
	client->received += n;
	if (n > 0)
		err = end_write_or_keep(relay, target, early, n);
	/* What came in one message with the request, or with a proxy's answer. */
	if (!err && layer_pending(client->layer))
		err = relay_pump(relay, client, target, RELAY_BUFFER_SIZE);
	if (!err && layer_pending(target->layer))
		err = relay_pump(relay, target, client, RELAY_BUFFER_SIZE);
	if (err)
		stop(relay, err);
	else
		settle(relay, &err);
	return err;
}

static void on_closed(struct relay *relay)
{
	if (--relay->closing == 0)
		relay->closed(relay);
}

static void client_closed(struct watch *watch)
{
	on_closed(
	    (struct relay *)((char *)watch - offsetof(struct relay, end[RELAY_CLIENT].watch)));
}

static void target_closed(struct watch *watch)
{
	on_closed(
	    (struct relay *)((char *)watch - offsetof(struct relay, end[RELAY_TARGET].watch)));
}

unsigned relay_close(struct relay *relay, void (*closed)(struct relay *relay))
{
	relay->over = true;
	relay->closed = closed;
	for (int i = 0; i < 2; i++) {
		struct relay_end *end = &relay->end[i];

		drop_unsent(end);
		layer_free(end->layer);
		end->layer = NULL;
		/* A watch that was begun has its function. */
		if (end->watch.fn) {
			watch_drop(&end->watch, i == RELAY_CLIENT ? client_closed : target_closed);
			end->watch.fn = NULL;
			relay->closing++;
		}
		if (end->fd >= 0)
			close(end->fd);
		end->fd = -1;
	}
	return relay->closing;
}

bool relay_half_closed(const struct relay *relay)
{
	return relay->end[RELAY_CLIENT].ended != relay->end[RELAY_TARGET].ended;
}
