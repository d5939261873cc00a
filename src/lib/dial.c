/* SPDX-License-Identifier: MIT */
/*
 * The machine over a socket that does not block.
 *
 * Theory of operation. A dial talks to the proxies over its socket and the layers upon it, or does
 * one of the things that are waited for otherwise (enum doing); go_on() does what the machine wants
 * until that would block. What blocks in the system's libraries is a job (lib/job.h). When the
 * machine wants another connection the old one is closed, with whatever layers it had.
 */
#include "lib/dial.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/dial_parts.h"
#include "lib/error.h"
#include "lib/lookup.h"
#include "lib/options.h"
#include "lib/os.h"
#include "lib/stream.h"
#include "lib/tls.h"

#define TIMEOUT_DEFAULT 30000
#define PATIENCE_DEFAULT 10000
#define NEVER UINT64_MAX
/* Of one without its password: a user of which every byte is %XX, a name, and what is around. */
#define URL_TEXT_MAX (3 * 255 + 253 + 40)

_Static_assert(GSSAPI_SAID_MAX <= sizeof(((struct tabi_dial *)0)->said), "a sentence of GSS-API");
_Static_assert(TLS_SAID_MAX == GSSAPI_SAID_MAX, "either is kept in one place");
_Static_assert(LOOKUP_SAID_MAX <= sizeof(((struct tabi_dial *)0)->said), "one of the resolver");
_Static_assert(LOOKUP_ADDRESSES_MAX <= RACE_MAX, "all of them can be tried");

/* ---- making one ---- */

const char *dial_find_proxies(const char *proxies)
{
	if (proxies)
		return *proxies ? proxies : NULL;
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
	char url[URL_TEXT_MAX];
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

static bool wants_tls(const struct tabi_dial *d)
{
	char url[400];

	for (int hop = 0; hop < tabi_hops(d->machine); hop++) {
		tabi_hop_url(d->machine, hop, url, sizeof(url));
		if (strncmp(url, "https:", 6) == 0 || strncmp(url, "socks5+tls:", 11) == 0)
			return true;
	}
	return false;
}

size_t dial_datagram_hops(const struct tabi_dial *d)
{
	const int hops = tabi_hops(d->machine);
	char url[400];

	if (hops == 1 || (d->options.flags & TABI_UDP_STRAIGHT))
		return 1;
	for (int hop = 0; hop < hops; hop++) {
		tabi_hop_url(d->machine, hop, url, sizeof(url));
		if (strncmp(url, "socks5", 6) != 0)
			return 0;
	}
	return (size_t)hops;
}

int dial_time_left(const struct tabi_dial *d)
{
	const int left = os_timeout(os_now(), d->deadline);

	/* 0 would be the default. */
	return left != 0 ? left : 1;
}

int dial_needs_stream(const struct tabi_dial *d)
{
	if (wants_tls(d))
		return TABI_E_TLS;
	return d->options.gss != TABI_GSS_OFF && d->options.gss != TABI_GSS_CLEAR ? TABI_E_GSS : 0;
}

/* What is asked for and not there is told before anything is sent. */
static int check_libraries(struct tabi_dial *d, struct tabi_error *e)
{
	char said[GSSAPI_SAID_MAX];
	int code = TABI_OK;

	if (wants_tls(d) && !d->options.tls)
		code = tls_load(said);
	if (code == 0 && d->options.gss != TABI_GSS_OFF)
		code = gssapi_load(said);
	if (code < 0) {
		*e = error_of_call(code, NULL);
		error_say(e, said);
	}
	return code;
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
	code = check_libraries(d, e);
	if (code == 0)
		code = ask_credentials(d, e);
	if (code < 0)
		return code;
	d->command = command;
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
	d->protected_hop = -1;
	if (options_take(options, &d->options, &e.why) != 0)
		goto failed;
	e.why = "no proxy was named, neither in the call nor in TABI_PROXY or ALL_PROXY";
	proxies = dial_find_proxies(proxies);
	if (!proxies)
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

/* Ends all that goes on, and the connection. */
static void hang_up(struct tabi_dial *d)
{
	job_leave(d->job);
	d->job = NULL;
	gsslogin_free(d->login);
	d->login = NULL;
	race_stop(&d->race);
	layer_free(d->top);
	d->top = NULL;
	if (d->fd != TABI_NO_SOCKET)
		os_close(d->fd);
	d->fd = TABI_NO_SOCKET;
	d->protected_hop = -1;
	d->handshaking = false;
	d->doing = TALKING;
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

/* The sentence of a library, for the error that comes of it. */
static void keep_said(struct tabi_dial *d, int code, const char *said)
{
	d->said_code = code;
	snprintf(d->said, sizeof(d->said), "%s", said);
}

void dial_give_up(struct tabi_dial *d, int code, int error_number, const char *said)
{
	keep_said(d, code, said);
	tabi_give_up(d->machine, code, error_number);
}

/* Each takes two descriptors beside the thread. */
void dial_has_no_job(struct tabi_dial *d, int code, int err)
{
	const bool full = err == -EMFILE || err == -ENFILE;

	dial_give_up(d, code, -err, full ? "too many open files" : "no thread for it");
}

/* ---- names ---- */

/* Those that are known without the system: returns how many, -1 where it has to be asked. */
static int known_addresses(
    const struct tabi_dial *d, const char *host, struct tabi_address *ret_addresses)
{
	int n;

	if (tabi_address_set(ret_addresses, host, 0) == 0 && ret_addresses->family != TABI_NAME)
		return 1;
	if (!d->options.resolve)
		return -1;
	n = d->options.resolve(d->options.user, host, ret_addresses, LOOKUP_ADDRESSES_MAX);
	if (n < 0)
		return 0;
	return n < LOOKUP_ADDRESSES_MAX ? n : LOOKUP_ADDRESSES_MAX;
}

/* The addresses are of the name that the machine asks for, or the first proxy's, to which it still
 * wants a connection then. */
static void take_addresses(struct tabi_dial *d, const struct tabi_address *addresses, int n)
{
	if (tabi_step(d->machine) == TABI_WANT_RESOLVE)
		tabi_resolved(d->machine, addresses, (size_t)n);
	else if (n == 0)
		tabi_give_up(d->machine, TABI_E_RESOLVE, 0);
	else
		race_set(&d->race, addresses, n, tabi_hop_port(d->machine, 0));
}

static void look_up(struct tabi_dial *d, const char *host)
{
	struct tabi_address found[LOOKUP_ADDRESSES_MAX];
	const int n = known_addresses(d, host, found);
	int err;

	if (n >= 0) {
		take_addresses(d, found, n);
		return;
	}
	err = lookup_start(&d->job, host);
	if (err < 0) {
		dial_has_no_job(d, TABI_E_RESOLVE, err);
		return;
	}
	d->doing = LOOKING_UP;
	d->generation++;
}

/* What is wanted then is looked at again: in a child of fork() the look-up is. */
static bool finish_look_up(struct tabi_dial *d)
{
	const int over = job_is_over(d->job);
	struct lookup *l;

	if (over == 0)
		return false;
	d->doing = TALKING;
	d->generation++;
	if (over < 0) {
		job_leave(d->job);
		d->job = NULL;
		return true;
	}
	l = lookup_take(d->job);
	d->job = NULL;
	keep_said(d, TABI_E_RESOLVE, l->said);
	take_addresses(d, l->found, l->n);
	free(l);
	return true;
}

int dial_look_up(struct tabi_dial *d, const char *host, struct tabi_address *ret_addresses)
{
	int n = known_addresses(d, host, ret_addresses);
	struct lookup *l;
	struct job *job;
	struct os_wait w;

	if (n >= 0 || lookup_start(&job, host) < 0)
		return n > 0 ? n : 0;
	w = (struct os_wait){.fd = job_fd(job), .events = TABI_READABLE};
	while (job_is_over(job) == 0 && os_now() < d->deadline)
		(void)os_wait(&w, 1, os_timeout(os_now(), d->deadline));
	if (job_is_over(job) != 1) {
		job_leave(job);
		return 0;
	}
	l = lookup_take(job);
	n = l->n;
	memcpy(ret_addresses, l->found, sizeof(l->found));
	free(l);
	return n;
}

/* A proxy that is slow is not one that has stumbled, and to ask it again has the target connected
 * to twice: a third of all the time there is. */
void dial_be_patient(struct tabi_dial *d)
{
	const int timeout = d->options.timeout;

	d->patience = after(d->options.patience, timeout > 0 ? timeout / 3 + 1 : PATIENCE_DEFAULT);
}

/* ---- the connection to the first proxy ---- */

/* A proxy that is asked again is asked at the address where it was. */
static void connect_first(struct tabi_dial *d)
{
	hang_up(d);
	if (d->race.n == 0) {
		look_up(d, tabi_hop_host(d->machine, 0));
		return;
	}
	race_start(&d->race);
	d->doing = CONNECTING;
	d->generation++;
}

/* Returns false where it has to wait. */
static bool finish_connecting(struct tabi_dial *d)
{
	const unsigned changes = d->race.changes;
	const int rc = race_step(&d->race, &d->fd);

	d->generation += d->race.changes - changes;
	if (rc == 0)
		return false;
	d->doing = TALKING;
	d->generation++;
	if (rc < 0) {
		race_stop(&d->race);
		tabi_give_up(d->machine, TABI_E_CONNECT, -rc);
		return true;
	}
	d->top = layer_of_socket(d->fd);
	dial_be_patient(d);
	if (d->top)
		tabi_connected(d->machine);
	else
		tabi_give_up(d->machine, TABI_E_MEMORY, 0);
	return true;
}

/* ---- talking ---- */

/* `n` is what a layer said that moved nothing, or cannot go on. */
static void broke(struct tabi_dial *d, long n)
{
	const struct layer *fault = layer_at_fault(d->top);

	if (tabi_may_stall(d->machine))
		tabi_stalled(d->machine);
	else if (n == TABI_IO_END && layer_is_bare(d->top))
		tabi_input_end(d->machine);
	else
		dial_give_up(
		    d, fault->ops->code, fault->error_number, fault->why ? fault->why : "");
}

/* What a call said that moved nothing. Returns false where it has to wait. */
bool dial_stopped(struct tabi_dial *d, long n)
{
	if (n == TABI_IO_READ || n == TABI_IO_WRITE) {
		d->events = n == TABI_IO_READ ? TABI_READABLE : TABI_WRITABLE;
		return false;
	}
	broke(d, n);
	return true;
}

static bool send_some(struct tabi_dial *d)
{
	size_t len;
	const void *data = tabi_output(d->machine, &len);
	long n = layer_send(d->top, data, len);

	if (n <= 0)
		return dial_stopped(d, n);
	tabi_wrote(d->machine, (size_t)n);
	dial_be_patient(d);
	return true;
}

/* What is wanted of HTTP is a byte or two at a time: those that are there are looked at before as
 * many are taken as the machine has a use for. */
static bool peeks(const struct tabi_dial *d)
{
	char url[8];

	tabi_hop_url(d->machine, tabi_hop(d->machine), url, sizeof(url));
	return layer_is_bare(d->top) && strncmp(url, "http:", 5) == 0;
}

static long receive_wanted(struct tabi_dial *d, unsigned char *buf, size_t cap)
{
	const size_t want = tabi_wanted(d->machine);

	return layer_receive(d->top, buf, want < cap ? want : cap);
}

/* Of a bare socket. */
static long peek(struct tabi_dial *d, unsigned char *buf, size_t cap)
{
	const long n = os_peek(d->fd, buf, cap);

	if (n >= 0)
		return n;
	if (n == -EAGAIN)
		return TABI_IO_READ;
	d->top->error_number = (int)-n;
	return TABI_IO_BROKEN;
}

/* They are there, so that as many come. */
static bool take_from_peeked(struct tabi_dial *d, unsigned char *buf, size_t n)
{
	const size_t taken = tabi_input(d->machine, buf, n);

	if (os_receive(d->fd, buf, taken) != (long)taken)
		broke(d, TABI_IO_BROKEN);
	return true;
}

static bool receive_some(struct tabi_dial *d)
{
	unsigned char buf[1024];
	const bool peeked = peeks(d);
	long n = peeked ? peek(d, buf, sizeof(buf)) : receive_wanted(d, buf, sizeof(buf));

	if (n < 0)
		return dial_stopped(d, n);
	if (n == 0) {
		tabi_input_end(d->machine);
		return true;
	}
	dial_be_patient(d);
	if (peeked)
		return take_from_peeked(d, buf, (size_t)n);
	(void)tabi_input(d->machine, buf, (size_t)n);
	return true;
}

/* ---- stepping ---- */

/* Does the one thing that is wanted. Returns false where it has to wait, or is over. */
static bool go_on(struct tabi_dial *d)
{
	if (d->doing == LOOKING_UP)
		return finish_look_up(d);
	if (d->doing == CONNECTING)
		return finish_connecting(d);
	if (d->doing == INITIATING)
		return dial_finish_context(d);
	switch (tabi_step(d->machine)) {
	case TABI_WANT_CONNECTION:
		connect_first(d);
		return true;
	case TABI_WANT_WRITE:
		return send_some(d);
	case TABI_WANT_READ:
		return receive_some(d);
	case TABI_WANT_RESOLVE:
		look_up(d, tabi_asked_name(d->machine));
		return true;
	case TABI_WANT_TLS:
		return dial_start_tls(d);
	case TABI_WANT_GSS_CONTEXT:
		dial_begin_context(d);
		return true;
	case TABI_WANT_GSS_LEVEL:
		dial_ask_level(d);
		return true;
	case TABI_WANT_GSS_ANSWER:
		dial_take_level(d);
		return true;
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

	if (now >= d->deadline)
		tabi_give_up(d->machine, TABI_E_TIMEOUT, ETIMEDOUT);
	else if (d->doing == TALKING && now >= d->patience && tabi_may_stall(d->machine))
		tabi_stalled(d->machine);
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
		/* It may want another connection now, or have failed. */
	} while (tabi_step(d->machine) == TABI_WANT_CONNECTION && d->doing == TALKING);
	if (tabi_step(d->machine) == TABI_DONE)
		return 1;
	tabi_machine_error(d->machine, &e);
	if (e.code != TABI_OK)
		hang_up(d);
	return e.code;
}

tabi_socket tabi_dial_fd(const struct tabi_dial *d)
{
	int events;

	if (d->taken)
		return TABI_NO_SOCKET;
	if (d->job)
		return job_fd(d->job);
	return d->doing == CONNECTING ? race_fd(&d->race, &events) : d->fd;
}

int tabi_dial_events(const struct tabi_dial *d)
{
	int events = d->events;

	if (d->job)
		return TABI_READABLE;
	if (d->doing == CONNECTING)
		(void)race_fd(&d->race, &events);
	return events;
}

unsigned tabi_dial_generation(const struct tabi_dial *d)
{
	return d->generation;
}

int tabi_dial_timeout(const struct tabi_dial *d)
{
	const enum tabi_want want = tabi_step(d->machine);
	uint64_t next = d->deadline;

	if (d->doing == CONNECTING && race_next(&d->race) < next)
		next = race_next(&d->race);
	if (d->doing != TALKING)
		return os_timeout(os_now(), next);
	/* Nothing has been begun that could be waited for. */
	if (want == TABI_WANT_CONNECTION || want == TABI_WANT_RESOLVE)
		return 0;
	if (tabi_may_stall(d->machine) && d->patience < next)
		next = d->patience;
	return os_timeout(os_now(), next);
}

/* All of a race's sockets, where the system has nothing that stands for them. */
static int list_waits(const struct tabi_dial *d, struct os_wait *ret_waits)
{
	if (d->doing == CONNECTING)
		return race_waits(&d->race, ret_waits);
	ret_waits[0] = (struct os_wait){.fd = tabi_dial_fd(d), .events = tabi_dial_events(d)};
	return 1;
}

int dial_wait(struct tabi_dial *d, int timeout)
{
	const uint64_t end = after(timeout, 0);
	struct os_wait waits[OS_WAITS_MAX];
	int rc, ms;

	while ((rc = tabi_dial_step(d)) == 0) {
		const uint64_t now = os_now();

		if (now >= end)
			return 0;
		ms = tabi_dial_timeout(d);
		if (end != NEVER && (ms < 0 || end - now < (uint64_t)ms))
			ms = (int)(end - now);
		if (os_wait(waits, list_waits(d, waits), ms) < 0)
			return TABI_E_IO;
	}
	return rc;
}

/* ---- what came of it ---- */

static bool can_be_taken(const struct tabi_dial *d)
{
	return !d->taken && tabi_step(d->machine) == TABI_DONE && d->top;
}

static tabi_socket take_socket(struct tabi_dial *d)
{
	const tabi_socket fd = d->fd;

	d->taken = true;
	d->fd = TABI_NO_SOCKET;
	return fd;
}

/* The layers are freed with the dial, unless the session in them is taken. */
tabi_socket tabi_dial_take(struct tabi_dial *d)
{
	if (!can_be_taken(d) || !layer_is_tls_alone(d->top))
		return TABI_NO_SOCKET;
	return take_socket(d);
}

void *tabi_dial_take_tls(struct tabi_dial *d)
{
	void *session;

	if (tabi_step(d->machine) != TABI_DONE || !layer_is_tls_alone(d->top))
		return NULL;
	session = layer_take_tls(d->top);
	d->session_taken |= session != NULL;
	return session;
}

struct tabi_stream *tabi_dial_take_stream(struct tabi_dial *d)
{
	const bool whole = can_be_taken(d) && !d->session_taken;
	struct tabi_stream *s = whole ? stream_new(d->fd, d->top) : NULL;

	if (!s)
		return NULL;
	(void)take_socket(d);
	d->top = NULL;
	return s;
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
	if (ret_error->code != TABI_OK && ret_error->code == d->said_code)
		error_say(ret_error, d->said);
}
