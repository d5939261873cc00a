/* SPDX-License-Identifier: MIT */
/* Fuzzes proto/ident: the input is what a client's host sends. */
#include "fuzz.h"

#include <string.h>

#include "proto/err.h"
#include "proto/ident.h"

static const struct ident_ports ports = {.theirs = 6193, .ours = 23};

static int read_first(const uint8_t *data, size_t len, const uint8_t **user, size_t *n, size_t *pos)
{
	struct wire_reader in = wire_reader_of(data, len);
	int rc = ident_read_answer(&in, &ports, user, n);

	CHECK(!in.failed && in.pos <= len);
	CHECK(rc == WIRE_DONE || in.pos == 0);
	*pos = in.pos;
	return rc;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const uint8_t *user = NULL, *early_user;
	size_t n = 0, pos = 0, early_n, early_pos;
	int rc = read_first(data, size, &user, &n, &pos);

	CHECK(rc == WIRE_DONE || rc == WIRE_MORE || rc == ERR_MALFORMED || rc == ERR_TOO_LONG ||
	      rc == ERR_NO_IDENTD);
	if (rc == WIRE_DONE) {
		CHECK(n > 0 && n < IDENT_LINE_MAX && pos <= IDENT_LINE_MAX);
		CHECK(user >= data && user + n < data + pos && data[pos - 1] == '\n');
		CHECK(!memchr(user, '\0', n) && !memchr(user, '\n', n) && !memchr(user, '\r', n));
		CHECK(user[0] != ' ' && user[0] != '\t');
	}
	/* In pieces: more is wanted, and then the same. */
	for (size_t len = 0; len < size; len += 1 + size / 64) {
		int early = read_first(data, len, &early_user, &early_n, &early_pos);

		CHECK(early == WIRE_MORE || early == rc);
		CHECK(
		    early != WIRE_DONE || (early_user == user && early_n == n && early_pos == pos));
	}
	return 0;
}
