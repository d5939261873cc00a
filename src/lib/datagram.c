/* SPDX-License-Identifier: MIT */
/* The header of UDP ASSOCIATE's datagrams, and the frames of GSS-API: bytes without a machine. */
#include "lib/address.h"

#include "proto/gss.h"
#include "proto/udp.h"
#include "proto/wire.h"

int tabi_udp_header(unsigned char header[TABI_UDP_HEADER_MAX], const struct tabi_address *to)
{
	struct wire_writer out = wire_writer_of(header, TABI_UDP_HEADER_MAX);
	struct addr addr;

	if (address_to_addr(to, &addr) != 0 || addr.kind == ADDR_NONE)
		return TABI_E_ARGUMENT;
	udp_write_header(&out, &addr);
	return out.failed ? TABI_E_ARGUMENT : (int)out.len;
}

void *tabi_udp_wrap(void *payload, const struct tabi_address *to)
{
	struct addr addr;

	if (address_to_addr(to, &addr) != 0 || addr.kind == ADDR_NONE)
		return NULL;
	return udp_wrap(payload, &addr);
}

long tabi_udp_unwrap(
    const void *datagram, size_t len, struct tabi_address *ret_from, const void **ret_payload)
{
	struct udp_packet packet;
	struct addr from;

	if (udp_unwrap(datagram, len, &packet, &from) != 0)
		return TABI_E_PROTOCOL;
	address_from_addr(&from, ret_from);
	*ret_payload = packet.data;
	return (long)packet.len;
}

void tabi_gss_frame(unsigned char header[TABI_GSS_FRAME_HEADER], size_t len)
{
	gss_frame_header(
	    header, GSS_FRAME_DATA, (uint16_t)(len < GSS_TOKEN_MAX ? len : GSS_TOKEN_MAX));
}

int tabi_gss_frame_read(const void *data, size_t len)
{
	struct wire_reader in = wire_reader_of(data, len);
	struct gss_frame frame;
	int rc = gss_frame_read(&in, GSS_FRAME_DATA, &frame);

	if (rc == WIRE_MORE)
		rc = gss_frame_peek_length(&in);
	else if (rc == WIRE_DONE && frame.type == GSS_FRAME_DATA)
		return frame.len;
	else
		return TABI_E_PROTOCOL;
	return rc < 0 ? TABI_E_AGAIN : rc;
}
