/* SPDX-License-Identifier: MIT */
#include "server/auth/gssapi.h"

#include <errno.h>
#include <gssapi/gssapi_ext.h>
#include <gssapi/gssapi_krb5.h>
#include <krb5.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proto/err.h"
#include "server/auth/kerberos.h"
#include "server/auth/keytab.h"

const bool gssapi_built = true;

struct gssapi_service {
	krb5_context krb5;
	krb5_keytab keytab; /* in memory, by a name of its own; lives while it is open */
	gss_cred_id_t cred;
	const char *service, *realm; /* borrowed from the policy, or NULL */
	size_t n_entries, n_keys;    /* seen, and taken */
};

struct gssapi {
	gss_ctx_id_t context;
	gss_buffer_desc in;  /* owned, malloc'ed */
	gss_buffer_desc out; /* the library's */
	OM_uint32 flags;
	bool stands;
	size_t user_len;
	char user[ACCEPT_CREDENTIAL_MAX + 1];
	char why[256];
};

/* ---- the keys ---- */

/*
 * Those of RFC 4121 whose acceptor answers with a fresh key: AES (RFC 3962, RFC 8009) and Camellia
 * (RFC 6803). What DES and RC4 protect is protected no more, and could be repeated.
 */
static bool is_modern(unsigned enctype)
{
	return (enctype >= 17 && enctype <= 20) || enctype == 25 || enctype == 26;
}

static bool is_of_service(const struct gssapi_service *service, const struct keytab_entry *e)
{
	const struct keytab_part *first = &e->components[0];

	return !service->service || (first->len == strlen(service->service) &&
					memcmp(first->data, service->service, first->len) == 0);
}

static int add_key(void *ctx, const struct keytab_entry *e)
{
	struct gssapi_service *service = ctx;
	struct kerberos_key key;

	service->n_entries++;
	if (!is_modern(e->enctype) || !is_of_service(service, e))
		return 0;
	kerberos_key_of(e, &key);
	service->n_keys++;
	return krb5_kt_add_entry(service->krb5, service->keytab, &key.entry) ? -ENOMEM : 0;
}

static int acquire(struct gssapi_service *service, const char *name)
{
	gss_key_value_element_desc elements[] = {
	    {.key = "keytab", .value = name},
	    /* No file: see "Theory of operation". */
	    {.key = "rcache", .value = "none:"},
	};
	gss_key_value_set_desc store = {.count = 2, .elements = elements};
	gss_OID_set_desc krb5 = {.count = 1, .elements = gss_mech_krb5};
	OM_uint32 minor;

	return GSS_ERROR(gss_acquire_cred_from(&minor, GSS_C_NO_NAME, GSS_C_INDEFINITE, &krb5,
		   GSS_C_ACCEPT, &store, &service->cred, NULL, NULL))
		   ? ERR_MALFORMED
		   : 0;
}

static const char *wrong_with_keys(const struct gssapi_service *service)
{
	if (service->n_entries == 0)
		return "holds no keys";
	if (service->n_keys > 0)
		return NULL;
	return service->service
		   ? "holds no key of that service whose encryption type is AES or Camellia"
		   : "holds no key whose encryption type is AES or Camellia";
}

static int fill(struct gssapi_service *service, const void *data, size_t len, const char **ret_why)
{
	static atomic_uint counter;
	char name[40];
	int err;

	/* Several may be open at once: on reload, the old one and the new. */
	snprintf(name, sizeof(name), "MEMORY:tabi-%u", atomic_fetch_add(&counter, 1));
	if (krb5_init_context(&service->krb5)) {
		*ret_why = "cannot be used: the system's Kerberos configuration has mistakes";
		return ERR_MALFORMED;
	}
	if (krb5_kt_resolve(service->krb5, name, &service->keytab))
		return -ENOMEM;
	err = keytab_read(data, len, add_key, service, ret_why);
	if (!err) {
		*ret_why = wrong_with_keys(service);
		err = *ret_why ? ERR_MALFORMED : 0;
	}
	if (!err && acquire(service, name)) {
		*ret_why = "cannot be used by GSS-API";
		err = ERR_MALFORMED;
	}
	return err;
}

int gssapi_service_new(struct gssapi_service **ret_service, const struct policy_auth *auth,
    const void *keytab, size_t len, char *why, size_t size)
{
	struct gssapi_service *service = calloc(1, sizeof(*service));
	const char *text = NULL;
	int err;

	if (!service)
		return -ENOMEM;
	service->service = auth->gss_service;
	service->realm = auth->realm;
	err = fill(service, keytab, len, &text);
	if (err) {
		snprintf(why, size, "%s", text ? text : strerror(ENOMEM));
		gssapi_service_free(service);
		return err;
	}
	*ret_service = service;
	return 0;
}

void gssapi_service_free(struct gssapi_service *service)
{
	OM_uint32 minor;

	if (!service)
		return;
	if (service->cred != GSS_C_NO_CREDENTIAL)
		gss_release_cred(&minor, &service->cred);
	if (service->keytab)
		krb5_kt_close(service->krb5, service->keytab);
	krb5_free_context(service->krb5);
	free(service);
}

/* ---- a login ---- */

int gssapi_new(struct gssapi **ret_login)
{
	*ret_login = calloc(1, sizeof(**ret_login));
	return *ret_login ? 0 : -ENOMEM;
}

static void forget_token(struct gssapi *login)
{
	free(login->in.value);
	login->in = (gss_buffer_desc){0};
}

void gssapi_free(struct gssapi *login)
{
	OM_uint32 minor;

	if (!login)
		return;
	forget_token(login);
	gss_release_buffer(&minor, &login->out);
	if (login->context != GSS_C_NO_CONTEXT)
		gss_delete_sec_context(&minor, &login->context, GSS_C_NO_BUFFER);
	free(login);
}

int gssapi_set_token(struct gssapi *login, const void *token, size_t len)
{
	forget_token(login);
	login->in.value = malloc(len);
	if (!login->in.value)
		return -ENOMEM;
	memcpy(login->in.value, token, len);
	login->in.length = len;
	return 0;
}

int gssapi_refuse(struct gssapi *login, const char *why)
{
	snprintf(login->why, sizeof(login->why), "%s", why);
	login->stands = false;
	return ERR_AUTH;
}

/* In the library's words: the mechanism's code says more, where there is one. */
static int fail_as(struct gssapi *login, OM_uint32 major, OM_uint32 minor)
{
	gss_buffer_desc text = GSS_C_EMPTY_BUFFER;
	OM_uint32 ignored, context = 0;

	if (GSS_ERROR(gss_display_status(&ignored, minor ? minor : major,
		minor ? GSS_C_MECH_CODE : GSS_C_GSS_CODE, gss_mech_krb5, &context, &text)))
		return gssapi_refuse(login, "not accepted");
	snprintf(login->why, sizeof(login->why), "%.*s", (int)text.length, (char *)text.value);
	gss_release_buffer(&ignored, &text);
	return ERR_AUTH;
}

/*
 * The name without its realm where the statement says that it is ours; of all others the whole, so
 * that nobody else's alice is ours. A name that needs escapes is left as it is: what looks like our
 * realm may then be part of another.
 */
static size_t without_realm(const char *name, size_t len, const char *realm)
{
	size_t n = realm ? strlen(realm) : 0;

	if (n == 0 || len <= n + 1 || name[len - n - 1] != '@' ||
	    memcmp(name + len - n, realm, n) != 0 || memchr(name, '\\', len))
		return len;
	return len - n - 1;
}

/* RFC 8062: whoever may stay unknown has proved nothing. With the realm of the KDC that said so, or
 * with one for all. */
static bool is_anonymous(const gss_buffer_desc *name)
{
	static const char anonymous[] = "WELLKNOWN/ANONYMOUS@";

	return name->length >= sizeof(anonymous) - 1 &&
	       memcmp(name->value, anonymous, sizeof(anonymous) - 1) == 0;
}

static int note_user(struct gssapi *login, gss_name_t name, const char *realm)
{
	gss_buffer_desc text = GSS_C_EMPTY_BUFFER;
	OM_uint32 major, minor;
	int err = 0;

	major = gss_display_name(&minor, name, &text, NULL);
	if (GSS_ERROR(major))
		return fail_as(login, major, minor);
	login->user_len = without_realm(text.value, text.length, realm);
	if (is_anonymous(&text))
		err = gssapi_refuse(login, "the client is anonymous");
	else if (login->user_len == 0 || login->user_len > ACCEPT_CREDENTIAL_MAX ||
		 memchr(text.value, '\0', text.length))
		err = gssapi_refuse(
		    login, "a principal that cannot be a user: too long, or with a NUL");
	else
		memcpy(login->user, text.value, login->user_len);
	gss_release_buffer(&minor, &text);
	return err;
}

/* Is the session key of RFC 4121's kind? The second object is an OID that ends in its type. */
static bool has_modern_key(struct gssapi *login)
{
	gss_buffer_set_t set = GSS_C_NO_BUFFER_SET;
	OM_uint32 minor;
	bool modern = false;

	if (GSS_ERROR(gss_inquire_sec_context_by_oid(
		&minor, login->context, GSS_C_INQ_SSPI_SESSION_KEY, &set)))
		return false;
	if (set->count == 2 && set->elements[1].length > 0) {
		const uint8_t *oid = set->elements[1].value;

		modern = is_modern(oid[set->elements[1].length - 1]);
	}
	if (set->count > 0)
		explicit_bzero(set->elements[0].value, set->elements[0].length);
	gss_release_buffer_set(&minor, &set);
	return modern;
}

static int judge(struct gssapi *login, gss_name_t name, const char *realm)
{
	if (!(login->flags & GSS_C_MUTUAL_FLAG))
		return gssapi_refuse(login, "the client did not ask for mutual authentication");
	if (!(login->flags & GSS_C_REPLAY_FLAG) || !(login->flags & GSS_C_INTEG_FLAG))
		return gssapi_refuse(login, "the client did not ask for replay detection");
	if (!has_modern_key(login))
		return gssapi_refuse(login, "the session key is of an old encryption type");
	return note_user(login, name, realm);
}

int gssapi_step(struct gssapi *login, const struct gssapi_service *service)
{
	gss_name_t name = GSS_C_NO_NAME;
	OM_uint32 major, minor, ignored;
	int err = 0;

	gss_release_buffer(&ignored, &login->out);
	major = gss_accept_sec_context(&minor, &login->context, service->cred, &login->in,
	    GSS_C_NO_CHANNEL_BINDINGS, &name, NULL, &login->out, &login->flags, NULL, NULL);
	forget_token(login);
	if (GSS_ERROR(major))
		err = fail_as(login, major, minor);
	else if (!(major & GSS_S_CONTINUE_NEEDED))
		err = judge(login, name, service->realm);
	login->stands = !err && !(major & GSS_S_CONTINUE_NEEDED);
	if (name != GSS_C_NO_NAME)
		gss_release_name(&ignored, &name);
	return err;
}

void gssapi_answer(const struct gssapi *login, struct accept_gss_answer *ret_answer)
{
	*ret_answer = (struct accept_gss_answer){
	    .outcome = login->stands ? ACCEPT_GSS_DONE : ACCEPT_GSS_CONTINUE,
	    .token = login->out.value,
	    .len = login->out.length,
	    .user = login->user,
	    .user_len = login->user_len,
	    .confidential = login->flags & GSS_C_CONF_FLAG,
	};
}

const char *gssapi_why(const struct gssapi *login)
{
	return login->why;
}

struct gss_ctx_id_struct *gssapi_take_context(struct gssapi *login)
{
	gss_ctx_id_t context = login->context;

	login->context = GSS_C_NO_CONTEXT;
	return context;
}
