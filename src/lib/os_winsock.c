/* SPDX-License-Identifier: MIT */
#include "lib/os.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <winsock2.h>
#include <ws2tcpip.h>

/* ---- errors ---- */

static int error_of(int wsa)
{
	static const struct {
		int wsa;
		int number;
	} rows[] = {
	    {WSAEWOULDBLOCK, EAGAIN},
	    {WSAEINTR, EAGAIN},
	    {WSAECONNREFUSED, ECONNREFUSED},
	    {WSAECONNRESET, ECONNRESET},
	    {WSAECONNABORTED, ECONNABORTED},
	    {WSAETIMEDOUT, ETIMEDOUT},
	    {WSAEHOSTUNREACH, EHOSTUNREACH},
	    {WSAENETUNREACH, ENETUNREACH},
	    {WSAENETDOWN, ENETDOWN},
	    {WSAENETRESET, ENETRESET},
	    {WSAEADDRNOTAVAIL, EADDRNOTAVAIL},
	    {WSAEADDRINUSE, EADDRINUSE},
	    {WSAEAFNOSUPPORT, EAFNOSUPPORT},
	    {WSAEACCES, EACCES},
	    {WSAEMFILE, EMFILE},
	    {WSAENOBUFS, ENOBUFS},
	    {WSAEMSGSIZE, EMSGSIZE},
	    {WSAENOTCONN, ENOTCONN},
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		if (rows[i].wsa == wsa)
			return -rows[i].number;
	return -EIO;
}

static int last_error(void)
{
	return error_of(WSAGetLastError());
}

/* Windows counts the calls, so that one for each of ours leaves it as it was for everybody else. */
int os_start(void)
{
	WSADATA data;

	return WSAStartup(MAKEWORD(2, 2), &data) == 0 ? 0 : -EIO;
}

uint64_t os_now(void)
{
	return GetTickCount64();
}

/* ---- addresses ---- */

/* Returns its length, or 0 for what is no address. */
static int to_sockaddr(const struct tabi_address *a, struct sockaddr_storage *ret)
{
	struct sockaddr_in in = {.sin_family = AF_INET, .sin_port = htons(a->port)};
	struct sockaddr_in6 in6 = {.sin6_family = AF_INET6, .sin6_port = htons(a->port)};

	memset(ret, 0, sizeof(*ret));
	if (a->family == TABI_IPV4) {
		memcpy(&in.sin_addr, a->ip, sizeof(in.sin_addr));
		memcpy(ret, &in, sizeof(in));
		return sizeof(in);
	}
	if (a->family != TABI_IPV6)
		return 0;
	memcpy(&in6.sin6_addr, a->ip, sizeof(in6.sin6_addr));
	memcpy(ret, &in6, sizeof(in6));
	return sizeof(in6);
}

static bool from_sockaddr(const void *sa, struct tabi_address *ret)
{
	struct sockaddr_in in;
	struct sockaddr_in6 in6;
	struct sockaddr head;

	memset(ret, 0, sizeof(*ret));
	memcpy(&head, sa, sizeof(head));
	if (head.sa_family == AF_INET) {
		memcpy(&in, sa, sizeof(in));
		ret->family = TABI_IPV4;
		ret->port = ntohs(in.sin_port);
		memcpy(ret->ip, &in.sin_addr, 4);
		return true;
	}
	if (head.sa_family != AF_INET6)
		return false;
	memcpy(&in6, sa, sizeof(in6));
	ret->family = TABI_IPV6;
	ret->port = ntohs(in6.sin6_port);
	memcpy(ret->ip, &in6.sin6_addr, 16);
	return true;
}

int os_resolve(
    const char *host, struct tabi_address *ret_addresses, int cap, char *said, size_t said_cap)
{
	const struct addrinfo hints = {.ai_socktype = SOCK_STREAM};
	struct addrinfo *list, *a;
	int n = 0, err = getaddrinfo(host, NULL, &hints, &list);

	said[0] = '\0';
	if (err != 0) {
		/* gai_strerror() of Windows has one buffer for all threads. */
		snprintf(said, said_cap, "%s",
		    err == WSAHOST_NOT_FOUND || err == WSANO_DATA ? "no such name"
								  : "the resolver failed");
		return 0;
	}
	for (a = list; a && n < cap; a = a->ai_next)
		n += from_sockaddr(a->ai_addr, &ret_addresses[n]);
	freeaddrinfo(list);
	return n;
}

int os_peer(tabi_socket fd, struct tabi_address *ret_address)
{
	struct sockaddr_storage sa;
	int len = sizeof(sa);

	if (getpeername(fd, (struct sockaddr *)&sa, &len) != 0)
		return last_error();
	return from_sockaddr(&sa, ret_address) ? 0 : -EAFNOSUPPORT;
}

/* ---- sockets ---- */

void os_close(tabi_socket fd)
{
	(void)closesocket(fd);
}

static int set_blocking(tabi_socket fd, bool blocking)
{
	u_long mode = !blocking;

	return ioctlsocket(fd, (long)FIONBIO, &mode) == 0 ? 0 : last_error();
}

int os_set_blocking(tabi_socket fd)
{
	return set_blocking(fd, true);
}

static int connect_to(const struct tabi_address *to, int type, tabi_socket *ret_fd)
{
	struct sockaddr_storage sa;
	int len = to_sockaddr(to, &sa), err;
	SOCKET fd;

	if (len == 0)
		return -EAFNOSUPPORT;
	fd = WSASocketW(
	    sa.ss_family, type, 0, NULL, 0, WSA_FLAG_OVERLAPPED | WSA_FLAG_NO_HANDLE_INHERIT);
	if (fd == INVALID_SOCKET)
		return last_error();
	err = set_blocking(fd, false);
	if (err == 0 && connect(fd, (struct sockaddr *)&sa, len) != 0) {
		err = last_error();
		if (err == -EAGAIN)
			err = 0;
	}
	if (err < 0)
		os_close(fd);
	else
		*ret_fd = fd;
	return err;
}

/* A handshake is small messages, each of which waits for the one before. */
int os_connect(const struct tabi_address *to, tabi_socket *ret_fd)
{
	const BOOL on = TRUE;
	int err = connect_to(to, SOCK_STREAM, ret_fd);

	if (err == 0)
		(void)setsockopt(*ret_fd, IPPROTO_TCP, TCP_NODELAY, (const char *)&on, sizeof(on));
	return err;
}

int os_connected(tabi_socket fd)
{
	int err = 0, len = sizeof(err);

	if (getsockopt(fd, SOL_SOCKET, SO_ERROR, (char *)&err, &len) != 0)
		return last_error();
	return err == 0 ? 0 : error_of(err);
}

/* The calls take an int; what is left is sent the next time. */
static int int_of(size_t n)
{
	return n < 0x40000000 ? (int)n : 0x40000000;
}

long os_send(tabi_socket fd, const void *data, size_t len)
{
	int n = send(fd, data, int_of(len), 0);

	return n < 0 ? last_error() : n;
}

long os_receive(tabi_socket fd, void *data, size_t cap)
{
	int n = recv(fd, data, int_of(cap), 0);

	return n < 0 ? last_error() : n;
}

long os_peek(tabi_socket fd, void *data, size_t cap)
{
	int n = recv(fd, data, int_of(cap), MSG_PEEK);

	return n < 0 ? last_error() : n;
}

int os_shutdown(tabi_socket fd)
{
	return shutdown(fd, SD_SEND) == 0 ? 0 : last_error();
}

int os_udp(const struct tabi_address *to, tabi_socket *ret_fd)
{
	return connect_to(to, SOCK_DGRAM, ret_fd);
}

static WSABUF part_of(const void *data, size_t len)
{
	return (WSABUF){.len = (u_long)int_of(len), .buf = (char *)(uintptr_t)data};
}

int os_send_parts(tabi_socket fd, const void *head, size_t head_len, const void *data, size_t len)
{
	WSABUF parts[2] = {part_of(head, head_len), part_of(data, len)};
	DWORD sent;

	return WSASend(fd, parts, 2, &sent, 0, NULL, NULL) == 0 ? 0 : last_error();
}

long os_receive_datagram(tabi_socket fd, void *data, size_t cap)
{
	long n = os_receive(fd, data, cap);

	return n == -EMSGSIZE ? (long)cap + 1 : n;
}

int os_wait(struct os_wait *waits, int n, int timeout)
{
	WSAPOLLFD p[OS_WAITS_MAX];
	int ready;

	n = n < OS_WAITS_MAX ? n : OS_WAITS_MAX;
	for (int i = 0; i < n; i++) {
		p[i] = (WSAPOLLFD){.fd = waits[i].fd};
		if (waits[i].events & TABI_READABLE)
			p[i].events |= POLLRDNORM;
		if (waits[i].events & TABI_WRITABLE)
			p[i].events |= POLLWRNORM;
	}
	ready = WSAPoll(p, (ULONG)n, timeout);
	if (ready < 0)
		return last_error();
	for (int i = 0; i < n; i++) {
		waits[i].ready = p[i].revents & POLLRDNORM ? TABI_READABLE : 0;
		if (p[i].revents & POLLWRNORM)
			waits[i].ready |= TABI_WRITABLE;
		if (p[i].revents & (POLLERR | POLLHUP | POLLNVAL))
			waits[i].ready |= waits[i].events;
	}
	return ready;
}
