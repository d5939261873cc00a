/* SPDX-License-Identifier: MIT */
#include "proto/mcast.h"

#include "proto/err.h"

/* Type and SIZE stand before all else. */
#define HEAD_SIZE 3

/* The addresses fill the message; what an unknown type leaves behind cannot be told. */
static int read_addresses(struct wire_reader *r, struct mcast_control *c)
{
	int rc;

	if (wire_left(r) == 0)
		return 0;
	rc = socks5_read_address(r, &c->local);
	if (rc == WIRE_DONE)
		rc = socks5_read_address(r, &c->remote);
	if (rc == WIRE_MORE)
		return ERR_TRUNCATED;
	if (rc != WIRE_DONE)
		return rc;
	c->has_addresses = true;
	return wire_left(r) > 0 ? ERR_MALFORMED : 0;
}

/* `r` holds the message and nothing else. */
static void read_control(struct wire_reader *r, struct mcast_message *m)
{
	struct mcast_control *c = &m->control;

	c->code = wire_read_u8(r);
	c->flags = wire_read_u16(r);
	c->ttl = wire_read_u8(r);
	c->tid = wire_read_u16(r);
	c->aid = wire_read_u32(r);
	m->err = read_addresses(r, c);
}

static bool size_is_possible(const struct mcast_message *m, bool from_client, size_t size)
{
	switch (m->type) {
	case MCAST_REQUEST:
		return from_client && size >= MCAST_CONTROL_MIN && size <= MCAST_CONTROL_MAX;
	case MCAST_REPLY:
		return !from_client && size >= MCAST_CONTROL_MIN && size <= MCAST_CONTROL_MAX;
	case MCAST_DATA:
		return size >= MCAST_DATA_HEADER;
	}
	return false;
}

int mcast_read(struct wire_reader *in, bool from_client, struct mcast_message *ret_message)
{
	struct wire_reader r = *in, whole;
	struct mcast_message m = {0};
	const uint8_t *body;
	size_t size;

	/* The type alone may be enough to know that it is none; its size is then looked at. */
	m.type = (enum mcast_type)wire_read_u8(&r);
	if (r.failed)
		return WIRE_MORE;
	if (!size_is_possible(&m, from_client, MCAST_CONTROL_MIN))
		return ERR_MALFORMED;
	size = wire_read_u16(&r);
	if (r.failed)
		return WIRE_MORE;
	if (!size_is_possible(&m, from_client, size))
		return ERR_MALFORMED;
	body = wire_read_bytes(&r, size - HEAD_SIZE);
	if (r.failed)
		return WIRE_MORE;
	whole = wire_reader_of(body, size - HEAD_SIZE);
	if (m.type == MCAST_DATA) {
		m.aid = wire_read_u32(&whole);
		m.len = wire_left(&whole);
		m.data = wire_read_bytes(&whole, m.len);
	} else {
		read_control(&whole, &m);
	}
	*ret_message = m;
	*in = r;
	return WIRE_DONE;
}

static size_t address_size(const struct addr *a)
{
	if (a && a->kind == ADDR_NAME)
		return (size_t)a->name_len + 4;
	return a && a->kind == ADDR_IP && !ip_is_v4(&a->ip) ? 19 : 7;
}

void mcast_write_control(struct wire_writer *out, enum mcast_type type,
    const struct mcast_control *c, const struct addr *local, const struct addr *remote)
{
	size_t size = MCAST_CONTROL_MIN + address_size(local) + address_size(remote);

	wire_write_u8(out, (uint8_t)type);
	wire_write_u16(out, (uint16_t)size);
	wire_write_u8(out, c->code);
	wire_write_u16(out, c->flags);
	wire_write_u8(out, c->ttl);
	wire_write_u16(out, c->tid);
	wire_write_u32(out, c->aid);
	socks5_write_address(out, local);
	socks5_write_address(out, remote);
}

void mcast_write_data_header(struct wire_writer *out, uint32_t aid, size_t len)
{
	wire_write_u8(out, MCAST_DATA);
	wire_write_u16(out, (uint16_t)(len + MCAST_DATA_HEADER));
	wire_write_u32(out, aid);
}

/* RSV is 0, and looked at by nobody. */
int mcast_read_packet(const void *data, size_t len, struct mcast_packet *ret_packet)
{
	struct wire_reader r = wire_reader_of(data, len);
	struct mcast_packet p;

	wire_read_u8(&r);
	p.frag = wire_read_u8(&r);
	p.dgid = wire_read_u16(&r);
	p.aid = wire_read_u32(&r);
	if (r.failed)
		return ERR_TRUNCATED;
	p.len = wire_left(&r);
	p.data = wire_read_bytes(&r, p.len);
	*ret_packet = p;
	return 0;
}

void mcast_write_packet_header(struct wire_writer *out, uint16_t dgid, uint32_t aid)
{
	wire_write_u8(out, 0);
	wire_write_u8(out, 0);
	wire_write_u16(out, dgid);
	wire_write_u32(out, aid);
}

void mcast_write_granted(struct wire_writer *out)
{
	wire_write_u8(out, MCAST_VERSION);
	wire_write_u8(out, SOCKS5_SUCCEEDED);
	wire_write_u8(out, 0);
	socks5_write_address(out, NULL);
}

int mcast_read_answer(struct wire_reader *in, struct socks5_answer *ret_answer)
{
	struct wire_reader r = *in;
	struct socks5_answer a = {0};
	uint8_t version = wire_read_u8(&r);
	int rc = WIRE_DONE;

	if (r.failed)
		return WIRE_MORE;
	if (version != MCAST_VERSION && version != SOCKS5_VERSION)
		return ERR_MALFORMED;
	a.code = wire_read_u8(&r);
	if (r.failed)
		return WIRE_MORE;
	/* Of a refusal no more is read: socks5_read_answer(). */
	if (a.code == SOCKS5_SUCCEEDED) {
		/* A success of SOCKS5 is about something else than what was asked for. */
		if (version != MCAST_VERSION)
			return ERR_MALFORMED;
		wire_read_u8(&r);
		rc = r.failed ? WIRE_MORE : socks5_read_address(&r, &a.bound);
	}
	if (rc == WIRE_DONE) {
		*ret_answer = a;
		*in = r;
	}
	return rc;
}
