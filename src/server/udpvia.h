/* SPDX-License-Identifier: MIT */
/*
 * A UDP association's way through other proxies: `via` of the rules that its datagrams match.
 *
 * Theory of operation. For each group of proxies that a datagram is to go through there is one
 * association with them (net/nest.h), which serves all destinations and is made when the first
 * datagram wants it; that and a few behind it wait meanwhile. The member is chosen as for
 * connections (server/choice.h): where one is not there, or has no UDP for us, the next is tried.
 * When none is left, or the association ends from the other side, a later datagram begins anew, but
 * not before a pause that grows. It has a socket of its own, connected to the first proxy's relay,
 * so that nobody else can send there.
 *
 * Whoever sends nothing through proxies has nothing of this.
 */
#ifndef TABI_SERVER_UDPVIA_H
#define TABI_SERVER_UDPVIA_H

#include <stddef.h>

#include "net/log.h"
#include "policy/policy.h"
#include "proto/addr.h"
#include "server/drops.h"

struct session;
struct udpvia;
struct udpvia_secret;

/* What a remote has sent, by way of the group `via`; for the time of the call. Nothing of this may
 * be closed from inside it. */
typedef void udpvia_fn(void *ctx, const struct policy_proxy *via, const struct addr *from,
    const uint8_t *data, size_t len);

/* Which way a rule says. */
struct udpvia_way {
	const struct policy_proxy *group;
	bool forward;                       /* the proxies get the client's credentials */
	const struct policy_egress *egress; /* from where to leave; NULL: any */
};

/* All of one UDP association. Zeroed is empty. */
struct udpvias {
	struct session *session;
	struct udp_counts *counts;
	udpvia_fn *fn;
	void *ctx;
	struct udpvia *first; /* owned; the one used last */
	size_t n;
	struct udpvia_secret *secret; /* owned: the client's password; NULL: none to be forwarded */
};

/* While there is a handshake. Returns 0 or -ENOMEM. */
int udpvias_init(struct udpvias *all, struct session *session, struct udp_counts *counts,
    udpvia_fn *fn, void *ctx);

/* Sends, now or when there is an association with the proxies; or drops. What becomes of it is
 * counted. */
void udpvias_send(struct udpvias *all, const struct udpvia_way *way, const struct addr *to,
    const void *data, size_t len);

/* For the session's line: through whom, and what went wrong last. */
void udpvias_log(const struct udpvias *all, struct log_record *rec);

/* Datagrams that wait; they are lost when all is over now. */
uint64_t udpvias_waiting(const struct udpvias *all);

/* Of what the kernel dropped since nobody read it in time. */
uint64_t udpvias_overflowed(const struct udpvias *all);

/* Ends all of it at once. */
void udpvias_fini(struct udpvias *all);

#endif
