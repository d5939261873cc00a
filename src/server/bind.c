/* SPDX-License-Identifier: MIT */
#include "server/bind.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <unistd.h>

#include "net/log.h"
#include "net/loop.h"
#include "net/prefer.h"
#include "net/sockaddr.h"
#include "proto/err.h"
#include "server/egress.h"
#include "server/listener.h"
#include "server/request.h"
#include "server/session.h"
#include "server/worker.h"

/* One peer is expected; the rest is room for strays, behind whom he must still find a place. */
#define BACKLOG 16
/* Strays that are turned away in one go, before others get their turn. */
#define BATCH 16
/* Of a crowded range not every port is tried: each costs three system calls. */
#define TRIES_MAX 1024
#define PORT_UNPRIVILEGED 1024

struct bind {
	struct watch watch; /* first */
	struct session *session;
	int fd;
};

static bool is_socks4(const struct session *s)
{
	enum proto proto = s->hs->accept.proto;

	return proto == PROTO_SOCKS4 || proto == PROTO_SOCKS4A;
}

/* ---- where to listen ---- */

/* The first of `ips` to which there is a way, seen from here: our address on that way. SOCKS4 has
 * no words for an IPv6 address. */
static int address_towards(
    const struct session *s, const struct ip *ips, size_t n, struct ip *ret_ip)
{
	int err = -EAFNOSUPPORT;

	for (size_t i = 0; i < n; i++) {
		struct destination to;

		if (is_socks4(s) && !ip_is_v4(&ips[i]))
			continue;
		to = destination_of(&ips[i]);
		if (to.reachable && ip_is_v4(&to.source) == ip_is_v4(&ips[i])) {
			*ret_ip = to.source;
			return 0;
		}
		err = -ENETUNREACH;
	}
	return err;
}

/* The first of `ips` to which the rule's egress leads; ERR_EGRESS tells more than a family. */
static int egress_towards(const struct session *s, const struct source *source,
    const struct ip *ips, size_t n, struct ip *ret_ip)
{
	int err = -EAFNOSUPPORT;

	for (size_t i = 0; i < n; i++) {
		int e;

		if (is_socks4(s) && !ip_is_v4(&ips[i]))
			continue;
		e = source_find(source, &ips[i], ret_ip);
		if (e == 0)
			return 0;
		if (err != ERR_EGRESS)
			err = e;
	}
	return err;
}

/* Where nobody in particular is expected, it is of the family of the client's connection if there
 * is one. */
static int choose_egress(const struct session *s, const struct source *source, struct ip *ret_ip)
{
	static const uint8_t zero[16];
	struct ip anybody[] = {ip_from_v4(zero), ip_from_v6(zero)};

	if (s->hs->n_ips > 0)
		return egress_towards(s, source, s->hs->ips, s->hs->n_ips, ret_ip);
	if (!ip_is_v4(&s->client)) {
		anybody[0] = ip_from_v6(zero);
		anybody[1] = ip_from_v4(zero);
	}
	return egress_towards(s, source, anybody, 2, ret_ip);
}

/*
 * Never the unspecified address: the client has to tell its peer a concrete one, and who listens
 * on one address is not reached through the others. Where nobody in particular is expected it is
 * the address that the client itself has reached, unless another is advertised: then the one on
 * the way to that, which is where a NAT in front of this host delivers.
 */
static int choose_address(const struct session *s, struct ip *ret_ip)
{
	const struct policy_listener *l = s->listener;
	struct addr local;

	if (s->hs->n_ips > 0)
		return address_towards(s, s->hs->ips, s->hs->n_ips, ret_ip);
	if (l->n_advertise > 0)
		return address_towards(s, l->advertise, l->n_advertise, ret_ip);
	local = socket_local_addr(s->relay.end[RELAY_CLIENT].fd);
	if (local.kind != ADDR_IP)
		return -EADDRNOTAVAIL;
	if (is_socks4(s) && !ip_is_v4(&local.ip))
		return -EAFNOSUPPORT;
	*ret_ip = local.ip;
	return 0;
}

/* Where to listen, and whether a rule says so. */
struct place {
	struct ip ip;
	struct source source;
	bool has_source;
};

static int take_place(int fd, const struct place *at, uint16_t port)
{
	struct sockaddr_storage sa;
	socklen_t len = sockaddr_from_ip(&sa, &at->ip, port);

	if (at->has_source)
		return source_bind(fd, &at->source, &at->ip, port, false);
	return bind(fd, (const struct sockaddr *)&sa, len) < 0 ? -errno : 0;
}

/*
 * SO_REUSEADDR lets a port be had again whose last connection has only just ended. Two sockets
 * that both listen it does not allow, here or in another process; but it would let the kernel
 * choose a port (0) that another worker has bound and not yet listens on.
 */
static int listen_at(const struct place *at, uint16_t port, int *ret_fd)
{
	const int reuse = port != 0;
	int fd = socket(ip_is_v4(&at->ip) ? AF_INET : AF_INET6,
	    SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, IPPROTO_TCP);
	int err;

	if (fd < 0)
		return -errno;
	/* Fails only on what is no socket. */
	(void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &reuse, sizeof(reuse));
	socket_keep_urgent(fd);
	err = take_place(fd, at, port);
	if (!err && listen(fd, BACKLOG) < 0)
		err = -errno;
	if (err)
		close(fd);
	else
		*ret_fd = fd;
	return err;
}

static int choose_place(const struct session *s, struct place *ret_place)
{
	int err;

	ret_place->has_source = s->hs->egress != NULL;
	if (!s->hs->egress)
		return choose_address(s, &ret_place->ip);
	err = egress_source(s, s->hs->egress, &ret_place->source);
	return err ? err : choose_egress(s, &ret_place->source, &ret_place->ip);
}

/* From a place in the range that nobody can guess: who knows the port can be there first. */
static int listen_in_range(const struct place *place, uint16_t first, uint16_t last, int *ret_fd)
{
	uint32_t n = (uint32_t)last - first + 1, at = 0;
	int err = -EADDRINUSE;

	/* Where the system has no randomness yet, any place is as good. */
	(void)!getrandom(&at, sizeof(at), GRND_NONBLOCK);
	at %= n;
	for (uint32_t i = 0; i < n && i < TRIES_MAX && err == -EADDRINUSE; i++)
		err = listen_at(place, (uint16_t)(first + (at + i) % n), ret_fd);
	return err;
}

/*
 * The port of a SOCKS5 request is the one wanted, 0 for any (protocol.md section 2.6); that of
 * SOCKS4 tells of another connection.
 */
static int open_socket(const struct session *s, int *ret_fd)
{
	const struct policy_settings *set = &s->config->policy->set;
	uint16_t wanted = is_socks4(s) ? 0 : s->hs->accept.target.port;
	struct place place;
	int err;

	if (wanted != 0 && wanted < PORT_UNPRIVILEGED)
		return ERR_BIND_PORT;
	if (wanted != 0 && set->bind_first != 0 &&
	    (wanted < set->bind_first || wanted > set->bind_last))
		return ERR_BIND_PORT;
	err = choose_place(s, &place);
	if (err)
		return err;
	if (wanted == 0 && set->bind_first != 0)
		return listen_in_range(&place, set->bind_first, set->bind_last, ret_fd);
	return listen_at(&place, wanted, ret_fd);
}

/* ---- who comes ---- */

static void bind_free(struct watch *watch)
{
	free(watch);
}

void bind_cancel(struct bind *b)
{
	if (!b)
		return;
	watch_close(&b->watch, bind_free);
	close(b->fd);
}

static bool is_expected(struct session *s, const struct ip *ip)
{
	const struct handshake *hs = s->hs;

	for (size_t i = 0; i < hs->n_ips; i++)
		if (ip_equal(&hs->ips[i], ip))
			return true;
	return hs->n_ips == 0 && request_admits_peer(s, ip);
}

/* At a level that is not on by default: strangers decide how many of these there are. */
static void log_stray(const struct session *s, const struct addr *peer)
{
	char text[ADDR_TEXT_MAX];
	struct log_record rec;

	if (!log_enabled(LOG_AT_DEBUG))
		return;
	log_begin(&rec, LOG_AT_DEBUG, "stray");
	log_text(&rec, "bound", addr_format(&s->ends->bound, text));
	log_text(&rec, "peer", addr_format(peer, text));
	log_end(&rec);
}

/* Returns whether the session waits on. */
static bool turn_away(struct session *s, int fd, const struct addr *peer)
{
	s->ends->strays++;
	log_stray(s, peer);
	socket_set_reset_on_close(fd);
	close(fd);
	if (!is_socks4(s))
		return true;
	session_end(s, ERR_STRANGER);
	return false;
}

/* Nobody else can come from here on: connections still in the queue are reset by the kernel. */
static void take(struct session *s, int fd, const struct addr *peer)
{
	const int one = 1;

	bind_cancel(s->hs->bind);
	s->hs->bind = NULL;
	(void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	s->ends->peer = *peer;
	s->address = peer->ip;
	s->has_address = true;
	session_accepted(s, fd, peer);
}

/* Returns whether there may be another one. */
static bool accept_one(struct bind *b)
{
	struct session *s = b->session;
	struct sockaddr_storage sa = {.ss_family = AF_UNSPEC};
	socklen_t len = sizeof(sa);
	int fd = accept4(b->fd, (struct sockaddr *)&sa, &len, SOCK_NONBLOCK | SOCK_CLOEXEC);
	int err = errno;
	struct addr peer;

	if (fd < 0) {
		/* It may be the peer who cannot be let in; and he would be reported for ever. */
		if (err != EAGAIN && !accept_error_is_gone(err))
			session_end(s, -err);
		return accept_error_is_gone(err);
	}
	peer = sockaddr_to_addr(&sa);
	if (!is_expected(s, &peer.ip))
		return turn_away(s, fd, &peer);
	take(s, fd, &peer);
	return false;
}

static void on_connection(struct watch *watch, unsigned events)
{
	struct bind *b = (struct bind *)watch;

	/* The kernel lacked the memory to wait for connections: nobody would ever get in. */
	if (events & WATCH_ERROR) {
		session_end(b->session, -ENOMEM);
		return;
	}
	for (int i = 0; i < BATCH; i++)
		if (!accept_one(b))
			return;
}

/* Takes over `fd`. */
static int watch_for_peer(struct session *s, int fd)
{
	struct bind *b = calloc(1, sizeof(*b));
	int err = b ? watch_init(&b->watch, &s->worker->loop, fd, on_connection) : -ENOMEM;

	if (err) {
		free(b);
		close(fd);
		return err;
	}
	b->session = s;
	b->fd = fd;
	s->hs->bind = b;
	watch_set(&b->watch, WATCH_READ);
	return 0;
}

/* The address that the client tells its peer: ours, or the one in front of ours. */
static struct addr told(const struct session *s)
{
	const struct policy_listener *l = s->listener;
	struct addr addr = s->ends->bound;

	for (size_t i = 0; i < l->n_advertise; i++)
		if (ip_is_v4(&l->advertise[i]) == ip_is_v4(&addr.ip))
			addr.ip = l->advertise[i];
	return addr;
}

int bind_start(struct session *s)
{
	struct addr addr;
	int fd = -1, err;

	s->ends = calloc(1, sizeof(*s->ends));
	if (!s->ends)
		return -ENOMEM;
	err = open_socket(s, &fd);
	if (err)
		return err;
	s->ends->bound = socket_local_addr(fd);
	err = watch_for_peer(s, fd);
	if (err)
		return err;
	addr = told(s);
	session_listening(s, &addr);
	return 0;
}
