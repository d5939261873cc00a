/* SPDX-License-Identifier: MIT */
/* What `egress` of a rule means: which address out of a pool, and whether two are the same. */
#ifndef TABI_POLICY_EGRESS_H
#define TABI_POLICY_EGRESS_H

#include "policy/policy.h"

#define EGRESS_BITS 16

/*
 * The address of the pool that these random bytes choose, each as likely as any other: of a family
 * that it has. Left out are those that are no host's, where there are others: the first and the
 * last of an IPv4 net (what a net is called by, and its broadcast address), and the first of an
 * IPv6 net (its routers' anycast address).
 */
struct ip egress_choose(
    const struct policy_egress *pool, enum family family, const uint8_t random[static EGRESS_BITS]);

/* That of rules which do not say; NULL: as the kernel chooses. */
const struct policy_egress *egress_by_default(const struct policy_settings *set);

/* Do both say the same? NULL is the kernel's choice. */
bool egress_is_same(const struct policy_egress *a, const struct policy_egress *b);

#endif
