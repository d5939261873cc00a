/* SPDX-License-Identifier: MIT */
#include "lib/gssapi.h"

#include <gssapi/gssapi.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/library.h"

/* The ABI of MIT's library, for which the header is. */
#define LIBRARY "libgssapi_krb5.so.2"

/* ---- the library ---- */

/* Its functions, as the header declares them. */
static struct {
	__typeof__(&gss_import_name) import_name;
	__typeof__(&gss_release_name) release_name;
	__typeof__(&gss_init_sec_context) init_sec_context;
	__typeof__(&gss_delete_sec_context) delete_sec_context;
	__typeof__(&gss_display_status) display_status;
	__typeof__(&gss_release_buffer) release_buffer;
	__typeof__(&gss_wrap) wrap;
	__typeof__(&gss_unwrap) unwrap;
	__typeof__(&gss_wrap_size_limit) wrap_size_limit;
} gss;

static const struct library_function functions[] = {
    {"gss_import_name", offsetof(__typeof__(gss), import_name)},
    {"gss_release_name", offsetof(__typeof__(gss), release_name)},
    {"gss_init_sec_context", offsetof(__typeof__(gss), init_sec_context)},
    {"gss_delete_sec_context", offsetof(__typeof__(gss), delete_sec_context)},
    {"gss_display_status", offsetof(__typeof__(gss), display_status)},
    {"gss_release_buffer", offsetof(__typeof__(gss), release_buffer)},
    {"gss_wrap", offsetof(__typeof__(gss), wrap)},
    {"gss_unwrap", offsetof(__typeof__(gss), unwrap)},
    {"gss_wrap_size_limit", offsetof(__typeof__(gss), wrap_size_limit)},
};

static char missing[GSSAPI_SAID_MAX]; /* why it is not there, or "" */

/* For whoever calls first, of all threads. */
static void load(void)
{
	const size_t n = sizeof(functions) / sizeof(functions[0]);

	(void)library_open(LIBRARY, functions, n, &gss, missing, sizeof(missing));
}

int gssapi_load(char said[static GSSAPI_SAID_MAX])
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;

	(void)pthread_once(&once, load);
	memcpy(said, missing, sizeof(missing));
	return missing[0] ? TABI_E_GSS : 0;
}

/* ---- messages ---- */

/* GSS-API wants what it only reads to be writable. */
static gss_buffer_desc buffer_of(const void *data, size_t len)
{
	return (gss_buffer_desc){.length = len, .value = (void *)(uintptr_t)data};
}

/* What was wiped is a message's. Of an empty one MIT's library allocates a byte, and would not
 * release it. */
static void release(gss_buffer_desc *buffer)
{
	OM_uint32 minor;

	if (buffer->length > 0)
		explicit_bzero(buffer->value, buffer->length);
	else if (buffer->value)
		buffer->length = 1;
	gss.release_buffer(&minor, buffer);
}

static int put(const gss_buffer_desc *from, void *buf, size_t size, size_t *ret_len)
{
	if (from->length > size)
		return TABI_E_TOO_LONG;
	if (from->length > 0)
		memcpy(buf, from->value, from->length);
	*ret_len = from->length;
	return 0;
}

int gssapi_wrap(struct gss_ctx_id_struct *context, bool confidential, const void *data, size_t len,
    void *buf, size_t size, size_t *ret_len)
{
	gss_buffer_desc in = buffer_of(data, len), token = GSS_C_EMPTY_BUFFER;
	OM_uint32 minor;
	int encrypted = 0, err = TABI_E_GSS;

	if (!GSS_ERROR(gss.wrap(
		&minor, context, confidential, GSS_C_QOP_DEFAULT, &in, &encrypted, &token)) &&
	    (encrypted || !confidential))
		err = put(&token, buf, size, ret_len);
	gss.release_buffer(&minor, &token);
	return err;
}

/*
 * A stream loses nothing and keeps its order, so there any supplementary word is an attack. Of
 * datagrams some are late and some are lost, and what comes twice or too late to tell is refused.
 */
int gssapi_unwrap(struct gss_ctx_id_struct *context, bool confidential, bool datagram,
    const void *token, size_t len, void *buf, size_t size, size_t *ret_len)
{
	const OM_uint32 twice = GSS_S_DUPLICATE_TOKEN | GSS_S_OLD_TOKEN;
	const OM_uint32 order = GSS_S_UNSEQ_TOKEN | GSS_S_GAP_TOKEN;
	gss_buffer_desc in = buffer_of(token, len), plain = GSS_C_EMPTY_BUFFER;
	OM_uint32 major, minor;
	int encrypted = 0, err = TABI_E_GSS;

	major = gss.unwrap(&minor, context, &in, &plain, &encrypted, NULL);
	if (!GSS_ERROR(major) && !(major & (datagram ? twice : twice | order)) &&
	    (encrypted || !confidential))
		err = put(&plain, buf, size, ret_len);
	release(&plain);
	return err;
}

size_t gssapi_wrap_limit(struct gss_ctx_id_struct *context, bool confidential)
{
	const OM_uint32 most = 65535;
	OM_uint32 minor, max = 0;

	if (GSS_ERROR(gss.wrap_size_limit(
		&minor, context, confidential, GSS_C_QOP_DEFAULT, most, &max)) ||
	    max == 0)
		max = 1024;
	return max < most ? max : most;
}

/* ---- the client's side of a context ---- */

void gssapi_context_free(struct gss_ctx_id_struct *context)
{
	gss_ctx_id_t c = context;
	OM_uint32 minor;

	if (c != GSS_C_NO_CONTEXT)
		gss.delete_sec_context(&minor, &c, GSS_C_NO_BUFFER);
}

/* The mechanism's sentence, which says more; else GSS-API's own. */
static void explain(OM_uint32 major, OM_uint32 minor, char *said)
{
	gss_buffer_desc text = GSS_C_EMPTY_BUFFER;
	OM_uint32 ignored, more = 0;

	if (GSS_ERROR(gss.display_status(&ignored, minor ? minor : major,
		minor ? GSS_C_MECH_CODE : GSS_C_GSS_CODE, GSS_C_NO_OID, &more, &text)))
		return;
	snprintf(said, GSSAPI_SAID_MAX, "%.*s", (int)text.length, (char *)text.value);
	gss.release_buffer(&ignored, &text);
}

static int import_name(const char *service, gss_name_t *ret_name)
{
	/* GSS_C_NT_HOSTBASED_SERVICE, which is a variable of the library (RFC 2743 section 4.1). */
	static unsigned char oid[] = {0x2a, 0x86, 0x48, 0x86, 0xf7, 0x12, 0x01, 0x02, 0x01, 0x04};
	gss_OID_desc host_based = {sizeof(oid), oid};
	gss_buffer_desc text = buffer_of(service, strlen(service));
	OM_uint32 minor;

	return GSS_ERROR(gss.import_name(&minor, &text, &host_based, ret_name)) ? TABI_E_GSS : 0;
}

int gssapi_initiate(struct gss_ctx_id_struct **context, const char *service, bool datagrams,
    const void *token, size_t len, void *buf, size_t size, size_t *ret_len,
    char said[static GSSAPI_SAID_MAX])
{
	const OM_uint32 flags = GSS_C_MUTUAL_FLAG | GSS_C_REPLAY_FLAG | GSS_C_INTEG_FLAG |
				GSS_C_CONF_FLAG | (datagrams ? 0 : GSS_C_SEQUENCE_FLAG);
	gss_buffer_desc in = buffer_of(token, len), out = GSS_C_EMPTY_BUFFER;
	gss_name_t name = GSS_C_NO_NAME;
	OM_uint32 major, minor, ignored;
	int err = import_name(service, &name);

	snprintf(said, GSSAPI_SAID_MAX, "%s is no service", service);
	*ret_len = 0;
	if (err < 0)
		return err;
	major = gss.init_sec_context(&minor, GSS_C_NO_CREDENTIAL, context, name, GSS_C_NO_OID,
	    flags, GSS_C_INDEFINITE, GSS_C_NO_CHANNEL_BINDINGS, len > 0 ? &in : GSS_C_NO_BUFFER,
	    NULL, &out, NULL, NULL);
	snprintf(said, GSSAPI_SAID_MAX, "its token is too long");
	if (GSS_ERROR(major)) {
		explain(major, minor, said);
		err = TABI_E_GSS;
	} else {
		err = put(&out, buf, size, ret_len) < 0 ? TABI_E_GSS : 0;
	}
	gss.release_buffer(&ignored, &out);
	gss.release_name(&ignored, &name);
	if (err < 0)
		return err;
	return major & GSS_S_CONTINUE_NEEDED ? 0 : 1;
}
