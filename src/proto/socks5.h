/* SPDX-License-Identifier: MIT */
/* The messages of SOCKS5, RFC 1928, in both directions (protocol.md section 2). */
#ifndef TABI_PROTO_SOCKS5_H
#define TABI_PROTO_SOCKS5_H

#include "proto/addr.h"
#include "proto/wire.h"

#define SOCKS5_VERSION 5

enum socks5_method {
	SOCKS5_METHOD_NONE = 0x00,
	SOCKS5_METHOD_GSSAPI = 0x01,
	SOCKS5_METHOD_PASSWORD = 0x02,
	SOCKS5_METHOD_TLS = 0x80,          /* gost's: TLS from here on, then the request */
	SOCKS5_METHOD_TLS_PASSWORD = 0x82, /* gost's: the same, and RFC 1929 first */
	SOCKS5_METHOD_UNACCEPTABLE = 0xff, /* an answer, never a method */
};

enum socks5_command {
	SOCKS5_CONNECT = 0x01,
	SOCKS5_BIND = 0x02,
	SOCKS5_UDP_ASSOCIATE = 0x03,
	SOCKS5_ENHANCED_UDP = 0x04, /* proto/mcast.h */
	SOCKS5_RESOLVE = 0xf0,      /* Tor's extensions */
	SOCKS5_RESOLVE_PTR = 0xf1,  /* address to name */
};

enum socks5_atyp {
	SOCKS5_ATYP_IPV4 = 1,
	SOCKS5_ATYP_NAME = 3,
	SOCKS5_ATYP_IPV6 = 4,
};

/* ATYP, address and port as they stand on the wire; `host` leads into the bytes that were read. */
struct socks5_address {
	uint8_t type; /* enum socks5_atyp */
	uint8_t host_len;
	const uint8_t *host; /* 4, 16, or 0 to 255 bytes */
	uint16_t port;
};

struct socks5_greeting {
	uint8_t n_methods; /* 0 too, which the RFC forbids */
	const uint8_t *methods;
};

struct socks5_request {
	uint8_t command;
	uint8_t rsv; /* "reserved", 0; a flag byte in later drafts */
	struct socks5_address target;
};

struct socks5_answer {
	uint8_t code; /* REP, enum socks5_reply */
	struct socks5_address bound;
};

/* All readers: WIRE_DONE, WIRE_MORE, or ERR_MALFORMED for a version other than 5. */
int socks5_read_greeting(struct wire_reader *in, struct socks5_greeting *ret_greeting);
void socks5_write_greeting(struct wire_writer *out, const uint8_t *methods, uint8_t n_methods);
int socks5_read_choice(struct wire_reader *in, uint8_t *ret_method);
void socks5_write_choice(struct wire_writer *out, uint8_t method);

/* Also ERR_ADDRESS_TYPE, as soon as the type is read: the length of what follows is unknown. */
int socks5_read_address(struct wire_reader *in, struct socks5_address *ret_address);
/* SOCKS5_ENHANCED_UDP has no address, and whoever writes zeros for all of it writes a type that is
 * none: that is read as IPv4. */
int socks5_read_request(struct wire_reader *in, struct socks5_request *ret_request);

/* As socks5_read_request(). A refusal is read as soon as its code is there, for some servers close
 * behind it and others send no valid address; then `bound` is zero. */
int socks5_read_answer(struct wire_reader *in, struct socks5_answer *ret_answer);

/* How many bytes of an answer of which `in` holds the beginning are certainly still to come; 0
 * where it is whole. What it counts never reaches beyond the answer. */
size_t socks5_answer_missing(const struct wire_reader *in);

/* ADDR_NONE and NULL are written as 0.0.0.0 and port 0. */
void socks5_write_address(struct wire_writer *out, const struct addr *addr);
void socks5_write_request(struct wire_writer *out, uint8_t command, const struct addr *target);
void socks5_write_answer(struct wire_writer *out, uint8_t code, const struct addr *bound);

/* As addr_set_host(): 0, ERR_NAME or ERR_NUMERIC_NAME; sets the port too. */
int socks5_address_to_addr(const struct socks5_address *address, struct addr *ret_addr);

#endif
