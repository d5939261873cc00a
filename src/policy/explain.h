/* SPDX-License-Identifier: MIT */
/* A request in words, and the rule that would decide it, in words. */
#ifndef TABI_POLICY_EXPLAIN_H
#define TABI_POLICY_EXPLAIN_H

#include "policy/decide.h"
#include "policy/parse.h"

#define EXPLAIN_ADDRESSES_MAX 16

struct explain_request {
	struct policy_request ask; /* of a name: without an address */
	/* What the name resolves to, if that was said. */
	struct ip addresses[EXPLAIN_ADDRESSES_MAX];
	size_t n_addresses;
	void *memory; /* owned: what the pointers point to */
};

/* Where the text comes from, for messages: "request" and 1, or a file and its line. */
struct explain_origin {
	const char *file;
	unsigned line;
};

/*
 * Reads a request such as
 *
 *     user alice from 10.0.0.5 to www.example.com:443 at "Mon 10:00"
 *
 * whose words are user, from, to, at, command, protocol, method, listener and address. `to` must be
 * there; the others default to nobody, 127.0.0.1, `now`, connect, socks5, password (none without a
 * user), the first listener, and an address not known. Returns 0 with `*ret` for explain_fini(), 1
 * where the text is blank or a comment, ERR_MALFORMED with what is wrong in `diags`, or -ENOMEM.
 */
int explain_parse(const struct policy *policy, const struct explain_origin *origin,
    const char *text, size_t len, week_minute now, struct explain_request *ret,
    struct diagnostics *diags);

void explain_fini(struct explain_request *r);

/*
 * Writes the answer into `buf`, cut to `cap`. Its first line is the verdict: "allow, by
 * tabi.conf:12", "deny, by ...", "deny, because no rule matches", "depends on the address of ...",
 * or for several addresses how many of them are allowed; the lines behind it say what the rules are
 * and what is granted. Returns the length without NUL.
 */
size_t explain_format(
    const struct policy *policy, const struct explain_request *r, char *buf, size_t cap);

#endif
