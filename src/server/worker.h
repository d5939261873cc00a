/* SPDX-License-Identifier: MIT */
/*
 * A worker process: one loop, its sessions, and nothing that it could lose for anybody else.
 *
 * It is given everything over the channel from the supervisor (server/channel.h): configuration,
 * log and listening sockets. When the channel ends, so does the worker, after draining.
 */
#ifndef TABI_SERVER_WORKER_H
#define TABI_SERVER_WORKER_H

#include "net/datagram.h"
#include "net/deadline.h"
#include "net/loop.h"
#include "net/relay.h"
#include "net/resolve.h"
#include "server/auth/auth.h"
#include "server/config.h"
#include "server/inbox.h"
#include "server/listener.h"
#include "server/sandbox.h"
#include "server/slab.h"

struct gate;
struct session;

struct worker {
	struct loop loop;
	unsigned number;
	int channel;
	struct watch channel_watch;
	int log_fd; /* owned; what the log is written to */
	int helper; /* owned; where to ask the auth helper */

	struct config *config; /* the one for new sessions; NULL before the first */
	struct upstream_state
	    *upstreams;            /* what is known of the proxies that sessions go through */
	uint64_t chance;           /* another one for each choice among proxies */
	uint64_t isolation_secret; /* see server/upstream.c */
	uint64_t egress_told; /* loop time from which the log may be told again, server/egress.c */
	struct listeners listeners;
	struct inbox inbox; /* what other workers hand over */
	struct resolver *resolver;
	struct relay_shared relay;
	struct datagram_shared *datagrams;
	struct auth *auth;

	/* One list of deadlines for each time limit of a session. */
	struct deadline_class handshake, connect, bind, idle, halfclose, keepalive, udp, linger;

	struct slab slab;         /* of sessions */
	struct session *sessions; /* ring through the first one; NULL when none */
	unsigned n_sessions, max_sessions;
	/* Each has the descriptors of two sessions, and is counted beside its own. */
	unsigned n_associations;
	unsigned n_groups;      /* joined, each by an association of its own */
	unsigned next_udp_port; /* of `udp-ports`: where to go on trying */
	struct gate *gates;     /* those that associations share */
	unsigned most_sessions; /* since memory was last given back */
	unsigned long max_descriptors;
	bool draining;
	struct timer drain;
};

/* The whole life of a worker process; returns its exit status. */
int worker_main(unsigned number, int channel, const struct sandbox_user *user);

/* A session's memory is gone: the listeners may go on, a drained worker ends. */
void worker_session_gone(struct worker *worker);

#endif
