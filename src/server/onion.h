/* SPDX-License-Identifier: MIT */
/* Names of Tor's onion services: no name server knows them, and they carry a checksum. */
#ifndef TABI_SERVER_ONION_H
#define TABI_SERVER_ONION_H

#include <stdbool.h>
#include <stddef.h>

/*
 * Is it a name below .onion that cannot be one: not the 56 letters of a version 3 address (of which
 * there may be names below), another version, or a wrong checksum (Tor's rend-spec-v3, section 6)?
 * `name` in canonical form. Where the checksum cannot be computed it counts as right.
 */
bool onion_is_bad(const char *name, size_t len);

#endif
