/* SPDX-License-Identifier: MIT */
/* Between struct ip and the kernel's addresses, and the few socket calls everybody needs. */
#ifndef TABI_NET_SOCKADDR_H
#define TABI_NET_SOCKADDR_H

#include <sys/socket.h>

#include "proto/addr.h"

/* AF_INET for an IPv4 address, AF_INET6 otherwise. Returns the length. */
socklen_t sockaddr_from_ip(struct sockaddr_storage *ret_sa, const struct ip *ip, uint16_t port);
/* ADDR_IP for AF_INET and AF_INET6 (mapped ones become IPv4); ADDR_NONE for anything else. */
struct addr sockaddr_to_addr(const struct sockaddr_storage *sa);

/* The same without a struct addr around it. Returns false for any other family. */
bool sockaddr_read(const struct sockaddr_storage *sa, struct ip *ret_ip, uint16_t *ret_port);

/* The socket's own address and its peer's; ADDR_NONE where there is none. */
struct addr socket_local_addr(int fd);
struct addr socket_peer_addr(int fd);

/* Takes the pending error of a socket: 0 or -errno. */
int socket_take_error(int fd);

/* Makes close() send RST instead of FIN, and drop what is unsent. */
void socket_set_reset_on_close(int fd);

/* Leaves TCP's urgent byte in its place in the stream, from where the kernel would take it away
 * otherwise (RFC 6093 section 6). Connections accepted from a listener inherit it. */
void socket_keep_urgent(int fd);

/* Is this one of the addresses of this host, or of a net that is routed to it? Asks the kernel, so
 * it is always up to date.
 * Where sysctl ip_nonlocal_bind is on, every address is. */
bool ip_is_local(const struct ip *ip);

#endif
