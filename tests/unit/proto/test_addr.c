/* SPDX-License-Identifier: MIT */
/* Addresses and names: their text both ways, and which of the special sets they belong to. */
#include "proto/addr.h"

#include <arpa/inet.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "proto/err.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

struct text_row {
	const char *text;
	int err;
	const char *want; /* ip_format(), or the name */
};

#define L63 "aaaaaaaaabbbbbbbbbbccccccccccddddddddddeeeeeeeeeeffffffffffgggg"
#define L61 "aaaaaaaaabbbbbbbbbbccccccccccddddddddddeeeeeeeeeeffffffffffgg"
#define N253 L63 "." L63 "." L63 "." L61

static const struct text_row host_rows[] = {
    /* Literals: protocol.md R6, R7, R15, R16. */
    {"192.0.2.1", 0, "192.0.2.1"},
    {"0.0.0.0", 0, "0.0.0.0"},
    {"255.255.255.255", 0, "255.255.255.255"},
    {"2001:db8::1", 0, "2001:db8::1"},
    {"[2001:db8::1]", 0, "2001:db8::1"},
    {"[::1]", 0, "::1"},
    {"::", 0, "::"},
    {"[::]", 0, "::"},
    {"2001:DB8::A", 0, "2001:db8::a"},
    {"2001:0db8:0000:0000:0000:0000:0000:0001", 0, "2001:db8::1"},
    {"1:2:3:4:5:6:7:8", 0, "1:2:3:4:5:6:7:8"},
    {"1:0:3:4:5:6:7:8", 0, "1:0:3:4:5:6:7:8"},
    {"1::3:4:5:6:7:8", 0, "1:0:3:4:5:6:7:8"},
    {"1:2:3:4:5:6:7::", 0, "1:2:3:4:5:6:7:0"},
    {"::2:3:4:5:6:7:8", 0, "0:2:3:4:5:6:7:8"},
    {"1:0:0:4:0:0:0:8", 0, "1:0:0:4::8"},
    {"1:0:0:4:5:0:0:8", 0, "1::4:5:0:0:8"},
    {"1:0:0:0:0:0:0:0", 0, "1::"},
    {"0:0:0:0:0:0:0:1", 0, "::1"},
    {"::ffff:1.2.3.4", 0, "1.2.3.4"},
    {"[::ffff:127.0.0.1]", 0, "127.0.0.1"},
    {"::ffff:7f00:1", 0, "127.0.0.1"},
    {"0:0:0:0:0:FFFF:127.0.0.1", 0, "127.0.0.1"},
    {"::127.0.0.1", 0, "::7f00:1"},
    {"64:ff9b::127.0.0.1", 0, "64:ff9b::7f00:1"},
    {"1:2:3:4:5:6:1.2.3.4", 0, "1:2:3:4:5:6:102:304"},
    {"1::1.2.3.4", 0, "1::102:304"},

    /* What only inet_aton() takes for an address: R8. */
    {"127.1", ERR_NUMERIC_NAME, NULL},
    {"2130706433", ERR_NUMERIC_NAME, NULL},
    {"0x7f.1", ERR_NUMERIC_NAME, NULL},
    {"0x7f000001", ERR_NUMERIC_NAME, NULL},
    {"0X7F000001", ERR_NUMERIC_NAME, NULL},
    {"0177.0.0.1", ERR_NUMERIC_NAME, NULL},
    {"017700000001", ERR_NUMERIC_NAME, NULL},
    {"127.0.0.01", ERR_NUMERIC_NAME, NULL},
    {"127.0.0.0x1", ERR_NUMERIC_NAME, NULL},
    {"127.0.0.1.", ERR_NUMERIC_NAME, NULL},
    {"1.2.3.4.", ERR_NUMERIC_NAME, NULL},
    {"127.1.", ERR_NUMERIC_NAME, NULL},
    {"256.1.1.1", ERR_NUMERIC_NAME, NULL},
    {"1.2.3", ERR_NUMERIC_NAME, NULL},
    {"1.2.3.4.5", ERR_NUMERIC_NAME, NULL},
    {"0", ERR_NUMERIC_NAME, NULL},
    {"0x", ERR_NUMERIC_NAME, NULL},
    {"example.0x", ERR_NUMERIC_NAME, NULL},
    {"example.com.1", ERR_NUMERIC_NAME, NULL},
    {"foo.0xdeadbeef.", ERR_NUMERIC_NAME, NULL},
    {"foo.09", ERR_NUMERIC_NAME, NULL},
    {"99999999999999999999", ERR_NUMERIC_NAME, NULL},

    /* Names: R10, R11, R12, R13. */
    {"example.com", 0, "example.com"},
    {"example.com.", 0, "example.com."},
    {"EXAMPLE.com", 0, "EXAMPLE.com"},
    {"localhost", 0, "localhost"},
    {"a", 0, "a"},
    {"_ldap._tcp.example.com", 0, "_ldap._tcp.example.com"},
    {"-a-.b", 0, "-a-.b"},
    {"1.2.3.4.com", 0, "1.2.3.4.com"},
    {"127.0.0.1.nip.io", 0, "127.0.0.1.nip.io"},
    {"3com", 0, "3com"},
    {"0xg", 0, "0xg"},
    {"x0", 0, "x0"},
    {"1e5", 0, "1e5"},
    {"deadbeef", 0, "deadbeef"},
    {"b\xc3\xbc"
     "cher.example",
	0,
	"b\xc3\xbc"
	"cher.example"},
    {"\xff\x80", 0, "\xff\x80"},
    {L63 ".com", 0, L63 ".com"},
    {N253, 0, N253},
    {N253 ".", 0, N253 "."},

    /* Neither. */
    {"", ERR_NAME, NULL},
    {".", ERR_NAME, NULL},
    {"..", ERR_NAME, NULL},
    {"a..b", ERR_NAME, NULL},
    {".a", ERR_NAME, NULL},
    {"a..", ERR_NAME, NULL},
    {"1.2.3.4..", ERR_NAME, NULL},
    {"127..1", ERR_NAME, NULL},
    {"a b", ERR_NAME, NULL},
    {" 127.0.0.1", ERR_NAME, NULL},
    {"127.0.0.1 ", ERR_NAME, NULL},
    {"127.0.0.1\n", ERR_NAME, NULL},
    {"a/b", ERR_NAME, NULL},
    {"a@b", ERR_NAME, NULL},
    {"a%2eb", ERR_NAME, NULL},
    {"*.example.com", ERR_NAME, NULL},
    {L63 "a", ERR_NAME, NULL},
    {N253 "b", ERR_NAME, NULL},
    {N253 "..", ERR_NAME, NULL},
    {"[1.2.3.4]", ERR_NAME, NULL},
    {"[]", ERR_NAME, NULL},
    {"[", ERR_NAME, NULL},
    {"]", ERR_NAME, NULL},
    {"[::1", ERR_NAME, NULL},
    {"::1]", ERR_NAME, NULL},
    {"[[::1]]", ERR_NAME, NULL},
    {"[example.com]", ERR_NAME, NULL},
    {"fe80::1%eth0", ERR_NAME, NULL},
    {"[fe80::1%25eth0]", ERR_NAME, NULL},
    {"fe80::1%1", ERR_NAME, NULL},
    {":", ERR_NAME, NULL},
    {":::", ERR_NAME, NULL},
    {":1", ERR_NAME, NULL},
    {"1:", ERR_NAME, NULL},
    {"1::2::3", ERR_NAME, NULL},
    {"1:::2", ERR_NAME, NULL},
    {"::12345", ERR_NAME, NULL},
    {"::g", ERR_NAME, NULL},
    {"1:2:3:4:5:6:7", ERR_NAME, NULL},
    {"1:2:3:4:5:6:7:8:9", ERR_NAME, NULL},
    {"1:2:3:4::5:6:7:8", ERR_NAME, NULL},
    {"1:2:3:4:5:6:7:8::", ERR_NAME, NULL},
    {"::1:2:3:4:5:6:7:8", ERR_NAME, NULL},
    {"1:2:3:4:5:6:7:1.2.3.4", ERR_NAME, NULL},
    {"::1.2.3.4:5", ERR_NAME, NULL},
    {"::1.2.3", ERR_NAME, NULL},
    {"::01.2.3.4", ERR_NAME, NULL},
    {"::1.2.3.256", ERR_NAME, NULL},
    {"::1.2.3.4.", ERR_NAME, NULL},
    {"1.2.3.4::", ERR_NAME, NULL},
    {"::ffff:127.1", ERR_NAME, NULL},
    {"::/0", ERR_NAME, NULL},
};

static void host_text_has_one_reading(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT(host_rows); i++) {
		const struct text_row *row = &host_rows[i];
		struct addr addr = {.port = 4711};
		char buf[IP_TEXT_MAX];
		int err = addr_set_host(&addr, row->text, strlen(row->text));

		if (err != row->err)
			fail_msg("%s: %d, not %d", row->text, err, row->err);
		assert_int_equal(addr.port, 4711);
		if (err != 0)
			assert_int_equal(addr.kind, ADDR_NONE);
		else if (addr.kind == ADDR_IP)
			assert_string_equal(ip_format(&addr.ip, buf), row->want);
		else
			assert_string_equal(addr.name, row->want);
	}
}

/* ip_parse() alone takes what addr_set_host() made an ADDR_IP of, but for the brackets. */
static void literals_and_nothing_else(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT(host_rows); i++) {
		const char *text = host_rows[i].text;
		struct addr addr = {0};
		struct ip ip;
		bool is_ip = addr_set_host(&addr, text, strlen(text)) == 0 && addr.kind == ADDR_IP;

		if (text[0] == '[')
			is_ip = false;
		assert_int_equal(ip_parse(text, strlen(text), &ip), is_ip ? 0 : ERR_ADDRESS);
		if (is_ip)
			assert_true(ip_equal(&ip, &addr.ip));
	}
}

static void name_may_lie_in_its_place(void **state)
{
	struct addr addr = {.kind = ADDR_NAME, .name_len = 12, .name = "Example.com."};

	(void)state;
	assert_int_equal(addr_set_host(&addr, addr.name, 12), 0);
	assert_string_equal(addr.name, "Example.com.");
	assert_int_equal(addr_set_host(&addr, addr.name, 7), 0);
	assert_string_equal(addr.name, "Example");
	memcpy(addr.name, "10.0.0.1", 8);
	assert_int_equal(addr_set_host(&addr, addr.name, 8), 0);
	assert_int_equal(addr.kind, ADDR_IP);
	assert_string_equal(addr.name, "");
}

/* Every byte at every place of a name, through the oracle of reliability.md section 3: R9. */
static void name_bytes(void **state)
{
	static const char ok[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_";
	static const char base[] = "good.example";
	const size_t len = sizeof(base) - 1;
	size_t passed = 0;

	(void)state;
	for (size_t at = 0; at < len; at++) {
		for (int c = 0; c < 256; c++) {
			char text[sizeof(base)];
			struct addr addr = {0};
			bool want = c > 0x7f || (c != 0 && strchr(ok, c));

			memcpy(text, base, sizeof(base));
			text[at] = (char)c;
			/* A dot is right wherever it leaves no empty label. */
			if (c == '.')
				want = at != 0 && at != 3 && at != 5;
			if (addr_set_host(&addr, text, len) != (want ? 0 : ERR_NAME))
				fail_msg("byte 0x%02x at %zu", c, at);
			if (want)
				assert_memory_equal(addr.name, text, sizeof(base));
			passed += want;
		}
	}
	assert_int_equal(passed, len * (64 + 128) + len - 3);
}

/* A name of every length with labels of every length. */
static void name_lengths(void **state)
{
	(void)state;
	for (size_t label = 1; label <= 70; label++) {
		for (size_t len = 1; len <= 300; len++) {
			char text[300];
			struct addr addr = {0};
			bool dot_last = len % (label + 1) == 0;
			bool want = len - dot_last <= 253 && (label <= 63 || len <= 63);

			for (size_t i = 0; i < len; i++)
				text[i] = (i + 1) % (label + 1) == 0 ? '.' : 'x';
			assert_int_equal(addr_set_host(&addr, text, len), want ? 0 : ERR_NAME);
		}
	}
}

static void name_canonical_form(void **state)
{
	char buf[ADDR_NAME_MAX + 1], long_name[300];

	(void)state;
	assert_int_equal(name_canonical("ExAmPlE.CoM.", 12, buf), 11);
	assert_string_equal(buf, "example.com");
	assert_int_equal(name_canonical("a..", 3, buf), 2);
	assert_int_equal(name_canonical(".", 1, buf), 0);
	assert_int_equal(name_canonical("", 0, buf), 0);
	assert_string_equal(buf, "");
	assert_int_equal(name_canonical("\xc3\x9c[@`{Z", 7, buf), 7);
	assert_string_equal(buf, "\xc3\x9c[@`{z");
	memset(long_name, 'A', sizeof(long_name));
	assert_int_equal(name_canonical(long_name, sizeof(long_name), buf), ADDR_NAME_MAX);
}

struct endpoint_row {
	const char *text;
	int err;
	const char *want;
};

static const struct endpoint_row endpoint_rows[] = {
    {"192.0.2.1:80", 0, "192.0.2.1:80"},
    {"[::1]:0", 0, "[::1]:0"},
    {"[::ffff:1.2.3.4]:65535", 0, "1.2.3.4:65535"},
    {"Example.com.:443", 0, "Example.com.:443"},
    {"::1:80", ERR_ADDRESS, NULL},
    {"::1", ERR_ADDRESS, NULL},
    {"[::1]", ERR_ADDRESS, NULL},
    {"[::1]80", ERR_ADDRESS, NULL},
    {"[::1]x:80", ERR_NAME, NULL},
    {"[1.2.3.4]:80", ERR_NAME, NULL},
    {"[example.com]:80", ERR_NAME, NULL},
    {"127.1:80", ERR_NUMERIC_NAME, NULL},
    {"example.com", ERR_ADDRESS, NULL},
    {"example.com:", ERR_ADDRESS, NULL},
    {"example.com:+80", ERR_ADDRESS, NULL},
    {"example.com: 80", ERR_ADDRESS, NULL},
    {"example.com:80 ", ERR_ADDRESS, NULL},
    {"example.com:-1", ERR_ADDRESS, NULL},
    {"example.com:65536", ERR_ADDRESS, NULL},
    {"example.com:4294967376", ERR_ADDRESS, NULL},
    {"example.com:080", ERR_ADDRESS, NULL},
    {"example.com:http", ERR_ADDRESS, NULL},
    {"example.com:0x50", ERR_ADDRESS, NULL},
    {"a:b:80", ERR_ADDRESS, NULL},
    {":80", ERR_NAME, NULL},
    {":", ERR_ADDRESS, NULL},
    {"", ERR_ADDRESS, NULL},
    {N253 ".:65535", 0, N253 ".:65535"},
};

static void endpoints(void **state)
{
	struct addr none = {.port = 1};
	char buf[ADDR_TEXT_MAX];

	(void)state;
	for (size_t i = 0; i < COUNT(endpoint_rows); i++) {
		const struct endpoint_row *row = &endpoint_rows[i];
		struct addr addr = {.port = 4711};
		int err = addr_parse(row->text, strlen(row->text), &addr);

		if (err != row->err)
			fail_msg("%s: %d, not %d", row->text, err, row->err);
		if (err == 0)
			assert_string_equal(addr_format(&addr, buf), row->want);
		else
			assert_int_equal(addr.port, 4711);
	}
	assert_string_equal(addr_format(&none, buf), "-");
}

static void every_port(void **state)
{
	(void)state;
	for (long v = 0; v < 70000; v++) {
		char text[16];
		uint16_t port = 1;
		int len = snprintf(text, sizeof(text), "%ld", v);

		assert_int_equal(
		    port_parse(text, (size_t)len, &port), v <= 65535 ? 0 : ERR_ADDRESS);
		assert_int_equal(port, v <= 65535 ? v : 1);
	}
}

static uint64_t rng_state = 88172645463325252U;

/* xorshift64: the same run every time. */
static uint32_t rng(uint32_t below)
{
	rng_state ^= rng_state << 13;
	rng_state ^= rng_state >> 7;
	rng_state ^= rng_state << 17;
	return (uint32_t)(rng_state >> 32) % below;
}

/* Addresses with runs of zeros at every place, and IPv4. */
static struct ip random_ip(void)
{
	uint8_t b[16];

	for (unsigned i = 0; i < 16; i++)
		b[i] = (uint8_t)rng(256);
	for (size_t i = 0; i < 8; i++)
		if (rng(2))
			b[2 * i] = 0;
	for (size_t i = 0; i < 8; i++)
		if (rng(2))
			b[2 * i] = b[2 * i + 1] = 0;
	return rng(4) == 0 ? ip_from_v4(b) : ip_from_v6(b);
}

static void text_round_trip(void **state)
{
	(void)state;
	for (unsigned i = 0; i < 200000; i++) {
		struct ip ip = random_ip(), back;
		char buf[IP_TEXT_MAX], theirs[INET6_ADDRSTRLEN];

		ip_format(&ip, buf);
		assert_int_equal(ip_parse(buf, strlen(buf), &back), 0);
		assert_true(ip_equal(&ip, &back));
		/* glibc writes RFC 5952 but for the old IPv4-compatible form. */
		if (ip_is_v4(&ip))
			assert_non_null(
			    inet_ntop(AF_INET, ip_v4_bytes(&ip), theirs, sizeof(theirs)));
		else
			assert_non_null(inet_ntop(AF_INET6, ip.b, theirs, sizeof(theirs)));
		if (ip_is_v4(&ip) || !strchr(theirs, '.'))
			assert_string_equal(buf, theirs);
	}
}

/* What ip_parse() must say, from glibc's strict parsers. */
static bool oracle(const char *text, struct ip *ret_ip)
{
	uint8_t b[16];

	if (inet_pton(AF_INET, text, b) == 1)
		*ret_ip = ip_from_v4(b);
	else if (inet_pton(AF_INET6, text, b) == 1)
		*ret_ip = ip_from_v6(b);
	else
		return false;
	return true;
}

static void agrees_with_inet_pton(void **state)
{
	static const char alphabet[] = "0123456789abcdefABCDEF::::....g% ";
	unsigned accepted = 0, rejected = 0;

	(void)state;
	for (unsigned i = 0; i < 400000; i++) {
		struct ip ip = random_ip(), ours, theirs;
		char text[IP_TEXT_MAX + 8];
		size_t len;
		bool want;

		ip_format(&ip, text);
		for (unsigned edits = rng(4); edits > 0; edits--) {
			size_t n = strlen(text), at = rng((uint32_t)n + 1);
			char c = alphabet[rng(sizeof(alphabet) - 1)];

			if (rng(2) && at < n) {
				text[at] = c;
			} else if (rng(2)) {
				memmove(text + at + 1, text + at, n - at + 1);
				text[at] = c;
			} else if (at < n) {
				memmove(text + at, text + at + 1, n - at);
			}
		}
		len = strlen(text);
		want = oracle(text, &theirs);
		if ((ip_parse(text, len, &ours) == 0) != want)
			fail_msg("%s: inet_pton says %d", text, want);
		if (want)
			assert_true(ip_equal(&ours, &theirs));
		want ? accepted++ : rejected++;
	}
	/* The comparison means something only if both outcomes are common. */
	assert_true(accepted > 50000 && rejected > 50000);
}

/* A NUL ends inet_pton()'s text but not ours. */
static void nul_is_no_end(void **state)
{
	struct ip ip;
	struct addr addr = {0};

	(void)state;
	assert_int_equal(ip_parse(NULL, 0, &ip), ERR_ADDRESS);
	assert_int_equal(addr_set_host(&addr, NULL, 0), ERR_NAME);
	assert_int_equal(ip_parse("10.0.0.1\0", 9, &ip), ERR_ADDRESS);
	assert_int_equal(ip_parse("::1\0", 4, &ip), ERR_ADDRESS);
	assert_int_equal(ip_parse("\0::1", 4, &ip), ERR_ADDRESS);
	assert_int_equal(addr_set_host(&addr, "good.example\0.evil.example", 26), ERR_NAME);
	assert_int_equal(addr_set_host(&addr, "127.0.0.1\0", 10), ERR_NAME);
	assert_int_equal(addr_set_host(&addr, "[::1\0]", 6), ERR_NAME);
}

static struct ip ip_of(const char *text)
{
	struct ip ip;

	assert_int_equal(ip_parse(text, strlen(text), &ip), 0);
	return ip;
}

struct class_row {
	const char *first, *last;
	unsigned bits;          /* of the whole range */
	unsigned before, after; /* of the neighbours on either side */
};

#define LO IP_LOOPBACK
#define PR IP_PRIVATE
#define LL IP_LINKLOCAL
#define MD IP_METADATA
#define MC IP_MULTICAST
#define UN IP_UNSPECIFIED
#define RE IP_RESERVED

/* In 128 bits the neighbours of the first and the last IPv4 address are IPv6, and reserved. */
static const struct class_row class_rows[] = {
    {"0.0.0.0", "0.0.0.0", LO | UN | RE, RE, LO | RE},
    {"0.0.0.1", "0.255.255.255", LO | RE, LO | UN | RE, 0},
    {"10.0.0.0", "10.255.255.255", PR, 0, 0},
    {"100.64.0.0", "100.100.100.199", PR, 0, PR | MD},
    {"100.100.100.200", "100.100.100.200", PR | MD, PR, PR},
    {"100.100.100.201", "100.127.255.255", PR, PR | MD, 0},
    {"127.0.0.0", "127.255.255.255", LO, 0, 0},
    {"168.63.129.16", "168.63.129.16", MD, 0, 0},
    {"169.254.0.0", "169.254.42.41", LL, 0, LL | MD},
    {"169.254.42.42", "169.254.42.42", LL | MD, LL, LL},
    {"169.254.169.254", "169.254.169.254", LL | MD, LL, LL},
    {"169.254.170.2", "169.254.170.2", LL | MD, LL, LL},
    {"169.254.170.23", "169.254.170.23", LL | MD, LL, LL},
    {"169.254.170.24", "169.254.255.255", LL, LL | MD, 0},
    {"172.16.0.0", "172.31.255.255", PR, 0, 0},
    {"192.0.0.0", "192.0.0.191", RE, 0, RE | MD},
    {"192.0.0.192", "192.0.0.192", RE | MD, RE, RE},
    {"192.0.0.193", "192.0.0.255", RE, RE | MD, 0},
    {"192.0.2.0", "192.0.2.255", RE, 0, 0},
    {"192.88.99.0", "192.88.99.255", RE, 0, 0},
    {"192.168.0.0", "192.168.255.255", PR, 0, 0},
    {"198.18.0.0", "198.19.255.255", RE, 0, 0},
    {"198.51.100.0", "198.51.100.255", RE, 0, 0},
    {"203.0.113.0", "203.0.113.255", RE, 0, 0},
    {"224.0.0.0", "239.255.255.255", MC, 0, RE},
    {"240.0.0.0", "255.255.255.255", RE, MC, RE},

    {"::", "::", LO | UN, MC, LO},
    /* ::2 is IPv4-compatible for 0.0.0.2. */
    {"::1", "::1", LO, LO | UN, LO | RE},
    {"64:ff9b:0:0:0:1::", "64:ff9b:0:ffff:ffff:ffff:ffff:ffff", RE, RE, LO | UN | RE},
    {"64:ff9b:2::", "ff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", RE, RE, RE},
    {"100::", "100::ffff:ffff:ffff:ffff", RE, RE, RE},
    {"200::", "1fff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", RE, RE, 0},
    {"2001::", "2001:1ff:ffff:ffff:ffff:ffff:ffff:ffff", RE, 0, 0},
    {"2001:db8::", "2001:db8:ffff:ffff:ffff:ffff:ffff:ffff", RE, 0, 0},
    {"3fff::", "3fff:fff:ffff:ffff:ffff:ffff:ffff:ffff", RE, 0, 0},
    {"4000::", "fbff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", RE, 0, PR},
    {"fc00::", "fd00:42::41", PR, RE, PR | MD},
    {"fd00:42::42", "fd00:42::42", PR | MD, PR, PR},
    {"fd00:c1::a9fe:a9fe", "fd00:c1::a9fe:a9fe", PR | MD, PR, PR},
    {"fd00:ec2::23", "fd00:ec2::23", PR | MD, PR, PR},
    {"fd00:ec2::254", "fd00:ec2::254", PR | MD, PR, PR},
    {"fd20:ce::254", "fd20:ce::254", PR | MD, PR, PR},
    {"fd20:ce::255", "fdff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", PR, PR | MD, RE},
    {"fe00::", "fe7f:ffff:ffff:ffff:ffff:ffff:ffff:ffff", RE, PR, LL},
    {"fe80::", "fe80::a9fe:a9fd", LL, RE, LL | MD},
    {"fe80::a9fe:a9fe", "fe80::a9fe:a9fe", LL | MD, LL, LL},
    {"fe80::a9fe:a9ff", "febf:ffff:ffff:ffff:ffff:ffff:ffff:ffff", LL, LL | MD, PR},
    {"fec0::", "feff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", PR, LL, MC},
    {"ff00::", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", MC, PR, LO | UN},
};

/* The next address up or down, around the end. */
static struct ip step(struct ip ip, int by)
{
	for (int i = 15; i >= 0; i--) {
		ip.b[i] = (uint8_t)(ip.b[i] + by);
		if (ip.b[i] != (by > 0 ? 0 : 0xff))
			break;
	}
	return ip;
}

static void expect_class(struct ip ip, unsigned want)
{
	char buf[IP_TEXT_MAX];

	if (ip_classes(&ip) != want)
		fail_msg("%s: %#x, not %#x", ip_format(&ip, buf), ip_classes(&ip), want);
}

static void class_boundaries(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT(class_rows); i++) {
		const struct class_row *row = &class_rows[i];
		struct ip first = ip_of(row->first), last = ip_of(row->last);

		expect_class(step(first, -1), row->before);
		expect_class(first, row->bits);
		expect_class(last, row->bits);
		expect_class(step(last, 1), row->after);
	}
}

static void ordinary_addresses_have_no_class(void **state)
{
	static const char *const texts[] = {"1.1.1.1", "8.8.8.8", "93.184.216.34",
	    "223.255.255.255", "2606:4700:4700::1111", "2a00:1450:4001:829::200e",
	    "2001:4860:4860::8888", "2620:fe::fe", "64:ff9b::8.8.8.8", "2002:808:808::1",
	    "64:ff9b:1::8.8.8.8", "64:ff9b:1:abcd::8.8.8.8"};

	(void)state;
	for (size_t i = 0; i < COUNT(texts); i++)
		expect_class(ip_of(texts[i]), 0);
}

struct form {
	const char *text; /* x:y stands for the IPv4 address as two groups */
	unsigned own;     /* what the form is besides what it carries */
	bool flipped;
};

static const struct form forms[] = {
    {"::%x:%x", RE, false},
    {"::ffff:0:%x:%x", RE, false},
    {"64:ff9b::%x:%x", 0, false},
    {"64:ff9b:1::%x:%x", 0, false},
    {"2002:%x:%x::1", 0, false},
    {"2002:%x:%x:1:2:3:4:5", 0, false},
    {"2001:0:808:808:8000:4711:%x:%x", RE, true},
    {"2606:4700::5efe:%x:%x", 0, false},
    {"2606:4700::200:5efe:%x:%x", 0, false},
    {"fe80::5efe:%x:%x", LL, false},
    {"fd12:3456::300:5efe:%x:%x", PR, false},
};

static const char *const carried[] = {"127.0.0.1", "127.255.255.255", "10.1.2.3", "172.16.9.9",
    "192.168.1.1", "100.64.1.1", "169.254.1.1", "169.254.169.254", "100.100.100.200",
    "168.63.129.16", "224.0.0.251", "239.255.255.255", "0.0.0.2", "0.1.2.3", "255.255.255.255",
    "240.1.1.1", "192.0.2.7", "198.18.0.1", "203.0.113.9", "192.88.99.1", "8.8.8.8", "1.2.3.4"};

static void carried_addresses_count(void **state)
{
	(void)state;
	for (size_t f = 0; f < COUNT(forms); f++) {
		for (size_t c = 0; c < COUNT(carried); c++) {
			struct ip v4 = ip_of(carried[c]), v6, inside[IP_EMBEDDED_MAX];
			const uint8_t *b = ip_v4_bytes(&v4);
			unsigned flip = forms[f].flipped ? 0xffff : 0;
			unsigned hi = ((unsigned)b[0] << 8 | b[1]) ^ flip;
			unsigned lo = ((unsigned)b[2] << 8 | b[3]) ^ flip;
			char text[64];

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
			snprintf(text, sizeof(text), forms[f].text, hi, lo);
#pragma GCC diagnostic pop
			v6 = ip_of(text);
			assert_true(ip_embedded_v4(&v6, inside) > 0);
			assert_true(ip_equal(&inside[0], &v4));
			expect_class(v6, forms[f].own | ip_classes(&v4));
		}
	}
}

/* RFC 6052 section 2.2, in the prefix of RFC 8215: an operator may have chosen any length. */
static void nat64_of_every_length(void **state)
{
	(void)state;
	expect_class(
	    ip_of("64:ff9b:1:a00:2:300:101:101"), PR); /* /48: 10.0.2.3 around the u byte */
	expect_class(ip_of("64:ff9b:1:7f00:0:100:101:101"), LO); /* /48: 127.0.0.1 */
	expect_class(ip_of("64:ff9b:1:17f:0:1:101:101"), LO);    /* /56: 127.0.0.1 */
	expect_class(ip_of("64:ff9b:1:2:7f:0:101:101"), LO);     /* /64: 127.0.0.1 */
	expect_class(ip_of("64:ff9b:1::127.0.0.1"), LO);         /* /96 */
}

static void two_carried_addresses_both_count(void **state)
{
	struct ip ip = ip_of("2002:808:808::5efe:127.0.0.1"), inside[IP_EMBEDDED_MAX];

	(void)state;
	expect_class(ip, LO);
	assert_int_equal(ip_embedded_v4(&ip, inside), 2);
	expect_class(ip_of("2002:a01:203::5efe:127.0.0.1"), LO | PR);
}

/* The bits of an address are its own and those of everything it carries. */
static void all_carried_addresses_are_listed(void **state)
{
	static const struct {
		const char *text;
		unsigned own;
		const char *carried[IP_EMBEDDED_MAX];
	} rows[] = {
	    {"127.0.0.1", LO, {NULL}},
	    {"::1", LO, {NULL}},
	    {"::", LO | UN, {NULL}},
	    {"2606:4700::1", 0, {NULL}},
	    {"fe80::5efe:127.0.0.1", LL, {"127.0.0.1"}},
	    {"::10.0.0.1", RE, {"10.0.0.1"}},
	    {"64:ff9b::127.0.0.1", 0, {"127.0.0.1"}},
	    {"2001:0:808:808:0:0:80ff:fffe", RE, {"127.0.0.1"}},
	    {"2002:a01:203::5efe:127.0.0.1", 0, {"10.1.2.3", "127.0.0.1"}},
	    {"64:ff9b:1::127.0.0.1", 0, {"127.0.0.1"}},
	    {"64:ff9b:1:102:3:405:607:809", 0, {"6.7.8.9", "1.2.3.4", "2.3.4.5", "3.4.5.6"}},
	    {"64:ff9b:1:102:300:5efe:607:809", 0, {"6.7.8.9", "1.2.0.94", "2.0.94.254", "6.7.8.9"}},
	};

	(void)state;
	for (size_t i = 0; i < COUNT(rows); i++) {
		struct ip ip = ip_of(rows[i].text), all[IP_EMBEDDED_MAX];
		size_t n = ip_embedded_v4(&ip, all);
		unsigned bits = rows[i].own;

		assert_int_equal(ip_own_classes(&ip), rows[i].own);
		for (size_t k = 0; k < n; k++) {
			char buf[IP_TEXT_MAX];

			assert_non_null(rows[i].carried[k]);
			assert_string_equal(ip_format(&all[k], buf), rows[i].carried[k]);
			bits |= ip_classes(&all[k]);
		}
		assert_true(n == IP_EMBEDDED_MAX || !rows[i].carried[n]);
		expect_class(ip, bits);
	}
}

static void most_addresses_carry_none(void **state)
{
	static const char *const texts[] = {"::", "::1", "127.0.0.1", "::ffff:10.0.0.1",
	    "2001:db8::1", "2001:1::7f00:1", "2003:7f00:1::", "64:ff9b:0:1::7f00:1",
	    "64:ff9b:2::7f00:1", "2606::400:5efe:7f00:1", "2606::5eff:7f00:1"};
	struct ip ip, inside[IP_EMBEDDED_MAX];

	(void)state;
	for (size_t i = 0; i < COUNT(texts); i++) {
		ip = ip_of(texts[i]);
		assert_int_equal(ip_embedded_v4(&ip, inside), 0);
	}
}

static void prefixes(void **state)
{
	struct ip net = ip_of("10.0.0.0"), a, b;

	(void)state;
	a = ip_of("10.255.255.255");
	assert_true(ip_in_net(&a, &net, 104));
	a = ip_of("11.0.0.0");
	assert_false(ip_in_net(&a, &net, 104));
	assert_true(ip_in_net(&a, &net, 103));
	assert_true(ip_in_net(&a, &net, 0));
	/* Every length against every single bit of difference. */
	for (unsigned bit = 0; bit < 128; bit++) {
		a = b = random_ip();
		b.b[bit / 8] ^= (uint8_t)(0x80 >> bit % 8);
		for (unsigned prefix = 0; prefix <= 130; prefix++) {
			assert_int_equal(ip_in_net(&a, &b, prefix), prefix <= bit);
			assert_true(ip_in_net(&a, &a, prefix));
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(host_text_has_one_reading),
	    cmocka_unit_test(literals_and_nothing_else),
	    cmocka_unit_test(name_may_lie_in_its_place),
	    cmocka_unit_test(name_bytes),
	    cmocka_unit_test(name_lengths),
	    cmocka_unit_test(name_canonical_form),
	    cmocka_unit_test(endpoints),
	    cmocka_unit_test(every_port),
	    cmocka_unit_test(text_round_trip),
	    cmocka_unit_test(agrees_with_inet_pton),
	    cmocka_unit_test(nul_is_no_end),
	    cmocka_unit_test(class_boundaries),
	    cmocka_unit_test(ordinary_addresses_have_no_class),
	    cmocka_unit_test(carried_addresses_count),
	    cmocka_unit_test(nat64_of_every_length),
	    cmocka_unit_test(two_carried_addresses_both_count),
	    cmocka_unit_test(all_carried_addresses_are_listed),
	    cmocka_unit_test(most_addresses_carry_none),
	    cmocka_unit_test(prefixes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
