/* SPDX-License-Identifier: MIT */
/* GSS-API's layer in a build without it: nobody has a context to make one of. */
#include "net/gss.h"

#include <errno.h>
#include <stdio.h>

bool gss_is_there(void)
{
	return false;
}

void gss_context_free(struct gss_ctx_id_struct *context)
{
	(void)context;
}

int gss_message_wrap(struct gss_ctx_id_struct *context, bool confidential, const void *data,
    size_t len, uint8_t *buf, size_t size, size_t *ret_len)
{
	(void)context;
	(void)confidential;
	(void)data;
	(void)len;
	(void)buf;
	(void)size;
	(void)ret_len;
	return -ENOTSUP;
}

int gss_message_unwrap(struct gss_ctx_id_struct *context, bool confidential, const void *data,
    size_t len, uint8_t *buf, size_t size, size_t *ret_len)
{
	return gss_message_wrap(context, confidential, data, len, buf, size, ret_len);
}

int gss_initiate(struct gss_ctx_id_struct **context, const char *service, const char *cache,
    bool datagrams, const void *token, size_t len, uint8_t *buf, size_t size, size_t *ret_len,
    char *why, size_t why_size)
{
	(void)context;
	(void)service;
	(void)cache;
	(void)datagrams;
	(void)token;
	(void)len;
	(void)buf;
	(void)size;
	(void)ret_len;
	snprintf(why, why_size, "built without GSS-API");
	return -ENOTSUP;
}

int gss_layer_new(struct layer **ret_layer, int fd, struct layer *below,
    struct gss_ctx_id_struct *context, bool confidential, const void *early, size_t n)
{
	(void)ret_layer;
	(void)fd;
	(void)below;
	(void)context;
	(void)confidential;
	(void)early;
	(void)n;
	return -ENOTSUP;
}

bool gss_layer_is(const struct layer *layer)
{
	(void)layer;
	return false;
}

int gss_datagram_wrap(
    struct layer *layer, const void *data, size_t len, uint8_t *buf, size_t size, size_t *ret_len)
{
	(void)layer;
	return gss_message_wrap(NULL, false, data, len, buf, size, ret_len);
}

int gss_datagram_unwrap(
    struct layer *layer, const void *data, size_t len, uint8_t *buf, size_t size, size_t *ret_len)
{
	(void)layer;
	return gss_message_wrap(NULL, false, data, len, buf, size, ret_len);
}
