/* SPDX-License-Identifier: MIT */
/* Datagram headers, and fragments put together by the deterministic algorithm of protocol.md. */
#include "proto/udp.h"

#include <string.h>

#include "proto/err.h"

int udp_read(const void *data, size_t len, struct udp_packet *ret_packet)
{
	struct wire_reader r = wire_reader_of(data, len);
	struct udp_packet p;
	int rc;

	p.rsv = wire_read_u16(&r);
	p.frag = wire_read_u8(&r);
	if (r.failed)
		return ERR_TRUNCATED;
	rc = socks5_read_address(&r, &p.remote);
	/* There is no more to come: a datagram is all there is. */
	if (rc != WIRE_DONE)
		return rc == WIRE_MORE ? ERR_TRUNCATED : rc;
	p.len = wire_left(&r);
	p.data = wire_read_bytes(&r, p.len);
	*ret_packet = p;
	return 0;
}

void udp_write_header(struct wire_writer *out, const struct addr *remote)
{
	wire_write_u16(out, 0);
	wire_write_u8(out, 0);
	socks5_write_address(out, remote);
}

uint8_t *udp_wrap(uint8_t *payload, const struct addr *remote)
{
	uint8_t header[UDP_HEADER_MAX];
	struct wire_writer out = wire_writer_of(header, sizeof(header));

	if (remote->kind == ADDR_NONE)
		return NULL;
	udp_write_header(&out, remote);
	if (out.failed)
		return NULL;
	return memcpy(payload - out.len, header, out.len);
}

int udp_unwrap(const void *data, size_t len, struct udp_packet *ret_packet, struct addr *ret_remote)
{
	struct udp_packet p;
	int rc = udp_read(data, len, &p);

	if (rc == 0 && p.frag != 0)
		rc = ERR_MALFORMED;
	if (rc == 0)
		rc = socks5_address_to_addr(&p.remote, ret_remote);
	if (rc == 0)
		*ret_packet = p;
	return rc;
}

/* ---- through a chain ---- */

uint8_t *udp_wrap_nested(
    uint8_t *payload, const struct udp_relay *relays, size_t n, const struct addr *remote)
{
	uint8_t *at = udp_wrap(payload, remote);

	while (at && n-- > 1)
		at = udp_wrap(at, &relays[n].at);
	return at;
}

/* Whoever stands before it in the chain looks its name up, so which address that is shows here
 * first. */
static bool is_from(struct udp_relay *relay, const struct addr *from)
{
	if (from->kind != ADDR_IP || from->port != relay->at.port)
		return false;
	if (relay->at.kind == ADDR_IP)
		return ip_equal(&from->ip, &relay->at.ip);
	if (!relay->heard) {
		relay->heard = true;
		relay->from = from->ip;
	}
	return ip_equal(&from->ip, &relay->from);
}

int udp_peel(const void *data, size_t len, struct udp_relay *relay, struct udp_packet *ret_packet)
{
	struct addr from;
	int rc = udp_unwrap(data, len, ret_packet, &from);

	return rc == 0 && !is_from(relay, &from) ? ERR_STRANGER : rc;
}

int udp_unwrap_nested(const void *data, size_t len, struct udp_relay *relays, size_t n,
    struct udp_packet *ret_packet, struct addr *ret_remote)
{
	for (size_t i = 1; i < n; i++) {
		struct udp_packet p;
		int rc = udp_peel(data, len, &relays[i], &p);

		if (rc != 0)
			return rc;
		data = p.data;
		len = p.len;
	}
	return udp_unwrap(data, len, ret_packet, ret_remote);
}

/* ---- fragments ---- */

unsigned udp_fragments_reset(struct udp_fragments *f)
{
	unsigned lost = f->highest;

	f->highest = 0;
	f->len = 0;
	return lost;
}

bool udp_fragments_expired(const struct udp_fragments *f, uint64_t now)
{
	return f->highest > 0 && now - f->began >= UDP_REASSEMBLY_MS;
}

static void begin(struct udp_fragments *f, const struct socks5_address *remote, uint64_t now)
{
	f->began = now;
	f->remote_type = remote->type;
	f->remote_len = remote->host_len;
	f->remote_port = remote->port;
	if (remote->host_len > 0)
		memcpy(f->remote, remote->host, remote->host_len);
}

/* Every fragment repeats the address: compared as it stands, for a client has one way to write it.
 */
static bool same_remote(const struct udp_fragments *f, const struct socks5_address *remote)
{
	return f->remote_type == remote->type && f->remote_port == remote->port &&
	       f->remote_len == remote->host_len &&
	       (remote->host_len == 0 || memcmp(f->remote, remote->host, remote->host_len) == 0);
}

/* The packet is the next one of its sequence. Returns whether there was room. */
static bool append(struct udp_fragments *f, const struct udp_packet *packet)
{
	if (packet->len > UDP_PAYLOAD_MAX - f->len)
		return false;
	if (packet->len > 0)
		memcpy(f->buf + f->len, packet->data, packet->len);
	f->len += packet->len;
	f->highest++;
	return true;
}

enum udp_fate udp_reassemble(
    struct udp_fragments *f, struct udp_packet *packet, uint64_t now, unsigned *ret_lost)
{
	uint8_t place = packet->frag & (UDP_FRAG_LAST - 1);

	*ret_lost = udp_fragments_expired(f, now) ? udp_fragments_reset(f) : 0;
	if (place == 0 || place == f->highest)
		return UDP_DROP;
	/* RFC 1928: a lower number resets the queue; that one may begin a new sequence. */
	if (place < f->highest)
		*ret_lost += udp_fragments_reset(f);
	/* A gap cannot be repaired: the missing one, come late, would reset the queue anyway. */
	if (place != f->highest + 1 || (place > 1 && !same_remote(f, &packet->remote))) {
		*ret_lost += udp_fragments_reset(f);
		return UDP_DROP;
	}
	if (place == 1)
		begin(f, &packet->remote, now);
	if (!append(f, packet)) {
		*ret_lost += udp_fragments_reset(f);
		return UDP_DROP;
	}
	if (!(packet->frag & UDP_FRAG_LAST))
		return UDP_KEPT;
	packet->frag = 0;
	packet->data = f->buf;
	packet->len = f->len;
	udp_fragments_reset(f);
	return UDP_WHOLE;
}
