/* SPDX-License-Identifier: MIT */
/* GSS-API in a build without it: no statement loads, so no login begins. */
#include "server/auth/gssapi.h"

#include <errno.h>
#include <stdio.h>

#include "proto/err.h"

const bool gssapi_built = false;

int gssapi_service_new(struct gssapi_service **ret_service, const struct policy_auth *auth,
    const void *keytab, size_t len, char *why, size_t size)
{
	(void)auth;
	(void)keytab;
	(void)len;
	*ret_service = NULL;
	snprintf(why, size, "cannot be used: this tabi was built without GSS-API");
	return ERR_MALFORMED;
}

void gssapi_service_free(struct gssapi_service *service)
{
	(void)service;
}

int gssapi_new(struct gssapi **ret_login)
{
	*ret_login = NULL;
	return -ENOTSUP;
}

void gssapi_free(struct gssapi *login)
{
	(void)login;
}

int gssapi_set_token(struct gssapi *login, const void *token, size_t len)
{
	(void)login;
	(void)token;
	(void)len;
	return -ENOTSUP;
}

int gssapi_step(struct gssapi *login, const struct gssapi_service *service)
{
	(void)login;
	(void)service;
	return ERR_AUTH;
}

int gssapi_refuse(struct gssapi *login, const char *why)
{
	(void)login;
	(void)why;
	return ERR_AUTH;
}

void gssapi_answer(const struct gssapi *login, struct accept_gss_answer *ret_answer)
{
	(void)login;
	*ret_answer = (struct accept_gss_answer){.outcome = ACCEPT_GSS_FAILED};
}

const char *gssapi_why(const struct gssapi *login)
{
	(void)login;
	return NULL;
}

struct gss_ctx_id_struct *gssapi_take_context(struct gssapi *login)
{
	(void)login;
	return NULL;
}
