/* SPDX-License-Identifier: MIT */
#include "proto/proxyproto.h"

#include <string.h>

#include "proto/err.h"

#define V1_MAX 107 /* with its CRLF */
#define V2_FIXED 16
#define V2_SIGNATURE_LEN 12

static const uint8_t v1_signature[] = {'P', 'R', 'O', 'X', 'Y', ' '};
static const uint8_t v2_signature[V2_SIGNATURE_LEN] = {
    0x0d, 0x0a, 0x0d, 0x0a, 0x00, 0x0d, 0x0a, 0x51, 0x55, 0x49, 0x54, 0x0a};

enum v2_command { V2_LOCAL, V2_PROXY };

/* Family and transport, as they stand in one byte; no other pair is valid. */
enum v2_family {
	V2_UNSPEC = 0x00,
	V2_TCP4 = 0x11,
	V2_UDP4 = 0x12,
	V2_TCP6 = 0x21,
	V2_UDP6 = 0x22,
	V2_UNIX_STREAM = 0x31,
	V2_UNIX_DGRAM = 0x32,
};

enum v2_type {
	V2_TYPE_CRC32C = 0x03,
	V2_TYPE_UNIQUE_ID = 0x05,
};

#define UNIQUE_ID_MAX 128

/* What no client can have as its address. */
static int check_source(const struct proxyproto *p)
{
	if (!p->local && ip_own_classes(&p->source.ip) & (IP_UNSPECIFIED | IP_MULTICAST))
		return ERR_PROXY_HEADER;
	return WIRE_DONE;
}

/* ---- version 1: a line of text ---- */

/* What is left of a line. */
struct line {
	const char *at;
	size_t len;
	bool more; /* a space was there, so another word must be */
};

/* The bytes up to the next space. An empty word is one too many spaces, and false. */
static bool next_word(struct line *l, const char **ret_word, size_t *ret_len)
{
	const char *space = l->more ? memchr(l->at, ' ', l->len) : NULL;
	size_t len = space ? (size_t)(space - l->at) : l->len;

	if (!l->more || len == 0)
		return false;
	*ret_word = l->at;
	*ret_len = len;
	l->more = space != NULL;
	l->at += space ? len + 1 : len;
	l->len -= space ? len + 1 : len;
	return true;
}

static bool read_ip(struct line *l, bool v6, struct addr *ret)
{
	const char *word;
	size_t len;

	ret->kind = ADDR_IP;
	return next_word(l, &word, &len) && (memchr(word, ':', len) != NULL) == v6 &&
	       ip_parse(word, len, &ret->ip) == 0;
}

static bool read_port(struct line *l, struct addr *ret)
{
	const char *word;
	size_t len;

	return next_word(l, &word, &len) && port_parse(word, len, &ret->port) == 0;
}

/* What stands between the signature and CRLF. */
static bool read_line(struct line *l, struct proxyproto *p)
{
	const char *word;
	size_t len;
	bool v6;

	if (!next_word(l, &word, &len))
		return false;
	/* Whatever follows it is not looked at. */
	p->local = len == 7 && memcmp(word, "UNKNOWN", 7) == 0;
	if (p->local)
		return true;
	if (len != 4 || memcmp(word, "TCP", 3) != 0 || (word[3] != '4' && word[3] != '6'))
		return false;
	v6 = word[3] == '6';
	return read_ip(l, v6, &p->source) && read_ip(l, v6, &p->destination) &&
	       read_port(l, &p->source) && read_port(l, &p->destination) && !l->more;
}

/* Only the bytes within the cap are looked at, so a line that never ends is refused at the same
 * byte however it arrives. */
static int read_v1(struct wire_reader *in, struct proxyproto *p)
{
	const uint8_t *start = in->data + in->pos, *end;
	size_t left = wire_left(in);
	struct line l = {.more = true};

	end = memmem(start, left < V1_MAX ? left : V1_MAX, "\r\n", 2);
	if (!end)
		return left < V1_MAX ? WIRE_MORE : ERR_PROXY_HEADER;
	l.at = (const char *)start + sizeof(v1_signature);
	l.len = (size_t)(end - start) - sizeof(v1_signature);
	p->version = 1;
	if (!read_line(&l, p))
		return ERR_PROXY_HEADER;
	in->pos += (size_t)(end - start) + 2;
	return check_source(p);
}

/* ---- version 2: binary ---- */

/* Castagnoli's polynomial, reversed. Bit by bit: a header that has one is checked once. */
static uint32_t crc32c(uint32_t crc, const uint8_t *data, size_t len)
{
	for (size_t i = 0; i < len; i++) {
		crc ^= data[i];
		for (int bit = 0; bit < 8; bit++)
			crc = crc >> 1 ^ (crc & 1 ? 0x82f63b78u : 0);
	}
	return crc;
}

/* Of the whole header, in which the four bytes at `field` count as zero. */
static bool checksum_fits(const uint8_t *header, size_t len, const uint8_t *field)
{
	static const uint8_t zeros[4];
	size_t before = (size_t)(field - header);
	uint32_t crc = crc32c(0xffffffffu, header, before);

	crc = crc32c(crc, zeros, sizeof(zeros));
	crc = ~crc32c(crc, field + 4, len - before - 4);
	return field[0] == (uint8_t)(crc >> 24) && field[1] == (uint8_t)(crc >> 16) &&
	       field[2] == (uint8_t)(crc >> 8) && field[3] == (uint8_t)crc;
}

/* The TLVs behind the addresses. All but the checksum are for others. */
static bool check_tlvs(struct wire_reader *r, const uint8_t *header, size_t len)
{
	bool summed = false;

	while (wire_left(r) > 0) {
		uint8_t type = wire_read_u8(r);
		uint16_t size = wire_read_u16(r);
		const uint8_t *value = wire_read_bytes(r, size);

		if (r->failed)
			return false;
		if (type == V2_TYPE_UNIQUE_ID && size > UNIQUE_ID_MAX)
			return false;
		if (type != V2_TYPE_CRC32C)
			continue;
		/* Two could not both be right, for each counts the other as it stands. */
		if (summed || size != 4 || !checksum_fits(header, len, value))
			return false;
		summed = true;
	}
	return true;
}

/* The bytes of the addresses of a family, or -1 for a family that there is not. */
static int addresses_size(uint8_t family)
{
	switch (family) {
	case V2_UNSPEC:
		return 0;
	case V2_TCP4:
	case V2_UDP4:
		return 12;
	case V2_TCP6:
	case V2_UDP6:
		return 36;
	case V2_UNIX_STREAM:
	case V2_UNIX_DGRAM:
		return 216;
	default:
		return -1;
	}
}

static void read_addresses(struct wire_reader *r, uint8_t family, struct proxyproto *p)
{
	size_t size = family == V2_TCP4 ? 4 : 16;
	const uint8_t *source = wire_read_bytes(r, size), *destination = wire_read_bytes(r, size);

	/* The caller has seen to it that they are there. */
	p->source.kind = p->destination.kind = ADDR_IP;
	p->source.ip = size == 4 ? ip_from_v4(source) : ip_from_v6(source);
	p->destination.ip = size == 4 ? ip_from_v4(destination) : ip_from_v6(destination);
	p->source.port = wire_read_u16(r);
	p->destination.port = wire_read_u16(r);
}

/* What the fixed part says; `*ret_len` is the size of the rest. */
static int read_fixed(
    struct wire_reader *r, uint8_t *ret_command, uint8_t *ret_family, uint16_t *ret_len)
{
	uint8_t version;
	int need;

	wire_read_bytes(r, V2_SIGNATURE_LEN);
	version = wire_read_u8(r);
	*ret_command = version & 0x0f;
	*ret_family = wire_read_u8(r);
	*ret_len = wire_read_u16(r);
	if (r->failed)
		return WIRE_MORE;
	if (version >> 4 != 2 || *ret_command > V2_PROXY || *ret_len > PROXYPROTO_MAX - V2_FIXED)
		return ERR_PROXY_HEADER;
	need = addresses_size(*ret_family);
	/* Of LOCAL the text says that the rest is to be skipped, family and all. */
	if (*ret_command == V2_PROXY && (need < 0 || *ret_len < need))
		return ERR_PROXY_HEADER;
	return WIRE_DONE;
}

static int read_v2(struct wire_reader *in, struct proxyproto *p)
{
	const uint8_t *header = in->data + in->pos;
	struct wire_reader r = *in;
	uint8_t command, family;
	uint16_t len;
	int rc = read_fixed(&r, &command, &family, &len);

	if (rc != WIRE_DONE)
		return rc;
	if (wire_left(&r) < len)
		return WIRE_MORE;
	p->version = 2;
	p->local = command == V2_LOCAL || (family != V2_TCP4 && family != V2_TCP6);
	in->pos += V2_FIXED + (size_t)len;
	/* Without a family nothing says where TLVs would begin. */
	if (command == V2_LOCAL || family == V2_UNSPEC)
		return WIRE_DONE;
	r.len = in->pos;
	if (p->local)
		wire_read_bytes(&r, (size_t)addresses_size(family));
	else
		read_addresses(&r, family, p);
	return check_tlvs(&r, header, V2_FIXED + (size_t)len) ? check_source(p) : ERR_PROXY_HEADER;
}

/* As far as it is there. */
static bool begins_with(const struct wire_reader *in, const uint8_t *signature, size_t len)
{
	size_t left = wire_left(in);

	return memcmp(in->data + in->pos, signature, left < len ? left : len) == 0;
}

int proxyproto_read(struct wire_reader *in, struct proxyproto *ret)
{
	struct wire_reader r = *in;
	struct proxyproto p = {0};
	int rc;

	if (wire_left(&r) == 0)
		return WIRE_MORE;
	if (begins_with(&r, v1_signature, sizeof(v1_signature)))
		rc = wire_left(&r) < sizeof(v1_signature) ? WIRE_MORE : read_v1(&r, &p);
	else if (begins_with(&r, v2_signature, sizeof(v2_signature)))
		rc = read_v2(&r, &p);
	else
		rc = ERR_PROXY_HEADER;
	if (rc == WIRE_DONE) {
		*ret = p;
		*in = r;
	}
	return rc;
}
