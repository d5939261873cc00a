/* SPDX-License-Identifier: MIT */
#include "server/binding.h"

#include <errno.h>
#include <stdlib.h>

#include "server/egress.h"
#include "server/ports.h"
#include "server/request.h"
#include "server/worker.h"

/* A socket, which stays until the loop has let go of it, whatever becomes of the binding. */
struct outlet {
	struct datagram_socket sock;
	struct binding *binding; /* NULL: closed */
};

/* Whoever sends to a group may be heard; an answer to the socket that sends there may not. */
static bool is_unasked(const struct outlet *o, const struct datagram *d)
{
	const struct binding *b = o->binding;

	if (b->group)
		return o != b->in;
	return !b->receives || !ip_equal(&d->from, &b->remote) || d->port != b->port;
}

static void on_datagrams(struct datagram_socket *sock, const struct datagram *list, size_t n)
{
	struct outlet *o = sock->owner;

	for (size_t i = 0; i < n && o->binding; i++)
		o->binding->fn(o->binding, &list[i], is_unasked(o, &list[i]));
}

static struct outlet *make(struct binding *b)
{
	struct outlet *o = calloc(1, sizeof(*o));

	if (o)
		o->binding = b;
	return o;
}

static bool is_v6(const struct outlet *o)
{
	return !ip_is_v4(&o->sock.local);
}

static void outlet_closed(struct datagram_socket *sock)
{
	free(sock->owner);
}

static void close_outlet(struct outlet *o)
{
	o->binding = NULL;
	datagram_close(&o->sock, outlet_closed);
}

static void close_in(struct binding *b)
{
	if (!b->in)
		return;
	b->worker->n_groups--;
	close_outlet(b->in);
	b->in = NULL;
}

static void close_out(struct binding *b)
{
	if (!b->out)
		return;
	ports_remove(b->worker->number, is_v6(b->out), b->out->sock.port);
	close_outlet(b->out);
	b->out = NULL;
	b->own_known = false;
}

static int open_in(struct binding *b)
{
	struct worker *w = b->worker;
	struct outlet *o = make(b);
	int err;

	if (!o)
		return -ENOMEM;
	err = datagram_open_group(
	    &o->sock, w->datagrams, &w->loop, &b->remote, b->port, b->interface, on_datagrams);
	if (err) {
		free(o);
		return err;
	}
	o->sock.owner = o;
	b->in = o;
	w->n_groups++;
	return 0;
}

static int open_outward(struct outlet *o)
{
	const struct binding *b = o->binding;
	struct worker *w = b->worker;
	const struct sockaddr_storage any = {
	    .ss_family = ip_is_v4(&b->remote) ? AF_INET : AF_INET6};
	struct source source;
	int err;

	if (!b->egress)
		return datagram_open(&o->sock, w->datagrams, &w->loop, &any, on_datagrams);
	err = egress_source(b->session, b->egress, &source);
	if (err)
		return err;
	return datagram_open_source(
	    &o->sock, w->datagrams, &w->loop, &source, &b->remote, on_datagrams);
}

static int open_out(struct binding *b)
{
	struct worker *w = b->worker;
	struct outlet *o = make(b);
	int err;

	if (!o)
		return -ENOMEM;
	err = open_outward(o);
	if (err) {
		free(o);
		return err;
	}
	o->sock.owner = o;
	b->out = o;
	ports_add(w->number, is_v6(o), o->sock.port);
	if (!b->group)
		err = datagram_connect(&o->sock, &b->remote, b->port);
	if (err)
		close_out(b);
	return err;
}

int binding_receive(struct binding *b)
{
	int err = 0;

	if (b->group && !b->in)
		err = open_in(b);
	else if (!b->group && !b->out)
		err = open_out(b);
	b->receives |= err == 0;
	return err;
}

int binding_send(struct binding *b)
{
	int err = b->out ? 0 : open_out(b);

	b->sends |= err == 0;
	return err;
}

void binding_stop(struct binding *b, bool receive, bool send)
{
	b->receives &= !receive;
	b->sends &= !send;
	if (!b->receives)
		close_in(b);
	if (!b->sends && (b->group || !b->receives))
		close_out(b);
}

/* U28: is it a relay of ours? Asked again only when there are new ones. */
static bool is_relay(struct binding *b)
{
	uint32_t generation = ports_generation();

	if (b->generation != generation) {
		b->relay = ports_have(&b->remote, b->port) && request_is_local(&b->remote);
		b->generation = generation;
	}
	return b->relay;
}

int binding_send_data(struct binding *b, const void *data, size_t len)
{
	const struct datagram_way way = {.ttl = b->ttl, .interface = b->interface};

	if (b->group)
		return datagram_send_group(&b->out->sock, data, len, &b->remote, b->port, &way);
	if (is_relay(b))
		return -EACCES;
	return datagram_send(&b->out->sock, NULL, 0, data, len, &b->remote, b->port);
}

struct addr binding_outside(const struct binding *b)
{
	if (!b->out)
		return (struct addr){.kind = ADDR_NONE};
	return addr_from_ip(&b->out->sock.local, b->out->sock.port);
}

/* The port is one of ours; whether the address is, too, costs a system call, but once. */
bool binding_is_own(struct binding *b, const struct datagram *d)
{
	if (!b->group || !b->out || d->port != b->out->sock.port)
		return false;
	if (b->own_known && ip_equal(&b->own, &d->from))
		return true;
	if (!request_is_local(&d->from))
		return false;
	b->own = d->from;
	b->own_known = true;
	return true;
}

uint64_t binding_overflowed(const struct binding *b)
{
	uint64_t n = 0;

	if (b->in)
		n += datagram_overflowed(&b->in->sock) + b->in->sock.cut;
	if (b->out)
		n += datagram_overflowed(&b->out->sock) + b->out->sock.cut;
	return n;
}

void binding_close(struct binding *b)
{
	close_in(b);
	close_out(b);
	free(b);
}
