/* SPDX-License-Identifier: MIT */
/*
 * tabi connect -u: datagrams. What one read of standard input gives is one datagram, as with other
 * netcats: a line that is typed, or what a program wrote at once. What comes back is written as it
 * comes.
 *
 * Who talks to a proxy does so to where it listens for us, with a header in front of each datagram
 * (RFC 1928 section 7), and the association lasts as long as the connection on which it was asked
 * for.
 */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/connect.h"
#include "net/gss.h"
#include "net/sockaddr.h"
#include "proto/err.h"
#include "proto/udp.h"

enum { AT_INPUT, AT_OUTPUT, AT_RELAY, AT_CONTROL, N_PLACES };

struct datagrams {
	const struct connect_options *o;
	int control; /* -1: directly */
	struct layer *layer;
	int fd; /* connected to the relay, or directly to the target */
	struct stdio in, out;
	struct pump_limits limits;
	uint64_t up, down;
	enum pump_place place;
	bool known; /* `sender` is who answers; of a target given by name that is to be seen */
	struct addr sender;
	size_t left_at, left; /* of `got`, not yet written */
	uint8_t *got;
	uint8_t sent[UDP_HEADER_MAX + UDP_PAYLOAD_MAX];
	uint8_t theirs[UDP_PAYLOAD_MAX + 1], clear[UDP_PAYLOAD_MAX + 1], wrapped[UDP_PAYLOAD_MAX];
};

static int fail(struct datagrams *d, enum pump_place place, int err)
{
	d->place = place;
	return err;
}

/* ---- up ---- */

static size_t header_size(const struct addr *target)
{
	if (target->kind == ADDR_NAME)
		return 7U + target->name_len;
	return ip_is_v4(&target->ip) ? 10 : 22;
}

/* Sends `len` bytes behind the header's room. */
static int send_one(struct datagrams *d, size_t len)
{
	uint8_t *payload = d->sent + UDP_HEADER_MAX, *begin = payload;
	size_t whole = len;
	int err = 0;

	if (d->control >= 0) {
		begin = udp_wrap(payload, &d->o->target);
		whole = (size_t)(payload + len - begin);
	}
	if (gss_layer_is(d->layer)) {
		err = gss_datagram_wrap(
		    d->layer, begin, whole, d->wrapped, sizeof(d->wrapped), &whole);
		begin = d->wrapped;
	}
	if (!err && send(d->fd, begin, whole, MSG_NOSIGNAL) < 0)
		err = -errno;
	/* It may be lost anywhere else as well. */
	if (err == -EAGAIN || err == -ENOBUFS)
		err = 0;
	if (err)
		return fail(d, err == -EMSGSIZE ? PUMP_STDIN : PUMP_CONNECTION, err);
	d->up += len;
	pump_moved(&d->limits);
	return 0;
}

static int read_input(struct datagrams *d)
{
	size_t room = UDP_PAYLOAD_MAX - (d->control >= 0 ? header_size(&d->o->target) : 0);
	ssize_t n = stdio_read(&d->in, d->sent + UDP_HEADER_MAX, room);

	if (n == -EAGAIN)
		return 0;
	if (n < 0)
		return fail(d, PUMP_STDIN, (int)n);
	if (n > 0)
		return send_one(d, (size_t)n);
	d->in.fd = -1;
	pump_half(&d->limits);
	return 0;
}

/* ---- down ---- */

/* Is it from whom we talk to? Proxies say by which address a name was found. */
static bool is_theirs(struct datagrams *d, const struct addr *from)
{
	if (from->port != d->o->target.port)
		return false;
	if (from->kind != ADDR_IP)
		return d->o->target.kind == ADDR_NAME;
	if (!d->known) {
		d->known = true;
		d->sender = *from;
	}
	return ip_equal(&from->ip, &d->sender.ip);
}

/* Finds the payload of what came. Returns false for what is to be dropped. */
static bool unwrap(struct datagrams *d, size_t n)
{
	struct udp_packet packet;
	struct addr from;

	d->got = d->theirs;
	if (gss_layer_is(d->layer)) {
		if (gss_datagram_unwrap(d->layer, d->theirs, n, d->clear, sizeof(d->clear), &n))
			return false;
		d->got = d->clear;
	}
	d->left_at = 0;
	d->left = n;
	if (d->control < 0)
		return true;
	if (udp_unwrap(d->got, n, &packet, &from) != 0 || !is_theirs(d, &from))
		return false;
	d->left_at = (size_t)(packet.data - d->got);
	d->left = packet.len;
	return true;
}

static int write_output(struct datagrams *d)
{
	ssize_t n = stdio_write(&d->out, d->got + d->left_at, d->left);

	if (n == -EAGAIN)
		return 0;
	if (n < 0)
		return fail(d, PUMP_STDOUT, (int)n);
	d->left_at += (size_t)n;
	d->left -= (size_t)n;
	d->down += (uint64_t)n;
	return 0;
}

static int receive(struct datagrams *d)
{
	ssize_t n = recv(d->fd, d->theirs, sizeof(d->theirs), MSG_DONTWAIT);

	if (n < 0)
		return errno == EAGAIN || errno == EINTR ? 0 : fail(d, PUMP_CONNECTION, -errno);
	if (!unwrap(d, (size_t)n)) {
		d->left = 0;
		return 0;
	}
	pump_moved(&d->limits);
	return d->left > 0 ? write_output(d) : 0;
}

/* Nothing is said on it but its end. */
static int hear_control(struct datagrams *d)
{
	uint8_t rest[512];
	ssize_t n = layer_recv(d->layer, d->control, rest, sizeof(rest));

	if (n > 0 || n == -EAGAIN)
		return 0;
	return fail(d, PUMP_CONNECTION, n < 0 ? (int)n : -ECONNRESET);
}

/* ---- both ---- */

static int turn(struct datagrams *d)
{
	struct pollfd fds[N_PLACES] = {
	    [AT_INPUT] = {.fd = d->in.fd, .events = POLLIN},
	    [AT_OUTPUT] = {.fd = d->out.fd, .events = d->left > 0 ? POLLOUT : 0},
	    [AT_RELAY] = {.fd = d->left > 0 ? -1 : d->fd, .events = POLLIN},
	    [AT_CONTROL] = {.fd = d->control, .events = POLLIN},
	};
	const bool pending = layer_pending(d->layer);
	int err = 0;

	if (poll(fds, N_PLACES, pending ? 0 : pump_time_left(&d->limits)) < 0)
		return 0;
	if (fds[AT_OUTPUT].revents & (POLLERR | POLLHUP | POLLNVAL))
		return fail(d, PUMP_STDOUT, -EPIPE);
	if (fds[AT_INPUT].revents)
		err = read_input(d);
	if (!err && d->left > 0)
		err = write_output(d);
	if (!err && fds[AT_RELAY].revents)
		err = receive(d);
	if (!err && (fds[AT_CONTROL].revents || pending))
		err = hear_control(d);
	return err;
}

static int run(struct datagrams *d)
{
	int err = 0;

	stdio_input(&d->in, STDIN_FILENO);
	stdio_output(&d->out, STDOUT_FILENO);
	pump_moved(&d->limits);
	while (!err && !pump_is_late(&d->limits, &err))
		err = turn(d);
	stdio_end(&d->out);
	return err;
}

/* A socket to where the proxy takes our datagrams. Returns a descriptor or -errno. */
static int open_relay(const struct addr *relay)
{
	struct sockaddr_storage sa;
	socklen_t len;
	int fd, err;

	if (relay->kind != ADDR_IP)
		return -EADDRNOTAVAIL;
	len = sockaddr_from_ip(&sa, &relay->ip, relay->port);
	fd = socket(sa.ss_family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	if (connect(fd, (const struct sockaddr *)&sa, len) == 0)
		return fd;
	err = -errno;
	close(fd);
	return err;
}

/* Directly nobody but the target answers, so its refusal is its own. */
static int tell_end(const struct datagrams *d, int err)
{
	const struct chain_result refused = {
	    .err = err, .stage = CHAIN_AT_DIAL, .code = -1, .fd = -1};

	if (err == -ECONNREFUSED && d->control < 0)
		return connect_complain(d->o, &refused, false);
	return connect_tell_end(
	    d->o, err, d->place, d->layer ? d->layer->why : NULL, d->up, d->down);
}

int connect_datagrams(const struct connect_options *o, const struct chain_result *r)
{
	const bool direct = o->proxies.n == 0;
	struct datagrams *d = calloc(1, sizeof(*d));
	int err = -ENOMEM, status;

	if (d) {
		d->o = o;
		d->control = direct ? -1 : r->fd;
		d->layer = r->layer;
		d->fd = direct ? r->fd : open_relay(&r->bound);
		d->limits = (struct pump_limits){.idle_ms = o->idle_ms, .quit_ms = o->quit_ms};
		d->known = o->target.kind == ADDR_IP;
		d->sender = o->target;
		err = d->fd < 0 ? d->fd : run(d);
	}
	status = d ? tell_end(d, err) : VERDICT_LOCAL;
	layer_free(r->layer);
	close(r->fd);
	if (d && !direct && d->fd >= 0)
		close(d->fd);
	free(d);
	return status;
}
