/* SPDX-License-Identifier: MIT */
#include "server/forward.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "net/layer.h"
#include "net/sockaddr.h"
#include "policy/egress.h"
#include "proto/err.h"
#include "proto/http.h"
#include "proto/httpfwd.h"
#include "server/converse.h"
#include "server/exchange.h"
#include "server/session.h"
#include "server/sessionlog.h"
#include "server/upstream.h"
#include "server/worker.h"

bool forward_is_at_rest(const struct session *s)
{
	return !s->forward || !s->forward->active;
}

static void forget_target(struct forward *f)
{
	free(f->name);
	free(f->user);
	f->name = f->user = NULL;
}

/* The watch stays, for the next connection. */
static void drop_target(struct session *s)
{
	struct relay_end *target = session_target(s);
	struct forward *f = s->forward;

	if (f)
		forget_target(f);
	if (target->fd < 0)
		return;
	watch_set(&target->watch, 0);
	close(target->fd);
	layer_free(target->layer);
	target->layer = NULL;
	upstream_leave(s);
	target->fd = -1;
	target->err = 0;
	exchange_drop_unsent(target);
}

void forward_free(struct session *s)
{
	struct forward *f = s->forward;

	if (!f)
		return;
	exchange_drop_head(f);
	exchange_drop_input(f);
	forget_target(f);
	free(f);
	s->forward = NULL;
}

/* ---- from one request to the next ---- */

static void log_request(struct session *s, int reason)
{
	const struct forward *f = s->forward;
	const struct forwarded what = {
	    .method = f->request.method,
	    .status = f->headed ? f->answer.status : 0,
	    .up = session_target(s)->sent - f->up_before,
	    .down = session_client(s)->sent - f->down_before,
	    .began = f->began,
	};

	session_log_request(s, &what, reason);
	session_forget_request(s);
}

static void rest(struct session *s);

/* The client has said something again: a handshake begins, for one request. */
static void begin_next(struct session *s)
{
	struct forward *f = s->forward;
	int err;

	/* A reload's rules are for what comes now; the client will come again. */
	if (s->config != s->worker->config) {
		session_end(s, ERR_OK);
		return;
	}
	watch_set(&session_target(s)->watch, 0);
	s->state = SESSION_HANDSHAKE;
	deadline_set(&s->deadline, &s->worker->handshake);
	err = converse_again(s, f->in + f->in_at, f->in_len - f->in_at, f->client_ended);
	exchange_drop_input(f);
	if (err)
		session_end(s, err);
	else
		converse_go_on(s);
}

/* Is called when there is something to read, and when there might be. */
static void read_at_rest(struct session *s)
{
	struct forward *f = s->forward;
	int err = exchange_read_ahead(s);

	if (err)
		session_end(s, err);
	else if (f->in_len > f->in_at)
		begin_next(s);
	else if (f->client_ended)
		session_end(s, ERR_OK);
	else
		rest(s);
}

static void rest(struct session *s)
{
	session_wait(s, WATCH_READ);
	if (session_target(s)->fd >= 0)
		watch_set(&session_target(s)->watch, WATCH_READ);
}

/* The answer is with the client. */
static void finish(struct session *s)
{
	struct forward *f = s->forward;

	if (!f->answer.keep_client || !exchange_may_keep(s)) {
		session_end(s, ERR_OK);
		return;
	}
	f->active = false;
	log_request(s, ERR_OK);
	exchange_drop_head(f);
	if (!f->answer.keep_target || session_target(s)->err)
		drop_target(s);
	deadline_set(&s->deadline, &s->worker->keepalive);
	if (f->in_len > f->in_at || f->client_ended || layer_pending(session_client(s)->layer))
		read_at_rest(s);
	else
		rest(s);
}

/* Draws the conclusions from what has just moved; `err` is why the session ends, if it does. */
static void settle(struct session *s, int err)
{
	struct forward *f = s->forward;

	if (err) {
		session_end(s, err);
	} else if (f->complete && exchange_takes_more(session_client(s))) {
		finish(s);
	} else {
		watch_set(&session_client(s)->watch, exchange_client_interest(s));
		watch_set(&session_target(s)->watch, exchange_target_interest(s));
	}
}

void forward_on_client(struct session *s, unsigned events)
{
	struct relay_end *client = session_client(s);
	struct forward *f = s->forward;
	int err = 0;

	/* Both directions are over: reset, or a Unix socket whose other end is closed. */
	if (events & WATCH_ERROR && (socket_take_error(client->fd) || f->client_ended)) {
		session_end(s, ERR_CLIENT_RESET);
		return;
	}
	if (!f->active) {
		read_at_rest(s);
		return;
	}
	if (events & WATCH_WRITE)
		err = exchange_flush(s, client);
	if (!err && events & (WATCH_READ | WATCH_ERROR))
		err = exchange_from_client(s);
	if (!err && events & WATCH_WRITE)
		err = exchange_from_target(s);
	settle(s, err);
}

static void on_target(struct watch *watch, unsigned events)
{
	struct session *s = (struct session *)((char *)watch - offsetof(struct session, relay) -
					       offsetof(struct relay, end[RELAY_TARGET].watch));
	struct relay_end *target = session_target(s);
	int err = 0;

	/* In a handshake nothing is waited for; what is broken is told all the same. */
	if (s->state != SESSION_FORWARD)
		return;
	/* Its end, or an answer that nobody has asked for. */
	if (!s->forward->active) {
		drop_target(s);
		return;
	}
	if (events & WATCH_ERROR) {
		err = socket_take_error(target->fd);
		if (err)
			exchange_target_failed(s, err);
	}
	err = 0;
	if (events & WATCH_WRITE && !s->forward->cut)
		err = exchange_flush(s, target);
	if (!err)
		err = exchange_from_target(s);
	if (!err && events & WATCH_WRITE)
		err = exchange_from_client(s);
	settle(s, err);
}

/* ---- the beginning ---- */

/* Canonical, or NULL where an address is asked for. */
static const char *name_of(const struct addr *to, char buf[static ADDR_NAME_MAX + 1])
{
	if (to->kind != ADDR_NAME)
		return NULL;
	name_canonical(to->name, to->name_len, buf);
	return buf;
}

static const char *user_of(const struct accept *a)
{
	return a->user_len > 0 ? a->user : NULL;
}

/* Returns false without memory. */
static bool copy_text(char **to, const char *text)
{
	*to = text ? strdup(text) : NULL;
	return *to || !text;
}

/* What a later request is compared with. Without memory there is no later one: it is not kept. */
static void note_target(struct session *s)
{
	const struct accept *a = &s->hs->accept;
	struct forward *f = s->forward;
	char buf[ADDR_NAME_MAX + 1];

	forget_target(f);
	f->egress = s->hs->egress;
	f->ip = s->address;
	f->port = a->target.port;
	if (!copy_text(&f->name, name_of(&a->target, buf)) || !copy_text(&f->user, user_of(a)))
		f->port = 0;
}

static bool is_admitted(const struct handshake *hs, const struct ip *ip)
{
	for (size_t i = 0; i < hs->n_ips; i++)
		if (ip_equal(&hs->ips[i], ip))
			return true;
	return false;
}

static bool is_same_text(const char *a, const char *b)
{
	return a && b ? strcmp(a, b) == 0 : a == b;
}

/* From the same address, through the same proxies; and of those addresses that the rules admit,
 * where they see any. */
static bool is_same_way(const struct session *s)
{
	const struct policy_proxy *via =
	    s->via_group > 0 ? &s->config->policy->proxies[s->via_group - 1] : NULL;

	if (via != s->hs->via || !egress_is_same(s->forward->egress, s->hs->egress))
		return false;
	return s->hs->n_ips > 0 ? is_admitted(s->hs, &s->forward->ip) : via != NULL;
}

static bool is_same_target(const struct session *s)
{
	const struct accept *a = &s->hs->accept;
	const struct forward *f = s->forward;
	char buf[ADDR_NAME_MAX + 1];

	return a->forward && a->target.port == f->port && is_same_way(s) &&
	       is_same_text(f->name, name_of(&a->target, buf)) && is_same_text(f->user, user_of(a));
}

/* Nothing has come and no end: what else there might be to read is not meant for this request. */
static bool is_open(int fd)
{
	char byte;

	return recv(fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) < 0 && errno == EAGAIN;
}

/* Writes the head anew and leaves in struct forward what came behind it. Returns 0 or an error. */
static int send_head(struct session *s)
{
	struct handshake *hs = s->hs;
	struct forward *f = s->forward;
	struct wire_reader in = wire_reader_of(hs->in + hs->in_at, hs->in_len - hs->in_at);
	struct wire_writer out = wire_writer_of(s->worker->relay.buffer, RELAY_BUFFER_SIZE);
	int rc = httpfwd_write_request(&in, &out, &f->request, &f->up);

	if (rc != WIRE_DONE || out.failed)
		return rc < 0 ? rc : ERR_MALFORMED;
	rc = exchange_stash(f, in.data + in.pos, wire_left(&in));
	return rc ? rc : exchange_put(s, session_target(s), out.data, out.len);
}

static int start(struct session *s)
{
	struct forward *f = s->forward ? s->forward : calloc(1, sizeof(*f));

	if (!f)
		return -ENOMEM;
	s->forward = f;
	note_target(s);
	f->client_ended = s->hs->eof;
	f->cut = f->heard = f->told = f->headed = f->complete = false;
	f->interims = 0;
	f->began = loop_now(&s->worker->loop);
	f->up_before = session_target(s)->sent;
	f->down_before = session_client(s)->sent;
	session_target(s)->watch.fn = on_target;
	return send_head(s);
}

/* It was made while the handshake's larger block stood before it. Where thousands rest, each would
 * keep that hole from being used. */
static void settle_down(struct session *s)
{
	struct forward *f = malloc(sizeof(*f));

	if (!f)
		return;
	*f = *s->forward;
	free(s->forward);
	s->forward = f;
}

void forward_begin(struct session *s)
{
	int err = start(s);

	if (err) {
		session_end(s, err);
		return;
	}
	s->forward->active = true;
	s->requests++;
	s->state = SESSION_FORWARD;
	deadline_set(
	    &s->deadline, s->forward->client_ended ? &s->worker->halfclose : &s->worker->idle);
	converse_free(s);
	if (s->requests == 1)
		settle_down(s);
	settle(s, exchange_from_client(s));
}

bool forward_resume(struct session *s)
{
	struct relay_end *target = session_target(s);

	if (!s->forward)
		return false;
	if (target->fd < 0 || !is_same_target(s) || !is_open(target->fd)) {
		drop_target(s);
		s->forward->reused = false;
		return false;
	}
	s->address = s->forward->ip;
	s->has_address = s->hs->n_ips > 0;
	s->forward->reused = true;
	forward_begin(s);
	return true;
}

void forward_answer(struct session *s)
{
	struct handshake *hs = s->hs;
	struct wire_reader in = wire_reader_of(hs->in + hs->in_at, hs->in_len - hs->in_at);
	struct wire_writer out = wire_writer_of(s->worker->relay.buffer, RELAY_BUFFER_SIZE);

	httpfwd_write_own_answer(&in, &out);
	/* Nothing is left for the machine to say. */
	accept_reply(&hs->accept, ERR_OK, NULL, &out);
	session_end(s, converse_answer(s, &out) == 0 ? ERR_OK : ERR_CLIENT_RESET);
}

/* ---- the end ---- */

/* Tells the client why there is no answer. */
static bool send_page(struct session *s, int reason)
{
	uint8_t buf[512];
	struct wire_writer out = wire_writer_of(buf, sizeof(buf));
	char text[160];
	const struct http_answer answer = {
	    .status = err_http_status(reason),
	    .text = text,
	    .no_body = s->forward->request.is_head,
	};

	snprintf(
	    text, sizeof(text), "This proxy could not serve the request: %s.", err_text(reason));
	http_write_answer(&out, &answer);
	return exchange_put(s, session_client(s), out.data, out.len) == 0 &&
	       exchange_takes_more(session_client(s));
}

/*
 * A destination may close a connection that rests just when the next request is on its way. Whether
 * that one can be repeated the client knows best, and does so where its own connection ends without
 * a word behind an earlier answer (RFC 9112 section 9.3.1).
 */
static bool is_lost_race(const struct forward *f, int reason)
{
	return f->reused && !f->heard &&
	       (reason == ERR_ANSWER_TRUNCATED || reason == ERR_TARGET_RESET);
}

bool forward_end(struct session *s, int reason)
{
	struct forward *f = s->forward;
	bool in_order = true;

	if (!f)
		return false;
	if (f->active) {
		if (reason != ERR_OK)
			in_order = !f->told && !session_client_is_gone(reason) &&
				   (is_lost_race(f, reason) || send_page(s, reason));
		f->active = false;
		log_request(s, reason);
		/* Half a request must not look like a whole one either. */
		if (!http_body_is_done(&f->up))
			socket_set_reset_on_close(session_target(s)->fd);
	}
	drop_target(s);
	return in_order;
}
