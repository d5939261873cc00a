/* SPDX-License-Identifier: MIT */
/* Proxy URLs: what is read from them, and that each mistake is named where it is. */
#include "proto/url.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include "proto/err.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))
#define X10 "xxxxxxxxxx"
#define X50 X10 X10 X10 X10 X10
#define X255 X50 X50 X50 X50 X50 "xxxxx"

struct good_row {
	const char *text;
	const char *format; /* as url_format() writes it */
	const char *user;   /* NULL: none */
	const char *password;
};

static const struct good_row good_rows[] = {
    {"socks4://192.0.2.1", "socks4://192.0.2.1:1080", NULL, NULL},
    {"socks4a://host", "socks4a://host:1080", NULL, NULL},
    {"socks5://host", "socks5://host:1080", NULL, NULL},
    {"socks5h://host", "socks5h://host:1080", NULL, NULL},
    {"socks5+tls://host", "socks5+tls://host:443", NULL, NULL},
    {"http://host", "http://host:8080", NULL, NULL},
    {"https://host", "https://host:443", NULL, NULL},
    {"SOCKS5H://Host:9050", "socks5h://Host:9050", NULL, NULL},
    {"Socks5+TLS://host", "socks5+tls://host:443", NULL, NULL},
    {"HtTp://host", "http://host:8080", NULL, NULL},
    {"host:1080", "socks5h://host:1080", NULL, NULL},
    {"127.0.0.1:9150", "socks5h://127.0.0.1:9150", NULL, NULL},
    {"[::1]:1080", "socks5h://[::1]:1080", NULL, NULL},
    {"user@host:1", "socks5h://user@host:1", "user", NULL},
    {"user:pw@host:1", "socks5h://user@host:1", "user", "pw"},
    /* A container may well be called after what runs in it. */
    {"socks5:1080", "socks5h://socks5:1080", NULL, NULL},
    {"socks5://host/", "socks5://host:1080", NULL, NULL},
    {"host:1080/", "socks5h://host:1080", NULL, NULL},
    {"socks5://host:65535", "socks5://host:65535", NULL, NULL},
    {"socks5://host:1", "socks5://host:1", NULL, NULL},
    {"socks5://[2001:db8::1]", "socks5://[2001:db8::1]:1080", NULL, NULL},
    {"socks5://[2001:DB8:0:0::1]:8", "socks5://[2001:db8::1]:8", NULL, NULL},
    {"socks5://[::ffff:10.0.0.1]:8", "socks5://10.0.0.1:8", NULL, NULL},
    {"socks5://u:p@[::1]:8/", "socks5://u@[::1]:8", "u", "p"},
    {"socks5://host.", "socks5://host.:1080", NULL, NULL},
    {"socks5://a_b.example", "socks5://a_b.example:1080", NULL, NULL},
    {"socks5://b\xc3\xbcro", "socks5://b\xc3\xbcro:1080", NULL, NULL},
    {"socks4://user@host", "socks4://user@host:1080", "user", NULL},
    {"socks5://user:@host", "socks5://user@host:1080", "user", ""},
    {"socks5://u%40d:p%3Aw@h", "socks5://u%40d@h:1080", "u@d", "p:w"},
    {"socks5://u:a:b:c@h", "socks5://u@h:1080", "u", "a:b:c"},
    {"socks5://u:%2F%3f%23%2c@h", "socks5://u@h:1080", "u", "/?#,"},
    {"socks5://%25:%25@h", "socks5://%25@h:1080", "%", "%"},
    {"socks5://%20%01:%0a@h", "socks5://%20%01@h:1080", " \x01", "\n"},
    {"socks5://%C3%bC:\xc3\xbc@h", "socks5://%C3%BC@h:1080", "\xc3\xbc", "\xc3\xbc"},
    {"socks5://u%3a:p@h", "socks5://u%3A@h:1080", "u:", "p"},
    {"socks5://[:]@h", "socks5://%5B@h:1080", "[", "]"},
    {"socks5://a-._~Z9!$&'()*+;=@h", "socks5://a-._~Z9%21%24%26%27%28%29%2A%2B%3B%3D@h:1080",
	"a-._~Z9!$&'()*+;=", NULL},
    {"http://u:p%3Ap@h", "http://u@h:8080", "u", "p:p"},
    {"socks5://" X255 ":" X255 "@h", "socks5://" X255 "@h:1080", X255, X255},
};

static void check_good(const struct good_row *row)
{
	struct url url;
	const char *why = "untouched";
	size_t at = 4711;
	char buf[1200];

	if (url_parse(row->text, strlen(row->text), &url, &why, &at) != 0)
		fail_msg("%s: at %zu %s", row->text, at, why);
	assert_string_equal(why, "untouched");
	assert_int_equal(url.has_user, row->user != NULL);
	assert_int_equal(url.has_password, row->password != NULL);
	assert_string_equal(url.user, row->user ? row->user : "");
	assert_string_equal(url.password, row->password ? row->password : "");
	assert_int_equal(url.user_len, strlen(url.user));
	assert_int_equal(url.password_len, strlen(url.password));
	assert_int_equal(url_format(&url, buf, sizeof(buf)), strlen(row->format));
	assert_string_equal(buf, row->format);
}

static void good_urls(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT(good_rows); i++)
		check_good(&good_rows[i]);
}

/* What url_format() writes means the same proxy and user, without the password. */
static void format_parses_again(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT(good_rows); i++) {
		const struct good_row again = {
		    good_rows[i].format, good_rows[i].format, good_rows[i].user, NULL};

		check_good(&again);
	}
}

struct bad_row {
	const char *text;
	size_t at;
	const char *why; /* part of it */
};

static const struct bad_row bad_rows[] = {
    {"", 0, "expected a proxy"},
    {"ftp://host", 0, "unknown scheme; expected socks4,"},
    {"socks6://host", 0, "unknown scheme"},
    {"socks5s://host", 0, "unknown scheme"},
    {" socks5://host", 0, "unknown scheme"},
    {"://host", 0, "unknown scheme"},
    {"socks://host", 0, "does not say which version"},
    {"SOCKS://host", 0, "does not say which version"},
    {"socks5:/host", 6, "\"://\" after the scheme"},
    {"http:proxy:8080", 4, "\"://\" after the scheme"},
    {"https:", 5, "\"://\" after the scheme"},
    {"host", 4, "scheme://host or host:port"},
    {"user:pw@host", 12, "scheme://host or host:port"},
    {"socks5", 6, "scheme://host or host:port"},
    {"socks5://", 9, "the host is missing"},
    {"socks5:///", 9, "the host is missing"},
    {"socks5://:1080", 9, "the host is missing"},
    {"socks5://u@", 11, "the host is missing"},
    {"socks5://u@:80", 11, "the host is missing"},
    {":1080", 0, "the host is missing"},
    {"socks5://host:", 14, "port after ':', a decimal number from 1 to 65535"},
    {"socks5://host:0", 14, "port after ':'"},
    {"socks5://host:65536", 14, "port after ':'"},
    {"socks5://host:http", 14, "port after ':'"},
    {"socks5://host:+1", 14, "port after ':'"},
    {"socks5://host:080", 14, "port after ':'"},
    {"socks5://[::1]:x", 15, "port after ':'"},
    {"socks5://[::1]8", 14, "':' and a port, or nothing, after the brackets"},
    {"socks5://[::1]]:8", 9, "not an IPv6 address"},
    {"socks5://[::1", 9, "IPv6 address"},
    {"socks5://[1.2.3.4]", 9, "not an IPv6 address"},
    {"socks5://[]:1", 9, "not an IPv6 address"},
    {"socks5://[fe80::1%25eth0]:1", 9, "without a zone"},
    {"socks5://::1:1080", 9, "IPv6 address in brackets"},
    {"socks5://2001:db8::a", 9, "IPv6 address in brackets"},
    {"::1", 0, "IPv6 address in brackets"},
    {"socks5://127.1", 9, "four decimal numbers"},
    {"socks5://0x7f.0.0.1:1080", 9, "four decimal numbers"},
    {"socks5://2130706433", 9, "four decimal numbers"},
    {"socks5://1.2.3.256", 9, "four decimal numbers"},
    {"socks5://a..b", 9, "not a host name"},
    {"socks5://ho%73t", 9, "not a host name"},
    {"socks5://*.example", 9, "not a host name"},
    {"socks5://host:1080/x", 18, "no path, query or fragment"},
    {"socks5://host//", 13, "no path, query or fragment"},
    {"socks5://host?x", 13, "no path, query or fragment"},
    {"socks5://host#x", 13, "no path, query or fragment"},
    {"socks5://host/?", 13, "no path, query or fragment"},
    {"socks5://u:a/b@host", 12, "%2F, %3F and %23"},
    {"socks5://u:a#b@host", 12, "%2F, %3F and %23"},
    {"socks5://u:a?@host", 12, "%2F, %3F and %23"},
    {"socks5://u:a@b@host", 12, "written %40"},
    {"socks5://@host", 9, "the user is missing"},
    {"socks5://:pw@host", 9, "the user is missing"},
    {"socks5://u:a%@host", 12, "two hexadecimal digits"},
    {"socks5://u:a%4@host", 12, "two hexadecimal digits"},
    {"socks5://u%4g@host", 10, "two hexadecimal digits"},
    {"socks5://u%g4@host", 10, "two hexadecimal digits"},
    {"socks5://u%\x11\x12@host", 11, "a space or control byte"},
    {"socks5://ho st", 11, "a space or control byte"},
    {"socks5://host\n", 13, "a space or control byte"},
    {"socks5://u:\x7f@host", 11, "a space or control byte"},
    {"socks5://" X255 "x@h", 264, "at most 255 bytes"},
    {"socks5://u:" X255 "%41@h", 266, "at most 255 bytes"},
    {"socks4://u:p@h", 9, "SOCKS4 has no password"},
    {"socks4a://u:@h", 10, "SOCKS4 has no password"},
    {"socks4://a%00b@h", 9, "ends at a NUL"},
    {"http://a%3Ab@h", 7, "ends at a ':'"},
    {"https://a%3ab:p@h", 8, "ends at a ':'"},
    {"socks5://a,socks5://b", 10, "expected one proxy"},
    {"socks5://u:a,b@h", 12, "%2C"},
};

static void bad_urls_are_explained(void **state)
{
	static const struct url zeros;

	(void)state;
	for (size_t i = 0; i < COUNT(bad_rows); i++) {
		const struct bad_row *row = &bad_rows[i];
		struct url url;
		const char *why = NULL;
		size_t at = 4711;

		memset(&url, 0xff, sizeof(url));
		if (url_parse(row->text, strlen(row->text), &url, &why, &at) != ERR_MALFORMED)
			fail_msg("%s: accepted", row->text);
		if (at != row->at || !strstr(why, row->why))
			fail_msg("%s: at %zu %s", row->text, at, why);
		/* Every sentence says what would have been right. */
		assert_true(strstr(why, "expected") || strstr(why, "must be written"));
		assert_memory_equal(&url, &zeros, sizeof(url));
		assert_int_equal(
		    url_parse(row->text, strlen(row->text), &url, NULL, NULL), ERR_MALFORMED);
	}
}

/* NUL is a byte like others in the decoded text, and a control byte in the raw one. */
static void nul_bytes(void **state)
{
	struct url url;
	size_t at;
	char buf[64];

	(void)state;
	assert_int_equal(url_parse("socks5://a%00b:%00@h", 20, &url, NULL, NULL), 0);
	assert_int_equal(url.user_len, 3);
	assert_memory_equal(url.user, "a\0b", 4);
	assert_int_equal(url.password_len, 1);
	url_format(&url, buf, sizeof(buf));
	assert_string_equal(buf, "socks5://a%00b@h:1080");
	assert_int_equal(url_parse("socks5://h\0.x", 13, &url, NULL, &at), ERR_MALFORMED);
	assert_int_equal(at, 10);
	assert_int_equal(url_parse("socks5\0://h", 11, &url, NULL, &at), ERR_MALFORMED);
	assert_int_equal(at, 0);
}

/* Every byte in a user, encoded and (where that is allowed) raw, comes back from the format. */
static void every_user_byte(void **state)
{
	static const char digits[] = "0123456789abcdef";

	(void)state;
	for (int c = 0; c < 256; c++) {
		char text[] = "socks5://x%00y@h", buf[64];
		struct url url, again;
		bool plain = c > ' ' && c != 0x7f && !strchr("/?#@%:,", c);

		text[11] = digits[c >> 4];
		text[12] = digits[c & 15];
		assert_int_equal(url_parse(text, sizeof(text) - 1, &url, NULL, NULL), 0);
		assert_int_equal(url.user_len, 3);
		assert_int_equal((unsigned char)url.user[1], c);
		url_format(&url, buf, sizeof(buf));
		assert_int_equal(url_parse(buf, strlen(buf), &again, NULL, NULL), 0);
		assert_memory_equal(&url, &again, sizeof(url));
		if (plain) {
			char raw[] = "socks5://x?y@h";

			raw[10] = (char)c;
			assert_int_equal(url_parse(raw, sizeof(raw) - 1, &again, NULL, NULL), 0);
			assert_memory_equal(&url, &again, sizeof(url));
		}
	}
}

static void chains(void **state)
{
	struct url urls[3];
	const char *why;
	size_t at;

	(void)state;
	assert_int_equal(url_parse_chain("a:1", 3, urls, 3, &why, &at), 1);
	assert_int_equal(
	    url_parse_chain("socks5://a,u:p@b:2,http://[::1]:3", 33, urls, 3, &why, &at), 3);
	assert_int_equal(urls[0].scheme, URL_SOCKS5);
	assert_int_equal(urls[1].scheme, URL_SOCKS5H);
	assert_string_equal(urls[1].password, "p");
	assert_int_equal(urls[2].scheme, URL_HTTP);
	assert_int_equal(urls[2].proxy.port, 3);

	assert_int_equal(url_parse_chain("a:1,b:2,c:3,d:4", 15, urls, 3, &why, &at), ERR_TOO_LONG);
	assert_int_equal(at, 12);
	assert_non_null(strstr(why, "too long"));
	assert_int_equal(url_parse_chain("a:1,u:pw@b:x", 12, urls, 3, &why, &at), ERR_MALFORMED);
	assert_int_equal(at, 11);
	/* No password of a chain that failed stays behind. */
	assert_int_equal(urls[1].password_len, 0);
	assert_int_equal(urls[1].password[0], '\0');

	assert_int_equal(url_parse_chain("a:1,", 4, urls, 3, &why, &at), ERR_MALFORMED);
	assert_int_equal(at, 4);
	assert_non_null(strstr(why, "expected a proxy"));
	assert_int_equal(url_parse_chain(",a:1", 4, urls, 3, &why, &at), ERR_MALFORMED);
	assert_int_equal(at, 0);
	assert_int_equal(url_parse_chain("a:1,,b:2", 8, urls, 3, &why, &at), ERR_MALFORMED);
	assert_int_equal(at, 4);
	assert_int_equal(url_parse_chain("a:1, b:2", 8, urls, 3, &why, &at), ERR_MALFORMED);
	assert_int_equal(at, 4);
	assert_int_equal(url_parse_chain(NULL, 0, urls, 3, &why, &at), ERR_MALFORMED);
	assert_int_equal(url_parse_chain("a:1", 3, urls, 0, &why, &at), ERR_TOO_LONG);
}

static void format_is_bounded_and_silent(void **state)
{
	struct url url;
	char buf[64];

	(void)state;
	assert_int_equal(url_parse("socks5://user:secret@host", 25, &url, NULL, NULL), 0);
	for (size_t cap = 0; cap <= sizeof(buf); cap++) {
		size_t len;

		memset(buf, '#', sizeof(buf));
		len = url_format(&url, buf, cap);
		assert_int_equal(len, cap == 0 ? 0 : cap < 24 ? cap - 1 : 23);
		assert_memory_equal(buf, "socks5://user@host:1080", len);
		if (cap > 0)
			assert_int_equal(buf[len], '\0');
		for (size_t i = cap; i < sizeof(buf); i++)
			assert_int_equal(buf[i], '#');
	}
}

static void scheme_names(void **state)
{
	(void)state;
	assert_string_equal(url_scheme_name(URL_SOCKS5_TLS), "socks5+tls");
	assert_string_equal(url_scheme_name((enum url_scheme)(URL_HTTPS + 1)), "?");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(good_urls),
	    cmocka_unit_test(format_parses_again),
	    cmocka_unit_test(bad_urls_are_explained),
	    cmocka_unit_test(nul_bytes),
	    cmocka_unit_test(every_user_byte),
	    cmocka_unit_test(chains),
	    cmocka_unit_test(format_is_bounded_and_silent),
	    cmocka_unit_test(scheme_names),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
