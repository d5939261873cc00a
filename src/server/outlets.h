/* SPDX-License-Identifier: MIT */
/*
 * The sockets of a UDP association toward its remotes: one for each family, and one for each
 * address or interface that rules have it leave from (policy/egress.h). They are made when first
 * needed, stay as long as the association, and are never connected: remotes see one port. But where
 * an address has gone from this host its socket goes too, and the next one leaves from where the
 * egress leads then.
 */
#ifndef TABI_SERVER_OUTLETS_H
#define TABI_SERVER_OUTLETS_H

#include "net/datagram.h"
#include "net/log.h"
#include "policy/egress.h"

struct outlet;
struct session;

struct outlets {
	struct session *session; /* not looked at any more from outlets_close() on */
	struct worker *worker;
	struct outlet *first; /* owned */
	unsigned n;
	unsigned closing;    /* that the loop has not let go of */
	uint64_t overflowed; /* lost by those that have gone */
	/* The latest egress that was not there, for IPv4 or not, and for how long that is
	 * believed. */
	const struct policy_egress *missing;
	bool missing_v4;
	uint64_t missing_until;

	datagram_fn *arrived;
	datagram_error_fn *failed;
	void (*closed)(struct outlets *outlets);
};

/* None yet. `arrived` and `failed` are called for each of them, see net/datagram.h. */
void outlets_init(struct outlets *outlets, struct session *session, datagram_fn *arrived,
    datagram_error_fn *failed);

/* The one toward `to` that leaves by `egress` (NULL: as the kernel likes). Returns 0, -errno or
 * ERR_EGRESS, ERR_EGRESS_FAMILY; -EMFILE where there are too many. */
int outlets_get(struct outlets *outlets, const struct ip *to, const struct policy_egress *egress,
    struct datagram_socket **ret_sock);

/* Something could not be sent, perhaps since its address has gone: looked at by the next
 * outlets_get(). May come from inside any call that sends or closes. */
void outlets_doubt(struct outlets *outlets);

/* Whose it is. */
struct outlets *outlets_of(const struct datagram_socket *sock);

/* Datagrams that were lost because their buffers were full, or cut. */
uint64_t outlets_overflowed(const struct outlets *outlets);
/* The addresses that they were told to leave from, as one field; none where nothing was told. */
void outlets_log(const struct outlets *outlets, struct log_record *rec);

/* Closes them at once. Returns whether the loop still has to let go of some: then `closed` is
 * called after the last, and the memory must stay until then. */
bool outlets_close(struct outlets *outlets, void (*closed)(struct outlets *outlets));

#endif
