/* SPDX-License-Identifier: MIT */
/*
 * Descriptors that go from process to process over a Unix socket, beside a message (SCM_RIGHTS).
 */
#ifndef TABI_NET_PASSFD_H
#define TABI_NET_PASSFD_H

#include <stddef.h>
#include <sys/types.h>

/* With one message; Linux takes no more (SCM_MAX_FD). */
#define PASSFD_MAX 253

/*
 * Sends `len` bytes, at least 1, and `n` descriptors, which stay the caller's. `flags` as for
 * send(2); SIGPIPE never comes. Returns 0, or -errno.
 */
int passfd_send(int socket, const void *msg, size_t len, const int *fds, size_t n, int flags);

/*
 * Takes the next message without waiting, of at most `size` bytes, and at most `max` descriptors
 * (close-on-exec), which are then the caller's: their number goes to `*ret_n`. Returns the count of
 * bytes, 0 at the end, or -errno: -EMFILE where there were more descriptors than `max` or than this
 * process has room for, -EMSGSIZE where a packet was longer. Then the message is gone, and what
 * came with it closed.
 */
ssize_t passfd_receive(int socket, void *msg, size_t size, int *fds, size_t max, size_t *ret_n);

#endif
