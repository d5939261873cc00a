/* SPDX-License-Identifier: MIT */
/* The client's side of RFC 1961: the part of proto/connect that waits for the proxy's frames. */
#ifndef TABI_PROTO_CONNECT_GSS_H
#define TABI_PROTO_CONNECT_GSS_H

#include "proto/connect.h"

/* At CONNECT_AT_GSS_CONTEXT and CONNECT_AT_GSS_LEVEL: WIRE_DONE, WIRE_MORE (`want` is set), or the
 * error to fail with. */
int connect_gss_step(struct connect *c, struct wire_reader *in);

#endif
