/* SPDX-License-Identifier: MIT */
#include "server/auth/kdc.h"

#include <errno.h>
#include <krb5.h>
#include <openssl/evp.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proto/err.h"
#include "server/auth/kerberos.h"
#include "server/auth/keytab.h"

#define DIGEST_SIZE 32

struct kdc_client {
	atomic_uint refs;
	krb5_context krb5; /* of whoever makes it and ends it; threads have their own */
	krb5_keytab keytab;
	char *principal;                   /* the library's; NULL where there is a cache */
	char *cache;                       /* its name, or NULL: the library's default */
	unsigned char digest[DIGEST_SIZE]; /* of the keytab's bytes */
};

struct kdc_ticket {
	krb5_context krb5;
	krb5_ccache cache;
	char *name, *principal; /* the library's */
	time_t end;
};

/* ---- who we are ---- */

struct reading {
	struct kdc_client *client;
	krb5_principal principal; /* NULL: the first one that there is */
	size_t n_keys;
};

static int add_key(void *ctx, const struct keytab_entry *e)
{
	struct reading *r = ctx;
	krb5_context krb5 = r->client->krb5;
	struct kerberos_key key;

	kerberos_key_of(e, &key);
	if (!r->principal && krb5_copy_principal(krb5, &key.principal, &r->principal))
		return -ENOMEM;
	if (!krb5_principal_compare(krb5, &key.principal, r->principal))
		return 0;
	r->n_keys++;
	return krb5_kt_add_entry(krb5, r->client->keytab, &key.entry) ? -ENOMEM : 0;
}

static int read_keytab(
    struct kdc_client *c, const char *principal, const void *data, size_t len, const char **ret_why)
{
	static atomic_uint counter;
	struct reading r = {.client = c};
	char name[40];
	int err;

	/* Several may be open at once: on reload, the old one and the new. */
	snprintf(name, sizeof(name), "MEMORY:tabi-client-%u", atomic_fetch_add(&counter, 1));
	if (krb5_kt_resolve(c->krb5, name, &c->keytab) ||
	    !EVP_Digest(data, len, c->digest, NULL, EVP_sha256(), NULL))
		return -ENOMEM;
	if (principal && krb5_parse_name(c->krb5, principal, &r.principal)) {
		*ret_why = "cannot be used: the principal is none, or there is no default realm";
		return ERR_MALFORMED;
	}
	err = keytab_read(data, len, add_key, &r, ret_why);
	if (!err && r.n_keys == 0) {
		*ret_why = principal ? "holds no key of that principal" : "holds no keys";
		err = ERR_MALFORMED;
	}
	if (!err && krb5_unparse_name(c->krb5, r.principal, &c->principal))
		err = -ENOMEM;
	krb5_free_principal(c->krb5, r.principal);
	return err;
}

static int fill(struct kdc_client *c, const struct policy_gss *gss, const void *keytab, size_t len,
    const char **ret_why)
{
	if (krb5_init_context(&c->krb5)) {
		c->krb5 = NULL;
		*ret_why = "cannot be used: the system's Kerberos configuration has mistakes";
		return ERR_MALFORMED;
	}
	if (gss->keytab)
		return read_keytab(c, gss->principal, keytab, len, ret_why);
	if (strcmp(gss->cache, POLICY_GSS_CACHE_DEFAULT) == 0)
		return 0;
	c->cache = strdup(gss->cache);
	return c->cache ? 0 : -ENOMEM;
}

int kdc_client_new(struct kdc_client **ret_client, const struct policy_gss *gss, const void *keytab,
    size_t len, char *why, size_t size)
{
	struct kdc_client *c = calloc(1, sizeof(*c));
	const char *text = NULL;
	int err = -ENOMEM;

	if (c) {
		atomic_init(&c->refs, 1);
		err = fill(c, gss, keytab, len, &text);
	}
	if (!err) {
		*ret_client = c;
		return 0;
	}
	snprintf(why, size, "%s", text ? text : strerror(ENOMEM));
	kdc_client_unref(c);
	return err;
}

struct kdc_client *kdc_client_ref(struct kdc_client *c)
{
	atomic_fetch_add(&c->refs, 1);
	return c;
}

void kdc_client_unref(struct kdc_client *c)
{
	if (!c || atomic_fetch_sub(&c->refs, 1) > 1)
		return;
	if (c->krb5)
		krb5_free_unparsed_name(c->krb5, c->principal);
	if (c->keytab)
		krb5_kt_close(c->krb5, c->keytab);
	krb5_free_context(c->krb5);
	free(c->cache);
	free(c);
}

static bool same_text(const char *a, const char *b)
{
	return a && b ? strcmp(a, b) == 0 : a == b;
}

bool kdc_client_equal(const struct kdc_client *a, const struct kdc_client *b)
{
	return same_text(a->principal, b->principal) && same_text(a->cache, b->cache) &&
	       memcmp(a->digest, b->digest, sizeof(a->digest)) == 0;
}

/* ---- a ticket, on a thread ---- */

/* What is under way. */
struct asking {
	krb5_context krb5;
	krb5_principal me;
	krb5_ccache from; /* where our ticket for tickets is */
	bool own;         /* it is ours alone, and goes with this */
};

static krb5_error_code log_in(struct asking *a, struct kdc_client *client)
{
	krb5_get_init_creds_opt *options = NULL;
	krb5_creds creds = {0};
	krb5_error_code code = krb5_parse_name(a->krb5, client->principal, &a->me);

	if (!code)
		code = krb5_get_init_creds_opt_alloc(a->krb5, &options);
	if (code)
		return code;
	krb5_get_init_creds_opt_set_forwardable(options, 0);
	krb5_get_init_creds_opt_set_proxiable(options, 0);
	code = krb5_get_init_creds_keytab(a->krb5, &creds, a->me, client->keytab, 0, NULL, options);
	krb5_get_init_creds_opt_free(a->krb5, options);
	if (code)
		return code;
	code = krb5_cc_new_unique(a->krb5, "MEMORY", NULL, &a->from);
	a->own = !code;
	if (!code)
		code = krb5_cc_initialize(a->krb5, a->from, a->me);
	if (!code)
		code = krb5_cc_store_cred(a->krb5, a->from, &creds);
	krb5_free_cred_contents(a->krb5, &creds);
	return code;
}

static krb5_error_code open_cache(struct asking *a, const char *name)
{
	krb5_error_code code =
	    name ? krb5_cc_resolve(a->krb5, name, &a->from) : krb5_cc_default(a->krb5, &a->from);

	return code ? code : krb5_cc_get_principal(a->krb5, a->from, &a->me);
}

/* Not kept where it came from: that may be a file of somebody else's. */
static krb5_error_code ask(
    struct asking *a, const char *service, const char *host, krb5_creds **ret_creds)
{
	krb5_creds in = {.client = a->me};
	krb5_error_code code =
	    krb5_sname_to_principal(a->krb5, host, service, KRB5_NT_SRV_HST, &in.server);

	if (code)
		return code;
	code = krb5_get_credentials(a->krb5, KRB5_GC_NO_STORE, a->from, &in, ret_creds);
	krb5_free_principal(a->krb5, in.server);
	return code;
}

static krb5_error_code keep(struct kdc_ticket *t, krb5_principal me, krb5_creds *creds)
{
	krb5_error_code code = krb5_cc_new_unique(t->krb5, "MEMORY", NULL, &t->cache);

	if (!code)
		code = krb5_cc_initialize(t->krb5, t->cache, me);
	if (!code)
		code = krb5_cc_store_cred(t->krb5, t->cache, creds);
	if (!code)
		code = krb5_cc_get_full_name(t->krb5, t->cache, &t->name);
	if (!code)
		code = krb5_unparse_name(t->krb5, creds->server, &t->principal);
	/* It has 32 bits, and no sign in earnest. */
	t->end = (time_t)(uint32_t)creds->times.endtime;
	return code;
}

static void end_asking(struct asking *a)
{
	krb5_free_principal(a->krb5, a->me);
	if (a->from && a->own)
		krb5_cc_destroy(a->krb5, a->from);
	else if (a->from)
		krb5_cc_close(a->krb5, a->from);
}

static krb5_error_code fetch(
    struct kdc_client *client, const char *service, const char *host, struct kdc_ticket *t)
{
	struct asking a = {.krb5 = t->krb5};
	krb5_creds *creds = NULL;
	krb5_error_code code =
	    client->principal ? log_in(&a, client) : open_cache(&a, client->cache);

	if (!code)
		code = ask(&a, service, host, &creds);
	if (!code)
		code = keep(t, a.me, creds);
	if (creds)
		krb5_free_creds(a.krb5, creds);
	end_asking(&a);
	return code;
}

int kdc_fetch(struct kdc_client *client, const char *service, const char *host,
    struct kdc_ticket **ret_ticket, char *why, size_t size)
{
	struct kdc_ticket *t = calloc(1, sizeof(*t));
	krb5_error_code code;

	if (!t || krb5_init_context(&t->krb5)) {
		snprintf(why, size, "%s",
		    t ? "the system's Kerberos configuration has mistakes" : strerror(ENOMEM));
		free(t);
		return ERR_PROXY_AUTH;
	}
	code = fetch(client, service, host, t);
	if (!code) {
		*ret_ticket = t;
		return 0;
	}
	kerberos_explain(t->krb5, code, why, size);
	kdc_ticket_free(t);
	return ERR_PROXY_AUTH;
}

void kdc_ticket_free(struct kdc_ticket *t)
{
	if (!t)
		return;
	if (t->cache)
		krb5_cc_destroy(t->krb5, t->cache);
	if (t->name)
		krb5_free_string(t->krb5, t->name);
	krb5_free_unparsed_name(t->krb5, t->principal);
	krb5_free_context(t->krb5);
	free(t);
}

const char *kdc_ticket_cache(const struct kdc_ticket *t)
{
	return t->name;
}

const char *kdc_ticket_principal(const struct kdc_ticket *t)
{
	return t->principal;
}

time_t kdc_ticket_end(const struct kdc_ticket *t)
{
	return t->end;
}
