/* SPDX-License-Identifier: MIT */
/* In place of tls.c in a build without TLS: no context, so no connection either. */
#include "net/tls.h"

#include <errno.h>

static int lacking(struct tls_context **ret_context, enum tls_part *ret_part, const char **ret_why)
{
	*ret_context = NULL;
	*ret_part = TLS_ITSELF;
	*ret_why = "this tabi was built without TLS";
	return -EOPNOTSUPP;
}

int tls_server_new(struct tls_context **ret_context, const struct tls_server_options *options,
    enum tls_part *ret_part, const char **ret_why)
{
	(void)options;
	return lacking(ret_context, ret_part, ret_why);
}

int tls_client_new(struct tls_context **ret_context, const struct tls_client_options *options,
    enum tls_part *ret_part, const char **ret_why)
{
	(void)options;
	return lacking(ret_context, ret_part, ret_why);
}

void tls_context_free(struct tls_context *context)
{
	(void)context;
}

struct layer *tls_accept(struct tls_context *context, const struct tls_start *start)
{
	(void)context;
	(void)start;
	return NULL;
}

struct layer *tls_connect(struct tls_context *context, const struct tls_start *start)
{
	(void)context;
	(void)start;
	return NULL;
}

int tls_handshake(struct layer *layer)
{
	(void)layer;
	return -EOPNOTSUPP;
}

const char *tls_user(const struct layer *layer)
{
	(void)layer;
	return NULL;
}

const char *tls_version(const struct layer *layer)
{
	(void)layer;
	return "none";
}
