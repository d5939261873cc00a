/* SPDX-License-Identifier: MIT */
/* Fuzzes proto/addr: the input is a host, an endpoint, a port, a name and the bytes of an address.
 */
#include "fuzz.h"

#include <arpa/inet.h>
#include <string.h>

#include "proto/addr.h"
#include "proto/err.h"

/* An address is what it is itself, and all that it carries. */
static void check_classes(const struct ip *ip)
{
	struct ip all[IP_EMBEDDED_MAX];
	size_t n = ip_embedded_v4(ip, all);
	unsigned bits = ip_own_classes(ip);

	CHECK(n <= IP_EMBEDDED_MAX);
	CHECK(n == 0 || !ip_is_v4(ip));
	for (size_t i = 0; i < n; i++) {
		CHECK(ip_is_v4(&all[i]));
		bits |= ip_classes(&all[i]);
	}
	CHECK(ip_classes(ip) == bits);
}

static void check_format(const struct ip *ip)
{
	char buf[IP_TEXT_MAX];
	struct ip back;

	CHECK(ip_format(ip, buf) == buf && memchr(buf, '\0', sizeof(buf)));
	CHECK(ip_parse(buf, strlen(buf), &back) == 0);
	CHECK(ip_equal(ip, &back));
	check_classes(ip);
}

/* glibc's parsers as the oracle; they take only text that ends in NUL. */
static bool libc_parse(const char *text, struct ip *ret_ip)
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

static void check_literal(const char *text, size_t size)
{
	char z[IP_TEXT_MAX];
	struct ip ours, theirs;
	int err = ip_parse(text, size, &ours);

	CHECK(err == 0 || err == ERR_ADDRESS);
	if (err == 0)
		check_format(&ours);
	if (size >= sizeof(z) || (size > 0 && memchr(text, '\0', size))) {
		CHECK(err != 0);
		return;
	}
	if (size > 0)
		memcpy(z, text, size);
	z[size] = '\0';
	CHECK(libc_parse(z, &theirs) == (err == 0));
	CHECK(err != 0 || ip_equal(&ours, &theirs));
}

static void check_canonical(const struct addr *addr)
{
	char once[ADDR_NAME_MAX + 1], twice[ADDR_NAME_MAX + 1];
	size_t len = name_canonical(addr->name, addr->name_len, once);
	struct addr again = {0};

	CHECK(len > 0 && strlen(once) == len);
	CHECK(name_canonical(once, len, twice) == len && memcmp(once, twice, len) == 0);
	CHECK(addr_set_host(&again, once, len) == 0 && again.kind == ADDR_NAME);
}

static void check_host(const char *text, size_t size)
{
	struct addr addr = {.port = 4711};
	struct in_addr in;
	int err = addr_set_host(&addr, text, size);

	CHECK(addr.port == 4711);
	if (err != 0) {
		CHECK(err == ERR_NAME || err == ERR_NUMERIC_NAME);
		CHECK(addr.kind == ADDR_NONE);
	} else if (addr.kind == ADDR_IP) {
		check_format(&addr.ip);
	} else {
		CHECK(addr.kind == ADDR_NAME && addr.name_len == size);
		CHECK(strlen(addr.name) == size && memcmp(addr.name, text, size) == 0);
		for (size_t i = 0; i < size; i++)
			CHECK((uint8_t)text[i] > ' ' && text[i] != 0x7f);
		/* The promise of this module: no libc takes such a name for an address. */
		CHECK(inet_aton(addr.name, &in) == 0);
		check_canonical(&addr);
	}
}

static void check_endpoint(const char *text, size_t size)
{
	char buf[ADDR_TEXT_MAX];
	struct addr addr = {0}, back = {0};

	if (addr_parse(text, size, &addr) != 0) {
		CHECK(addr.kind == ADDR_NONE);
		return;
	}
	addr_format(&addr, buf);
	CHECK(memchr(buf, '\0', sizeof(buf)));
	CHECK(addr_parse(buf, strlen(buf), &back) == 0);
	CHECK(addr.kind == back.kind && addr.port == back.port && ip_equal(&addr.ip, &back.ip));
	CHECK(
	    addr.name_len == back.name_len && memcmp(addr.name, back.name, sizeof(addr.name)) == 0);
}

static void check_port(const char *text, size_t size)
{
	char buf[8];
	uint16_t port;

	if (port_parse(text, size, &port) != 0)
		return;
	snprintf(buf, sizeof(buf), "%d", port);
	CHECK(strlen(buf) == size && memcmp(buf, text, size) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const char *text = (const char *)data;
	char name[ADDR_NAME_MAX + 1];
	struct ip ip;

	check_literal(text, size);
	check_host(text, size);
	check_endpoint(text, size);
	check_port(text, size);
	CHECK(name_canonical(text, size, name) <= ADDR_NAME_MAX);
	if (size >= 16) {
		ip = ip_from_v6(data);
		check_format(&ip);
	}
	return 0;
}
