/* SPDX-License-Identifier: MIT */
/*
 * The proxies of a configuration, ready for sessions: credentials and certificates read and
 * checked, and what a worker has learned of each.
 *
 * What was learned outlives a reload: the same line of the same group is the same proxy.
 */
#ifndef TABI_SERVER_UPSTREAMS_H
#define TABI_SERVER_UPSTREAMS_H

#include "net/chain.h"
#include "net/tls.h"
#include "policy/balance.h"
#include "policy/policy.h"
#include "server/certs.h"
#include "server/texts.h"
#include "server/tickets.h"

/* Of one member; shared by all configurations that have it. */
struct upstream_state {
	struct upstream_state *next;
	unsigned refs;
	struct balance_member balance;
	struct tickets *tickets; /* a reference; NULL where there is no GSS-API */
	char name[];             /* of the group, a space, the member's text */
};

struct upstream_member {
	struct url *hops;        /* owned, as many as the policy's member has; with credentials */
	struct tls_context *tls; /* owned; NULL where no TLS is spoken */
	struct tickets *tickets; /* a reference; NULL where there is no GSS-API */
	struct chain_gss_options gss; /* where there is; whole after upstreams_attach() */
	struct upstream_state *state; /* a reference; NULL before upstreams_attach() */
};

/* members[p][m] is policy->proxies[p].members[m]. */
struct upstreams {
	struct upstream_member **members; /* owned */
	const struct policy *policy;
	struct upstream_state **states; /* where `state` is from */
};

/* As certs_load(); the policy outlives it. */
int upstreams_load(struct upstreams *upstreams, const struct policy *policy, struct texts *texts,
    config_complain_fn *complain, config_complain_fn *unread, void *ctx);

/* Tells `fn` of every `insecure`: whoever is on the way can be that proxy. */
void upstreams_warn(const struct policy *policy, config_complain_fn *fn, void *ctx);

/* Finds in `list` what is known of each member, or adds it; `list` outlives all of it. Returns 0 or
 * -ENOMEM. */
int upstreams_attach(struct upstreams *upstreams, struct upstream_state **list);

/* Before the loop ends: nobody waits for a ticket any more. */
void upstreams_stop(struct upstream_state *list);

void upstreams_free(struct upstreams *upstreams);

#endif
