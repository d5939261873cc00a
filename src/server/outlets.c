/* SPDX-License-Identifier: MIT */
#include "server/outlets.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>

#include "net/sockaddr.h"
#include "proto/err.h"
#include "server/egress.h"
#include "server/ports.h"
#include "server/session.h"
#include "server/worker.h"

/* That every association may have: they are counted with it. */
#define OUTLETS_FREE 2
/* At most: rules that are for the same association may have each its egress. */
#define OUTLETS_MAX 16
/* An egress that is not there is not looked for again before. */
#define MISSING_MS 1000

struct outlet {
	struct outlet *next;
	struct outlets *all;
	const struct policy_egress *egress; /* NULL: the kernel's choice */
	bool doubted;                       /* something could not leave from there */
	struct datagram_socket sock;
};

void outlets_init(struct outlets *outlets, struct session *session, datagram_fn *arrived,
    datagram_error_fn *failed)
{
	*outlets = (struct outlets){
	    .session = session,
	    .worker = session->worker,
	    .arrived = arrived,
	    .failed = failed,
	};
}

static bool is_v4(const struct outlet *o)
{
	return ip_is_v4(&o->sock.local);
}

static struct outlet *find(
    const struct outlets *all, const struct ip *to, const struct policy_egress *egress)
{
	for (struct outlet *o = all->first; o; o = o->next)
		if (is_v4(o) == ip_is_v4(to) && egress_is_same(o->egress, egress))
			return o;
	return NULL;
}

/* Returns 0, or a negative error. */
static int open_socket(struct outlet *o, const struct ip *to)
{
	struct worker *w = o->all->worker;
	const struct sockaddr_storage any = {.ss_family = ip_is_v4(to) ? AF_INET : AF_INET6};
	struct source source;
	int err;

	if (!o->egress)
		return datagram_open(&o->sock, w->datagrams, &w->loop, &any, o->all->arrived);
	err = egress_source(o->all->session, o->egress, &source);
	if (err)
		return err;
	return datagram_open_source(&o->sock, w->datagrams, &w->loop, &source, to, o->all->arrived);
}

/* Beyond those that are counted with the association each counts as another one. */
static bool has_room(const struct outlets *all)
{
	const struct worker *w = all->worker;

	return all->n < OUTLETS_FREE ||
	       (all->n < OUTLETS_MAX && w->n_sessions + w->n_associations < w->max_sessions);
}

static void add(struct outlets *all, struct outlet *o)
{
	o->sock.owner = o;
	o->sock.failed = all->failed;
	o->next = all->first;
	all->first = o;
	if (all->n++ >= OUTLETS_FREE)
		all->worker->n_associations++;
	ports_add(all->worker->number, !is_v4(o), o->sock.port);
}

static bool is_missing(
    const struct outlets *all, const struct ip *to, const struct policy_egress *egress)
{
	return all->missing && all->missing == egress && all->missing_v4 == ip_is_v4(to) &&
	       loop_now(&all->worker->loop) < all->missing_until;
}

/* Returns 0, or a negative error. */
static int make(struct outlets *all, const struct ip *to, const struct policy_egress *egress,
    struct outlet **ret_outlet)
{
	struct outlet *o;
	int err;

	if (is_missing(all, to, egress))
		return ERR_EGRESS;
	if (!has_room(all))
		return -EMFILE;
	o = calloc(1, sizeof(*o));
	if (!o)
		return -ENOMEM;
	o->all = all;
	o->egress = egress;
	err = open_socket(o, to);
	if (err) {
		all->missing = egress;
		all->missing_v4 = ip_is_v4(to);
		all->missing_until = loop_now(&all->worker->loop) + MISSING_MS;
		free(o);
		return err;
	}
	add(all, o);
	*ret_outlet = o;
	return 0;
}

static void outlet_closed(struct datagram_socket *sock)
{
	struct outlet *o = sock->owner;
	struct outlets *all = o->all;

	free(o);
	if (--all->closing == 0 && all->closed)
		all->closed(all);
}

static void close_outlet(struct outlet *o)
{
	o->all->closing++;
	ports_remove(o->all->worker->number, !is_v4(o), o->sock.port);
	datagram_close(&o->sock, outlet_closed);
}

static uint64_t overflowed(const struct outlet *o)
{
	return datagram_overflowed(&o->sock) + o->sock.cut;
}

/* Before all is over. */
static void give_up(struct outlet *o)
{
	struct outlets *all = o->all;
	struct outlet **at = &all->first;

	while (*at != o)
		at = &(*at)->next;
	*at = o->next;
	if (--all->n >= OUTLETS_FREE)
		all->worker->n_associations--;
	all->overflowed += overflowed(o);
	close_outlet(o);
}

/* Is the address still one of ours? An interface has others, and an egress that has gone is counted
 * as that. */
static bool is_gone(struct outlet *o)
{
	if (!o->doubted)
		return false;
	o->doubted = false;
	return !ip_is_local(&o->sock.local);
}

void outlets_doubt(struct outlets *outlets)
{
	for (struct outlet *o = outlets->first; o; o = o->next)
		o->doubted = o->egress != NULL;
}

int outlets_get(struct outlets *outlets, const struct ip *to, const struct policy_egress *egress,
    struct datagram_socket **ret_sock)
{
	struct outlet *o = find(outlets, to, egress);
	int err;

	if (o && is_gone(o)) {
		give_up(o);
		o = NULL;
	}
	err = o ? 0 : make(outlets, to, egress, &o);
	if (!err)
		*ret_sock = &o->sock;
	return err;
}

struct outlets *outlets_of(const struct datagram_socket *sock)
{
	return ((const struct outlet *)sock->owner)->all;
}

uint64_t outlets_overflowed(const struct outlets *outlets)
{
	uint64_t n = outlets->overflowed;

	for (const struct outlet *o = outlets->first; o; o = o->next)
		n += overflowed(o);
	return n;
}

void outlets_log(const struct outlets *outlets, struct log_record *rec)
{
	char text[OUTLETS_MAX * (IP_TEXT_MAX + 1)], one[IP_TEXT_MAX];
	size_t len = 0;

	for (const struct outlet *o = outlets->first; o; o = o->next)
		if (o->egress)
			len += (size_t)snprintf(text + len, sizeof(text) - len, "%s%s",
			    len > 0 ? "," : "", ip_format(&o->sock.local, one));
	if (len > 0)
		log_text(rec, "egress", text);
}

bool outlets_close(struct outlets *outlets, void (*closed)(struct outlets *outlets))
{
	outlets->closed = closed;
	for (struct outlet *o = outlets->first, *next; o; o = next) {
		next = o->next;
		close_outlet(o);
	}
	if (outlets->n > OUTLETS_FREE)
		outlets->worker->n_associations -= outlets->n - OUTLETS_FREE;
	return outlets->closing > 0;
}
