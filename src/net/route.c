/* SPDX-License-Identifier: MIT */
/* One question to the kernel over rtnetlink(7). */
#include "net/route.h"

#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

struct question {
	struct nlmsghdr head;
	struct rtmsg route;
	struct rtattr to;
	uint8_t address[16];
};

/* An answer is one message with a few attributes, of which none is looked at. */
struct answer {
	struct nlmsghdr head;
	struct rtmsg route;
	uint8_t attributes[1024];
};

static struct question question_about(const struct ip *ip)
{
	const bool v4 = ip_is_v4(ip);
	const unsigned size = v4 ? 4 : 16;
	struct question q = {
	    .head = {.nlmsg_type = RTM_GETROUTE, .nlmsg_flags = NLM_F_REQUEST, .nlmsg_seq = 1},
	    .route = {.rtm_family = v4 ? AF_INET : AF_INET6,
		.rtm_dst_len = (unsigned char)(size * 8)},
	    .to = {.rta_type = RTA_DST},
	};

	q.to.rta_len = (unsigned short)RTA_LENGTH(size);
	q.head.nlmsg_len = NLMSG_LENGTH(sizeof(q.route)) + q.to.rta_len;
	memcpy(q.address, v4 ? ip_v4_bytes(ip) : ip->b, size);
	return q;
}

/* The kernel answers before send() returns, so nothing is waited for. */
static bool ask(int fd, const struct ip *ip)
{
	struct question q = question_about(ip);
	struct answer a;
	ssize_t n;

	if (send(fd, &q, q.head.nlmsg_len, 0) < 0)
		return false;
	n = recv(fd, &a, sizeof(a), MSG_DONTWAIT);
	return n >= (ssize_t)(sizeof(a.head) + sizeof(a.route)) &&
	       a.head.nlmsg_type == RTM_NEWROUTE && a.route.rtm_type == RTN_LOCAL;
}

bool route_is_local(const struct ip *ip)
{
	int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
	bool local = fd >= 0 && ask(fd, ip);

	if (fd >= 0)
		close(fd);
	return local;
}
