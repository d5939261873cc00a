/* SPDX-License-Identifier: MIT */
#include "lib/gssapi.h"

#include <stdio.h>

int gssapi_load(char said[static GSSAPI_SAID_MAX])
{
	snprintf(said, GSSAPI_SAID_MAX, "this libtabi was built without GSS-API");
	return TABI_E_GSS;
}

void gssapi_context_free(struct gss_ctx_id_struct *context)
{
	(void)context;
}

int gssapi_initiate(struct gss_ctx_id_struct **context, const char *service, bool datagrams,
    const void *token, size_t len, void *buf, size_t size, size_t *ret_len,
    char said[static GSSAPI_SAID_MAX])
{
	(void)context, (void)service, (void)datagrams, (void)token, (void)len;
	(void)buf, (void)size, (void)ret_len;
	return gssapi_load(said);
}

int gssapi_wrap(struct gss_ctx_id_struct *context, bool confidential, const void *data, size_t len,
    void *buf, size_t size, size_t *ret_len)
{
	(void)context, (void)confidential, (void)data, (void)len, (void)buf, (void)size;
	*ret_len = 0;
	return TABI_E_GSS;
}

int gssapi_unwrap(struct gss_ctx_id_struct *context, bool confidential, bool datagram,
    const void *token, size_t len, void *buf, size_t size, size_t *ret_len)
{
	(void)datagram;
	return gssapi_wrap(context, confidential, token, len, buf, size, ret_len);
}

size_t gssapi_wrap_limit(struct gss_ctx_id_struct *context, bool confidential)
{
	(void)context, (void)confidential;
	return 0;
}
