/* SPDX-License-Identifier: MIT */
#include "server/auth/kerberos.h"

#include <stdint.h>
#include <stdio.h>

/* libkrb5 wants what it only reads to be writable. */
static krb5_data data_of(const struct keytab_part *part)
{
	return (krb5_data){.length = part->len, .data = (char *)(uintptr_t)part->data};
}

void kerberos_key_of(const struct keytab_entry *e, struct kerberos_key *key)
{
	for (uint16_t i = 0; i < e->n_components; i++)
		key->components[i] = data_of(&e->components[i]);
	key->principal = (krb5_principal_data){
	    .realm = data_of(&e->realm),
	    .data = key->components,
	    .length = e->n_components,
	    .type = (krb5_int32)e->name_type,
	};
	key->entry = (krb5_keytab_entry){
	    .principal = &key->principal,
	    .timestamp = (krb5_timestamp)e->timestamp,
	    .vno = e->version,
	    .key = {.enctype = e->enctype,
		.length = e->key.len,
		.contents = (krb5_octet *)(uintptr_t)e->key.data},
	};
}

void kerberos_explain(krb5_context krb5, krb5_error_code code, char *why, size_t size)
{
	const char *text = krb5_get_error_message(krb5, code);

	snprintf(why, size, "%s", text);
	krb5_free_error_message(krb5, text);
}
