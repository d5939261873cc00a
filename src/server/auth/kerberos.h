/* SPDX-License-Identifier: MIT */
/* An entry of a keytab in the terms of libkrb5. Not in a build without it. */
#ifndef TABI_SERVER_AUTH_KERBEROS_H
#define TABI_SERVER_AUTH_KERBEROS_H

#include <krb5.h>

#include "server/auth/keytab.h"

/* Leads into itself and into the keytab's bytes: not to be copied, and libkrb5 only reads it. */
struct kerberos_key {
	krb5_data components[KEYTAB_COMPONENTS_MAX];
	krb5_principal_data principal;
	krb5_keytab_entry entry;
};

void kerberos_key_of(const struct keytab_entry *e, struct kerberos_key *ret_key);

/* What libkrb5 says of an error, as text in `why`. */
void kerberos_explain(krb5_context krb5, krb5_error_code code, char *why, size_t size);

#endif
