/* SPDX-License-Identifier: MIT */
#include "lib/tls.h"

#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/library.h"

/* The ABI of OpenSSL 3, for which the headers are. */
#define LIBRARY "libssl.so.3"
/* For TLS 1.2; all of TLS 1.3's are good. Forward secrecy and authenticated encryption only. */
#define CIPHERS_1_2 "ECDHE+AESGCM:ECDHE+CHACHA20:!aNULL"

/* How often one call reads, twice for a record: OpenSSL goes on for as long as it gets what is no
 * data, and a proxy may send nothing else. What the layer below holds is read nevertheless, for the
 * socket does not tell of it. */
#define READS_MAX 64

/* ---- the library ---- */

/* Its functions, and those of the library on which it stands. */
#define FUNCTIONS(F)                                                                               \
	F(BIO_clear_flags)                                                                         \
	F(BIO_get_data)                                                                            \
	F(BIO_get_new_index)                                                                       \
	F(BIO_meth_new)                                                                            \
	F(BIO_meth_set_ctrl)                                                                       \
	F(BIO_meth_set_read)                                                                       \
	F(BIO_meth_set_write)                                                                      \
	F(BIO_new)                                                                                 \
	F(BIO_set_data)                                                                            \
	F(BIO_set_flags)                                                                           \
	F(BIO_set_init)                                                                            \
	F(ERR_clear_error)                                                                         \
	F(ERR_peek_error)                                                                          \
	F(ERR_reason_error_string)                                                                 \
	F(SSL_CTX_ctrl)                                                                            \
	F(SSL_CTX_free)                                                                            \
	F(SSL_CTX_load_verify_file)                                                                \
	F(SSL_CTX_new)                                                                             \
	F(SSL_CTX_set_cipher_list)                                                                 \
	F(SSL_CTX_set_default_verify_paths)                                                        \
	F(SSL_CTX_set_options)                                                                     \
	F(SSL_CTX_set_verify)                                                                      \
	F(SSL_ctrl)                                                                                \
	F(SSL_do_handshake)                                                                        \
	F(SSL_free)                                                                                \
	F(SSL_get0_param)                                                                          \
	F(SSL_get_error)                                                                           \
	F(SSL_get_verify_result)                                                                   \
	F(SSL_new)                                                                                 \
	F(SSL_pending)                                                                             \
	F(SSL_read_ex)                                                                             \
	F(SSL_set1_host)                                                                           \
	F(SSL_set_bio)                                                                             \
	F(SSL_set_connect_state)                                                                   \
	F(SSL_set_hostflags)                                                                       \
	F(SSL_shutdown)                                                                            \
	F(SSL_write_ex)                                                                            \
	F(TLS_client_method)                                                                       \
	F(X509_VERIFY_PARAM_set1_ip_asc)                                                           \
	F(X509_verify_cert_error_string)

#define FIELD(name) __typeof__ (&(name))(name);
#define ROW(name) {#name, offsetof(__typeof__(lib), name)},

static struct {
	FUNCTIONS(FIELD)
} lib;

static const struct library_function functions[] = {FUNCTIONS(ROW)};

static BIO_METHOD *below_method;
static char missing[TLS_SAID_MAX]; /* why it is not there, or "" */

static int below_read(BIO *bio, char *buf, int size);
static int below_write(BIO *bio, const char *buf, int len);
static long below_ctrl(BIO *bio, int command, long number, void *pointer);

static void make_method(void)
{
	below_method = lib.BIO_meth_new(lib.BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "layer");
	if (!below_method) {
		snprintf(missing, sizeof(missing), "%s cannot be used", LIBRARY);
		return;
	}
	lib.BIO_meth_set_read(below_method, below_read);
	lib.BIO_meth_set_write(below_method, below_write);
	lib.BIO_meth_set_ctrl(below_method, below_ctrl);
}

/* For whoever calls first, of all threads. */
static void load(void)
{
	const size_t n = sizeof(functions) / sizeof(functions[0]);

	if (library_open(LIBRARY, functions, n, &lib, missing, sizeof(missing)))
		make_method();
}

int tls_load(char said[static TLS_SAID_MAX])
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;

	(void)pthread_once(&once, load);
	memcpy(said, missing, sizeof(missing));
	return missing[0] ? TABI_E_TLS : 0;
}

/* ---- below OpenSSL: another layer ---- */

struct tls {
	struct layer layer; /* first */
	SSL *ssl;
	bool agreed, ended;
	long below; /* what the layer below said last, where it moved nothing */
	int reads;  /* of this call */
};

static int result_of(BIO *bio, struct tls *t, long n)
{
	lib.BIO_clear_flags(bio, BIO_FLAGS_RWS | BIO_FLAGS_SHOULD_RETRY);
	t->below = n;
	if (n == TABI_IO_READ)
		lib.BIO_set_flags(bio, BIO_FLAGS_READ | BIO_FLAGS_SHOULD_RETRY);
	if (n == TABI_IO_WRITE)
		lib.BIO_set_flags(bio, BIO_FLAGS_WRITE | BIO_FLAGS_SHOULD_RETRY);
	return n < 0 ? -1 : (int)n;
}

static int below_read(BIO *bio, char *buf, int size)
{
	struct tls *t = lib.BIO_get_data(bio);

	if (t->reads++ >= READS_MAX && !layer_holds(t->layer.below))
		return result_of(bio, t, TABI_IO_READ);
	return result_of(bio, t, layer_receive(t->layer.below, buf, (size_t)size));
}

static int below_write(BIO *bio, const char *buf, int len)
{
	struct tls *t = lib.BIO_get_data(bio);

	return result_of(bio, t, layer_send(t->layer.below, buf, (size_t)len));
}

static long below_ctrl(BIO *bio, int command, long number, void *pointer)
{
	(void)bio;
	(void)number;
	(void)pointer;
	return command == BIO_CTRL_FLUSH;
}

/* ---- what OpenSSL says ---- */

static const char *reason(void)
{
	const char *text = lib.ERR_reason_error_string(lib.ERR_peek_error());

	return text ? text : "the connection broke";
}

static const char *why_it_failed(const struct tls *t)
{
	const long verify = lib.SSL_get_verify_result(t->ssl);

	if (!t->agreed && verify != X509_V_OK)
		return lib.X509_verify_cert_error_string(verify);
	return reason();
}

/* Of a call that returned `rc` <= 0. Whichever way the layer below has to wait is how we do. The
 * thread's list of errors is the program's too: what is ours does not stay there, for
 * SSL_get_error() of another session would take it for its own. */
static int outcome_of(struct tls *t, int rc)
{
	switch (lib.SSL_get_error(t->ssl, rc)) {
	case SSL_ERROR_WANT_READ:
	case SSL_ERROR_WANT_WRITE:
		return t->below == TABI_IO_WRITE ? TABI_IO_WRITE : TABI_IO_READ;
	case SSL_ERROR_ZERO_RETURN:
		return TABI_IO_END;
	default:
		t->layer.why = why_it_failed(t);
		return TABI_IO_BROKEN;
	}
}

static int outcome(struct tls *t, int rc)
{
	const int result = outcome_of(t, rc);

	lib.ERR_clear_error();
	return result;
}

/* A call into OpenSSL. */
static void begin(struct tls *t)
{
	t->reads = 0;
	lib.ERR_clear_error();
}

static int tls_handshake(struct layer *layer)
{
	struct tls *t = (struct tls *)layer;
	int rc;

	if (layer->why)
		return TABI_IO_BROKEN;
	begin(t);
	rc = lib.SSL_do_handshake(t->ssl);
	t->agreed = rc == 1;
	rc = rc == 1 ? 1 : outcome(t, rc);
	/* Its end in the middle of a handshake is none. */
	if (rc == TABI_IO_END) {
		layer->why = "the proxy ended it";
		return TABI_IO_BROKEN;
	}
	return rc;
}

static long tls_send(struct layer *layer, const void *data, size_t len)
{
	struct tls *t = (struct tls *)layer;
	size_t n = 0;
	int rc;

	if (layer->why)
		return TABI_IO_BROKEN;
	begin(t);
	rc = lib.SSL_write_ex(t->ssl, data, len, &n);
	return rc == 1 ? (long)n : outcome(t, rc);
}

static long tls_receive(struct layer *layer, void *data, size_t cap)
{
	struct tls *t = (struct tls *)layer;
	size_t n = 0;
	int rc;

	if (layer->why)
		return TABI_IO_BROKEN;
	begin(t);
	rc = lib.SSL_read_ex(t->ssl, data, cap, &n);
	return rc == 1 ? (long)n : outcome(t, rc);
}

static bool tls_holds(const struct layer *layer)
{
	const struct tls *t = (const struct tls *)layer;

	return lib.SSL_pending(t->ssl) > 0 || layer_holds(layer->below);
}

static int tls_end(struct layer *layer)
{
	struct tls *t = (struct tls *)layer;
	int rc;

	if (layer->why)
		return TABI_IO_BROKEN;
	if (t->ended)
		return 1;
	begin(t);
	rc = lib.SSL_shutdown(t->ssl);
	t->ended = rc >= 0;
	return rc >= 0 ? 1 : outcome(t, rc);
}

static void tls_free(struct layer *layer)
{
	struct tls *t = (struct tls *)layer;

	lib.SSL_free(t->ssl);
	free(t);
}

/* ---- beginning ---- */

/* Trusts and verifies. NULL with the reason. */
static SSL_CTX *new_context(const char *ca, const char **ret_why)
{
	SSL_CTX *ctx = lib.SSL_CTX_new(lib.TLS_client_method());
	int trusted;

	*ret_why = "out of memory";
	if (!ctx)
		return NULL;
	lib.SSL_CTX_ctrl(ctx, SSL_CTRL_SET_MIN_PROTO_VERSION, TLS1_2_VERSION, NULL);
	lib.SSL_CTX_ctrl(ctx, SSL_CTRL_MODE,
	    SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER, NULL);
	lib.SSL_CTX_set_options(ctx, SSL_OP_NO_COMPRESSION | SSL_OP_NO_RENEGOTIATION);
	lib.SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER, NULL);
	trusted =
	    ca ? lib.SSL_CTX_load_verify_file(ctx, ca) : lib.SSL_CTX_set_default_verify_paths(ctx);
	*ret_why = "options.tls_ca cannot be read";
	if (trusted == 1 && lib.SSL_CTX_set_cipher_list(ctx, CIPHERS_1_2) == 1)
		return ctx;
	lib.SSL_CTX_free(ctx);
	return NULL;
}

/* The host goes into the greeting (SNI) unless it is an address: RFC 6066 section 3. */
static bool expect_host(SSL *ssl, const char *host)
{
	if (lib.X509_VERIFY_PARAM_set1_ip_asc(lib.SSL_get0_param(ssl), host) == 1)
		return true;
	lib.SSL_set_hostflags(ssl, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
	return lib.SSL_set1_host(ssl, host) == 1 &&
	       lib.SSL_ctrl(ssl, SSL_CTRL_SET_TLSEXT_HOSTNAME, TLSEXT_NAMETYPE_host_name,
		   (void *)(uintptr_t)host) == 1;
}

static bool prepare(struct tls *t, SSL_CTX *ctx, const char *host)
{
	BIO *bio;

	t->ssl = lib.SSL_new(ctx);
	if (!t->ssl || !expect_host(t->ssl, host))
		return false;
	bio = lib.BIO_new(below_method);
	if (!bio)
		return false;
	lib.BIO_set_data(bio, t);
	lib.BIO_set_init(bio, 1);
	lib.SSL_set_bio(t->ssl, bio, bio);
	lib.SSL_set_connect_state(t->ssl);
	return true;
}

struct layer *tls_layer_new(
    const char *ca, const char *host, struct layer *below, const char **ret_why)
{
	static const struct layer_ops ops = {.handshake = tls_handshake,
	    .send = tls_send,
	    .receive = tls_receive,
	    .end = tls_end,
	    .holds = tls_holds,
	    .free = tls_free,
	    .code = TABI_E_TLS};
	SSL_CTX *ctx = new_context(ca, ret_why);
	struct tls *t = ctx ? calloc(1, sizeof(*t)) : NULL;

	lib.ERR_clear_error();
	if (!ctx)
		return NULL;
	*ret_why = "out of memory";
	if (t && !prepare(t, ctx, host)) {
		lib.SSL_free(t->ssl);
		free(t);
		t = NULL;
	}
	/* A session keeps what it needs of it. */
	lib.SSL_CTX_free(ctx);
	if (!t)
		return NULL;
	t->layer.ops = &ops;
	t->layer.below = below;
	return &t->layer;
}
