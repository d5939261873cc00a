/* SPDX-License-Identifier: MIT */
/*
 * The machine over a socket that does not block.
 *
 * Theory of operation. A dial is in one of two phases: a connection to the first proxy is on its
 * way, or the machine talks over one. drive() does what the machine wants until that would block.
 * When the machine wants another connection the old one is closed, with whatever TLS was in it.
 */
#include "lib/dial.h"

#include <errno.h>
#include <limits.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "lib/error.h"
#include "lib/options.h"
#include "lib/os.h"

#define ADDRESSES_MAX 16
#define TIMEOUT_DEFAULT 30000
#define PATIENCE_DEFAULT 10000
#define NEVER UINT64_MAX

struct tabi_dial {
	struct tabi_machine *machine;
	struct tabi_options options;
	tabi_socket fd;
	unsigned generation;
	int events;
	bool connecting;
	bool handshaking; /* `tls` does not stand yet */
	bool taken;
	void *tls;
	uint64_t deadline;
	uint64_t patience;                            /* the machine is taken for stalled then */
	uint64_t attempt;                             /* the next address is tried then */
	struct tabi_address addresses[ADDRESSES_MAX]; /* of the first proxy; 0: not looked up yet */
	int n_addresses, at;
};

/* ---- making one ---- */

static const char *find_proxies(const char *proxies)
{
	if (!proxies)
		proxies = getenv("TABI_PROXY");
	if (!proxies || !*proxies)
		proxies = getenv("ALL_PROXY");
	return proxies && *proxies ? proxies : NULL;
}

static uint64_t after(int milliseconds, int otherwise)
{
	if (milliseconds < 0)
		return NEVER;
	return os_now() + (uint64_t)(milliseconds > 0 ? milliseconds : otherwise);
}

/* Of the hops whose URL has no user. */
static int ask_credentials(struct tabi_dial *d, struct tabi_error *e)
{
	struct tabi_credentials credentials;
	char url[400];
	int rc;

	for (int hop = 0; d->options.credentials && hop < tabi_hops(d->machine); hop++) {
		tabi_hop_url(d->machine, hop, url, sizeof(url));
		if (strchr(url, '@'))
			continue;
		memset(&credentials, 0, sizeof(credentials));
		rc = d->options.credentials(d->options.user, hop, url, &credentials);
		if (rc > 0)
			rc = tabi_machine_credentials(d->machine, hop, &credentials);
		if (rc < 0) {
			*e = error_of_call(TABI_E_ARGUMENT,
			    "there are no credentials that the proxy could be told");
			return e->code;
		}
	}
	return 0;
}

int dial_wants_tls(const struct tabi_dial *d)
{
	char url[400];

	for (int hop = 0; hop < tabi_hops(d->machine); hop++) {
		tabi_hop_url(d->machine, hop, url, sizeof(url));
		if (strncmp(url, "https:", 6) == 0 || strncmp(url, "socks5+tls:", 11) == 0)
			return 1;
	}
	return 0;
}

static int start(struct tabi_dial *d, const char *proxies, enum tabi_command command,
    const char *host, uint16_t port, struct tabi_error *e)
{
	const size_t size = tabi_machine_size(proxies, &d->options);
	void *memory = malloc(size > 0 ? size : 1);
	int code;

	*e = error_of_call(TABI_E_MEMORY, NULL);
	if (!memory)
		return e->code;
	d->machine = tabi_machine_init(memory, size, proxies, &d->options, e);
	if (!d->machine) {
		free(memory);
		return e->code;
	}
	if (dial_wants_tls(d) && !d->options.tls) {
		*e = error_of_call(TABI_E_TLS, "a proxy wants it, and options.tls has none");
		return e->code;
	}
	code = ask_credentials(d, e);
	if (code < 0)
		return code;
	code = tabi_machine_start(d->machine, command, host, port);
	*e = error_of_call(code, "neither a host name nor an address, or no command");
	return code;
}

struct tabi_dial *tabi_dial_new(const char *proxies, enum tabi_command command, const char *host,
    uint16_t port, const struct tabi_options *options, struct tabi_error *ret_error)
{
	struct tabi_error e = error_of_call(TABI_E_ARGUMENT, NULL);
	struct tabi_dial *d = calloc(1, sizeof(*d));

	if (!d) {
		e = error_of_call(TABI_E_MEMORY, NULL);
		goto failed;
	}
	d->fd = TABI_NO_SOCKET;
	if (options_take(options, &d->options, &e.why) != 0)
		goto failed;
	e.why = "no proxy was named, neither in the call nor in TABI_PROXY or ALL_PROXY";
	proxies = find_proxies(proxies);
	if (!proxies)
		goto failed;
	e.why = "GSS-API is for the machine alone";
	if (d->options.gss != TABI_GSS_OFF)
		goto failed;
	e = error_of_call(TABI_E_IO, NULL);
	e.error_number = -os_start();
	if (e.error_number != 0 || start(d, proxies, command, host, port, &e) < 0)
		goto failed;
	d->deadline = after(d->options.timeout, TIMEOUT_DEFAULT);
	return d;
failed:
	error_tell(ret_error, &e);
	tabi_dial_free(d);
	return NULL;
}

static void hang_up(struct tabi_dial *d)
{
	if (d->tls)
		d->options.tls->free(d->tls);
	d->tls = NULL;
	if (d->fd != TABI_NO_SOCKET)
		os_close(d->fd);
	d->fd = TABI_NO_SOCKET;
}

void tabi_dial_free(struct tabi_dial *d)
{
	if (!d)
		return;
	hang_up(d);
	tabi_machine_wipe(d->machine);
	free(d->machine);
	free(d);
}

/* ---- names ---- */

static int look_up(const struct tabi_dial *d, const char *host, struct tabi_address *ret_addresses)
{
	int n;

	if (tabi_address_set(ret_addresses, host, 0) == 0 && ret_addresses->family != TABI_NAME)
		return 1;
	n = d->options.resolve
		? d->options.resolve(d->options.user, host, ret_addresses, ADDRESSES_MAX)
		: os_resolve(host, ret_addresses, ADDRESSES_MAX);
	return n < ADDRESSES_MAX ? n : ADDRESSES_MAX;
}

static void resolve(struct tabi_dial *d)
{
	struct tabi_address found[ADDRESSES_MAX];
	int n = look_up(d, tabi_asked_name(d->machine), found);

	tabi_resolved(d->machine, found, n > 0 ? (size_t)n : 0);
}

/* A proxy that is slow is not one that has stumbled, and to ask it again has the target connected
 * to twice: a third of all the time there is. */
static void be_patient(struct tabi_dial *d)
{
	const int timeout = d->options.timeout;

	d->patience = after(d->options.patience, timeout > 0 ? timeout / 3 + 1 : PATIENCE_DEFAULT);
}

/* ---- the connection to the first proxy ---- */

/* A share of what is left for each address that is, but enough for a lost packet. */
static uint64_t attempt_ends(const struct tabi_dial *d)
{
	const uint64_t now = os_now(), least = 3500;
	const uint64_t left = d->deadline > now ? d->deadline - now : 0;
	uint64_t share;

	if (d->deadline == NEVER || d->at + 1 >= d->n_addresses)
		return d->at + 1 >= d->n_addresses ? NEVER : now + 10000;
	share = left / (uint64_t)(d->n_addresses - d->at);
	return now + (share > least ? share : least);
}

/* The next address to which a connection can be begun. */
static void connect_next(struct tabi_dial *d, int err)
{
	for (; d->at < d->n_addresses; d->at++) {
		d->addresses[d->at].port = tabi_hop_port(d->machine, 0);
		err = os_connect(&d->addresses[d->at], &d->fd);
		if (err < 0)
			continue;
		d->generation++;
		d->connecting = true;
		d->attempt = attempt_ends(d);
		return;
	}
	tabi_give_up(d->machine, err == 0 ? TABI_E_RESOLVE : TABI_E_CONNECT, -err);
}

/* A proxy that is asked again is asked at the address where it was. */
static void connect_first(struct tabi_dial *d)
{
	hang_up(d);
	if (d->n_addresses == 0) {
		d->n_addresses = look_up(d, tabi_hop_host(d->machine, 0), d->addresses);
		d->at = 0;
	}
	connect_next(d, 0);
}

static void connect_failed(struct tabi_dial *d, int err)
{
	d->connecting = false;
	hang_up(d);
	d->at++;
	connect_next(d, err);
}

/* Returns false where it has to wait. */
static bool finish_connecting(struct tabi_dial *d)
{
	struct os_wait w = {.fd = d->fd, .events = TABI_WRITABLE};
	int err;

	d->events = TABI_WRITABLE;
	if (os_wait(&w, 1, 0) <= 0) {
		if (os_now() < d->attempt)
			return false;
		connect_failed(d, -ETIMEDOUT);
		return true;
	}
	err = os_connected(d->fd);
	if (err < 0) {
		connect_failed(d, err);
		return true;
	}
	d->connecting = false;
	be_patient(d);
	tabi_connected(d->machine);
	return true;
}

/* ---- talking ---- */

static void broke(struct tabi_dial *d, int err)
{
	if (tabi_may_stall(d->machine))
		tabi_stalled(d->machine);
	else
		tabi_give_up(d->machine, d->tls ? TABI_E_TLS : TABI_E_IO, -err);
}

/* What a call said that moved nothing. Returns false where it has to wait. */
static bool stopped(struct tabi_dial *d, long n, int events)
{
	if (d->tls && n == TABI_IO_READ)
		d->events = TABI_READABLE;
	else if (d->tls && n == TABI_IO_WRITE)
		d->events = TABI_WRITABLE;
	else if (!d->tls && n == -EAGAIN)
		d->events = events;
	else {
		broke(d, d->tls ? 0 : (int)n);
		return true;
	}
	return false;
}

static bool send_some(struct tabi_dial *d)
{
	size_t len;
	const void *data = tabi_output(d->machine, &len);
	long n = d->tls ? d->options.tls->send(d->tls, data, len) : os_send(d->fd, data, len);

	if (n <= 0)
		return stopped(d, n, TABI_WRITABLE);
	tabi_wrote(d->machine, (size_t)n);
	be_patient(d);
	return true;
}

/* What is wanted of HTTP is a byte or two at a time: those that are there are looked at before as
 * many are taken as the machine has a use for. */
static bool peeks(const struct tabi_dial *d)
{
	char url[8];

	tabi_hop_url(d->machine, tabi_hop(d->machine), url, sizeof(url));
	return !d->tls && strncmp(url, "http:", 5) == 0;
}

static long receive_wanted(struct tabi_dial *d, unsigned char *buf, size_t cap)
{
	size_t want = tabi_wanted(d->machine);

	want = want < cap ? want : cap;
	return d->tls ? d->options.tls->receive(d->tls, buf, want) : os_receive(d->fd, buf, want);
}

/* They are there, so that as many come. */
static bool take_from_peeked(struct tabi_dial *d, unsigned char *buf, size_t n)
{
	const size_t taken = tabi_input(d->machine, buf, n);

	if (os_receive(d->fd, buf, taken) != (long)taken)
		broke(d, 0);
	return true;
}

static bool receive_some(struct tabi_dial *d)
{
	unsigned char buf[1024];
	const bool peeked = peeks(d);
	long n = peeked ? os_peek(d->fd, buf, sizeof(buf)) : receive_wanted(d, buf, sizeof(buf));

	if (n < 0)
		return stopped(d, n, TABI_READABLE);
	if (n == 0) {
		tabi_input_end(d->machine);
		return true;
	}
	be_patient(d);
	if (peeked)
		return take_from_peeked(d, buf, (size_t)n);
	(void)tabi_input(d->machine, buf, (size_t)n);
	return true;
}

/* A session is inside the one before; `tls` is the innermost. Its handshake is all that happens
 * until it stands. */
static bool start_tls(struct tabi_dial *d)
{
	const struct tabi_tls *tls = d->options.tls;
	const char *host = tabi_hop_host(d->machine, tabi_hop(d->machine));
	void *session;
	int rc;

	if (!d->handshaking) {
		session = tls->start(tls->user, d->fd, d->tls, host);
		if (!session) {
			tabi_give_up(d->machine, TABI_E_TLS, 0);
			return true;
		}
		d->tls = session;
		d->handshaking = true;
	}
	rc = tls->handshake(d->tls);
	if (rc != 1)
		return stopped(d, rc, 0);
	d->handshaking = false;
	tabi_tls_started(d->machine);
	return true;
}

/* ---- stepping ---- */

/* Does the one thing that is wanted. Returns false where it has to wait, or is over. */
static bool go_on(struct tabi_dial *d)
{
	if (d->connecting)
		return finish_connecting(d);
	switch (tabi_step(d->machine)) {
	case TABI_WANT_CONNECTION:
		connect_first(d);
		return true;
	case TABI_WANT_WRITE:
		return send_some(d);
	case TABI_WANT_READ:
		return receive_some(d);
	case TABI_WANT_RESOLVE:
		resolve(d);
		return true;
	case TABI_WANT_TLS:
		return start_tls(d);
	case TABI_WANT_GSS_CONTEXT:
	case TABI_WANT_GSS_LEVEL:
	case TABI_WANT_GSS_ANSWER:
	case TABI_DONE:
	case TABI_FAILED:
		break;
	}
	return false;
}

static bool is_over(const struct tabi_dial *d)
{
	const enum tabi_want want = tabi_step(d->machine);

	return want == TABI_DONE || want == TABI_FAILED;
}

static void watch_clock(struct tabi_dial *d)
{
	const uint64_t now = os_now();

	if (now >= d->deadline) {
		d->connecting = false;
		tabi_give_up(d->machine, TABI_E_TIMEOUT, ETIMEDOUT);
	} else if (!d->connecting && now >= d->patience && tabi_may_stall(d->machine)) {
		tabi_stalled(d->machine);
	}
}

int tabi_dial_step(struct tabi_dial *d)
{
	struct tabi_error e;

	if (d->taken)
		return TABI_E_STATE;
	do {
		while (go_on(d))
			;
		if (!is_over(d))
			watch_clock(d);
		/* It may want another connection now. */
	} while (tabi_step(d->machine) == TABI_WANT_CONNECTION && !d->connecting);
	if (tabi_step(d->machine) == TABI_DONE)
		return 1;
	tabi_machine_error(d->machine, &e);
	if (e.code != TABI_OK)
		hang_up(d);
	return e.code;
}

tabi_socket tabi_dial_fd(const struct tabi_dial *d)
{
	return d->taken ? TABI_NO_SOCKET : d->fd;
}

int tabi_dial_events(const struct tabi_dial *d)
{
	return d->events;
}

unsigned tabi_dial_generation(const struct tabi_dial *d)
{
	return d->generation;
}

int tabi_dial_timeout(const struct tabi_dial *d)
{
	const enum tabi_want want = tabi_step(d->machine);
	const uint64_t now = os_now();
	uint64_t next = d->deadline;

	/* Nothing has been begun that could be waited for. */
	if (!d->connecting && (want == TABI_WANT_CONNECTION || want == TABI_WANT_RESOLVE))
		return 0;
	if (d->connecting && d->attempt < next)
		next = d->attempt;
	if (!d->connecting && tabi_may_stall(d->machine) && d->patience < next)
		next = d->patience;
	if (next == NEVER)
		return -1;
	if (next <= now)
		return 0;
	return next - now < INT_MAX ? (int)(next - now) : INT_MAX;
}

int dial_wait(struct tabi_dial *d, int timeout)
{
	const uint64_t end = after(timeout, 0);
	struct os_wait w;
	int rc, ms;

	while ((rc = tabi_dial_step(d)) == 0) {
		const uint64_t now = os_now();

		if (now >= end)
			return 0;
		ms = tabi_dial_timeout(d);
		if (end != NEVER && (ms < 0 || end - now < (uint64_t)ms))
			ms = (int)(end - now);
		w = (struct os_wait){.fd = d->fd, .events = d->events};
		if (os_wait(&w, 1, ms) < 0)
			return TABI_E_IO;
	}
	return rc;
}

/* ---- what came of it ---- */

tabi_socket tabi_dial_take(struct tabi_dial *d)
{
	const tabi_socket fd = d->fd;

	if (d->taken || tabi_step(d->machine) != TABI_DONE)
		return TABI_NO_SOCKET;
	d->taken = true;
	d->fd = TABI_NO_SOCKET;
	return fd;
}

void *tabi_dial_take_tls(struct tabi_dial *d)
{
	void *tls = d->tls;

	if (tabi_step(d->machine) != TABI_DONE)
		return NULL;
	d->tls = NULL;
	return tls;
}

void tabi_dial_bound(const struct tabi_dial *d, struct tabi_address *ret_address)
{
	tabi_bound(d->machine, ret_address);
}

/* A chain hides where its last proxy is, but for what its URL says. */
void tabi_dial_listens_at(const struct tabi_dial *d, struct tabi_address *ret_address)
{
	struct tabi_address reached;
	const bool alone = tabi_hops(d->machine) == 1 && os_peer(d->fd, &reached) == 0;

	tabi_listens_at(d->machine, alone ? &reached : NULL, ret_address);
}

int tabi_dial_await_peer(struct tabi_dial *d, int timeout)
{
	int rc = d->taken ? TABI_E_STATE : tabi_await_peer(d->machine);

	if (rc == 0)
		d->deadline = after(timeout, 0);
	return rc;
}

void tabi_dial_error(const struct tabi_dial *d, struct tabi_error *ret_error)
{
	tabi_machine_error(d->machine, ret_error);
}
