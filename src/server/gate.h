/* SPDX-License-Identifier: MIT */
/*
 * The sockets toward the clients of UDP ASSOCIATE, and whose a datagram is that arrives there.
 *
 * Theory of operation. A gate is a socket bound to the address that a client's TCP connection came
 * to, so that what is sent from there has the source to which the client sends. Each association
 * has a gate of its own, or (`udp-ports shared`) those of a worker that reach it at one address
 * have one together. Each worker has a port of its own: the kernel would deal the clients of a
 * port that several share out among them as it likes.
 *
 * A datagram belongs to the member that was heard from there before. A source that is new belongs,
 * in this order, to the one that declared it in its request, and to the oldest one of that address
 * that was not heard yet: NAT may have changed the port that was declared, so it is a hint and no
 * condition (protocol.md 2.7). All else is a stranger's, passes nowhere and changes nothing. Where
 * several clients stand behind one address it can be told who is who by the declared port alone,
 * or by the port of a gate of one's own.
 */
#ifndef TABI_SERVER_GATE_H
#define TABI_SERVER_GATE_H

#include "net/datagram.h"
#include "policy/policy.h"
#include "server/claims.h"

struct gate_member;
struct worker;

/* A datagram of the member's client. The member may leave from inside it. */
typedef void gate_fn(struct gate_member *member, const struct datagram *d);

/* What an association keeps of its gate. Stable while it is a member. */
struct gate_member {
	struct gate *gate; /* NULL: it is none */
	gate_fn *fn;
	struct ip client;
	uint16_t port;                /* of the client; 0: it was not heard yet */
	struct claim heard, declared; /* of the gate's */
	uint64_t errors;              /* that ICMP brought about datagrams to the client */
};

struct gate_losses {
	uint64_t strangers;  /* from somebody else */
	uint64_t overflowed; /* nobody read them in time, or they were too long */
};

/*
 * Becomes a member: of a new gate at `local` (of which the port is not looked at) or of the
 * worker's there, as the settings say. `client` is whose datagrams are meant, `declared_port` the
 * port from which they will come, or 0. Returns 0, ERR_UNAVAILABLE where no port is free, or
 * -errno.
 */
int gate_join(struct gate_member *member, struct worker *worker, const struct policy_settings *set,
    const struct sockaddr_storage *local, const struct ip *client, uint16_t declared_port,
    gate_fn *fn);

/* The same of a gate of its own in any case, where all ports of the client are the client's:
 * whoever asks knows by other means what belongs together. `port` stays 0. */
int gate_join_alone(struct gate_member *member, struct worker *worker,
    const struct policy_settings *set, const struct sockaddr_storage *local,
    const struct ip *client, gate_fn *fn);

/* Where the client is to send. */
struct addr gate_address(const struct gate_member *member);

/* To the client, who was heard. As datagram_send(). */
int gate_send(struct gate_member *member, const void *header, size_t header_len, const void *data,
    size_t len);

/* As datagram_post(). Leaving the gate sends what was posted. */
int gate_post(struct gate_member *member, struct datagram_poster *poster, const void *header,
    size_t header_len, const void *data, size_t len);

/* To that port of the client. */
int gate_send_to(struct gate_member *member, uint16_t port, const void *header, size_t header_len,
    const void *data, size_t len);

/* What was lost at a gate of its own; of one that is shared nobody can tell whose it was, and the
 * gate has a line in the log for that when it closes. */
struct gate_losses gate_own_losses(const struct gate_member *member);

/* The last one closes the gate, at once. Nothing where it is no member. */
void gate_leave(struct gate_member *member);

#endif
