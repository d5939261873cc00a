/* SPDX-License-Identifier: MIT */
/*
 * The PROXY protocol, versions 1 and 2: what a balancer puts in front of a connection to say whose
 * it is (haproxy's proxy-protocol.txt; protocol.md section 11).
 */
#ifndef TABI_PROTO_PROXYPROTO_H
#define TABI_PROTO_PROXYPROTO_H

#include "proto/addr.h"
#include "proto/wire.h"

/* The longest header that is read. Version 2 could announce 64 KiB; addresses and TLVs that mean
 * something to anybody fill a fraction of this. */
#define PROXYPROTO_MAX (16 + 2048)

struct proxyproto {
	uint8_t version; /* 1 or 2 */
	/*
	 * The header names no client, and the connection counts as its sender's own: LOCAL (a
	 * health check), UNKNOWN, UNSPEC, and what has no address to judge: Unix sockets,
	 * datagrams.
	 */
	bool local;
	struct addr source, destination; /* ADDR_IP, unless `local` */
};

/*
 * Reads the header that must come before any other byte. WIRE_DONE, WIRE_MORE, or
 * ERR_PROXY_HEADER: not a header, not exactly what the text demands, longer than
 * PROXYPROTO_MAX, a checksum (CRC32C) that does not fit, or a client that cannot be: an unspecified
 * or a multicast address.
 */
int proxyproto_read(struct wire_reader *in, struct proxyproto *ret);

#endif
