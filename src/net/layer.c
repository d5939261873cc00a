/* SPDX-License-Identifier: MIT */
#include "net/layer.h"

#include <errno.h>
#include <sys/socket.h>

/* recv() and send() with the interruptions taken out. */
static ssize_t socket_recv(int fd, void *buf, size_t size)
{
	for (;;) {
		ssize_t n = recv(fd, buf, size, 0);
		int err = n < 0 ? errno : 0;

		if (n >= 0)
			return n;
		if (err != EINTR)
			return -err;
	}
}

static ssize_t socket_send(int fd, const void *buf, size_t len)
{
	for (;;) {
		ssize_t n = send(fd, buf, len, MSG_NOSIGNAL);
		int err = n < 0 ? errno : 0;

		if (n >= 0)
			return n;
		if (err != EINTR)
			return -err;
	}
}

ssize_t layer_recv(struct layer *layer, int fd, void *buf, size_t size)
{
	return layer ? layer->ops->recv(layer, buf, size) : socket_recv(fd, buf, size);
}

ssize_t layer_send(struct layer *layer, int fd, const void *buf, size_t len)
{
	if (!layer)
		return socket_send(fd, buf, len);
	if (layer->holds) {
		int err = layer->ops->flush(layer);

		if (err)
			return err;
	}
	return layer->ops->send(layer, buf, len);
}

int layer_flush(struct layer *layer)
{
	return layer_holds(layer) ? layer->ops->flush(layer) : 0;
}

int layer_tell_end(struct layer *layer)
{
	int err = layer_flush(layer);

	if (layer && !err && !layer->ended) {
		layer->ended = true;
		err = layer->ops->end(layer);
		if (!err)
			err = layer_flush(layer);
	}
	return err;
}

int layer_end(struct layer *layer, int fd)
{
	int err = layer_tell_end(layer);

	if (err)
		return err;
	/* Who has closed answers the layer's last words with a reset: the socket may be gone now.
	 */
	if (shutdown(fd, SHUT_WR) < 0 && (!layer || errno != ENOTCONN))
		return -errno;
	return 0;
}

void layer_free(struct layer *layer)
{
	if (layer)
		layer->ops->free(layer);
}
