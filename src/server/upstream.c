/* SPDX-License-Identifier: MIT */
#include "server/upstream.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#include "net/chain.h"
#include "net/log.h"
#include "net/sockaddr.h"
#include "policy/balance.h"
#include "proto/err.h"
#include "server/request.h"
#include "server/session.h"
#include "server/upstreams.h"
#include "server/worker.h"

/* How long a proxy may take to let us in while there is another one to try. */
#define PROXY_MS 5000

struct upstream {
	struct session *session;
	struct chain *chain;
	size_t group, member; /* of the configuration; `member` is the one being tried */
	uint64_t failed;      /* bit n: member n was tried, or has no words for what is asked */
	bool named;
	struct chain_result last; /* the latest failure; its err is 0 where there was none */
	size_t last_member;
	size_t last_hops;
};

static const struct policy_proxy *group_of(const struct upstream *u)
{
	return &u->session->config->policy->proxies[u->group];
}

static const struct policy_member *member_of(const struct upstream *u)
{
	return &group_of(u)->members[u->member];
}

static struct upstream_member *own_of(const struct upstream *u, size_t member)
{
	return &u->session->config->upstreams.members[u->group][member];
}

static struct balance_member *health_of(const struct upstream *u)
{
	return &own_of(u, u->member)->state->balance;
}

/* ---- the session's part in the group ---- */

static void enter(struct upstream *u)
{
	struct session *s = u->session;

	balance_begin(health_of(u), loop_now(&s->worker->loop));
	s->via_group = (uint16_t)(u->group + 1);
	s->via_member = (uint8_t)u->member;
}

void upstream_leave(struct session *s)
{
	if (s->via_group == 0)
		return;
	balance_end(&s->config->upstreams.members[s->via_group - 1][s->via_member].state->balance);
	s->via_group = 0;
}

/* ---- the log ---- */

static void log_failure(
    struct log_record *rec, const struct upstream *u, const struct chain_result *r)
{
	const struct policy_member *m = &group_of(u)->members[u->last_member];

	log_text(rec, "stage", chain_stage_name(r->stage));
	if (m->n_hops > 1)
		log_number(rec, "hop", r->hop + 1);
	if (r->code >= 0)
		log_number(rec, "code", (uint64_t)r->code);
	log_text(rec, "error", err_word(r->err));
	log_text(rec, "detail", r->why);
}

/* What many sessions meet is told once, when it is news. */
static void log_news(const struct upstream *u, bool works)
{
	const enum log_level level = works ? LOG_AT_INFO : LOG_AT_WARN;
	struct log_record rec;

	log_begin(&rec, level, works ? "proxy-up" : "proxy-down");
	log_text(&rec, "via", group_of(u)->name);
	log_text(&rec, "proxy", member_of(u)->text);
	if (!works)
		log_failure(&rec, u, &u->last);
	log_end(&rec);
}

void upstream_log(const struct session *s, struct log_record *rec)
{
	const struct upstream *u = s->hs ? s->hs->upstream : NULL;
	const struct policy_proxy *proxy;

	if (s->via_group > 0) {
		proxy = &s->config->policy->proxies[s->via_group - 1];
		log_text(rec, "via", proxy->name);
		log_text(rec, "proxy", proxy->members[s->via_member].text);
	} else if (u && u->last.err) {
		log_text(rec, "via", group_of(u)->name);
		log_text(rec, "proxy", group_of(u)->members[u->last_member].text);
	}
	if (u && u->last.err) {
		log_text(rec, "proxy-stage", chain_stage_name(u->last.stage));
		if (u->last_hops > 1)
			log_number(rec, "proxy-hop", u->last.hop + 1);
		if (u->last.code >= 0)
			log_number(rec, "proxy-code", (uint64_t)u->last.code);
		log_text(rec, "proxy-error", err_word(u->last.err));
	}
}

/* ---- what the proxy is told ---- */

static void set_credentials(
    struct url *url, const char *user, size_t user_len, const char *password, size_t password_len)
{
	url->has_user = url->has_password = true;
	url->user_len = (uint8_t)user_len;
	url->password_len = (uint8_t)password_len;
	memcpy(url->user, user, user_len);
	memcpy(url->password, password, password_len);
}

/* The client's own, which it gave and we found right; without any there is nothing to forward. */
static void forward_credentials(const struct session *s, struct url *url)
{
	const struct accept *a = &s->hs->accept;

	if (a->method == AUTH_PASSWORD && a->password_len > 0)
		set_credentials(url, a->user, a->user_len, a->password, a->password_len);
}

/*
 * Tor keeps streams with different credentials on different circuits, and looks at nothing else in
 * them. What stands for whom must not be guessed by another user, nor tell the proxy who it is: so
 * it is a number drawn once for each worker, mixed with the name of what is to be kept apart.
 */
static void isolate(const struct upstream *u, struct url *url)
{
	const struct session *s = u->session;
	const struct accept *a = &s->hs->accept;
	const uint64_t secret = s->worker->isolation_secret;
	char text[ADDR_TEXT_MAX], user[17];
	uint64_t key = 0;

	switch (member_of(u)->isolation) {
	case ISOLATE_NOTHING:
		return;
	case ISOLATE_USER:
		key = a->user_len > 0 ? balance_key(a->user, a->user_len)
				      : balance_key(&s->client, sizeof(s->client));
		break;
	case ISOLATE_DESTINATION:
		addr_format(&a->target, text);
		key = balance_key(text, strlen(text));
		break;
	case ISOLATE_SESSION:
		(void)!getrandom(&key, sizeof(key), GRND_NONBLOCK);
		break;
	}
	snprintf(user, sizeof(user), "%016llx", (unsigned long long)balance_mix(key ^ secret));
	set_credentials(url, user, 16, "tabi", 4);
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

static bool is_self(void *ctx, const struct ip *ip, uint16_t port)
{
	const struct upstream *u = ctx;

	return request_is_self(u->session, ip, port);
}

/* The first hop is looked at when it is dialled; behind it a name is not ours to look up. */
static bool leads_back(const struct upstream *u)
{
	const struct policy_member *m = member_of(u);

	for (size_t i = 1; i < m->n_hops; i++)
		if (m->hops[i].proxy.kind == ADDR_IP &&
		    request_is_self(u->session, &m->hops[i].proxy.ip, m->hops[i].proxy.port))
			return true;
	return false;
}

/* The hops of the member, the last one with the credentials of this session. NULL without memory.
 */
static struct url *copy_hops(const struct upstream *u)
{
	const size_t n = member_of(u)->n_hops;
	struct url *hops = malloc(n * sizeof(*hops));

	if (!hops)
		return NULL;
	memcpy(hops, own_of(u, u->member)->hops, n * sizeof(*hops));
	if (u->session->hs->forward_credentials)
		forward_credentials(u->session, &hops[n - 1]);
	isolate(u, &hops[n - 1]);
	return hops;
}

static void wipe(struct url *hops, size_t n)
{
	explicit_bzero(hops, n * sizeof(*hops));
	free(hops);
}

/* Is there a member to try behind this one? */
static bool has_another(const struct upstream *u)
{
	const struct policy_proxy *group = group_of(u);

	for (size_t i = 0; i < group->n_members; i++)
		if (i != u->member && !(u->failed >> i & 1))
			return true;
	return false;
}

/* Returns 0, or an error with `*ret_failed`. */
static int start(struct upstream *u, struct chain_result *ret_failed)
{
	struct session *s = u->session;
	const size_t n = member_of(u)->n_hops;
	struct addr forms[RESOLVE_ADDRS_MAX];
	struct chain_options options = {
	    .n_hops = n,
	    .command = s->hs->accept.command,
	    .resolver = s->worker->resolver,
	    .tls = own_of(u, u->member)->tls,
	    .proxy_ms = has_another(u) ? PROXY_MS : 0,
	    .forms = forms,
	    .refuses = is_self,
	    .fn = on_chain,
	    .ctx = u,
	};
	struct url *hops;
	int err;

	*ret_failed =
	    (struct chain_result){.err = ERR_SELF, .stage = CHAIN_AT_DIAL, .code = -1, .fd = -1};
	if (leads_back(u))
		return ERR_SELF;
	hops = copy_hops(u);
	ret_failed->err = -ENOMEM;
	if (!hops)
		return -ENOMEM;
	options.hops = hops;
	options.n_forms = set_target(u, &options.target, forms);
	err = chain_start(&u->chain, &s->worker->loop, &options, ret_failed);
	wipe(hops, n);
	return err;
}

static void note_success(struct upstream *u)
{
	if (balance_worked(health_of(u)))
		log_news(u, true);
}

/* Draws the conclusions from a failure of the present member. Returns whose fault it was. */
static enum chain_blame note_failure(struct upstream *u, const struct chain_result *r)
{
	const size_t n = member_of(u)->n_hops;
	const enum chain_blame blame = chain_blame(r, n);

	u->last = *r;
	u->last_member = u->member;
	u->last_hops = n;
	u->failed |= UINT64_C(1) << u->member;
	if (blame == CHAIN_BLAMES_TARGET)
		note_success(u);
	else if (blame != CHAIN_BLAMES_PROXY)
		balance_unknown(health_of(u));
	else if (balance_failed(health_of(u), loop_now(&u->session->worker->loop)))
		log_news(u, false);
	upstream_leave(u->session);
	return blame;
}

static size_t choose(const struct upstream *u)
{
	const struct policy_proxy *group = group_of(u);
	const struct session *s = u->session;
	const struct accept *a = &s->hs->accept;
	const struct balance_member *members[POLICY_MEMBERS_MAX];
	struct balance_request request = {
	    .how = group->balance,
	    .now = loop_now(&s->worker->loop),
	    .chance = s->worker->chance++,
	    .failed = u->failed,
	};

	if (group->balance == BALANCE_HASH)
		request.key = a->user_len > 0 ? balance_key(a->user, a->user_len)
					      : balance_key(&s->client, sizeof(s->client));
	for (size_t i = 0; i < group->n_members; i++)
		members[i] = &own_of(u, i)->state->balance;
	return balance_choose(&request, members, group->n_members);
}

/* Begins with the best member that is left. Returns 0, or the reason why the session ends. */
static int try_next(struct upstream *u)
{
	for (;;) {
		struct chain_result failed;
		enum chain_blame blame;
		size_t member = choose(u);

		if (member == BALANCE_NONE)
			return chain_error(&u->last, u->last_hops);
		u->member = member;
		enter(u);
		if (start(u, &failed) == 0)
			return 0;
		blame = note_failure(u, &failed);
		if (blame == CHAIN_BLAMES_TARGET || blame == CHAIN_BLAMES_US)
			return chain_error(&failed, u->last_hops);
	}
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
			session_resolved(s, &r->bound);
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
			  ? chain_error(r, u->last_hops)
			  : try_next(u);
		if (err)
			session_end(s, err);
		return;
	}
	note_success(u);
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
	u->group = (size_t)(s->hs->via - s->config->policy->proxies);
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
	s->state = SESSION_DIAL;
	return try_next(u);
}

void upstream_cancel(struct upstream *u)
{
	if (!u)
		return;
	if (u->chain) {
		chain_cancel(u->chain);
		balance_unknown(health_of(u));
		upstream_leave(u->session);
	}
	free(u);
}
