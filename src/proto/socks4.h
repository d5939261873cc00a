/* SPDX-License-Identifier: MIT */
/* The messages of SOCKS4 and SOCKS4A, in both directions (protocol.md section 1). */
#ifndef TABI_PROTO_SOCKS4_H
#define TABI_PROTO_SOCKS4_H

#include "proto/addr.h"
#include "proto/wire.h"

#define SOCKS4_VERSION 4
#define SOCKS4_REPLY_SIZE 8

/* The memo sets no limits; these are the ones of SOCKS5 and of struct url. */
#define SOCKS4_USER_MAX 255
#define SOCKS4_NAME_MAX 255

enum socks4_command {
	SOCKS4_CONNECT = 0x01,
	SOCKS4_BIND = 0x02,
	SOCKS4_RESOLVE = 0xf0, /* Tor's extension */
};

/* Pointers lead into the bytes that were read and are good as long as those are. */
struct socks4_request {
	uint8_t command;
	uint16_t port;
	uint8_t ip[4];
	bool named; /* the 4A form: `name` follows, and may still be empty */
	uint8_t user_len, name_len;
	const uint8_t *user, *name; /* without NUL inside */
};

struct socks4_answer {
	uint8_t version; /* 0; some servers send 4 */
	uint8_t code;    /* enum socks4_reply */
	uint16_t port;
	uint8_t ip[4];
};

/* WIRE_DONE, WIRE_MORE, ERR_MALFORMED (not version 4) or ERR_TOO_LONG. */
int socks4_read_request(struct wire_reader *in, struct socks4_request *ret_request);

/* Lengths and absence of NUL are the caller's duty. */
void socks4_write_request(struct wire_writer *out, const struct socks4_request *request);

/* WIRE_DONE, WIRE_MORE or ERR_MALFORMED (neither version 0 nor 4). A refusal is read as soon as
 * its code is there, for some servers close behind it; then the address is zero. */
int socks4_read_answer(struct wire_reader *in, struct socks4_answer *ret_answer);

/* `bound` may be NULL; what is no IPv4 address is sent as zeros. */
void socks4_write_answer(struct wire_writer *out, uint8_t code, const struct addr *bound);

#endif
