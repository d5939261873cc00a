/* SPDX-License-Identifier: MIT */
#include "server/request.h"

#include <stddef.h>
#include <string.h>
#include <time.h>

#include "net/log.h"
#include "net/sockaddr.h"
#include "policy/decide.h"
#include "policy/egress.h"
#include "proto/err.h"
#include "server/associate.h"
#include "server/bind.h"
#include "server/egress.h"
#include "server/forward.h"
#include "server/listener.h"
#include "server/multicast.h"
#include "server/onion.h"
#include "server/preface.h"
#include "server/session.h"
#include "server/upstream.h"
#include "server/worker.h"

/* Local time, as `during` means it. Worked out once a second, not for every question. */
week_minute request_now(void)
{
	static time_t last;
	static week_minute minute;
	time_t now = time(NULL);
	struct tm tm;

	if (now != last) {
		localtime_r(&now, &tm);
		/* tm_wday counts from Sunday, the week of `during` from Monday. */
		minute =
		    (week_minute)((tm.tm_wday + 6) % 7 * 24 * 60 + tm.tm_hour * 60 + tm.tm_min);
		last = now;
	}
	return minute;
}

/* All that is known without the destination's address. `name` takes the name in canonical form. */
static struct policy_request question(const struct session *s, char name[static ADDR_NAME_MAX + 1])
{
	const struct accept *a = &s->hs->accept;
	struct policy_request req = {
	    .client = s->client,
	    .listener = s->listener->text,
	    .user = a->user_len > 0 ? a->user : NULL,
	    .method = a->method,
	    .proto = a->proto,
	    .command = a->command,
	    .port = a->target.port,
	    .now = request_now(),
	};

	if (a->target.kind == ADDR_NAME) {
		name_canonical(a->target.name, a->target.name_len, name);
		req.name = name;
	}
	return req;
}

void request_log_verdict(struct log_record *rec, bool allowed, const struct policy_rule *rule)
{
	struct position at;

	log_text(rec, "verdict", allowed ? "allow" : "deny");
	if (!rule) {
		log_text(rec, "rule", "none");
		return;
	}
	at = policy_rule_position(rule);
	log_place(rec, "rule", at.file, strlen(at.file), at.line);
}

void request_log_decision(
    const struct session *s, const struct policy_request *req, const struct decision *d)
{
	char text[IP_TEXT_MAX];
	struct log_record rec;

	log_begin(&rec, LOG_AT_INFO, "decision");
	log_text(&rec, "from", ip_format(&s->client, text));
	log_text(&rec, "user", req->user);
	log_text(&rec, "name", req->name);
	log_text(&rec, "address", req->has_ip ? ip_format(&req->ip, text) : NULL);
	log_number(&rec, "port", req->port);
	request_log_verdict(&rec, d->verdict == VERDICT_ALLOW, d->rule);
	log_end(&rec);
}

/* Remembers for the log what the policy said. */
static void note(struct session *s, const struct policy_request *req, const struct decision *d)
{
	s->decided = true;
	s->allowed = d->verdict == VERDICT_ALLOW;
	s->rule = d->rule;
	s->hs->via = d->via;
	s->hs->forward_credentials = d->forward_credentials;
	s->hs->egress = d->egress;
	if (d->log && d->rule)
		request_log_decision(s, req, d);
}

bool request_is_local(const struct ip *ip)
{
	struct ip v4[IP_EMBEDDED_MAX];

	if (ip_is_local(ip))
		return true;
	for (size_t n = ip_embedded_v4(ip, v4); n > 0; n--)
		if (ip_is_local(&v4[n - 1]))
			return true;
	return false;
}

/* Where a balancer took the connection in from which this one comes, it would take in the next. */
static bool is_front(const struct session *s, const struct ip *ip, uint16_t port)
{
	const struct proxied *p = s->proxied;

	return p && port == p->to_port && ip_equal(ip, &p->to);
}

bool request_is_self(const struct session *s, const struct ip *ip, uint16_t port)
{
	if (is_front(s, ip, port))
		return true;
	return listeners_have_port(s->config->policy, port) && request_is_local(ip);
}

static bool is_broadcast(const struct ip *ip)
{
	static const uint8_t all[4] = {255, 255, 255, 255};

	return ip_is_v4(ip) && memcmp(ip_v4_bytes(ip), all, sizeof(all)) == 0;
}

/* May this address be connected to, or connect? Returns 0 or the reason why not. */
static int admit(struct session *s, struct policy_request *req, const struct ip *ip)
{
	unsigned classes = ip_classes(ip);
	struct decision d;

	req->has_ip = true;
	req->ip = *ip;
	/* Linux connects 0.0.0.0 and :: to this host, whatever the rules call it. */
	req->is_self = (classes & IP_UNSPECIFIED) ||
		       (req->command == COMMAND_CONNECT && request_is_self(s, ip, req->port));
	d = policy_decide(s->config->policy, req);
	note(s, req, &d);
	if (d.verdict != VERDICT_ALLOW)
		return ERR_DENIED;
	if (req->is_self) {
		/* No rule says so: no rule could say otherwise. */
		s->allowed = false;
		s->rule = NULL;
		return ERR_SELF;
	}
	if (req->command == COMMAND_RESOLVE)
		return 0;
	/* Nobody connects from 255.255.255.255: to Dante's clients it means something else. */
	if (req->command == COMMAND_BIND && is_broadcast(ip))
		return ERR_ADDRESS;
	return classes & IP_MULTICAST ? ERR_ADDRESS : 0;
}

bool request_admits_peer(struct session *s, const struct ip *ip)
{
	const struct policy_egress *egress = s->hs->egress;
	const struct policy_rule *rule = s->rule;
	bool decided = s->decided, allowed = s->allowed;
	char name[ADDR_NAME_MAX + 1];
	struct policy_request req = question(s, name);
	int err = admit(s, &req, ip);

	/* Whom a rule wants to come by way of a proxy, or to another address, has not. */
	if (err == 0 && !s->hs->via && egress_is_same(s->hs->egress, egress))
		return true;
	s->hs->via = NULL;
	s->hs->egress = egress;
	/* What is said of a stray is not the verdict on the session. */
	s->decided = decided;
	s->allowed = allowed;
	s->rule = rule;
	return false;
}

static void on_dialled(void *ctx, int err, int fd, size_t which, const struct addr *local)
{
	struct session *s = ctx;

	s->hs->dial = NULL;
	if (err) {
		session_end(s, err);
		return;
	}
	s->address = s->hs->ips[which];
	s->has_address = true;
	session_connected(s, fd, local);
}

static int dial(struct session *s, uint16_t port)
{
	struct handshake *hs = s->hs;
	struct source source;
	int err = 0;

	if (hs->egress)
		err = egress_source(s, hs->egress, &source);
	if (err)
		return err;
	s->state = SESSION_DIAL;
	return dial_start(&hs->dial, &s->worker->loop, hs->ips, hs->n_ips, port,
	    hs->egress ? &source : NULL, on_dialled, s);
}

/*
 * Of a name's addresses one can be told. Clients of this extension expect IPv4, and SOCKS4 has no
 * words for anything else; an IPv6 address is told where there is no other.
 */
static int answer_address(struct session *s)
{
	const struct handshake *hs = s->hs;
	enum proto proto = hs->accept.proto;
	struct addr found;
	size_t i = 0;

	while (i < hs->n_ips && !ip_is_v4(&hs->ips[i]))
		i++;
	if (i == hs->n_ips && proto != PROTO_SOCKS5)
		return ERR_NOT_FOUND;
	found = addr_from_ip(&hs->ips[i < hs->n_ips ? i : 0], 0);
	session_resolved(s, &found);
	return 0;
}

/* Returns 0, or the error to end with. */
static int go_on(struct session *s, enum command command, uint16_t port)
{
	if (command == COMMAND_CONNECT && forward_resume(s))
		return 0;
	/* A name was looked up here already, so that is told. */
	if (s->hs->via && command != COMMAND_RESOLVE)
		return upstream_begin(s, false);
	switch (command) {
	case COMMAND_BIND:
		return bind_start(s);
	case COMMAND_RESOLVE:
		return answer_address(s);
	default:
		return dial(s, port);
	}
}

/* Keeps of `ips` those that are admitted, and dials them, listens for them or tells one; those
 * alone that the rules let go the same way as the first. Of several refusals the first tells why.
 */
static void go_to_admitted(struct session *s, const struct ip *ips, size_t n)
{
	char name[ADDR_NAME_MAX + 1];
	struct policy_request req = question(s, name);
	struct handshake *hs = s->hs;
	const struct policy_egress *egress = NULL;
	const struct policy_proxy *via = NULL;
	const struct policy_rule *rule = NULL;
	bool forward = false;
	int err = 0;

	hs->n_ips = 0;
	for (size_t i = 0; i < n; i++) {
		int e = admit(s, &req, &ips[i]);

		if (e == 0 && hs->n_ips == 0) {
			rule = s->rule;
			via = hs->via;
			egress = hs->egress;
			forward = hs->forward_credentials;
		}
		if (e == 0 && hs->via == via && hs->forward_credentials == forward &&
		    egress_is_same(hs->egress, egress))
			hs->ips[hs->n_ips++] = ips[i];
		else if (e != 0 && err == 0)
			err = e;
	}
	if (hs->n_ips > 0) {
		s->allowed = true;
		s->rule = rule;
		hs->via = via;
		hs->egress = egress;
		hs->forward_credentials = forward;
		s->address = hs->ips[0];
		s->has_address = true;
		err = go_on(s, req.command, req.port);
	} else if (n > 0) {
		s->address = ips[0];
		s->has_address = true;
	}
	if (err)
		session_end(s, err);
}

static void on_resolved(struct resolve_wait *wait, const struct resolve_answer *answer)
{
	struct handshake *hs =
	    (struct handshake *)((char *)wait - offsetof(struct handshake, wait));

	if (answer->err)
		session_end(hs->session, answer->err);
	else
		go_to_admitted(hs->session, answer->ip, answer->n);
}

/* Goes through a proxy that knows the name better. */
static void send_name(struct session *s)
{
	int err = 0;

	s->hs->n_ips = 0;
	if (s->hs->accept.command == COMMAND_CONNECT && forward_resume(s))
		return;
	err = upstream_begin(s, true);
	if (err)
		session_end(s, err);
}

static void resolve(struct session *s)
{
	struct handshake *hs = s->hs;
	struct resolve_answer answer;
	int ret;

	s->state = SESSION_RESOLVE;
	ret = resolver_ask(
	    s->worker->resolver, hs->accept.target.name, &hs->wait, on_resolved, &answer);
	if (ret < 0)
		session_end(s, ret);
	else if (ret > 0)
		on_resolved(&hs->wait, &answer);
}

/*
 * BIND to 0.0.0.0 or :: expects anybody, which is no address to judge: the rules are asked without
 * one, as of a name that is not yet looked up. Where they deny whoever it might be nobody is
 * listened for; else each who connects is judged by his own address.
 */
static bool expects_anybody(const struct accept *a)
{
	return a->command == COMMAND_BIND && a->target.kind == ADDR_IP &&
	       ip_own_classes(&a->target.ip) & IP_UNSPECIFIED;
}

static void listen_for_anybody(struct session *s)
{
	char name[ADDR_NAME_MAX + 1];
	struct policy_request req = question(s, name);
	struct decision d = policy_decide(s->config->policy, &req);
	int err = ERR_DENIED;

	s->hs->egress = egress_by_default(&s->config->policy->set);
	if (d.verdict != VERDICT_DEPENDS)
		note(s, &req, &d);
	s->hs->n_ips = 0;
	/* Where another rule could decide about the one who comes, he comes to us. */
	if (!d.certain)
		s->hs->via = NULL;
	if (d.verdict != VERDICT_DENY)
		err = s->hs->via ? upstream_begin(s, false) : bind_start(s);
	if (err)
		session_end(s, err);
}

/* ---- the name of an address ---- */

/* The address was admitted; a name that the rules deny is not told either. `text` was checked. */
static int tell_name(struct session *s, const char *text, size_t len)
{
	struct addr found = {.kind = ADDR_NONE};
	char name[ADDR_NAME_MAX + 1];
	struct policy_request req = question(s, name);
	int err;

	name_canonical(text, len, name);
	req.name = name;
	err = admit(s, &req, &s->hs->accept.target.ip);
	if (!err)
		err = addr_set_host(&found, text, len);
	if (!err)
		session_resolved(s, &found);
	return err;
}

static void use_name(struct session *s, const struct resolve_answer *answer)
{
	int err = answer->err ? answer->err : tell_name(s, answer->name, answer->n);

	if (err)
		session_end(s, err);
}

void request_resolved_via(struct session *s, const struct addr *found)
{
	int err = 0;

	if (s->hs->accept.resolve_reverse)
		err = tell_name(s, found->name, found->name_len);
	else
		session_resolved(s, found);
	if (err)
		session_end(s, err);
}

static void on_name(struct resolve_wait *wait, const struct resolve_answer *answer)
{
	use_name(((struct handshake *)((char *)wait - offsetof(struct handshake, wait)))->session,
	    answer);
}

static void resolve_name_of(struct session *s, const struct ip *ip)
{
	struct handshake *hs = s->hs;
	char name[ADDR_NAME_MAX + 1];
	struct policy_request req = question(s, name);
	struct resolve_answer answer;
	int ret = admit(s, &req, ip);

	/* Proxies that can be asked that are rare, and nothing is looked up here instead. */
	if (ret == 0 && s->hs->via) {
		ret = upstream_begin(s, false);
		if (ret == 0)
			return;
	}
	if (ret != 0) {
		session_end(s, ret);
		return;
	}
	s->state = SESSION_RESOLVE;
	ret = resolver_ask_name(s->worker->resolver, ip, &hs->wait, on_name, &answer);
	if (ret < 0)
		session_end(s, ret);
	else if (ret > 0)
		use_name(s, &answer);
}

void request_begin(struct session *s)
{
	const struct accept *a = &s->hs->accept;
	char name[ADDR_NAME_MAX + 1];
	struct policy_request req;
	struct decision d;

	if (a->command == COMMAND_UDP) {
		associate_begin(s);
		return;
	}
	if (a->command == COMMAND_MULTICAST) {
		multicast_begin(s);
		return;
	}
	deadline_set(&s->deadline, &s->worker->connect);
	if (expects_anybody(a)) {
		listen_for_anybody(s);
		return;
	}
	if (a->resolve_reverse) {
		resolve_name_of(s, &a->target.ip);
		return;
	}
	if (a->target.kind == ADDR_IP) {
		go_to_admitted(s, &a->target.ip, 1);
		return;
	}
	/* A name that no address could save is not even looked up. */
	req = question(s, name);
	d = policy_decide(s->config->policy, &req);
	if (d.verdict == VERDICT_DENY) {
		note(s, &req, &d);
		session_end(s, ERR_DENIED);
	} else if (onion_is_bad(name, strlen(name))) {
		/* Nobody is asked for a name below .onion but Tor (RFC 7686); here one learns
		 * whether it was mistyped. */
		session_end(s, ERR_ONION);
	} else if (a->command != COMMAND_BIND && policy_sends_name(&d)) {
		note(s, &req, &d);
		send_name(s);
	} else {
		resolve(s);
	}
}

void request_cancel(struct session *s)
{
	resolve_cancel(&s->hs->wait);
	dial_cancel(s->hs->dial);
	s->hs->dial = NULL;
	bind_cancel(s->hs->bind);
	s->hs->bind = NULL;
	upstream_cancel(s->hs->upstream);
	s->hs->upstream = NULL;
}
