/* SPDX-License-Identifier: MIT */
#include "server/udp.h"

#include <errno.h>
#include <net/if.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>

#include "net/gss.h"
#include "net/log.h"
#include "net/sockaddr.h"
#include "proto/err.h"
#include "server/request.h"
#include "server/session.h"
#include "server/worker.h"

struct policy_request udp_question(const struct session *s, enum command command)
{
	return (struct policy_request){
	    .client = s->client,
	    .listener = s->listener->text,
	    .user = s->user_len > 0 ? s->labels : NULL,
	    .method = s->method,
	    .proto = s->proto,
	    .command = command,
	    .now = request_now(),
	};
}

/* No rule can allow these: nobody is there, or more than one (a group is in order, but not what
 * carries one inside). Of broadcast addresses the kernel knows the others, and sends nothing there
 * from a socket that does not ask for it. */
static bool is_nobody(const struct ip *ip)
{
	static const uint8_t broadcast[4] = {255, 255, 255, 255};
	struct ip all = ip_from_v4(broadcast);
	unsigned classes = ip_classes(ip) & ~(ip_own_classes(ip) & IP_MULTICAST);

	return (classes & (IP_UNSPECIFIED | IP_MULTICAST)) != 0 || ip_equal(ip, &all);
}

/* Nothing goes out directly that a rule wants to go through a proxy, and no proxy can be told by
 * which interface a group is reached, or to join one. */
static bool has_way(const struct session *s, const struct ip *to, const struct decision *d)
{
	if (!d->via)
		return true;
	return s->command == COMMAND_UDP && (ip_own_classes(to) & IP_MULTICAST) == 0 &&
	       policy_proxy_has_udp(d->via);
}

struct decision udp_decide(
    struct session *s, enum command command, const struct udp_remote *to, bool log)
{
	struct policy_request req = udp_question(s, command);
	struct decision d;

	req.name = to->name;
	req.has_ip = true;
	req.ip = to->ip;
	req.port = to->port;
	req.is_self =
	    (ip_classes(&to->ip) & IP_UNSPECIFIED) != 0 || request_is_self(s, &to->ip, to->port);
	d = policy_decide(s->config->policy, &req);
	if (log && d.log && d.rule)
		request_log_decision(s, &req, &d);
	if (req.is_self || is_nobody(&to->ip) || to->port == 0 || !has_way(s, &to->ip, &d))
		d.verdict = VERDICT_DENY;
	return d;
}

bool udp_find_way(const struct decision *d, bool *told, struct datagram_way *ret_way)
{
	struct position at = policy_rule_position(d->rule);

	*ret_way = (struct datagram_way){.ttl = d->ttl};
	if (!d->interface)
		return true;
	ret_way->interface = if_nametoindex(d->interface);
	if (ret_way->interface != 0)
		return true;
	if (!*told)
		log_say(LOG_AT_WARN, "there is no interface %s for multicast by %s:%u",
		    d->interface, at.file, at.line);
	*told = true;
	return false;
}

int udp_may_begin(struct session *s, enum command command)
{
	struct policy_request req = udp_question(s, command);
	struct decision d;

	/* The descriptors of a session, and as many again. */
	if (s->worker->n_sessions + s->worker->n_associations >= s->worker->max_sessions)
		return ERR_UNAVAILABLE;
	/* There was no memory for what the rules ask about. */
	if (s->user_len != s->hs->accept.user_len)
		return -ENOMEM;
	req.any_target = true;
	d = policy_decide(s->config->policy, &req);
	s->decided = true;
	s->allowed = d.verdict != VERDICT_DENY;
	s->rule = d.rule;
	if (d.log && d.rule && !s->allowed)
		request_log_decision(s, &req, &d);
	if (s->allowed && d.via && d.certain &&
	    (command != COMMAND_UDP || !policy_proxy_has_udp(d.via)))
		return ERR_COMMAND;
	return s->allowed ? 0 : ERR_DENIED;
}

int udp_local_address(const struct session *s, struct sockaddr_storage *ret_sa)
{
	socklen_t len = sizeof(*ret_sa);
	struct ip ip;
	uint16_t port;

	memset(ret_sa, 0, sizeof(*ret_sa));
	if (getsockname(s->relay.end[RELAY_CLIENT].fd, (struct sockaddr *)ret_sa, &len) < 0)
		return -errno;
	if (!sockaddr_read(ret_sa, &ip, &port))
		return ERR_COMMAND;
	if (ip_is_v4(&ip))
		sockaddr_from_ip(ret_sa, &ip, 0);
	return 0;
}

struct addr udp_told_address(const struct session *s, struct addr bound)
{
	const struct policy_listener *l = s->listener;

	for (size_t i = 0; i < l->n_advertise; i++)
		if (ip_is_v4(&l->advertise[i]) == ip_is_v4(&bound.ip))
			bound.ip = l->advertise[i];
	return bound;
}

bool udp_unprotect(const struct session *s, struct datagram *d)
{
	struct layer *layer = s->relay.end[RELAY_CLIENT].layer;
	uint8_t *plain = s->worker->relay.buffer;

	if (!gss_layer_is(layer))
		return true;
	if (gss_datagram_unwrap(layer, d->data, d->len, plain, DATAGRAM_SIZE, &d->len) != 0)
		return false;
	d->data = plain;
	return true;
}

/* A half of the worker's buffer is more than any datagram. */
int udp_protect(const struct session *s, struct udp_parts *p)
{
	struct layer *layer = s->relay.end[RELAY_CLIENT].layer;
	uint8_t *plain = s->worker->relay.buffer, *frame = plain + RELAY_BUFFER_SIZE / 2;
	size_t len;
	int err;

	if (!gss_layer_is(layer))
		return 0;
	memcpy(plain, p->header, p->header_len);
	if (p->len > 0)
		memcpy(plain + p->header_len, p->data, p->len);
	err = gss_datagram_wrap(
	    layer, plain, p->header_len + p->len, frame, RELAY_BUFFER_SIZE / 2, &len);
	*p = (struct udp_parts){.data = frame, .len = len};
	return err;
}

void udp_keep_alive(int fd)
{
	static const struct {
		int level, name, value;
	} options[] = {
	    {SOL_SOCKET, SO_KEEPALIVE, 1},
	    {IPPROTO_TCP, TCP_KEEPIDLE, 60},
	    {IPPROTO_TCP, TCP_KEEPINTVL, 30},
	    {IPPROTO_TCP, TCP_KEEPCNT, 4},
	};

	/* They fail only where it is no TCP socket. */
	for (size_t i = 0; i < sizeof(options) / sizeof(options[0]); i++)
		(void)setsockopt(
		    fd, options[i].level, options[i].name, &options[i].value, sizeof(int));
}
