/* SPDX-License-Identifier: MIT */
#include "cli/probe_assoc.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "net/gss.h"
#include "net/sockaddr.h"

#define TRIES 3
/* What GSS-API adds to a datagram, at most. */
#define ASSOC_WRAP 1024
#define UDP_MOST 65507

/* ---- beginning ---- */

int assoc_socket(const struct ip *ip)
{
	struct sockaddr_storage sa;
	socklen_t len = sockaddr_from_ip(&sa, ip, 0);
	int fd = socket(sa.ss_family, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	if (fd >= 0 && bind(fd, (const struct sockaddr *)&sa, len) < 0) {
		close(fd);
		return -1;
	}
	if (fd >= 0)
		setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &(int){1 << 20}, sizeof(int));
	return fd;
}

bool assoc_open(struct kit *k, struct assoc *s, unsigned i, const struct addr *declared)
{
	struct addr will = declared ? *declared : (struct addr){.kind = ADDR_NONE};
	struct addr at;

	*s = (struct assoc){.k = k, .i = i};
	k->udp[i] = assoc_socket(&k->p->local.ip);
	if (k->udp[i] < 0) {
		snprintf(s->a.seen, sizeof(s->a.seen), "no socket: %s", strerror(errno));
		return false;
	}
	if (will.port == 1)
		will.port = socket_local_addr(k->udp[i]).port;
	ask5(k->p, &k->t[i], SOCKS5_UDP_ASSOCIATE, &will, &s->a);
	if (s->a.outcome != OUTCOME_YES || s->a.reply.bound.kind != ADDR_IP)
		return false;
	at = s->a.reply.bound;
	/* It stands for the address where the proxy was reached. */
	if (ip_own_classes(&at.ip) & IP_UNSPECIFIED)
		at.ip = k->p->proxy_addr.ip;
	s->relay_addr = at;
	s->relay_len = sockaddr_from_ip(&s->relay, &at.ip, at.port);
	return true;
}

/* ---- datagrams ---- */

/* Whole, header and all, where GSS-API protects them (RFC 1961 section 4). */
static struct layer *protection(const struct assoc *s)
{
	struct layer *layer = s->k->t[s->i].layer;

	return gss_layer_is(layer) ? layer : NULL;
}

size_t assoc_room(const struct assoc *s)
{
	return UDP_MOST - (protection(s) ? ASSOC_WRAP : 0);
}

void assoc_put_from(const struct assoc *s, int fd, const void *data, size_t len)
{
	static uint8_t wrapped[ASSOC_DATAGRAM + ASSOC_WRAP];

	if (protection(s)) {
		if (gss_datagram_wrap(protection(s), data, len, wrapped, sizeof(wrapped), &len) !=
		    0)
			return;
		data = wrapped;
	}
	(void)!sendto(
	    fd, data, len, MSG_NOSIGNAL, (const struct sockaddr *)&s->relay, s->relay_len);
}

void assoc_put_raw(const struct assoc *s, const void *data, size_t len)
{
	assoc_put_from(s, s->k->udp[s->i], data, len);
}

/* With the header, whose first three bytes are given. */
size_t assoc_write(
    uint8_t *buf, uint16_t rsv, uint8_t frag, const struct addr *to, const void *data, size_t len)
{
	struct wire_writer w = wire_writer_of(buf, UDP_HEADER_MAX + len);

	wire_write_u16(&w, rsv);
	wire_write_u8(&w, frag);
	socks5_write_address(&w, to);
	wire_write_bytes(&w, data, len);
	return w.len;
}

void assoc_put(struct assoc *s, uint8_t frag, const struct addr *to, const void *data, size_t len)
{
	uint8_t *buf = malloc(UDP_HEADER_MAX + len);

	if (!buf)
		return;
	assoc_put_raw(s, buf, assoc_write(buf, 0, frag, to, data, len));
	free(buf);
}

static ssize_t unwrap(struct assoc *s, size_t len)
{
	static uint8_t plain[ASSOC_DATAGRAM];

	if (gss_datagram_unwrap(protection(s), s->in, len, plain, sizeof(plain), &len) != 0)
		return -1;
	memcpy(s->in, plain, len);
	return (ssize_t)len;
}

ssize_t assoc_get_raw(struct assoc *s, unsigned ms)
{
	struct pollfd p = {.fd = s->k->udp[s->i], .events = POLLIN};
	struct sockaddr_storage from;
	socklen_t len = sizeof(from);
	ssize_t n;

	if (poll(&p, 1, (int)ms) <= 0)
		return -1;
	n = recvfrom(p.fd, s->in, ASSOC_DATAGRAM, 0, (struct sockaddr *)&from, &len);
	if (n >= 0)
		s->from = sockaddr_to_addr(&from);
	return n >= 0 && protection(s) ? unwrap(s, (size_t)n) : n;
}

bool assoc_get(struct assoc *s, unsigned ms)
{
	ssize_t n = assoc_get_raw(s, ms);

	if (n < 0 || udp_read(s->in, (size_t)n, &s->packet) != 0 || s->packet.rsv != 0 ||
	    s->packet.frag != 0)
		return false;
	return socks5_address_to_addr(&s->packet.remote, &s->remote) == 0;
}

bool assoc_holds(const struct assoc *s, const void *data, size_t len)
{
	return s->packet.len == len && memcmp(s->packet.data, data, len) == 0;
}

bool assoc_echoes(struct assoc *s, const struct addr *to, const void *data, size_t len)
{
	for (unsigned i = 0; i < TRIES; i++) {
		assoc_put(s, 0, to, data, len);
		while (assoc_get(s, probe_ms(s->k->p) / TRIES))
			if (assoc_holds(s, data, len))
				return true;
	}
	return false;
}

bool assoc_echoes_text(struct assoc *s, const char *text)
{
	return assoc_echoes(s, &s->k->p->main, text, strlen(text));
}
