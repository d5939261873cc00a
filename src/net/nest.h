/* SPDX-License-Identifier: MIT */
/*
 * UDP ASSOCIATE through a chain of proxies: datagrams within datagrams.
 *
 * Theory of operation. Datagrams go through a chain from relay to relay. Each proxy opens one for
 * us, and keeps it as long as the connection on which it was asked stands, which leads through the
 * hops before it. So the hops are asked one after the other, and each datagram is wrapped once for
 * each of them (udp_wrap_nested()). Who is asked for GSS-API gets what is for it protected (RFC
 * 1961), inside of what is for those before it. TLS protects the connections alone.
 *
 * A relay takes datagrams only from where its connection came from: therefore all connections lead
 * over the same address of the first proxy, whatever its name has.
 */
#ifndef TABI_NET_NEST_H
#define TABI_NET_NEST_H

#include "net/chain.h"
#include "proto/udp.h"

#define NEST_HOPS_MAX 8
/* Of each buffer of struct nest_room. */
#define NEST_BUFFER_SIZE ((size_t)65536)

/* Of one hop. */
struct nest_control {
	int fd; /* nothing is said on it any more but its end, and that ends all */
	struct layer *layer;
	bool protects; /* what is for this hop: by its GSS-API */
};

/* An association with every hop; owns the controls. */
struct nest {
	size_t n;
	struct udp_relay *relays; /* `n`; of the first the address is where to send to */
	struct nest_control control[];
};

struct nest_opening;

/* `nest` is the receiver's from now on, or NULL: then `failed` says what went wrong, when a chain
 * of the first `n_hops` hops was asked for an association with its last. Called from the loop. */
typedef void nest_fn(
    void *ctx, struct nest *nest, const struct chain_result *failed, size_t n_hops);

struct nest_options {
	/* As net/chain.h says, at most NEST_HOPS_MAX hops; but `command`, `target`, `fn` and
	 * `first` are not looked at, and the time limits are for all of it together. `ctx` is
	 * that of `refuses`. */
	struct chain_options chain;
	nest_fn *fn;
	void *ctx;
};

/* Begins. Returns 0; or a negative error where it is over already: then `fn` is not called, and
 * `*ret_failed` and `*ret_n_hops` are what it would have been called with. */
int nest_open(struct nest_opening **ret_opening, struct loop *loop,
    const struct nest_options *options, struct chain_result *ret_failed, size_t *ret_n_hops);

/* `fn` is not called any more. NULL is fine. */
void nest_cancel(struct nest_opening *opening);

/* Closes the connections, whose watches have been closed. NULL is fine. */
void nest_free(struct nest *nest);

/* Where a datagram is wrapped and unwrapped. The buffers are the caller's; they are used under
 * GSS-API alone, and what is given to be wrapped or unwrapped lies elsewhere. */
struct nest_room {
	uint8_t *a, *b;
	uint8_t header[NEST_HOPS_MAX * UDP_HEADER_MAX];
};

/* A datagram for the first relay is header and data, one behind the other. */
struct nest_parts {
	const uint8_t *header, *data;
	size_t header_len, len;
};

/* `len` bytes at `data` for a remote. What is made lies in the room, or is `data` itself. Returns
 * 0, -EMSGSIZE where UDP cannot carry it, or an error of GSS-API. */
int nest_wrap(const struct nest *nest, const struct addr *remote, const void *data, size_t len,
    struct nest_room *room, struct nest_parts *ret_parts);

/* What the first relay has sent. Returns 0, an error of udp_unwrap_nested(), or of GSS-API. */
int nest_unwrap(struct nest *nest, const void *data, size_t len, struct nest_room *room,
    struct udp_packet *ret_packet, struct addr *ret_remote);

#endif
