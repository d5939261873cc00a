/* SPDX-License-Identifier: MIT */
/* Addresses for the kernel and from it, and small socket calls. */
#include "net/sockaddr.h"

#include <errno.h>
#include <netinet/in.h>
#include <string.h>
#include <unistd.h>

#include "net/route.h"

socklen_t sockaddr_from_ip(struct sockaddr_storage *ret_sa, const struct ip *ip, uint16_t port)
{
	struct sockaddr_in *in = (struct sockaddr_in *)ret_sa;
	struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)ret_sa;

	memset(ret_sa, 0, sizeof(*ret_sa));
	if (ip_is_v4(ip)) {
		in->sin_family = AF_INET;
		in->sin_port = htons(port);
		memcpy(&in->sin_addr, ip_v4_bytes(ip), 4);
		return sizeof(*in);
	}
	in6->sin6_family = AF_INET6;
	in6->sin6_port = htons(port);
	memcpy(&in6->sin6_addr, ip->b, 16);
	return sizeof(*in6);
}

bool sockaddr_read(const struct sockaddr_storage *sa, struct ip *ret_ip, uint16_t *ret_port)
{
	const struct sockaddr_in *in = (const struct sockaddr_in *)sa;
	const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)sa;
	uint8_t bytes[16];

	switch (sa->ss_family) {
	case AF_INET:
		memcpy(bytes, &in->sin_addr, 4);
		*ret_ip = ip_from_v4(bytes);
		*ret_port = ntohs(in->sin_port);
		return true;
	case AF_INET6:
		memcpy(bytes, &in6->sin6_addr, 16);
		*ret_ip = ip_from_v6(bytes);
		*ret_port = ntohs(in6->sin6_port);
		return true;
	default:
		return false;
	}
}

struct addr sockaddr_to_addr(const struct sockaddr_storage *sa)
{
	uint16_t port;
	struct ip ip;

	if (!sockaddr_read(sa, &ip, &port))
		return (struct addr){.kind = ADDR_NONE};
	return addr_from_ip(&ip, port);
}

typedef int name_fn(int fd, struct sockaddr *sa, socklen_t *len);

static struct addr ask_addr(int fd, name_fn *ask)
{
	struct sockaddr_storage sa = {.ss_family = AF_UNSPEC};
	socklen_t len = sizeof(sa);

	if (ask(fd, (struct sockaddr *)&sa, &len) < 0)
		sa.ss_family = AF_UNSPEC;
	return sockaddr_to_addr(&sa);
}

struct addr socket_local_addr(int fd)
{
	return ask_addr(fd, getsockname);
}

struct addr socket_peer_addr(int fd)
{
	return ask_addr(fd, getpeername);
}

int socket_take_error(int fd)
{
	int err = 0;
	socklen_t len = sizeof(err);

	if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &err, &len) < 0)
		return -errno;
	return -err;
}

void socket_set_reset_on_close(int fd)
{
	const struct linger linger = {.l_onoff = 1, .l_linger = 0};

	/* Fails only where `fd` is no socket, which then has no reset to send. */
	(void)setsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger));
}

void socket_keep_urgent(int fd)
{
	const int one = 1;

	/* Of Unix sockets only some kernels know urgent bytes. */
	(void)setsockopt(fd, SOL_SOCKET, SO_OOBINLINE, &one, sizeof(one));
}

/*
 * The kernel lets a socket be bound to local addresses, but to multicast groups as well. Where it
 * cannot be asked for want of descriptors or memory the answer is "local": this guards the way to
 * ourselves, and there would be no socket for another way either.
 */
bool ip_is_local(const struct ip *ip)
{
	struct sockaddr_storage sa;
	socklen_t len = sockaddr_from_ip(&sa, ip, 0);
	bool local;
	int fd;

	if (ip_classes(ip) & IP_MULTICAST)
		return false;
	fd = socket(sa.ss_family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return errno != EAFNOSUPPORT;
	local = bind(fd, (const struct sockaddr *)&sa, len) == 0;
	close(fd);
	/* Of IPv6, bind() knows nothing of nets that are routed to this host. */
	return local || (sa.ss_family == AF_INET6 && route_is_local(ip));
}
