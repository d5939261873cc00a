/* SPDX-License-Identifier: MIT */
/* The messages of RFC 1929, user name and password inside SOCKS5 (protocol.md section 3). */
#ifndef TABI_PROTO_USERPASS_H
#define TABI_PROTO_USERPASS_H

#include "proto/wire.h"

#define USERPASS_VERSION 1

enum userpass_status {
	USERPASS_OK = 0,
	USERPASS_FAILED = 1, /* as is every value but 0 */
};

/* Opaque bytes, each of 0 to 255: the RFC says 1 to 255, but clients send empty ones. Pointers
 * lead into the bytes that were read. */
struct userpass {
	uint8_t user_len, password_len;
	const uint8_t *user, *password;
};

/* WIRE_DONE, WIRE_MORE or ERR_MALFORMED (not version 1). */
int userpass_read_request(struct wire_reader *in, struct userpass *ret_request);
void userpass_write_request(struct wire_writer *out, const struct userpass *request);

/* WIRE_DONE, WIRE_MORE or ERR_MALFORMED. Version 5 is let pass: broken servers send it. */
int userpass_read_answer(struct wire_reader *in, uint8_t *ret_status);
void userpass_write_answer(struct wire_writer *out, uint8_t status);

#endif
