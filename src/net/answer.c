/* SPDX-License-Identifier: MIT */
#include "net/answer.h"

#include <ares.h>
#include <errno.h>
#include <netinet/in.h>
#include <string.h>

#include "net/prefer.h"
#include "proto/err.h"

/* How long answers are kept, in milliseconds. The bounds of the TTL keep a name that changes with
 * every answer from costing a look-up for each connection, and a mistaken one from lasting. */
#define KEEP_MIN 1000
#define KEEP_MAX (3600 * 1000)
#define KEEP_HOSTS_FILE 5000
#define KEEP_PTR (60 * 1000) /* c-ares does not tell their TTL */
#define KEEP_NOT_FOUND 10000
#define KEEP_FAILED 2000

/* Of a list longer than an answer, so many places stay for the family that stands behind. */
#define OTHER_FAMILY_MIN (RESOLVE_ADDRS_MAX / 2)

static struct ip node_ip(const struct ares_addrinfo_node *node)
{
	const struct sockaddr_in *v4 = (const void *)node->ai_addr;
	const struct sockaddr_in6 *v6 = (const void *)node->ai_addr;

	if (node->ai_family == AF_INET)
		return ip_from_v4((const uint8_t *)&v4->sin_addr);
	return ip_from_v6(v6->sin6_addr.s6_addr);
}

static bool answer_has(const struct resolve_answer *answer, const struct ip *ip)
{
	unsigned i;

	for (i = 0; i < answer->n; i++)
		if (ip_equal(&answer->ip[i], ip))
			return true;
	return false;
}

/* How many of a family an answer takes, given that there are `others` of the other. */
static unsigned family_max(unsigned others)
{
	return RESOLVE_ADDRS_MAX - (others < OTHER_FAMILY_MIN ? others : OTHER_FAMILY_MIN);
}

/* A zone may list a thousand addresses: the first ones are taken, of both families. */
static void answer_take(struct resolve_answer *answer, const struct ares_addrinfo_node *nodes)
{
	const struct ares_addrinfo_node *node;
	unsigned n[2] = {0, 0}, max[2], family;
	struct ip ip;

	for (node = nodes; node; node = node->ai_next)
		n[node->ai_family == AF_INET6]++;
	max[0] = family_max(n[1]);
	max[1] = family_max(n[0]);
	for (node = nodes; node && answer->n < RESOLVE_ADDRS_MAX; node = node->ai_next) {
		family = node->ai_family == AF_INET6;
		ip = node_ip(node);
		if (max[family] == 0 || answer_has(answer, &ip))
			continue;
		max[family]--;
		answer->ip[answer->n++] = ip;
	}
}

static void answer_sort(struct resolve_answer *answer)
{
	struct destination dests[RESOLVE_ADDRS_MAX];
	unsigned i;

	if (answer->n < 2)
		return;
	for (i = 0; i < answer->n; i++)
		dests[i] = destination_of(&answer->ip[i]);
	destinations_sort(dests, answer->n);
	for (i = 0; i < answer->n; i++)
		answer->ip[i] = dests[i].ip;
}

/* The shortest life in the chain. A TTL with its top bit set counts as 0 (RFC 2181 section 8). */
static uint64_t keep_by_ttl(const struct ares_addrinfo *ai)
{
	const struct ares_addrinfo_node *node;
	const struct ares_addrinfo_cname *cname;
	int ttl = KEEP_MAX / 1000;

	for (node = ai->nodes; node; node = node->ai_next)
		if (node->ai_ttl < ttl)
			ttl = node->ai_ttl;
	for (cname = ai->cnames; cname; cname = cname->next)
		if (cname->ttl < ttl)
			ttl = cname->ttl;
	return ttl < KEEP_MIN / 1000 ? KEEP_MIN : (uint64_t)ttl * 1000;
}

static int err_of_ares(int status)
{
	switch (status) {
	case ARES_ENOTFOUND:
	case ARES_ENODATA:
		return ERR_NOT_FOUND;
	case ARES_EBADNAME:
		return ERR_NAME;
	case ARES_ENOMEM:
		return -ENOMEM;
	default:
		return ERR_RESOLVER;
	}
}

static uint64_t keep_by_err(int err)
{
	switch (err) {
	case ERR_NOT_FOUND:
	case ERR_NAME:
		return KEEP_NOT_FOUND;
	case -ENOMEM: /* ours, and perhaps over at once */
		return 0;
	default:
		return KEEP_FAILED;
	}
}

/* A zone may say anything: what is no host name (or an address instead of one) is no answer. */
static bool answer_take_name(struct resolve_answer *answer, const char *name)
{
	struct addr addr;

	if (!name || addr_set_host(&addr, name, strlen(name)) != 0 || addr.kind != ADDR_NAME)
		return false;
	memcpy(answer->name, addr.name, sizeof(answer->name));
	answer->n = addr.name_len;
	return true;
}

/* There is none: what is told instead, and how long that is kept. */
static uint64_t answer_none(struct resolve_answer *answer, int status)
{
	answer->err = status == ARES_SUCCESS ? ERR_NOT_FOUND : err_of_ares(status);
	return keep_by_err(answer->err);
}

uint64_t answer_of_addresses(
    struct resolve_answer *ret_answer, int status, const struct ares_addrinfo *ai, bool at_once)
{
	memset(ret_answer, 0, sizeof(*ret_answer));
	if (status == ARES_SUCCESS) {
		answer_take(ret_answer, ai->nodes);
		answer_sort(ret_answer);
	}
	if (ret_answer->n == 0)
		return answer_none(ret_answer, status);
	return at_once ? KEEP_HOSTS_FILE : keep_by_ttl(ai);
}

uint64_t answer_of_name(
    struct resolve_answer *ret_answer, int status, const char *name, bool at_once)
{
	memset(ret_answer, 0, sizeof(*ret_answer));
	if (status != ARES_SUCCESS || !answer_take_name(ret_answer, name))
		return answer_none(ret_answer, status);
	return at_once ? KEEP_HOSTS_FILE : KEEP_PTR;
}
