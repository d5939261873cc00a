/* SPDX-License-Identifier: MIT */
#include "server/session.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "net/log.h"
#include "net/sockaddr.h"
#include "proto/err.h"
#include "server/associate.h"
#include "server/auth/auth.h"
#include "server/request.h"
#include "server/worker.h"

/* The first piece of a handshake's input buffer: more than any SOCKS message has. */
#define INPUT_FIRST 1024
/* What a refused client may still send before it is cut off. */
#define LINGER_MAX 65536
#define LINGER_MS 5000

static void converse(struct session *s);

static int client_fd(const struct session *s)
{
	return s->relay.end[RELAY_CLIENT].fd;
}

static struct watch *client_watch(struct session *s)
{
	return &s->relay.end[RELAY_CLIENT].watch;
}

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
	w->n_sessions++;
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
	w->n_sessions--;
}

/* ---- the end ---- */

static void free_handshake(struct session *s)
{
	if (!s->hs)
		return;
	request_cancel(s);
	auth_check_cancel(s->hs->check);
	accept_fini(&s->hs->accept);
	/* It may hold a password. */
	if (s->hs->in)
		explicit_bzero(s->hs->in, s->hs->in_cap);
	free(s->hs->in);
	free(s->hs);
	s->hs = NULL;
}

static void forget(struct session *s)
{
	struct worker *worker = s->worker;

	ring_remove(s);
	config_unref(s->config);
	free(s->labels);
	free(s->ends);
	free(s);
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
	free_handshake(s);
	associate_close(s->association);
	s->association = NULL;
	relay_close(&s->relay, sockets_gone);
}

static void log_endpoint(
    struct log_record *rec, const char *name, const struct ip *ip, uint16_t port)
{
	const struct addr a = addr_from_ip(ip, port);
	char text[ADDR_TEXT_MAX];

	log_text(rec, name, addr_format(&a, text));
}

static void log_destination(struct log_record *rec, const struct session *s)
{
	char text[ADDR_TEXT_MAX];
	int n;

	if (s->name_len > 0) {
		n = snprintf(text, sizeof(text), "%.*s:%u", (int)s->name_len,
		    s->labels + s->user_len + s->claim_len, s->port);
		log_bytes(rec, "to", text, (size_t)n);
	}
	if (s->has_address)
		log_endpoint(rec, s->name_len > 0 ? "address" : "to", &s->address, s->port);
}

static void log_ends(struct log_record *rec, const struct session *s)
{
	char text[ADDR_TEXT_MAX];

	if (!s->ends || s->ends->bound.kind == ADDR_NONE)
		return;
	log_text(rec, "bound", addr_format(&s->ends->bound, text));
	if (s->ends->peer.kind != ADDR_NONE)
		log_text(rec, "peer", addr_format(&s->ends->peer, text));
	if (s->ends->strays > 0)
		log_number(rec, "strays", s->ends->strays);
}

static void log_verdict(struct log_record *rec, const struct session *s)
{
	if (s->decided)
		request_log_verdict(rec, s->allowed, s->rule);
}

static void log_client(struct log_record *rec, const struct session *s)
{
	if (s->listener->unix_path)
		log_text(rec, "from", "unix");
	else
		log_endpoint(rec, "from", &s->client, s->client_port);
	log_text(rec, "listener", s->listener->text);
	if (s->proto != PROTO_NONE)
		log_text(rec, "protocol", proto_name(s->proto));
}

static bool client_is_gone(int reason)
{
	return reason == ERR_CLIENT_GONE || reason == ERR_CLIENT_RESET;
}

/* The one line of a session. A client that left without a word is no news: a port scan, a health
 * check. */
static void log_session(const struct session *s, int reason)
{
	bool silent = client_is_gone(reason) && s->proto == PROTO_NONE;
	struct log_record rec;

	if (!log_enabled(silent ? LOG_AT_DEBUG : LOG_AT_INFO))
		return;
	log_begin(&rec, silent ? LOG_AT_DEBUG : LOG_AT_INFO, "session");
	log_client(&rec, s);
	if (s->command != COMMAND_NONE)
		log_text(&rec, "command", command_name(s->command));
	if (s->decided)
		log_text(&rec, "method", auth_method_name(s->method));
	if (s->user_len > 0)
		log_bytes(&rec, "user", s->labels, s->user_len);
	if (s->claim_len > 0)
		log_bytes(&rec, "userid", s->labels + s->user_len, s->claim_len);
	log_destination(&rec, s);
	log_ends(&rec, s);
	log_verdict(&rec, s);
	log_number(&rec, "up", s->relay.end[RELAY_TARGET].sent);
	log_number(&rec, "down", s->relay.end[RELAY_CLIENT].sent);
	if (s->association)
		associate_log(s->association, &rec);
	log_seconds(&rec, "seconds", loop_now(&s->worker->loop) - s->began);
	log_text(&rec, "reason", err_word(reason));
	log_end(&rec);
}

/*
 * Sends what the machine wrote. A handshake's answers are a few hundred bytes in all and the
 * socket's buffer was empty: a client for whom they do not fit has arranged for that, and is left.
 */
static int send_answer(struct session *s, const struct wire_writer *out)
{
	ssize_t n;

	if (out->len == 0)
		return 0;
	s->hs->answered = true;
	n = send(client_fd(s), out->data, out->len, MSG_NOSIGNAL);
	return n == (ssize_t)out->len ? 0 : ERR_CLIENT_RESET;
}

/* Reads and forgets what a refused client still sends. */
static void discard(struct session *s)
{
	ssize_t n;

	do {
		n = recv(client_fd(s), s->worker->relay.buffer, LINGER_MAX, 0);
		if (n > 0)
			s->discarded += (uint32_t)n;
	} while (n > 0 && s->discarded <= LINGER_MAX);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	close_session(s);
}

/* A refusal was sent, now or before: let it arrive. */
static void linger(struct session *s)
{
	s->state = SESSION_LINGER;
	free_handshake(s);
	shutdown(client_fd(s), SHUT_WR);
	deadline_set(&s->deadline, &s->worker->linger);
	watch_set(client_watch(s), WATCH_READ);
	discard(s);
}

/* Takes from the handshake what the log tells of it. */
static void note_request(struct session *s)
{
	const struct accept *a = &s->hs->accept;
	/* A UDP association has no destination: what was asked with is the client's own address. */
	static const struct addr none = {.kind = ADDR_NONE};
	const struct addr *to = a->command == COMMAND_UDP ? &none : &a->target;
	size_t name_len = to->kind == ADDR_NAME ? to->name_len : 0;
	bool asked = a->command != COMMAND_NONE;

	s->proto = a->proto;
	if (!asked && a->user_len == 0)
		return;
	free(s->labels);
	s->labels = malloc((size_t)a->user_len + a->claim_len + name_len + 1);
	if (!s->labels)
		return;
	memcpy(s->labels, a->user, a->user_len);
	memcpy(s->labels + a->user_len, a->claim, a->claim_len);
	memcpy(s->labels + a->user_len + a->claim_len, to->name, name_len);
	s->labels[a->user_len + a->claim_len + name_len] = '\0';
	s->user_len = a->user_len;
	s->claim_len = a->claim_len;
	s->name_len = (uint8_t)name_len;
	s->command = a->command;
	s->method = a->method;
	s->port = to->port;
	if (to->kind == ADDR_IP) {
		s->address = to->ip;
		s->has_address = true;
	}
}

static void refuse(struct session *s, int reason)
{
	uint8_t buf[ACCEPT_OUTPUT_MAX];
	struct wire_writer out = wire_writer_of(buf, sizeof(buf));

	if (s->hs->accept.state != ACCEPT_AT_END)
		accept_reply(&s->hs->accept, reason, NULL, &out);
	/* Whom nothing was ever said has nothing to lose. */
	if (send_answer(s, &out) == 0 && s->hs->answered)
		linger(s);
	else
		close_session(s);
}

void session_end(struct session *s, int reason)
{
	bool in_handshake = s->hs != NULL;

	if (s->state == SESSION_LINGER || s->state == SESSION_CLOSED)
		return;
	if (in_handshake)
		note_request(s);
	log_session(s, reason);
	if (in_handshake && !client_is_gone(reason)) {
		refuse(s, reason);
		return;
	}
	/* What was cut short must not look complete. */
	if (!in_handshake && !s->association && reason != ERR_OK)
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
	s->relay.half_closed = relay_half;
	deadline_set(&s->deadline, &s->worker->idle);
	err = relay_start(&s->relay, hs->in + hs->in_at, hs->in_len - hs->in_at);
	free_handshake(s);
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
	int err = watch_init(&target->watch, &s->worker->loop, fd, on_target_too_early);

	if (err) {
		close(fd);
		session_end(s, err);
		return;
	}
	target->fd = fd;
	note_request(s);
	accept_reply(&s->hs->accept, ERR_OK, told, &out);
	err = send_answer(s, &out);
	if (err)
		session_end(s, err);
	else
		begin_relay(s);
}

void session_connected(struct session *s, int fd)
{
	struct addr bound = socket_local_addr(fd);

	join(s, fd, &bound);
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
	if (send_answer(s, &out) != 0)
		session_end(s, ERR_CLIENT_RESET);
	else
		watch_set(client_watch(s), WATCH_READ);
}

/* ---- a UDP association ---- */

void session_associated(
    struct session *s, struct association *association, const struct addr *bound)
{
	uint8_t buf[ACCEPT_OUTPUT_MAX];
	struct wire_writer out = wire_writer_of(buf, sizeof(buf));
	int err;

	s->association = association;
	accept_reply(&s->hs->accept, ERR_OK, bound, &out);
	err = send_answer(s, &out);
	if (err) {
		session_end(s, err);
		return;
	}
	s->state = SESSION_ASSOCIATE;
	deadline_set(&s->deadline, &s->worker->udp);
	free_handshake(s);
	watch_set(client_watch(s), WATCH_READ);
}

/* RFC 1928: the association ends when its connection does. Nothing else on it means anything. */
static void on_control(struct session *s)
{
	ssize_t n = recv(client_fd(s), s->worker->relay.buffer, LINGER_MAX, 0);

	if (n == 0)
		session_end(s, ERR_OK);
	else if (n < 0 && errno != EAGAIN && errno != EINTR)
		session_end(s, ERR_CLIENT_RESET);
	else
		watch_set(client_watch(s), WATCH_READ);
}

/* ---- the handshake ---- */

/* Every failure has its line, for HTTP lets a client try again and a session's own line comes late.
 */
static void log_auth_failure(const struct session *s)
{
	struct log_record rec;

	log_begin(&rec, LOG_AT_WARN, "auth-failed");
	log_client(&rec, s);
	log_bytes(&rec, "user", s->labels, s->user_len);
	log_end(&rec);
}

static void on_auth(void *ctx, bool ok)
{
	struct session *s = ctx;
	uint8_t buf[ACCEPT_OUTPUT_MAX];
	struct wire_writer out = wire_writer_of(buf, sizeof(buf));

	s->hs->check = NULL;
	s->state = SESSION_HANDSHAKE;
	if (!ok) {
		note_request(s);
		log_auth_failure(s);
	}
	accept_auth_result(&s->hs->accept, ok, &out);
	if (send_answer(s, &out) != 0)
		session_end(s, ERR_CLIENT_RESET);
	else
		converse(s);
}

static void begin_auth(struct session *s)
{
	struct handshake *hs = s->hs;
	int err;

	s->state = SESSION_AUTH;
	watch_set(client_watch(s), WATCH_ERROR);
	err = auth_check_start(
	    s->worker->auth, s->config, &s->client, &hs->accept, on_auth, s, &hs->check);
	if (err)
		session_end(s, err);
}

/* Gives the machine what is there; sends what it says. Returns its event, or ACCEPT_END with
 * `*ret_err` where the client cannot be told. */
static enum accept_event ask_machine(struct session *s, int *ret_err)
{
	struct handshake *hs = s->hs;
	uint8_t buf[ACCEPT_OUTPUT_MAX];
	struct wire_writer out = wire_writer_of(buf, sizeof(buf));
	struct wire_reader in = wire_reader_of(hs->in + hs->in_at, hs->in_len - hs->in_at);
	enum accept_event event = accept_step(&hs->accept, &in, &out);

	hs->in_at += (uint32_t)in.pos;
	*ret_err = event == ACCEPT_END ? hs->accept.err : 0;
	if (send_answer(s, &out) != 0) {
		*ret_err = ERR_CLIENT_RESET;
		return ACCEPT_END;
	}
	return event;
}

/* Does what the machine says. Returns whether it waits for bytes of the client. */
static bool step(struct session *s)
{
	int err;

	switch (ask_machine(s, &err)) {
	case ACCEPT_MORE:
		if (!s->hs->eof)
			return true;
		session_end(s, ERR_CLIENT_GONE);
		break;
	case ACCEPT_AUTH:
		begin_auth(s);
		break;
	case ACCEPT_REQUEST:
		watch_set(client_watch(s), WATCH_ERROR);
		note_request(s);
		request_begin(s);
		break;
	case ACCEPT_END:
		session_end(s, err);
		break;
	}
	return false;
}

/* Makes room behind the bytes not yet understood. Returns 0, ERR_TOO_LONG or -ENOMEM. */
static int make_room(struct handshake *hs)
{
	uint32_t left = hs->in_len - hs->in_at;
	uint32_t cap = hs->in_cap ? hs->in_cap * 4 : INPUT_FIRST;
	uint8_t *in;

	if (hs->in_at > 0) {
		memmove(hs->in, hs->in + hs->in_at, left);
		hs->in_at = 0;
		hs->in_len = left;
	}
	if (hs->in_len < hs->in_cap)
		return 0;
	if (hs->in_cap >= ACCEPT_INPUT_MAX)
		return ERR_TOO_LONG;
	in = malloc(cap);
	if (!in)
		return -ENOMEM;
	/* Not realloc(): the old bytes may hold a password. */
	if (left > 0)
		memcpy(in, hs->in, left);
	if (hs->in)
		explicit_bzero(hs->in, hs->in_cap);
	free(hs->in);
	hs->in = in;
	hs->in_cap = cap;
	return 0;
}

/* Returns whether there is something new for the machine: bytes, or their end. */
static bool read_client(struct session *s)
{
	struct handshake *hs = s->hs;
	int err = make_room(hs);
	ssize_t n;

	if (err) {
		session_end(s, err);
		return false;
	}
	n = recv(client_fd(s), hs->in + hs->in_len, hs->in_cap - hs->in_len, 0);
	if (n < 0 && (errno == EAGAIN || errno == EINTR)) {
		watch_set(client_watch(s), WATCH_READ);
		return false;
	}
	if (n < 0) {
		session_end(s, ERR_CLIENT_RESET);
		return false;
	}
	hs->eof = n == 0;
	hs->in_len += (uint32_t)n;
	return true;
}

/* Lets the machine work and feeds it, until it waits for something else or nothing is there. */
static void converse(struct session *s)
{
	while (step(s))
		if (!read_client(s))
			return;
}

/* What a client sends before its peer has come is kept for him, up to a bound; behind that it waits
 * in the kernel, as does the end of the stream. */
static void read_early(struct session *s)
{
	struct handshake *hs = s->hs;

	if (!read_client(s))
		return;
	if (hs->eof)
		session_end(s, ERR_CLIENT_GONE);
	else if (hs->in_len - hs->in_at >= ACCEPT_INPUT_MAX)
		watch_set(client_watch(s), WATCH_ERROR);
}

static void on_client(struct watch *watch, unsigned events)
{
	struct session *s = session_of_client_watch(watch);

	switch (s->state) {
	case SESSION_HANDSHAKE:
		if (read_client(s))
			converse(s);
		break;
	case SESSION_AUTH:
	case SESSION_RESOLVE:
	case SESSION_DIAL:
		if (events & WATCH_ERROR)
			session_end(s, ERR_CLIENT_RESET);
		break;
	case SESSION_BIND:
		if (events & WATCH_READ)
			read_early(s);
		else if (events & WATCH_ERROR)
			session_end(s, ERR_CLIENT_RESET);
		break;
	case SESSION_ASSOCIATE:
		on_control(s);
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
		/* Bytes cost a flag, not a timer: whether any moved is looked at once a period. */
		if (s->relay.moved)
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

void session_deadlines_init(struct worker *w)
{
	deadline_class_init(&w->handshake, &w->loop, 0, on_deadline);
	deadline_class_init(&w->connect, &w->loop, 0, on_deadline);
	deadline_class_init(&w->bind, &w->loop, 0, on_deadline);
	deadline_class_init(&w->idle, &w->loop, 0, on_deadline);
	deadline_class_init(&w->halfclose, &w->loop, 0, on_deadline);
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
	deadline_class_change(&w->udp, ms[TIMEOUT_UDP]);
}

void session_deadlines_close(struct worker *w)
{
	deadline_class_close(&w->handshake);
	deadline_class_close(&w->connect);
	deadline_class_close(&w->bind);
	deadline_class_close(&w->idle);
	deadline_class_close(&w->halfclose);
	deadline_class_close(&w->udp);
	deadline_class_close(&w->linger);
}

/* ---- the beginning ---- */

static const struct ip loopback_v4 = {{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 127, 0, 0, 1}};

static struct session *make(
    struct worker *worker, const struct policy_listener *listener, const struct addr *peer)
{
	struct session *s = calloc(1, sizeof(*s));
	struct handshake *hs = calloc(1, sizeof(*hs));

	if (!s || !hs) {
		free(s);
		free(hs);
		return NULL;
	}
	relay_init(&s->relay, &worker->relay, relay_over);
	s->hs = hs;
	hs->session = s;
	accept_init(&hs->accept, worker->config->policy->methods);
	s->worker = worker;
	s->config = config_ref(worker->config);
	s->listener = listener;
	s->client = peer->kind == ADDR_IP ? peer->ip : loopback_v4;
	s->client_port = peer->port;
	s->began = loop_now(&worker->loop);
	s->state = SESSION_HANDSHAKE;
	return s;
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
	if (watch_init(client_watch(s), &worker->loop, fd, on_client) != 0) {
		close(fd);
		free_handshake(s);
		forget(s);
		return;
	}
	s->relay.end[RELAY_CLIENT].fd = fd;
	deadline_set(&s->deadline, &worker->handshake);
	/* SOCKS clients speak first, and often have by now. */
	if (read_client(s))
		converse(s);
}
