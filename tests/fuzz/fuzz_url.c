/* SPDX-License-Identifier: MIT */
/* Fuzzes proto/url: the input is a proxy URL and a chain of them. */
#include "fuzz.h"

#include <string.h>

#include "proto/err.h"
#include "proto/url.h"

#define CHAIN_MAX 4
/* A scheme, a user of 255 bytes as %XX, a host with port, and what stands between them. */
#define FORMAT_MAX (16 + 3 * URL_CREDENTIAL_MAX + ADDR_TEXT_MAX)

static bool same_proxy(const struct url *a, const struct url *b)
{
	char a_host[ADDR_TEXT_MAX], b_host[ADDR_TEXT_MAX];

	return a->scheme == b->scheme &&
	       strcmp(addr_format(&a->proxy, a_host), addr_format(&b->proxy, b_host)) == 0 &&
	       a->has_user == b->has_user && a->user_len == b->user_len &&
	       memcmp(a->user, b->user, sizeof(a->user)) == 0;
}

static void check_credential(bool has, uint8_t len, const char *bytes)
{
	CHECK(has || len == 0);
	for (size_t i = len; i <= URL_CREDENTIAL_MAX; i++)
		CHECK(bytes[i] == '\0');
}

/* The text reads back as the same proxy, and holds nothing of the password. */
static void check_format(const struct url *url)
{
	char buf[FORMAT_MAX], part[FORMAT_MAX];
	size_t len = url_format(url, buf, sizeof(buf));
	struct url back;

	CHECK(len < sizeof(buf) - 1 && strlen(buf) == len);
	CHECK(url_parse(buf, len, &back, NULL, NULL) == 0);
	CHECK(same_proxy(url, &back));
	CHECK(!back.has_password && back.password_len == 0);
	for (size_t cap = 1; cap <= len + 1; cap += 1 + len / 8) {
		CHECK(url_format(url, part, cap) == cap - 1);
		CHECK(strlen(part) == cap - 1 && memcmp(part, buf, cap - 1) == 0);
	}
}

static void check_url(const struct url *url)
{
	CHECK(url->proxy.kind == ADDR_IP || url->proxy.kind == ADDR_NAME);
	CHECK(url->proxy.port != 0);
	CHECK(url->has_user || !url->has_password);
	check_credential(url->has_user, url->user_len, url->user);
	check_credential(url->has_password, url->password_len, url->password);
	check_format(url);
}

static void check_refusal(int err, const char *why, size_t at, size_t size)
{
	CHECK(err == ERR_MALFORMED || err == ERR_TOO_LONG);
	CHECK(why && strlen(why) > 10);
	CHECK(at <= size);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const char *text = (const char *)data;
	struct url url, chain[CHAIN_MAX];
	const char *why = NULL, *chain_why = NULL;
	size_t at = SIZE_MAX, chain_at = SIZE_MAX;
	int err = url_parse(text, size, &url, &why, &at);
	int n = url_parse_chain(text, size, chain, CHAIN_MAX, &chain_why, &chain_at);

	if (err == 0)
		check_url(&url);
	else
		check_refusal(err, why, at, size);
	CHECK(n != 0 && n <= CHAIN_MAX);
	if (n < 0)
		check_refusal(n, chain_why, chain_at, size);
	for (int i = 0; i < n; i++)
		check_url(&chain[i]);
	/* A single URL is a chain of one. */
	CHECK((err == 0) == (n == 1));
	CHECK(err != 0 || same_proxy(&url, &chain[0]));
	return 0;
}
