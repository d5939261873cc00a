/* SPDX-License-Identifier: MIT */
/*
 * The messages of SOCKS5's enhanced UDP mode, which joins multicast groups
 * (draft-ietf-aft-mcast-fw-traversal-01, protocol.md section 6.3), in both directions.
 *
 * After the request with SOCKS5_ENHANCED_UDP the TCP connection carries control messages and, for
 * associations that ask for it, data; UDP datagrams carry data behind a header of eight bytes. What
 * belongs together is told by the association's number (AID), so no address stands in front of
 * data.
 */
#ifndef TABI_PROTO_MCAST_H
#define TABI_PROTO_MCAST_H

#include "proto/addr.h"
#include "proto/socks5.h"
#include "proto/wire.h"

/* The first octet of the answer that grants the mode: the extension's version, not SOCKS's. */
#define MCAST_VERSION 1

enum mcast_type {
	MCAST_REQUEST = 1, /* from the client */
	MCAST_REPLY = 2,   /* from the server */
	MCAST_DATA = 3,    /* both ways */
};

enum mcast_command {
	MCAST_BIND = 5,
	MCAST_RELEASE = 6,
	MCAST_SET_TTL = 7,
};

enum mcast_flag {
	MCAST_RECEIVE = 0x0001,
	MCAST_SEND = 0x0002,
	MCAST_UNICAST = 0x0004,
	MCAST_TCP = 0x0008, /* data between client and server goes over their connection */
	MCAST_MULTICAST = 0x0010,
	MCAST_MU_MODE = 0x0020, /* the server unicasts what it hears to each member */
	MCAST_MM_MODE = 0x0040, /* it multicasts again, without a header */
};

/* Reply codes beside those of SOCKS5. */
enum mcast_code {
	MCAST_BAD_AID = 10,
	MCAST_RECEIVE_DENIED = 11,
	MCAST_SEND_DENIED = 12,
	MCAST_BAD_CONTEXT = 13, /* what is asked does not fit the association */
	MCAST_BAD_GROUP = 14,
	MCAST_BAD_TTL = 15,
};

/* Of a control message without its addresses, and the longest one with them. */
#define MCAST_CONTROL_MIN 13
#define MCAST_CONTROL_MAX (MCAST_CONTROL_MIN + 2 * 259)
/* In front of data in a message, and in a datagram. SIZE counts the former too. */
#define MCAST_DATA_HEADER 7
#define MCAST_DATA_MAX (65535 - MCAST_DATA_HEADER)
#define MCAST_UDP_HEADER 8

/* A control message; the addresses lead into the bytes that were read. */
struct mcast_control {
	uint8_t code; /* enum mcast_command, or of a reply enum socks5_reply or mcast_code */
	uint16_t flags;
	uint8_t ttl; /* of multicast to send; else 0 */
	uint16_t tid;
	uint32_t aid; /* 0: a new association */
	/* Both addresses, or neither: a release and a TTL need none. */
	bool has_addresses;
	struct socks5_address local, remote;
};

struct mcast_message {
	enum mcast_type type;
	struct mcast_control control; /* of MCAST_REQUEST and MCAST_REPLY */
	/* Why the rest of a control message cannot be read, from err.h, or 0. Its head can be, and
	 * where it ends is known: such a message is answered, and the next one read. */
	int err;
	uint32_t aid; /* of MCAST_DATA */
	const uint8_t *data;
	size_t len; /* 0 too */
};

/*
 * One message of the TCP connection; `from_client` says which of the control messages may come.
 * WIRE_DONE, WIRE_MORE, or ERR_MALFORMED where nobody can tell any more where a message begins: a
 * type that is none, a SIZE that does not hold its own header or more than any message has.
 */
int mcast_read(struct wire_reader *in, bool from_client, struct mcast_message *ret_message);

/* `local` and `remote`: addresses, ADDR_NONE or NULL is written as zeros. */
void mcast_write_control(struct wire_writer *out, enum mcast_type type,
    const struct mcast_control *control, const struct addr *local, const struct addr *remote);

/* The header in front of `len` bytes of data, at most MCAST_DATA_MAX. */
void mcast_write_data_header(struct wire_writer *out, uint32_t aid, size_t len);

/* A datagram between client and server. */
struct mcast_packet {
	uint8_t frag;  /* as in proto/udp.h */
	uint16_t dgid; /* which datagram a fragment belongs to */
	uint32_t aid;
	const uint8_t *data;
	size_t len;
};

/* Returns 0 or ERR_TRUNCATED. */
int mcast_read_packet(const void *data, size_t len, struct mcast_packet *ret_packet);
/* With FRAG 0. */
void mcast_write_packet_header(struct wire_writer *out, uint16_t dgid, uint32_t aid);

/* The answer that grants the mode, and its reading, which takes a refusal as well: as
 * socks5_read_answer(), but a success must have this extension's version. */
void mcast_write_granted(struct wire_writer *out);
int mcast_read_answer(struct wire_reader *in, struct socks5_answer *ret_answer);

#endif
