/* SPDX-License-Identifier: MIT */
/* The bytes of a keytab file (format 0x502 of MIT krb5, which Heimdal and Samba write too). */
#ifndef TABI_SERVER_AUTH_KEYTAB_H
#define TABI_SERVER_AUTH_KEYTAB_H

#include <stddef.h>
#include <stdint.h>

/* Names in Kerberos have one or two components, and never many. */
#define KEYTAB_COMPONENTS_MAX 8

struct keytab_part {
	const uint8_t *data; /* leads into the file's bytes */
	uint16_t len;
};

/* One key of one principal. */
struct keytab_entry {
	struct keytab_part realm, components[KEYTAB_COMPONENTS_MAX];
	uint16_t n_components;
	uint32_t name_type, timestamp, version;
	uint16_t enctype; /* RFC 3961's number */
	struct keytab_part key;
};

/* Called for each entry; returns 0, or an error that ends the reading. */
typedef int keytab_fn(void *ctx, const struct keytab_entry *entry);

/* Returns 0, ERR_MALFORMED with a sentence about it (no part of the file: it holds keys), or what
 * `fn` returned. */
int keytab_read(const void *data, size_t len, keytab_fn *fn, void *ctx, const char **ret_why);

#endif
