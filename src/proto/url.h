/* SPDX-License-Identifier: MIT */
/* Proxy URLs: socks5h://user:password@host:1080, and comma-separated chains of them. */
#ifndef TABI_PROTO_URL_H
#define TABI_PROTO_URL_H

#include "proto/addr.h"

enum url_scheme {
	URL_SOCKS4,
	URL_SOCKS4A,
	URL_SOCKS5,  /* names resolved on our side */
	URL_SOCKS5H, /* names resolved by the proxy */
	URL_SOCKS5_TLS,
	URL_HTTP,
	URL_HTTPS,
};

#define URL_CREDENTIAL_MAX 255

struct url {
	enum url_scheme scheme;
	/* Host and port; the port defaults to 1080, http to 8080, https and +tls to 443. */
	struct addr proxy;
	bool has_user;
	bool has_password;
	uint8_t user_len, password_len;
	/* Percent-decoded; may hold any byte, NUL too; not text. */
	char user[URL_CREDENTIAL_MAX + 1];
	char password[URL_CREDENTIAL_MAX + 1];
};

/*
 * Reads one URL: scheme://[user[:password]@]host[:port][/]. A bare HOST:PORT is socks5h. Returns 0
 * or ERR_MALFORMED, with `*ret_why` (if not NULL) a constant sentence that says what is wrong and
 * what was expected, and `*ret_at` (if not NULL) the offset of it; `*ret_url` is then all zeros.
 */
int url_parse(
    const char *text, size_t len, struct url *ret_url, const char **ret_why, size_t *ret_at);

/* Reads a comma-separated chain into `urls`, first hop first. Returns the count, or as above;
 * ERR_TOO_LONG where there are more than `max`. All `max` of them are written. */
int url_parse_chain(const char *text, size_t len, struct url *urls, size_t max,
    const char **ret_why, size_t *ret_at);

/* The URL as text without its password, for messages and logs. Returns its length, cut to `cap`
 * - 1. */
size_t url_format(const struct url *url, char *buf, size_t cap);

/* Is TLS spoken to it? */
bool url_wants_tls(const struct url *url);

/* Is this proxy given names to look up? Otherwise whoever asks it has to. */
bool url_takes_names(const struct url *url);

/* "socks5h", "https"... */
const char *url_scheme_name(enum url_scheme scheme);

#endif
