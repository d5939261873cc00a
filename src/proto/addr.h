/* SPDX-License-Identifier: MIT */
/* Addresses: IPv4, IPv6 and host names, with a port; their text, canonical form and classes. */
#ifndef TABI_PROTO_ADDR_H
#define TABI_PROTO_ADDR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * An IP address in canonical form: 16 bytes, IPv4 as ::ffff:a.b.c.d. There is no second spelling:
 * two addresses that a packet cannot tell apart compare equal byte by byte.
 */
struct ip {
	uint8_t b[16];
};

enum addr_kind {
	ADDR_NONE, /* not set */
	ADDR_IP,
	ADDR_NAME,
};

#define ADDR_NAME_MAX 255 /* bytes on the wire (one length octet), RFC 1928 section 5 */

/* A destination as asked for, or an endpoint. */
struct addr {
	enum addr_kind kind;
	uint16_t port;                /* host order, 0 to 65535 */
	struct ip ip;                 /* of ADDR_IP */
	uint8_t name_len;             /* of ADDR_NAME; 1 to 255 */
	char name[ADDR_NAME_MAX + 1]; /* NUL after name_len; holds no NUL itself once checked */
};

/* Longest results of the format functions, with NUL. */
#define IP_TEXT_MAX 46
#define ADDR_TEXT_MAX (ADDR_NAME_MAX + 9)

bool ip_equal(const struct ip *a, const struct ip *b);
/* Which comes first in the order of their bytes: below, at or above 0 like memcmp(). */
int ip_compare(const struct ip *a, const struct ip *b);
bool ip_is_v4(const struct ip *ip);

/* From the bytes of the wire or of a sockaddr, in network order. */
struct ip ip_from_v4(const uint8_t b[static 4]);
/* ::ffff:a.b.c.d comes out as IPv4, which in canonical form are the same bytes. */
struct ip ip_from_v6(const uint8_t b[static 16]);
/* The four bytes of an address for which ip_is_v4() holds. */
const uint8_t *ip_v4_bytes(const struct ip *ip);

/*
 * Reads an IPv4 dotted quad of four decimal numbers without leading zeros, or an IPv6 address as
 * RFC 4291 section 2.2 writes it, without brackets or zone. Nothing else: 127.1, 0x7f.1 and
 * 017.0.0.1 are no addresses here. `text` need not end in NUL. Returns 0 or ERR_ADDRESS.
 */
int ip_parse(const char *text, size_t len, struct ip *ret_ip);

/* Dotted quad, or RFC 5952. Returns `buf`. */
char *ip_format(const struct ip *ip, char buf[static IP_TEXT_MAX]);

/* Does `ip` lie in net/prefix? `prefix` counts in the 128-bit canonical form, so an IPv4 /8 is 104.
 */
bool ip_in_net(const struct ip *ip, const struct ip *net, unsigned prefix);

/*
 * The special sets of addresses, as bits. An address that carries an IPv4 address inside
 * (IPv4-mapped, -compatible and -translated, 6to4, NAT64 64:ff9b::/96 and 64:ff9b:1::/48, Teredo,
 * ISATAP) has the bits of that one too, and of both where it carries two: whoever routes it may
 * deliver it there.
 */
enum ip_class {
	IP_LOOPBACK = 1 << 0,    /* 127/8, ::1, and the unspecified 0/8 and :: which reach it */
	IP_PRIVATE = 1 << 1,     /* RFC 1918, CGNAT 100.64/10, ULA fc00::/7, site-local fec0::/10 */
	IP_LINKLOCAL = 1 << 2,   /* 169.254/16, fe80::/10 */
	IP_METADATA = 1 << 3,    /* 169.254.169.254, fd00:ec2::254 and the like of the clouds */
	IP_MULTICAST = 1 << 4,   /* 224/4, ff00::/8 */
	IP_UNSPECIFIED = 1 << 5, /* 0.0.0.0 and :: themselves */
	IP_RESERVED = 1 << 6, /* 0/8, 240/4, broadcast, documentation and other non-global blocks */
};

/* The union of the bits above; 0 for an ordinary global address. */
unsigned ip_classes(const struct ip *ip);

/* ip_classes() without what is carried inside: what the address itself is. */
unsigned ip_own_classes(const struct ip *ip);

/*
 * The IPv4 addresses carried inside an IPv6 one by the forms above (mapped excepted: that is IPv4
 * already), of which there may be several: four lengths of a NAT64 prefix and ISATAP. Returns how
 * many.
 */
#define IP_EMBEDDED_MAX 5
size_t ip_embedded_v4(const struct ip *ip, struct ip ret_v4[static IP_EMBEDDED_MAX]);

struct addr addr_from_ip(const struct ip *ip, uint16_t port);

/*
 * Makes an address of what a protocol calls a name. A literal, with or without brackets, becomes
 * ADDR_IP (some clients send every destination as a name). Otherwise the bytes must be a host
 * name: 1 to 253 bytes without one trailing dot (which is kept), labels of 1 to 63 letters, digits,
 * '-', '_' or bytes above 0x7f, and not end in a label that inet_aton would take for a number.
 * `text` need not end in NUL and may be ret_addr->name. Returns 0, ERR_NAME or ERR_NUMERIC_NAME;
 * `*ret_addr` keeps its port untouched and is written only on success.
 */
int addr_set_host(struct addr *ret_addr, const char *text, size_t len);

/* Reads HOST:PORT, with brackets around IPv6. Returns 0, ERR_ADDRESS, ERR_NAME or
 * ERR_NUMERIC_NAME; `*ret_addr` is written only on success. */
int addr_parse(const char *text, size_t len, struct addr *ret_addr);

/* Reads a decimal port, 0 to 65535, without sign, space or leading zero. Returns 0 or
 * ERR_ADDRESS. */
int port_parse(const char *text, size_t len, uint16_t *ret_port);

/* HOST:PORT as addr_parse() reads it, "-" for ADDR_NONE; bytes of a name are given as they are.
 * Returns `buf`. */
char *addr_format(const struct addr *addr, char buf[static ADDR_TEXT_MAX]);

/*
 * The form in which names are compared: ASCII lower case, one trailing dot removed. `buf` takes
 * ADDR_NAME_MAX + 1 bytes. Returns the length.
 */
size_t name_canonical(const char *name, size_t len, char buf[static ADDR_NAME_MAX + 1]);

#endif
