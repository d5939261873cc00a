/* SPDX-License-Identifier: MIT */
#include "net/nest.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "net/gss.h"
#include "proto/err.h"

/* The longest payload of UDP: 65535 bytes less its header, and over IPv4 less that of IP. */
#define PAYLOAD_MAX_V4 UDP_PAYLOAD_MAX
#define PAYLOAD_MAX_V6 (UDP_PAYLOAD_MAX + 20)

struct nest_opening {
	struct loop *loop;
	struct chain_options chain; /* without what is borrowed for the call alone */
	struct chain_gss_options gss;
	bool demanded; /* GSS-API, of the last of all */
	bool (*refuses)(void *ctx, const struct ip *ip, uint16_t port);
	void *refuses_ctx;
	nest_fn *fn;
	void *ctx;
	uint64_t began;
	struct chain *under_way;
	struct ip first; /* the address of the first proxy, once there is a relay */
	struct nest *nest;
	size_t n_hops;
	struct url hops[]; /* with passwords */
};

/* ---- the associations ---- */

static struct nest *nest_new(size_t n)
{
	struct nest *nest = calloc(1, sizeof(*nest) + n * sizeof(nest->control[0]));

	if (!nest)
		return NULL;
	nest->relays = calloc(n, sizeof(nest->relays[0]));
	if (nest->relays)
		return nest;
	free(nest);
	return NULL;
}

void nest_free(struct nest *nest)
{
	if (!nest)
		return;
	/* The last one first: its connection leads through the others. */
	for (size_t i = nest->n; i-- > 0;) {
		/* Without an end of TLS it would look cut off; whether that arrives is no matter.
		 */
		if (nest->control[i].layer)
			(void)layer_end(nest->control[i].layer, nest->control[i].fd);
		layer_free(nest->control[i].layer);
		close(nest->control[i].fd);
	}
	free(nest->relays);
	free(nest);
}

static void opening_free(struct nest_opening *o)
{
	nest_free(o->nest);
	explicit_bzero(o, sizeof(*o) + o->n_hops * sizeof(o->hops[0]));
	free(o);
}

void nest_cancel(struct nest_opening *o)
{
	if (!o)
		return;
	chain_cancel(o->under_way);
	opening_free(o);
}

static bool is_in(const struct addr *a, unsigned classes)
{
	return a->kind == ADDR_IP && (ip_own_classes(&a->ip) & classes) != 0;
}

/*
 * Where the relay of the hop behind those that there are is, seen from the one before it. A proxy
 * that tells its own loopback, or no address at all, means itself: whoever took its word would send
 * to himself. Returns 0 or an error.
 */
static int find_relay(
    const struct nest_opening *o, const struct chain_result *r, struct addr *ret_relay)
{
	const size_t i = o->nest->n;
	const struct addr proxy = i == 0 ? addr_from_ip(&r->proxy, 0) : o->hops[i].proxy;
	const uint16_t port = r->bound.port;

	*ret_relay = r->bound;
	if (is_in(&r->bound, IP_UNSPECIFIED) ||
	    (is_in(&r->bound, IP_LOOPBACK) && proxy.kind == ADDR_IP && !is_in(&proxy, IP_LOOPBACK)))
		*ret_relay = proxy;
	ret_relay->port = port;
	if (is_in(ret_relay, IP_MULTICAST) || (i == 0 && ret_relay->kind != ADDR_IP))
		return ERR_PROXY_PROTOCOL;
	return 0;
}

/* ---- one after the other ---- */

static chain_fn on_chain;

static bool refuses(void *ctx, const struct ip *ip, uint16_t port)
{
	const struct nest_opening *o = ctx;

	return o->refuses && o->refuses(o->refuses_ctx, ip, port);
}

/* What is left of a time limit: at least a little, for 0 would be none. */
static unsigned left_of(const struct nest_opening *o, unsigned ms)
{
	const uint64_t passed = loop_now(o->loop) - o->began;

	if (ms == 0)
		return 0;
	return passed < ms ? (unsigned)(ms - passed) : 1;
}

/* Asks the next hop. Returns 0 or an error. */
static int ask_next(struct nest_opening *o, struct chain_result *ret_failed)
{
	struct chain_options chain = o->chain;

	chain.hops = o->hops;
	chain.n_hops = o->nest->n + 1;
	chain.command = COMMAND_UDP;
	chain.target = (struct addr){.kind = ADDR_NONE};
	chain.first = o->nest->n > 0 ? &o->first : NULL;
	chain.proxy_ms = left_of(o, chain.proxy_ms);
	chain.whole_ms = left_of(o, chain.whole_ms);
	chain.gss = chain.gss ? &o->gss : NULL;
	o->gss.demanded = o->demanded && chain.n_hops == o->n_hops;
	chain.refuses = refuses;
	chain.fn = on_chain;
	chain.ctx = o;
	return chain_start(&o->under_way, o->loop, &chain, ret_failed);
}

/* Keeps an association that stands. Returns 0 or an error. */
static int keep(struct nest_opening *o, const struct chain_result *r)
{
	struct nest *nest = o->nest;
	int err = find_relay(o, r, &nest->relays[nest->n].at);

	nest->control[nest->n] =
	    (struct nest_control){.fd = r->fd, .layer = r->layer, .protects = r->protects};
	o->first = r->proxy;
	nest->n++;
	return err;
}

static void on_chain(void *ctx, const struct chain_result *r)
{
	struct nest_opening *o = ctx;
	nest_fn *const fn = o->fn;
	void *const owner = o->ctx;
	struct chain_result failed = *r;
	struct nest *nest = NULL;
	size_t n = o->nest->n + 1;

	o->under_way = NULL;
	if (!failed.err) {
		failed.err = keep(o, r);
		failed.stage = CHAIN_AT_REPLY;
		failed.hop = n - 1;
		failed.code = -1;
		failed.fd = -1;
		failed.layer = NULL;
	}
	if (!failed.err && n < o->n_hops) {
		n++;
		if (ask_next(o, &failed) == 0)
			return;
	} else if (!failed.err) {
		nest = o->nest;
		o->nest = NULL;
	}
	opening_free(o);
	fn(owner, nest, &failed, n);
}

int nest_open(struct nest_opening **ret_opening, struct loop *loop,
    const struct nest_options *options, struct chain_result *ret_failed, size_t *ret_n_hops)
{
	const size_t n = options->chain.n_hops;
	struct nest_opening *o = calloc(1, sizeof(*o) + n * sizeof(o->hops[0]));
	int err = -ENOMEM;

	*ret_failed = (struct chain_result){.err = -ENOMEM, .code = -1, .fd = -1};
	*ret_n_hops = 1;
	if (!o)
		return err;
	o->loop = loop;
	o->chain = options->chain;
	if (o->chain.gss) {
		o->gss = *o->chain.gss;
		o->demanded = o->gss.demanded;
	}
	o->refuses = options->chain.refuses;
	o->refuses_ctx = options->chain.ctx;
	o->fn = options->fn;
	o->ctx = options->ctx;
	o->began = loop_now(loop);
	o->n_hops = n;
	memcpy(o->hops, options->chain.hops, n * sizeof(o->hops[0]));
	o->nest = nest_new(n);
	if (o->nest)
		err = ask_next(o, ret_failed);
	if (err)
		opening_free(o);
	else
		*ret_opening = o;
	return err;
}

/* ---- datagrams ---- */

/* Header and data become one frame of that hop. */
static int protect(struct layer *layer, struct nest_room *room, struct nest_parts *p)
{
	size_t len;
	int err;

	if (p->header_len + p->len > NEST_BUFFER_SIZE)
		return -EMSGSIZE;
	memcpy(room->a, p->header, p->header_len);
	if (p->len > 0)
		memcpy(room->a + p->header_len, p->data, p->len);
	err = gss_datagram_wrap(
	    layer, room->a, p->header_len + p->len, room->b, NEST_BUFFER_SIZE, &len);
	p->header = room->header + sizeof(room->header);
	p->header_len = 0;
	p->data = room->b;
	p->len = len;
	return err == -ENOBUFS ? -EMSGSIZE : err;
}

int nest_wrap(const struct nest *nest, const struct addr *remote, const void *data, size_t len,
    struct nest_room *room, struct nest_parts *ret_parts)
{
	uint8_t *const end = room->header + sizeof(room->header);
	struct nest_parts p = {.header = end, .data = data, .len = len};
	const bool v4 = ip_is_v4(&nest->relays[0].at.ip);
	int err = 0;

	for (size_t i = nest->n; i-- > 0 && !err;) {
		const struct addr *to = i + 1 < nest->n ? &nest->relays[i + 1].at : remote;

		p.header = udp_wrap(end - p.header_len, to);
		if (!p.header)
			return ERR_ADDRESS;
		p.header_len = (size_t)(end - p.header);
		if (nest->control[i].protects)
			err = protect(nest->control[i].layer, room, &p);
	}
	if (!err && p.header_len + p.len > (v4 ? PAYLOAD_MAX_V4 : PAYLOAD_MAX_V6))
		err = -EMSGSIZE;
	*ret_parts = p;
	return err;
}

int nest_unwrap(struct nest *nest, const void *data, size_t len, struct nest_room *room,
    struct udp_packet *ret_packet, struct addr *ret_remote)
{
	struct udp_packet p = {.data = data, .len = len};
	uint8_t *to = room->a;

	for (size_t i = 0; i < nest->n; i++) {
		struct layer *layer = nest->control[i].layer;
		int err = 0;

		if (nest->control[i].protects) {
			if (p.len > NEST_BUFFER_SIZE)
				return ERR_GSS_MESSAGE;
			err =
			    gss_datagram_unwrap(layer, p.data, p.len, to, NEST_BUFFER_SIZE, &p.len);
			p.data = to;
			to = to == room->a ? room->b : room->a;
		}
		if (!err && i + 1 < nest->n)
			err = udp_peel(p.data, p.len, &nest->relays[i + 1], &p);
		else if (!err)
			err = udp_unwrap(p.data, p.len, &p, ret_remote);
		if (err)
			return err;
	}
	*ret_packet = p;
	return 0;
}
