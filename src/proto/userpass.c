/* SPDX-License-Identifier: MIT */
#include "proto/userpass.h"

#include "proto/err.h"

int userpass_read_request(struct wire_reader *in, struct userpass *ret_request)
{
	struct wire_reader r = *in;
	struct userpass q;

	if (wire_left(&r) > 0 && wire_read_u8(&r) != USERPASS_VERSION)
		return ERR_MALFORMED;
	q.user_len = wire_read_u8(&r);
	q.user = wire_read_bytes(&r, q.user_len);
	q.password_len = wire_read_u8(&r);
	q.password = wire_read_bytes(&r, q.password_len);
	if (r.failed)
		return WIRE_MORE;
	*ret_request = q;
	*in = r;
	return WIRE_DONE;
}

void userpass_write_request(struct wire_writer *out, const struct userpass *request)
{
	wire_write_u8(out, USERPASS_VERSION);
	wire_write_u8(out, request->user_len);
	wire_write_bytes(out, request->user, request->user_len);
	wire_write_u8(out, request->password_len);
	wire_write_bytes(out, request->password, request->password_len);
}

int userpass_read_answer(struct wire_reader *in, uint8_t *ret_status)
{
	struct wire_reader r = *in;
	uint8_t version, status;

	if (wire_left(&r) == 0)
		return WIRE_MORE;
	version = wire_read_u8(&r);
	if (version != USERPASS_VERSION && version != 5)
		return ERR_MALFORMED;
	status = wire_read_u8(&r);
	if (r.failed)
		return WIRE_MORE;
	*ret_status = status;
	*in = r;
	return WIRE_DONE;
}

void userpass_write_answer(struct wire_writer *out, uint8_t status)
{
	wire_write_u8(out, USERPASS_VERSION);
	wire_write_u8(out, status);
}
