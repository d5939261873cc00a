/* SPDX-License-Identifier: MIT */
#include "net/source.h"

#include <errno.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <netinet/in.h>
#include <string.h>
#include <unistd.h>

#include "net/route.h"
#include "net/sockaddr.h"
#include "proto/err.h"

/* ---- an interface's addresses ---- */

static int use_device(int fd, const char *interface)
{
	return setsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, interface, (socklen_t)strlen(interface));
}

/* From which address would the kernel send to `to` by that interface? Nothing is sent. ADDR_NONE
 * where there is no way. */
static struct addr kernel_choice(const char *interface, const struct ip *to)
{
	struct addr chosen = {.kind = ADDR_NONE};
	struct sockaddr_storage sa;
	socklen_t len = sockaddr_from_ip(&sa, to, 53); /* any port */
	int fd = socket(sa.ss_family, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return chosen;
	if (use_device(fd, interface) == 0 && connect(fd, (const struct sockaddr *)&sa, len) == 0)
		chosen = socket_local_addr(fd);
	close(fd);
	return chosen;
}

/* An address may have a label: the interface's name, ':' and more. */
static bool is_of(const struct ifaddrs *a, const char *interface)
{
	return strncmp(a->ifa_name, interface, strcspn(a->ifa_name, ":")) == 0 &&
	       strlen(interface) == strcspn(a->ifa_name, ":");
}

/* One of IPv6 says nothing without its link. */
static bool is_linklocal(const struct ip *ip)
{
	return !ip_is_v4(ip) && (ip_own_classes(ip) & IP_LINKLOCAL) != 0;
}

/*
 * The kernel's choice where it is one of the interface's own: where that has none, or only one of
 * its link, the kernel takes another interface's. Else the first that it has. Returns 0 or
 * ERR_EGRESS_FAMILY.
 */
static int choose(const struct ifaddrs *all, const char *interface, const struct ip *to,
    const struct addr *wanted, struct ip *ret)
{
	int err = ERR_EGRESS_FAMILY;

	for (const struct ifaddrs *a = all; a; a = a->ifa_next) {
		struct addr own = {.kind = ADDR_NONE};

		if (a->ifa_addr && is_of(a, interface))
			own = sockaddr_to_addr((const struct sockaddr_storage *)a->ifa_addr);
		if (own.kind != ADDR_IP || ip_is_v4(&own.ip) != ip_is_v4(to))
			continue;
		if (wanted->kind == ADDR_IP && ip_equal(&wanted->ip, &own.ip)) {
			*ret = own.ip;
			return 0;
		}
		if (err && !is_linklocal(&own.ip)) {
			*ret = own.ip;
			err = 0;
		}
	}
	return err;
}

static int find_at(const char *interface, const struct ip *to, struct ip *ret)
{
	struct addr wanted;
	struct ifaddrs *all;
	int err;

	if (if_nametoindex(interface) == 0)
		return ERR_EGRESS;
	wanted = kernel_choice(interface, to);
	if (getifaddrs(&all) < 0)
		return -errno;
	err = choose(all, interface, to, &wanted, ret);
	freeifaddrs(all);
	return err;
}

/* ---- the address ---- */

/* The kernel sends from ::1 to anywhere, and no answer finds back. The unspecified addresses count
 * as loopback here, as everywhere. */
static bool is_trapped(const struct ip *from, const struct ip *to)
{
	return (ip_own_classes(from) & IP_LOOPBACK) && !(ip_own_classes(to) & IP_LOOPBACK);
}

int source_find(const struct source *s, const struct ip *to, struct ip *ret_from)
{
	const enum family family = ip_is_v4(to) ? FAMILY_V4 : FAMILY_V6;
	int err = 0;

	if (s->interface[0])
		err = find_at(s->interface, to, ret_from);
	else if (s->has[family])
		*ret_from = s->ip[family];
	else
		err = ERR_EGRESS_FAMILY;
	if (err)
		return err;
	if (is_trapped(ret_from, to))
		return ERR_EGRESS;
	/* The kernel would send from it all the same, and wait for answers that go elsewhere. */
	if (!s->interface[0] && family == FAMILY_V6 && !ip_is_local(ret_from))
		return ERR_EGRESS;
	return 0;
}

/* ---- the socket ---- */

/* What says that the egress is not to be had. Before Linux 5.7 an interface was for root alone. */
static int error_of(int err)
{
	switch (err) {
	case EADDRNOTAVAIL:
	case EINVAL:
	case ENODEV:
	case EPERM:
	case ENOPROTOOPT:
		return ERR_EGRESS;
	default:
		return -err;
	}
}

int source_bind(int fd, const struct source *s, const struct ip *from, uint16_t port, bool connects)
{
	const int one = 1;
	struct sockaddr_storage sa;
	socklen_t len = sockaddr_from_ip(&sa, from, port);

	if (is_linklocal(from) && s->interface[0])
		((struct sockaddr_in6 *)&sa)->sin6_scope_id = if_nametoindex(s->interface);
	if (s->interface[0] && use_device(fd, s->interface) < 0)
		return error_of(errno);
	/* Those of a route that is local. source_find() has seen to it that no others are; of IPv4
	 * the kernel asks its routes itself. */
	if (!s->interface[0] && !ip_is_v4(from) &&
	    setsockopt(fd, IPPROTO_IPV6, IPV6_FREEBIND, &one, sizeof(one)) < 0)
		return error_of(errno);
	/* Of IPv6 sockets, too. A kernel before 4.2 chooses a port now, which is no mistake. */
	if (connects)
		(void)setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &one, sizeof(one));
	if (bind(fd, (const struct sockaddr *)&sa, len) < 0)
		return error_of(errno);
	return 0;
}
