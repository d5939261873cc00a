/* SPDX-License-Identifier: MIT */
/*
 * From where what a session asks for leaves this host: what `egress` of the deciding rule comes to
 * for this client.
 *
 * An address out of a pool is drawn for each connection, and for each socket of an association.
 * `sticky per user` makes it a keyed hash of who the client is: his name where he has proved one,
 * else his address. The key is the server's, drawn when it starts and the same in all of its
 * workers, so whichever of them serves a user chooses as the others do, over reloads too.
 */
#ifndef TABI_SERVER_EGRESS_H
#define TABI_SERVER_EGRESS_H

#include "net/source.h"
#include "policy/policy.h"
#include "server/certs.h"

struct session;

/* Draws the key. Once, before the first worker. Returns 0 or -errno. */
int egress_setup(void);

/* Of a session whose request is noted, and an egress of its configuration. Returns 0, ERR_EGRESS
 * where there is none for this client, or -errno. */
int egress_source(
    const struct session *session, const struct policy_egress *egress, struct source *ret_source);

/* Tells the log why a session ended with ERR_EGRESS, once in a while. */
void egress_log_missing(const struct session *session);

/* Tells of what is not there just now. That may change, so it is no mistake. */
void egress_warn(const struct policy *policy, config_complain_fn *fn, void *ctx);

#endif
