/* SPDX-License-Identifier: MIT */
/* Gates: opened, shared, and closed behind the last one. */
#include "server/gate.h"

#include <errno.h>
#include <netinet/in.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "net/log.h"
#include "net/sockaddr.h"
#include "proto/err.h"
#include "server/ports.h"
#include "server/request.h"
#include "server/worker.h"

/* Ports of the range that are tried for one association. */
#define PORT_TRIES 1024
/* What a gate that many share asks the kernel to hold; net.core.rmem_max may cut it. */
#define SHARED_RECEIVE_BYTES (4 * 1024 * 1024)

struct gate {
	struct datagram_socket sock;
	struct worker *worker;
	struct sockaddr_storage local; /* with its port: what a shared one is found by */
	struct claims claims;
	struct gate *next; /* among the worker's shared ones */
	unsigned n_members;
	struct gate_member *alone; /* the one for whom it is, or NULL */
	bool shared;
	uint64_t strangers;
};

/* ---- whose it is ---- */

static struct gate_member *member_of(struct claim *c)
{
	size_t offset = c->kind == CLAIM_HEARD ? offsetof(struct gate_member, heard)
					       : offsetof(struct gate_member, declared);

	return (struct gate_member *)((char *)c - offset);
}

/* A new source: whose may it be? A relay of ours is no client (U28). */
static struct gate_member *take_up(struct gate *g, const struct ip *ip, uint16_t port)
{
	struct claim *c = claims_find(&g->claims, CLAIM_DECLARED, ip, port);
	struct gate_member *m;

	if (!c)
		c = claims_find(&g->claims, CLAIM_HEARD, ip, 0);
	if (!c || (ports_have(ip, port) && request_is_local(ip)))
		return NULL;
	m = member_of(c);
	/* Whoever was heard in its place before is a stranger from now on. */
	claim_drop(&g->claims, &m->heard);
	claim_make(&g->claims, &m->heard, CLAIM_HEARD, ip, port);
	if (m->declared.made && m->declared.port == port)
		claim_drop(&g->claims, &m->declared);
	m->port = port;
	return m;
}

static bool is_client(const struct gate_member *m, const struct ip *ip, uint16_t port)
{
	return ip_equal(ip, &m->client) && !(ports_have(ip, port) && request_is_local(ip));
}

static struct gate_member *find_member(struct gate *g, const struct datagram *d)
{
	struct claim *c;

	/* 0 stands for those not heard yet, and nobody could be answered there. */
	if (d->port == 0)
		return NULL;
	if (g->alone)
		return is_client(g->alone, &d->from, d->port) ? g->alone : NULL;
	c = claims_find(&g->claims, CLAIM_HEARD, &d->from, d->port);
	return c ? member_of(c) : take_up(g, &d->from, d->port);
}

static void on_datagrams(struct datagram_socket *sock, const struct datagram *list, size_t n)
{
	struct gate *g = sock->owner;

	/* The last member may leave in the midst of it. */
	for (size_t i = 0; i < n && g->n_members > 0; i++) {
		struct gate_member *m = find_member(g, &list[i]);

		if (m)
			m->fn(m, &list[i]);
		else
			g->strangers++;
	}
}

/* The client's socket may be gone for a moment, or ICMP lies: the TCP connection alone tells when
 * the association is over. */
static void on_error(struct datagram_socket *sock, const struct datagram_error *e)
{
	struct gate *g = sock->owner;
	struct claim *c = claims_find(&g->claims, CLAIM_HEARD, &e->to, e->port);

	if (g->alone && ip_equal(&e->to, &g->alone->client))
		g->alone->errors++;
	else if (c && e->port != 0)
		member_of(c)->errors++;
	else
		g->strangers++;
}

/* ---- opened and closed ---- */

static bool is_v6(const struct gate *g)
{
	return g->local.ss_family == AF_INET6;
}

static void set_port(struct sockaddr_storage *sa, uint16_t port)
{
	if (sa->ss_family == AF_INET)
		((struct sockaddr_in *)sa)->sin_port = htons(port);
	else
		((struct sockaddr_in6 *)sa)->sin6_port = htons(port);
}

static int open_at(struct gate *g, uint16_t port)
{
	int err;

	set_port(&g->local, port);
	err = datagram_open(
	    &g->sock, g->worker->datagrams, &g->worker->loop, &g->local, on_datagrams);
	if (err)
		return err;
	g->sock.owner = g;
	g->sock.failed = on_error;
	ports_add(g->worker->number, is_v6(g), g->sock.port);
	return 0;
}

/* Ports of a range are taken in turn, so that one that was closed rests as long as possible. */
static int open_in_range(struct gate *g, const struct policy_settings *set)
{
	unsigned n = (unsigned)(set->udp_last - set->udp_first) + 1;
	int err = -EADDRINUSE;

	for (unsigned i = 0; i < n && i < PORT_TRIES && err == -EADDRINUSE; i++)
		err = open_at(g, (uint16_t)(set->udp_first + g->worker->next_udp_port++ % n));
	return err;
}

static uint16_t shared_port(const struct worker *w, const struct policy_settings *set)
{
	return (uint16_t)(set->udp_first + w->number);
}

static int open_shared(struct gate *g, const struct policy_settings *set)
{
	const int bytes = SHARED_RECEIVE_BYTES;
	int err = open_at(g, shared_port(g->worker, set));

	if (err)
		return err;
	/* Less room is less room, and no reason to serve nobody. */
	(void)setsockopt(g->sock.fd, SOL_SOCKET, SO_RCVBUF, &bytes, sizeof(bytes));
	g->shared = true;
	g->next = g->worker->gates;
	g->worker->gates = g;
	return 0;
}

static int open_gate(struct gate **ret, struct worker *w, const struct policy_settings *set,
    const struct sockaddr_storage *local, struct gate_member *alone)
{
	struct gate *g = calloc(1, sizeof(*g));
	int err;

	if (!g)
		return -ENOMEM;
	g->worker = w;
	g->local = *local;
	g->alone = alone;
	if (set->udp_first == 0 || (alone && set->udp_shared))
		err = open_at(g, 0);
	else if (set->udp_shared)
		err = open_shared(g, set);
	else
		err = open_in_range(g, set);
	if (err) {
		free(g);
		return err == -EADDRINUSE ? ERR_UNAVAILABLE : err;
	}
	*ret = g;
	return 0;
}

/* The worker's gate at that address, or NULL. A link-local address has a scope as well. */
static struct gate *find_shared(
    const struct worker *w, const struct policy_settings *set, const struct sockaddr_storage *local)
{
	struct sockaddr_storage wanted = *local;
	struct gate *g = w->gates;

	set_port(&wanted, shared_port(w, set));
	while (g && memcmp(&g->local, &wanted, sizeof(wanted)) != 0)
		g = g->next;
	return g;
}

static void sock_closed(struct datagram_socket *sock)
{
	free(sock->owner);
}

static void log_losses(const struct gate *g)
{
	uint64_t overflowed = datagram_overflowed(&g->sock) + g->sock.cut;
	char text[IP_TEXT_MAX];
	struct log_record rec;

	if (g->strangers + overflowed == 0)
		return;
	log_begin(&rec, LOG_AT_INFO, "udp-port");
	log_text(&rec, "address", ip_format(&g->sock.local, text));
	log_number(&rec, "port", g->sock.port);
	if (g->strangers > 0)
		log_number(&rec, "drop-stranger", g->strangers);
	if (overflowed > 0)
		log_number(&rec, "drop-overflow", overflowed);
	log_end(&rec);
}

static void close_gate(struct gate *g)
{
	struct gate **at = &g->worker->gates;

	if (g->shared) {
		log_losses(g);
		while (*at != g)
			at = &(*at)->next;
		*at = g->next;
	}
	claims_fini(&g->claims);
	ports_remove(g->worker->number, is_v6(g), g->sock.port);
	datagram_close(&g->sock, sock_closed);
}

/* ---- members ---- */

int gate_join(struct gate_member *m, struct worker *w, const struct policy_settings *set,
    const struct sockaddr_storage *local, const struct ip *client, uint16_t declared_port,
    gate_fn *fn)
{
	struct gate *g = set->udp_shared ? find_shared(w, set, local) : NULL;
	int err = g ? 0 : open_gate(&g, w, set, local, NULL);

	if (err)
		return err;
	*m = (struct gate_member){.gate = g, .fn = fn, .client = *client};
	claim_make(&g->claims, &m->heard, CLAIM_HEARD, client, 0);
	if (declared_port != 0)
		claim_make(&g->claims, &m->declared, CLAIM_DECLARED, client, declared_port);
	g->n_members++;
	return 0;
}

int gate_join_alone(struct gate_member *m, struct worker *w, const struct policy_settings *set,
    const struct sockaddr_storage *local, const struct ip *client, gate_fn *fn)
{
	struct gate *g;
	int err = open_gate(&g, w, set, local, m);

	if (err)
		return err;
	*m = (struct gate_member){.gate = g, .fn = fn, .client = *client};
	g->n_members++;
	return 0;
}

struct addr gate_address(const struct gate_member *m)
{
	return addr_from_ip(&m->gate->sock.local, m->gate->sock.port);
}

int gate_send(
    struct gate_member *m, const void *header, size_t header_len, const void *data, size_t len)
{
	return datagram_send(&m->gate->sock, header, header_len, data, len, &m->client, m->port);
}

int gate_post(struct gate_member *m, struct datagram_poster *poster, const void *header,
    size_t header_len, const void *data, size_t len)
{
	return datagram_post(
	    &m->gate->sock, poster, header, header_len, data, len, &m->client, m->port);
}

int gate_send_to(struct gate_member *m, uint16_t port, const void *header, size_t header_len,
    const void *data, size_t len)
{
	return datagram_send(&m->gate->sock, header, header_len, data, len, &m->client, port);
}

struct gate_losses gate_own_losses(const struct gate_member *m)
{
	const struct gate *g = m->gate;

	if (!g || g->shared)
		return (struct gate_losses){0};
	return (struct gate_losses){
	    .strangers = g->strangers,
	    .overflowed = datagram_overflowed(&g->sock) + g->sock.cut,
	};
}

void gate_leave(struct gate_member *m)
{
	struct gate *g = m->gate;

	if (!g)
		return;
	datagram_flush(g->worker->datagrams);
	claim_drop(&g->claims, &m->heard);
	claim_drop(&g->claims, &m->declared);
	m->gate = NULL;
	if (--g->n_members == 0)
		close_gate(g);
}
