/* SPDX-License-Identifier: MIT */
/*
 * A session's way through a proxy: `via` of the rule that allowed it.
 *
 * Theory of operation. Of the group a member is chosen (policy/balance.h) and its chain is gone
 * through (net/chain.h). Where a proxy is at fault the next member is tried, and the one that
 * failed is left alone for a while; where the last proxy has answered, that is the answer. In the
 * end the session has a connection like any other, perhaps with a layer, and all of this is freed.
 *
 * A name goes to the last proxy as a name where that takes names and the rules can do without its
 * addresses: what no rule has judged is not connected to.
 */
#ifndef TABI_SERVER_UPSTREAM_H
#define TABI_SERVER_UPSTREAM_H

#include <stdbool.h>

struct log_record;
struct session;
struct upstream;

/*
 * Goes through the proxies of hs->via: to the request's name (`named`), or to hs->ips, of which the
 * first that the proxy can say is tried (none, in BIND: anybody). Ends in session_connected(),
 * session_listening(), session_accepted(), session_resolved() or session_end(). Returns 0, or the
 * reason why not; then nothing has begun.
 */
int upstream_begin(struct session *session, bool named);

/* Ends what is under way. NULL is fine. */
void upstream_cancel(struct upstream *upstream);

/* The session does not use the proxy any more that it was connected through, if it was. */
void upstream_leave(struct session *session);

/* Through whom, for the session's line; and, while something is under way, what went wrong last. */
void upstream_log(const struct session *session, struct log_record *record);

#endif
