/* SPDX-License-Identifier: MIT */
#include "lib/gsslogin.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proto/gss.h"

struct gsslogin {
	struct gss_ctx_id_struct *context;
	char service[400]; /* SERVICE@HOST */
	bool datagrams;
	int result; /* of gssapi_initiate() */
	char said[GSSAPI_SAID_MAX];
	size_t theirs_len, ours_len;
	unsigned char theirs[GSS_TOKEN_MAX], ours[GSS_TOKEN_MAX];
};

struct gsslogin *gsslogin_new(const char *service, const char *host, bool datagrams)
{
	struct gsslogin *l = calloc(1, sizeof(*l));

	if (!l)
		return NULL;
	snprintf(l->service, sizeof(l->service), "%.99s@%s", service, host);
	l->datagrams = datagrams;
	return l;
}

void gsslogin_free(struct gsslogin *l)
{
	if (!l)
		return;
	gssapi_context_free(l->context);
	explicit_bzero(l, sizeof(*l));
	free(l);
}

static void drop(void *ctx)
{
	gsslogin_free(ctx);
}

/* On a thread. */
static void initiate(void *ctx)
{
	struct gsslogin *l = ctx;

	l->result = gssapi_initiate(&l->context, l->service, l->datagrams, l->theirs, l->theirs_len,
	    l->ours, sizeof(l->ours), &l->ours_len, l->said);
}

int gsslogin_begin(struct gsslogin *l, struct job **ret_job, const void *token, size_t len)
{
	if (len > sizeof(l->theirs))
		return -EMSGSIZE;
	if (len > 0)
		memcpy(l->theirs, token, len);
	l->theirs_len = len;
	return job_start(ret_job, initiate, drop, l);
}

struct gsslogin *gsslogin_take(struct job *job)
{
	return job_take(job);
}

int gsslogin_result(const struct gsslogin *l, const void **ret_token, size_t *ret_len)
{
	*ret_token = l->ours;
	*ret_len = l->ours_len;
	return l->result;
}

const char *gsslogin_said(const struct gsslogin *l)
{
	return l->said;
}

struct gss_ctx_id_struct *gsslogin_context(const struct gsslogin *l)
{
	return l->context;
}

struct gss_ctx_id_struct *gsslogin_take_context(struct gsslogin *l)
{
	struct gss_ctx_id_struct *context = l->context;

	l->context = NULL;
	return context;
}
