/* SPDX-License-Identifier: MIT */
/*
 * GSS-API's side of a login (RFC 1961): who holds this ticket?
 *
 * Theory of operation. A service is what an `auth gssapi` statement says: keys, held in memory, for
 * workers read no files. A login (struct gssapi) is fed the client's tokens, each on the thread
 * pool by way of server/auth/auth.h, and ends with a name and a context, from which net/gss makes a
 * layer. Only Kerberos is spoken.
 *
 * There is no replay cache, and none is needed: contexts are accepted only where the client asked
 * for mutual authentication and the key's encryption is of RFC 4121's kind, so that our answer
 * brings a fresh key. Whoever repeats what he recorded cannot make the next message of it, which is
 * the level of protection. NEC's form of that is not protected; with it and `clear` a recorded
 * login could be repeated while its ticket's authenticator is fresh (tabi.conf(5) says so).
 */
#ifndef TABI_SERVER_AUTH_GSSAPI_H
#define TABI_SERVER_AUTH_GSSAPI_H

#include <stdbool.h>
#include <stddef.h>

#include "policy/policy.h"
#include "proto/accept.h"

/* Is GSS-API in this build? Without it no service can be made. */
extern const bool gssapi_built;

struct gss_ctx_id_struct; /* gss_ctx_id_t points to one */

/* The keys of one statement. Threads may use it at once. */
struct gssapi_service;

/*
 * From the bytes of the keytab that `auth` names. Returns 0, -ENOMEM, or another error with a
 * sentence that says what is wrong with the file (in `why`, which holds `size` bytes).
 */
int gssapi_service_new(struct gssapi_service **ret_service, const struct policy_auth *auth,
    const void *keytab, size_t len, char *why, size_t size);
/* NULL is fine. */
void gssapi_service_free(struct gssapi_service *service);

/* One login. */
struct gssapi;

/* Returns 0 or -ENOMEM. */
int gssapi_new(struct gssapi **ret_login);
/* NULL is fine. */
void gssapi_free(struct gssapi *login);

/* The client's next token, which is copied. Returns 0 or -ENOMEM. */
int gssapi_set_token(struct gssapi *login, const void *token, size_t len);

/* What to make of it; may read the system's Kerberos configuration, so it is for the thread pool.
 * Returns 0, or ERR_AUTH where the client is not who he says. */
int gssapi_step(struct gssapi *login, const struct gssapi_service *service);

/* After a step: it is refused all the same, for that reason. Returns ERR_AUTH. */
int gssapi_refuse(struct gssapi *login, const char *why);

/* After a step: for proto/accept. Pointers lead into the login, until its next step. */
void gssapi_answer(const struct gssapi *login, struct accept_gss_answer *ret_answer);

/* After a step that failed: why, for the log. May hold bytes of the client's. */
const char *gssapi_why(const struct gssapi *login);

/* The context that stands, which becomes the caller's. */
struct gss_ctx_id_struct *gssapi_take_context(struct gssapi *login);

#endif
