/* SPDX-License-Identifier: MIT */
/*
 * What c-ares found out as an answer of net/resolve: bounded, in the order in which to try, and how
 * long it is good for.
 */
#ifndef TABI_NET_ANSWER_H
#define TABI_NET_ANSWER_H

#include "net/resolve.h"

struct ares_addrinfo;

/*
 * `status` is c-ares's. `at_once`: it came from inside the call that asked, so from the hosts file.
 * Write the whole answer, an error in it where there is nothing to tell, and return for how many
 * milliseconds to keep it, 0 being not at all. `ai` is looked into where `status` is a success;
 * `name` may be anything that a zone can say, or NULL.
 */
uint64_t answer_of_addresses(
    struct resolve_answer *ret_answer, int status, const struct ares_addrinfo *ai, bool at_once);
uint64_t answer_of_name(
    struct resolve_answer *ret_answer, int status, const char *name, bool at_once);

#endif
