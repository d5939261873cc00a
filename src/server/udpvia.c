/* SPDX-License-Identifier: MIT */
#include "server/udpvia.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "net/datagram.h"
#include "net/nest.h"
#include "net/sockaddr.h"
#include "policy/balance.h"
#include "policy/egress.h"
#include "proto/err.h"
#include "server/choice.h"
#include "server/egress.h"
#include "server/ports.h"
#include "server/request.h"
#include "server/session.h"
#include "server/udp.h"
#include "server/worker.h"

/* More than one group is rare; but where destinations are kept apart each has its own. */
#define UDPVIAS_MAX 16
/* What waits while an association is made: datagrams, and bytes of them. */
#define WAITING_MAX 32
#define WAITING_BYTES ((size_t)128 * 1024)
/* The pause after a failure, which doubles; and how long one that ends must have lasted to count as
 * a success. */
#define REST_MIN_MS 1000
#define REST_MAX_MS 60000
#define LASTED_MS 10000

struct waiting {
	struct waiting *next;
	struct addr to;
	size_t len;
	uint8_t data[];
};

struct link;

struct control {
	struct watch watch;
	struct link *link;
};

/* An association that stands. The memory goes when the loop has let go of it. */
struct link {
	struct udpvia *via; /* NULL: it is over */
	struct nest *nest;
	struct datagram_socket sock; /* connected to the first relay */
	struct datagram_poster poster;
	unsigned closing;
	struct control control[];
};

struct udpvia {
	struct choice choice; /* first: a chain's functions get a pointer to it */
	struct udpvias *all;
	struct udpvia *next;
	bool forward;
	/* The same for all connections and the socket: the proxies compare them. */
	const struct policy_egress *egress;
	struct source source; /* where `egress` is not NULL */
	uint64_t key;       /* of what is kept apart from others of the same group; 0: nothing is */
	struct addr target; /* of the datagram that wanted it first */
	unsigned slots;     /* of sessions, for its descriptors; 0: there is none */

	struct nest_opening *opening;
	struct link *link;
	uint64_t since;   /* loop time of `link` */
	uint64_t rest_to; /* loop time; nothing is tried before */
	unsigned rest_ms;

	struct waiting *first, **last;
	unsigned n_waiting;
	size_t waiting_bytes;
};

struct udpvia_secret {
	size_t len;
	char password[ACCEPT_CREDENTIAL_MAX + 1];
};

static uint64_t now_of(const struct udpvia *v)
{
	return loop_now(&v->all->session->worker->loop);
}

static void drop(struct udpvia *v, enum drop why, uint64_t n)
{
	v->all->counts->dropped[why] += n;
}

static struct choice_client client_of(const struct udpvia *v)
{
	const struct session *s = v->all->session;
	const struct udpvia_secret *secret = v->all->secret;

	return (struct choice_client){
	    .user = s->labels,
	    .user_len = s->user_len,
	    .password = secret ? secret->password : NULL,
	    .password_len = secret ? secret->len : 0,
	    .target = &v->target,
	    .forward = v->forward,
	};
}

/* ---- the session's share of descriptors ---- */

/* The connections and a socket, two of which are as much as a session has. */
static bool take_slots(struct udpvia *v)
{
	struct worker *w = v->all->session->worker;
	const unsigned n = (unsigned)(choice_member(&v->choice)->n_hops + 2) / 2;

	if (w->n_sessions + w->n_associations + n > w->max_sessions)
		return false;
	w->n_associations += n;
	v->slots = n;
	return true;
}

static void give_slots(struct udpvia *v)
{
	v->all->session->worker->n_associations -= v->slots;
	v->slots = 0;
}

/* ---- what waits ---- */

static bool hold(struct udpvia *v, const struct addr *to, const void *data, size_t len)
{
	struct waiting *w;

	if (v->n_waiting == WAITING_MAX || len > WAITING_BYTES - v->waiting_bytes)
		return false;
	w = malloc(sizeof(*w) + len);
	if (!w)
		return false;
	w->next = NULL;
	w->to = *to;
	w->len = len;
	if (len > 0)
		memcpy(w->data, data, len);
	*v->last = w;
	v->last = &w->next;
	v->n_waiting++;
	v->waiting_bytes += len;
	return true;
}

static struct waiting *take(struct udpvia *v)
{
	struct waiting *w = v->first;

	if (!w)
		return NULL;
	v->first = w->next;
	if (!v->first)
		v->last = &v->first;
	v->n_waiting--;
	v->waiting_bytes -= w->len;
	return w;
}

static void forget_waiting(struct udpvia *v)
{
	struct waiting *w;

	while ((w = take(v)) != NULL)
		free(w);
}

static void drop_waiting(struct udpvia *v)
{
	drop(v, DROP_PROXY, v->n_waiting);
	forget_waiting(v);
}

/* ---- datagrams ---- */

/* What the client's own GSS-API uses of the worker's buffer stays out of it. */
static struct nest_room *room_of(const struct udpvia *v, struct nest_room *room)
{
	uint8_t *buffer = v->all->session->worker->relay.buffer;

	room->a = buffer + NEST_BUFFER_SIZE;
	room->b = buffer + 3 * NEST_BUFFER_SIZE;
	return room;
}

_Static_assert(RELAY_BUFFER_SIZE >= 4 * NEST_BUFFER_SIZE, "the room of datagrams");

static enum drop drop_of(int err)
{
	if (err == -EMSGSIZE)
		return DROP_SIZE;
	if (err == ERR_GSS_MESSAGE)
		return DROP_PROTECTION;
	return err == -EAGAIN ? DROP_FULL : DROP_ERROR;
}

/* They were counted as sent. */
static void on_unsent(struct datagram_poster *poster, size_t n, size_t bytes, int err)
{
	struct link *l = (struct link *)((char *)poster - offsetof(struct link, poster));
	struct udpvia *v = l->via;

	v->all->counts->up -= n;
	v->all->session->relay.end[RELAY_TARGET].sent -= bytes;
	drop(v, drop_of(err), n);
}

/* What is more than the payload counts as header; a frame of GSS-API holds both. With a header
 * before a frame it is not worth three pieces, and goes at once. */
static int post(struct link *l, const struct nest_parts *p, size_t payload)
{
	const struct addr *relay = &l->nest->relays[0].at;
	const size_t more = p->len - payload;

	if (more == 0)
		return datagram_post(&l->sock, &l->poster, p->header, p->header_len, p->data,
		    p->len, &relay->ip, relay->port);
	if (p->header_len == 0)
		return datagram_post(&l->sock, &l->poster, p->data, more, p->data + more, payload,
		    &relay->ip, relay->port);
	return datagram_send(
	    &l->sock, p->header, p->header_len, p->data, p->len, &relay->ip, relay->port);
}

static void send_now(struct udpvia *v, const struct addr *to, const void *data, size_t len)
{
	struct session *s = v->all->session;
	struct nest_parts p;
	struct nest_room room;
	int err = nest_wrap(v->link->nest, to, data, len, room_of(v, &room), &p);

	if (!err)
		err = post(v->link, &p, len);
	if (err) {
		drop(v, drop_of(err), 1);
		return;
	}
	v->all->counts->up++;
	s->relay.end[RELAY_TARGET].sent += len;
	s->relay.moved = true;
}

/* The kernel lets in what comes from the relay alone; what came before it was told to is looked at.
 */
static void from_relay(struct udpvia *v, const struct datagram *d)
{
	struct nest *nest = v->link->nest;
	struct nest_room room;
	struct udp_packet p;
	struct addr from;
	int err = ERR_STRANGER;

	if (d->port == nest->relays[0].at.port && ip_equal(&d->from, &nest->relays[0].at.ip))
		err = nest_unwrap(nest, d->data, d->len, room_of(v, &room), &p, &from);
	if (err == ERR_STRANGER)
		drop(v, DROP_UNASKED, 1);
	else if (err)
		drop(v, err == ERR_GSS_MESSAGE ? DROP_PROTECTION : DROP_MALFORMED, 1);
	else
		v->all->fn(v->all->ctx, choice_group(&v->choice), &from, p.data, p.len);
}

static void on_datagrams(struct datagram_socket *sock, const struct datagram *list, size_t n)
{
	struct link *l = sock->owner;

	for (size_t i = 0; i < n && l->via; i++)
		from_relay(l->via, &list[i]);
}

/* The connections tell when it is over; anybody can send ICMP. */
static void on_error(struct datagram_socket *sock, const struct datagram_error *e)
{
	struct link *l = sock->owner;

	(void)e;
	if (l->via)
		l->via->all->counts->icmp_errors++;
}

/* ---- an association that stands ---- */

static void let_go(struct link *l)
{
	if (--l->closing == 0)
		free(l);
}

static void on_control_closed(struct watch *watch)
{
	let_go(((struct control *)watch)->link);
}

static void on_sock_closed(struct datagram_socket *sock)
{
	let_go(sock->owner);
}

static void link_close(struct link *l)
{
	struct worker *w = l->via->all->session->worker;

	l->closing++;
	if (l->sock.fd >= 0) {
		l->closing++;
		ports_remove(w->number, !ip_is_v4(&l->sock.local), l->sock.port);
		datagram_close(&l->sock, on_sock_closed);
	}
	for (size_t i = 0; i < l->nest->n; i++)
		if (l->control[i].link) {
			l->closing++;
			watch_close(&l->control[i].watch, on_control_closed);
		}
	nest_free(l->nest);
	l->via = NULL;
	let_go(l);
}

/* The pause before the next try. */
static void rest(struct udpvia *v)
{
	v->rest_ms = v->rest_ms == 0 ? REST_MIN_MS : v->rest_ms * 2;
	if (v->rest_ms > REST_MAX_MS)
		v->rest_ms = REST_MAX_MS;
	v->rest_to = now_of(v) + v->rest_ms;
}

/* A proxy ends what it has not used for long; that is no failure. */
static void link_ended(struct udpvia *v)
{
	if (now_of(v) - v->since < LASTED_MS)
		rest(v);
	else
		v->rest_ms = 0;
	link_close(v->link);
	v->link = NULL;
	choice_leave(&v->choice);
	give_slots(v);
}

/* What is said on it is nothing for us, its end is. */
static void on_control(struct watch *watch, unsigned events)
{
	struct control *c = (struct control *)watch;
	struct link *l = c->link;
	struct nest_control *own = &l->nest->control[c - l->control];
	uint8_t nothing[512];
	ssize_t n;

	(void)events;
	do
		n = layer_recv(own->layer, own->fd, nothing, sizeof(nothing));
	while (n > 0 && layer_pending(own->layer));
	if (n > 0 || n == -EAGAIN)
		watch_set(watch, WATCH_READ);
	else
		link_ended(l->via);
}

static int watch_control(struct link *l, size_t i)
{
	struct worker *w = l->via->all->session->worker;
	struct control *c = &l->control[i];
	int err = watch_init(&c->watch, &w->loop, l->nest->control[i].fd, on_control);

	if (err)
		return err;
	c->link = l;
	udp_keep_alive(c->watch.fd);
	watch_set(&c->watch, WATCH_READ);
	return 0;
}

/* A socket to the first relay. Returns 0 or an error. */
static int open_socket(struct link *l)
{
	struct worker *w = l->via->all->session->worker;
	const struct addr *relay = &l->nest->relays[0].at;
	const struct sockaddr_storage any = {
	    .ss_family = ip_is_v4(&relay->ip) ? AF_INET : AF_INET6};
	int err;

	/* A relay of ours would send it in circles. */
	if (ports_have(&relay->ip, relay->port) && request_is_local(&relay->ip))
		return ERR_SELF;
	if (l->via->egress)
		err = datagram_open_source(
		    &l->sock, w->datagrams, &w->loop, &l->via->source, &relay->ip, on_datagrams);
	else
		err = datagram_open(&l->sock, w->datagrams, &w->loop, &any, on_datagrams);
	if (err)
		return err;
	l->sock.owner = l;
	l->sock.failed = on_error;
	ports_add(w->number, !ip_is_v4(&relay->ip), l->sock.port);
	return datagram_connect(&l->sock, &relay->ip, relay->port);
}

/* Takes over the nest. Returns 0 or an error. */
static int link_open(struct udpvia *v, struct nest *nest)
{
	struct link *l = calloc(1, sizeof(*l) + nest->n * sizeof(l->control[0]));
	int err;

	if (!l) {
		nest_free(nest);
		return -ENOMEM;
	}
	l->via = v;
	l->nest = nest;
	l->sock.fd = -1;
	l->poster.unsent = on_unsent;
	err = open_socket(l);
	for (size_t i = 0; i < nest->n && !err; i++)
		err = watch_control(l, i);
	if (err)
		link_close(l);
	else
		v->link = l;
	return err;
}

/* ---- to it ---- */

static nest_fn on_nest;

/* Begins with the member that was chosen. Returns 0, or an error with `*ret_failed`. */
static int start(struct udpvia *v, struct chain_result *ret_failed, size_t *ret_n_hops)
{
	const struct session *s = v->all->session;
	const struct choice_client client = client_of(v);
	struct nest_options options = {
	    .chain = choice_options(&v->choice), .fn = on_nest, .ctx = v};
	struct url *hops;
	int err;

	*ret_n_hops = options.chain.n_hops;
	*ret_failed =
	    (struct chain_result){.err = ERR_SELF, .stage = CHAIN_AT_DIAL, .code = -1, .fd = -1};
	if (choice_leads_back(&v->choice))
		return ERR_SELF;
	hops = take_slots(v) ? choice_hops(&v->choice, &client) : NULL;
	ret_failed->err = -ENOMEM;
	if (!hops)
		return -ENOMEM;
	options.chain.hops = hops;
	options.chain.whole_ms = s->config->policy->set.timeout_ms[TIMEOUT_CONNECT];
	err = nest_open(&v->opening, &s->worker->loop, &options, ret_failed, ret_n_hops);
	choice_free_hops(hops, options.chain.n_hops);
	return err;
}

/*
 * Whose fault is it? What becomes of UDP ASSOCIATE at the hop that is asked for it is about that
 * alone: the hop may do well otherwise, so nothing is held against it, but another member is asked.
 */
static enum chain_blame blame_of(
    const struct udpvia *v, const struct chain_result *r, size_t n_hops)
{
	const enum chain_blame blame = chain_blame(r, choice_member(&v->choice)->n_hops);

	if (blame == CHAIN_BLAMES_US || r->stage != CHAIN_AT_REPLY || r->hop + 1 != n_hops)
		return blame;
	return r->err == ERR_PROXY_REPLY ? CHAIN_BLAMES_TARGET : CHAIN_BLAMES_SILENCE;
}

/* Returns whether another one may do better. */
static bool note_failure(struct udpvia *v, const struct chain_result *r, size_t n_hops)
{
	const enum chain_blame blame = blame_of(v, r, n_hops);

	choice_failed(&v->choice, r, blame);
	give_slots(v);
	return blame != CHAIN_BLAMES_US;
}

/* No member is left: the client is not told, so the log is. */
static void give_up(struct udpvia *v)
{
	const struct choice *c = &v->choice;
	char text[IP_TEXT_MAX];
	struct log_record rec;

	rest(v);
	drop_waiting(v);
	if (!log_enabled(LOG_AT_INFO))
		return;
	log_begin(&rec, LOG_AT_INFO, "udp-proxy-failed");
	log_text(&rec, "from", ip_format(&v->all->session->client, text));
	log_text(&rec, "via", choice_group(c)->name);
	choice_log(c, &rec);
	log_end(&rec);
}

static void try_next(struct udpvia *v)
{
	const struct choice_client client = client_of(v);
	struct chain_result failed;
	size_t n_hops;

	while (choice_next(&v->choice, &client))
		if (start(v, &failed, &n_hops) == 0)
			return;
		else if (!note_failure(v, &failed, n_hops))
			break;
	give_up(v);
}

static void on_nest(void *ctx, struct nest *nest, const struct chain_result *r, size_t n_hops)
{
	struct udpvia *v = ctx;
	struct chain_result failed = *r;
	struct waiting *w;

	v->opening = NULL;
	if (nest) {
		failed = (struct chain_result){.err = link_open(v, nest),
		    .stage = CHAIN_AT_REPLY,
		    .hop = n_hops - 1,
		    .code = -1,
		    .fd = -1};
	}
	if (failed.err) {
		if (note_failure(v, &failed, n_hops))
			try_next(v);
		else
			give_up(v);
		return;
	}
	choice_worked(&v->choice);
	v->since = now_of(v);
	while ((w = take(v)) != NULL) {
		send_now(v, &w->to, w->data, w->len);
		free(w);
	}
}

/* From the first member on, but for those that have no datagrams. */
static void begin(struct udpvia *v)
{
	const struct policy_proxy *group = choice_group(&v->choice);

	v->choice = choice_of(v->all->session, group);
	if (v->egress && egress_source(v->all->session, v->egress, &v->source) != 0) {
		drop(v, DROP_EGRESS, v->n_waiting);
		forget_waiting(v);
		rest(v);
		return;
	}
	v->choice.source = v->egress ? &v->source : NULL;
	for (size_t i = 0; i < group->n_members; i++)
		if (!policy_member_has_udp(&group->members[i]))
			v->choice.failed |= UINT64_C(1) << i;
	try_next(v);
}

/* ---- all of them ---- */

/* Credentials by destination need an association for each. */
static uint64_t key_of(const struct policy_proxy *group, const struct addr *to)
{
	char text[ADDR_TEXT_MAX];

	for (size_t i = 0; i < group->n_members; i++)
		if (group->members[i].isolation == ISOLATE_DESTINATION) {
			addr_format(to, text);
			return balance_key(text, strlen(text)) | 1;
		}
	return 0;
}

static void end(struct udpvia *v)
{
	if (v->opening || v->link) {
		if (v->opening)
			choice_unknown(&v->choice);
		choice_leave(&v->choice);
	}
	nest_cancel(v->opening);
	if (v->link)
		link_close(v->link);
	give_slots(v);
	drop_waiting(v);
	free(v);
}

/* The one used longest ago is the last. */
static void end_last(struct udpvias *all)
{
	struct udpvia **at = &all->first;

	while ((*at)->next)
		at = &(*at)->next;
	end(*at);
	*at = NULL;
	all->n--;
}

static struct udpvia *add(
    struct udpvias *all, const struct udpvia_way *way, uint64_t key, const struct addr *to)
{
	struct udpvia *v = calloc(1, sizeof(*v));

	if (!v)
		return NULL;
	if (all->n == UDPVIAS_MAX)
		end_last(all);
	v->choice = choice_of(all->session, way->group);
	v->all = all;
	v->forward = way->forward;
	v->egress = way->egress;
	v->key = key;
	v->target = *to;
	v->last = &v->first;
	v->next = all->first;
	all->first = v;
	all->n++;
	return v;
}

/* Puts it to the front. */
static struct udpvia *find(struct udpvias *all, const struct udpvia_way *way, uint64_t key)
{
	for (struct udpvia **at = &all->first; *at; at = &(*at)->next) {
		struct udpvia *v = *at;

		if (choice_group(&v->choice) != way->group || v->forward != way->forward ||
		    v->key != key || !egress_is_same(v->egress, way->egress))
			continue;
		*at = v->next;
		v->next = all->first;
		all->first = v;
		return v;
	}
	return NULL;
}

void udpvias_send(struct udpvias *all, const struct udpvia_way *way, const struct addr *to,
    const void *data, size_t len)
{
	const uint64_t key = key_of(way->group, to);
	struct udpvia *v = find(all, way, key);

	if (!v)
		v = add(all, way, key, to);
	if (!v) {
		all->counts->dropped[DROP_FULL]++;
		return;
	}
	if (v->link) {
		send_now(v, to, data, len);
	} else if ((!v->opening && now_of(v) < v->rest_to) || !hold(v, to, data, len)) {
		drop(v, DROP_PROXY, 1);
	} else if (!v->opening) {
		begin(v);
	}
}

void udpvias_log(const struct udpvias *all, struct log_record *rec)
{
	const struct udpvia *v = all->first;
	const struct choice *c = v ? &v->choice : NULL;

	if (!v)
		return;
	log_text(rec, "via", choice_group(c)->name);
	if (v->link)
		log_text(rec, "proxy", choice_member(c)->text);
	else
		choice_log(c, rec);
}

uint64_t udpvias_waiting(const struct udpvias *all)
{
	uint64_t n = 0;

	for (const struct udpvia *v = all->first; v; v = v->next)
		n += v->n_waiting;
	return n;
}

uint64_t udpvias_overflowed(const struct udpvias *all)
{
	uint64_t n = 0;

	for (const struct udpvia *v = all->first; v; v = v->next)
		if (v->link)
			n += datagram_overflowed(&v->link->sock) + v->link->sock.cut;
	return n;
}

int udpvias_init(
    struct udpvias *all, struct session *s, struct udp_counts *counts, udpvia_fn *fn, void *ctx)
{
	const struct accept *a = &s->hs->accept;

	*all = (struct udpvias){.session = s, .counts = counts, .fn = fn, .ctx = ctx};
	if (a->method != AUTH_PASSWORD || a->password_len == 0)
		return 0;
	all->secret = malloc(sizeof(*all->secret));
	if (!all->secret)
		return -ENOMEM;
	all->secret->len = a->password_len;
	memcpy(all->secret->password, a->password, a->password_len);
	return 0;
}

void udpvias_fini(struct udpvias *all)
{
	while (all->first)
		end_last(all);
	if (all->secret)
		explicit_bzero(all->secret, sizeof(*all->secret));
	free(all->secret);
	all->secret = NULL;
}
