/* SPDX-License-Identifier: MIT */
/* Moving bytes both ways between two sockets, by copying or by splice(). */
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
 * How much is copied at once for a destination that has just been slow: as much as it may take, so
 * that little has to be kept. An ordinary read takes RELAY_BUFFER_SIZE.
 */
#define NARROW_SIZE ((size_t)64 * 1024)
/*
 * So many long reads, with no short one between them, make a direction bulk; so many short ones in
 * a row undo it. Of a short one copying costs no more than a pipe does.
 */
#define STREAK 3
#define LONG_READ 65536
#define SHORT_READ 16384
/* So often in a row splice() may find nothing where there is something. */
#define DENIALS 3
/* So often in a row a relay must have been the only one called to count as alone: ten milliseconds
 * of a fast stream, so that messages at a steady pace are company. */
#define ALONE_CALLS 512
/* So many turns in a row of spliced bytes must have been those of one relay to make it the only
 * stream. */
#define ONLY_TURNS 32
/* A held stream that brings less than RELAY_LOWAT in so many ms does not flow. */
#define HOLD_MS 2
#define STALLS_MAX 3
#define SEGMENT_SIZE 1448
#define PIPE_PAGE 4096

static void on_hold_timer(struct timer *timer);

int relay_shared_init(struct relay_shared *shared, struct loop *loop)
{
	shared->loop = loop;
	shared->mode = RELAY_COPY;
	shared->last = NULL;
	shared->last_call = 0;
	shared->alone = 0;
	shared->stream = NULL;
	shared->only = 0;
	shared->holder = NULL;
	shared->held = NULL;
	shared->buffer = malloc(RELAY_BUFFER_SIZE);
	pipe_pool_init(&shared->pipes, loop);
	timer_init(&shared->hold_timer, loop, on_hold_timer);
	return shared->buffer ? 0 : -ENOMEM;
}

void relay_shared_fini(struct relay_shared *shared)
{
	free(shared->buffer);
	shared->buffer = NULL;
	pipe_pool_fini(&shared->pipes);
	timer_close(&shared->hold_timer, NULL);
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
	if (end->piped)
		pipe_give(end->pipe);
	else
		free(end->unsent);
	end->piped = false;
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

/* Accounts for what was written to `to`: `n` bytes, or -errno. Returns the count; failures count as
 * 0. */
static size_t end_wrote(struct relay *relay, struct relay_end *to, ssize_t n)
{
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

/* Writes what the kernel takes. */
static size_t end_write(struct relay *relay, struct relay_end *to, const void *buf, size_t len)
{
	ssize_t n = layer_send(to->layer, to->fd, buf, len);

	if (n < (ssize_t)len && !to->layer)
		watch_is_full(&to->watch);
	return end_wrote(relay, to, n);
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

/* Does the kernel not splice here at all, whatever the state of the socket? A connection's own
 * errors are none of these, and whoever reads one takes it away. */
static bool is_no_splicing(ssize_t err)
{
	return err == -EINVAL || err == -ENOSYS || err == -EBADF || err == -EPERM || err == -ENOMEM;
}

static void copy_from_now_on(struct relay *relay)
{
	relay->mode = RELAY_COPY;
	for (int i = 0; i < 2; i++)
		relay->end[i].bulk = false;
}

/* The bytes come out of the pipe, and all else of this relay is copied. Returns 0, or an error
 * without which they would be lost. */
static int leave_pipe(struct relay *relay, struct relay_end *to)
{
	struct pipe *pipe = to->pipe;
	uint32_t len = pipe->held;
	uint8_t *unsent = malloc(len);
	int err = unsent ? pipe_read(pipe, unsent) : -ENOMEM;

	copy_from_now_on(relay);
	if (err) {
		free(unsent);
		return err;
	}
	pipe_give(pipe);
	to->piped = false;
	to->unsent = unsent;
	to->unsent_at = 0;
	to->unsent_len = len;
	return 0;
}

/* Writes what is in the pipe. An empty one is not kept. Returns 0 or an error of ours. */
static int pipe_flush(struct relay *relay, struct relay_end *to)
{
	ssize_t n = pipe_drain(to->pipe, to->fd);

	if (is_no_splicing(n))
		return leave_pipe(relay, to);
	end_wrote(relay, to, n);
	if (to->piped && to->pipe->held == 0)
		drop_unsent(to);
	else
		watch_is_full(&to->watch);
	return 0;
}

/* Returns 0 or -ENOMEM. */
static int end_flush(struct relay *relay, struct relay_end *to)
{
	int err = to->err ? 0 : layer_flush(to->layer);
	size_t n;

	if (err && err != -EAGAIN)
		end_fail(to, err);
	if (!to->unsent)
		return 0;
	if (to->piped)
		return pipe_flush(relay, to);
	n = end_write(relay, to, to->unsent + to->unsent_at, to->unsent_len);
	to->unsent_at += (uint32_t)n;
	to->unsent_len -= (uint32_t)n;
	if (to->unsent_len == 0)
		drop_unsent(to);
	return 0;
}

/* May anything be read from `from` for `to` now? */
static bool can_pump(const struct relay_end *from, const struct relay_end *to)
{
	return !from->ended && !to->unsent && !to->err && !layer_holds(to->layer);
}

/* Nothing more can be read from `from`, for `n`: 0 at the end of its stream, or an error. */
static void end_read(struct relay_end *from, ssize_t n)
{
	from->ended = true;
	if (n < 0)
		end_fail(from, (int)n);
}

/* A read that speaks for moving what comes from `from` the other way, or against it, or neither. */
static void consider(
    const struct relay *relay, struct relay_end *from, bool speaks_for, bool speaks_against)
{
	if (relay->mode != RELAY_AUTO)
		return;
	if (speaks_for)
		from->streak++;
	else if (speaks_against)
		from->streak = 0;
	if (from->streak == STREAK) {
		from->bulk = !from->bulk;
		from->streak = 0;
	}
}

/*
 * Reads once, at most `size` bytes, and writes that. A read that does not fill its buffer has
 * emptied the socket, which spares the call that would only say so; an end of stream behind it is
 * reported by the next poll. Returns whether to go on, or -ENOMEM.
 */
static int copy_step(struct relay *relay, struct relay_end *from, struct relay_end *to, size_t size)
{
	uint8_t *buffer = relay->shared->buffer;
	ssize_t n = layer_recv(from->layer, from->fd, buffer, size);
	int err;

	if (n == -EAGAIN) {
		if (!from->layer)
			watch_is_drained(&from->watch);
		return false;
	}
	if (n <= 0) {
		end_read(from, n);
		return false;
	}
	from->received += (uint64_t)n;
	relay->moved = true;
	if (!from->bulk)
		consider(relay, from, n >= LONG_READ, n < SHORT_READ);
	err = end_write_or_keep(relay, to, buffer, (size_t)n);
	if (err)
		return err;
	return (size_t)n == size || from->layer || !watch_is_short(&from->watch);
}

/*
 * A short read by splice() does not say that there is no more, for the pipe may be full of small
 * segments. Nor is it believed where it says that there is nothing. Returns whether there is
 * something to read, be it the end. An error is taken here, since the kernel tells it once: behind
 * it a reset would be an end of stream.
 */
static bool has_more(struct relay_end *from)
{
	uint8_t byte;
	ssize_t n;
	int err;

	do {
		n = recv(from->fd, &byte, 1, MSG_PEEK);
		err = n < 0 ? errno : 0;
	} while (err == EINTR);
	if (err == EAGAIN)
		watch_is_drained(&from->watch);
	else if (err)
		end_read(from, -err);
	return err == 0;
}

/* splice() has found nothing. If there is something all the same, it may have come in between; but
 * not time and again. */
static int splice_denied(struct relay *relay, struct relay_end *from, struct relay_end *to)
{
	if (!has_more(from)) {
		from->denials = 0;
		return false;
	}
	if (++from->denials < DENIALS)
		return true;
	copy_from_now_on(relay);
	return copy_step(relay, from, to, NARROW_SIZE);
}

/* splice() says that the stream has ended, which is for recv() to say. */
static int splice_ended(struct relay *relay, struct relay_end *from, struct relay_end *to)
{
	int more = copy_step(relay, from, to, NARROW_SIZE);

	if (!from->ended)
		copy_from_now_on(relay);
	return more;
}

/* What to do where it says anything else. `n` is no count. */
static int splice_failed(
    struct relay *relay, struct relay_end *from, struct relay_end *to, ssize_t n)
{
	if (n == 0)
		return splice_ended(relay, from, to);
	if (is_no_splicing(n)) {
		copy_from_now_on(relay);
		return copy_step(relay, from, to, NARROW_SIZE);
	}
	end_read(from, n);
	return false;
}

/* The same as copy_step() through a pipe. */
static int splice_step(
    struct relay *relay, struct relay_end *from, struct relay_end *to, size_t most)
{
	struct pipe *pipe = pipe_take(&relay->shared->pipes);
	size_t enough;
	ssize_t n;
	int err;

	if (!pipe)
		return copy_step(relay, from, to, NARROW_SIZE);
	/* With so many bytes it may be full of Ethernet's segments, each in a page. */
	enough = pipe->size / PIPE_PAGE * SEGMENT_SIZE;
	n = pipe_fill(pipe, from->fd, most);
	if (n > 0) {
		from->received += (uint64_t)n;
		relay->moved = true;
		from->denials = 0;
		consider(relay, from, n < SHORT_READ, n >= SHORT_READ);
		to->pipe = pipe;
		to->piped = true;
		err = pipe_flush(relay, to);
		if (err)
			return err;
		return (size_t)n >= enough || to->unsent || has_more(from);
	}
	pipe_give(pipe);
	if (n == -EAGAIN)
		return splice_denied(relay, from, to);
	return splice_failed(relay, from, to, n);
}

/* Returns whether the kernel has heard it. */
static bool set_lowat(const struct relay_end *end, int bytes)
{
	return setsockopt(end->fd, SOL_SOCKET, SO_RCVLOWAT, &bytes, sizeof(bytes)) == 0;
}

/* If there is anything to read, the kernel reports it now. */
static void let_go(struct relay_shared *shared)
{
	if (!shared->held)
		return;
	(void)set_lowat(shared->held, 1);
	shared->held = NULL;
	shared->holder = NULL;
	timer_stop(&shared->hold_timer);
}

/* Has just been called. Beside others a held stream would come in lumps. */
static void note_call(const struct relay *relay)
{
	struct relay_shared *shared = relay->shared;
	uint64_t call = loop_events(shared->loop);

	if (relay != shared->last || call - shared->last_call > 1) {
		shared->alone = 0;
		let_go(shared);
	} else if (shared->alone < ALONE_CALLS) {
		shared->alone++;
	}
	shared->last = relay;
	shared->last_call = call;
}

static void hold(struct relay *relay, struct relay_end *from)
{
	struct relay_shared *shared = relay->shared;

	if (shared->alone < ALONE_CALLS || shared->held == from || from->stalls == STALLS_MAX)
		return;
	let_go(shared);
	if (!set_lowat(from, RELAY_LOWAT)) {
		from->stalls = STALLS_MAX;
		return;
	}
	shared->holder = relay;
	shared->held = from;
	shared->held_received = from->received;
	timer_start(&shared->hold_timer, HOLD_MS);
}

/* While the other end takes no more, that is what it waits for. */
static void on_hold_timer(struct timer *timer)
{
	struct relay_shared *shared =
	    (struct relay_shared *)((char *)timer - offsetof(struct relay_shared, hold_timer));
	struct relay_end *from = shared->held;

	if (from->received == shared->held_received && !other_end(shared->holder, from)->unsent) {
		from->stalls++;
		let_go(shared);
		return;
	}
	shared->held_received = from->received;
	timer_start(&shared->hold_timer, HOLD_MS);
}

/* How much of one direction may move in this turn. */
static size_t budget(const struct relay *relay, const struct relay_end *from)
{
	const struct relay_shared *shared = relay->shared;

	if (!from->bulk)
		return RELAY_BUDGET;
	if (shared->alone == ALONE_CALLS)
		return RELAY_BUDGET_ALONE;
	return shared->only == ONLY_TURNS ? RELAY_BUDGET_ONLY : RELAY_BUDGET_BULK;
}

/* `n` bytes have been spliced in this turn, which are no small message. */
static void note_stream(struct relay *relay, struct relay_end *from, uint64_t n)
{
	struct relay_shared *shared = relay->shared;

	if (relay != shared->stream)
		shared->only = 0;
	else if (shared->only < ONLY_TURNS)
		shared->only++;
	shared->stream = relay;
	if (n >= LONG_READ)
		hold(relay, from);
}

/*
 * Moves what there is in one direction: until there is no more to read, `to` takes no more, or the
 * budget is spent. What a layer has pending no poll reports, so that is read whatever the budget
 * says. `told`: poll has said that there is something to read. Returns 0 or -ENOMEM.
 */
static int relay_pump(struct relay *relay, struct relay_end *from, struct relay_end *to, bool told)
{
	size_t size = told ? RELAY_BUFFER_SIZE : NARROW_SIZE;
	size_t most = budget(relay, from);
	uint64_t begin = from->received;
	int more = true;

	while (more > 0 && can_pump(from, to)) {
		uint64_t moved = from->received - begin;

		if (moved >= most && !layer_pending(from->layer))
			break;
		if (from->bulk)
			more = splice_step(relay, from, to, (size_t)(most - moved));
		else
			more = copy_step(relay, from, to, size);
	}
	if (from->bulk && from->received - begin >= SHORT_READ)
		note_stream(relay, from, from->received - begin);
	return more < 0 ? more : 0;
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
	if (relay->shared->holder == relay)
		let_go(relay->shared);
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
		err = relay_pump(relay, end, other_end(relay, end), false);
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

	note_call(relay);
	if (events & WATCH_ERROR)
		err = take_news(relay, end);
	if (!err)
		err = end_flush(relay, end);
	if (!err && (events & (WATCH_READ | WATCH_ERROR)))
		err = relay_pump(relay, end, other, true);
	/* What was held back behind the unsent waits in the other socket: no need for a poll to say
	 * so. */
	if (!err && (events & WATCH_WRITE))
		err = relay_pump(relay, other, end, false);
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

/* A layer's bytes are not those of its socket. */
static void choose_mode(struct relay *relay)
{
	bool has_layer = relay->end[RELAY_CLIENT].layer || relay->end[RELAY_TARGET].layer;

	relay->mode = (uint8_t)(has_layer ? RELAY_COPY : relay->shared->mode);
	for (int i = 0; i < 2; i++)
		relay->end[i].bulk = relay->mode == RELAY_SPLICE;
}

int relay_start(struct relay *relay, const void *early, size_t n)
{
	struct relay_end *client = &relay->end[RELAY_CLIENT];
	struct relay_end *target = &relay->end[RELAY_TARGET];
	int err = 0;

	choose_mode(relay);
	client->watch.fn = on_client;
	target->watch.fn = on_target;
	client->received += n;
	if (n > 0)
		err = end_write_or_keep(relay, target, early, n);
	/* What came in one message with the request, or with a proxy's answer. */
	if (!err && layer_pending(client->layer))
		err = relay_pump(relay, client, target, false);
	if (!err && layer_pending(target->layer))
		err = relay_pump(relay, target, client, false);
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
	if (relay->shared->holder == relay)
		let_go(relay->shared);
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
