/* SPDX-License-Identifier: MIT */
/*
 * Connecting to the first of several addresses that answers (RFC 8305, Happy Eyeballs).
 *
 * Families alternate, a new attempt starts 250 ms after the last one or as soon as it failed, the
 * first connection wins and the others are dropped.
 */
#ifndef TABI_NET_DIAL_H
#define TABI_NET_DIAL_H

#include "net/loop.h"
#include "net/source.h"
#include "proto/addr.h"

struct dial;

/*
 * The end of it, from the loop: err is ERR_OK and `fd` a connected non-blocking socket (TCP_NODELAY
 * set, urgent bytes kept in the stream) that is now the receiver's, to ips[`which`], and `local`
 * its address at this end; or the most telling -errno of all attempts and fd -1: what this host is
 * short of (-EMFILE, -ENOMEM), or ERR_EGRESS, then refused, host unreachable, timed out, and last
 * network unreachable, which may only mean that this host lacks that family, and ERR_EGRESS_FAMILY.
 * The dial is gone before the call. The receiver may go on with the dial's watch of the descriptor:
 * watch_take().
 */
typedef void dial_fn(void *ctx, int err, int fd, size_t which, const struct addr *local);

/* Copies `ips` (n >= 1) and `source`, from where to leave (NULL: as the kernel chooses). There is
 * no time limit: the caller cancels. Returns 0, or a negative error where not one attempt could
 * begin; then `fn` is not called. */
int dial_start(struct dial **ret_dial, struct loop *loop, const struct ip *ips, size_t n,
    uint16_t port, const struct source *source, dial_fn *fn, void *ctx);

/* Ends all attempts; `fn` is not called. NULL is fine. */
void dial_cancel(struct dial *dial);

#endif
