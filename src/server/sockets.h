/* SPDX-License-Identifier: MIT */
/*
 * The listening sockets, opened and kept by the supervisor: one per address and worker
 * (SO_REUSEPORT), so that the kernel spreads connections, and those queued on the socket of a
 * worker that dies are served by its successor.
 */
#ifndef TABI_SERVER_SOCKETS_H
#define TABI_SERVER_SOCKETS_H

#include "server/config.h"

/* The sockets of one address. `*:PORT` makes two of these. */
struct listening {
	const struct policy_listener *listener; /* borrowed from the policy */
	bool v6;     /* which of the two, where the listener is for any family */
	bool shared; /* fds[0] serves all workers (a Unix socket) */
	int *fds;    /* owned; one per worker, -1 for none */
};

struct sockets {
	struct listening *list;
	size_t n;
	unsigned workers;
};

/*
 * Opens what `policy` listens on, taking over what `old` (may be NULL) has open for the same
 * address. Each failure goes to `complain`. Returns 0, or a negative error, and then `old` is as it
 * was. After success `old` keeps only what is no longer listened on: sockets_close() it.
 */
int sockets_open(struct sockets *ret_sockets, struct sockets *old, const struct policy *policy,
    unsigned workers, config_complain_fn *complain, void *ctx);

/* Closes all, removes the files of Unix sockets. */
void sockets_close(struct sockets *sockets);

/* The descriptors of worker number `worker` into `fds`, with the place of each one's listener in
 * the policy's list in `listener`. Returns how many; sockets_open() saw to it that they fit a
 * packet of the channel. */
size_t sockets_of_worker(const struct sockets *sockets, const struct policy *policy,
    unsigned worker, int *fds, uint8_t *listener);

#endif
