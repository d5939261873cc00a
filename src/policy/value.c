/* SPDX-License-Identifier: MIT */
/* Values of statements: numbers, times, sizes, rates, nets, host patterns. */
#include "policy/parse_int.h"

#include <stdio.h>
#include <string.h>

#include "policy/diag.h"
#include "proto/err.h"

struct unit {
	const char *text;
	uint64_t factor;
};

static const struct unit time_units[] = {
    {"ms", 1},
    {"s", 1000},
    {"m", 60 * 1000},
    {"h", 3600 * 1000},
    {"d", 24 * 3600 * 1000},
    {NULL, 0},
};

static const struct unit size_units[] = {
    {"", 1},
    {"k", 1 << 10},
    {"m", 1 << 20},
    {"g", 1 << 30},
    {NULL, 0},
};

/* In bits per second. */
static const struct unit rate_units[] = {
    {"bit", 1},
    {"kbit", 1000},
    {"mbit", 1000 * 1000},
    {"gbit", 1000 * 1000 * 1000},
    {"byte", 8},
    {"kbyte", 8 * 1000},
    {"mbyte", 8 * 1000 * 1000},
    {"gbyte", 8ull * 1000 * 1000 * 1000},
    {NULL, 0},
};

#define NUMBER_MAX 1000000000u
/* A timeout counts milliseconds in 32 bits. */
#define TIME_MAX_MS (30ull * 24 * 3600 * 1000)

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

/* Reads the digits that `text` begins with. Returns how many; 0 too where the number is too big. */
static size_t read_digits(const char *text, size_t len, unsigned *ret)
{
	unsigned long long value = 0;
	size_t n = 0;

	for (; n < len && is_digit(text[n]); n++) {
		value = value * 10 + (unsigned)(text[n] - '0');
		if (value > NUMBER_MAX)
			return 0;
	}
	*ret = (unsigned)value;
	return n;
}

/* A number and one of the units. */
static bool read_quantity(const struct token *t, const struct unit *units, uint64_t *ret)
{
	unsigned number = 0;
	size_t n = read_digits(t->text, t->len, &number);

	if (n == 0)
		return false;
	for (const struct unit *u = units; u->text; u++) {
		if (strlen(u->text) == t->len - n &&
		    memcmp(u->text, t->text + n, t->len - n) == 0) {
			*ret = number * u->factor;
			return true;
		}
	}
	return false;
}

bool parse_number(struct parser *p, const struct token *t, unsigned min, unsigned max,
    const char *expected, unsigned *ret)
{
	if (!parse_word(p, t, expected))
		return false;
	if (t->len > 0 && read_digits(t->text, t->len, ret) == t->len && *ret >= min && *ret <= max)
		return true;
	parse_fail(p, t, expected, "'%.*s' is not allowed here", SHOWN(t));
	return false;
}

bool parse_time(struct parser *p, const struct token *t, uint64_t *ret_ms)
{
	static const char expected[] = "a number with ms, s, m, h or d, such as 30s";

	if (!parse_word(p, t, expected))
		return false;
	if (t->len == 1 && t->text[0] == '0') {
		*ret_ms = 0;
		return true;
	}
	if (!read_quantity(t, time_units, ret_ms)) {
		parse_fail(p, t, expected, "'%.*s' is not a time", SHOWN(t));
		return false;
	}
	if (*ret_ms > TIME_MAX_MS) {
		parse_fail(p, t, "at most 30d", "'%.*s' is too long a time", SHOWN(t));
		return false;
	}
	return true;
}

bool parse_size(struct parser *p, const struct token *t, uint64_t *ret_bytes)
{
	static const char expected[] = "bytes, or a number with k, m or g, such as 64k";

	if (!parse_word(p, t, expected))
		return false;
	if (read_quantity(t, size_units, ret_bytes))
		return true;
	parse_fail(p, t, expected, "'%.*s' is not a size", SHOWN(t));
	return false;
}

bool parse_rate(struct parser *p, const struct token *t, uint64_t *ret_bytes)
{
	static const char expected[] =
	    "a number with bit, kbit, mbit, gbit, byte, kbyte, mbyte or gbyte, such as 20mbit";
	uint64_t bits;

	if (!parse_word(p, t, expected))
		return false;
	if (read_quantity(t, rate_units, &bits) && bits >= 8) {
		*ret_bytes = bits / 8;
		return true;
	}
	parse_fail(p, t, expected, "'%.*s' is not a rate", SHOWN(t));
	return false;
}

bool parse_path(struct parser *p, const struct token *t, const char *expected)
{
	if (!parse_word(p, t, expected))
		return false;
	if (t->len > 0)
		return true;
	parse_fail(p, t, expected, "an empty name");
	return false;
}

/* Does it look like four numbers that somebody meant as an IPv4 address? */
static bool looks_like_v4(const char *text, size_t len)
{
	for (size_t i = 0; i < len; i++)
		if (!is_digit(text[i]) && text[i] != '.')
			return false;
	return len > 0;
}

static void bad_address(struct parser *p, const struct token *t, size_t len)
{
	char shown[64];

	snprintf(shown, sizeof(shown), "%.*s", (int)(len < 60 ? len : 60), t->text);
	if (len > 0 && t->text[0] == '[')
		parse_fail(p, t, "the address without them",
		    "brackets around '%s' are for addresses with a port", shown);
	else if (memchr(t->text, ':', len))
		parse_fail(p, t, "an address such as 2001:db8::1 or a net such as 2001:db8::/32",
		    "'%s' is not an IPv6 address", shown);
	else if (looks_like_v4(t->text, len))
		parse_fail(p, t,
		    "four decimal numbers from 0 to 255 without leading zeros, such as 10.0.0.1",
		    "'%s' is not an IPv4 address", shown);
	else
		parse_fail(p, t, "an address or a net, such as 10.0.0.0/8 or 2001:db8::/32",
		    "'%s' is not an address", shown);
}

/* The prefix that a netmask such as 255.255.0.0 means, or -1. */
static int netmask_prefix(const char *text, size_t len)
{
	struct ip mask;
	int prefix = 0;

	if (ip_parse(text, len, &mask) || !ip_is_v4(&mask))
		return -1;
	while (prefix < 32 && (mask.b[12 + prefix / 8] >> (7 - prefix % 8) & 1) != 0)
		prefix++;
	for (int i = prefix; i < 32; i++)
		if ((mask.b[12 + i / 8] >> (7 - i % 8) & 1) != 0)
			return -1;
	return prefix;
}

/* What stands behind the slash, which is at `at`. `max` is 32 or 128. */
static bool read_prefix(
    struct parser *p, const struct token *t, size_t at, unsigned max, unsigned *ret)
{
	const char *text = t->text + at + 1;
	size_t len = t->len - at - 1;
	int from_mask = netmask_prefix(text, len);
	char expected[80];

	if (len > 0 && len <= 3 && read_digits(text, len, ret) == len && *ret <= max)
		return true;
	if (from_mask >= 0) {
		snprintf(expected, sizeof(expected), "%.*s/%d", (int)(at < 48 ? at : 48), t->text,
		    from_mask);
		parse_fail(p, t, expected, "a netmask; nets are written with a prefix length");
		return false;
	}
	snprintf(expected, sizeof(expected), "a number from 0 to %u after the '/'", max);
	parse_fail(p, t, expected, "'%.*s' has no valid prefix length", SHOWN(t));
	return false;
}

static bool check_host_bits(
    struct parser *p, const struct token *t, const struct ip *ip, unsigned prefix)
{
	struct ip base = net_base(ip, prefix);
	char text[IP_TEXT_MAX], expected[IP_TEXT_MAX + 48];
	char host[IP_TEXT_MAX];

	if (ip_equal(&base, ip))
		return true;
	snprintf(expected, sizeof(expected), "%s/%u for the net, or %s for the one address",
	    ip_format(&base, text), ip_is_v4(ip) ? prefix - 96 : prefix, ip_format(ip, host));
	parse_fail(p, t, expected, "'%.*s' has bits set behind its prefix length", SHOWN(t));
	return false;
}

bool parse_net(struct parser *p, const struct token *t, struct ip *ret_net, unsigned *ret_prefix)
{
	const char *slash = memchr(t->text, '/', t->len);
	size_t len = slash ? (size_t)(slash - t->text) : t->len;
	bool dotted = memchr(t->text, ':', len) == NULL;
	unsigned prefix = dotted ? 32 : 128;

	if (ip_parse(t->text, len, ret_net)) {
		bad_address(p, t, len);
		return false;
	}
	if (slash && !read_prefix(p, t, len, prefix, &prefix))
		return false;
	if (!dotted && ip_is_v4(ret_net) && prefix < 96) {
		parse_fail(p, t, "a prefix length from 96 to 128, or the IPv4 net itself",
		    "'%.*s' is an IPv4 net in IPv6 clothes, cut in front of the IPv4 part",
		    SHOWN(t));
		return false;
	}
	*ret_prefix = dotted ? prefix + 96 : prefix;
	return check_host_bits(p, t, ret_net, *ret_prefix);
}

bool parse_port_range(
    struct parser *p, const struct token *t, unsigned min, struct port_range *ret_range)
{
	const char *dash = memchr(t->text, '-', t->len);
	size_t len = dash ? (size_t)(dash - t->text) : t->len;
	struct port_range r = {0};
	char expected[80];

	if (port_parse(t->text, len, &r.first) || r.first < min ||
	    (dash && (port_parse(dash + 1, t->len - len - 1, &r.last) || r.last < min))) {
		snprintf(expected, sizeof(expected),
		    "ports from %u to 65535, such as %s or 8000-8999", min,
		    min > 443 ? "8080" : "443");
		parse_fail(p, t, expected, "'%.*s' is not a port", SHOWN(t));
		return false;
	}
	if (!dash)
		r.last = r.first;
	if (r.last < r.first) {
		snprintf(expected, sizeof(expected), "%u-%u", r.last, r.first);
		parse_fail(p, t, expected, "'%.*s' runs backwards", SHOWN(t));
		return false;
	}
	*ret_range = r;
	return true;
}

static void bad_pattern(struct parser *p, const struct token *t, const char *message)
{
	parse_fail(p, t, "a name such as example.org, *.example.org for all below it, or *", "%s",
	    message);
}

void parse_host(struct parser *p, const struct token *t, struct host_set *set)
{
	bool below = t->len > 2 && memcmp(t->text, "*.", 2) == 0;
	const char *name = t->text + (below ? 2 : 0);
	size_t len = t->len - (below ? 2 : 0);
	char canonical[ADDR_NAME_MAX + 1];
	struct addr addr = {0};
	int err;

	if (t->len == 1 && t->text[0] == '*') {
		set->any = true;
		return;
	}
	if (memchr(name, '*', len)) {
		bad_pattern(
		    p, t, "a '*' stands alone or for the first labels of a name, as in '*.'");
		return;
	}
	if (memchr(name, '/', len) || memchr(name, ':', len)) {
		bad_pattern(p, t, "a host has no scheme, port or path");
		return;
	}
	err = addr_set_host(&addr, name, len);
	if (err == 0 && addr.kind == ADDR_IP) {
		bad_pattern(p, t, "this is an address; addresses belong to a 'net'");
	} else if (err == ERR_NUMERIC_NAME) {
		bad_pattern(p, t, "some programs read this as an IPv4 address");
	} else if (err) {
		bad_pattern(p, t, "this is not a host name");
	} else {
		len = name_canonical(name, len, canonical);
		host_set_add(set, &p->arena, canonical, len, below);
	}
}
