/* SPDX-License-Identifier: MIT */
#include "server/login.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "net/gss.h"
#include "policy/offer.h"
#include "proto/err.h"
#include "proto/gss.h"
#include "server/auth/auth.h"
#include "server/auth/gssapi.h"
#include "server/converse.h"
#include "server/session.h"
#include "server/sessionlog.h"
#include "server/worker.h"

/* A wrapped octet has 28 to 60 bytes. */
#define LEVEL_TOKEN_MAX 512

void login_offer(struct session *s)
{
	const struct policy_auth *auth =
	    offer_first(s->config->policy, AUTH_GSSAPI, &s->client, s->listener->text);

	if (auth)
		accept_offer_gss(&s->hs->accept, auth->levels, auth->nec);
}

/* The machine consumed it last. */
static const uint8_t *token_of(const struct handshake *hs)
{
	return hs->in + hs->in_at - hs->accept.token_len;
}

static int send_context(struct session *s, const struct accept_gss_answer *answer)
{
	size_t size = ACCEPT_OUTPUT_MAX + answer->len;
	uint8_t *buf = malloc(size);
	struct wire_writer out = wire_writer_of(buf, size);
	int err;

	if (!buf)
		return -ENOMEM;
	accept_gss_context(&s->hs->accept, answer, &out);
	err = converse_answer(s, &out);
	free(buf);
	return err;
}

static void on_token(void *ctx, int err)
{
	struct session *s = ctx;
	struct handshake *hs = s->hs;
	struct accept_gss_answer answer = {.outcome = ACCEPT_GSS_FAILED};

	hs->login = auth_check_take_login(hs->check);
	hs->check = NULL;
	s->state = SESSION_HANDSHAKE;
	/* No word of a failure of the client's, for which it may be banned. */
	if (err && err != ERR_AUTH) {
		session_end(s, err);
		return;
	}
	if (err)
		session_log_auth_failure(s, gssapi_why(hs->login));
	else
		gssapi_answer(hs->login, &answer);
	err = send_context(s, &answer);
	if (err)
		session_end(s, err);
	else
		converse_go_on(s);
}

void login_context(struct session *s)
{
	const struct auth_client client = {.ip = s->client, .listener = s->listener->text};
	struct handshake *hs = s->hs;
	struct gssapi *login = hs->login;
	int err = login ? 0 : gssapi_new(&login);

	hs->login = NULL;
	if (!err)
		err = gssapi_set_token(login, token_of(hs), hs->accept.token_len);
	s->state = SESSION_AUTH;
	session_wait(s, WATCH_ERROR);
	if (!err)
		err = auth_login_start(
		    s->worker->auth, s->config, &client, login, on_token, s, &hs->check);
	if (err) {
		gssapi_free(login);
		session_end(s, err);
	}
}

/* What is read ahead is under the layer already. */
static int protect(struct session *s, struct gss_ctx_id_struct *context, bool confidential)
{
	struct relay_end *client = session_client(s);
	struct handshake *hs = s->hs;
	int err = gss_layer_new(&client->layer, client->fd, client->layer, context, confidential,
	    hs->in + hs->in_at, hs->in_len - hs->in_at);

	if (err)
		gss_context_free(context);
	hs->in_at = hs->in_len = 0;
	/* What the layer leaves in the socket it does not tell. */
	watch_set_edge(&client->watch, false);
	return err;
}

/* The octet to answer: wrapped, or as NEC has it. */
static int answer_level(struct session *s, struct gss_ctx_id_struct *context, uint8_t level)
{
	uint8_t token[LEVEL_TOKEN_MAX], buf[ACCEPT_OUTPUT_MAX];
	struct wire_writer out = wire_writer_of(buf, sizeof(buf));
	struct accept *a = &s->hs->accept;
	size_t len = 1;
	int err = 0;

	token[0] = level;
	if (!a->gss_nec)
		err = gss_message_wrap(context, false, &level, 1, token, sizeof(token), &len);
	if (err)
		return err;
	accept_gss_answer_level(a, token, len, &out);
	return converse_answer(s, &out);
}

/* What the client asks for, judged; a refusal is sent. Returns the level, or an error. */
static int judge_level(struct session *s, struct gss_ctx_id_struct *context)
{
	uint8_t octets[LEVEL_TOKEN_MAX], buf[ACCEPT_OUTPUT_MAX];
	struct wire_writer out = wire_writer_of(buf, sizeof(buf));
	struct accept *a = &s->hs->accept;
	size_t len = a->token_len;
	int level, err = 0;

	if (a->gss_nec)
		octets[0] = *token_of(s->hs);
	else
		err = gss_message_unwrap(
		    context, false, token_of(s->hs), len, octets, sizeof(octets), &len);
	level = accept_gss_level(a, err ? NULL : octets, len, &out);
	err = converse_answer(s, &out);
	return err ? err : level;
}

int login_level(struct session *s)
{
	struct gss_ctx_id_struct *context = gssapi_take_context(s->hs->login);
	int level = judge_level(s, context);
	int err = level < 0 ? level : answer_level(s, context, (uint8_t)level);

	if (!err)
		s->protection = (uint8_t)(1 + level);
	if (err || level == GSS_LEVEL_CLEAR)
		gss_context_free(context);
	else
		err = protect(s, context, level == GSS_LEVEL_CONFIDENTIAL);
	login_free(s);
	return err;
}

void login_free(struct session *s)
{
	gssapi_free(s->hs->login);
	s->hs->login = NULL;
}
