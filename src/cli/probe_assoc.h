/* SPDX-License-Identifier: MIT */
/* An association of tabi probe's: UDP ASSOCIATE, and datagrams to and fro. */
#ifndef TABI_CLI_PROBE_ASSOC_H
#define TABI_CLI_PROBE_ASSOC_H

#include "cli/probe_kit.h"
#include "proto/udp.h"

#define ASSOC_DATAGRAM ((size_t)65536)

struct assoc {
	struct kit *k;
	unsigned i; /* of the kit's talks and descriptors */
	struct attempt a;
	struct sockaddr_storage relay;
	socklen_t relay_len;
	struct addr relay_addr;
	/* What came last. */
	struct udp_packet packet;
	struct addr remote; /* who sent it, as the header says */
	struct addr from;   /* from where it came to us */
	uint8_t in[ASSOC_DATAGRAM];
};

/* A socket at the address, of any port; -1 where there is none. */
int assoc_socket(const struct ip *ip);
/* Asks for one over k->t[i] and k->udp[i]. `declared` is from where we say that we will send; NULL:
 * nothing said. A port of 1 in it stands for the right one. */
bool assoc_open(struct kit *k, struct assoc *s, unsigned i, const struct addr *declared);

/* How many bytes with their header one datagram has room for. */
size_t assoc_room(const struct assoc *s);
/* What is sent may be lost, as datagrams are. */
void assoc_put_from(const struct assoc *s, int fd, const void *data, size_t len);
void assoc_put_raw(const struct assoc *s, const void *data, size_t len);
/* A datagram with its header; `buf` has room for UDP_HEADER_MAX bytes more. Returns its length. */
size_t assoc_write(
    uint8_t *buf, uint16_t rsv, uint8_t frag, const struct addr *to, const void *data, size_t len);
void assoc_put(struct assoc *s, uint8_t frag, const struct addr *to, const void *data, size_t len);

/* Waits for one, however broken. Returns its length, or -1 where none came. */
ssize_t assoc_get_raw(struct assoc *s, unsigned ms);
/* One with a right header, RSV and FRAG zero. */
bool assoc_get(struct assoc *s, unsigned ms);
/* Is this what came last? */
bool assoc_holds(const struct assoc *s, const void *data, size_t len);

/* To an echo and back, a few times because one may be lost. */
bool assoc_echoes(struct assoc *s, const struct addr *to, const void *data, size_t len);
bool assoc_echoes_text(struct assoc *s, const char *text);

#endif
