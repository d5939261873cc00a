/* SPDX-License-Identifier: MIT */
/*
 * libtabi with OpenSSL for hops of TLS, also for TLS in TLS: says standard input, and prints the
 * answer.
 *
 * usage: tls CA-FILE PROXY[,PROXY...] HOST PORT [LEVEL] <question
 *
 * With LEVEL, which is of enum tabi_gss, as a stream.
 */
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <tabi.h>
#include <unistd.h>

#include "common.h"

static void *start(void *user, tabi_socket fd, void *below, const char *host)
{
	SSL *ssl = SSL_new(user);
	BIO *bio;

	if (!ssl)
		return NULL;
	/* An address is verified as one. */
	if (X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(ssl), host) != 1) {
		SSL_set1_host(ssl, host);
		SSL_set_tlsext_host_name(ssl, host);
	}
	if (below) {
		bio = BIO_new(BIO_f_ssl());
		BIO_set_ssl(bio, below, BIO_CLOSE);
		SSL_set_bio(ssl, bio, bio);
	} else {
		SSL_set_fd(ssl, fd);
	}
	SSL_set_connect_state(ssl);
	return ssl;
}

static int why(SSL *ssl, int rc)
{
	switch (SSL_get_error(ssl, rc)) {
	case SSL_ERROR_WANT_READ:
		return TABI_IO_READ;
	case SSL_ERROR_WANT_WRITE:
		return TABI_IO_WRITE;
	case SSL_ERROR_ZERO_RETURN:
		return TABI_IO_END;
	default:
		return TABI_IO_BROKEN;
	}
}

static int handshake(void *session)
{
	int rc = SSL_do_handshake(session);

	return rc == 1 ? 1 : why(session, rc);
}

static long send_some(void *session, const void *data, size_t len)
{
	int n = SSL_write(session, data, (int)len);

	return n > 0 ? n : why(session, n);
}

static long receive(void *session, void *data, size_t cap)
{
	int n = SSL_read(session, data, (int)cap);

	return n > 0 ? n : why(session, n);
}

static void free_session(void *session)
{
	SSL_free(session);
}

static int end(void *session)
{
	int rc = SSL_shutdown(session);

	return rc >= 0 ? 1 : why(session, rc);
}

/* One question and the answer to it, however long. */
static int talk(int fd, void *tls)
{
	static char buf[65536];
	size_t len = fread(buf, 1, sizeof(buf), stdin), at = 0;
	long n;

	while (at < len) {
		n = send_some(tls, buf + at, len - at);
		if (n == TABI_IO_BROKEN || n == TABI_IO_END)
			return 1;
		if (n > 0)
			at += (size_t)n;
		else
			wait_for(fd, n == TABI_IO_READ ? TABI_READABLE : TABI_WRITABLE, -1);
	}
	for (at = 0; at < len;) {
		n = receive(tls, buf, sizeof(buf));
		if (n == TABI_IO_BROKEN || n == TABI_IO_END)
			return 1;
		if (n > 0)
			at += fwrite(buf, 1, (size_t)n, stdout);
		else
			wait_for(fd, n == TABI_IO_READ ? TABI_READABLE : TABI_WRITABLE, -1);
	}
	return fflush(stdout) != 0;
}

/* The question, its end, and the answer until its end. */
static int talk_by_stream(struct tabi_stream *stream)
{
	static char buf[65536];
	size_t len = fread(buf, 1, sizeof(buf), stdin);
	struct tabi_error error;
	long n = tabi_stream_send(stream, buf, len, -1);

	if (n == (long)len)
		n = tabi_stream_end(stream, -1);
	while (n >= 0 && (n = tabi_stream_recv(stream, buf, sizeof(buf), -1)) > 0)
		fwrite(buf, 1, (size_t)n, stdout);
	if (n == 0)
		return fflush(stdout) != 0;
	tabi_stream_error(stream, &error);
	return fail(&error);
}

int main(int argc, char **argv)
{
	struct tabi_tls tls = {.start = start,
	    .handshake = handshake,
	    .send = send_some,
	    .receive = receive,
	    .free = free_session,
	    .end = end};
	struct tabi_options options = tabi_options();
	struct tabi_error error;
	struct tabi_stream *stream;
	struct tabi_dial *dial;
	SSL_CTX *context;
	void *session;
	int rc, fd;

	signal(SIGPIPE, SIG_IGN);
	context = SSL_CTX_new(TLS_client_method());
	if (argc < 5 || argc > 6 || SSL_CTX_load_verify_locations(context, argv[1], NULL) != 1)
		return 2;
	SSL_CTX_set_verify(context, SSL_VERIFY_PEER, NULL);
	tls.user = context;
	options.tls = &tls;
	options.gss = argc == 6 ? atoi(argv[5]) : TABI_GSS_OFF;
	options.flags = TABI_ONE_FLIGHT | TABI_EARLY_STREAM;
	dial = tabi_dial_new(
	    argv[2], TABI_CONNECT, argv[3], (uint16_t)atoi(argv[4]), &options, &error);
	if (!dial)
		return fail(&error);
	while ((rc = tabi_dial_step(dial)) == 0)
		wait_for(tabi_dial_fd(dial), tabi_dial_events(dial), tabi_dial_timeout(dial));
	if (rc < 0) {
		tabi_dial_error(dial, &error);
		tabi_dial_free(dial);
		SSL_CTX_free(context);
		return fail(&error);
	}
	if (argc == 6) {
		stream = tabi_dial_take_stream(dial);
		tabi_dial_free(dial);
		rc = stream ? talk_by_stream(stream) : 1;
		tabi_stream_close(stream);
		SSL_CTX_free(context);
		return rc;
	}
	fd = tabi_dial_take(dial);
	session = tabi_dial_take_tls(dial);
	tabi_dial_free(dial);
	rc = session ? talk(fd, session) : 1;
	free_session(session);
	SSL_CTX_free(context);
	close(fd);
	return rc;
}
