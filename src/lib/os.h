/* SPDX-License-Identifier: MIT */
/*
 * The system's sockets, as little as is needed: os_posix.c or os_winsock.c, chosen by the build.
 * Errors are -errno, also where the system counts its errors otherwise; -EAGAIN is the one word for
 * "not now". No socket here blocks, and none is left to a program that is started.
 */
#ifndef TABI_LIB_OS_H
#define TABI_LIB_OS_H

#include <limits.h>

#include "tabi.h"

/* Before the first socket; to call it again costs nothing. Returns 0 or an error. */
int os_start(void);

/* Milliseconds that never run back. */
uint64_t os_now(void);

/* From `now` to `end` (UINT64_MAX: there is none) as a timeout of os_wait(). */
static inline int os_timeout(uint64_t now, uint64_t end)
{
	if (end == UINT64_MAX)
		return -1;
	if (end <= now)
		return 0;
	return end - now < INT_MAX ? (int)(end - now) : INT_MAX;
}

/* Up to `cap` addresses of a host in the system's order (getaddrinfo(): it blocks). Returns how
 * many; 0 where there are none, with the system's sentence in `said`, which is "" else. */
int os_resolve(
    const char *host, struct tabi_address *ret_addresses, int cap, char *said, size_t said_cap);

/* Begins to connect. Returns 0 with a socket, of which os_connected() will tell, or an error. */
int os_connect(const struct tabi_address *to, tabi_socket *ret_fd);
/* Once it is writable: 0 or an error. */
int os_connected(tabi_socket fd);

/* Returns how many bytes, 0 at the end of the stream, or an error. Nobody is signalled. */
long os_send(tabi_socket fd, const void *data, size_t len);
long os_receive(tabi_socket fd, void *data, size_t cap);
/* The same, but the bytes stay where they are. */
long os_peek(tabi_socket fd, void *data, size_t cap);

/* No more will be sent. Returns 0 or an error. */
int os_shutdown(tabi_socket fd);

/* A socket for datagrams to and from that address alone. */
int os_udp(const struct tabi_address *to, tabi_socket *ret_fd);
/* One datagram of two parts, and of a whole one how long it is: more than `cap` where it was cut.
 */
int os_send_parts(tabi_socket fd, const void *head, size_t head_len, const void *data, size_t len);
long os_receive_datagram(tabi_socket fd, void *data, size_t cap);

/* Who is at the other end. */
int os_peer(tabi_socket fd, struct tabi_address *ret_address);

int os_set_blocking(tabi_socket fd);
void os_close(tabi_socket fd);

/* A socket to wait for, `events` of enum tabi_events; `ready` is what came of it, any of it where
 * the socket has failed. TABI_NO_SOCKET is waited for by nobody. */
struct os_wait {
	tabi_socket fd;
	int events;
	int ready;
};
#define OS_WAITS_MAX 20
/* Waits for at most `timeout` milliseconds (negative: for ever). Returns how many are ready, 0 too
 * when a signal came, or an error. */
int os_wait(struct os_wait *waits, int n, int timeout);

/*
 * A descriptor that is readable when one of those added to it is ready for what it was added for:
 * group_epoll.c, or
 * group_none.c for systems without, chosen by the build. TABI_NO_SOCKET where there is none; it is
 * closed by os_close(). One that is added has to be removed before it is closed, unless the group
 * is closed before.
 */
tabi_socket os_group(void);
int os_group_add(tabi_socket to, tabi_socket fd, int wanted);
void os_group_remove(tabi_socket from, tabi_socket fd);

#endif
