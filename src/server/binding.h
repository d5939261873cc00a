/* SPDX-License-Identifier: MIT */
/*
 * One association of the enhanced UDP mode: toward a unicast remote or a multicast group, to hear
 * it, to send there, or both.
 *
 * It has a socket for each: a group is heard by one that is bound to it and joined it alone, and
 * sent to from another. A unicast remote has one for both, connected, so that the kernel lets
 * nobody else in. What a session sends to a group comes back to this host (server/multicast.h).
 */
#ifndef TABI_SERVER_BINDING_H
#define TABI_SERVER_BINDING_H

#include "net/datagram.h"
#include "policy/decide.h"

struct multicast;
struct session;
struct worker;
struct binding;
struct outlet;

/* What was heard; `unasked`: it comes from somebody else than the remote, or the binding does not
 * receive. The binding may be closed from inside it. */
typedef void binding_fn(struct binding *binding, const struct datagram *d, bool unasked);

/* Owned by its multicast, which decides; here the sockets are kept. */
struct binding {
	struct multicast *all;
	struct worker *worker;
	binding_fn *fn;
	uint32_t aid;
	bool tcp;   /* data between client and server goes over their connection */
	bool group; /* the remote is a group */
	bool receives, sends;
	struct ip remote;
	uint16_t port;
	uint16_t client_port; /* where the client hears; 0: not known yet */
	bool heard;           /* the client was heard from there */

	/* What the rules say, while `until` (loop time) lies ahead. */
	bool allowed;
	uint8_t ttl, ttl_max;
	uint16_t rate;
	uint64_t until;
	const struct policy_rule *rule;
	unsigned interface; /* of a group: index, or 0 */
	/* From where `out` leaves, for whom; NULL: any. */
	const struct policy_egress *egress;
	const struct session *session;

	uint64_t up, down; /* datagrams */
	struct outlet *in, *out;
	struct ip own; /* from which what `out` sends comes back, once known */
	bool own_known;
	bool relay; /* the remote is a relay of ours, as of `generation` */
	uint32_t generation;
};

/* Opens what is missing to hear the remote, or to send there. Return 0 or -errno. */
int binding_receive(struct binding *binding);
int binding_send(struct binding *binding);

/* Closes what neither direction needs any more. */
void binding_stop(struct binding *binding, bool receive, bool send);

/* To the remote. As datagram_send(). */
int binding_send_data(struct binding *binding, const void *data, size_t len);

/* The address that the remote sees; ADDR_NONE where nothing is sent from. */
struct addr binding_outside(const struct binding *binding);

/* Is it what this binding has sent to its group, come back? */
bool binding_is_own(struct binding *binding, const struct datagram *d);

/* Of what the kernel dropped since nobody read it in time. */
uint64_t binding_overflowed(const struct binding *binding);

/* Closes all and frees. */
void binding_close(struct binding *binding);

#endif
