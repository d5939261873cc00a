/* SPDX-License-Identifier: MIT */
/* UDP ASSOCIATE over the system's sockets: one for the datagrams, and the connection to the proxy,
 * which keeps the association alive and says nothing any more but that it has ended. */
#include "tabi.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>

#include "lib/dial.h"
#include "lib/error.h"
#include "lib/os.h"

struct tabi_udp {
	struct tabi_dial *dial; /* with its socket and its TLS */
	tabi_socket fd;
};

/* A relay that is given by its name is the proxy that was reached through others. */
static int find_relay(
    const struct tabi_udp *u, const struct tabi_options *options, struct tabi_address *ret_relay)
{
	struct tabi_address found[8];
	uint16_t port;
	int n;

	tabi_dial_listens_at(u->dial, ret_relay);
	if (ret_relay->family != TABI_NAME)
		return 0;
	port = ret_relay->port;
	n = options && options->size >= sizeof(*options) && options->resolve
		? options->resolve(options->user, ret_relay->name, found, 8)
		: os_resolve(ret_relay->name, found, 8);
	if (n <= 0)
		return TABI_E_RESOLVE;
	*ret_relay = found[0];
	ret_relay->port = port;
	return 0;
}

static int open_socket(struct tabi_udp *u, const struct tabi_options *options, struct tabi_error *e)
{
	struct tabi_address relay;
	int err = find_relay(u, options, &relay);

	*e = error_of_call(err, NULL);
	if (err < 0)
		return err;
	err = os_udp(&relay, &u->fd);
	*e = error_of_call(err < 0 ? TABI_E_CONNECT : 0, NULL);
	e->error_number = -err;
	return e->code;
}

struct tabi_udp *tabi_udp_open(
    const char *proxies, const struct tabi_options *options, struct tabi_error *ret_error)
{
	struct tabi_error e = error_of_call(TABI_E_MEMORY, NULL);
	struct tabi_udp *u = calloc(1, sizeof(*u));

	if (u) {
		u->fd = TABI_NO_SOCKET;
		u->dial = tabi_dial_new(proxies, TABI_UDP, NULL, 0, options, &e);
		if (u->dial && dial_wait(u->dial, -1) != 1)
			tabi_dial_error(u->dial, &e);
		else if (u->dial && open_socket(u, options, &e) == 0)
			return u;
	}
	error_tell(ret_error, &e);
	tabi_udp_close(u);
	return NULL;
}

/* What ICMP said of an earlier datagram is of no use to anybody, but it is said once, in the place
 * of an answer. */
static bool is_old_news(long err)
{
	return err == -ECONNREFUSED || err == -EHOSTUNREACH || err == -ENETUNREACH;
}

int tabi_udp_send(struct tabi_udp *u, const struct tabi_address *to, const void *data, size_t len)
{
	unsigned char header[TABI_UDP_HEADER_MAX];
	int n = tabi_udp_header(header, to), err;

	if (n < 0)
		return n;
	err = os_send_parts(u->fd, header, (size_t)n, data, len);
	if (is_old_news(err))
		err = os_send_parts(u->fd, header, (size_t)n, data, len);
	if (err == -EMSGSIZE)
		return TABI_E_TOO_LONG;
	if (err == -EAGAIN || err == -ENOBUFS)
		return TABI_E_AGAIN;
	return err < 0 ? TABI_E_IO : 0;
}

/* Whatever it says is not for us; its end is. Behind TLS the end of the socket does as well. */
static bool has_ended(const struct tabi_udp *u)
{
	unsigned char nothing[64];
	long n;

	do
		n = os_receive(tabi_dial_fd(u->dial), nothing, sizeof(nothing));
	while (n > 0);
	return n != -EAGAIN;
}

/* One datagram that is there, past those that mean nothing. */
static long receive_one(
    struct tabi_udp *u, void *buf, size_t cap, struct tabi_address *ret_from, void **ret_payload)
{
	for (;;) {
		const long n = os_receive_datagram(u->fd, buf, cap);
		const void *payload;
		long len;

		if (n == -EAGAIN)
			return TABI_E_AGAIN;
		if (is_old_news(n))
			continue;
		if (n < 0)
			return TABI_E_IO;
		if ((size_t)n > cap)
			return TABI_E_TOO_LONG;
		len = tabi_udp_unwrap(buf, (size_t)n, ret_from, &payload);
		if (len < 0)
			continue;
		*ret_payload = (char *)buf + ((const char *)payload - (const char *)buf);
		return len;
	}
}

long tabi_udp_recv(struct tabi_udp *u, void *buf, size_t cap, int timeout,
    struct tabi_address *ret_from, void **ret_payload)
{
	const uint64_t end = os_now() + (uint64_t)(timeout > 0 ? timeout : 0);

	for (;;) {
		struct os_wait waits[2] = {{.fd = u->fd, .events = TABI_READABLE},
		    {.fd = tabi_dial_fd(u->dial), .events = TABI_READABLE}};
		long n = receive_one(u, buf, cap, ret_from, ret_payload);
		uint64_t now = os_now();

		if (n != TABI_E_AGAIN)
			return n;
		if (has_ended(u))
			return TABI_E_CLOSED;
		if (timeout >= 0 && now >= end)
			return TABI_E_AGAIN;
		if (os_wait(waits, 2, timeout < 0 ? -1 : (int)(end - now)) < 0)
			return TABI_E_IO;
	}
}

tabi_socket tabi_udp_fd(const struct tabi_udp *u)
{
	return u->fd;
}

tabi_socket tabi_udp_control_fd(const struct tabi_udp *u)
{
	return tabi_dial_fd(u->dial);
}

void tabi_udp_close(struct tabi_udp *u)
{
	if (!u)
		return;
	if (u->fd != TABI_NO_SOCKET)
		os_close(u->fd);
	tabi_dial_free(u->dial);
	free(u);
}
