/* SPDX-License-Identifier: MIT */
/* A build without Kerberos: no statement that wants it loads. */
#include "server/auth/kdc.h"

#include <stdio.h>

#include "proto/err.h"

int kdc_client_new(struct kdc_client **ret_client, const struct policy_gss *gss, const void *keytab,
    size_t len, char *why, size_t size)
{
	(void)gss;
	(void)keytab;
	(void)len;
	*ret_client = NULL;
	snprintf(why, size, "cannot be used: this tabi was built without GSS-API");
	return ERR_MALFORMED;
}

struct kdc_client *kdc_client_ref(struct kdc_client *client)
{
	return client;
}

void kdc_client_unref(struct kdc_client *client)
{
	(void)client;
}

bool kdc_client_equal(const struct kdc_client *a, const struct kdc_client *b)
{
	return a == b;
}

int kdc_fetch(struct kdc_client *client, const char *service, const char *host,
    struct kdc_ticket **ret_ticket, char *why, size_t size)
{
	(void)client;
	(void)service;
	(void)host;
	*ret_ticket = NULL;
	snprintf(why, size, "built without GSS-API");
	return ERR_PROXY_AUTH;
}

void kdc_ticket_free(struct kdc_ticket *ticket)
{
	(void)ticket;
}

const char *kdc_ticket_cache(const struct kdc_ticket *ticket)
{
	(void)ticket;
	return NULL;
}

const char *kdc_ticket_principal(const struct kdc_ticket *ticket)
{
	(void)ticket;
	return NULL;
}

time_t kdc_ticket_end(const struct kdc_ticket *ticket)
{
	(void)ticket;
	return 0;
}
