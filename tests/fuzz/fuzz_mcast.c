/* SPDX-License-Identifier: MIT */
/* Fuzzes proto/mcast: the first byte says who sends, and the rest is a connection, read whole and
 * byte by byte, and a datagram. */
#include "fuzz.h"

#include <string.h>

#include "proto/err.h"
#include "proto/mcast.h"

/* All that reading a connection tells, put together so that two readings can be compared. */
struct outcome {
	size_t messages, consumed;
	unsigned long sum;
	int rc;
};

static void add(struct outcome *o, const void *data, size_t len)
{
	const uint8_t *bytes = data;

	for (size_t i = 0; i < len; i++)
		o->sum = o->sum * 31 + bytes[i] + 1;
}

static bool lies_within(const uint8_t *part, size_t n, const uint8_t *data, size_t len)
{
	return n == 0 || (part >= data && n <= len && (size_t)(part - data) <= len - n);
}

static void check_address(const struct socks5_address *a, const uint8_t *data, size_t len)
{
	CHECK(a->type == SOCKS5_ATYP_NAME || a->host_len == (a->type == SOCKS5_ATYP_IPV4 ? 4 : 16));
	CHECK(lies_within(a->host, a->host_len, data, len));
}

/* What was read can be written as it was. */
static void check_control(
    const struct mcast_message *m, bool from_client, const uint8_t *data, size_t len)
{
	const struct mcast_control *c = &m->control;
	struct addr local = {.kind = ADDR_NONE}, remote = {.kind = ADDR_NONE};
	uint8_t buf[MCAST_CONTROL_MAX];
	struct wire_writer out = wire_writer_of(buf, sizeof(buf));

	CHECK(m->type == (from_client ? MCAST_REQUEST : MCAST_REPLY));
	CHECK(len >= MCAST_CONTROL_MIN && len <= MCAST_CONTROL_MAX);
	if (m->err) {
		CHECK(m->err == ERR_TRUNCATED || m->err == ERR_MALFORMED ||
		      m->err == ERR_ADDRESS_TYPE);
		return;
	}
	CHECK(c->has_addresses || len == MCAST_CONTROL_MIN);
	if (!c->has_addresses)
		return;
	check_address(&c->local, data, len);
	check_address(&c->remote, data, len);
	if (socks5_address_to_addr(&c->local, &local) != 0 ||
	    socks5_address_to_addr(&c->remote, &remote) != 0)
		return;
	mcast_write_control(&out, m->type, c, &local, &remote);
	CHECK(!out.failed);
	/* A literal in a name, and a mapped address, are written in a shorter form. */
	if (c->local.type == SOCKS5_ATYP_IPV4 && c->remote.type == SOCKS5_ATYP_IPV4)
		CHECK(out.len == len && memcmp(buf, data, len) == 0);
}

static void note(struct outcome *o, const struct mcast_message *m, bool from_client,
    const uint8_t *data, size_t len)
{
	o->messages++;
	add(o, &m->type, sizeof(m->type));
	if (m->type == MCAST_DATA) {
		CHECK(m->len == len - MCAST_DATA_HEADER);
		CHECK(lies_within(m->data, m->len, data, len));
		add(o, m->data, m->len);
		add(o, &m->aid, sizeof(m->aid));
	} else {
		check_control(m, from_client, data, len);
		add(o, &m->control.aid, sizeof(m->control.aid));
		add(o, &m->err, sizeof(m->err));
	}
}

/* Shows `step` bytes more at a time, each time in memory of their own size. */
static struct outcome read_all(const uint8_t *data, size_t size, bool from_client, size_t step)
{
	struct outcome o = {.rc = WIRE_MORE};
	size_t shown = 0;

	while (o.rc >= 0 && shown < size) {
		shown = size - shown > step ? shown + step : size;
		do {
			size_t len = shown - o.consumed;
			uint8_t *copy = malloc(len + 1);
			struct wire_reader in;
			struct mcast_message m;

			CHECK(copy != NULL);
			memcpy(copy, data + o.consumed, len);
			in = wire_reader_of(copy, len);
			o.rc = mcast_read(&in, from_client, &m);
			CHECK(o.rc == WIRE_DONE || o.rc == WIRE_MORE || o.rc == ERR_MALFORMED);
			CHECK(!in.failed && (o.rc == WIRE_DONE || in.pos == 0));
			if (o.rc == WIRE_DONE)
				note(&o, &m, from_client, copy, in.pos);
			o.consumed += in.pos;
			free(copy);
		} while (o.rc == WIRE_DONE);
	}
	return o;
}

static void check_packet(const uint8_t *data, size_t size)
{
	uint8_t buf[MCAST_UDP_HEADER];
	struct wire_writer out = wire_writer_of(buf, sizeof(buf));
	struct mcast_packet p;
	int rc = mcast_read_packet(data, size, &p);

	CHECK(rc == (size < MCAST_UDP_HEADER ? ERR_TRUNCATED : 0));
	if (rc != 0)
		return;
	CHECK(p.len == size - MCAST_UDP_HEADER);
	CHECK(lies_within(p.data, p.len, data, size));
	mcast_write_packet_header(&out, p.dgid, p.aid);
	CHECK(out.len == MCAST_UDP_HEADER && memcmp(buf + 2, data + 2, 6) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	bool from_client = size > 0 && data[0] & 1;
	struct outcome whole, pieces;

	if (size == 0)
		return 0;
	/* Byte by byte costs the square of it. */
	if (size > 4096)
		size = 4096;
	whole = read_all(data + 1, size - 1, from_client, size);
	pieces = read_all(data + 1, size - 1, from_client, 1);
	CHECK(whole.rc == pieces.rc && whole.messages == pieces.messages);
	CHECK(whole.consumed == pieces.consumed && whole.sum == pieces.sum);
	check_packet(data + 1, size - 1);
	return 0;
}
