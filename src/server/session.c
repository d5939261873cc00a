/* SPDX-License-Identifier: MIT */
#include "server/session.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "net/sockaddr.h"
#include "net/tls.h"
#include "policy/offer.h"
#include "proto/err.h"
#include "server/associate.h"
#include "server/converse.h"
#include "server/forward.h"
#include "server/login.h"
#include "server/multicast.h"
#include "server/preface.h"
#include "server/sessionlog.h"
#include "server/upstream.h"
#include "server/worker.h"

/* What a refused client may still send before it is cut off. */
#define LINGER_MAX 65536
#define LINGER_MS 5000

static struct session *session_of_client_watch(struct watch *watch)
{
	return (struct session *)((char *)watch - offsetof(struct session, relay) -
				  offsetof(struct relay, end[RELAY_CLIENT].watch));
}

/* ---- the ring of a worker's sessions ---- */

static void ring_add(struct session *s)
{
	struct worker *w = s->worker;

	if (w->sessions) {
		s->next = w->sessions;
		s->prev = w->sessions->prev;
		s->prev->next = s;
		s->next->prev = s;
	} else {
		s->prev = s->next = s;
		w->sessions = s;
	}
	inbox_count(&w->inbox, ++w->n_sessions);
}

static void ring_remove(struct session *s)
{
	struct worker *w = s->worker;

	if (s->next == s) {
		w->sessions = NULL;
	} else {
		s->prev->next = s->next;
		s->next->prev = s->prev;
		if (w->sessions == s)
			w->sessions = s->next;
	}
	inbox_count(&w->inbox, --w->n_sessions);
}

/* ---- the end ---- */

void session_wait(struct session *s, unsigned events)
{
	struct relay_end *client = session_client(s);

	watch_set(&client->watch, layer_holds(client->layer) ? events | WATCH_WRITE : events);
}

int session_client_error(int err)
{
	return err <= ERR_MALFORMED ? err : ERR_CLIENT_RESET;
}

static void forget(struct session *s)
{
	struct worker *worker = s->worker;

	ring_remove(s);
	upstream_leave(s);
	config_unref(s->config);
	free(s->labels);
	free(s->ends);
	free(s->proxied);
	slab_free(&worker->slab, s);
	worker_session_gone(worker);
}

static void sockets_gone(struct relay *relay)
{
	forget((struct session *)relay);
}

/* SESSION_CLOSED, from any state. */
static void close_session(struct session *s)
{
	s->state = SESSION_CLOSED;
	deadline_clear(&s->deadline);
	converse_free(s);
	associate_close(s->association);
	s->association = NULL;
	forward_free(s);
	multicast_close(s->multicast);
	s->multicast = NULL;
	relay_close(&s->relay, sockets_gone);
}

/* Reads and forgets what a refused client still sends. */
static void discard(struct session *s)
{
	ssize_t n;

	do {
		n = recv(session_client(s)->fd, s->worker->relay.buffer, LINGER_MAX, 0);
		if (n > 0)
			s->discarded += (uint32_t)n;
	} while (n > 0 && s->discarded <= LINGER_MAX);
	if (n < 0 && errno == EAGAIN)
		watch_is_drained(&session_client(s)->watch);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	close_session(s);
}

/* A refusal was sent, now or before: let it arrive. What comes now is of no interest to a layer
 * either. */
static void linger(struct session *s)
{
	struct relay_end *client = session_client(s);

	s->state = SESSION_LINGER;
	converse_free(s);
	if (layer_end(client->layer, client->fd) != 0)
		shutdown(client->fd, SHUT_WR);
	deadline_set(&s->deadline, &s->worker->linger);
	watch_set(&client->watch, WATCH_READ);
	discard(s);
}

static void refuse(struct session *s, int reason)
{
	uint8_t buf[ACCEPT_OUTPUT_MAX];
	struct wire_writer out = wire_writer_of(buf, sizeof(buf));

	if (s->hs->accept.state != ACCEPT_AT_END)
		accept_reply(&s->hs->accept, reason, NULL, &out);
	/* Whom nothing was ever said has nothing to lose. */
	if (converse_answer(s, &out) == 0 && s->hs->answered)
		linger(s);
	else
		close_session(s);
}

void session_end(struct session *s, int reason)
{
	bool in_handshake = s->hs != NULL, in_order;

	if (s->state == SESSION_LINGER || s->state == SESSION_CLOSED)
		return;
	if (in_handshake)
		session_note(s);
	in_order = forward_end(s, reason);
	session_log(s, reason);
	if (in_handshake && !session_client_is_gone(reason)) {
		refuse(s, reason);
		return;
	}
	if (!in_handshake && in_order && !session_client_is_gone(reason)) {
		linger(s);
		return;
	}
	/* What was cut short must not look complete. */
	if (!in_handshake && !s->association && !s->multicast && reason != ERR_OK)
		for (int side = 0; side < 2; side++)
			socket_set_reset_on_close(s->relay.end[side].fd);
	close_session(s);
}

void session_end_all(struct worker *worker, int reason)
{
	struct session *s = worker->sessions;

	/* Memory goes later, from the loop: the ring does not change under us. */
	for (unsigned n = worker->n_sessions; n > 0; n--, s = s->next) {
		session_end(s, reason);
		if (s->state == SESSION_LINGER)
			close_session(s);
	}
}

void session_end_resting(struct worker *worker, int reason)
{
	struct session *s = worker->sessions;

	for (unsigned n = worker->n_sessions; n > 0; n--, s = s->next) {
		if (s->state != SESSION_FORWARD || !forward_is_at_rest(s))
			continue;
		session_end(s, reason);
		if (s->state == SESSION_LINGER)
			close_session(s);
	}
}

/* ---- the relay ---- */

static void relay_over(struct relay *relay, int err)
{
	session_end((struct session *)relay, err);
}

static void relay_half(struct relay *relay)
{
	struct session *s = (struct session *)relay;

	deadline_set(&s->deadline, &s->worker->halfclose);
}

/* The client was told, the destination is there: what follows is theirs. */
static void begin_relay(struct session *s)
{
	struct handshake *hs = s->hs;
	int err;

	s->state = SESSION_RELAY;
	forward_free(s);
	s->relay.half_closed = relay_half;
	deadline_set(&s->deadline, &s->worker->idle);
	err = relay_start(&s->relay, hs->in + hs->in_at, hs->in_len - hs->in_at);
	converse_free(s);
	if (err)
		session_end(s, err);
}

/* Stands in until the relay puts its own there; the watch waits for nothing before. */
static void on_target_too_early(struct watch *watch, unsigned events)
{
	(void)watch;
	(void)events;
}

/* `told`: the address of the success reply. */
static void join(struct session *s, int fd, const struct addr *told)
{
	struct relay_end *target = &s->relay.end[RELAY_TARGET];
	uint8_t buf[ACCEPT_OUTPUT_MAX];
	struct wire_writer out = wire_writer_of(buf, sizeof(buf));
	int err = 0;

	/* Of a request forwarded before it is still there. */
	if (target->watch.fn)
		watch_move(&target->watch, fd);
	else
		err = watch_init(&target->watch, &s->worker->loop, fd, on_target_too_early);
	if (err) {
		close(fd);
		session_end(s, err);
		return;
	}
	/* Plain HTTP does not tell what it leaves unread. */
	if (s->hs->accept.forward)
		watch_set_edge(&session_client(s)->watch, false);
	else if (!watch_take(&target->watch))
		watch_set_edge(&target->watch, true);
	target->fd = fd;
	session_note(s);
	if (s->hs->accept.forward) {
		forward_begin(s);
		return;
	}
	accept_reply(&s->hs->accept, ERR_OK, told, &out);
	err = converse_answer(s, &out);
	if (err)
		session_end(s, err);
	else
		begin_relay(s);
}

void session_connected(struct session *s, int fd, const struct addr *local)
{
	join(s, fd, local);
}

void session_connected_via(struct session *s, int fd, struct layer *layer, const struct addr *told)
{
	static const struct addr none = {.kind = ADDR_NONE};

	s->relay.end[RELAY_TARGET].layer = layer;
	/* A name is nothing that a client could use there. */
	join(s, fd, told->kind == ADDR_IP ? told : &none);
}

void session_accepted(struct session *s, int fd, const struct addr *peer)
{
	join(s, fd, peer);
}

void session_listening(struct session *s, const struct addr *told)
{
	uint8_t buf[ACCEPT_OUTPUT_MAX];
	struct wire_writer out = wire_writer_of(buf, sizeof(buf));

	s->state = SESSION_BIND;
	deadline_set(&s->deadline, &s->worker->bind);
	accept_reply(&s->hs->accept, ERR_OK, told, &out);
	if (converse_answer(s, &out) != 0)
		session_end(s, ERR_CLIENT_RESET);
	else
		session_wait(s, WATCH_READ);
}

/* The answer is all that such a connection is for (protocol.md section 8.1). */
void session_resolved(struct session *s, const struct addr *found)
{
	uint8_t buf[ACCEPT_OUTPUT_MAX];
	struct wire_writer out = wire_writer_of(buf, sizeof(buf));

	s->hs->found = *found;
	accept_reply(&s->hs->accept, ERR_OK, found, &out);
	session_end(s, converse_answer(s, &out));
}

/* ---- a UDP association ---- */

/* RFC 1928: the association ends when its connection does. Nothing else on it means anything. */
static void on_control(struct session *s)
{
	struct relay_end *client = session_client(s);
	ssize_t n;

	do {
		n = layer_recv(client->layer, client->fd, s->worker->relay.buffer, LINGER_MAX);
	} while (n > 0 && layer_pending(client->layer));
	if (n == 0)
		session_end(s, ERR_OK);
	else if (n < 0 && n != -EAGAIN)
		session_end(s, session_client_error((int)n));
	else
		session_wait(s, WATCH_READ);
}

void session_associated(
    struct session *s, struct association *association, const struct addr *bound)
{
	uint8_t buf[ACCEPT_OUTPUT_MAX];
	struct wire_writer out = wire_writer_of(buf, sizeof(buf));
	int err;

	s->association = association;
	accept_reply(&s->hs->accept, ERR_OK, bound, &out);
	err = converse_answer(s, &out);
	if (err) {
		session_end(s, err);
		return;
	}
	s->state = SESSION_ASSOCIATE;
	deadline_set(&s->deadline, &s->worker->udp);
	converse_free(s);
	if (layer_pending(session_client(s)->layer))
		on_control(s);
	else
		session_wait(s, WATCH_READ);
}

/* What came behind the request are its first messages. */
void session_multicast(struct session *s, struct multicast *multicast)
{
	uint8_t buf[ACCEPT_OUTPUT_MAX];
	struct wire_writer out = wire_writer_of(buf, sizeof(buf));
	struct handshake *hs = s->hs;
	int err;

	s->multicast = multicast;
	accept_reply(&hs->accept, ERR_OK, NULL, &out);
	err = converse_answer(s, &out);
	if (!err && !multicast_give(multicast, hs->in + hs->in_at, hs->in_len - hs->in_at))
		err = -ENOMEM;
	if (err) {
		session_end(s, err);
		return;
	}
	s->state = SESSION_MULTICAST;
	deadline_set(&s->deadline, &s->worker->udp);
	converse_free(s);
	multicast_work(multicast);
}

/* Returns whether the session goes on. */
static bool flush_client(struct session *s)
{
	struct relay_end *client = session_client(s);
	int err = layer_flush(client->layer);

	if (!err)
		watch_set(&client->watch, client->watch.events & ~(unsigned)WATCH_WRITE);
	else if (err != -EAGAIN)
		session_end(s, session_client_error(err));
	return !err || err == -EAGAIN;
}

static void on_client(struct watch *watch, unsigned events)
{
	struct session *s = session_of_client_watch(watch);

	if (events & WATCH_WRITE && !flush_client(s))
		return;
	switch (s->state) {
	case SESSION_PREFACE:
		preface_read(s);
		break;
	case SESSION_HANDSHAKE:
		converse_read(s);
		break;
	case SESSION_AUTH:
	case SESSION_RESOLVE:
	case SESSION_DIAL:
		if (events & WATCH_ERROR)
			session_end(s, ERR_CLIENT_RESET);
		break;
	case SESSION_BIND:
		if (events & WATCH_READ)
			converse_early(s);
		else if (events & WATCH_ERROR)
			session_end(s, ERR_CLIENT_RESET);
		break;
	case SESSION_ASSOCIATE:
		on_control(s);
		break;
	case SESSION_MULTICAST:
		multicast_work(s->multicast);
		break;
	case SESSION_FORWARD:
		forward_on_client(s, events);
		break;
	case SESSION_LINGER:
		discard(s);
		break;
	case SESSION_RELAY: /* the relay's own callback is in place */
	case SESSION_CLOSED:
		break;
	}
}

/* ---- time ---- */

static void on_deadline(struct deadline_class *cls, struct deadline *deadline)
{
	struct session *s =
	    (struct session *)((char *)deadline - offsetof(struct session, deadline));

	switch (s->state) {
	case SESSION_PREFACE:
	case SESSION_HANDSHAKE:
	case SESSION_AUTH:
		session_end(s, ERR_HANDSHAKE_TIMEOUT);
		break;
	case SESSION_RESOLVE:
	case SESSION_DIAL:
	case SESSION_BIND:
		session_end(s, ERR_CONNECT_TIMEOUT);
		break;
	case SESSION_RELAY:
	case SESSION_ASSOCIATE:
	case SESSION_FORWARD:
	case SESSION_MULTICAST:
		/* Bytes cost a flag, not a timer: whether any moved is looked at once a period. */
		if (s->relay.moved && cls != &s->worker->keepalive)
			deadline_set(deadline, cls);
		else
			session_end(s, ERR_IDLE);
		s->relay.moved = false;
		break;
	case SESSION_LINGER:
		close_session(s);
		break;
	case SESSION_CLOSED:
		break;
	}
}

void session_slab_init(struct worker *w)
{
	slab_init(&w->slab, sizeof(struct session), offsetof(struct session, slab_index));
}

void session_deadlines_init(struct worker *w)
{
	deadline_class_init(&w->handshake, &w->loop, 0, on_deadline);
	deadline_class_init(&w->connect, &w->loop, 0, on_deadline);
	deadline_class_init(&w->bind, &w->loop, 0, on_deadline);
	deadline_class_init(&w->idle, &w->loop, 0, on_deadline);
	deadline_class_init(&w->halfclose, &w->loop, 0, on_deadline);
	deadline_class_init(&w->keepalive, &w->loop, 0, on_deadline);
	deadline_class_init(&w->udp, &w->loop, 0, on_deadline);
	deadline_class_init(&w->linger, &w->loop, LINGER_MS, on_deadline);
}

void session_deadlines_change(struct worker *w)
{
	const unsigned *ms = w->config->policy->set.timeout_ms;

	deadline_class_change(&w->handshake, ms[TIMEOUT_HANDSHAKE]);
	deadline_class_change(&w->connect, ms[TIMEOUT_CONNECT]);
	deadline_class_change(&w->bind, ms[TIMEOUT_BIND]);
	deadline_class_change(&w->idle, ms[TIMEOUT_IDLE]);
	deadline_class_change(&w->halfclose, ms[TIMEOUT_HALFCLOSE]);
	deadline_class_change(&w->keepalive, ms[TIMEOUT_KEEPALIVE]);
	deadline_class_change(&w->udp, ms[TIMEOUT_UDP]);
}

void session_deadlines_close(struct worker *w)
{
	deadline_class_close(&w->handshake);
	deadline_class_close(&w->connect);
	deadline_class_close(&w->bind);
	deadline_class_close(&w->idle);
	deadline_class_close(&w->halfclose);
	deadline_class_close(&w->keepalive);
	deadline_class_close(&w->udp);
	deadline_class_close(&w->linger);
}

/* ---- the beginning ---- */

static const struct ip loopback_v4 = {{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 127, 0, 0, 1}};

static struct session *make(
    struct worker *worker, const struct policy_listener *listener, const struct addr *peer)
{
	struct handshake *hs = calloc(1, sizeof(*hs));
	struct session *s = hs ? slab_alloc(&worker->slab) : NULL;

	if (!s) {
		free(hs);
		return NULL;
	}
	relay_init(&s->relay, &worker->relay, relay_over);
	s->hs = hs;
	hs->session = s;
	s->worker = worker;
	s->config = config_ref(worker->config);
	s->listener = listener;
	s->client = peer->kind == ADDR_IP ? peer->ip : loopback_v4;
	s->client_port = peer->port;
	s->began = loop_now(&worker->loop);
	s->state = SESSION_PREFACE;
	accept_init(&hs->accept, 0);
	return s;
}

bool session_secure(struct session *s, const void *early, size_t n)
{
	struct relay_end *client = session_client(s);
	const struct tls_start start = {
	    .fd = client->fd, .below = client->layer, .early = early, .early_len = n};
	struct layer *layer =
	    tls_accept(s->config->certs.list[s->listener - s->config->policy->listeners], &start);

	if (!layer)
		return false;
	client->layer = layer;
	/* What it leaves in the socket it does not tell. */
	watch_set_edge(&client->watch, false);
	return true;
}

void session_greet(struct session *s)
{
	accept_init(
	    &s->hs->accept, offer_methods(s->config->policy, &s->client, s->listener->text));
	login_offer(s);
	if (s->config->policy->forwards_credentials)
		accept_keep_password(&s->hs->accept);
	if (s->listener->extended_replies)
		accept_offer_extended(&s->hs->accept);
	if (s->listener->tls_upgrade)
		accept_offer_tls(&s->hs->accept);
	s->state = SESSION_HANDSHAKE;
	if (s->listener->tls_certificate && !s->listener->tls_upgrade &&
	    !session_secure(s, NULL, 0)) {
		session_end(s, -ENOMEM);
		return;
	}
	/* SOCKS clients speak first, and often have by now. */
	converse_read(s);
}

void session_begin(
    struct worker *worker, const struct policy_listener *listener, int fd, const struct addr *peer)
{
	struct session *s = make(worker, listener, peer);

	if (!s) {
		close(fd);
		return;
	}
	ring_add(s);
	if (watch_init(&session_client(s)->watch, &worker->loop, fd, on_client) != 0) {
		close(fd);
		converse_free(s);
		forget(s);
		return;
	}
	session_client(s)->fd = fd;
	/* What reading a Unix socket gives may end where descriptors were sent along. */
	watch_set_edge(&session_client(s)->watch, !listener->unix_path);
	deadline_set(&s->deadline, &worker->handshake);
	if (!listener->proxy_protocol)
		session_greet(s);
	else if (preface_admits(s))
		preface_read(s);
	else
		session_end(s, ERR_SENDER);
}
