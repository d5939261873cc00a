/* SPDX-License-Identifier: MIT */
#include "lib/os.h"

#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

int os_start(void)
{
	return 0;
}

uint64_t os_now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

/* ---- addresses ---- */

/* Returns its length, or 0 for what is no address. */
static socklen_t to_sockaddr(const struct tabi_address *a, struct sockaddr_storage *ret)
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
		snprintf(said, said_cap, "%s", gai_strerror(err));
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
	socklen_t len = sizeof(sa);

	if (getpeername(fd, (struct sockaddr *)&sa, &len) < 0)
		return -errno;
	return from_sockaddr(&sa, ret_address) ? 0 : -EAFNOSUPPORT;
}

/* ---- sockets ---- */

void os_close(tabi_socket fd)
{
	if (fd >= 0)
		(void)close(fd);
}

static int set_blocking(int fd, bool blocking)
{
	int flags = fcntl(fd, F_GETFL);

	if (flags < 0 ||
	    fcntl(fd, F_SETFL, blocking ? flags & ~O_NONBLOCK : flags | O_NONBLOCK) < 0)
		return -errno;
	return 0;
}

int os_set_blocking(tabi_socket fd)
{
	return set_blocking(fd, true);
}

/* Returns it, or an error. In three calls, for not every system has the flags of Linux. */
static int new_socket(int family, int type)
{
	int fd = socket(family, type, 0), err;

	if (fd < 0)
		return -errno;
	err = fcntl(fd, F_SETFD, FD_CLOEXEC) < 0 ? -errno : set_blocking(fd, false);
	if (err < 0)
		os_close(fd);
	return err < 0 ? err : fd;
}

static int connect_to(const struct tabi_address *to, int type, tabi_socket *ret_fd)
{
	struct sockaddr_storage sa;
	socklen_t len = to_sockaddr(to, &sa);
	int fd, err = 0;

	if (len == 0)
		return -EAFNOSUPPORT;
	fd = new_socket(sa.ss_family, type);
	if (fd < 0)
		return fd;
	if (connect(fd, (struct sockaddr *)&sa, len) < 0)
		err = -errno;
	if (err == 0 || err == -EINPROGRESS || err == -EINTR) {
		*ret_fd = fd;
		return 0;
	}
	os_close(fd);
	return err;
}

/* A handshake is small messages, each of which waits for the one before. */
int os_connect(const struct tabi_address *to, tabi_socket *ret_fd)
{
	int err = connect_to(to, SOCK_STREAM, ret_fd);

	if (err == 0)
		(void)setsockopt(*ret_fd, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int));
	return err;
}

int os_connected(tabi_socket fd)
{
	socklen_t len = sizeof(int);
	int err = 0;

	if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &err, &len) < 0)
		return -errno;
	return -err;
}

static long result_of(ssize_t n)
{
	if (n >= 0)
		return (long)n;
	return errno == EWOULDBLOCK || errno == EINTR ? -EAGAIN : -errno;
}

long os_send(tabi_socket fd, const void *data, size_t len)
{
	return result_of(send(fd, data, len, MSG_NOSIGNAL));
}

long os_receive(tabi_socket fd, void *data, size_t cap)
{
	return result_of(recv(fd, data, cap, 0));
}

long os_peek(tabi_socket fd, void *data, size_t cap)
{
	return result_of(recv(fd, data, cap, MSG_PEEK));
}

int os_shutdown(tabi_socket fd)
{
	return shutdown(fd, SHUT_WR) == 0 ? 0 : -errno;
}

int os_udp(const struct tabi_address *to, tabi_socket *ret_fd)
{
	return connect_to(to, SOCK_DGRAM, ret_fd);
}

/* iovec has no const, sendmsg() writes nothing there. */
static struct iovec part_of(const void *data, size_t len)
{
	return (struct iovec){.iov_base = (void *)(uintptr_t)data, .iov_len = len};
}

int os_send_parts(tabi_socket fd, const void *head, size_t head_len, const void *data, size_t len)
{
	struct iovec parts[2] = {part_of(head, head_len), part_of(data, len)};
	const struct msghdr message = {.msg_iov = parts, .msg_iovlen = 2};
	long n = result_of(sendmsg(fd, &message, MSG_NOSIGNAL));

	return n < 0 ? (int)n : 0;
}

long os_receive_datagram(tabi_socket fd, void *data, size_t cap)
{
	struct iovec part = part_of(data, cap);
	struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1};
	long n = result_of(recvmsg(fd, &message, 0));

	return n >= 0 && (message.msg_flags & MSG_TRUNC) ? (long)cap + 1 : n;
}

int os_wait(struct os_wait *waits, int n, int timeout)
{
	struct pollfd p[OS_WAITS_MAX];
	int ready;

	n = n < OS_WAITS_MAX ? n : OS_WAITS_MAX;
	for (int i = 0; i < n; i++) {
		p[i] = (struct pollfd){.fd = waits[i].fd};
		if (waits[i].events & TABI_READABLE)
			p[i].events |= POLLIN;
		if (waits[i].events & TABI_WRITABLE)
			p[i].events |= POLLOUT;
	}
	ready = poll(p, (nfds_t)n, timeout);
	if (ready < 0)
		return errno == EINTR ? 0 : -errno;
	for (int i = 0; i < n; i++) {
		waits[i].ready = p[i].revents & POLLIN ? TABI_READABLE : 0;
		if (p[i].revents & POLLOUT)
			waits[i].ready |= TABI_WRITABLE;
		if (p[i].revents & (POLLERR | POLLHUP | POLLNVAL))
			waits[i].ready |= waits[i].events;
	}
	return ready;
}
