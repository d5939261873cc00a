/* SPDX-License-Identifier: MIT */
#include "server/converse.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "net/layer.h"
#include "net/tls.h"
#include "policy/offer.h"
#include "proto/err.h"
#include "server/auth/auth.h"
#include "server/auth/ident.h"
#include "server/forward.h"
#include "server/login.h"
#include "server/request.h"
#include "server/session.h"
#include "server/sessionlog.h"
#include "server/worker.h"

/* The first piece of a handshake's input buffer: more than any SOCKS message has. */
#define INPUT_FIRST 1024

void converse_free(struct session *s)
{
	if (!s->hs)
		return;
	request_cancel(s);
	auth_check_cancel(s->hs->check);
	ident_cancel(s->hs->ident);
	login_free(s);
	accept_fini(&s->hs->accept);
	/* It may hold a password. */
	if (s->hs->in)
		explicit_bzero(s->hs->in, s->hs->in_cap);
	free(s->hs->in);
	free(s->hs);
	s->hs = NULL;
}

int converse_answer(struct session *s, const struct wire_writer *out)
{
	ssize_t n;

	if (out->len == 0)
		return 0;
	s->hs->answered = true;
	n = layer_send(session_client(s)->layer, session_client(s)->fd, out->data, out->len);
	return n == (ssize_t)out->len ? 0 : ERR_CLIENT_RESET;
}

static void converse(struct session *s);

static void on_auth(void *ctx, int err)
{
	struct session *s = ctx;
	uint8_t buf[ACCEPT_OUTPUT_MAX];
	struct wire_writer out = wire_writer_of(buf, sizeof(buf));

	s->hs->check = NULL;
	s->state = SESSION_HANDSHAKE;
	/* No word of a failure of the client's, for which it may be banned. */
	if (err && err != ERR_AUTH) {
		session_end(s, err);
		return;
	}
	if (err) {
		session_note(s);
		session_log_auth_failure(s, NULL);
	}
	accept_auth_result(&s->hs->accept, err == 0, &out);
	if (converse_answer(s, &out) != 0)
		session_end(s, ERR_CLIENT_RESET);
	else
		converse(s);
}

static void begin_auth(struct session *s)
{
	struct handshake *hs = s->hs;
	const struct auth_client client = {.ip = s->client, .listener = s->listener->text};
	int err;

	s->state = SESSION_AUTH;
	session_wait(s, WATCH_ERROR);
	/* The machine has the password now; the handshake may last. */
	explicit_bzero(hs->in, hs->in_at);
	err = auth_check_start(
	    s->worker->auth, s->config, &client, &hs->accept, on_auth, s, &hs->check);
	if (err)
		session_end(s, err);
}

static void on_ident(void *ctx, int err)
{
	struct session *s = ctx;
	const struct accept *a = &s->hs->accept;
	uint8_t buf[ACCEPT_OUTPUT_MAX];
	struct wire_writer out = wire_writer_of(buf, sizeof(buf));

	s->hs->ident = NULL;
	s->state = SESSION_HANDSHAKE;
	if (err == 0 && !offer_proves(s->config->policy, AUTH_IDENT, &s->client, s->listener->text,
			    a->claim, a->claim_len))
		err = ERR_IDENT_MISMATCH;
	accept_ident_result(&s->hs->accept, err, &out);
	if (converse_answer(s, &out) != 0)
		session_end(s, ERR_CLIENT_RESET);
	else
		converse(s);
}

static void begin_ident(struct session *s)
{
	struct handshake *hs = s->hs;
	const struct accept *a = &hs->accept;
	const struct addr client = addr_from_ip(&s->client, s->client_port);
	int err;

	s->state = SESSION_AUTH;
	session_wait(s, WATCH_ERROR);
	err = ident_start(&s->worker->loop, session_client(s)->fd, &client, a->claim, a->claim_len,
	    on_ident, s, &hs->ident);
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
	if (converse_answer(s, &out) != 0) {
		*ret_err = ERR_CLIENT_RESET;
		return ACCEPT_END;
	}
	return event;
}

/* The client has agreed to go on in TLS, and may have begun. */
static bool secure(struct session *s)
{
	struct handshake *hs = s->hs;
	bool ok = session_secure(s, hs->in + hs->in_at, hs->in_len - hs->in_at);

	hs->in_at = hs->in_len = 0;
	return ok;
}

/* Returns whether the session goes on, protected. */
static bool finish_login(struct session *s)
{
	int err = login_level(s);

	if (err)
		session_end(s, err);
	return !err;
}

/* Does what the machine says; `err` is of ACCEPT_END. Returns whether it waits for bytes of the
 * client. */
static bool act(struct session *s, enum accept_event event, int err)
{
	switch (event) {
	case ACCEPT_MORE:
		if (!s->hs->eof)
			return true;
		session_end(s, ERR_CLIENT_GONE);
		break;
	case ACCEPT_AUTH:
		begin_auth(s);
		break;
	case ACCEPT_IDENT:
		begin_ident(s);
		break;
	case ACCEPT_GSS_CONTEXT:
		login_context(s);
		break;
	case ACCEPT_GSS_LEVEL:
		return finish_login(s);
	case ACCEPT_TLS:
		if (secure(s))
			return true;
		session_end(s, -ENOMEM);
		break;
	case ACCEPT_REQUEST:
		session_wait(s, WATCH_ERROR);
		session_note(s);
		if (s->hs->accept.for_us)
			forward_answer(s);
		else
			request_begin(s);
		break;
	case ACCEPT_END:
		session_end(s, err);
		break;
	}
	return false;
}

/* Lets the machine work on what is there. Returns whether it waits for more. */
static bool step(struct session *s)
{
	enum accept_event event;
	bool waits;
	int err;

	do {
		event = ask_machine(s, &err);
		waits = act(s, event, err);
		/* Behind the login what was read ahead of the layer is there for the machine. */
	} while (waits && event == ACCEPT_GSS_LEVEL && s->hs->in_at < s->hs->in_len);
	return waits;
}

/* Makes room behind the bytes not yet understood. Returns 0, ERR_TOO_LONG or -ENOMEM. */
static int make_room(struct handshake *hs)
{
	uint32_t left = hs->in_len - hs->in_at, max = (uint32_t)accept_input_max(&hs->accept);
	uint32_t cap = hs->in_cap ? hs->in_cap * 4 : INPUT_FIRST;
	uint8_t *in;

	if (hs->in_at > 0) {
		memmove(hs->in, hs->in + hs->in_at, left);
		hs->in_at = 0;
		hs->in_len = left;
	}
	if (hs->in_len < hs->in_cap)
		return 0;
	if (hs->in_cap >= max)
		return ERR_TOO_LONG;
	cap = cap < max ? cap : max;
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

/* The first bytes are here, so the client's certificate was found good. */
static bool identify(struct session *s)
{
	const char *user = tls_user(session_client(s)->layer);

	if (user)
		accept_prove(&s->hs->accept, AUTH_CERT, user, strlen(user));
	return user;
}

/* Of a read of `size` bytes that gave `n`. */
static void tell_left(struct relay_end *end, ssize_t n, size_t size)
{
	if (end->layer)
		return;
	if (n == -EAGAIN)
		watch_is_drained(&end->watch);
	else if (n > 0 && (size_t)n < size)
		(void)watch_is_short(&end->watch);
}

/* Returns whether there is something new for the machine: bytes, or their end. */
static bool read_client(struct session *s)
{
	struct relay_end *client = session_client(s);
	struct handshake *hs = s->hs;
	int err = make_room(hs);
	ssize_t n;

	if (err) {
		session_end(s, err);
		return false;
	}
	n = layer_recv(client->layer, client->fd, hs->in + hs->in_len, hs->in_cap - hs->in_len);
	tell_left(client, n, hs->in_cap - hs->in_len);
	if (n == -EAGAIN) {
		session_wait(s, WATCH_READ);
		return false;
	}
	if (n < 0) {
		/* The layer may have told the client why: let that arrive. */
		hs->answered |= client->layer != NULL;
		session_end(s, session_client_error((int)n));
		return false;
	}
	if (n > 0 && s->listener->client_ca && !hs->accept.proved && !identify(s)) {
		session_end(s, ERR_TLS_CERT);
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

void converse_go_on(struct session *s)
{
	converse(s);
}

void converse_early(struct session *s)
{
	struct handshake *hs = s->hs;

	do {
		if (!read_client(s))
			return;
	} while (!hs->eof && hs->in_len - hs->in_at < ACCEPT_INPUT_MAX &&
		 layer_pending(session_client(s)->layer));
	if (hs->eof)
		session_end(s, ERR_CLIENT_GONE);
	else if (hs->in_len - hs->in_at >= ACCEPT_INPUT_MAX)
		session_wait(s, WATCH_ERROR);
}

void converse_read(struct session *s)
{
	if (read_client(s))
		converse(s);
}

int converse_again(struct session *s, const uint8_t *bytes, size_t n, bool eof)
{
	struct handshake *hs = calloc(1, sizeof(*hs));
	uint8_t *in = malloc(n > INPUT_FIRST ? n : INPUT_FIRST);

	if (!hs || !in) {
		free(hs);
		free(in);
		return -ENOMEM;
	}
	if (n > 0)
		memcpy(in, bytes, n);
	hs->session = s;
	hs->in = in;
	hs->in_len = (uint32_t)n;
	hs->in_cap = n > INPUT_FIRST ? (uint32_t)n : INPUT_FIRST;
	hs->eof = eof;
	accept_init_http(
	    &hs->accept, offer_methods(s->config->policy, &s->client, s->listener->text));
	if (s->config->policy->forwards_credentials)
		accept_keep_password(&hs->accept);
	s->hs = hs;
	return !s->listener->client_ca || identify(s) ? 0 : ERR_TLS_CERT;
}
