/* SPDX-License-Identifier: MIT */
/* UDP ASSOCIATE over the system's sockets: one for the datagrams, and a connection for each
 * association, which keeps it alive and says nothing any more but that it has ended. */
#include "tabi.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "lib/address.h"
#include "lib/associations.h"
#include "lib/dial.h"
#include "lib/error.h"
#include "lib/gsslayer.h"
#include "lib/lookup.h"
#include "lib/os.h"

#define DATAGRAM_MAX ((size_t)65535)
/* Of datagrams that mean nothing in one go: the relay may send them faster than we read. */
#define DROPS_MAX 64

struct tabi_udp {
	struct associations associations;
	tabi_socket fd;
	struct layer *protection; /* the last dial's; NULL: none */
	/* Where a datagram is copied, under protection or for several proxies; NULL where it need
	 * not be. */
	unsigned char *wrapped;
};

static struct tabi_dial *last_dial(const struct tabi_udp *u)
{
	return u->associations.dials[u->associations.n - 1];
}

/* The first one, to which we send. One that is given by its name is a proxy that was reached
 * through others, past which datagrams go. */
static int find_relay(const struct tabi_udp *u, struct tabi_address *ret_relay)
{
	struct tabi_address found[LOOKUP_ADDRESSES_MAX];
	uint16_t port;

	address_from_addr(&u->associations.relays[0].at, ret_relay);
	if (ret_relay->family != TABI_NAME)
		return 0;
	port = ret_relay->port;
	if (dial_look_up(last_dial(u), ret_relay->name, found) <= 0)
		return TABI_E_RESOLVE;
	*ret_relay = found[0];
	ret_relay->port = port;
	return 0;
}

static int open_socket(struct tabi_udp *u, struct tabi_error *e)
{
	struct tabi_address relay;
	int err = find_relay(u, &relay);

	*e = error_of_call(err, NULL);
	if (err < 0)
		return err;
	err = os_udp(&relay, &u->fd);
	*e = error_of_call(err < 0 ? TABI_E_CONNECT : 0, NULL);
	e->error_number = -err;
	return e->code;
}

static int take_protection(struct tabi_udp *u, struct tabi_error *e)
{
	const size_t n = u->associations.n;

	u->protection = dial_protects_datagrams(last_dial(u));
	*e = error_of_call(0, NULL);
	if (!u->protection && n == 1)
		return 0;
	u->wrapped = malloc(u->protection ? 2 * DATAGRAM_MAX : n * UDP_HEADER_MAX + DATAGRAM_MAX);
	*e = error_of_call(u->wrapped ? 0 : TABI_E_MEMORY, NULL);
	return e->code;
}

struct tabi_udp *tabi_udp_open(
    const char *proxies, const struct tabi_options *options, struct tabi_error *ret_error)
{
	struct tabi_error e = error_of_call(TABI_E_MEMORY, NULL);
	struct tabi_udp *u = calloc(1, sizeof(*u));

	if (u) {
		u->fd = TABI_NO_SOCKET;
		if (associations_open(&u->associations, proxies, options, &e) == 0 &&
		    open_socket(u, &e) == 0 && take_protection(u, &e) == 0)
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

/* Behind the room for a frame the datagram as it would go without protection. */
static int protect(struct tabi_udp *u, const unsigned char *header, size_t header_len,
    const void *data, size_t len, size_t *ret_len)
{
	unsigned char *plain = u->wrapped + DATAGRAM_MAX;

	if (len > DATAGRAM_MAX - header_len)
		return TABI_E_TOO_LONG;
	memcpy(plain, header, header_len);
	if (len > 0)
		memcpy(plain + header_len, data, len);
	return gsslayer_wrap(
	    u->protection, plain, header_len + len, u->wrapped, DATAGRAM_MAX, ret_len);
}

static int send_two(
    const struct tabi_udp *u, const void *head, size_t head_len, const void *data, size_t len)
{
	int err = os_send_parts(u->fd, head, head_len, data, len);

	if (is_old_news(err))
		err = os_send_parts(u->fd, head, head_len, data, len);
	if (err == -EMSGSIZE)
		return TABI_E_TOO_LONG;
	if (err == -EAGAIN || err == -ENOBUFS)
		return TABI_E_AGAIN;
	return err < 0 ? TABI_E_IO : 0;
}

/* A header for each proxy. */
static int send_nested(
    struct tabi_udp *u, const struct tabi_address *to, const void *data, size_t len)
{
	const struct associations *a = &u->associations;
	unsigned char *payload = u->wrapped + a->n * UDP_HEADER_MAX, *begin;
	struct addr remote;

	if (address_to_addr(to, &remote) != 0 || remote.kind == ADDR_NONE)
		return TABI_E_ARGUMENT;
	if (len > DATAGRAM_MAX)
		return TABI_E_TOO_LONG;
	if (len > 0)
		memcpy(payload, data, len);
	begin = udp_wrap_nested(payload, a->relays, a->n, &remote);
	if (!begin)
		return TABI_E_ARGUMENT;
	return send_two(u, begin, (size_t)(payload + len - begin), NULL, 0);
}

int tabi_udp_send(struct tabi_udp *u, const struct tabi_address *to, const void *data, size_t len)
{
	unsigned char header[TABI_UDP_HEADER_MAX];
	int n = tabi_udp_header(header, to), err;
	size_t wrapped;

	if (n < 0)
		return n;
	if (u->associations.n > 1)
		return send_nested(u, to, data, len);
	if (!u->protection)
		return send_two(u, header, (size_t)n, data, len);
	err = protect(u, header, (size_t)n, data, len, &wrapped);
	return err < 0 ? err : send_two(u, u->wrapped, wrapped, NULL, 0);
}

/* The next datagram, without its protection. Returns as os_receive_datagram(), or 0 for one that
 * has none. */
static long receive_plain(struct tabi_udp *u, void *buf, size_t cap)
{
	unsigned char *plain;
	size_t len = 0;
	long n;

	if (!u->protection)
		return os_receive_datagram(u->fd, buf, cap);
	plain = u->wrapped + DATAGRAM_MAX;
	n = os_receive_datagram(u->fd, u->wrapped, DATAGRAM_MAX);
	if (n < 0)
		return n;
	if (gsslayer_unwrap(u->protection, u->wrapped, (size_t)n, plain, DATAGRAM_MAX, &len) < 0)
		return 0;
	if (len <= cap)
		memcpy(buf, plain, len);
	return (long)len;
}

/* As tabi_udp_unwrap(), through all proxies. */
static long unwrap(struct tabi_udp *u, const void *datagram, size_t len,
    struct tabi_address *ret_from, const void **ret_payload)
{
	struct associations *a = &u->associations;
	struct udp_packet packet;
	struct addr from;

	if (udp_unwrap_nested(datagram, len, a->relays, a->n, &packet, &from) != 0)
		return TABI_E_PROTOCOL;
	address_from_addr(&from, ret_from);
	*ret_payload = packet.data;
	return (long)packet.len;
}

/* One datagram that is there, past some of those that mean nothing. */
static long receive_one(
    struct tabi_udp *u, void *buf, size_t cap, struct tabi_address *ret_from, void **ret_payload)
{
	for (int i = 0; i < DROPS_MAX; i++) {
		const long n = receive_plain(u, buf, cap);
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
		len = unwrap(u, buf, (size_t)n, ret_from, &payload);
		if (len < 0)
			continue;
		*ret_payload = (char *)buf + ((const char *)payload - (const char *)buf);
		return len;
	}
	return TABI_E_AGAIN;
}

long tabi_udp_recv(struct tabi_udp *u, void *buf, size_t cap, int timeout,
    struct tabi_address *ret_from, void **ret_payload)
{
	const uint64_t end = os_now() + (uint64_t)(timeout > 0 ? timeout : 0);

	for (;;) {
		struct os_wait waits[1 + TABI_HOPS_MAX] = {{.fd = u->fd, .events = TABI_READABLE}};
		const int n_waits = 1 + associations_waits(&u->associations, waits + 1);
		long n = receive_one(u, buf, cap, ret_from, ret_payload);
		uint64_t now = os_now();

		if (n != TABI_E_AGAIN)
			return n;
		if (associations_have_ended(&u->associations))
			return TABI_E_CLOSED;
		if (timeout >= 0 && now >= end)
			return TABI_E_AGAIN;
		if (os_wait(waits, n_waits, timeout < 0 ? -1 : os_timeout(now, end)) < 0)
			return TABI_E_IO;
	}
}

tabi_socket tabi_udp_fd(const struct tabi_udp *u)
{
	return u->fd;
}

tabi_socket tabi_udp_control_fd(const struct tabi_udp *u)
{
	return associations_fd(&u->associations);
}

void tabi_udp_close(struct tabi_udp *u)
{
	if (!u)
		return;
	if (u->fd != TABI_NO_SOCKET)
		os_close(u->fd);
	free(u->wrapped);
	associations_close(&u->associations);
	free(u);
}
