/* SPDX-License-Identifier: MIT */
/*
 * What stands between a stream and its reader: the socket at the bottom, and upon it TLS and
 * GSS-API's protection, one on the other in the order in which the hops wanted them.
 *
 * Counts and results are those of enum tabi_io in tabi.h. Nothing is held back by a layer: what it
 * says it took is with the kernel, and after TABI_IO_READ or _WRITE of sending the same bytes have
 * to be offered again. A layer that has failed stays failed.
 */
#ifndef TABI_LIB_LAYER_H
#define TABI_LIB_LAYER_H

#include <stdbool.h>

#include "tabi.h"

struct layer;

struct layer_ops {
	/* Of TLS alone: returns 1 when it stands, else of enum tabi_io. */
	int (*handshake)(struct layer *layer);
	long (*send)(struct layer *layer, const void *data, size_t len);
	long (*receive)(struct layer *layer, void *data, size_t cap);
	/* Tells the peer that no more will be sent. Returns 1 when that is with the kernel, else of
	 * enum tabi_io. */
	int (*end)(struct layer *layer);
	/* Has it, or one below, bytes that the socket does not show any more: would receive() bring
	 * something without it? Of a layer that cannot know, true is the answer. NULL: never. */
	bool (*holds)(const struct layer *layer);
	/* Wipes and frees this one alone. */
	void (*free)(struct layer *layer);
	int code; /* of its failures: enum tabi_code */
};

/* The head of every layer's own struct. */
struct layer {
	const struct layer_ops *ops;
	struct layer *below; /* NULL under the socket */
	int error_number;    /* of a failure: an errno or 0 */
	const char *why;     /* and in constant words, or NULL */
	int hop;             /* whose it is, and that proxy's URL */
	char proxy[160];
};

/* The bottom. The descriptor stays the caller's. NULL without memory. */
struct layer *layer_of_socket(tabi_socket fd);

/* TLS by the caller's functions, of which `tls` is borrowed; `session` is the layer's. */
struct layer *layer_of_tls(const struct tabi_tls *tls, void *session, struct layer *below);
/* The session of such a layer; NULL of another one. */
void *layer_tls_session(const struct layer *layer);
/* Nothing but the socket and such layers? */
bool layer_is_tls_alone(const struct layer *top);
/* Then: the innermost session, the caller's from here on; or NULL. The layers are of no use any
 * more. */
void *layer_take_tls(struct layer *top);

static inline long layer_send(struct layer *layer, const void *data, size_t len)
{
	return layer->ops->send(layer, data, len);
}

static inline long layer_receive(struct layer *layer, void *data, size_t cap)
{
	return layer->ops->receive(layer, data, cap);
}

static inline bool layer_holds(const struct layer *layer)
{
	return layer->ops->holds && layer->ops->holds(layer);
}

/* Through this layer and all those below, down to the socket. As `end` above. */
int layer_end(struct layer *layer);

/* Can all of them tell an end? */
bool layer_can_end(const struct layer *layer);

/* All of them. NULL is fine. */
void layer_free(struct layer *layer);

/* Nothing but the socket? */
static inline bool layer_is_bare(const struct layer *layer)
{
	return layer && !layer->below;
}

/* The one that has failed where one has, else this one. */
const struct layer *layer_at_fault(const struct layer *layer);

#endif
