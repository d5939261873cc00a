/* SPDX-License-Identifier: MIT */
/* Fuzzes proto/proxyproto: the input is what arrives, and every prefix of it. */
#include "fuzz.h"

#include <string.h>

#include "proto/err.h"
#include "proto/proxyproto.h"

static int read_prefix(const uint8_t *data, size_t size, struct proxyproto *p, size_t *ret_pos)
{
	struct wire_reader in = wire_reader_of(data, size);
	int rc = proxyproto_read(&in, p);

	CHECK(!in.failed);
	CHECK(rc == WIRE_DONE || rc == WIRE_MORE || rc == ERR_PROXY_HEADER);
	CHECK(rc == WIRE_DONE || in.pos == 0);
	CHECK(in.pos <= PROXYPROTO_MAX);
	/* A header that is too long never asks for more. */
	CHECK(rc != WIRE_MORE || size < PROXYPROTO_MAX);
	*ret_pos = in.pos;
	return rc;
}

static void check_addresses(const struct proxyproto *p)
{
	CHECK(p->version == 1 || p->version == 2);
	CHECK(p->local == (p->source.kind == ADDR_NONE));
	CHECK(p->source.kind == p->destination.kind);
	if (!p->local)
		CHECK((ip_own_classes(&p->source.ip) & (IP_UNSPECIFIED | IP_MULTICAST)) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct proxyproto p, whole;
	size_t pos, end;
	int rc = read_prefix(data, size, &whole, &end);

	if (rc == WIRE_DONE)
		check_addresses(&whole);
	for (size_t n = 0; n < size && n <= PROXYPROTO_MAX; n++) {
		int one = read_prefix(data, n, &p, &pos);

		/* What is said of some bytes is said of them with more behind. */
		CHECK(one == WIRE_MORE || one == rc);
		if (one == WIRE_DONE)
			CHECK(pos == end && ip_equal(&p.source.ip, &whole.source.ip));
		CHECK(rc != WIRE_DONE || (one == WIRE_DONE) == (n >= end));
	}
	return 0;
}
