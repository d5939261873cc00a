/* SPDX-License-Identifier: MIT */
/*
 * Which ways to prove who one is are offered to a client, and for whom each counts.
 *
 * Every `auth` statement stands for itself: it is for the clients that its `from` and `listener`
 * describe (an address as an `allow` sees it), and a client may use any that is for it. Without any
 * statement everybody is offered "none". A listener with `client-ca` is apart: there the client's
 * certificate is the proof, and nothing else is offered.
 */
#ifndef TABI_POLICY_OFFER_H
#define TABI_POLICY_OFFER_H

#include "policy/policy.h"

/* Is this way for a client at that address who came in there (policy_listener.text)? */
bool offer_has(const struct policy_auth *auth, const struct ip *client, const char *listener);

/* All that are: enum auth_method bits, perhaps none. */
unsigned offer_methods(const struct policy *policy, const struct ip *client, const char *listener);

/* Is there a way of that method for this client that counts for `user`? */
bool offer_proves(const struct policy *policy, enum auth_method method, const struct ip *client,
    const char *listener, const char *user, size_t len);
/* The first way of that method that is for this client, or NULL. */
const struct policy_auth *offer_first(const struct policy *policy, enum auth_method method,
    const struct ip *client, const char *listener);

/* Does what this way proves count, if it proves that somebody is `user`? */
bool offer_counts(const struct policy_auth *auth, const char *user, size_t len);

#endif
