/* SPDX-License-Identifier: MIT */
#include "server/sessionlog.h"

#include <stdlib.h>
#include <string.h>

#include "net/log.h"
#include "net/sockaddr.h"
#include "policy/rule.h"
#include "proto/err.h"
#include "proto/gss.h"
#include "server/associate.h"
#include "server/egress.h"
#include "server/forward.h"
#include "server/multicast.h"
#include "server/preface.h"
#include "server/request.h"
#include "server/session.h"
#include "server/upstream.h"
#include "server/worker.h"

/* Most sessions have none of these, and the memory for them would be more than nothing. Returns
 * false without memory: then nothing is known. */
static bool note_labels(struct session *s, const char *name, size_t name_len)
{
	const struct accept *a = &s->hs->accept;
	size_t claim_at = a->user_len, name_at = claim_at + a->claim_len, end = name_at + name_len;

	free(s->labels);
	s->labels = NULL;
	s->user_len = s->claim_len = s->name_len = 0;
	if (end == 0)
		return true;
	s->labels = malloc(end + 1);
	if (!s->labels)
		return false;
	memcpy(s->labels, a->user, a->user_len);
	memcpy(s->labels + claim_at, a->claim, a->claim_len);
	memcpy(s->labels + name_at, name, name_len);
	s->labels[end] = '\0';
	s->user_len = a->user_len;
	s->claim_len = a->claim_len;
	s->name_len = (uint8_t)name_len;
	return true;
}

void session_note(struct session *s)
{
	const struct accept *a = &s->hs->accept;
	/* A UDP association has no destination: what was asked with is the client's own address. */
	static const struct addr none = {.kind = ADDR_NONE};
	bool datagrams = a->command == COMMAND_UDP || a->command == COMMAND_MULTICAST;
	const struct addr *to = datagrams ? &none : &a->target;
	size_t name_len = to->kind == ADDR_NAME ? to->name_len : 0;
	bool asked = a->command != COMMAND_NONE;

	s->proto = a->proto;
	if (!asked && a->user_len == 0)
		return;
	if (!note_labels(s, to->name, name_len))
		return;
	s->command = a->command;
	s->method = a->method;
	s->port = to->port;
	if (to->kind == ADDR_IP) {
		s->address = to->ip;
		s->has_address = true;
	}
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
	if (s->name_len > 0)
		log_place(rec, "to", s->labels + s->user_len + s->claim_len, s->name_len, s->port);
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

/* What a RESOLVE was answered: an address, or a name that was checked but comes from anybody. */
static void log_found(struct log_record *rec, const struct session *s)
{
	const struct addr *found = s->hs ? &s->hs->found : NULL;
	char text[IP_TEXT_MAX];

	if (found && found->kind == ADDR_IP)
		log_text(rec, "answer", ip_format(&found->ip, text));
	else if (found && found->kind == ADDR_NAME)
		log_bytes(rec, "answer", found->name, found->name_len);
}

static void log_verdict(struct log_record *rec, const struct session *s)
{
	if (s->decided)
		request_log_verdict(rec, s->allowed, s->rule);
}

static void log_proxied(struct log_record *rec, const struct session *s)
{
	const struct proxied *p = s->proxied;

	if (s->listener->unix_path)
		log_text(rec, "proxied-by", "unix");
	else
		log_endpoint(rec, "proxied-by", &p->by, p->by_port);
	log_endpoint(rec, "proxied-to", &p->to, p->to_port);
}

static void log_client(struct log_record *rec, const struct session *s)
{
	if (s->listener->unix_path && !s->proxied)
		log_text(rec, "from", "unix");
	else
		log_endpoint(rec, "from", &s->client, s->client_port);
	log_text(rec, "listener", s->listener->text);
	if (s->proxied)
		log_proxied(rec, s);
	if (s->proto != PROTO_NONE)
		log_text(rec, "protocol", proto_name(s->proto));
}

bool session_client_is_gone(int reason)
{
	return reason == ERR_CLIENT_GONE || reason == ERR_CLIENT_RESET;
}

void session_forget_request(struct session *s)
{
	free(s->labels);
	s->labels = NULL;
	s->user_len = s->claim_len = s->name_len = 0;
	s->command = COMMAND_NONE;
	s->decided = s->has_address = false;
	s->rule = NULL;
}

static void log_protection(struct log_record *rec, const struct session *s)
{
	static const char *const names[] = {
	    [GSS_LEVEL_CLEAR] = "clear",
	    [GSS_LEVEL_INTEGRITY] = "integrity",
	    [GSS_LEVEL_CONFIDENTIAL] = "confidential",
	};

	if (s->protection > 0)
		log_text(rec, "protection", names[s->protection - 1]);
}

/* Who had an address of a pool is asked later, by those whom it has visited. */
static void log_egress(struct log_record *rec, const struct session *s)
{
	const struct relay_end *target = &s->relay.end[RELAY_TARGET];
	char text[IP_TEXT_MAX];
	struct addr local;

	if (target->fd < 0 || !s->rule || !rule_egress(s->rule, &s->config->policy->set))
		return;
	local = socket_local_addr(target->fd);
	if (local.kind == ADDR_IP)
		log_text(rec, "egress", ip_format(&local.ip, text));
}

/* Who asked for what, and what was said to it. */
static void log_request(struct log_record *rec, const struct session *s)
{
	log_client(rec, s);
	if (s->command != COMMAND_NONE)
		log_text(rec, "command", command_name(s->command));
	if (s->decided)
		log_text(rec, "method", auth_method_name(s->method));
	log_protection(rec, s);
	if (s->user_len > 0)
		log_bytes(rec, "user", s->labels, s->user_len);
	if (s->claim_len > 0)
		log_bytes(rec, "userid", s->labels + s->user_len, s->claim_len);
	log_destination(rec, s);
	log_ends(rec, s);
	log_found(rec, s);
	log_verdict(rec, s);
	log_egress(rec, s);
	upstream_log(s, rec);
}

void session_log_request(const struct session *s, const struct forwarded *what, int reason)
{
	struct log_record rec;

	if (!log_enabled(LOG_AT_INFO))
		return;
	log_begin(&rec, LOG_AT_INFO, "request");
	log_request(&rec, s);
	log_text(&rec, "http", what->method);
	if (what->status > 0)
		log_number(&rec, "status", (uint64_t)what->status);
	log_number(&rec, "up", what->up);
	log_number(&rec, "down", what->down);
	log_seconds(&rec, "seconds", loop_now(&s->worker->loop) - what->began);
	log_text(&rec, "reason", err_word(reason));
	log_end(&rec);
}

/* A client that left without a word is no news: a port scan, a health
 * check. */
void session_log(const struct session *s, int reason)
{
	bool silent = session_client_is_gone(reason) && s->proto == PROTO_NONE;
	struct log_record rec;

	if (reason == ERR_EGRESS)
		egress_log_missing(s);
	if (!log_enabled(silent ? LOG_AT_DEBUG : LOG_AT_INFO))
		return;
	log_begin(&rec, silent ? LOG_AT_DEBUG : LOG_AT_INFO, "session");
	log_request(&rec, s);
	if (s->requests > 0)
		log_number(&rec, "requests", s->requests);
	log_number(&rec, "up", s->relay.end[RELAY_TARGET].sent);
	log_number(&rec, "down", s->relay.end[RELAY_CLIENT].sent);
	if (s->association)
		associate_log(s->association, &rec);
	if (s->multicast)
		multicast_log(s->multicast, &rec);
	log_seconds(&rec, "seconds", loop_now(&s->worker->loop) - s->began);
	log_text(&rec, "reason", err_word(reason));
	if (s->relay.end[RELAY_CLIENT].layer)
		log_text(&rec, "detail", s->relay.end[RELAY_CLIENT].layer->why);
	log_end(&rec);
}

void session_log_auth_failure(const struct session *s, const char *why)
{
	struct log_record rec;

	log_begin(&rec, LOG_AT_WARN, "auth-failed");
	log_client(&rec, s);
	log_bytes(&rec, "user", s->labels, s->user_len);
	if (why)
		log_bytes(&rec, "error", why, strlen(why));
	log_end(&rec);
}
