/* SPDX-License-Identifier: MIT */
/* Proxy URLs, read strictly: each mistake has a sentence of its own, for people who typed it. */
#include "proto/url.h"

#include <string.h>
#include <strings.h>

#include "proto/err.h"

struct scheme_row {
	const char *name;
	uint16_t port;
	bool password; /* has the protocol a place for one? */
};

/* By enum url_scheme. */
static const struct scheme_row schemes[] = {
    [URL_SOCKS4] = {"socks4", 1080, false},
    [URL_SOCKS4A] = {"socks4a", 1080, false},
    [URL_SOCKS5] = {"socks5", 1080, true},
    [URL_SOCKS5H] = {"socks5h", 1080, true},
    [URL_SOCKS5_TLS] = {"socks5+tls", 443, true},
    [URL_HTTP] = {"http", 8080, true},
    [URL_HTTPS] = {"https", 443, true},
};

#define N_SCHEMES (sizeof(schemes) / sizeof(schemes[0]))

/* The text that is read, and what was found wrong with it. */
struct source {
	const char *text;
	size_t len;
	const char *why;
	size_t at;
};

static int fail(struct source *s, size_t at, const char *why)
{
	s->at = at;
	s->why = why;
	return ERR_MALFORMED;
}

bool url_wants_tls(const struct url *url)
{
	return url->scheme == URL_SOCKS5_TLS || url->scheme == URL_HTTPS;
}

bool url_takes_names(const struct url *url)
{
	return url->scheme != URL_SOCKS4 && url->scheme != URL_SOCKS5;
}

const char *url_scheme_name(enum url_scheme scheme)
{
	return (size_t)scheme < N_SCHEMES ? schemes[scheme].name : "?";
}

static bool same_word(const char *text, size_t len, const char *word)
{
	return strlen(word) == len && strncasecmp(text, word, len) == 0;
}

/* Which row of schemes[] is it? N_SCHEMES for none. */
static size_t find_scheme(const char *text, size_t len)
{
	size_t i = 0;

	while (i < N_SCHEMES && !same_word(text, len, schemes[i].name))
		i++;
	return i;
}

/* Is this "http:/proxy" or "socks5:proxy"? With a digit behind it, it may be host and port. */
static bool lacks_slashes(const struct source *s, const char *colon)
{
	const char *next = colon + 1;

	return find_scheme(s->text, (size_t)(colon - s->text)) < N_SCHEMES &&
	       (next == s->text + s->len || *next < '0' || *next > '9');
}

/* Reads "scheme://", which may be missing; `*ret_pos` is where the rest begins. */
static int parse_scheme(struct source *s, struct url *url, size_t *ret_pos)
{
	const char *sep = memmem(s->text, s->len, "://", 3);
	const char *colon = memchr(s->text, ':', s->len);
	size_t len, i;

	*ret_pos = 0;
	url->scheme = URL_SOCKS5H;
	if (!sep && colon && lacks_slashes(s, colon))
		return fail(s, (size_t)(colon - s->text), "expected \"://\" after the scheme");
	if (!sep)
		return 0;
	len = (size_t)(sep - s->text);
	i = find_scheme(s->text, len);
	/* Programs disagree: to some it is SOCKS4, to others SOCKS5. */
	if (same_word(s->text, len, "socks"))
		return fail(s, 0,
		    "\"socks\" does not say which version; expected socks4, socks4a, socks5 or "
		    "socks5h");
	if (i == N_SCHEMES)
		return fail(s, 0,
		    "unknown scheme; expected socks4, socks4a, socks5, socks5h, socks5+tls, http "
		    "or https");
	url->scheme = (enum url_scheme)i;
	*ret_pos = len + 3;
	return 0;
}

/* RFC 3986 section 3.2. */
static bool ends_authority(char c)
{
	return c == '/' || c == '?' || c == '#';
}

/* Finds where user, host and port end: nothing but one "/" may follow. */
static int find_end(struct source *s, size_t pos, size_t *ret_end)
{
	size_t end = pos;

	for (size_t i = pos; i < s->len; i++) {
		unsigned char c = (unsigned char)s->text[i];

		if (c <= ' ' || c == 0x7f)
			return fail(s, i,
			    "a space or control byte in a URL; expected it as '%' and two "
			    "hexadecimal digits");
	}
	while (end < s->len && !ends_authority(s->text[end]))
		end++;
	*ret_end = end;
	if (end == s->len || (s->text[end] == '/' && end + 1 == s->len))
		return 0;
	if (memchr(s->text + end, '@', s->len - end))
		return fail(s, end,
		    "in a user or password '/', '?' and '#' must be written as %2F, %3F and %23");
	return fail(s, end,
	    "a proxy URL has no path, query or fragment; expected it to end after host and port");
}

/* The value of a hexadecimal digit, or -1. */
static int hex_value(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/* Decodes text[pos..end) into `out`, which takes URL_CREDENTIAL_MAX + 1 bytes. */
static int decode(struct source *s, size_t pos, size_t end, char *out, uint8_t *ret_len)
{
	size_t n = 0;

	while (pos < end) {
		char c = s->text[pos];
		size_t took = 1;

		if (c == '%') {
			int hi = end - pos > 2 ? hex_value(s->text[pos + 1]) : -1;
			int lo = end - pos > 2 ? hex_value(s->text[pos + 2]) : -1;

			if (hi < 0 || lo < 0)
				return fail(s, pos,
				    "expected two hexadecimal digits after '%'; a '%' itself is "
				    "written %25");
			c = (char)(hi << 4 | lo);
			took = 3;
		}
		if (n == URL_CREDENTIAL_MAX)
			return fail(s, pos,
			    "user or password too long; expected at most 255 bytes of each");
		out[n++] = c;
		pos += took;
	}
	out[n] = '\0';
	*ret_len = (uint8_t)n;
	return 0;
}

/* What the scheme's protocol cannot carry is refused here, before anybody is dialled. */
static int check_credentials(struct source *s, size_t pos, const struct url *url)
{
	bool http = url->scheme == URL_HTTP || url->scheme == URL_HTTPS;

	if (url->has_password && !schemes[url->scheme].password)
		return fail(s, pos, "SOCKS4 has no password; expected only a user before the '@'");
	if (!schemes[url->scheme].password && memchr(url->user, '\0', url->user_len))
		return fail(s, pos, "a SOCKS4 user ends at a NUL; expected none in it");
	if (http && memchr(url->user, ':', url->user_len))
		return fail(s, pos, "an HTTP user ends at a ':'; expected none in it");
	return 0;
}

/* Reads "user" or "user:password" from text[pos..end). */
static int parse_credentials(struct source *s, size_t pos, size_t end, struct url *url)
{
	const char *colon = memchr(s->text + pos, ':', end - pos);
	size_t user_end = colon ? (size_t)(colon - s->text) : end;
	int err;

	if (user_end == pos)
		return fail(s, pos, "the user is missing; expected one, or no '@'");
	err = decode(s, pos, user_end, url->user, &url->user_len);
	if (err < 0)
		return err;
	url->has_user = true;
	if (colon) {
		err = decode(s, user_end + 1, end, url->password, &url->password_len);
		if (err < 0)
			return err;
		url->has_password = true;
	}
	return check_credentials(s, pos, url);
}

/* Reads what stands before the '@', if there is one, and moves `*pos` behind it. */
static int parse_userinfo(struct source *s, size_t *pos, size_t end, struct url *url)
{
	const char *at = memchr(s->text + *pos, '@', end - *pos);
	size_t start = *pos;

	if (!at)
		return 0;
	*pos = (size_t)(at - s->text) + 1;
	if (memchr(at + 1, '@', end - *pos))
		return fail(s, *pos - 1,
		    "expected one '@', before the host; in a user or password it is written %40");
	return parse_credentials(s, start, *pos - 1, url);
}

static int parse_host(struct source *s, size_t pos, size_t end, struct url *url)
{
	const char *host = s->text + pos;
	size_t len = end - pos;

	if (len == 0)
		return fail(s, pos, "the host is missing; expected a name or an address");
	if (host[0] != '[' && memchr(host, ':', len))
		return fail(
		    s, pos, "expected an IPv6 address in brackets, as in [2001:db8::1]:1080");
	switch (addr_set_host(&url->proxy, host, len)) {
	case 0:
		return 0;
	case ERR_NUMERIC_NAME:
		return fail(s, pos,
		    "not an address that everybody reads alike; expected four decimal numbers "
		    "from 0 to 255 without leading zeros, as in 192.0.2.1");
	default:
		if (host[0] == '[')
			return fail(s, pos,
			    "not an IPv6 address; expected one such as 2001:db8::1 between the "
			    "brackets, without a zone");
		return fail(s, pos,
		    "not a host name; expected labels of 1 to 63 letters, digits, '-' or '_' "
		    "with dots between them, 253 bytes at most");
	}
}

/* Where the ':' before the port is; `end` where there is no port. */
static size_t find_port(const struct source *s, size_t pos, size_t end)
{
	bool bracketed = pos < end && s->text[pos] == '[';
	const char *p = memrchr(s->text + pos, bracketed ? ']' : ':', end - pos);

	if (!p)
		return end;
	return (size_t)(p - s->text) + bracketed;
}

/* Reads "host" or "host:port" from text[pos..end). */
static int parse_host_port(struct source *s, size_t pos, size_t end, struct url *url)
{
	size_t colon = find_port(s, pos, end), port = colon + 1;
	int err;

	if (colon < end && s->text[colon] != ':')
		return fail(s, colon, "expected ':' and a port, or nothing, after the brackets");
	/* The host first: an IPv6 address without brackets ends in what looks like a bad port. */
	err = parse_host(s, pos, colon, url);
	if (err < 0)
		return err;
	url->proxy.port = schemes[url->scheme].port;
	if (colon == end)
		return 0;
	if (port_parse(s->text + port, end - port, &url->proxy.port) < 0 || url->proxy.port == 0)
		return fail(s, port, "expected a port after ':', a decimal number from 1 to 65535");
	return 0;
}

static int parse(struct source *s, struct url *url)
{
	const char *comma = memchr(s->text, ',', s->len);
	size_t pos, end;
	bool bare;
	int err;

	if (comma)
		return fail(s, (size_t)(comma - s->text),
		    "expected one proxy, no chain; in a user or password ',' is written %2C");
	err = parse_scheme(s, url, &pos);
	if (err < 0)
		return err;
	bare = pos == 0;
	err = find_end(s, pos, &end);
	if (err < 0)
		return err;
	err = parse_userinfo(s, &pos, end, url);
	if (err < 0)
		return err;
	/* A lone word is more often a mistyped name than a proxy. */
	if (bare && !memchr(s->text + pos, ':', end - pos))
		return fail(s, end,
		    "expected scheme://host or host:port, as in socks5h://proxy.example:1080");
	return parse_host_port(s, pos, end, url);
}

/* Runs a parser's result past the caller's wishes. */
static int report(const struct source *s, int err, const char **ret_why, size_t *ret_at)
{
	if (err < 0 && ret_why)
		*ret_why = s->why;
	if (err < 0 && ret_at)
		*ret_at = s->at;
	return err;
}

int url_parse(
    const char *text, size_t len, struct url *ret_url, const char **ret_why, size_t *ret_at)
{
	struct source s = {.text = text, .len = len};
	int err;

	memset(ret_url, 0, sizeof(*ret_url));
	if (len == 0)
		err = fail(&s, 0, "expected a proxy, as in socks5h://proxy.example:1080");
	else
		err = parse(&s, ret_url);
	/* No half-read password stays behind. */
	if (err < 0)
		memset(ret_url, 0, sizeof(*ret_url));
	return report(&s, err, ret_why, ret_at);
}

/* As url_parse_chain(), without clean-up. */
static int parse_chain(struct source *s, struct url *urls, size_t max)
{
	size_t n = 0, start = 0;

	for (;;) {
		size_t left = s->len - start;
		const char *comma = left > 0 ? memchr(s->text + start, ',', left) : NULL;
		size_t end = comma ? (size_t)(comma - s->text) : s->len;
		size_t at = 0;
		int err;

		if (n == max) {
			fail(s, start, "the chain is too long; expected fewer proxies");
			return ERR_TOO_LONG;
		}
		err =
		    url_parse(left > 0 ? s->text + start : "", end - start, &urls[n], &s->why, &at);
		s->at = start + at;
		if (err < 0)
			return err;
		n++;
		if (!comma)
			return (int)n;
		start = end + 1;
	}
}

int url_parse_chain(const char *text, size_t len, struct url *urls, size_t max,
    const char **ret_why, size_t *ret_at)
{
	struct source s = {.text = text, .len = len};
	int n;

	memset(urls, 0, max * sizeof(*urls));
	n = parse_chain(&s, urls, max);
	if (n < 0)
		memset(urls, 0, max * sizeof(*urls));
	return report(&s, n, ret_why, ret_at);
}

/* Where url_format() writes to; what does not fit is dropped. */
struct sink {
	char *buf;
	size_t cap, len;
};

static void put(struct sink *out, const char *text, size_t len)
{
	for (size_t i = 0; i < len && out->len + 1 < out->cap; i++)
		out->buf[out->len++] = text[i];
}

/* Everything but RFC 3986's unreserved characters is percent-encoded, which is always right. */
static void put_encoded(struct sink *out, const char *text, size_t len)
{
	static const char plain[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
				    "0123456789-._~";
	static const char digits[] = "0123456789ABCDEF";

	for (size_t i = 0; i < len; i++) {
		unsigned char c = (unsigned char)text[i];
		const char code[3] = {'%', digits[c >> 4], digits[c & 15]};

		if (memchr(plain, c, sizeof(plain) - 1))
			put(out, text + i, 1);
		else
			put(out, code, sizeof(code));
	}
}

size_t url_format(const struct url *url, char *buf, size_t cap)
{
	struct sink out = {.buf = buf, .cap = cap};
	const char *scheme = url_scheme_name(url->scheme);
	char host[ADDR_TEXT_MAX];

	if (cap == 0)
		return 0;
	addr_format(&url->proxy, host);
	put(&out, scheme, strlen(scheme));
	put(&out, "://", 3);
	if (url->has_user) {
		put_encoded(&out, url->user, url->user_len);
		put(&out, "@", 1);
	}
	put(&out, host, strlen(host));
	buf[out.len] = '\0';
	return out.len;
}
