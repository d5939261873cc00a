/* SPDX-License-Identifier: MIT */
/*
 * What the supervisor and a worker say to each other, over a socketpair of packets: a word, a
 * number and perhaps descriptors. A packet arrives whole or not at all, so there is nothing to
 * parse.
 */
#ifndef TABI_SERVER_CHANNEL_H
#define TABI_SERVER_CHANNEL_H

#include <stddef.h>
#include <stdint.h>

#include "net/passfd.h"

#define CHANNEL_FDS_MAX PASSFD_MAX

enum channel_word {
	/*
	 * To the worker: serve this. Descriptors: the configuration (config_from_memfd()), the log,
	 * where to ask the auth helper, then this worker's listening sockets, with `listener` the
	 * place of each in the policy's list, and `number` the generation of the configuration,
	 * which grows with every reload (server/inbox.h). All that the worker had before is
	 * replaced.
	 */
	CHANNEL_CONFIG = 1,
	/* To the worker: accept no more, end when the last session has, or after `number` ms. */
	CHANNEL_DRAIN,
	/* To the worker: end now. */
	CHANNEL_STOP,
	/* From the worker: it is being served. */
	CHANNEL_SERVING,
	/* From the worker: it cannot be served; `number` is the error. */
	CHANNEL_FAILED,
};

/* Where the listening sockets begin among the descriptors of CHANNEL_CONFIG. */
enum { CHANNEL_FD_CONFIG, CHANNEL_FD_LOG, CHANNEL_FD_HELPER, CHANNEL_FD_LISTENERS };

struct channel_message {
	uint32_t word;
	int32_t number;
	uint8_t listener[CHANNEL_FDS_MAX - CHANNEL_FD_LISTENERS];
};

/* Descriptors stay the caller's. Returns 0 or -errno (-EPIPE and the like: the other end is gone).
 */
int channel_send(int channel, const struct channel_message *msg, const int *fds, size_t n_fds);

/*
 * Takes the next packet. Descriptors (close-on-exec) go to `fds` and are the caller's. Returns 1, 0
 * where the other end is gone, -EAGAIN where nothing is there, -EMFILE where this process has no
 * room for all of its descriptors (the packet is lost then, with all of them), or -errno.
 */
int channel_receive(int channel, struct channel_message *ret_msg, int fds[static CHANNEL_FDS_MAX],
    size_t *ret_n_fds);

#endif
