/* SPDX-License-Identifier: MIT */
/* The keytabs of a configuration: read, checked, and ready for logins. */
#ifndef TABI_SERVER_KEYTABS_H
#define TABI_SERVER_KEYTABS_H

#include "server/auth/gssapi.h"
#include "server/certs.h"
#include "server/texts.h"

/* One for each `auth` of the policy, NULL where it is not `gssapi`. */
struct keytabs {
	struct gssapi_service **services; /* owned */
	size_t n;
};

/* As certs_load(), for the file of every `auth gssapi`. keytabs_free() either way. */
int keytabs_load(struct keytabs *keytabs, const struct policy *policy, struct texts *texts,
    config_complain_fn *complain, config_complain_fn *unread, void *ctx);

void keytabs_free(struct keytabs *keytabs);

#endif
