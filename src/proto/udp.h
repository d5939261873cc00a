/* SPDX-License-Identifier: MIT */
/*
 * The header of SOCKS5's UDP datagrams and the fragments that it may number (RFC 1928 section 7,
 * protocol.md section 2.7).
 */
#ifndef TABI_PROTO_UDP_H
#define TABI_PROTO_UDP_H

#include "proto/addr.h"
#include "proto/socks5.h"
#include "proto/wire.h"

/* RSV, FRAG, ATYP and an address: 10 bytes with IPv4, 22 with IPv6, at most this with a name. */
#define UDP_HEADER_MAX 262
/* The longest payload of a datagram over IPv4, and of one put together from fragments. */
#define UDP_PAYLOAD_MAX 65507
/* RFC 1928: the reassembly timer must be no less than five seconds. */
#define UDP_REASSEMBLY_MS 5000

/* FRAG: 0 for a datagram that stands alone, else its place, with this bit in the last one. */
#define UDP_FRAG_LAST 0x80

/* A datagram as the client sends and gets it; everything leads into the bytes that were read. */
struct udp_packet {
	uint16_t rsv; /* 0, and looked at by nobody: it is no length, whatever it holds */
	uint8_t frag;
	struct socks5_address remote; /* to the proxy: the destination; from it: who sent it */
	const uint8_t *data;
	size_t len; /* 0 too */
};

/* Returns 0, ERR_TRUNCATED where the header is longer than the datagram, or ERR_ADDRESS_TYPE. The
 * name of an address has not been checked: socks5_address_to_addr(). */
int udp_read(const void *data, size_t len, struct udp_packet *ret_packet);

/* The header before a payload, with FRAG 0. */
void udp_write_header(struct wire_writer *out, const struct addr *remote);

/*
 * The client's end, where no payload is copied.
 *
 * udp_wrap() writes the header in front of a payload that has UDP_HEADER_MAX bytes of room before
 * it, and returns where the datagram begins: it ends where the payload does. NULL for a remote that
 * is none. The name of a remote is sent as it is.
 */
uint8_t *udp_wrap(uint8_t *payload, const struct addr *remote);

/*
 * Reads a datagram of the proxy: `*ret_packet` has the payload, which lies in `data`, and
 * `*ret_remote` is who sent it. Returns 0; an error of udp_read(); ERR_NAME or the like where the
 * sender is given by a name that is none; ERR_MALFORMED for a fragment: no proxy should send one,
 * since RFC 1928 gives no way to know that we would put it together. All of them are to be dropped.
 */
int udp_unwrap(
    const void *data, size_t len, struct udp_packet *ret_packet, struct addr *ret_remote);

/*
 * Through a chain of proxies, each of which has an association for us. What the last one is to get
 * is wrapped once more for each before it: the outermost header tells the first proxy where the
 * second one's relay is, and so on; what comes back is wrapped the same way. Relay 0 is where we
 * send to ourselves and stands in no header.
 */
struct udp_relay {
	struct addr at; /* as the proxy before it knows it: ADDR_IP, or the name of its host */
	/* Of one that is given by name: the address that answered first, and no other is
	 * believed. */
	bool heard;
	struct ip from;
};

/*
 * As udp_wrap(), for `n` relays (at least 1): the payload has `n` times UDP_HEADER_MAX bytes of
 * room before it. NULL where a relay or the remote is none.
 */
uint8_t *udp_wrap_nested(
    uint8_t *payload, const struct udp_relay *relays, size_t n, const struct addr *remote);

/* Reads one header, which must say that the rest comes from that relay. Returns 0, or as
 * udp_unwrap(); ERR_STRANGER where it is somebody else's. */
int udp_peel(const void *data, size_t len, struct udp_relay *relay, struct udp_packet *ret_packet);

/* As udp_unwrap(), of what relay 0 has sent: all headers, or an error of any of them. */
int udp_unwrap_nested(const void *data, size_t len, struct udp_relay *relays, size_t n,
    struct udp_packet *ret_packet, struct addr *ret_remote);

/*
 * Putting fragments together: one sequence at a time, in order, for one destination. What is out of
 * order, for another destination, too long or too late abandons the sequence.
 *
 * The memory is the caller's, and so is the clock: `now` counts milliseconds and never runs back.
 */
struct udp_fragments {
	uint8_t *buf; /* UDP_PAYLOAD_MAX bytes; may be NULL while no sequence is under way */
	size_t len;
	uint64_t began;  /* when the first one came */
	uint8_t highest; /* 0: no sequence is under way */
	uint8_t remote_type, remote_len;
	uint16_t remote_port;
	uint8_t remote[255];
};

enum udp_fate {
	UDP_DROP,  /* it is of no use */
	UDP_KEPT,  /* more of its sequence must come */
	UDP_WHOLE, /* a datagram to be relayed is in the packet */
};

/*
 * Takes a packet with FRAG other than 0; the one with FRAG 0 stands alone, but
 * udp_fragments_reset() belongs before it. With UDP_WHOLE the packet's data is what `f->buf` holds,
 * until the next call.
 * `*ret_lost` is how many packets taken earlier were abandoned.
 */
enum udp_fate udp_reassemble(
    struct udp_fragments *f, struct udp_packet *packet, uint64_t now, unsigned *ret_lost);

/* Abandons the sequence under way, if any; returns of how many packets. `buf` stays. */
unsigned udp_fragments_reset(struct udp_fragments *f);

/* Is the time of the sequence under way over? It is then abandoned at the next packet. */
bool udp_fragments_expired(const struct udp_fragments *f, uint64_t now);

#endif
