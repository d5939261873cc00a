/* SPDX-License-Identifier: MIT */
/* RFC 1413: asking a host whose connection this is. Only the asking side. */
#ifndef TABI_PROTO_IDENT_H
#define TABI_PROTO_IDENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/wire.h"

#define IDENT_PORT 113
/* Bytes without an end of line after which to give up (RFC 1413 section 6 suggests it). */
#define IDENT_LINE_MAX 1000
/* Longest query. */
#define IDENT_QUERY_MAX 16

/* One connection, as the asked host sees it: its own port and ours. */
struct ident_ports {
	uint16_t theirs, ours;
};

void ident_write_query(struct wire_writer *out, const struct ident_ports *ports);

/*
 * Reads the one line of the answer, which ends with LF or CR LF. With WIRE_DONE `*ret_user` (bytes
 * of the cursor) is the user, without the white space in front of it: the RFC counts that as his
 * name, servers send it for looks. Otherwise WIRE_MORE, ERR_TOO_LONG, ERR_MALFORMED for what is no
 * answer about these ports, or ERR_NO_IDENTD where the host knows nobody or will not say.
 */
int ident_read_answer(struct wire_reader *in, const struct ident_ports *ports,
    const uint8_t **ret_user, size_t *ret_len);

#endif
