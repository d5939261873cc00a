/* SPDX-License-Identifier: MIT */
#include "proto/socks4.h"

#include <string.h>

#include "proto/err.h"

/*
 * A string that ends in NUL, of at most `max` bytes without it. Only the bytes within the cap are
 * looked at, so a string that never ends is refused at the same byte however it arrives.
 */
static int read_string(struct wire_reader *in, size_t max, const uint8_t **ret_at, uint8_t *ret_len)
{
	struct wire_reader r = *in;
	size_t len;

	if (wire_left(&r) > max + 1)
		r.len = r.pos + max + 1;
	*ret_at = wire_read_until(&r, 0, &len);
	if (r.failed)
		return wire_left(in) > max ? ERR_TOO_LONG : WIRE_MORE;
	*ret_len = (uint8_t)len;
	in->pos = r.pos;
	return WIRE_DONE;
}

/* 0.0.0.x with x != 0 announces a name; 0.0.0.0 does not. */
static bool announces_name(const uint8_t ip[static 4])
{
	return ip[0] == 0 && ip[1] == 0 && ip[2] == 0 && ip[3] != 0;
}

int socks4_read_request(struct wire_reader *in, struct socks4_request *ret_request)
{
	struct socks4_request q = {0};
	struct wire_reader r = *in;
	const uint8_t *ip;
	int rc;

	if (wire_left(&r) > 0 && wire_read_u8(&r) != SOCKS4_VERSION)
		return ERR_MALFORMED;
	q.command = wire_read_u8(&r);
	q.port = wire_read_u16(&r);
	ip = wire_read_bytes(&r, sizeof(q.ip));
	if (!ip)
		return WIRE_MORE;
	memcpy(q.ip, ip, sizeof(q.ip));
	q.named = announces_name(q.ip);
	rc = read_string(&r, SOCKS4_USER_MAX, &q.user, &q.user_len);
	if (rc == WIRE_DONE && q.named)
		rc = read_string(&r, SOCKS4_NAME_MAX, &q.name, &q.name_len);
	if (rc == WIRE_DONE) {
		*ret_request = q;
		*in = r;
	}
	return rc;
}

void socks4_write_request(struct wire_writer *out, const struct socks4_request *request)
{
	wire_write_u8(out, SOCKS4_VERSION);
	wire_write_u8(out, request->command);
	wire_write_u16(out, request->port);
	wire_write_bytes(out, request->ip, sizeof(request->ip));
	wire_write_bytes(out, request->user, request->user_len);
	wire_write_u8(out, 0);
	if (!request->named)
		return;
	wire_write_bytes(out, request->name, request->name_len);
	wire_write_u8(out, 0);
}

int socks4_read_answer(struct wire_reader *in, struct socks4_answer *ret_answer)
{
	struct socks4_answer a = {0};
	struct wire_reader r = *in;
	const uint8_t *ip;

	if (wire_left(&r) > 0) {
		a.version = wire_read_u8(&r);
		if (a.version != 0 && a.version != SOCKS4_VERSION)
			return ERR_MALFORMED;
	}
	a.code = wire_read_u8(&r);
	if (!r.failed && a.code != SOCKS4_GRANTED) {
		*ret_answer = a;
		*in = r;
		return WIRE_DONE;
	}
	a.port = wire_read_u16(&r);
	ip = wire_read_bytes(&r, sizeof(a.ip));
	if (!ip)
		return WIRE_MORE;
	memcpy(a.ip, ip, sizeof(a.ip));
	*ret_answer = a;
	*in = r;
	return WIRE_DONE;
}

void socks4_write_answer(struct wire_writer *out, uint8_t code, const struct addr *bound)
{
	static const uint8_t zeros[4];
	bool v4 = bound && bound->kind == ADDR_IP && ip_is_v4(&bound->ip);

	/* The version of a reply is 0, not 4: strict clients check it. */
	wire_write_u8(out, 0);
	wire_write_u8(out, code);
	wire_write_u16(out, v4 ? bound->port : 0);
	wire_write_bytes(out, v4 ? ip_v4_bytes(&bound->ip) : zeros, 4);
}
