/* SPDX-License-Identifier: MIT */
/* What the rules grant of the way of a UDP association's datagrams to a remote. */
#ifndef TABI_SERVER_GRANT_H
#define TABI_SERVER_GRANT_H

#include "net/datagram.h"
#include "policy/decide.h"

struct grant {
	const struct policy_proxy *via;     /* through whom; NULL: directly */
	const struct policy_egress *egress; /* from where to leave; NULL: any */
	struct datagram_way way;            /* of a group */
	uint16_t rate;                      /* its number in struct rates */
	uint8_t filter;                     /* enum udp_filter */
	bool no_way;  /* it is a group, and the interface that leads there is not there */
	bool forward; /* of `via`: with the client's credentials */
};

#endif
