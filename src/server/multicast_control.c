/* SPDX-License-Identifier: MIT */
/* Control messages of the enhanced UDP mode: bindings made, changed and released. */
#include "server/multicast_int.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/random.h>

#include "proto/err.h"
#include "server/ports.h"
#include "server/request.h"
#include "server/udp.h"

/* For how long a verdict holds: rules may name hours. */
#define JUDGED_MS 60000

static uint64_t now_of(const struct multicast *m)
{
	return loop_now(&m->worker->loop);
}

struct binding *multicast_find(const struct multicast *m, uint32_t aid)
{
	for (size_t i = 0; i < m->n; i++)
		if (m->bindings[i]->aid == aid)
			return m->bindings[i];
	return NULL;
}

/* ---- what the rules say ---- */

static struct decision decide(
    struct multicast *m, bool group, const struct ip *ip, uint16_t port, bool log)
{
	const struct udp_remote to = {.ip = *ip, .port = port};

	return udp_decide(m->session, group ? COMMAND_MULTICAST : COMMAND_UDP, &to, log);
}

static void note(struct multicast *m, struct binding *b, const struct decision *d)
{
	b->allowed = d->verdict == VERDICT_ALLOW && rates_number(&m->rates, d, now_of(m), &b->rate);
	b->until = now_of(m) + JUDGED_MS;
	if (!b->allowed)
		return;
	b->rule = d->rule;
	b->ttl_max = d->ttl;
}

bool multicast_may_pass(struct multicast *m, struct binding *b)
{
	struct decision d;

	if (now_of(m) >= b->until) {
		d = decide(m, b->group, &b->remote, b->port, false);
		note(m, b, &d);
	}
	return b->allowed;
}

/* What a BIND asks for, bit by bit. */
struct wish {
	const struct mcast_control *c;
	struct binding *b; /* the one to be extended, or NULL */
	bool receive, send, tcp, group;
	struct ip ip;
	uint16_t port;
	uint16_t possible; /* of the flags, should it come to nothing */
	struct decision d;
	struct datagram_way way;
};

/* What can never go together. */
static uint8_t check_flags(struct wish *w)
{
	uint16_t flags = w->c->flags;

	w->receive = flags & MCAST_RECEIVE;
	w->send = flags & MCAST_SEND;
	w->tcp = flags & MCAST_TCP;
	w->group = flags & MCAST_MULTICAST;
	if (!w->receive && !w->send)
		return SOCKS5_GENERAL_FAILURE;
	if (w->tcp && flags & (MCAST_UNICAST | MCAST_MM_MODE))
		return SOCKS5_GENERAL_FAILURE;
	return flags & (MCAST_UNICAST | MCAST_TCP | MCAST_MULTICAST) ? 0 : SOCKS5_GENERAL_FAILURE;
}

/* A balancer may have taken in IPv6 and come here over IPv4: such a client has no way to our socket
 * for its datagrams. Over its connection it is served as others are. */
static uint8_t check_way(const struct multicast *m, const struct wish *w)
{
	const struct addr ours = gate_address(&m->client);

	if (w->tcp || ip_is_v4(&ours.ip) == ip_is_v4(&m->session->client))
		return 0;
	return SOCKS5_ADDRESS_NOT_SUPPORTED;
}

/* A name would have to be looked up, and a group has none that anybody uses. */
static uint8_t check_remote(struct wish *w)
{
	struct addr a;

	if (!w->c->has_addresses || socks5_address_to_addr(&w->c->remote, &a) != 0)
		return SOCKS5_GENERAL_FAILURE;
	if (a.kind != ADDR_IP)
		return SOCKS5_ADDRESS_NOT_SUPPORTED;
	if (w->group != ((ip_own_classes(&a.ip) & IP_MULTICAST) != 0))
		return MCAST_BAD_GROUP;
	w->ip = a.ip;
	w->port = a.port;
	return 0;
}

static uint8_t check_association(struct multicast *m, struct wish *w)
{
	if (w->c->aid == 0)
		return m->n < BINDINGS_MAX ? 0 : SOCKS5_GENERAL_FAILURE;
	w->b = multicast_find(m, w->c->aid);
	if (!w->b)
		return MCAST_BAD_AID;
	if (w->b->tcp != w->tcp || w->b->group != w->group || w->b->port != w->port ||
	    !ip_equal(&w->b->remote, &w->ip))
		return MCAST_BAD_CONTEXT;
	return 0;
}

static uint8_t check_policy(struct multicast *m, struct wish *w)
{
	uint16_t kind = w->group ? MCAST_MULTICAST | MCAST_MU_MODE : MCAST_UNICAST;

	w->d = decide(m, w->group, &w->ip, w->port, true);
	if (w->d.verdict != VERDICT_ALLOW && w->group)
		return w->receive ? MCAST_RECEIVE_DENIED : MCAST_SEND_DENIED;
	if (w->d.verdict != VERDICT_ALLOW)
		return SOCKS5_NOT_ALLOWED;
	if (w->group && w->send && (w->c->ttl == 0 || w->c->ttl > w->d.ttl)) {
		if (w->receive)
			w->possible = MCAST_RECEIVE | kind;
		return MCAST_BAD_TTL;
	}
	if (w->group && !udp_find_way(&w->d, &m->told_of_interface, &w->way))
		return SOCKS5_NETWORK_UNREACHABLE;
	return 0;
}

/* Two descriptors, as of a session. */
static bool has_room(const struct multicast *m, const struct wish *w)
{
	const struct worker *worker = m->worker;

	if (w->group && w->receive && worker->n_groups >= GROUPS_MAX)
		return false;
	return w->b || worker->n_sessions + worker->n_associations < worker->max_sessions;
}

static uint32_t new_aid(const struct multicast *m)
{
	uint32_t aid = 0;

	while (aid == 0 || multicast_find(m, aid))
		if (getrandom(&aid, sizeof(aid), 0) != sizeof(aid))
			return 0;
	return aid;
}

static struct binding *make_binding(struct multicast *m, const struct wish *w)
{
	struct binding *b = calloc(1, sizeof(*b));

	if (!b)
		return NULL;
	b->all = m;
	b->worker = m->worker;
	b->fn = multicast_heard;
	b->aid = new_aid(m);
	b->tcp = w->tcp;
	b->group = w->group;
	b->remote = w->ip;
	b->port = w->port;
	b->interface = w->way.interface;
	b->egress = w->d.egress;
	b->session = m->session;
	if (b->aid == 0) {
		free(b);
		return NULL;
	}
	return b;
}

/* A client must not be another relay of ours. */
static void set_client_port(struct multicast *m, struct binding *b, uint16_t port)
{
	const struct ip *ip = &m->session->client;

	if (!b->heard && !(ports_have(ip, port) && request_is_local(ip)))
		b->client_port = port;
}

/* Opens what is asked for; of an association that is there already what it has stays. */
static int open_wish(struct binding *b, const struct wish *w)
{
	bool had_receive = b->receives, had_send = b->sends;
	int err = w->receive ? binding_receive(b) : 0;

	if (!err && w->send)
		err = binding_send(b);
	if (err)
		binding_stop(b, w->receive && !had_receive, w->send && !had_send);
	return err;
}

static void add(struct multicast *m, struct binding *b)
{
	m->bindings[m->n++] = b;
	m->worker->n_associations++;
}

static uint8_t establish(struct multicast *m, struct wish *w)
{
	struct binding *b = w->b ? w->b : make_binding(m, w);
	bool had;
	int err;

	if (!b)
		return (uint8_t)err_socks5(-ENOMEM);
	had = b->receives;
	err = open_wish(b, w);
	if (err) {
		if (!w->b)
			binding_close(b);
		return (uint8_t)err_socks5(err);
	}
	if (!w->b)
		add(m, b);
	w->b = b;
	note(m, b, &w->d);
	if (w->group && w->send)
		b->ttl = w->c->ttl;
	if (!w->tcp)
		set_client_port(m, b, w->c->local.port);
	m->joined += b->group && b->receives && !had;
	/* What the log tells of the session is the rule that let its first one in. */
	if (!m->session->rule)
		m->session->rule = w->d.rule;
	return 0;
}

static uint16_t flags_of(const struct binding *b, bool receive, bool send)
{
	uint16_t flags = b->tcp ? MCAST_TCP : 0;

	if (b->group)
		flags |= MCAST_MULTICAST | MCAST_MU_MODE;
	else if (!b->tcp)
		flags |= MCAST_UNICAST;
	return flags | (receive ? MCAST_RECEIVE : 0) | (send ? MCAST_SEND : 0);
}

/* Where to send, and from where data comes; what the remote sees, or the group itself. */
static void tell_addresses(const struct multicast *m, const struct binding *b,
    struct addr *ret_local, struct addr *ret_remote)
{
	if (!b->tcp)
		*ret_local = udp_told_address(m->session, gate_address(&m->client));
	*ret_remote = b->group ? addr_from_ip(&b->remote, b->port) : binding_outside(b);
}

static void do_bind(struct multicast *m, const struct mcast_message *msg, struct answer *a)
{
	struct wish w = {.c = &msg->control};
	uint8_t code = check_flags(&w);

	if (!code)
		code = check_way(m, &w);
	if (!code)
		code = check_remote(&w);
	if (!code)
		code = check_association(m, &w);
	if (!code)
		code = check_policy(m, &w);
	if (!code && !has_room(m, &w))
		code = SOCKS5_GENERAL_FAILURE;
	if (!code)
		code = establish(m, &w);
	a->control.code = code;
	a->control.flags = w.possible;
	if (code || !w.b)
		return;
	a->control.flags = flags_of(w.b, w.receive, w.send);
	a->control.aid = w.b->aid;
	tell_addresses(m, w.b, &a->local, &a->remote);
}

/* Of each association with a group, when it is over: who was in it, and how much passed. Those by
 * which nothing did could fill the log. */
static void log_group(const struct multicast *m, const struct binding *b)
{
	const struct session *s = m->session;
	const struct addr group = addr_from_ip(&b->remote, b->port);
	enum log_level level = b->up + b->down > 0 ? LOG_AT_INFO : LOG_AT_DEBUG;
	char text[ADDR_TEXT_MAX];
	struct log_record rec;

	if (!b->group || !log_enabled(level))
		return;
	log_begin(&rec, level, "group");
	log_text(&rec, "from", ip_format(&s->client, text));
	if (s->user_len > 0)
		log_bytes(&rec, "user", s->labels, s->user_len);
	log_text(&rec, "group", addr_format(&group, text));
	if (b->ttl > 0)
		log_number(&rec, "ttl", b->ttl);
	log_number(&rec, "packets-up", b->up);
	log_number(&rec, "packets-down", b->down);
	request_log_verdict(&rec, true, b->rule);
	log_end(&rec);
}

void multicast_remove(struct multicast *m, struct binding *b)
{
	size_t i = 0;

	while (m->bindings[i] != b)
		i++;
	m->bindings[i] = m->bindings[--m->n];
	m->worker->n_associations--;
	m->overflowed += binding_overflowed(b);
	log_group(m, b);
	binding_close(b);
}

static void do_release(struct multicast *m, const struct mcast_message *msg, struct answer *a)
{
	struct binding *b = multicast_find(m, msg->control.aid);
	bool receive = msg->control.flags & MCAST_RECEIVE, send = msg->control.flags & MCAST_SEND;

	if (!b) {
		a->control.code = MCAST_BAD_AID;
		return;
	}
	receive &= b->receives;
	send &= b->sends;
	if (!receive && !send) {
		a->control.code = MCAST_BAD_CONTEXT;
		return;
	}
	a->control.aid = b->aid;
	a->control.flags = flags_of(b, receive, send);
	if (receive == b->receives && send == b->sends)
		multicast_remove(m, b);
	else
		binding_stop(b, receive, send);
}

static void do_set_ttl(struct multicast *m, const struct mcast_message *msg, struct answer *a)
{
	struct binding *b = multicast_find(m, msg->control.aid);
	uint8_t ttl = msg->control.ttl;

	if (!b)
		a->control.code = MCAST_BAD_AID;
	else if (!b->group || !b->sends)
		a->control.code = MCAST_BAD_CONTEXT;
	else if (!multicast_may_pass(m, b))
		a->control.code = MCAST_SEND_DENIED;
	else if (ttl == 0 || ttl > b->ttl_max)
		a->control.code = MCAST_BAD_TTL;
	if (a->control.code)
		return;
	b->ttl = ttl;
	a->control.aid = b->aid;
	a->control.flags = flags_of(b, b->receives, b->sends);
	a->control.ttl = ttl;
}

void multicast_control(
    struct multicast *m, const struct mcast_message *msg, struct answer *ret_answer)
{
	if (msg->err)
		ret_answer->control.code = (uint8_t)err_socks5(msg->err);
	else if (msg->control.code == MCAST_BIND)
		do_bind(m, msg, ret_answer);
	else if (msg->control.code == MCAST_RELEASE)
		do_release(m, msg, ret_answer);
	else if (msg->control.code == MCAST_SET_TTL)
		do_set_ttl(m, msg, ret_answer);
	else
		ret_answer->control.code = SOCKS5_COMMAND_NOT_SUPPORTED;
}
