/* SPDX-License-Identifier: MIT */
#include "net/tls.h"

#include <errno.h>
#include <limits.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

#include "proto/err.h"

/* What a record carries at most: with room for one, a read leaves none behind. */
#define RECORD_MAX ((size_t)16384)
/* The first byte of every TLS connection: a handshake record. */
#define FIRST_BYTE 22
#define USER_MAX 255
/* How often one call reads the socket, twice for a record. OpenSSL goes on for as long as it gets
 * what is no data (KeyUpdate, attempts to renegotiate), and somebody may send nothing else. */
#define READS_MAX 64

/* For TLS 1.2; all of TLS 1.3's are good. Forward secrecy and authenticated encryption only. */
#define CIPHERS_1_2 "ECDHE+AESGCM:ECDHE+CHACHA20:!aNULL"

struct tls_context {
	SSL_CTX *ctx;
	bool asks_client; /* for a certificate */
};

struct tls {
	struct layer layer; /* first */
	SSL *ssl;
	struct layer *below; /* owned; or NULL */
	int fd;
	bool begun;     /* the first byte was looked at */
	bool agreed;    /* the handshake is over */
	bool closing;   /* close_notify is still to be sent */
	bool at_end;    /* close_notify was received */
	int err;        /* why it failed, or 0 */
	unsigned reads; /* of the socket that this call has left */
	uint8_t *early;
	size_t early_at, early_len;
	char *user; /* owned; or NULL */
};

/* ---- below OpenSSL: the socket; or early bytes and another layer ---- */

/* May this call read on? To what is not read now the socket will call. */
static bool may_read(struct tls *t)
{
	if (t->reads == 0)
		return false;
	t->reads--;
	return true;
}

static long watch_reads(BIO *bio, int oper, const char *argp, size_t len, int argi, long argl,
    int ret, size_t *processed) /* NOLINT(readability-non-const-parameter): OpenSSL's type */
{
	struct tls *t = (struct tls *)(void *)BIO_get_callback_arg(bio);

	(void)argp;
	(void)len;
	(void)argi;
	(void)argl;
	(void)processed;
	if (oper != BIO_CB_READ || may_read(t))
		return ret;
	BIO_clear_retry_flags(bio);
	BIO_set_retry_read(bio);
	return -1;
}

/* The kernel can only encrypt (kTLS) what goes straight to a socket. */
static BIO *socket_bio(struct tls *t)
{
	BIO *bio = BIO_new_socket(t->fd, BIO_NOCLOSE);

	if (bio) {
		BIO_set_callback_arg(bio, (char *)t);
		BIO_set_callback_ex(bio, watch_reads);
	}
	return bio;
}

static int below_read(BIO *bio, char *buf, int size)
{
	struct tls *t = BIO_get_data(bio);
	ssize_t n = (ssize_t)(t->early_len - t->early_at);

	BIO_clear_retry_flags(bio);
	if (n > 0) {
		n = n < size ? n : size;
		memcpy(buf, t->early + t->early_at, (size_t)n);
		t->early_at += (size_t)n;
		return (int)n;
	}
	/* No poll tells of what another layer has. */
	n = t->below || may_read(t) ? layer_recv(t->below, t->fd, buf, (size_t)size) : -EAGAIN;
	if (n == -EAGAIN)
		BIO_set_retry_read(bio);
	if (n < 0)
		errno = n > -1000 ? (int)-n : ECONNRESET;
	return n < 0 ? -1 : (int)n;
}

static int below_write(BIO *bio, const char *buf, int len)
{
	struct tls *t = BIO_get_data(bio);
	ssize_t n = layer_send(t->below, t->fd, buf, (size_t)len);

	BIO_clear_retry_flags(bio);
	if (n == -EAGAIN)
		BIO_set_retry_write(bio);
	if (n < 0)
		errno = n > -1000 ? (int)-n : ECONNRESET;
	return n < 0 ? -1 : (int)n;
}

static long below_ctrl(BIO *bio, int command, long number, void *pointer)
{
	(void)bio;
	(void)number;
	(void)pointer;
	return command == BIO_CTRL_FLUSH;
}

static BIO *below_bio(struct tls *t)
{
	static BIO_METHOD *method;
	BIO *bio;

	if (!method) {
		method = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "layer");
		if (!method)
			return NULL;
		BIO_meth_set_read(method, below_read);
		BIO_meth_set_write(method, below_write);
		BIO_meth_set_ctrl(method, below_ctrl);
	}
	bio = BIO_new(method);
	if (bio) {
		BIO_set_data(bio, t);
		BIO_set_init(bio, 1);
	}
	return bio;
}

/* ---- what went wrong ---- */

/* A reason of OpenSSL's own: its texts are static, and hold nothing of the peer's. */
static const char *openssl_reason(void)
{
	const char *text = ERR_reason_error_string(ERR_peek_error());

	return text ? text : "TLS failed";
}

static int classify_handshake(struct tls *t)
{
	long verify = SSL_get_verify_result(t->ssl);
	int reason = ERR_GET_REASON(ERR_peek_error());

	if (reason == SSL_R_PEER_DID_NOT_RETURN_A_CERTIFICATE) {
		t->layer.why = "the client sent no certificate";
		return ERR_TLS_CERT;
	}
	if (verify != X509_V_OK) {
		t->layer.why = verify == X509_V_ERR_APPLICATION_VERIFICATION
				   ? "the certificate names no user"
				   : X509_verify_cert_error_string(verify);
		return ERR_TLS_CERT;
	}
	t->layer.why = openssl_reason();
	return ERR_TLS_HANDSHAKE;
}

static int classify(struct tls *t)
{
	if (!t->agreed)
		return classify_handshake(t);
	if (ERR_GET_REASON(ERR_peek_error()) == SSL_R_UNEXPECTED_EOF_WHILE_READING)
		return ERR_TLS_TRUNCATED;
	t->layer.why = openssl_reason();
	return ERR_TLS_BROKEN;
}

/* What a call into OpenSSL means that returned `ret` <= 0: 0 at the end of the stream, -EAGAIN with
 * `*ret_wants_write`, or an error, which is kept. */
static int outcome(struct tls *t, int ret, bool *ret_wants_write)
{
	int err = errno;

	*ret_wants_write = false;
	t->agreed |= SSL_is_init_finished(t->ssl);
	switch (SSL_get_error(t->ssl, ret)) {
	case SSL_ERROR_WANT_READ:
		return -EAGAIN;
	case SSL_ERROR_WANT_WRITE:
		*ret_wants_write = true;
		return -EAGAIN;
	case SSL_ERROR_ZERO_RETURN:
		t->at_end = true;
		return 0;
	case SSL_ERROR_SYSCALL:
		t->err = err ? -err : ERR_TLS_TRUNCATED;
		break;
	default:
		/* A failure makes OpenSSL forget that there was an agreement. */
		t->err = classify(t);
		break;
	}
	ERR_clear_error();
	t->layer.pending = t->layer.holds = false;
	return t->err;
}

/* ---- the layer ---- */

/*
 * Who does not speak TLS may wait for an answer to a few bytes that make no record yet. Returns
 * whether there is something to read for OpenSSL; else `*ret` is what to return.
 */
static bool look_at_first_byte(struct tls *t, ssize_t *ret)
{
	uint8_t first = FIRST_BYTE;
	ssize_t n = 1;

	if (t->begun)
		return true;
	if (t->early_len > 0)
		first = t->early[0];
	else if (!t->below)
		n = recv(t->fd, &first, 1, MSG_PEEK);
	if (n <= 0) {
		*ret = n < 0 ? -errno : 0;
		if (*ret == -EINTR)
			*ret = -EAGAIN;
		return false;
	}
	t->begun = true;
	if (first == FIRST_BYTE)
		return true;
	*ret = t->err = ERR_TLS_PLAIN;
	return false;
}

static bool has_more(const struct tls *t)
{
	return SSL_pending(t->ssl) > 0 || t->early_at < t->early_len || layer_pending(t->below);
}

static ssize_t tls_recv(struct layer *layer, void *buf, size_t size)
{
	struct tls *t = (struct tls *)layer;
	size_t total = 0;
	ssize_t ret = t->err;

	if (t->err || t->at_end || !look_at_first_byte(t, &ret)) {
		layer->pending = false;
		return ret;
	}
	t->reads = READS_MAX;
	while (total < size && (total == 0 || size - total >= RECORD_MAX)) {
		size_t n = 0;
		bool wants_write;

		ERR_clear_error();
		ret = SSL_read_ex(t->ssl, (uint8_t *)buf + total, size - total, &n);
		if (ret <= 0) {
			ret = outcome(t, (int)ret, &wants_write);
			layer->holds = wants_write || layer_holds(t->below);
			/* What it says is told again at the next call. */
			layer->pending = total > 0 && ret != -EAGAIN;
			return total > 0 ? (ssize_t)total : ret;
		}
		t->agreed = true;
		total += n;
	}
	layer->pending = has_more(t);
	layer->holds = layer_holds(t->below);
	return (ssize_t)total;
}

static ssize_t tls_send(struct layer *layer, const void *buf, size_t len)
{
	struct tls *t = (struct tls *)layer;
	ssize_t ret = t->err;
	size_t total = 0;

	t->reads = READS_MAX;
	while (total < len && ret >= 0) {
		bool wants_write;
		size_t n = 0;

		ERR_clear_error();
		ret = SSL_write_ex(t->ssl, (const uint8_t *)buf + total, len - total, &n);
		if (ret <= 0)
			ret = outcome(t, (int)ret, &wants_write);
		/* A peer that says that it sends no more may still be written to; so this is not
		 * about the end of its stream. */
		if (ret == 0)
			ret = t->err = ERR_TLS_BROKEN;
		total += n;
	}
	layer->holds = !t->err && layer_holds(t->below);
	return total > 0 ? (ssize_t)total : ret;
}

/* Goes on with what was blocked: a message of the handshake, an answer that the protocol wants, or
 * close_notify. */
static int tls_flush(struct layer *layer)
{
	struct tls *t = (struct tls *)layer;
	int ret = t->err ? t->err : layer_flush(t->below);
	bool wants_write = false;

	if (ret)
		return ret;
	t->reads = READS_MAX;
	ERR_clear_error();
	ret = t->closing ? SSL_shutdown(t->ssl) : SSL_do_handshake(t->ssl);
	if (ret < 0 || (ret == 0 && !t->closing))
		outcome(t, ret, &wants_write);
	else
		t->closing = false;
	t->agreed |= SSL_is_init_finished(t->ssl);
	/* Behind our last word what is below has one, too. */
	if (!t->err && !t->closing && layer->ended && t->below)
		(void)layer_tell_end(t->below);
	layer->holds = !t->err && (wants_write || layer_holds(t->below));
	if (t->err)
		return t->err;
	return layer->holds ? -EAGAIN : 0;
}

int tls_handshake(struct layer *layer)
{
	struct tls *t = (struct tls *)layer;
	int err = tls_flush(layer);

	if (err)
		return err;
	return t->agreed ? 0 : -EAGAIN;
}

static int tls_end(struct layer *layer)
{
	struct tls *t = (struct tls *)layer;

	if (t->err)
		return t->err;
	/* In the midst of a handshake there is nothing to end. */
	if (!t->agreed)
		return 0;
	t->closing = true;
	tls_flush(layer);
	return t->err;
}

static void tls_free(struct layer *layer)
{
	struct tls *t = (struct tls *)layer;

	SSL_free(t->ssl);
	layer_free(t->below);
	free(t->early);
	free(t->user);
	free(t);
}

static const struct layer_ops ops = {tls_recv, tls_send, tls_flush, tls_end, tls_free};

/* ---- connections ---- */

static bool set_transport(struct tls *t)
{
	BIO *bio = t->below || t->early ? below_bio(t) : socket_bio(t);

	if (bio)
		SSL_set_bio(t->ssl, bio, bio);
	return bio;
}

static bool keep_early(struct tls *t, const struct tls_start *start)
{
	if (start->early_len == 0)
		return true;
	t->early = malloc(start->early_len);
	if (!t->early)
		return false;
	memcpy(t->early, start->early, start->early_len);
	t->early_len = start->early_len;
	return true;
}

static struct tls *tls_new(struct tls_context *context, const struct tls_start *start)
{
	struct tls *t = calloc(1, sizeof(*t));

	if (!t)
		return NULL;
	t->layer.ops = &ops;
	t->fd = start->fd;
	t->below = start->below;
	t->ssl = SSL_new(context->ctx);
	if (t->ssl && SSL_set_app_data(t->ssl, t) && keep_early(t, start) && set_transport(t))
		return t;
	t->below = NULL;
	tls_free(&t->layer);
	return NULL;
}

struct layer *tls_accept(struct tls_context *context, const struct tls_start *start)
{
	struct tls *t = tls_new(context, start);

	if (!t)
		return NULL;
	SSL_set_accept_state(t->ssl);
	/* Bytes that were read before are no news of the socket's. */
	t->layer.pending = t->early_len > 0;
	return &t->layer;
}

/* The peer's name goes into the greeting (SNI) unless it is an address: RFC 6066 section 3. */
static bool expect_peer(SSL *ssl, const char *peer)
{
	X509_VERIFY_PARAM *param = SSL_get0_param(ssl);
	char *name;
	bool ok;

	if (X509_VERIFY_PARAM_set1_ip_asc(param, peer))
		return true;
	SSL_set_hostflags(ssl, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
	/* OpenSSL's macro takes it as one that might be written to. */
	name = strdup(peer);
	ok = name && SSL_set1_host(ssl, peer) && SSL_set_tlsext_host_name(ssl, name);
	free(name);
	return ok;
}

struct layer *tls_connect(struct tls_context *context, const struct tls_start *start)
{
	struct tls *t = tls_new(context, start);

	if (!t)
		return NULL;
	ERR_clear_error();
	if (!start->peer || !expect_peer(t->ssl, start->peer)) {
		t->below = NULL;
		tls_free(&t->layer);
		return NULL;
	}
	SSL_set_connect_state(t->ssl);
	/* We speak first: whatever comes is for OpenSSL to judge. */
	t->begun = true;
	return &t->layer;
}

/* ---- who the client is ---- */

/* Fit to be a user: not empty, not too long, and nothing in it that a log or a rule could take for
 * something else. Takes over `text`. */
static char *user_of_text(unsigned char *text, int len)
{
	char *user = NULL;
	bool fit = len > 0 && len <= USER_MAX;

	for (int i = 0; fit && i < len; i++)
		fit = text[i] >= 0x20 && text[i] != 0x7f;
	if (fit)
		user = strndup((char *)text, (size_t)len);
	OPENSSL_free(text);
	return user;
}

static char *user_of_string(const ASN1_STRING *s)
{
	unsigned char *text = NULL;
	int len = s ? ASN1_STRING_to_UTF8(&text, s) : -1;

	return len < 0 ? NULL : user_of_text(text, len);
}

/* The only address of e-mail among the alternative names. */
static char *user_of_mail(const X509 *cert)
{
	GENERAL_NAMES *names = X509_get_ext_d2i(cert, NID_subject_alt_name, NULL, NULL);
	const ASN1_STRING *mail = NULL;
	char *user = NULL;
	unsigned n = 0;

	for (int i = 0; i < sk_GENERAL_NAME_num(names); i++) {
		const GENERAL_NAME *name = sk_GENERAL_NAME_value(names, i);

		if (name->type == GEN_EMAIL) {
			mail = name->d.rfc822Name;
			n++;
		}
	}
	if (n == 1)
		user = user_of_string(mail);
	GENERAL_NAMES_free(names);
	return user;
}

/* The common name of its subject; of a certificate without one its address of e-mail. Of several
 * nobody knows which was meant. */
static char *user_of_certificate(const X509 *cert)
{
	const X509_NAME *subject = X509_get_subject_name(cert);
	int at = X509_NAME_get_index_by_NID(subject, NID_commonName, -1);

	if (at < 0)
		return user_of_mail(cert);
	if (X509_NAME_get_index_by_NID(subject, NID_commonName, at) >= 0)
		return NULL;
	return user_of_string(X509_NAME_ENTRY_get_data(X509_NAME_get_entry(subject, at)));
}

/* Called for each certificate of the chain, from the root to the client's own. One that names no
 * user is refused here, so that the client is told by an alert. */
static int verify_client(int ok, X509_STORE_CTX *store)
{
	SSL *ssl = X509_STORE_CTX_get_ex_data(store, SSL_get_ex_data_X509_STORE_CTX_idx());
	struct tls *t = SSL_get_app_data(ssl);

	if (!ok || X509_STORE_CTX_get_error_depth(store) > 0)
		return ok;
	free(t->user);
	t->user = user_of_certificate(X509_STORE_CTX_get_current_cert(store));
	if (t->user)
		return 1;
	X509_STORE_CTX_set_error(store, X509_V_ERR_APPLICATION_VERIFICATION);
	return 0;
}

const char *tls_user(const struct layer *layer)
{
	const struct tls *t = (const struct tls *)layer;

	/* Only what the whole handshake has confirmed: the client has shown that it has the key. */
	return t->agreed ? t->user : NULL;
}

const char *tls_version(const struct layer *layer)
{
	return SSL_get_version(((const struct tls *)layer)->ssl);
}

/* ---- contexts ---- */

static BIO *bio_of(const struct tls_pem *pem)
{
	return pem->data && pem->len <= INT_MAX ? BIO_new_mem_buf(pem->data, (int)pem->len) : NULL;
}

/* A key that is encrypted has nobody to ask for its password. */
static int no_password(char *buf, /* NOLINT(readability-non-const-parameter): OpenSSL's type */
    int size, int writing, void *ctx)
{
	(void)buf;
	(void)size;
	(void)writing;
	(void)ctx;
	return -1;
}

static const char *use_chain(SSL_CTX *ctx, BIO *bio)
{
	X509 *cert = PEM_read_bio_X509_AUX(bio, NULL, no_password, NULL);
	bool used;

	if (!cert)
		return "holds no certificate in PEM";
	used = SSL_CTX_use_certificate(ctx, cert) == 1;
	X509_free(cert);
	if (!used)
		return openssl_reason();
	while ((cert = PEM_read_bio_X509(bio, NULL, no_password, NULL)))
		if (SSL_CTX_add0_chain_cert(ctx, cert) != 1) {
			X509_free(cert);
			return openssl_reason();
		}
	/* The end of the text is how it should end. */
	if (ERR_GET_REASON(ERR_peek_last_error()) != PEM_R_NO_START_LINE)
		return "one of the certificates behind the first cannot be read";
	return NULL;
}

static const char *use_key(SSL_CTX *ctx, BIO *bio)
{
	EVP_PKEY *key = PEM_read_bio_PrivateKey(bio, NULL, no_password, NULL);
	const char *why = NULL;

	if (!key && ERR_GET_REASON(ERR_peek_last_error()) == PEM_R_BAD_PASSWORD_READ)
		return "is encrypted; decrypt it with 'openssl pkey'";
	if (!key)
		return "holds no private key in PEM";
	if (SSL_CTX_use_PrivateKey(ctx, key) != 1 || SSL_CTX_check_private_key(ctx) != 1)
		why = ERR_GET_REASON(ERR_peek_error()) == X509_R_KEY_VALUES_MISMATCH ||
			      ERR_GET_REASON(ERR_peek_error()) == X509_R_KEY_TYPE_MISMATCH
			  ? "is not the key of the certificate"
			  : openssl_reason();
	EVP_PKEY_free(key);
	return why;
}

static const char *use_ca(SSL_CTX *ctx, BIO *bio, bool tell_clients)
{
	const char *why = NULL;
	unsigned n = 0;
	X509 *cert;

	while (!why && (cert = PEM_read_bio_X509_AUX(bio, NULL, no_password, NULL))) {
		n++;
		if (X509_STORE_add_cert(SSL_CTX_get_cert_store(ctx), cert) != 1 ||
		    (tell_clients && SSL_CTX_add_client_CA(ctx, cert) != 1))
			why = openssl_reason();
		X509_free(cert);
	}
	if (!why && n == 0)
		why = "holds no certificate in PEM";
	else if (!why && ERR_GET_REASON(ERR_peek_last_error()) != PEM_R_NO_START_LINE)
		why = "one of the certificates behind the first cannot be read";
	return why;
}

static void close_off(SSL_CTX *ctx)
{
	SSL_CTX_set_min_proto_version(ctx, TLS1_2_VERSION);
	SSL_CTX_set_cipher_list(ctx, CIPHERS_1_2);
	/* What was read may be a password: OpenSSL keeps no copy of it. */
	SSL_CTX_set_options(ctx, SSL_OP_NO_COMPRESSION | SSL_OP_NO_RENEGOTIATION |
				     SSL_OP_NO_TICKET | SSL_OP_ENABLE_KTLS |
				     SSL_OP_CLEANSE_PLAINTEXT);
	/* Whoever resumed a session would not be asked for a certificate again. */
	SSL_CTX_set_num_tickets(ctx, 0);
	SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
	/* A session that rests holds no buffers. What a write did not get rid of is offered again
	 * from another place. */
	SSL_CTX_set_mode(ctx, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE |
				  SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
}

static struct tls_context *context_new(const SSL_METHOD *method)
{
	struct tls_context *c = calloc(1, sizeof(*c));

	ERR_clear_error();
	if (c)
		c->ctx = SSL_CTX_new(method);
	if (c && !c->ctx) {
		free(c);
		c = NULL;
	}
	if (c)
		close_off(c->ctx);
	return c;
}

/* Uses one text. Returns whether all is well. */
static bool use(SSL_CTX *ctx, enum tls_part part, const struct tls_pem *pem, bool server,
    enum tls_part *ret_part, const char **ret_why)
{
	BIO *bio = bio_of(pem);

	*ret_part = part;
	ERR_clear_error();
	if (!bio)
		*ret_why = "cannot be read";
	else if (part == TLS_CERTIFICATE)
		*ret_why = use_chain(ctx, bio);
	else if (part == TLS_KEY)
		*ret_why = use_key(ctx, bio);
	else
		*ret_why = use_ca(ctx, bio, server);
	BIO_free(bio);
	ERR_clear_error();
	return !*ret_why;
}

/* Returns a context that holds nothing yet, or NULL with the reason in place. */
static struct tls_context *begin(
    const SSL_METHOD *method, enum tls_part *ret_part, const char **ret_why)
{
	struct tls_context *c = context_new(method);

	*ret_part = TLS_ITSELF;
	*ret_why = c ? NULL : "out of memory";
	return c;
}

int tls_server_new(struct tls_context **ret_context, const struct tls_server_options *o,
    enum tls_part *ret_part, const char **ret_why)
{
	struct tls_context *c = begin(TLS_server_method(), ret_part, ret_why);

	if (!c)
		return -ENOMEM;
	c->asks_client = o->client_ca.data != NULL;
	if (!use(c->ctx, TLS_CERTIFICATE, &o->certificate, true, ret_part, ret_why) ||
	    !use(c->ctx, TLS_KEY, &o->key, true, ret_part, ret_why) ||
	    (c->asks_client && !use(c->ctx, TLS_CA, &o->client_ca, true, ret_part, ret_why))) {
		tls_context_free(c);
		return ERR_MALFORMED;
	}
	if (c->asks_client)
		SSL_CTX_set_verify(
		    c->ctx, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, verify_client);
	*ret_context = c;
	return 0;
}

int tls_client_new(struct tls_context **ret_context, const struct tls_client_options *o,
    enum tls_part *ret_part, const char **ret_why)
{
	struct tls_context *c = begin(TLS_client_method(), ret_part, ret_why);
	bool ok = true;

	if (!c)
		return -ENOMEM;
	SSL_CTX_set_verify(c->ctx, o->trust_anybody ? SSL_VERIFY_NONE : SSL_VERIFY_PEER, NULL);
	if (o->ca.data)
		ok = use(c->ctx, TLS_CA, &o->ca, false, ret_part, ret_why);
	else
		SSL_CTX_set_default_verify_paths(c->ctx);
	if (ok && o->certificate.data)
		ok = use(c->ctx, TLS_CERTIFICATE, &o->certificate, false, ret_part, ret_why) &&
		     use(c->ctx, TLS_KEY, &o->key, false, ret_part, ret_why);
	if (!ok) {
		tls_context_free(c);
		return ERR_MALFORMED;
	}
	*ret_context = c;
	return 0;
}

void tls_context_free(struct tls_context *c)
{
	if (!c)
		return;
	SSL_CTX_free(c->ctx);
	free(c);
}
