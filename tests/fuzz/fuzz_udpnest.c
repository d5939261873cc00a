/* SPDX-License-Identifier: MIT */
/*
 * Fuzzes datagrams through a chain of proxies (proto/udp): the input says how long the chain is and
 * of which hops the names are known alone, and then what the first relay sends, datagram by
 * datagram, each behind two bytes of length.
 */
#include "fuzz.h"

#include <string.h>

#include "proto/err.h"
#include "proto/udp.h"

#define HOPS_MAX 8

/* Hop i is at 192.0.2.i, or named "i.h", and its relay has port 1000 + i. */
static void set_chain(struct udp_relay relays[static HOPS_MAX], unsigned named)
{
	for (unsigned i = 0; i < HOPS_MAX; i++) {
		const uint8_t host[4] = {192, 0, 2, (uint8_t)i};
		const char name[] = {(char)('0' + i), '.', 'h'};
		const struct ip ip = ip_from_v4(host);

		relays[i] = (struct udp_relay){.at = addr_from_ip(&ip, (uint16_t)(1000 + i))};
		if (named >> i & 1) {
			CHECK(addr_set_host(&relays[i].at, name, sizeof(name)) == 0);
			relays[i].at.port = (uint16_t)(1000 + i);
		}
	}
}

/* One header after the other gives the same. */
static void check_peeled(const uint8_t *data, size_t len, const struct udp_relay *relays, size_t n,
    int rc, const struct udp_packet *whole)
{
	struct udp_relay copy[HOPS_MAX];
	struct udp_packet p = {.data = data, .len = len};
	struct addr from;
	int each = 0;

	memcpy(copy, relays, sizeof(copy));
	for (size_t i = 1; i < n && each == 0; i++)
		each = udp_peel(p.data, p.len, &copy[i], &p);
	if (each == 0)
		each = udp_unwrap(p.data, p.len, &p, &from);
	CHECK(each == rc);
	CHECK(rc != 0 || (p.data == whole->data && p.len == whole->len));
}

/* What is sent to where it came from has headers of the sizes that came, and the same payload. */
static void check_wrapped(
    const struct udp_relay *relays, size_t n, const struct udp_packet *p, const struct addr *from)
{
	static uint8_t buf[HOPS_MAX * UDP_HEADER_MAX + 65536];
	uint8_t *payload = buf + HOPS_MAX * UDP_HEADER_MAX, *at;
	struct udp_relay known[HOPS_MAX];
	struct udp_packet again;
	struct addr to;

	if (p->len > 0)
		memcpy(payload, p->data, p->len);
	/* Names would come back as the addresses that they are. */
	memcpy(known, relays, sizeof(known));
	for (size_t i = 1; i < n; i++)
		if (known[i].heard)
			known[i].at = addr_from_ip(&known[i].from, known[i].at.port);
	at = udp_wrap_nested(payload, known, n, from);
	CHECK(at && at >= buf && at + 7 <= payload);
	CHECK(udp_unwrap_nested(at, (size_t)(payload - at) + p->len, known, n, &again, &to) == 0);
	CHECK(again.data == payload && again.len == p->len);
	CHECK(to.kind == from->kind && to.port == from->port);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct udp_relay relays[HOPS_MAX];
	size_t n;

	if (size < 2)
		return 0;
	n = 1 + data[0] % HOPS_MAX;
	set_chain(relays, data[1]);
	data += 2;
	size -= 2;
	while (size >= 2) {
		size_t len = (size_t)data[0] << 8 | data[1];
		struct udp_relay before[HOPS_MAX];
		struct udp_packet p;
		struct addr from;
		int rc;

		data += 2;
		size -= 2;
		if (len > size)
			len = size;
		memcpy(before, relays, sizeof(before));
		rc = udp_unwrap_nested(data, len, relays, n, &p, &from);
		check_peeled(data, len, before, n, rc, &p);
		if (rc == 0) {
			CHECK(p.frag == 0 && p.len <= len);
			CHECK(p.len == 0 || p.data + p.len == data + len);
			check_wrapped(relays, n, &p, &from);
		}
		data += len;
		size -= len;
	}
	return 0;
}
