/* SPDX-License-Identifier: MIT */
#include "server/choice.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "proto/err.h"
#include "server/request.h"
#include "server/session.h"
#include "server/upstreams.h"
#include "server/worker.h"

struct choice choice_of(struct session *s, const struct policy_proxy *group)
{
	return (struct choice){
	    .session = s,
	    .group = (size_t)(group - s->config->policy->proxies),
	};
}

const struct policy_proxy *choice_group(const struct choice *c)
{
	return &c->session->config->policy->proxies[c->group];
}

const struct policy_member *choice_member(const struct choice *c)
{
	return &choice_group(c)->members[c->member];
}

static struct upstream_member *own_of(const struct choice *c, size_t member)
{
	return &c->session->config->upstreams.members[c->group][member];
}

static struct balance_member *health_of(const struct choice *c)
{
	return &own_of(c, c->member)->state->balance;
}

static uint64_t now_of(const struct choice *c)
{
	return loop_now(&c->session->worker->loop);
}

/* ---- who ---- */

static uint64_t key_of(const struct choice *c, const struct choice_client *client)
{
	const struct session *s = c->session;

	return client->user_len > 0 ? balance_key(client->user, client->user_len)
				    : balance_key(&s->client, sizeof(s->client));
}

bool choice_next(struct choice *c, const struct choice_client *client)
{
	const struct policy_proxy *group = choice_group(c);
	const struct balance_member *members[POLICY_MEMBERS_MAX];
	struct balance_request request = {
	    .how = group->balance,
	    .now = now_of(c),
	    .chance = c->session->worker->chance++,
	    .failed = c->failed,
	};
	size_t member;

	if (group->balance == BALANCE_HASH)
		request.key = key_of(c, client);
	for (size_t i = 0; i < group->n_members; i++)
		members[i] = &own_of(c, i)->state->balance;
	member = balance_choose(&request, members, group->n_members);
	if (member == BALANCE_NONE)
		return false;
	c->member = member;
	balance_begin(health_of(c), now_of(c));
	return true;
}

void choice_leave(const struct choice *c)
{
	balance_end(health_of(c));
}

/* Is there a member to try behind this one? */
static bool has_another(const struct choice *c)
{
	for (size_t i = 0; i < choice_group(c)->n_members; i++)
		if (i != c->member && !(c->failed >> i & 1))
			return true;
	return false;
}

static bool is_self(void *ctx, const struct ip *ip, uint16_t port)
{
	const struct choice *c = ctx;

	return request_is_self(c->session, ip, port);
}

struct chain_options choice_options(struct choice *c)
{
	const struct upstream_member *own = own_of(c, c->member);

	return (struct chain_options){
	    .n_hops = choice_member(c)->n_hops,
	    .resolver = c->session->worker->resolver,
	    .tls = own->tls,
	    .gss = own->tickets ? &own->gss : NULL,
	    .tls_name = choice_member(c)->server_name,
	    .proxy_ms = has_another(c) ? CHOICE_PROXY_MS : 0,
	    .source = c->source,
	    .refuses = is_self,
	    .ctx = c,
	};
}

bool choice_leads_back(const struct choice *c)
{
	const struct policy_member *m = choice_member(c);

	for (size_t i = 1; i < m->n_hops; i++)
		if (m->hops[i].proxy.kind == ADDR_IP &&
		    request_is_self(c->session, &m->hops[i].proxy.ip, m->hops[i].proxy.port))
			return true;
	return false;
}

/* ---- as whom ---- */

static void set_credentials(
    struct url *url, const char *user, size_t user_len, const char *password, size_t password_len)
{
	url->has_user = url->has_password = true;
	url->user_len = (uint8_t)user_len;
	url->password_len = (uint8_t)password_len;
	memcpy(url->user, user, user_len);
	memcpy(url->password, password, password_len);
}

/*
 * Tor keeps streams with different credentials on different circuits, and looks at nothing else in
 * them. What stands for whom must not be guessed by another user, nor tell the proxy who it is: so
 * it is a number drawn once for each worker, mixed with the name of what is to be kept apart.
 */
static void isolate(const struct choice *c, const struct choice_client *client, struct url *url)
{
	const uint64_t secret = c->session->worker->isolation_secret;
	char text[ADDR_TEXT_MAX], user[17];
	uint64_t key = 0;

	switch (choice_member(c)->isolation) {
	case ISOLATE_NOTHING:
		return;
	case ISOLATE_USER:
		key = key_of(c, client);
		break;
	case ISOLATE_DESTINATION:
		addr_format(client->target, text);
		key = balance_key(text, strlen(text));
		break;
	case ISOLATE_SESSION:
		(void)!getrandom(&key, sizeof(key), GRND_NONBLOCK);
		break;
	}
	snprintf(user, sizeof(user), "%016llx", (unsigned long long)balance_mix(key ^ secret));
	set_credentials(url, user, 16, "tabi", 4);
}

struct url *choice_hops(const struct choice *c, const struct choice_client *client)
{
	const size_t n = choice_member(c)->n_hops;
	struct url *hops = malloc(n * sizeof(*hops));

	if (!hops)
		return NULL;
	memcpy(hops, own_of(c, c->member)->hops, n * sizeof(*hops));
	/* Without any there is nothing to forward. */
	if (client->forward && client->password_len > 0)
		set_credentials(&hops[n - 1], client->user, client->user_len, client->password,
		    client->password_len);
	isolate(c, client, &hops[n - 1]);
	return hops;
}

void choice_free_hops(struct url *hops, size_t n)
{
	if (hops)
		explicit_bzero(hops, n * sizeof(*hops));
	free(hops);
}

/* ---- what is learned ---- */

/* What many sessions meet is told once, when it is news. */
static void log_news(const struct choice *c, bool works)
{
	const enum log_level level = works ? LOG_AT_INFO : LOG_AT_WARN;
	const struct chain_result *r = &c->last;
	struct log_record rec;

	log_begin(&rec, level, works ? "proxy-up" : "proxy-down");
	log_text(&rec, "via", choice_group(c)->name);
	log_text(&rec, "proxy", choice_member(c)->text);
	if (!works) {
		log_text(&rec, "stage", chain_stage_name(r->stage));
		if (c->last_hops > 1)
			log_number(&rec, "hop", r->hop + 1);
		if (r->code >= 0)
			log_number(&rec, "code", (uint64_t)r->code);
		log_text(&rec, "error", err_word(r->err));
		log_text(&rec, "detail", r->why);
	}
	log_end(&rec);
}

void choice_worked(const struct choice *c)
{
	if (balance_worked(health_of(c)))
		log_news(c, true);
}

void choice_unknown(const struct choice *c)
{
	balance_unknown(health_of(c));
}

void choice_failed(struct choice *c, const struct chain_result *r, enum chain_blame blame)
{
	c->last = *r;
	c->last_member = c->member;
	c->last_hops = choice_member(c)->n_hops;
	c->failed |= UINT64_C(1) << c->member;
	if (blame == CHAIN_BLAMES_TARGET)
		choice_worked(c);
	else if (blame != CHAIN_BLAMES_PROXY)
		choice_unknown(c);
	else if (balance_failed(health_of(c), now_of(c)))
		log_news(c, false);
	choice_leave(c);
}

void choice_log(const struct choice *c, struct log_record *rec)
{
	const struct chain_result *r = &c->last;

	if (r->err == 0)
		return;
	log_text(rec, "proxy", choice_group(c)->members[c->last_member].text);
	log_text(rec, "proxy-stage", chain_stage_name(r->stage));
	if (c->last_hops > 1)
		log_number(rec, "proxy-hop", r->hop + 1);
	if (r->code >= 0)
		log_number(rec, "proxy-code", (uint64_t)r->code);
	log_text(rec, "proxy-error", err_word(r->err));
}
