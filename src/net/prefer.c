/* SPDX-License-Identifier: MIT */
/*
 * Destination address selection over a handful of addresses.
 *
 * c-ares can sort too, but it sorts all of an answer, with three system calls for each address: a
 * zone that lists six thousand held the loop for 250 ms here. This sorts what the answer keeps.
 */
#include "net/prefer.h"

#include <sys/socket.h>
#include <unistd.h>

#include "net/sockaddr.h"

/* RFC 6724 section 2.1, in canonical form, where IPv4 is ::ffff:0:0/96. The first match is the
 * longest. */
static const struct {
	uint8_t net[16];
	unsigned prefix, precedence, label;
} policy_table[] = {
    {{[15] = 1}, 128, 50, 0},
    {{[10] = 0xff, [11] = 0xff}, 96, 35, 4},
    {{0}, 96, 1, 3},
    {{0x20, 0x01, 0, 0}, 32, 5, 5},
    {{0x20, 0x02}, 16, 30, 2},
    {{0x3f, 0xfe}, 16, 1, 12},
    {{0xfe, 0xc0}, 10, 1, 11},
    {{0xfc}, 7, 3, 13},
    {{0}, 0, 40, 1},
};

enum scope { SCOPE_LINK = 2, SCOPE_SITE = 5, SCOPE_GLOBAL = 14 };

static size_t policy_row(const struct ip *ip)
{
	struct ip net;
	size_t i = 0;

	for (;; i++) {
		net = ip_from_v6(policy_table[i].net);
		if (ip_in_net(ip, &net, policy_table[i].prefix))
			return i; /* the last row is everything */
	}
}

/* RFC 6724 section 3.1 and 3.2: private IPv4 is global; loopback is link-local in both. */
static unsigned scope_of(const struct ip *ip)
{
	unsigned classes = ip_classes(ip);

	if (!ip_is_v4(ip) && ip->b[0] == 0xff)
		return ip->b[1] & 15;
	if (!ip_is_v4(ip) && ip->b[0] == 0xfe && (ip->b[1] & 0xc0) == 0xc0)
		return SCOPE_SITE;
	return classes & (IP_LOOPBACK | IP_LINKLOCAL) ? SCOPE_LINK : SCOPE_GLOBAL;
}

struct destination destination_of(const struct ip *ip)
{
	struct destination dest = {.ip = *ip};
	struct sockaddr_storage sa;
	socklen_t len =
	    sockaddr_from_ip(&sa, ip, 53); /* any port: a datagram socket sends nothing */
	int fd = socket(sa.ss_family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	struct addr local;

	if (fd < 0)
		return dest;
	if (connect(fd, (const struct sockaddr *)&sa, len) == 0) {
		local = socket_local_addr(fd);
		dest.reachable = local.kind == ADDR_IP;
		dest.source = local.ip;
	}
	close(fd);
	return dest;
}

/* Is `a` to be tried before `b`? */
static bool is_better(const struct destination *a, const struct destination *b)
{
	size_t row_a = policy_row(&a->ip), row_b = policy_row(&b->ip);
	unsigned scope_a = scope_of(&a->ip), scope_b = scope_of(&b->ip);
	bool scope_fits_a, scope_fits_b, label_fits_a, label_fits_b;

	/* Rule 1: avoid what has no route. */
	if (a->reachable != b->reachable || !a->reachable)
		return a->reachable && !b->reachable;
	/* Rule 2: prefer a source of the same scope. */
	scope_fits_a = scope_of(&a->source) == scope_a;
	scope_fits_b = scope_of(&b->source) == scope_b;
	if (scope_fits_a != scope_fits_b)
		return scope_fits_a;
	/* Rule 5: prefer a source of the same label. */
	label_fits_a = policy_table[policy_row(&a->source)].label == policy_table[row_a].label;
	label_fits_b = policy_table[policy_row(&b->source)].label == policy_table[row_b].label;
	if (label_fits_a != label_fits_b)
		return label_fits_a;
	/* Rule 6: prefer the higher precedence. */
	if (policy_table[row_a].precedence != policy_table[row_b].precedence)
		return policy_table[row_a].precedence > policy_table[row_b].precedence;
	/* Rule 8: prefer the smaller scope. Rule 10: leave the order as it is. */
	return scope_a < scope_b;
}

/* By insertion: qsort() promises nothing about equals. */
void destinations_sort(struct destination *dests, size_t n)
{
	struct destination moving;
	size_t i, at;

	for (i = 1; i < n; i++) {
		moving = dests[i];
		for (at = i; at > 0 && is_better(&moving, &dests[at - 1]); at--)
			dests[at] = dests[at - 1];
		dests[at] = moving;
	}
}
