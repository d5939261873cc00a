/* SPDX-License-Identifier: MIT */
/* Shared by the sources of server/multicast.h and by nobody else. */
#ifndef TABI_SERVER_MULTICAST_INT_H
#define TABI_SERVER_MULTICAST_INT_H

#include "proto/mcast.h"
#include "proto/udp.h"
#include "server/binding.h"
#include "server/gate.h"
#include "server/multicast.h"
#include "server/rates.h"
#include "server/session.h"
#include "server/worker.h"

/* Of one connection, and groups joined in a worker. */
#define BINDINGS_MAX 32
#define GROUPS_MAX 1024

enum drop {
	DROP_PROTECTION, /* GSS-API: not protected as was agreed, or not for the first time */
	DROP_MALFORMED,
	DROP_FRAGMENT,
	DROP_ASSOCIATION, /* none of that number, not in this direction, or not from its port */
	DROP_DENIED,
	DROP_UNASKED, /* to a socket that only sends */
	DROP_RATE,
	DROP_FULL,
	DROP_ERROR,
	DROP_COUNT,
};

/* Bytes that are kept. */
struct kept {
	uint8_t *data; /* owned; NULL while there are none */
	size_t len;
};

struct multicast {
	struct session *session;
	struct worker *worker;
	struct gate_member client;
	struct binding *bindings[BINDINGS_MAX];
	size_t n;
	struct kept in, out; /* of a message that is not whole; of what the client has not read */
	struct udp_fragments fragments;
	struct rates rates;
	uint16_t dgid;
	bool told_of_interface;

	unsigned joined; /* groups, ever */
	uint64_t up, down, overflowed;
	uint64_t dropped[DROP_COUNT];
};

struct answer {
	struct mcast_control control;
	struct addr local, remote;
};

/* What a control message asks for, done or refused; `ret_answer` is zeroed but for the TID. */
void multicast_control(
    struct multicast *m, const struct mcast_message *msg, struct answer *ret_answer);

/* NULL where it is none of this connection's. */
struct binding *multicast_find(const struct multicast *m, uint32_t aid);

/* Does the policy still say so? Asked again once a minute. */
bool multicast_may_pass(struct multicast *m, struct binding *b);

/* With its line in the log. */
void multicast_remove(struct multicast *m, struct binding *b);

/* What was heard by a binding: multicast.c's own, for those that make one. */
binding_fn multicast_heard;

#endif
