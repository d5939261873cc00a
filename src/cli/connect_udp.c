/* SPDX-License-Identifier: MIT */
/*
 * tabi connect -u: datagrams. What one read of standard input gives is one datagram, as with other
 * netcats: a line that is typed, or what a program wrote at once. What comes back is written as it
 * comes.
 *
 * Who talks to a proxy does so to where it listens for us, with a header in front of each datagram
 * (RFC 1928 section 7), or several for a chain of them; and the associations last as long as the
 * connections on which they were asked for (net/nest.h).
 */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/connect.h"
#include "net/nest.h"
#include "net/sockaddr.h"
#include "proto/err.h"
#include "proto/udp.h"

/* Behind them, the connections to the proxies. */
enum { AT_INPUT, AT_OUTPUT, AT_RELAY, AT_CONTROL, N_PLACES = AT_CONTROL + NEST_HOPS_MAX };

struct datagrams {
	const struct connect_options *o;
	struct nest *nest; /* NULL: directly */
	int fd;            /* connected to the relay, or directly to the target */
	struct stdio in, out;
	struct pump_limits limits;
	uint64_t up, down;
	enum pump_place place;
	const char *why; /* of what failed, or NULL */
	bool known;      /* `sender` is who answers; of a target given by name that is to be seen */
	struct addr sender;
	const uint8_t *got; /* `left` bytes, not yet written */
	size_t left;
	struct nest_room room;
	uint8_t sent[UDP_PAYLOAD_MAX], theirs[NEST_BUFFER_SIZE];
	uint8_t a[NEST_BUFFER_SIZE], b[NEST_BUFFER_SIZE];
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

/* What a datagram may hold beside the headers. */
static size_t room_for_payload(const struct datagrams *d)
{
	size_t headers = d->nest ? header_size(&d->o->target) : 0;

	for (size_t i = 1; d->nest && i < d->nest->n; i++)
		headers += header_size(&d->nest->relays[i].at);
	return UDP_PAYLOAD_MAX - headers;
}

/* Returns 0 or -errno. */
static int send_parts(int fd, const struct nest_parts *p)
{
	struct iovec parts[2] = {
	    /* struct iovec serves both directions, so it has no const. */
	    {(void *)(uintptr_t)p->header, p->header_len},
	    {(void *)(uintptr_t)p->data, p->len},
	};
	const struct msghdr msg = {.msg_iov = parts, .msg_iovlen = 2};

	return sendmsg(fd, &msg, MSG_NOSIGNAL) < 0 ? -errno : 0;
}

/* The first `len` bytes of `sent`. */
static int send_one(struct datagrams *d, size_t len)
{
	struct nest_parts p = {.data = d->sent, .len = len};
	int err = 0;

	if (d->nest)
		err = nest_wrap(d->nest, &d->o->target, d->sent, len, &d->room, &p);
	if (!err)
		err = send_parts(d->fd, &p);
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
	ssize_t n = stdio_read(&d->in, d->sent, room_for_payload(d));

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
	struct udp_packet packet = {.data = d->theirs, .len = n};
	struct addr from;

	if (d->nest && (nest_unwrap(d->nest, d->theirs, n, &d->room, &packet, &from) != 0 ||
			   !is_theirs(d, &from)))
		return false;
	d->got = packet.data;
	d->left = packet.len;
	return true;
}

static int write_output(struct datagrams *d)
{
	ssize_t n = stdio_write(&d->out, d->got, d->left);

	if (n == -EAGAIN)
		return 0;
	if (n < 0)
		return fail(d, PUMP_STDOUT, (int)n);
	d->got += n;
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
static int hear_control(struct datagrams *d, size_t i)
{
	const struct nest_control *c = &d->nest->control[i];
	uint8_t rest[512];
	ssize_t n = layer_recv(c->layer, c->fd, rest, sizeof(rest));

	if (n > 0 || n == -EAGAIN)
		return 0;
	d->why = c->layer ? c->layer->why : NULL;
	return fail(d, PUMP_CONNECTION, n < 0 ? (int)n : -ECONNRESET);
}

/* ---- both ---- */

/* The connections, as far as there is something to hear. */
static int hear_controls(struct datagrams *d, const struct pollfd *fds)
{
	int err = 0;

	for (size_t i = 0; d->nest && i < d->nest->n && !err; i++)
		if (fds[i].revents || layer_pending(d->nest->control[i].layer))
			err = hear_control(d, i);
	return err;
}

static int turn(struct datagrams *d)
{
	struct pollfd fds[N_PLACES] = {
	    [AT_INPUT] = {.fd = d->in.fd, .events = POLLIN},
	    [AT_OUTPUT] = {.fd = d->out.fd, .events = d->left > 0 ? POLLOUT : 0},
	    [AT_RELAY] = {.fd = d->left > 0 ? -1 : d->fd, .events = POLLIN},
	};
	const size_t n = d->nest ? d->nest->n : 0;
	bool pending = false;
	int err = 0;

	for (size_t i = 0; i < n; i++) {
		fds[AT_CONTROL + i] =
		    (struct pollfd){.fd = d->nest->control[i].fd, .events = POLLIN};
		pending |= layer_pending(d->nest->control[i].layer);
	}
	if (poll(fds, AT_CONTROL + n, pending ? 0 : pump_time_left(&d->limits)) < 0)
		return 0;
	if (fds[AT_OUTPUT].revents & (POLLERR | POLLHUP | POLLNVAL))
		return fail(d, PUMP_STDOUT, -EPIPE);
	if (fds[AT_INPUT].revents)
		err = read_input(d);
	if (!err && d->left > 0)
		err = write_output(d);
	if (!err && fds[AT_RELAY].revents)
		err = receive(d);
	return err ? err : hear_controls(d, fds + AT_CONTROL);
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

	if (err == -ECONNREFUSED && !d->nest)
		return connect_complain(d->o, 0, &refused, false);
	return connect_tell_end(d->o, err, d->place, d->why, d->up, d->down);
}

int connect_datagrams(const struct connect_options *o, struct nest *nest, int fd)
{
	struct datagrams *d = calloc(1, sizeof(*d));
	int err = -ENOMEM, status;

	if (d) {
		d->o = o;
		d->nest = nest;
		d->fd = nest ? open_relay(&nest->relays[0].at) : fd;
		d->room.a = d->a;
		d->room.b = d->b;
		d->limits = (struct pump_limits){.idle_ms = o->idle_ms, .quit_ms = o->quit_ms};
		d->known = o->target.kind == ADDR_IP;
		d->sender = o->target;
		err = d->fd < 0 ? d->fd : run(d);
	}
	status = d ? tell_end(d, err) : VERDICT_LOCAL;
	if (d && d->fd >= 0)
		close(d->fd);
	nest_free(nest);
	free(d);
	return status;
}
