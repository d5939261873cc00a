/* SPDX-License-Identifier: MIT */
/*
 * Addresses without libc's help: inet_aton() takes 127.1 for an address and inet_pton() stops at a
 * NUL, and either would let a client say one thing to the policy and another to the kernel.
 */
#include "proto/addr.h"

#include <string.h>

#include "proto/err.h"

#define V4_PREFIX_LEN 12
#define LABEL_MAX 63
#define NAME_TEXT_MAX 253 /* 255 octets on the wire of the DNS, RFC 1035 section 2.3.4 */

static const uint8_t v4_prefix[V4_PREFIX_LEN] = {[10] = 0xff, [11] = 0xff};

bool ip_equal(const struct ip *a, const struct ip *b)
{
	return memcmp(a->b, b->b, sizeof(a->b)) == 0;
}

int ip_compare(const struct ip *a, const struct ip *b)
{
	return memcmp(a->b, b->b, sizeof(a->b));
}

bool ip_is_v4(const struct ip *ip)
{
	return memcmp(ip->b, v4_prefix, V4_PREFIX_LEN) == 0;
}

struct ip ip_from_v4(const uint8_t b[static 4])
{
	struct ip ip;

	memcpy(ip.b, v4_prefix, V4_PREFIX_LEN);
	memcpy(ip.b + V4_PREFIX_LEN, b, 4);
	return ip;
}

struct ip ip_from_v6(const uint8_t b[static 16])
{
	struct ip ip;

	memcpy(ip.b, b, sizeof(ip.b));
	return ip;
}

const uint8_t *ip_v4_bytes(const struct ip *ip)
{
	return ip->b + V4_PREFIX_LEN;
}

/* Locale-free, and defined for every char: isdigit() is neither. */
static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

static char to_lower(char c)
{
	return c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
}

/* The value of a hexadecimal digit, or -1. */
static int hex_value(char c)
{
	c = to_lower(c);
	if (is_digit(c))
		return c - '0';
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/*
 * Reads a decimal number that is all of `text`. A leading zero is refused: inet_aton() would read
 * the rest as octal, and one address must not have two readings.
 */
static bool parse_decimal(const char *text, size_t len, uint32_t max, uint32_t *ret)
{
	uint32_t v = 0;

	if (len == 0 || len > 5 || (len > 1 && text[0] == '0'))
		return false;
	for (size_t i = 0; i < len; i++) {
		if (!is_digit(text[i]))
			return false;
		v = v * 10 + (uint32_t)(text[i] - '0');
	}
	*ret = v;
	return v <= max;
}

static bool parse_quad(const char *text, size_t len, uint8_t out[static 4])
{
	size_t start = 0;
	unsigned n = 0;

	for (size_t i = 0; i <= len; i++) {
		uint32_t v;

		if (i < len && text[i] != '.')
			continue;
		if (n == 4 || !parse_decimal(text + start, i - start, 255, &v))
			return false;
		out[n++] = (uint8_t)v;
		start = i + 1;
	}
	return n == 4;
}

/* An IPv6 address while it is read: the bytes so far, and where "::" stood among them. */
struct v6_text {
	uint8_t b[16];
	size_t n;
	size_t gap; /* SIZE_MAX: no "::" yet */
};

/*
 * Reads one group, or the dotted quad that may stand for the last two; returns how many characters
 * it took, 0 on error.
 */
static size_t parse_v6_group(const char *text, size_t len, struct v6_text *v6)
{
	unsigned value = 0;
	size_t i = 0;

	while (i < len && i < 5 && hex_value(text[i]) >= 0)
		value = value << 4 | (unsigned)hex_value(text[i++]);
	if (i < len && text[i] == '.') {
		if (v6->n > 12 || !parse_quad(text, len, v6->b + v6->n))
			return 0;
		v6->n += 4;
		return len;
	}
	if (i == 0 || i > 4 || v6->n > 14)
		return 0;
	v6->b[v6->n++] = (uint8_t)(value >> 8);
	v6->b[v6->n++] = (uint8_t)value;
	return i;
}

/* Puts zeros where "::" stood; it stands for at least one group. */
static bool fill_v6_gap(struct v6_text *v6)
{
	size_t tail;

	if (v6->gap == SIZE_MAX)
		return v6->n == 16;
	if (v6->n > 14)
		return false;
	tail = v6->n - v6->gap;
	memmove(v6->b + 16 - tail, v6->b + v6->gap, tail);
	memset(v6->b + v6->gap, 0, 16 - v6->n);
	return true;
}

static bool parse_v6(const char *text, size_t len, uint8_t out[static 16])
{
	struct v6_text v6 = {.gap = SIZE_MAX};
	size_t i = 0;

	if (len >= 2 && text[0] == ':' && text[1] == ':') {
		v6.gap = 0;
		i = 2;
	}
	while (i < len) {
		size_t took = parse_v6_group(text + i, len - i, &v6);

		i += took;
		if (took == 0)
			return false;
		if (i == len)
			break;
		/* A single ':' must have a group behind it, so it may not be the last character. */
		if (text[i++] != ':' || i == len)
			return false;
		if (text[i] == ':') {
			if (v6.gap != SIZE_MAX)
				return false;
			v6.gap = v6.n;
			i++;
		}
	}
	if (!fill_v6_gap(&v6))
		return false;
	memcpy(out, v6.b, 16);
	return true;
}

int ip_parse(const char *text, size_t len, struct ip *ret_ip)
{
	uint8_t b[16];

	if (len == 0 || len >= IP_TEXT_MAX)
		return ERR_ADDRESS;
	if (parse_quad(text, len, b))
		*ret_ip = ip_from_v4(b);
	else if (parse_v6(text, len, b))
		*ret_ip = ip_from_v6(b);
	else
		return ERR_ADDRESS;
	return 0;
}

/* Writes `v` in `base` (10 or 16) without leading zeros; returns where it ended. */
static char *put_number(char *p, unsigned v, unsigned base)
{
	char digits[8];
	unsigned n = 0;

	do {
		digits[n++] = "0123456789abcdef"[v % base];
		v /= base;
	} while (v > 0);
	while (n > 0)
		*p++ = digits[--n];
	return p;
}

static unsigned v6_group(const struct ip *ip, size_t i)
{
	return (unsigned)ip->b[2 * i] << 8 | ip->b[2 * i + 1];
}

/*
 * The run of zero groups that "::" replaces: the longest, the first of equals, never a single
 * group (RFC 5952 section 4.2). Returns its length, 0 for none.
 */
static unsigned longest_zero_run(const struct ip *ip, unsigned *ret_start)
{
	unsigned best = 1, run = 0;

	*ret_start = 8;
	for (unsigned i = 0; i < 8; i++) {
		run = v6_group(ip, i) == 0 ? run + 1 : 0;
		if (run > best) {
			best = run;
			*ret_start = i + 1 - run;
		}
	}
	return best > 1 ? best : 0;
}

static char *put_v6(char *p, const struct ip *ip)
{
	unsigned start;
	unsigned run = longest_zero_run(ip, &start);

	for (unsigned i = 0; i < 8; i++) {
		if (run > 0 && i == start) {
			*p++ = ':';
			*p++ = ':';
			i += run - 1;
			continue;
		}
		if (i > 0 && i != start + run)
			*p++ = ':';
		p = put_number(p, v6_group(ip, i), 16);
	}
	return p;
}

static char *put_v4(char *p, const struct ip *ip)
{
	for (unsigned i = 0; i < 4; i++) {
		if (i > 0)
			*p++ = '.';
		p = put_number(p, ip->b[V4_PREFIX_LEN + i], 10);
	}
	return p;
}

char *ip_format(const struct ip *ip, char buf[static IP_TEXT_MAX])
{
	char *end = ip_is_v4(ip) ? put_v4(buf, ip) : put_v6(buf, ip);

	*end = '\0';
	return buf;
}

/* Do the first `prefix` bits of both agree? */
static bool prefix_equal(const uint8_t *a, const uint8_t *b, unsigned prefix)
{
	unsigned whole = prefix / 8, rest = prefix % 8;

	if (memcmp(a, b, whole) != 0)
		return false;
	return rest == 0 || (a[whole] ^ b[whole]) >> (8 - rest) == 0;
}

bool ip_in_net(const struct ip *ip, const struct ip *net, unsigned prefix)
{
	return prefix_equal(ip->b, net->b, prefix < 128 ? prefix : 128);
}

struct v4_row {
	uint8_t net[4];
	uint8_t prefix;
	uint8_t bits; /* enum ip_class */
};

struct v6_row {
	uint8_t net[16];
	uint8_t prefix;
	uint8_t bits;
};

/*
 * The IANA special-purpose registries (RFC 6890 and its updates) and what the clouds serve
 * credentials from. The first row that matches decides, so a part stands before its whole and
 * repeats what the whole would have said.
 */
static const struct v4_row v4_rows[] = {
    {{0, 0, 0, 0}, 32, IP_LOOPBACK | IP_UNSPECIFIED | IP_RESERVED},
    /* Linux delivers 0.0.0.0 to the host itself, and other kernels more of its network. */
    {{0}, 8, IP_LOOPBACK | IP_RESERVED},
    {{10}, 8, IP_PRIVATE},
    {{100, 100, 100, 200}, 32, IP_METADATA | IP_PRIVATE}, /* Alibaba */
    {{100, 64}, 10, IP_PRIVATE},
    {{127}, 8, IP_LOOPBACK},
    {{168, 63, 129, 16}, 32, IP_METADATA},                  /* Azure WireServer */
    {{169, 254, 42, 42}, 32, IP_METADATA | IP_LINKLOCAL},   /* Scaleway */
    {{169, 254, 169, 254}, 32, IP_METADATA | IP_LINKLOCAL}, /* nearly everybody */
    {{169, 254, 170, 2}, 32, IP_METADATA | IP_LINKLOCAL},   /* AWS ECS */
    {{169, 254, 170, 23}, 32, IP_METADATA | IP_LINKLOCAL},  /* AWS EKS */
    {{169, 254}, 16, IP_LINKLOCAL},
    {{172, 16}, 12, IP_PRIVATE},
    {{192, 0, 0, 192}, 32, IP_METADATA | IP_RESERVED}, /* Oracle */
    {{192, 0, 0}, 24, IP_RESERVED},
    {{192, 0, 2}, 24, IP_RESERVED},
    {{192, 88, 99}, 24, IP_RESERVED}, /* 6to4 relays, RFC 7526 */
    {{192, 168}, 16, IP_PRIVATE},
    {{198, 18}, 15, IP_RESERVED},
    {{198, 51, 100}, 24, IP_RESERVED},
    {{203, 0, 113}, 24, IP_RESERVED},
    {{224}, 4, IP_MULTICAST},
    {{240}, 4, IP_RESERVED},
};

/*
 * Outside 2000::/3 only what has a row of its own is in use; the rest is "reserved by IETF" in
 * IANA's list of the IPv6 address space, and where somebody squats it, it is not the internet.
 */
static const struct v6_row v6_rows[] = {
    {{0}, 128, IP_LOOPBACK | IP_UNSPECIFIED},      /* :: */
    {{[15] = 1}, 128, IP_LOOPBACK},                /* ::1 */
    {{0x00, 0x64, 0xff, 0x9b}, 96, 0},             /* NAT64: judged by what it carries */
    {{0x00, 0x64, 0xff, 0x9b, 0x00, 0x01}, 48, 0}, /* the same, local use, RFC 8215 */
    {{0x00}, 8, IP_RESERVED},                      /* ::/8 */
    {{0x01}, 8, IP_RESERVED},                      /* 100::/64 discards, RFC 6666 */
    {{0x02}, 7, IP_RESERVED},                      /* 200::/7 */
    {{0x04}, 6, IP_RESERVED},                      /* 400::/6 */
    {{0x08}, 5, IP_RESERVED},                      /* 800::/5 */
    {{0x10}, 4, IP_RESERVED},                      /* 1000::/4 */
    {{0x20, 0x01, 0x00}, 23, IP_RESERVED},       /* IETF protocols: Teredo, benchmarking, ORCHID */
    {{0x20, 0x01, 0x0d, 0xb8}, 32, IP_RESERVED}, /* documentation, RFC 3849 */
    {{0x3f, 0xff}, 20, IP_RESERVED},             /* documentation, RFC 9637 */
    {{0x20}, 3, 0},                              /* global unicast */
    {{0xfd, 0x00, 0x00, 0x42, [15] = 0x42}, 128, IP_METADATA | IP_PRIVATE}, /* Scaleway */
    {{0xfd, 0x00, 0x00, 0xc1, [12] = 0xa9, 0xfe, 0xa9, 0xfe}, 128,
	IP_METADATA | IP_PRIVATE},                                                /* Oracle */
    {{0xfd, 0x00, 0x0e, 0xc2, [15] = 0x23}, 128, IP_METADATA | IP_PRIVATE},       /* EKS */
    {{0xfd, 0x00, 0x0e, 0xc2, [14] = 0x02, 0x54}, 128, IP_METADATA | IP_PRIVATE}, /* AWS */
    {{0xfd, 0x20, 0x00, 0xce, [14] = 0x02, 0x54}, 128, IP_METADATA | IP_PRIVATE}, /* Google */
    {{0xfc}, 7, IP_PRIVATE}, /* unique local, RFC 4193 */
    {{0xfe, 0x80, [12] = 0xa9, 0xfe, 0xa9, 0xfe}, 128, IP_METADATA | IP_LINKLOCAL}, /* OpenStack */
    {{0xfe, 0x80}, 10, IP_LINKLOCAL},                                               /* link-local */
    {{0xfe, 0xc0}, 10, IP_PRIVATE}, /* site-local, RFC 3879 */
    {{0xff}, 8, IP_MULTICAST},      /* multicast */
    {{0}, 0, IP_RESERVED},          /* 4000:: to fe7f:: but for the above */
};

static unsigned v4_classes(const uint8_t b[static 4])
{
	for (size_t i = 0; i < sizeof(v4_rows) / sizeof(v4_rows[0]); i++)
		if (prefix_equal(b, v4_rows[i].net, v4_rows[i].prefix))
			return v4_rows[i].bits;
	return 0;
}

static unsigned v6_classes(const uint8_t b[static 16])
{
	for (size_t i = 0; i < sizeof(v6_rows) / sizeof(v6_rows[0]); i++)
		if (prefix_equal(b, v6_rows[i].net, v6_rows[i].prefix))
			return v6_rows[i].bits;
	return 0;
}

/* How an IPv6 address may carry an IPv4 one. */
struct v4_form {
	uint8_t net[16];
	uint8_t prefix;
	uint8_t at[4];  /* which bytes are the IPv4 address */
	uint8_t flip;   /* XORed onto each of them */
	bool only_full; /* a reading with a first byte of 0 is an empty field, not an address */
};

/*
 * RFC 8215 leaves the length of the NAT64 prefix inside 64:ff9b:1::/48 to the operator, and RFC
 * 6052 places the IPv4 address by that length, around the byte that must be zero. All four places
 * are looked at; but the shorter ones are mere zeros in the common /96, and must not make loopback
 * of it. (The reverse, a /48 with zeros behind, is taken for loopback: rare, and on the safe side.)
 */
static const struct v4_form v4_forms[] = {
    {{0}, 96, {12, 13, 14, 15}, 0, false},                            /* compatible */
    {{[8] = 0xff, 0xff}, 96, {12, 13, 14, 15}, 0, false},             /* translated, RFC 2765 */
    {{0x20, 0x02}, 16, {2, 3, 4, 5}, 0, false},                       /* 6to4 */
    {{0x20, 0x01}, 32, {12, 13, 14, 15}, 0xff, false},                /* Teredo: the client's */
    {{0x00, 0x64, 0xff, 0x9b}, 96, {12, 13, 14, 15}, 0, false},       /* NAT64 */
    {{0x00, 0x64, 0xff, 0x9b, 0, 1}, 48, {12, 13, 14, 15}, 0, false}, /* local use, /96 */
    {{0x00, 0x64, 0xff, 0x9b, 0, 1}, 48, {6, 7, 9, 10}, 0, true},     /* local use, /48 */
    {{0x00, 0x64, 0xff, 0x9b, 0, 1}, 48, {7, 9, 10, 11}, 0, true},    /* local use, /56 */
    {{0x00, 0x64, 0xff, 0x9b, 0, 1}, 48, {9, 10, 11, 12}, 0, true},   /* local use, /64 */
};

/* ISATAP (RFC 5214) marks the lower half and works under any prefix; of the first byte of its mark
 * the universal and group bits may be set. */
static bool is_isatap(const struct ip *ip)
{
	static const uint8_t mark[] = {0x00, 0x5e, 0xfe};

	return (ip->b[8] & 0xfc) == 0 && memcmp(ip->b + 9, mark, sizeof(mark)) == 0;
}

static bool form_applies(const struct v4_form *form, const struct ip *ip, uint8_t v4[static 4])
{
	if (!prefix_equal(ip->b, form->net, form->prefix))
		return false;
	for (unsigned i = 0; i < 4; i++)
		v4[i] = ip->b[form->at[i]] ^ form->flip;
	return !(form->only_full && v4[0] == 0);
}

/* Neither :: nor ::1 is an IPv4-compatible address, RFC 4291 section 2.5.5.1. */
static bool carries_nothing(const struct ip *ip)
{
	static const uint8_t zeros[15];

	return ip_is_v4(ip) || (memcmp(ip->b, zeros, sizeof(zeros)) == 0 && ip->b[15] <= 1);
}

/*
 * Walks over the IPv4 addresses that `ip` carries: an address may be 6to4 by its front and ISATAP
 * by its tail. `*cursor` starts at 0. Returns false when there are no more.
 */
static bool next_embedded(const struct ip *ip, size_t *cursor, uint8_t v4[static 4])
{
	const size_t n = sizeof(v4_forms) / sizeof(v4_forms[0]);

	while (*cursor < n)
		if (form_applies(&v4_forms[(*cursor)++], ip, v4))
			return true;
	if ((*cursor)++ > n || !is_isatap(ip))
		return false;
	memcpy(v4, ip->b + 12, 4);
	return true;
}

unsigned ip_classes(const struct ip *ip)
{
	uint8_t v4[4];
	size_t cursor = 0;
	unsigned bits;

	if (ip_is_v4(ip))
		return v4_classes(ip_v4_bytes(ip));
	bits = v6_classes(ip->b);
	if (carries_nothing(ip))
		return bits;
	while (next_embedded(ip, &cursor, v4))
		bits |= v4_classes(v4);
	return bits;
}

unsigned ip_own_classes(const struct ip *ip)
{
	return ip_is_v4(ip) ? v4_classes(ip_v4_bytes(ip)) : v6_classes(ip->b);
}

size_t ip_embedded_v4(const struct ip *ip, struct ip ret_v4[static IP_EMBEDDED_MAX])
{
	uint8_t v4[4];
	size_t cursor = 0, n = 0;

	if (carries_nothing(ip))
		return 0;
	while (n < IP_EMBEDDED_MAX && next_embedded(ip, &cursor, v4))
		ret_v4[n++] = ip_from_v4(v4);
	return n;
}

struct addr addr_from_ip(const struct ip *ip, uint16_t port)
{
	return (struct addr){.kind = ADDR_IP, .port = port, .ip = *ip};
}

static bool is_label_byte(char c)
{
	char lower = to_lower(c);

	return (lower >= 'a' && lower <= 'z') || is_digit(c) || c == '-' || c == '_' ||
	       (unsigned char)c > 0x7f;
}

/* Are these labels of 1 to 63 allowed bytes with single dots between them? */
static bool labels_ok(const char *text, size_t len)
{
	size_t label = 0;

	for (size_t i = 0; i < len; i++) {
		if (text[i] == '.') {
			if (label == 0)
				return false;
			label = 0;
		} else if (!is_label_byte(text[i]) || ++label > LABEL_MAX) {
			return false;
		}
	}
	return label > 0;
}

/*
 * The "ends in a number" check of the WHATWG URL standard: whatever has such a last label is an
 * IPv4 address to inet_aton(), or was meant as one, and no top-level domain is numeric. Takes
 * checked labels without the trailing dot.
 */
static bool ends_in_number(const char *text, size_t len)
{
	size_t start = len;
	bool hex;

	while (start > 0 && text[start - 1] != '.')
		start--;
	hex = len - start >= 2 && text[start] == '0' && to_lower(text[start + 1]) == 'x';
	for (size_t i = hex ? start + 2 : start; i < len; i++)
		if (hex ? hex_value(text[i]) < 0 : !is_digit(text[i]))
			return false;
	return true;
}

static int name_check(const char *text, size_t len)
{
	size_t bare = len > 0 && text[len - 1] == '.' ? len - 1 : len;

	if (bare > NAME_TEXT_MAX || !labels_ok(text, bare))
		return ERR_NAME;
	return ends_in_number(text, bare) ? ERR_NUMERIC_NAME : 0;
}

/* Brackets are the URL's way to protect the colons of IPv6, and mean nothing around IPv4. */
static int parse_literal(const char *text, size_t len, struct ip *ret_ip)
{
	if (len < 2 || text[0] != '[' || text[len - 1] != ']')
		return ip_parse(text, len, ret_ip);
	if (!memchr(text, ':', len))
		return ERR_ADDRESS;
	return ip_parse(text + 1, len - 2, ret_ip);
}

int addr_set_host(struct addr *ret_addr, const char *text, size_t len)
{
	struct ip ip;
	int err;

	if (parse_literal(text, len, &ip) == 0) {
		*ret_addr = addr_from_ip(&ip, ret_addr->port);
		return 0;
	}
	err = name_check(text, len);
	if (err < 0)
		return err;
	/* First the name, which may lie in *ret_addr already. */
	memmove(ret_addr->name, text, len);
	memset(ret_addr->name + len, 0, sizeof(ret_addr->name) - len);
	memset(&ret_addr->ip, 0, sizeof(ret_addr->ip));
	ret_addr->kind = ADDR_NAME;
	ret_addr->name_len = (uint8_t)len;
	return 0;
}

int port_parse(const char *text, size_t len, uint16_t *ret_port)
{
	uint32_t v;

	if (!parse_decimal(text, len, UINT16_MAX, &v))
		return ERR_ADDRESS;
	*ret_port = (uint16_t)v;
	return 0;
}

int addr_parse(const char *text, size_t len, struct addr *ret_addr)
{
	const char *colon = len > 0 ? memrchr(text, ':', len) : NULL;
	size_t host_len;
	uint16_t port;
	int err;

	if (!colon)
		return ERR_ADDRESS;
	host_len = (size_t)(colon - text);
	/* Without brackets nobody could tell the port of ::1:80 from its last group. */
	if (text[0] != '[' && memchr(text, ':', host_len))
		return ERR_ADDRESS;
	err = port_parse(colon + 1, len - host_len - 1, &port);
	if (err < 0)
		return err;
	err = addr_set_host(ret_addr, text, host_len);
	if (err < 0)
		return err;
	ret_addr->port = port;
	return 0;
}

char *addr_format(const struct addr *addr, char buf[static ADDR_TEXT_MAX])
{
	char *p = buf;

	if (addr->kind == ADDR_NONE) {
		memcpy(buf, "-", 2);
		return buf;
	}
	if (addr->kind == ADDR_NAME) {
		memcpy(p, addr->name, addr->name_len);
		p += addr->name_len;
	} else if (ip_is_v4(&addr->ip)) {
		p = put_v4(p, &addr->ip);
	} else {
		*p++ = '[';
		p = put_v6(p, &addr->ip);
		*p++ = ']';
	}
	*p++ = ':';
	*put_number(p, addr->port, 10) = '\0';
	return buf;
}

size_t name_canonical(const char *name, size_t len, char buf[static ADDR_NAME_MAX + 1])
{
	if (len > ADDR_NAME_MAX)
		len = ADDR_NAME_MAX;
	if (len > 0 && name[len - 1] == '.')
		len--;
	for (size_t i = 0; i < len; i++)
		buf[i] = to_lower(name[i]);
	buf[len] = '\0';
	return len;
}
