/* SPDX-License-Identifier: MIT */
/* What a UDP association counts: what went through, and why what did not was dropped. */
#ifndef TABI_SERVER_DROPS_H
#define TABI_SERVER_DROPS_H

#include <stdint.h>

#include "net/log.h"

/* Those that are not the client's never come here: server/gate.h. */
enum drop {
	DROP_PROTECTION, /* GSS-API: not protected as was agreed, or not for the first time */
	DROP_MALFORMED,  /* no header, or no name that could be looked up */
	DROP_FRAGMENT,   /* a piece of which the rest is missing, or pieces are not put together */
	DROP_DENIED,     /* by the policy, or nobody may be sent to there */
	DROP_NAME,       /* the name has no address, or too much waits for it */
	DROP_INTERFACE,  /* to a group, and the interface of its rule is not there */
	DROP_EGRESS,     /* nothing can leave from where the rule says */
	DROP_PROXY,      /* the proxy of the rule has no association for us, or not in time */
	DROP_UNASKED,    /* from a remote that the filter does not let in */
	DROP_RATE,       /* more than the rule grants */
	DROP_SIZE,       /* with all headers longer than UDP can carry */
	DROP_FULL,       /* a buffer of ours or the kernel's was full */
	DROP_ERROR,      /* the kernel could not send it */
	DROP_COUNT,
};

struct udp_counts {
	uint64_t up, down;    /* datagrams relayed */
	uint64_t icmp_errors; /* about remotes that were sent to */
	uint64_t dropped[DROP_COUNT];
};

/* A field for each reason that there was. */
void drops_log(const struct udp_counts *counts, struct log_record *rec);

#endif
