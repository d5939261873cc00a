/* SPDX-License-Identifier: MIT */
#include "policy/offer.h"

#include <string.h>

#include "policy/rule.h"

bool offer_has(const struct policy_auth *auth, const struct ip *client, const char *listener)
{
	return rule_is_about_client(auth->who, client, listener);
}

/* Is the certificate the proof there? */
static bool asks_certificate(const struct policy *policy, const char *listener)
{
	for (size_t i = 0; listener && i < policy->n_listeners; i++)
		if (policy->listeners[i].client_ca &&
		    strcmp(policy->listeners[i].text, listener) == 0)
			return true;
	return false;
}

unsigned offer_methods(const struct policy *policy, const struct ip *client, const char *listener)
{
	unsigned methods = policy->n_auths == 0 ? AUTH_NONE : 0;

	if (asks_certificate(policy, listener))
		return AUTH_CERT;
	for (size_t i = 0; i < policy->n_auths; i++)
		if (offer_has(&policy->auths[i], client, listener))
			methods |= policy->auths[i].method;
	return methods;
}

const struct policy_auth *offer_first(const struct policy *policy, enum auth_method method,
    const struct ip *client, const char *listener)
{
	for (size_t i = 0; i < policy->n_auths; i++)
		if (policy->auths[i].method == method &&
		    offer_has(&policy->auths[i], client, listener))
			return &policy->auths[i];
	return NULL;
}

bool offer_counts(const struct policy_auth *auth, const char *user, size_t len)
{
	return rule_is_about_user(auth->who, user, len);
}

bool offer_proves(const struct policy *policy, enum auth_method method, const struct ip *client,
    const char *listener, const char *user, size_t len)
{
	for (size_t i = 0; i < policy->n_auths; i++) {
		const struct policy_auth *auth = &policy->auths[i];

		if (auth->method == method && offer_has(auth, client, listener) &&
		    offer_counts(auth, user, len))
			return true;
	}
	return false;
}
