/* SPDX-License-Identifier: MIT */
/*
 * What became of a connection through proxies, for the people and the scripts that asked for one:
 * an exit status, a word, a sentence, and what can be done about it.
 */
#ifndef TABI_CLI_VERDICT_H
#define TABI_CLI_VERDICT_H

#include "net/chain.h"

/* Exit statuses, as man/tabi-connect.1 lists them. */
enum verdict_status {
	VERDICT_OK = 0,
	VERDICT_LOCAL = 1, /* this host: memory, descriptors, standard input or output */
	VERDICT_USAGE = 2,
	VERDICT_PROXY_UNREACHABLE = 3, /* one of the chain */
	VERDICT_TLS = 4,               /* with one of the chain, or its certificate */
	VERDICT_AUTH = 5,              /* it does not accept who we are */
	VERDICT_PROXY_BROKEN = 6,      /* it does not speak what its URL says, or broke off */
	VERDICT_DENIED = 7,            /* by its rules */
	VERDICT_REFUSED = 8,           /* by the target */
	VERDICT_UNREACHABLE = 9,
	VERDICT_NOT_FOUND = 10, /* the target's name */
	VERDICT_TIMEOUT = 11,
	VERDICT_CUT = 12,          /* it was made, and broke */
	VERDICT_UNSUPPORTED = 13,  /* what was asked for is nothing that this proxy can do */
	VERDICT_PROXY_FAILED = 14, /* it refused without saying why */
};

/* "open", "refused", "denied" and so on; never NULL. */
const char *verdict_word(enum verdict_status status);

/* What was asked for. */
struct verdict_request {
	const struct url *hops;
	size_t n_hops; /* 0: it was made from here */
	enum command command;
	const struct addr *target;
	bool gss_demanded;   /* the last of them was offered GSS-API and nothing else */
	bool waiting;        /* of BIND: somebody listens, and the peer did not come */
	uint64_t timeout_ms; /* that it had, for the sentence about its being over; 0: unknown */
};

#define VERDICT_TEXT_MAX 2560

struct verdict {
	enum verdict_status status;
	/* "socks5h://proxy:1080: example.org:22: connection refused (reply 5)"; no password */
	char text[VERDICT_TEXT_MAX];
	const char *advice; /* or NULL */
};

/* Of a result whose `err` is not ERR_OK. */
void verdict_of(struct verdict *ret_verdict, const struct verdict_request *request,
    const struct chain_result *failed);

#endif
