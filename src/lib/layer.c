/* SPDX-License-Identifier: MIT */
#include "lib/layer.h"

#include <errno.h>
#include <stdlib.h>

#include "lib/os.h"

int layer_end(struct layer *layer)
{
	int rc = 1;

	/* A layer that has told its end says so again. */
	for (; layer && rc == 1; layer = layer->below)
		rc = layer->ops->end(layer);
	return rc;
}

void layer_free(struct layer *layer)
{
	struct layer *below;

	for (; layer; layer = below) {
		below = layer->below;
		layer->ops->free(layer);
	}
}

const struct layer *layer_at_fault(const struct layer *layer)
{
	for (const struct layer *l = layer; l; l = l->below)
		if (l->error_number != 0 || l->why)
			return l;
	return layer;
}

/* ---- the socket ---- */

struct bottom {
	struct layer layer; /* first */
	tabi_socket fd;
};

static long result_of(struct bottom *b, long n, enum tabi_io not_now)
{
	if (n >= 0)
		return n;
	if (n == -EAGAIN)
		return not_now;
	b->layer.error_number = (int)-n;
	return TABI_IO_BROKEN;
}

static long bottom_send(struct layer *layer, const void *data, size_t len)
{
	struct bottom *b = (struct bottom *)layer;

	return result_of(b, os_send(b->fd, data, len), TABI_IO_WRITE);
}

static long bottom_receive(struct layer *layer, void *data, size_t cap)
{
	struct bottom *b = (struct bottom *)layer;

	return result_of(b, os_receive(b->fd, data, cap), TABI_IO_READ);
}

static int bottom_end(struct layer *layer)
{
	struct bottom *b = (struct bottom *)layer;
	int err = os_shutdown(b->fd);

	return err < 0 ? (int)result_of(b, err, TABI_IO_WRITE) : 1;
}

static void bottom_free(struct layer *layer)
{
	free(layer);
}

struct layer *layer_of_socket(tabi_socket fd)
{
	static const struct layer_ops ops = {.send = bottom_send,
	    .receive = bottom_receive,
	    .end = bottom_end,
	    .free = bottom_free,
	    .code = TABI_E_IO};
	struct bottom *b = calloc(1, sizeof(*b));

	if (!b)
		return NULL;
	b->layer.ops = &ops;
	b->fd = fd;
	return &b->layer;
}

/* ---- TLS by the caller's functions ---- */

struct hooked {
	struct layer layer; /* first */
	const struct tabi_tls *tls;
	void *session;
	bool ended;
	bool dry; /* the session has said that it waits for the socket */
};

static int hooked_handshake(struct layer *layer)
{
	struct hooked *h = (struct hooked *)layer;

	return h->tls->handshake(h->session);
}

static long hooked_send(struct layer *layer, const void *data, size_t len)
{
	struct hooked *h = (struct hooked *)layer;

	return h->tls->send(h->session, data, len);
}

static long hooked_receive(struct layer *layer, void *data, size_t cap)
{
	struct hooked *h = (struct hooked *)layer;
	const long n = h->tls->receive(h->session, data, cap);

	h->dry = n <= 0;
	return n;
}

static bool hooked_holds(const struct layer *layer)
{
	return !((const struct hooked *)layer)->dry;
}

static int hooked_end(struct layer *layer)
{
	struct hooked *h = (struct hooked *)layer;
	int rc = 1;

	if (!h->ended)
		rc = h->tls->end(h->session);
	h->ended = rc == 1;
	return rc;
}

static void hooked_free(struct layer *layer);

static const struct layer_ops hooked_ops = {.handshake = hooked_handshake,
    .send = hooked_send,
    .receive = hooked_receive,
    .end = hooked_end,
    .holds = hooked_holds,
    .free = hooked_free,
    .code = TABI_E_TLS};

/* The session frees those below it. */
static void hooked_free(struct layer *layer)
{
	struct hooked *h = (struct hooked *)layer;

	if (h->session)
		h->tls->free(h->session);
	for (struct layer *l = layer->below; l && l->ops == &hooked_ops; l = l->below)
		((struct hooked *)l)->session = NULL;
	free(h);
}

struct layer *layer_of_tls(const struct tabi_tls *tls, void *session, struct layer *below)
{
	struct hooked *h = calloc(1, sizeof(*h));

	if (!h)
		return NULL;
	h->layer.ops = &hooked_ops;
	h->layer.below = below;
	h->tls = tls;
	h->session = session;
	return &h->layer;
}

void *layer_tls_session(const struct layer *layer)
{
	return layer && layer->ops == &hooked_ops ? ((const struct hooked *)layer)->session : NULL;
}

bool layer_is_tls_alone(const struct layer *top)
{
	for (const struct layer *l = top; l && l->below; l = l->below)
		if (l->ops != &hooked_ops)
			return false;
	return top != NULL;
}

void *layer_take_tls(struct layer *top)
{
	void *session = layer_tls_session(top);

	for (struct layer *l = top; l && l->ops == &hooked_ops; l = l->below)
		((struct hooked *)l)->session = NULL;
	return session;
}

bool layer_can_end(const struct layer *layer)
{
	for (const struct layer *l = layer; l; l = l->below)
		if (l->ops == &hooked_ops && !((const struct hooked *)l)->tls->end)
			return false;
	return true;
}
