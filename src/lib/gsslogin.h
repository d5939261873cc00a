/* SPDX-License-Identifier: MIT */
/* The client's side of one login by GSS-API, whose steps block and are jobs. */
#ifndef TABI_LIB_GSSLOGIN_H
#define TABI_LIB_GSSLOGIN_H

#include "lib/gssapi.h"
#include "lib/job.h"

struct gsslogin;

/* For `service` at `host`; `datagrams` as in gssapi_initiate(). NULL without memory. */
struct gsslogin *gsslogin_new(const char *service, const char *host, bool datagrams);
/* NULL is fine. */
void gsslogin_free(struct gsslogin *login);

/* Begins the next step, with the proxy's token. Returns 0, and then `login` is the job's until
 * gsslogin_take(), or -errno. */
int gsslogin_begin(struct gsslogin *login, struct job **ret_job, const void *token, size_t len);
struct gsslogin *gsslogin_take(struct job *job);

/* What came of the step: 1 or 0 with our token, as gssapi_initiate(); or TABI_E_GSS. */
int gsslogin_result(const struct gsslogin *login, const void **ret_token, size_t *ret_len);
/* After TABI_E_GSS: the library's sentence. */
const char *gsslogin_said(const struct gsslogin *login);

/* The context as it is; taken, it is the caller's. */
struct gss_ctx_id_struct *gsslogin_context(const struct gsslogin *login);
struct gss_ctx_id_struct *gsslogin_take_context(struct gsslogin *login);

#endif
