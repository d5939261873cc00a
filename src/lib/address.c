/* SPDX-License-Identifier: MIT */
#include "lib/address.h"

#include <string.h>

void address_from_addr(const struct addr *addr, struct tabi_address *ret_address)
{
	memset(ret_address, 0, sizeof(*ret_address));
	if (addr->kind == ADDR_NONE)
		return;
	ret_address->port = addr->port;
	if (addr->kind == ADDR_NAME) {
		ret_address->family = TABI_NAME;
		memcpy(ret_address->name, addr->name, addr->name_len);
	} else if (ip_is_v4(&addr->ip)) {
		ret_address->family = TABI_IPV4;
		memcpy(ret_address->ip, ip_v4_bytes(&addr->ip), 4);
	} else {
		ret_address->family = TABI_IPV6;
		memcpy(ret_address->ip, addr->ip.b, sizeof(addr->ip.b));
	}
}

int address_to_addr(const struct tabi_address *address, struct addr *ret_addr)
{
	struct addr addr = {.port = address->port};
	const char *end;

	switch (address->family) {
	case TABI_NONE:
		addr.kind = ADDR_NONE;
		break;
	case TABI_IPV4:
		addr.kind = ADDR_IP;
		addr.ip = ip_from_v4(address->ip);
		break;
	case TABI_IPV6:
		addr.kind = ADDR_IP;
		addr.ip = ip_from_v6(address->ip);
		break;
	case TABI_NAME:
		end = memchr(address->name, '\0', sizeof(address->name));
		if (!end || addr_set_host(&addr, address->name, (size_t)(end - address->name)) != 0)
			return TABI_E_ARGUMENT;
		break;
	default:
		return TABI_E_ARGUMENT;
	}
	*ret_addr = addr;
	return 0;
}

int tabi_address_set(struct tabi_address *ret_address, const char *host, uint16_t port)
{
	struct addr addr = {.port = port};

	if (!host || addr_set_host(&addr, host, strlen(host)) != 0)
		return TABI_E_ARGUMENT;
	address_from_addr(&addr, ret_address);
	return 0;
}

char *tabi_address_text(const struct tabi_address *address, char *buf, size_t cap)
{
	char text[ADDR_TEXT_MAX];
	struct addr addr;
	size_t len;

	if (address_to_addr(address, &addr) != 0)
		addr.kind = ADDR_NONE;
	addr_format(&addr, text);
	len = strlen(text);
	if (cap > 0) {
		len = len < cap ? len : cap - 1;
		memcpy(buf, text, len);
		buf[len] = '\0';
	}
	return buf;
}
