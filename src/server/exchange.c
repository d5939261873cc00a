/* SPDX-License-Identifier: MIT */
#include "server/exchange.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "net/layer.h"
#include "proto/err.h"
#include "server/worker.h"

/* Where in the shared buffer an answer's bytes are read to, so that its head can be written anew
 * before them. */
#define ANSWER_AT ((size_t)128 * 1024)
/* No destination has that many interim answers to give to one request. Each is written by itself,
 * so a flood of them costs more than its bytes. */
#define INTERIMS_MAX 1000
/* The first piece of memory for a head that came in several. */
#define HEAD_FIRST 4096

_Static_assert(HTTPFWD_ANSWER_MAX <= ANSWER_AT, "a head fits before the bytes it is made of");
_Static_assert(ANSWER_AT + HTTP_ANSWER_MAX <= RELAY_BUFFER_SIZE, "and they fit behind it");
_Static_assert(HTTPFWD_REQUEST_MAX <= RELAY_BUFFER_SIZE, "a request fits too");

/* ---- memory ---- */

void exchange_drop_unsent(struct relay_end *end)
{
	free(end->unsent);
	end->unsent = NULL;
	end->unsent_at = end->unsent_len = 0;
}

void exchange_drop_head(struct forward *f)
{
	free(f->head);
	f->head = NULL;
	f->head_len = f->head_cap = 0;
}

/* Requests may bring credentials. */
void exchange_drop_input(struct forward *f)
{
	if (f->in)
		explicit_bzero(f->in, f->in_len);
	free(f->in);
	f->in = NULL;
	f->in_at = f->in_len = 0;
}

/* Adds to what the client has sent ahead. */
int exchange_stash(struct forward *f, const uint8_t *buf, size_t n)
{
	uint32_t left = f->in_len - f->in_at;
	uint8_t *in;

	if (n == 0)
		return 0;
	in = malloc(left + n);
	if (!in)
		return -ENOMEM;
	if (left > 0)
		memcpy(in, f->in + f->in_at, left);
	memcpy(in + left, buf, n);
	exchange_drop_input(f);
	f->in = in;
	f->in_len = left + (uint32_t)n;
	return 0;
}

/* ---- writing ---- */

static int keep(struct relay_end *to, const uint8_t *buf, size_t len)
{
	uint8_t *unsent = malloc(to->unsent_len + len);

	if (!unsent)
		return -ENOMEM;
	if (to->unsent_len > 0)
		memcpy(unsent, to->unsent + to->unsent_at, to->unsent_len);
	memcpy(unsent + to->unsent_len, buf, len);
	len += to->unsent_len;
	exchange_drop_unsent(to);
	to->unsent = unsent;
	to->unsent_len = (uint32_t)len;
	return 0;
}

void exchange_target_failed(struct session *s, int err)
{
	session_target(s)->err = (int16_t)err;
	s->forward->cut = true;
	exchange_drop_unsent(session_target(s));
}

/* A destination that cannot be written to may have answered all the same. */
static int write_failed(struct session *s, struct relay_end *to, int err)
{
	if (to == session_client(s))
		return session_client_error(err);
	exchange_target_failed(s, err);
	return 0;
}

/* Writes, and keeps what is not taken. Returns 0, or why the session ends. */
int exchange_put(struct session *s, struct relay_end *to, const uint8_t *buf, size_t len)
{
	ssize_t n = 0;

	if (len == 0 || (to == session_target(s) && s->forward->cut))
		return 0;
	if (!to->unsent)
		n = layer_send(to->layer, to->fd, buf, len);
	if (n == -EAGAIN)
		n = 0;
	if (n < 0)
		return write_failed(s, to, (int)n);
	to->sent += (uint64_t)n;
	s->relay.moved |= n > 0;
	return (size_t)n == len ? 0 : keep(to, buf + n, len - (size_t)n);
}

int exchange_flush(struct session *s, struct relay_end *to)
{
	ssize_t n = layer_flush(to->layer);

	if (n == 0 && to->unsent)
		n = layer_send(to->layer, to->fd, to->unsent + to->unsent_at, to->unsent_len);
	if (n == -EAGAIN)
		return 0;
	if (n < 0)
		return write_failed(s, to, (int)n);
	to->sent += (uint64_t)n;
	s->relay.moved |= n > 0;
	to->unsent_at += (uint32_t)n;
	to->unsent_len -= (uint32_t)n;
	if (to->unsent_len == 0)
		exchange_drop_unsent(to);
	return 0;
}

bool exchange_takes_more(const struct relay_end *to)
{
	return !to->unsent && !layer_holds(to->layer);
}

/* ---- from the client ---- */

/* Passes on what of these bytes belongs to the body. Returns 0 with how many did, or why the
 * session ends. */
static int pass_up(struct session *s, uint8_t *buf, size_t n, size_t *ret_taken)
{
	size_t out;
	int bad = http_body_feed(&s->forward->up, buf, n, ret_taken, &out);
	int err = exchange_put(s, session_target(s), buf, out);

	return err ? err : bad;
}

/* Reads up to `size` bytes of the client into the shared buffer. Returns a count, 0 where there is
 * nothing now, or why the session ends. The end of the stream is noted. */
static ssize_t read_client(struct session *s, size_t size)
{
	struct relay_end *client = session_client(s);
	ssize_t n = layer_recv(client->layer, client->fd, s->worker->relay.buffer, size);

	if (n == -EAGAIN)
		return 0;
	if (n < 0)
		return session_client_error((int)n);
	if (n == 0)
		s->forward->client_ended = true;
	client->received += (uint64_t)n;
	s->relay.moved |= n > 0;
	return n;
}

/* Nothing but the body, where it is known how much that is; else not more than can be kept. */
static size_t body_size(const struct http_body *b)
{
	if (b->framing != HTTP_LENGTH)
		return ACCEPT_INPUT_MAX;
	return b->left < RELAY_BUFFER_SIZE ? (size_t)b->left : RELAY_BUFFER_SIZE;
}

/* One step: of what is here, or of what the client sends now. Returns a count, 0 where there is
 * nothing now, or why the session ends. */
static ssize_t pump_up_once(struct session *s)
{
	struct forward *f = s->forward;
	uint8_t *buffer = s->worker->relay.buffer;
	size_t taken;
	ssize_t n;
	int err;

	if (f->in_len > f->in_at) {
		err = pass_up(s, f->in + f->in_at, f->in_len - f->in_at, &taken);
		f->in_at += (uint32_t)taken;
		if (f->in_at == f->in_len)
			exchange_drop_input(f);
		return err ? err : (ssize_t)taken;
	}
	n = read_client(s, body_size(&f->up));
	if (n <= 0)
		return n < 0 || !f->client_ended ? n : ERR_TRUNCATED;
	err = pass_up(s, buffer, (size_t)n, &taken);
	if (!err)
		err = exchange_stash(f, buffer + taken, (size_t)n - taken);
	return err ? err : n;
}

/* The body of the request, as far as the client sends and the destination takes it. Returns 0, or
 * why the session ends. */
static int pump_up(struct session *s)
{
	const struct layer *layer = session_client(s)->layer;
	struct forward *f = s->forward;
	size_t moved = 0;

	while ((moved < RELAY_BUDGET || layer_pending(layer)) && !http_body_is_done(&f->up) &&
	       !f->cut && exchange_takes_more(session_target(s))) {
		ssize_t n = pump_up_once(s);

		if (n <= 0)
			return (int)n;
		moved += (size_t)n;
	}
	return 0;
}

static size_t room_ahead(const struct forward *f)
{
	size_t have = f->in_len - f->in_at;

	return have < ACCEPT_INPUT_MAX && !f->client_ended ? ACCEPT_INPUT_MAX - have : 0;
}

/* What comes behind the request. Returns 0, or why the session ends. */
int exchange_read_ahead(struct session *s)
{
	struct forward *f = s->forward;
	size_t room = room_ahead(f);
	ssize_t n = 0;
	int err = 0;

	do {
		if (room > 0)
			n = read_client(s, room);
		if (n < 0)
			return (int)n;
		err = exchange_stash(f, s->worker->relay.buffer, (size_t)n);
		room = room_ahead(f);
	} while (!err && n > 0 && room > 0 && layer_pending(session_client(s)->layer));
	/* It may want no more than the answer, or nothing at all: that cannot be told apart. */
	if (!err && f->client_ended && f->active)
		deadline_set(&s->deadline, &s->worker->halfclose);
	return err;
}

/* ---- from the destination ---- */

/* Its stream has ended, in good order or not. Returns 0 where that is the end of the answer. */
static int target_ended(struct session *s)
{
	struct forward *f = s->forward;

	if (session_target(s)->err)
		return ERR_TARGET_RESET;
	if (!f->headed || f->down.framing != HTTP_UNTIL_CLOSE)
		return ERR_ANSWER_TRUNCATED;
	f->complete = true;
	return 0;
}

/* Returns a count, 0 where there is nothing now or the answer has ended, or why the session ends.
 */
static ssize_t read_target(struct session *s, uint8_t *buf, size_t size)
{
	struct relay_end *target = session_target(s);
	ssize_t n = layer_recv(target->layer, target->fd, buf, size);

	if (n == -EAGAIN)
		return 0;
	if (n < 0)
		target->err = (int16_t)n;
	if (n <= 0)
		return target_ended(s);
	target->received += (uint64_t)n;
	s->forward->heard = true;
	s->relay.moved = true;
	return n;
}

/* Passes on what of these bytes belongs to the answer's body; behind its head, if that is still to
 * be sent. */
static int pass_down(struct session *s, struct wire_writer *head, uint8_t *buf, size_t n)
{
	struct forward *f = s->forward;
	size_t taken, out;
	int err, bad = http_body_feed(&f->down, buf, n, &taken, &out);

	if (head) {
		wire_write_bytes(head, buf, out);
		err = exchange_put(s, session_client(s), head->data, head->len);
	} else {
		err = exchange_put(s, session_client(s), buf, out);
	}
	f->complete = http_body_is_done(&f->down);
	/* Who says more than was asked for would be answering the next request already. */
	if (taken < n)
		f->answer.keep_target = false;
	if (err)
		return err;
	return bad ? ERR_ANSWER : 0;
}

/* But for the answer, may the client go on afterwards? A new configuration is for new connections,
 * and the rest of a body would be in the way. */
bool exchange_may_keep(const struct session *s)
{
	return http_body_is_done(&s->forward->up) && !s->forward->cut && !s->worker->draining &&
	       s->config == s->worker->config;
}

/*
 * Reads heads from the `n` bytes at `buf` and passes them on, those of interim answers and the
 * final one, and the body behind that. Returns how many bytes were used, or why the session ends.
 */
static ssize_t pass_heads(struct session *s, uint8_t *buf, size_t n)
{
	struct wire_reader in = wire_reader_of(buf, n);
	struct forward *f = s->forward;

	for (;;) {
		struct wire_writer out = wire_writer_of(s->worker->relay.buffer, ANSWER_AT);
		int rc;

		rc = httpfwd_write_answer(
		    &in, &out, &f->request, exchange_may_keep(s), &f->answer, &f->down);
		if (rc != WIRE_DONE)
			return rc < 0 ? ERR_ANSWER : (ssize_t)in.pos;
		f->told |= out.len > 0;
		f->headed = !f->answer.interim;
		f->interims += f->answer.interim;
		if (f->interims > INTERIMS_MAX)
			return ERR_ANSWER;
		if (f->headed)
			rc = pass_down(s, &out, buf + in.pos, n - in.pos);
		else
			rc = exchange_put(s, session_client(s), out.data, out.len);
		if (rc || f->headed)
			return rc ? rc : (ssize_t)n;
	}
}

/* Keeps what of a head has come. */
static int keep_head(struct forward *f, const uint8_t *buf, size_t n)
{
	uint32_t cap = HEAD_FIRST;
	uint8_t *head;

	while (cap < n + 1)
		cap *= 2;
	head = malloc(cap);
	if (!head)
		return -ENOMEM;
	memcpy(head, buf, n);
	exchange_drop_head(f);
	f->head = head;
	f->head_len = (uint32_t)n;
	f->head_cap = cap;
	return 0;
}

/*
 * Reads more of the answer's head. A piece without a line end cannot complete it and is not parsed
 * again for it.
 */
static ssize_t pump_head(struct session *s)
{
	struct forward *f = s->forward;
	bool first = !f->head;
	uint8_t *buf = first ? s->worker->relay.buffer + ANSWER_AT : f->head;
	size_t cap = first ? HTTP_ANSWER_MAX : f->head_cap;
	ssize_t n = read_target(s, buf + f->head_len, cap - f->head_len), used = 0;
	size_t have = f->head_len + (n > 0 ? (size_t)n : 0);
	int err = 0;

	if (n <= 0)
		return n;
	if (first || memchr(buf + f->head_len, '\n', (size_t)n) || have >= HTTP_ANSWER_MAX)
		used = pass_heads(s, buf, have);
	if (used < 0)
		return used;
	if (f->headed)
		exchange_drop_head(f);
	else if (first || used > 0 || have == cap)
		err = keep_head(f, buf + used, have - (size_t)used);
	else
		f->head_len = (uint32_t)have;
	return err ? err : n;
}

static ssize_t pump_body(struct session *s)
{
	uint8_t *buffer = s->worker->relay.buffer;
	ssize_t n = read_target(s, buffer, RELAY_BUFFER_SIZE);
	int err;

	if (n <= 0)
		return n;
	err = pass_down(s, NULL, buffer, (size_t)n);
	return err ? err : n;
}

/* The answer, as far as it comes and the client takes it. Returns 0, or why the session ends. */
int exchange_from_target(struct session *s)
{
	struct forward *f = s->forward;
	size_t moved = 0;

	/* What is pending in a layer no poll reports. */
	while ((moved < RELAY_BUDGET || layer_pending(session_target(s)->layer)) && !f->complete &&
	       exchange_takes_more(session_client(s))) {
		ssize_t n = f->headed ? pump_body(s) : pump_head(s);

		if (n <= 0)
			return (int)n;
		moved += (size_t)n;
	}
	return 0;
}

/* ---- what to wait for ---- */

unsigned exchange_client_interest(const struct session *s)
{
	const struct relay_end *target = &s->relay.end[RELAY_TARGET];
	const struct relay_end *client = &s->relay.end[RELAY_CLIENT];
	const struct forward *f = s->forward;
	unsigned events = 0;

	if (http_body_is_done(&f->up) ? room_ahead(f) > 0
				      : !f->cut && exchange_takes_more(target) && !f->client_ended)
		events |= WATCH_READ;
	if (!exchange_takes_more(client))
		events |= WATCH_WRITE;
	return events ? events : WATCH_ERROR;
}

unsigned exchange_target_interest(const struct session *s)
{
	const struct relay_end *target = &s->relay.end[RELAY_TARGET];
	const struct relay_end *client = &s->relay.end[RELAY_CLIENT];
	unsigned events = 0;

	if (!s->forward->complete && exchange_takes_more(client))
		events |= WATCH_READ;
	if (!exchange_takes_more(target))
		events |= WATCH_WRITE;
	/* What is over says so for ever. */
	return events || target->err ? events : WATCH_ERROR;
}

int exchange_from_client(struct session *s)
{
	return http_body_is_done(&s->forward->up) ? exchange_read_ahead(s) : pump_up(s);
}
