/* SPDX-License-Identifier: MIT */
/* What the files of the server handshake share: accept.c drives, accept_gss.c knows RFC 1961. */
#ifndef TABI_PROTO_ACCEPT_INT_H
#define TABI_PROTO_ACCEPT_INT_H

#include "proto/accept.h"

/* Writes the refusal that belongs to the state, and ends. */
void accept_refuse(struct accept *a, int err, struct wire_writer *out);

/* A copy with a NUL behind it, for those who print it. */
void accept_keep_bytes(
    char to[static ACCEPT_CREDENTIAL_MAX + 1], uint8_t *ret_len, const uint8_t *from, uint8_t len);

/* Steps, as the static ones of accept.c: WIRE_DONE, WIRE_MORE, or the error to end with. */
int accept_gss_step(struct accept *a, struct wire_reader *in);

#endif
