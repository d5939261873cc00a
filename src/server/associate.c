/* SPDX-License-Identifier: MIT */
/* A UDP association: its sockets, and the way of a datagram through it in both directions. */
#include "server/associate.h"

#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "net/datagram.h"
#include "net/sockaddr.h"
#include "proto/err.h"
#include "proto/udp.h"
#include "server/drops.h"
#include "server/gate.h"
#include "server/names.h"
#include "server/outlets.h"
#include "server/ports.h"
#include "server/rates.h"
#include "server/remotes.h"
#include "server/request.h"
#include "server/session.h"
#include "server/udp.h"
#include "server/udpvia.h"
#include "server/worker.h"

/* For how long a verdict holds: rules may name hours, and addresses may become ours. */
#define JUDGED_MS 60000
/* A name that has no address is not asked for again before, nor an interface that is not there. */
#define FAILED_MS 5000

/* The addresses of struct association are stable. */
struct association {
	struct session *session; /* outlives the sockets' callbacks, not the memory here */
	struct worker *worker;
	struct gate_member client; /* toward the client */
	struct outlets outlets;    /* toward the remotes */

	struct remotes remotes;
	struct remotes unasked; /* what was decided about remotes that nothing was sent to */
	bool told_of_interface; /* the log was, that one is not there */
	struct names names;
	struct rates rates;
	struct udp_fragments fragments;

	struct udpvias vias; /* through other proxies */

	struct datagram_poster to_client, to_remote;
	struct udp_counts counts;
};

static uint64_t now_of(const struct association *a)
{
	return loop_now(&a->worker->loop);
}

/* What was used before then need not be remembered. */
static uint64_t old_of(const struct association *a)
{
	uint64_t now = now_of(a), ms = a->worker->udp.ms;

	return now > ms ? now - ms : 0;
}

static const struct policy *policy_of(const struct association *a)
{
	return a->session->config->policy;
}

/* ---- what the policy says ---- */

/* What the rules say of a remote; `name` in canonical form, or NULL. */
static struct decision decide(
    struct association *a, const char *name, const struct ip *ip, uint16_t port, bool log)
{
	const struct udp_remote to = {.name = name, .ip = *ip, .port = port};

	return udp_decide(a->session, COMMAND_UDP, &to, log);
}

static bool is_group(const struct ip *ip)
{
	return (ip_own_classes(ip) & IP_MULTICAST) != 0;
}

static struct grant grant_of(const struct decision *d)
{
	return (struct grant){
	    .filter = (uint8_t)d->filter,
	    .via = d->via,
	    .forward = d->forward_credentials,
	    .egress = d->egress,
	};
}

/* May it be sent to, and how? */
static bool judge(struct association *a, const char *name, const struct ip *ip, uint16_t port,
    struct grant *ret_grant)
{
	struct decision d = decide(a, name, ip, port, true);

	*ret_grant = grant_of(&d);
	if (d.verdict != VERDICT_ALLOW || !rates_number(&a->rates, &d, now_of(a), &ret_grant->rate))
		return false;
	if (is_group(ip))
		ret_grant->no_way = !udp_find_way(&d, &a->told_of_interface, &ret_grant->way);
	/* What the log tells of the association is the rule that let its first datagram out. */
	if (!a->session->rule)
		a->session->rule = d.rule;
	return true;
}

static struct remote *judged_remote(struct association *a, const struct ip *ip, uint16_t port)
{
	struct remote *r = remotes_find(&a->remotes, ip, port);
	uint64_t now = now_of(a);
	struct grant grant;

	if (r && now < r->until)
		return r;
	r = remotes_get(&a->remotes, ip, port, now, old_of(a));
	if (!r)
		return NULL;
	r->allowed = judge(a, NULL, ip, port, &grant);
	r->until = now + (grant.no_way ? FAILED_MS : JUDGED_MS);
	if (r->allowed) {
		r->filter = grant.filter;
		r->grant = grant;
	}
	return r;
}

/* ---- outward ---- */

static enum drop drop_of(int err)
{
	if (err == -EAGAIN)
		return DROP_FULL;
	if (err == -EMSGSIZE)
		return DROP_SIZE;
	if (err == ERR_EGRESS || err == ERR_EGRESS_FAMILY)
		return DROP_EGRESS;
	return err == -ENODEV ? DROP_INTERFACE : DROP_ERROR;
}

/* The kernel says one of these of an address that is no more ours, depending on its version. */
static void note_unsent(struct association *a, int err)
{
	if (err == -EINVAL || err == -ENETUNREACH || err == -ENODEV || err == -EADDRNOTAVAIL)
		outlets_doubt(&a->outlets);
}

/* It was counted as sent. */
static void to_remote_unsent(struct datagram_poster *poster, size_t n, size_t bytes, int err)
{
	struct association *a =
	    (struct association *)((char *)poster - offsetof(struct association, to_remote));

	a->counts.up -= n;
	a->session->relay.end[RELAY_TARGET].sent -= bytes;
	a->counts.dropped[drop_of(err)] += n;
	note_unsent(a, err);
}

/* U28: is it a relay of ours? Asked again only when there are new ones. */
static bool is_relay(struct remote *r)
{
	uint32_t generation = ports_generation();

	if (r->generation != generation) {
		r->relay = ports_have(&r->ip, r->port) && request_is_local(&r->ip);
		r->generation = generation;
	}
	return r->relay;
}

/* From here, directly. Returns 0 or -errno; it is counted. */
static int send_directly(struct association *a, const struct remote *r, const struct grant *grant,
    const void *data, size_t len)
{
	struct datagram_socket *sock;
	int err = outlets_get(&a->outlets, &r->ip, grant->egress, &sock);

	if (!err && is_group(&r->ip))
		err = datagram_send_group(sock, data, len, &r->ip, r->port, &grant->way);
	else if (!err)
		err = datagram_post(sock, &a->to_remote, NULL, 0, data, len, &r->ip, r->port);
	if (err) {
		a->counts.dropped[drop_of(err)]++;
		note_unsent(a, err);
		return err;
	}
	a->counts.up++;
	a->session->relay.end[RELAY_TARGET].sent += len;
	a->session->relay.moved = true;
	return 0;
}

static void send_via(struct association *a, const struct grant *grant, const struct addr *to,
    const void *data, size_t len)
{
	const struct udpvia_way way = {
	    .group = grant->via, .forward = grant->forward, .egress = grant->egress};

	udpvias_send(&a->vias, &way, to, data, len);
}

/* To a remote that may be sent to, as its address or its name is granted. Returns 0 or -errno; it
 * is counted. */
static int send_out(struct association *a, struct remote *r, const struct grant *grant,
    const void *data, size_t len)
{
	struct addr to;

	if (grant->no_way) {
		a->counts.dropped[DROP_INTERFACE]++;
		return 0;
	}
	if (is_relay(r)) {
		a->counts.dropped[DROP_DENIED]++;
		return 0;
	}
	if (!rates_take(&a->rates, grant->rate, RATE_UP, len, now_of(a))) {
		a->counts.dropped[DROP_RATE]++;
		return 0;
	}
	/* Before it is sent: the answer may be there at once. */
	r->via = grant->via;
	r->rate = grant->rate;
	r->sent = true;
	r->used = now_of(a);
	if (!grant->via)
		return send_directly(a, r, grant, data, len);
	to = addr_from_ip(&r->ip, r->port);
	send_via(a, grant, &to, data, len);
	return 0;
}

static void to_address(
    struct association *a, const struct ip *ip, uint16_t port, const void *data, size_t len)
{
	struct remote *r = judged_remote(a, ip, port);

	if (!r) {
		a->counts.dropped[DROP_FULL]++;
	} else if (!r->allowed) {
		a->counts.dropped[DROP_DENIED]++;
	} else if (send_out(a, r, &r->grant, data, len) == -ENODEV) {
		/* It may be there again, as another. */
		r->until = 0;
	}
}

/* ---- to a name ---- */

/* A proxy looks it up. */
static void send_name(struct association *a, struct name *name, const void *data, size_t len)
{
	struct addr to = {.kind = ADDR_NAME, .port = name->port, .name_len = name->len};

	if (!rates_take(&a->rates, name->grant.rate, RATE_UP, len, now_of(a))) {
		a->counts.dropped[DROP_RATE]++;
		return;
	}
	memcpy(to.name, name->text, (size_t)name->len + 1);
	name->sent = true;
	send_via(a, &name->grant, &to, data, len);
}

/* The name may go where its address may not, so the verdict on the address is not looked at. */
static void send_to_name(struct association *a, struct name *name, const void *data, size_t len)
{
	struct remote *r;

	if (name->named) {
		send_name(a, name, data, len);
		return;
	}
	r = remotes_get(&a->remotes, &name->ip, name->port, now_of(a), old_of(a));
	if (!r) {
		a->counts.dropped[DROP_FULL]++;
		return;
	}
	if (r->filter < name->grant.filter)
		r->filter = name->grant.filter;
	if (send_out(a, r, &name->grant, data, len) == -ENODEV)
		name->until = 0;
}

static void drop_named(struct association *a, const struct name *name)
{
	a->counts.dropped[name->denied ? DROP_DENIED : DROP_NAME]++;
}

static void send_held(struct association *a, struct name *name)
{
	struct held *h;

	while ((h = name_take(name)) != NULL) {
		if (name->usable)
			send_to_name(a, name, h->data, h->len);
		else
			drop_named(a, name);
		free(h);
	}
}

/* Chooses the first address that the policy admits; the one in use, while it is among them. */
static void choose_address(
    struct association *a, struct name *name, const struct resolve_answer *answer)
{
	char canonical[ADDR_NAME_MAX + 1];
	bool had = name->usable && !name->named;
	struct ip before = name->ip;

	name->usable = name->named = false;
	name->denied = answer->err == ERR_OK || answer->err == ERR_DENIED;
	name_canonical(name->text, name->len, canonical);
	for (unsigned i = 0; i < answer->n && answer->err == ERR_OK; i++) {
		bool same = had && ip_equal(&answer->ip[i], &before);
		struct grant grant;

		if ((name->usable && !same) ||
		    !judge(a, canonical, &answer->ip[i], name->port, &grant))
			continue;
		name->usable = true;
		name->ip = answer->ip[i];
		name->grant = grant;
		if (same || !had)
			break;
	}
	name->until = now_of(a) + (name->usable && !name->grant.no_way ? JUDGED_MS : FAILED_MS);
	name->resolving = false;
}

static void on_resolved(struct resolve_wait *wait, const struct resolve_answer *answer)
{
	struct name *name = (struct name *)wait;
	struct association *a =
	    (struct association *)((char *)name->all - offsetof(struct association, names));

	choose_address(a, name, answer);
	send_held(a, name);
}

/* The rules let it go to a proxy as a name, and are asked about no address. */
static void leave_to_proxy(struct association *a, struct name *name, const struct decision *d)
{
	name->grant = grant_of(d);
	name->denied = !policy_proxy_has_udp(d->via);
	name->usable = name->named =
	    !name->denied && rates_number(&a->rates, d, now_of(a), &name->grant.rate);
	name->until = now_of(a) + (name->usable ? JUDGED_MS : FAILED_MS);
	if (name->usable && !a->session->rule)
		a->session->rule = d->rule;
}

/* Asks, unless no address could make a difference. */
static void look_up(struct association *a, struct name *name)
{
	struct resolve_answer answer = {.err = ERR_DENIED};
	struct policy_request req = udp_question(a->session, COMMAND_UDP);
	struct decision d;
	char canonical[ADDR_NAME_MAX + 1];
	int ret = 1;

	name_canonical(name->text, name->len, canonical);
	req.name = canonical;
	req.port = name->port;
	d = policy_decide(policy_of(a), &req);
	if (policy_sends_name(&d)) {
		if (d.log && d.rule)
			request_log_decision(a->session, &req, &d);
		leave_to_proxy(a, name, &d);
		return;
	}
	if (d.verdict != VERDICT_DENY)
		ret = resolver_ask(
		    a->worker->resolver, name->text, &name->wait, on_resolved, &answer);
	if (ret == 0) {
		name->resolving = true;
		return;
	}
	if (ret < 0)
		answer.err = ret;
	choose_address(a, name, &answer);
}

/* The name, looked up or about to be. NULL where there can be none, and it is counted why. */
static struct name *name_for(struct association *a, const struct socks5_address *to)
{
	struct name *name = names_find(&a->names, to);
	struct addr addr = {.port = to->port};

	if (name)
		return name;
	/* A literal does not come here. */
	if (socks5_address_to_addr(to, &addr) != 0) {
		a->counts.dropped[DROP_MALFORMED]++;
		return NULL;
	}
	name = names_add(&a->names, &addr);
	if (!name)
		a->counts.dropped[DROP_NAME]++;
	return name;
}

static void to_name(struct association *a, const struct udp_packet *p)
{
	struct name *name = name_for(a, &p->remote);
	uint64_t now = now_of(a);

	if (!name)
		return;
	name->used = now;
	if (!name->resolving && now >= name->until)
		look_up(a, name);
	if (name->resolving) {
		if (!name_hold(name, p->data, p->len))
			a->counts.dropped[DROP_NAME]++;
	} else if (name->usable) {
		send_to_name(a, name, p->data, p->len);
	} else {
		drop_named(a, name);
	}
}

/* ---- from the client ---- */

/* Returns whether the packet is now a whole datagram. */
static bool collect(struct association *a, struct udp_packet *p)
{
	struct udp_fragments *f = &a->fragments;
	enum udp_fate fate = UDP_DROP;
	unsigned lost = 0;

	if (p->frag == 0) {
		a->counts.dropped[DROP_FRAGMENT] += udp_fragments_reset(f);
		return true;
	}
	/* Pages are taken as they are first used, and few clients send fragments. */
	if (!policy_of(a)->set.fragments_off && !f->buf)
		f->buf = malloc(UDP_PAYLOAD_MAX);
	if (!policy_of(a)->set.fragments_off && f->buf)
		fate = udp_reassemble(f, p, now_of(a), &lost);
	a->counts.dropped[DROP_FRAGMENT] += lost + (fate == UDP_DROP);
	return fate == UDP_WHOLE;
}

/* A name that is a literal is an address: some clients send every destination as a name. */
static bool is_address(const struct socks5_address *to, struct ip *ret_ip)
{
	const char *text = (const char *)to->host;
	size_t len = to->host_len;

	if (to->type == SOCKS5_ATYP_IPV4)
		*ret_ip = ip_from_v4(to->host);
	else if (to->type == SOCKS5_ATYP_IPV6)
		*ret_ip = ip_from_v6(to->host);
	else if (len > 2 && text[0] == '[' && text[len - 1] == ']')
		return ip_parse(text + 1, len - 2, ret_ip) == 0;
	else
		return ip_parse(text, len, ret_ip) == 0;
	return true;
}

static void from_client(struct gate_member *member, const struct datagram *raw)
{
	struct association *a =
	    (struct association *)((char *)member - offsetof(struct association, client));
	struct datagram d = *raw;
	struct udp_packet p;
	struct ip ip;

	if (!udp_unprotect(a->session, &d)) {
		a->counts.dropped[DROP_PROTECTION]++;
		return;
	}
	if (udp_read(d.data, d.len, &p) != 0) {
		a->counts.dropped[DROP_MALFORMED]++;
		return;
	}
	if (!collect(a, &p))
		return;
	if (is_address(&p.remote, &ip))
		to_address(a, &ip, p.remote.port, p.data, p.len);
	else
		to_name(a, &p);
}

/* ---- from the remotes ---- */

/* What a rule with a wider filter says of a remote that was not sent to. */
static struct remote *judged_unasked(struct association *a, const struct ip *ip, uint16_t port)
{
	uint64_t now = now_of(a);
	struct decision decision;
	struct remote *r = remotes_get(&a->unasked, ip, port, now, old_of(a));

	if (!r || now < r->until)
		return r;
	/* Without a line in the log, or strangers could fill it. */
	decision = decide(a, NULL, ip, port, false);
	r->allowed = decision.verdict == VERDICT_ALLOW &&
		     decision.filter == FILTER_ENDPOINT_INDEPENDENT &&
		     rates_number(&a->rates, &decision, now, &r->rate);
	r->via = decision.via;
	r->until = now + JUDGED_MS;
	return r;
}

/*
 * By whom is an address let in that has come by this way (NULL: directly): itself, if it was sent
 * to, or a wider filter of one that let the client send to that address or would let it send to
 * this very remote? NULL: by nobody.
 */
static struct remote *speaker(
    struct association *a, const struct policy_proxy *via, const struct ip *ip, uint16_t port)
{
	struct remote *r = remotes_find(&a->remotes, ip, port);

	if (r && r->sent && r->via == via) {
		r->used = now_of(a);
		return r;
	}
	if (policy_of(a)->widest_filter == FILTER_ADDRESS_PORT)
		return NULL;
	r = remotes_find_address(&a->remotes, ip, via, FILTER_ADDRESS);
	if (r)
		return r;
	r = judged_unasked(a, ip, port);
	return r && r->allowed && r->via == via ? r : NULL;
}

/* Is it let in, and at which rate? */
static bool may_speak(struct association *a, const struct policy_proxy *via,
    const struct addr *from, uint16_t *ret_rate)
{
	const struct remote *r = NULL;
	struct name *name;

	if (a->client.port == 0)
		return false;
	if (from->kind == ADDR_IP)
		r = speaker(a, via, &from->ip, from->port);
	if (r) {
		*ret_rate = r->rate;
		return true;
	}
	name = via ? names_find_speaker(&a->names, via, from) : NULL;
	if (!name)
		return false;
	*ret_rate = name->grant.rate;
	if (from->kind == ADDR_IP && from->port == name->port) {
		name->answered = true;
		name->ip = from->ip;
	}
	return true;
}

/* A frame of GSS-API holds the payload and more; what is more counts as header. */
static int post_to_client(struct association *a, const struct udp_parts *parts, size_t payload)
{
	const uint8_t *data = parts->data;
	size_t more = parts->len - payload;

	if (more == 0)
		return gate_post(
		    &a->client, &a->to_client, parts->header, parts->header_len, data, payload);
	return gate_post(&a->client, &a->to_client, data, more, data + more, payload);
}

static void to_client_unsent(struct datagram_poster *poster, size_t n, size_t bytes, int err)
{
	struct association *a =
	    (struct association *)((char *)poster - offsetof(struct association, to_client));

	a->counts.down -= n;
	a->session->relay.end[RELAY_CLIENT].sent -= bytes;
	a->counts.dropped[drop_of(err)] += n;
}

/* `via`: through whom it has come; NULL: directly. */
static void from_remote(struct association *a, const struct policy_proxy *via,
    const struct addr *from, const uint8_t *data, size_t len)
{
	uint8_t header[UDP_HEADER_MAX];
	struct wire_writer out = wire_writer_of(header, sizeof(header));
	struct udp_parts parts;
	uint16_t rate;
	int err;

	if (!may_speak(a, via, from, &rate)) {
		a->counts.dropped[DROP_UNASKED]++;
		return;
	}
	if (!rates_take(&a->rates, rate, RATE_DOWN, len, now_of(a))) {
		a->counts.dropped[DROP_RATE]++;
		return;
	}
	udp_write_header(&out, from);
	parts = (struct udp_parts){header, data, out.len, len};
	err = udp_protect(a->session, &parts);
	if (!err)
		err = post_to_client(a, &parts, len);
	if (err) {
		a->counts.dropped[drop_of(err)]++;
		return;
	}
	a->counts.down++;
	a->session->relay.end[RELAY_CLIENT].sent += len;
	a->session->relay.moved = true;
}

static void from_proxies(void *ctx, const struct policy_proxy *via, const struct addr *from,
    const uint8_t *data, size_t len)
{
	from_remote(ctx, via, from, data, len);
}

static struct association *owner_of(const struct datagram_socket *sock)
{
	return (
	    struct association *)((char *)outlets_of(sock) - offsetof(struct association, outlets));
}

static void on_remote(struct datagram_socket *sock, const struct datagram *list, size_t n)
{
	struct association *a = owner_of(sock);

	for (size_t i = 0; i < n; i++) {
		const struct addr from = addr_from_ip(&list[i].from, list[i].port);

		from_remote(a, NULL, &from, list[i].data, list[i].len);
	}
}

/* ---- what ICMP says ---- */

/* SOCKS has no way to tell the client (RFC 1928: silently), so the log is told, once in a while
 * for each remote: a remote that refuses all of a stream must not fill it. */
static void log_error(struct association *a, struct remote *r, const struct datagram_error *e)
{
	uint64_t now = now_of(a);
	char text[IP_TEXT_MAX];
	struct log_record rec;

	if (!log_enabled(LOG_AT_DEBUG) || (r->failed != 0 && now - r->failed < JUDGED_MS))
		return;
	r->failed = now;
	log_begin(&rec, LOG_AT_DEBUG, "udp-unreachable");
	log_text(&rec, "from", ip_format(&a->client.client, text));
	log_text(&rec, "address", ip_format(&e->to, text));
	log_number(&rec, "port", e->port);
	log_text(&rec, "error", strerror(-e->err));
	log_end(&rec);
}

/* What is said of a remote that nothing was sent to is as unasked as a datagram from there. */
static void on_remote_error(struct datagram_socket *sock, const struct datagram_error *e)
{
	struct association *a = owner_of(sock);
	struct remote *r = remotes_find(&a->remotes, &e->to, e->port);

	if (!r || !r->sent) {
		a->counts.dropped[DROP_UNASKED]++;
		return;
	}
	a->counts.icmp_errors++;
	log_error(a, r, e);
}

/* ---- beginning and end ---- */

/* The address of a client behind NAT says nothing here, and neither does its port. */
static uint16_t declared_port(const struct session *s)
{
	const struct addr *declared = &s->hs->accept.target;

	if (declared->kind == ADDR_IP &&
	    (ip_equal(&declared->ip, &s->client) || ip_classes(&declared->ip) & IP_UNSPECIFIED))
		return declared->port;
	return 0;
}

static int open_client_side(struct association *a)
{
	const struct session *s = a->session;
	struct sockaddr_storage local;
	int err = udp_local_address(s, &local);

	if (err)
		return err;
	/* A balancer may have taken in IPv6 and come here over IPv4: such a client has no way to
	 * this socket. */
	if (ip_is_v4(&s->client) != (local.ss_family == AF_INET))
		return -EAFNOSUPPORT;
	return gate_join(&a->client, a->worker, &policy_of(a)->set, &local, &s->client,
	    declared_port(s), from_client);
}

static struct association *make(struct session *s)
{
	struct association *a = calloc(1, sizeof(*a));

	if (!a)
		return NULL;
	a->session = s;
	a->worker = s->worker;
	a->to_client.unsent = to_client_unsent;
	a->to_remote.unsent = to_remote_unsent;
	outlets_init(&a->outlets, s, on_remote, on_remote_error);
	a->worker->n_associations++;
	return a;
}

void associate_begin(struct session *s)
{
	struct association *a;
	struct addr bound;
	int err = s->listener->unix_path ? ERR_COMMAND : udp_may_begin(s, COMMAND_UDP);

	if (err) {
		session_end(s, err);
		return;
	}
	a = make(s);
	err = a ? udpvias_init(&a->vias, s, &a->counts, from_proxies, a) : -ENOMEM;
	if (!err)
		err = open_client_side(a);
	if (err) {
		associate_close(a);
		session_end(s, err);
		return;
	}
	udp_keep_alive(session_client(s)->fd);
	bound = udp_told_address(s, gate_address(&a->client));
	session_associated(s, a, &bound);
}

void associate_log(const struct association *a, struct log_record *rec)
{
	const struct gate_losses losses = gate_own_losses(&a->client);
	struct udp_counts counts = a->counts;
	uint64_t overflowed =
	    losses.overflowed + udpvias_overflowed(&a->vias) + outlets_overflowed(&a->outlets);

	outlets_log(&a->outlets, rec);
	udpvias_log(&a->vias, rec);
	log_number(rec, "packets-up", a->counts.up);
	log_number(rec, "packets-down", a->counts.down);
	if (losses.strangers > 0)
		log_number(rec, "drop-stranger", losses.strangers);
	/* What waits when all is over is lost too. */
	counts.dropped[DROP_NAME] += a->names.n_held;
	counts.dropped[DROP_PROXY] += udpvias_waiting(&a->vias);
	drops_log(&counts, rec);
	if (overflowed > 0)
		log_number(rec, "drop-overflow", overflowed);
	if (a->counts.icmp_errors > 0)
		log_number(rec, "icmp-errors", a->counts.icmp_errors);
	if (a->client.errors > 0)
		log_number(rec, "icmp-client", a->client.errors);
}

static void outlets_closed(struct outlets *outlets)
{
	free((char *)outlets - offsetof(struct association, outlets));
}

void associate_close(struct association *a)
{
	if (!a)
		return;
	a->worker->n_associations--;
	gate_leave(&a->client);
	names_fini(&a->names);
	udpvias_fini(&a->vias);
	rates_fini(&a->rates);
	remotes_fini(&a->remotes);
	remotes_fini(&a->unasked);
	free(a->fragments.buf);
	if (!outlets_close(&a->outlets, outlets_closed))
		free(a);
}
