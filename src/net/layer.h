/* SPDX-License-Identifier: MIT */
/*
 * What may stand between a socket and whoever reads and writes it: TLS, or GSS-API's protection of
 * every message.
 *
 * Theory of operation. Relay and session call layer_recv(), layer_send() and layer_end() with the
 * socket and its layer. Without one (NULL) these are recv(), send() and shutdown(). A layer turns
 * bytes that it reads from the socket into the ones that are asked for, and back; all counts are of
 * the latter. It never waits and never calls back. Two things that poll cannot know it shows:
 *
 *   pending   layer_recv() has something (bytes, an end, an error) though the socket may not be
 *             readable. Whoever wants to read goes on reading before it polls.
 *   holds     bytes that it took, or its own, are not with the kernel yet. Whoever polls polls for
 *             WATCH_WRITE too, and then calls layer_flush(). While it holds bytes it takes none.
 *
 * Handshakes happen inside: until one is over there is nothing to receive (-EAGAIN), and where the
 * peer has to be heard first nothing can be sent. A layer that fails stays failed: every call
 * returns the error of the first failure.
 */
#ifndef TABI_NET_LAYER_H
#define TABI_NET_LAYER_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

struct layer;

struct layer_ops {
	/*
	 * Returns a count > 0, 0 at the end of the stream if that is known to be its end, -EAGAIN,
	 * or an error (-errno or one of proto/err.h). A stream that was cut off without its proper
	 * end is an error, never 0. Should leave nothing pending where it is given room for the
	 * longest message; a relay reads what is pending even beyond its budget.
	 */
	ssize_t (*recv)(struct layer *layer, void *buf, size_t size);
	/*
	 * Takes some of the bytes. Returns a count > 0, -EAGAIN when none can be taken now, or an
	 * error. After -EAGAIN the next call must offer the same bytes again, at any address, and
	 * perhaps more behind them.
	 */
	ssize_t (*send)(struct layer *layer, const void *buf, size_t len);
	/* Writes what is held: 0 when nothing is held any more, -EAGAIN or an error. */
	int (*flush)(struct layer *layer);
	/* Tells the peer that no more will be sent. Called once, and only when everything that was
	 * to be sent was taken and nothing is held. May hold bytes again. Returns 0 or an error. */
	int (*end)(struct layer *layer);
	/* Wipes what is secret and frees. The descriptor is the caller's, and still open. */
	void (*free)(struct layer *layer);
};

/* The head of every layer's own struct. Read by anybody; written by the layer and layer.c only. */
struct layer {
	const struct layer_ops *ops;
	const char *why; /* for the log: what failed, in words that are no peer's; or NULL */
	bool pending, holds;
	bool ended; /* the peer was told that no more comes, or is about to be */
};

/* As `recv` above; of a socket alone a count, 0 or -errno. */
ssize_t layer_recv(struct layer *layer, int fd, void *buf, size_t size);

/* As `send` above. */
ssize_t layer_send(struct layer *layer, int fd, const void *buf, size_t len);

/* As `flush` above; 0 without a layer. */
int layer_flush(struct layer *layer);

/*
 * Ends our sending half: tells the peer through the layer, and when all is with the kernel shuts
 * the socket down. Returns 0, an error, or -EAGAIN: to be called again once the socket is writable.
 */
int layer_end(struct layer *layer, int fd);

/* The first half of that, for a layer upon another: all but the socket. */
int layer_tell_end(struct layer *layer);

/* NULL is fine. */
void layer_free(struct layer *layer);

static inline bool layer_pending(const struct layer *layer)
{
	return layer && layer->pending;
}

static inline bool layer_holds(const struct layer *layer)
{
	return layer && layer->holds;
}

#endif
