/* SPDX-License-Identifier: MIT */
/* The certificates of a configuration's listeners: read, checked, and ready for connections. */
#ifndef TABI_SERVER_CERTS_H
#define TABI_SERVER_CERTS_H

#include "net/tls.h"
#include "policy/policy.h"
#include "server/texts.h"

/* One for each listener of the policy, NULL where no TLS is spoken. */
struct certs {
	struct tls_context **list; /* owned */
	size_t n;
};

/* A way to tell somebody what is wrong: called once for each mistake, with a text of one or more
 * lines. */
typedef void config_complain_fn(void *ctx, const char *text);

/*
 * Finds the files of every `listen ... tls` in `texts` (which reads them if it may), and checks
 * that they are what they should be and belong together. Every mistake goes to `complain`. A file
 * that does not exist or may not be read is told to `unread` instead, and is no mistake; where that
 * is NULL it is one. Returns 0 or a negative error; certs_free() either way.
 */
int certs_load(struct certs *certs, const struct policy *policy, struct texts *texts,
    config_complain_fn *complain, config_complain_fn *unread, void *ctx);

void certs_free(struct certs *certs);

#endif
