/* SPDX-License-Identifier: MIT */
/* Fuzzes proto/udp: the input is datagrams, each behind two bytes of length and one of time. */
#include "fuzz.h"

#include <string.h>

#include "proto/err.h"
#include "proto/udp.h"

static uint8_t room[UDP_PAYLOAD_MAX];

/* What was read lies within the datagram, and can be written as it was. */
static void check_packet(const struct udp_packet *p, const uint8_t *data, size_t len)
{
	uint8_t buf[UDP_HEADER_MAX];
	struct wire_writer out = wire_writer_of(buf, sizeof(buf));
	struct addr a = {0};
	size_t header = len - p->len;

	CHECK(header <= UDP_HEADER_MAX && header >= 7);
	CHECK(p->len == 0 || p->data == data + header);
	if (p->remote.type == SOCKS5_ATYP_NAME && socks5_address_to_addr(&p->remote, &a) != 0)
		return;
	CHECK(socks5_address_to_addr(&p->remote, &a) == 0);
	udp_write_header(&out, &a);
	CHECK(!out.failed);
	/* A literal in a name, and a mapped address, are written in a shorter form. */
	if (a.kind == ADDR_NAME || p->remote.type == SOCKS5_ATYP_IPV4)
		CHECK(out.len == header && memcmp(buf + 3, data + 3, header - 3) == 0);
}

/* The client's end agrees, and what it wraps is what it reads. */
static void check_client(const uint8_t *data, size_t len, const struct udp_packet *p)
{
	uint8_t buf[UDP_HEADER_MAX + 16], *payload = buf + UDP_HEADER_MAX, *datagram;
	struct addr from = {0}, again = {0};
	struct udp_packet q;
	int rc = udp_unwrap(data, len, &q, &from);

	if (rc != 0) {
		CHECK(p->frag != 0 || p->remote.type == SOCKS5_ATYP_NAME);
		return;
	}
	CHECK(p->frag == 0 && q.data == p->data && q.len == p->len);
	memset(payload, 'p', 16);
	datagram = udp_wrap(payload, &from);
	CHECK(datagram && datagram >= buf && datagram < payload);
	CHECK(udp_unwrap(datagram, (size_t)(payload + 16 - datagram), &q, &again) == 0);
	CHECK(q.data == payload && q.len == 16);
	CHECK(again.kind == from.kind && again.port == from.port);
	CHECK(from.kind != ADDR_IP || ip_equal(&again.ip, &from.ip));
	CHECK(from.kind != ADDR_NAME || strcmp(again.name, from.name) == 0);
}

static void check_reassembly(struct udp_fragments *f, struct udp_packet *p, uint64_t now)
{
	unsigned before = f->highest, lost;
	size_t before_len = f->len, len = p->len;
	enum udp_fate fate = udp_reassemble(f, p, now, &lost);

	CHECK(lost <= before);
	CHECK(f->highest <= 127 && f->len <= UDP_PAYLOAD_MAX);
	if (fate == UDP_WHOLE) {
		CHECK(p->frag == 0 && p->data == f->buf && f->highest == 0);
		CHECK(p->len == len || p->len == before_len + len);
	} else if (fate == UDP_KEPT) {
		CHECK(f->highest == (lost > 0 ? 1 : before + 1));
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct udp_fragments f = {.buf = room};
	uint64_t now = 0;

	while (size >= 3) {
		size_t len = (size_t)data[0] << 8 | data[1];
		struct udp_packet p;
		int rc;

		now += (uint64_t)data[2] * 100;
		data += 3;
		size -= 3;
		if (len > size)
			len = size;
		rc = udp_read(data, len, &p);
		CHECK(rc == 0 || rc == ERR_TRUNCATED || rc == ERR_ADDRESS_TYPE);
		if (rc == 0) {
			check_packet(&p, data, len);
			check_client(data, len, &p);
		}
		if (rc == 0 && p.frag != 0)
			check_reassembly(&f, &p, now);
		else if (rc == 0)
			udp_fragments_reset(&f);
		data += len;
		size -= len;
	}
	return 0;
}
