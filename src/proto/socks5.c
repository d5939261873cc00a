/* SPDX-License-Identifier: MIT */
#include "proto/socks5.h"

#include "proto/err.h"

/* The version octet. An empty reader fails, and the message is then found to be incomplete. */
static bool read_version(struct wire_reader *r)
{
	return wire_left(r) == 0 || wire_read_u8(r) == SOCKS5_VERSION;
}

/* A count of 0 is whole: the client waits for the refusal, and no method will follow. */
int socks5_read_greeting(struct wire_reader *in, struct socks5_greeting *ret_greeting)
{
	struct wire_reader r = *in;
	struct socks5_greeting g;

	if (!read_version(&r))
		return ERR_MALFORMED;
	g.n_methods = wire_read_u8(&r);
	g.methods = wire_read_bytes(&r, g.n_methods);
	if (r.failed)
		return WIRE_MORE;
	*ret_greeting = g;
	*in = r;
	return WIRE_DONE;
}

void socks5_write_greeting(struct wire_writer *out, const uint8_t *methods, uint8_t n_methods)
{
	wire_write_u8(out, SOCKS5_VERSION);
	wire_write_u8(out, n_methods);
	wire_write_bytes(out, methods, n_methods);
}

int socks5_read_choice(struct wire_reader *in, uint8_t *ret_method)
{
	struct wire_reader r = *in;
	uint8_t method;

	if (!read_version(&r))
		return ERR_MALFORMED;
	method = wire_read_u8(&r);
	if (r.failed)
		return WIRE_MORE;
	*ret_method = method;
	*in = r;
	return WIRE_DONE;
}

void socks5_write_choice(struct wire_writer *out, uint8_t method)
{
	wire_write_u8(out, SOCKS5_VERSION);
	wire_write_u8(out, method);
}

/* The type decides the length, so behind an unknown one nothing can be read any more. */
int socks5_read_address(struct wire_reader *in, struct socks5_address *ret_address)
{
	struct wire_reader r = *in;
	struct socks5_address a;

	a.type = wire_read_u8(&r);
	if (r.failed)
		return WIRE_MORE;
	switch (a.type) {
	case SOCKS5_ATYP_IPV4:
		a.host_len = 4;
		break;
	case SOCKS5_ATYP_IPV6:
		a.host_len = 16;
		break;
	case SOCKS5_ATYP_NAME:
		a.host_len = wire_read_u8(&r);
		break;
	default:
		return ERR_ADDRESS_TYPE;
	}
	a.host = wire_read_bytes(&r, a.host_len);
	a.port = wire_read_u16(&r);
	if (r.failed)
		return WIRE_MORE;
	*ret_address = a;
	*in = r;
	return WIRE_DONE;
}

/* Ten zeros in all, the request's head among them. */
static int read_no_address(struct wire_reader *r, struct socks5_address *ret_address)
{
	struct socks5_address a = {.type = SOCKS5_ATYP_IPV4, .host_len = 4};

	wire_read_u8(r);
	a.host = wire_read_bytes(r, a.host_len);
	a.port = wire_read_u16(r);
	if (r->failed)
		return WIRE_MORE;
	*ret_address = a;
	return WIRE_DONE;
}

int socks5_read_request(struct wire_reader *in, struct socks5_request *ret_request)
{
	struct wire_reader r = *in;
	struct socks5_request q;
	int rc;

	if (!read_version(&r))
		return ERR_MALFORMED;
	q.command = wire_read_u8(&r);
	q.rsv = wire_read_u8(&r);
	if (r.failed)
		return WIRE_MORE;
	if (q.command == SOCKS5_ENHANCED_UDP && wire_left(&r) > 0 && r.data[r.pos] == 0)
		rc = read_no_address(&r, &q.target);
	else
		rc = socks5_read_address(&r, &q.target);
	if (rc == WIRE_DONE) {
		*ret_request = q;
		*in = r;
	}
	return rc;
}

int socks5_read_answer(struct wire_reader *in, struct socks5_answer *ret_answer)
{
	struct socks5_answer a = {0};
	struct wire_reader r = *in;
	int rc;

	if (!read_version(&r))
		return ERR_MALFORMED;
	a.code = wire_read_u8(&r);
	if (r.failed)
		return WIRE_MORE;
	rc = WIRE_DONE;
	/* Tor's failures have address type 0, others end behind the code: do not look further. */
	if (a.code == SOCKS5_SUCCEEDED) {
		wire_read_u8(&r);
		rc = r.failed ? WIRE_MORE : socks5_read_address(&r, &a.bound);
	}
	if (rc == WIRE_DONE) {
		*ret_answer = a;
		*in = r;
	}
	return rc;
}

size_t socks5_answer_missing(const struct wire_reader *in)
{
	struct wire_reader r = *in;
	size_t have = wire_left(&r), whole;
	uint8_t type, len;

	wire_read_bytes(&r, 3);
	type = wire_read_u8(&r);
	len = wire_read_u8(&r);
	/* The shortest answer (an empty name) has 7 bytes, so the fifth belongs to any of them. */
	if (r.failed)
		return 5 - have;
	if (type == SOCKS5_ATYP_NAME)
		whole = 7 + (size_t)len;
	else
		whole = type == SOCKS5_ATYP_IPV6 ? 22 : 10;
	return have < whole ? whole - have : 0;
}

void socks5_write_address(struct wire_writer *out, const struct addr *addr)
{
	if (addr && addr->kind == ADDR_NAME) {
		wire_write_u8(out, SOCKS5_ATYP_NAME);
		wire_write_u8(out, addr->name_len);
		wire_write_bytes(out, addr->name, addr->name_len);
	} else if (addr && addr->kind == ADDR_IP && !ip_is_v4(&addr->ip)) {
		wire_write_u8(out, SOCKS5_ATYP_IPV6);
		wire_write_bytes(out, addr->ip.b, sizeof(addr->ip.b));
	} else {
		wire_write_u8(out, SOCKS5_ATYP_IPV4);
		if (addr && addr->kind == ADDR_IP)
			wire_write_bytes(out, ip_v4_bytes(&addr->ip), 4);
		else
			wire_write_u32(out, 0);
	}
	wire_write_u16(out, addr && addr->kind != ADDR_NONE ? addr->port : 0);
}

void socks5_write_request(struct wire_writer *out, uint8_t command, const struct addr *target)
{
	wire_write_u8(out, SOCKS5_VERSION);
	wire_write_u8(out, command);
	wire_write_u8(out, 0);
	socks5_write_address(out, target);
}

void socks5_write_answer(struct wire_writer *out, uint8_t code, const struct addr *bound)
{
	wire_write_u8(out, SOCKS5_VERSION);
	wire_write_u8(out, code);
	wire_write_u8(out, 0);
	/* Always at least 10 bytes, failures too: curl reads 10 before it looks at any of them. */
	socks5_write_address(out, code == SOCKS5_SUCCEEDED ? bound : NULL);
}

int socks5_address_to_addr(const struct socks5_address *address, struct addr *ret_addr)
{
	struct addr addr = {.kind = ADDR_NONE};
	struct ip ip;
	int rc = 0;

	if (address->type == SOCKS5_ATYP_NAME) {
		/* Some clients send every destination as a name, so literals are looked for. */
		rc = addr_set_host(&addr, (const char *)address->host, address->host_len);
		addr.port = address->port;
	} else {
		ip = address->type == SOCKS5_ATYP_IPV6 ? ip_from_v6(address->host)
						       : ip_from_v4(address->host);
		addr = addr_from_ip(&ip, address->port);
	}
	if (rc == 0)
		*ret_addr = addr;
	return rc;
}
