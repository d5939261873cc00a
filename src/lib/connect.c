/* SPDX-License-Identifier: MIT */
/* The calls that block: a connection, and a listener at the last proxy. */
#include "tabi.h"

#include <stdlib.h>

#include "lib/dial.h"
#include "lib/error.h"
#include "lib/os.h"

/* The error of a call whose outcome would be a socket, where that is of no use. */
static struct tabi_error socket_is_no_use(int code)
{
	return error_of_call(
	    code, code == TABI_E_TLS
		      ? "behind TLS a socket alone is of no use: take a stream"
		      : "behind GSS-API's protection a socket alone is of no use: take a stream");
}

static void tell_failure(const struct tabi_dial *d, struct tabi_error *ret_error)
{
	if (ret_error)
		tabi_dial_error(d, ret_error);
}

static tabi_socket take_blocking(struct tabi_dial *d)
{
	tabi_socket fd = tabi_dial_take(d);

	/* It was made not to block, so it can be made to. */
	if (fd != TABI_NO_SOCKET)
		(void)os_set_blocking(fd);
	return fd;
}

tabi_socket tabi_connect(const char *proxies, const char *host, uint16_t port,
    const struct tabi_options *options, struct tabi_error *ret_error)
{
	struct tabi_dial *d = tabi_dial_new(proxies, TABI_CONNECT, host, port, options, ret_error);
	tabi_socket fd = TABI_NO_SOCKET;
	struct tabi_error e;
	int code;

	if (!d)
		return fd;
	code = dial_needs_stream(d);
	if (code < 0) {
		e = socket_is_no_use(code);
		error_tell(ret_error, &e);
	} else if (dial_wait(d, -1) == 1) {
		fd = take_blocking(d);
	} else {
		tell_failure(d, ret_error);
	}
	tabi_dial_free(d);
	return fd;
}

struct tabi_stream *tabi_stream_open(const char *proxies, const char *host, uint16_t port,
    const struct tabi_options *options, struct tabi_error *ret_error)
{
	struct tabi_dial *d = tabi_dial_new(proxies, TABI_CONNECT, host, port, options, ret_error);
	const struct tabi_error e = error_of_call(TABI_E_MEMORY, NULL);
	struct tabi_stream *s = NULL;

	if (!d)
		return NULL;
	if (dial_wait(d, -1) != 1)
		tell_failure(d, ret_error);
	else if (!(s = tabi_dial_take_stream(d)))
		error_tell(ret_error, &e);
	tabi_dial_free(d);
	return s;
}

/* ---- BIND ---- */

struct tabi_listener {
	struct tabi_dial *dial;
	struct tabi_address address;
	int awaiting; /* the second answer */
};

struct tabi_listener *tabi_listen(const char *proxies, const char *host, uint16_t port,
    const struct tabi_options *options, struct tabi_error *ret_error)
{
	struct tabi_listener *l = calloc(1, sizeof(*l));
	struct tabi_error e = error_of_call(TABI_E_MEMORY, NULL);

	if (!l) {
		error_tell(ret_error, &e);
		return NULL;
	}
	l->dial = tabi_dial_new(proxies, TABI_BIND, host, port, options, ret_error);
	if (l->dial && dial_wait(l->dial, -1) == 1) {
		tabi_dial_listens_at(l->dial, &l->address);
		return l;
	}
	if (l->dial)
		tell_failure(l->dial, ret_error);
	tabi_listener_close(l);
	return NULL;
}

void tabi_listener_address(const struct tabi_listener *l, struct tabi_address *ret_address)
{
	*ret_address = l->address;
}

tabi_socket tabi_listener_fd(const struct tabi_listener *l)
{
	return tabi_dial_fd(l->dial);
}

/* Waits for the peer. Returns 0, or an error, which is told. */
static int await_peer(struct tabi_listener *l, int timeout, struct tabi_address *ret_peer,
    struct tabi_error *ret_error)
{
	struct tabi_error e;
	int rc;

	if (!l->awaiting && tabi_dial_await_peer(l->dial, -1) == 0)
		l->awaiting = 1;
	rc = dial_wait(l->dial, timeout);
	if (rc == 1) {
		if (ret_peer)
			tabi_dial_bound(l->dial, ret_peer);
		return 0;
	}
	tabi_dial_error(l->dial, &e);
	if (rc == 0)
		e = error_of_call(TABI_E_TIMEOUT, NULL);
	else if (e.code == TABI_OK)
		e = error_of_call(rc, NULL);
	return error_tell(ret_error, &e);
}

tabi_socket tabi_accept(struct tabi_listener *l, int timeout, struct tabi_address *ret_peer,
    struct tabi_error *ret_error)
{
	const int code = dial_needs_stream(l->dial);
	struct tabi_error e;

	if (code < 0) {
		e = socket_is_no_use(code);
		error_tell(ret_error, &e);
		return TABI_NO_SOCKET;
	}
	return await_peer(l, timeout, ret_peer, ret_error) == 0 ? take_blocking(l->dial)
								: TABI_NO_SOCKET;
}

struct tabi_stream *tabi_accept_stream(struct tabi_listener *l, int timeout,
    struct tabi_address *ret_peer, struct tabi_error *ret_error)
{
	const struct tabi_error e = error_of_call(TABI_E_MEMORY, NULL);
	struct tabi_stream *s;

	if (await_peer(l, timeout, ret_peer, ret_error) < 0)
		return NULL;
	s = tabi_dial_take_stream(l->dial);
	if (!s)
		error_tell(ret_error, &e);
	return s;
}

void tabi_listener_close(struct tabi_listener *l)
{
	if (!l)
		return;
	tabi_dial_free(l->dial);
	free(l);
}

void tabi_close(tabi_socket fd)
{
	if (fd != TABI_NO_SOCKET)
		os_close(fd);
}
