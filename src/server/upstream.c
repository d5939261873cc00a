/* SPDX-License-Identifier: MIT */
#include "server/upstream.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "net/chain.h"
#include "net/log.h"
#include "policy/balance.h"
#include "proto/err.h"
#include "server/choice.h"
#include "server/egress.h"
#include "server/request.h"
#include "server/session.h"
#include "server/upstreams.h"
#include "server/worker.h"

struct upstream {
	struct choice choice; /* first: the chain's functions get a pointer to it */
	struct session *session;
	struct chain *chain;
	struct source source; /* where the rule has an egress */
	bool named;
};

/* ---- the session's part in the group ---- */

void upstream_leave(struct session *s)
{
	if (s->via_group == 0)
		return;
	balance_end(&s->config->upstreams.members[s->via_group - 1][s->via_member].state->balance);
	s->via_group = 0;
}

/* ---- the log ---- */

void upstream_log(const struct session *s, struct log_record *rec)
{
	const struct upstream *u = s->hs ? s->hs->upstream : NULL;
	const struct choice *c = u && u->choice.last.err ? &u->choice : NULL;
	const struct policy_proxy *proxy;

	if (s->via_group > 0) {
		proxy = &s->config->policy->proxies[s->via_group - 1];
		log_text(rec, "via", proxy->name);
		log_text(rec, "proxy", proxy->members[s->via_member].text);
	} else if (c) {
		log_text(rec, "via", choice_group(c)->name);
		log_text(rec, "proxy", choice_group(c)->members[c->last_member].text);
	}
	if (c) {
		log_text(rec, "proxy-stage", chain_stage_name(c->last.stage));
		if (c->last_hops > 1)
			log_number(rec, "proxy-hop", c->last.hop + 1);
		if (c->last.code >= 0)
			log_number(rec, "proxy-code", (uint64_t)c->last.code);
		log_text(rec, "proxy-error", err_word(c->last.err));
	}
}

/* ---- what the proxy is told ---- */

static struct choice_client client_of(const struct upstream *u)
{
	const struct accept *a = &u->session->hs->accept;
	const bool has_password = a->method == AUTH_PASSWORD;

	return (struct choice_client){
	    .user = a->user,
	    .user_len = a->user_len,
	    .password = a->password,
	    .password_len = has_password ? a->password_len : 0,
	    .target = &a->target,
	    .forward = u->session->hs->forward_credentials,
	};
}

/* The destination, and in `forms` others for the same one. Returns how many of these. */
static size_t set_target(const struct upstream *u, struct addr *ret_target, struct addr *forms)
{
	const struct handshake *hs = u->session->hs;
	const uint16_t port = hs->accept.target.port;

	if (u->named || hs->n_ips == 0) {
		*ret_target = hs->accept.target;
		return 0;
	}
	*ret_target = addr_from_ip(&hs->ips[0], port);
	for (size_t i = 1; i < hs->n_ips; i++)
		forms[i - 1] = addr_from_ip(&hs->ips[i], port);
	return hs->n_ips - 1;
}

/* ---- the chain's results ---- */

static void on_chain(void *ctx, const struct chain_result *r);

/* Returns 0, or an error with `*ret_failed`. */
static int start(struct upstream *u, struct chain_result *ret_failed)
{
	const struct choice_client client = client_of(u);
	struct chain_options options = choice_options(&u->choice);
	struct addr forms[RESOLVE_ADDRS_MAX];
	struct url *hops;
	int err;

	*ret_failed =
	    (struct chain_result){.err = ERR_SELF, .stage = CHAIN_AT_DIAL, .code = -1, .fd = -1};
	if (choice_leads_back(&u->choice))
		return ERR_SELF;
	hops = choice_hops(&u->choice, &client);
	ret_failed->err = -ENOMEM;
	if (!hops)
		return -ENOMEM;
	options.hops = hops;
	options.command = u->session->hs->accept.command;
	options.forms = forms;
	options.n_forms = set_target(u, &options.target, forms);
	options.fn = on_chain;
	err = chain_start(&u->chain, &u->session->worker->loop, &options, ret_failed);
	choice_free_hops(hops, options.n_hops);
	return err;
}

/* Draws the conclusions from a failure of the present member. Returns whose fault it was. */
static enum chain_blame note_failure(struct upstream *u, const struct chain_result *r)
{
	const enum chain_blame blame = chain_blame(r, choice_member(&u->choice)->n_hops);

	choice_failed(&u->choice, r, blame);
	u->session->via_group = 0;
	return blame;
}

/* Begins with the best member that is left. Returns 0, or the reason why the session ends. */
static int try_next(struct upstream *u)
{
	const struct choice_client client = client_of(u);
	struct choice *c = &u->choice;
	struct session *s = u->session;

	while (choice_next(c, &client)) {
		struct chain_result failed;
		enum chain_blame blame;

		s->via_group = (uint16_t)(c->group + 1);
		s->via_member = (uint8_t)c->member;
		if (start(u, &failed) == 0)
			return 0;
		blame = note_failure(u, &failed);
		if (blame == CHAIN_BLAMES_TARGET || blame == CHAIN_BLAMES_US)
			break;
	}
	return chain_error(&c->last, c->last_hops);
}

/* Is the peer who has come one whom the rules admit? The proxy has its own view of that. */
static bool admits_peer(const struct session *s, const struct addr *peer)
{
	const struct handshake *hs = s->hs;

	for (size_t i = 0; i < hs->n_ips; i++)
		if (peer->kind == ADDR_IP && ip_equal(&hs->ips[i], &peer->ip))
			return true;
	return hs->n_ips == 0;
}

static void gone_through(struct upstream *u, const struct chain_result *r)
{
	struct session *s = u->session;

	if (s->hs->accept.command == COMMAND_CONNECT) {
		session_connected_via(s, r->fd, r->layer, &r->bound);
	} else if (s->hs->accept.command == COMMAND_BIND && admits_peer(s, &r->bound)) {
		s->ends->peer = r->bound;
		session_connected_via(s, r->fd, r->layer, &r->bound);
	} else {
		bool resolves = s->hs->accept.command == COMMAND_RESOLVE;

		layer_free(r->layer);
		close(r->fd);
		if (resolves)
			request_resolved_via(s, &r->bound);
		else
			session_end(s, ERR_STRANGER);
	}
}

static void on_chain(void *ctx, const struct chain_result *r)
{
	struct upstream *u = ctx;
	struct session *s = u->session;
	int err = 0;

	if (!r->listening)
		u->chain = NULL;
	if (r->err) {
		enum chain_blame blame = note_failure(u, r);

		/* Behind the first answer of BIND there is no other to be had. */
		err = blame == CHAIN_BLAMES_TARGET || blame == CHAIN_BLAMES_US ||
			      s->state == SESSION_BIND
			  ? chain_error(r, u->choice.last_hops)
			  : try_next(u);
		if (err)
			session_end(s, err);
		return;
	}
	choice_worked(&u->choice);
	if (r->listening) {
		s->ends->bound = r->bound;
		session_listening(s, &r->bound);
	} else {
		gone_through(u, r);
	}
}

/* ---- the beginning and the end ---- */

static struct upstream *upstream_new(struct session *s, bool named)
{
	struct upstream *u = calloc(1, sizeof(*u));

	if (!u)
		return NULL;
	u->session = s;
	u->named = named;
	u->choice = choice_of(s, s->hs->via);
	return u;
}

int upstream_begin(struct session *s, bool named)
{
	struct upstream *u;

	if (s->hs->accept.command == COMMAND_BIND) {
		s->ends = calloc(1, sizeof(*s->ends));
		if (!s->ends)
			return -ENOMEM;
	}
	u = upstream_new(s, named);
	if (!u)
		return -ENOMEM;
	s->hs->upstream = u;
	if (s->hs->egress) {
		int err = egress_source(s, s->hs->egress, &u->source);

		if (err)
			return err;
		u->choice.source = &u->source;
	}
	s->state = SESSION_DIAL;
	return try_next(u);
}

void upstream_cancel(struct upstream *u)
{
	if (!u)
		return;
	if (u->chain) {
		chain_cancel(u->chain);
		choice_unknown(&u->choice);
		upstream_leave(u->session);
	}
	free(u);
}
