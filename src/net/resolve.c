/* SPDX-License-Identifier: MIT */
/*
 * Names to addresses: c-ares on our loop, one tree of what is asked and what is known.
 *
 * Theory of operation. A look-up is a name, or an address whose name is asked for: either pending
 * (c-ares is asking, waits hang on it) or kept (an answer with an expiry, a place in the list of
 * last use). c-ares calls back from inside its own processing, and sometimes from inside the call
 * that asks (hosts file, no memory). Neither is a place to run foreign code from, so its callback
 * only notes the answer; resolver_deliver() hands it out once c-ares has returned. c-ares cannot
 * give up a single look-up: one that nobody waits for any more runs on, and its answer is kept like
 * any other.
 */
#include "net/resolve.h"

#include <ares.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <search.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "net/answer.h"
#include "proto/err.h"

#define CACHE_MAX_DEFAULT 4096
#define TIMEOUT_MS_DEFAULT 2000
#define TRIES_DEFAULT 3

/* Look-ups under way at once; each has two queries, and c-ares numbers all of them with 16 bits. */
#define LOOKUPS_MAX 2000

/* Expiries of look-ups that began together are handled together. */
#define TIMER_SLACK_MS 10

struct lookup {
	struct lookup *newer, *older; /* in one of the resolver's two rings */
	struct lookup *next_finished; /* pending: answered by c-ares, not yet delivered */
	struct resolver *resolver;
	struct resolve_wait waits; /* pending: head of a ring */
	bool pending;
	uint64_t expires; /* kept: by loop_now() */
	uint64_t keep_ms;
	struct resolve_answer answer;
	/* Allocated behind: a canonical name, with a dot if it was asked for with one; or
	 * KEY_OF_IP and an address. */
	const char *key;
};

/* Stands in no name, so that no name is taken for an address whose name is asked for. */
#define KEY_OF_IP '/'

/* A socket of c-ares, as long as it wants to hear of it. */
struct dns_socket {
	struct watch watch;
	struct dns_socket *next;
	struct resolver *resolver;
	int fd;
	unsigned wanted;
	bool closing;
};

struct resolver {
	struct loop *loop;
	ares_channel channel; /* NULL once closing */
	struct timer timer;
	uint64_t timer_due; /* 0: not running */
	unsigned timeout_ms;
	struct dns_socket *sockets;
	unsigned handles; /* sockets and timer that are not closed yet */

	void *tree;            /* all look-ups, by key: see lookup_compare() */
	struct lookup kept;    /* head of a ring; kept.older is the last used */
	struct lookup pending; /* head of a ring */
	size_t n_kept, cache_max;
	unsigned n_pending;
	bool leaving;          /* closes when nobody waits any more */
	struct lookup *asking; /* the one whose ares_getaddrinfo() is on the stack */
	struct lookup *finished, **finished_end;
};

/* ---- waits: rings in the callers' memory, so that cancelling needs no search ---- */

static void wait_link(struct resolve_wait *head, struct resolve_wait *wait)
{
	wait->prev = head->prev;
	wait->next = head;
	head->prev->next = wait;
	head->prev = wait;
}

static void wait_unlink(struct resolve_wait *wait)
{
	wait->prev->next = wait->next;
	wait->next->prev = wait->prev;
	wait->prev = wait->next = NULL;
}

static void wait_ring_init(struct resolve_wait *head)
{
	head->prev = head->next = head;
}

static void wait_ring_move(struct resolve_wait *to, struct resolve_wait *from)
{
	wait_ring_init(to);
	if (from->next == from)
		return;
	to->next = from->next;
	to->prev = from->prev;
	to->next->prev = to->prev->next = to;
	wait_ring_init(from);
}

void resolve_cancel(struct resolve_wait *wait)
{
	if (wait->next)
		wait_unlink(wait);
}

/* ---- look-ups ---- */

/* The tree is libc's balanced one: clients choose the names, and no choice makes it slow as it
 * would a hash table. */
static int lookup_compare(const void *a, const void *b)
{
	return strcmp(((const struct lookup *)a)->key, ((const struct lookup *)b)->key);
}

static void ring_init(struct lookup *head)
{
	head->newer = head->older = head;
}

static void ring_add(struct lookup *head, struct lookup *lookup)
{
	lookup->newer = head;
	lookup->older = head->older;
	lookup->older->newer = lookup;
	head->older = lookup;
}

static void ring_remove(struct lookup *lookup)
{
	lookup->newer->older = lookup->older;
	lookup->older->newer = lookup->newer;
}

static void lookup_keep(struct lookup *lookup)
{
	ring_add(&lookup->resolver->kept, lookup);
	lookup->resolver->n_kept++;
}

static void lookup_unkeep(struct lookup *lookup)
{
	ring_remove(lookup);
	lookup->resolver->n_kept--;
}

static void lookup_drop(struct lookup *lookup)
{
	lookup_unkeep(lookup);
	tdelete(lookup, &lookup->resolver->tree, lookup_compare);
	free(lookup);
}

static struct lookup *lookup_find(struct resolver *r, const char *key)
{
	const struct lookup probe = {.key = key};
	struct lookup **found = tfind(&probe, &r->tree, lookup_compare);

	return found ? *found : NULL;
}

static struct lookup *lookup_new(struct resolver *r, const char *key)
{
	size_t size = strlen(key) + 1;
	struct lookup *lookup = calloc(1, sizeof(*lookup) + size);

	if (!lookup)
		return NULL;
	lookup->resolver = r;
	lookup->key = memcpy(lookup + 1, key, size);
	if (!tsearch(lookup, &r->tree, lookup_compare)) {
		free(lookup);
		return NULL;
	}
	return lookup;
}

/* From pending to kept. The oldest makes room; the newest is never the oldest. */
static void lookup_settle(struct lookup *lookup)
{
	struct resolver *r = lookup->resolver;

	ring_remove(lookup);
	lookup->pending = false;
	lookup->expires = loop_now(r->loop) + lookup->keep_ms;
	r->n_pending--;
	lookup_keep(lookup);
	if (r->n_kept > r->cache_max)
		lookup_drop(r->kept.newer);
}

/* ---- answers ---- */

/* Whoever asks gets the answer that came at once; the others wait until c-ares has returned. */
static void lookup_finish(struct lookup *lookup)
{
	struct resolver *r = lookup->resolver;

	if (r->asking == lookup) {
		lookup_settle(lookup);
	} else {
		lookup->next_finished = NULL;
		*r->finished_end = lookup;
		r->finished_end = &lookup->next_finished;
	}
}

/* c-ares's callback. Answers that come at once, while asking, are those of the hosts file. */
static void on_answer(void *arg, int status, int timeouts, struct ares_addrinfo *ai)
{
	struct lookup *lookup = arg;
	bool at_once = lookup->resolver->asking == lookup;

	(void)timeouts;
	lookup->keep_ms = answer_of_addresses(&lookup->answer, status, ai, at_once);
	if (ai)
		ares_freeaddrinfo(ai);
	lookup_finish(lookup);
}

/* The same for an address's name. */
static void on_name(void *arg, int status, int timeouts, struct hostent *host)
{
	struct lookup *lookup = arg;
	bool at_once = lookup->resolver->asking == lookup;

	(void)timeouts;
	lookup->keep_ms = answer_of_name(
	    &lookup->answer, status, status == ARES_SUCCESS ? host->h_name : NULL, at_once);
	lookup_finish(lookup);
}

/*
 * Whoever is called may ask again (even so that this one is dropped for a new one), cancel
 * others, or free the resolver; so the waits move to a ring of their own and the answer to the
 * stack before the first is called.
 */
static void lookup_deliver(struct lookup *lookup)
{
	struct resolve_answer answer = lookup->answer;
	struct resolve_wait head, *wait;

	wait_ring_move(&head, &lookup->waits);
	lookup_settle(lookup);
	while ((wait = head.next) != &head) {
		wait_unlink(wait);
		wait->fn(wait, &answer);
	}
}

static void timer_on_closed(struct timer *timer);

/* The memory goes when the last handle has closed: resolver_release(). */
static void resolver_close(struct resolver *r)
{
	ares_channel channel = r->channel;

	r->channel = NULL;
	ares_destroy(channel);
	timer_close(&r->timer, timer_on_closed);
}

static bool resolver_is_awaited(const struct resolver *r)
{
	const struct lookup *lookup;

	for (lookup = r->pending.older; lookup != &r->pending; lookup = lookup->older)
		if (lookup->waits.next != &lookup->waits)
			return true;
	return false;
}

void resolver_free(struct resolver *r)
{
	if (!r)
		return;
	r->leaving = true;
	if (!resolver_is_awaited(r))
		resolver_close(r);
}

static void resolver_update_timer(struct resolver *r);

/* What follows every turn of c-ares. */
static void resolver_deliver(struct resolver *r)
{
	struct lookup *lookup;

	while ((lookup = r->finished) && r->channel) {
		r->finished = lookup->next_finished;
		if (!r->finished)
			r->finished_end = &r->finished;
		lookup_deliver(lookup);
	}
	if (r->channel && r->leaving && !resolver_is_awaited(r))
		resolver_close(r);
	if (r->channel)
		resolver_update_timer(r);
}

/* ---- time ---- */

static void timer_start_for(struct resolver *r, uint64_t ms)
{
	r->timer_due = loop_now(r->loop) + ms;
	timer_start(&r->timer, ms);
}

/*
 * ares_timeout() walks all queries, too dear for every packet. Nothing sent now expires before one
 * timeout has passed, so until then the timer at its earliest setting will do; when it fires c-ares
 * is asked.
 */
static void resolver_update_timer(struct resolver *r)
{
	uint64_t latest = r->timeout_ms + TIMER_SLACK_MS;

	if (r->n_pending == 0) {
		timer_stop(&r->timer);
		r->timer_due = 0;
	} else if (r->timer_due == 0 || r->timer_due > loop_now(r->loop) + latest) {
		timer_start_for(r, latest);
	}
}

static struct resolver *resolver_of(struct timer *timer)
{
	return (struct resolver *)((char *)timer - offsetof(struct resolver, timer));
}

static void resolver_on_timer(struct timer *timer)
{
	struct resolver *r = resolver_of(timer);
	struct timeval tv;

	ares_process_fd(r->channel, ARES_SOCKET_BAD, ARES_SOCKET_BAD);
	r->timer_due = 0;
	if (ares_timeout(r->channel, NULL, &tv))
		timer_start_for(
		    r, (uint64_t)tv.tv_sec * 1000 + (uint64_t)tv.tv_usec / 1000 + TIMER_SLACK_MS);
	resolver_deliver(r);
}

/* ---- sockets ---- */

/* Last act of resolver_free(), when no handle can call back any more. */
static void resolver_release(struct resolver *r)
{
	if (--r->handles > 0)
		return;
	tdestroy(r->tree, free);
	ares_library_cleanup();
	free(r);
}

static void timer_on_closed(struct timer *timer)
{
	resolver_release(resolver_of(timer));
}

static void socket_on_closed(struct watch *watch)
{
	struct dns_socket *s = (struct dns_socket *)watch;
	struct resolver *r = s->resolver;

	free(s);
	resolver_release(r);
}

static void socket_on_event(struct watch *watch, unsigned events)
{
	struct dns_socket *s = (struct dns_socket *)watch;
	struct resolver *r = s->resolver;
	bool failed = events & WATCH_ERROR;

	ares_process_fd(r->channel, events & WATCH_READ || failed ? s->fd : ARES_SOCKET_BAD,
	    events & WATCH_WRITE ? s->fd : ARES_SOCKET_BAD);
	/* An error stops a watch; a socket that c-ares keeps all the same is heard again. */
	if (!s->closing)
		watch_set(&s->watch, s->wanted);
	resolver_deliver(r);
}

static struct dns_socket *socket_new(struct resolver *r, int fd)
{
	struct dns_socket *s = calloc(1, sizeof(*s));

	if (!s)
		return NULL;
	if (watch_init(&s->watch, r->loop, fd, socket_on_event) < 0) {
		free(s);
		return NULL;
	}
	s->resolver = r;
	s->fd = fd;
	s->next = r->sockets;
	r->sockets = s;
	r->handles++;
	return s;
}

/* c-ares says what it waits for on a socket, and with neither that it is about to close it. Where
 * no watch can be had its query times out: there is no other way to tell it. */
static void on_socket_state(void *arg, ares_socket_t fd, int readable, int writable)
{
	struct resolver *r = arg;
	struct dns_socket **at = &r->sockets, *s;

	while (*at && (*at)->fd != fd)
		at = &(*at)->next;
	s = *at;
	if (!readable && !writable) {
		if (!s)
			return;
		*at = s->next;
		s->closing = true;
		watch_close(&s->watch, socket_on_closed);
		return;
	}
	if (!s)
		s = socket_new(r, fd);
	if (!s)
		return;
	s->wanted = (readable ? WATCH_READ : 0) | (writable ? WATCH_WRITE : 0);
	watch_set(&s->watch, s->wanted);
}

/* ---- the resolver ---- */

static int channel_set_servers(ares_channel channel, const struct addr *servers, size_t n)
{
	struct ares_addr_port_node *nodes = calloc(n, sizeof(*nodes));
	int status;
	size_t i;

	if (!nodes)
		return ARES_ENOMEM;
	for (i = 0; i < n; i++) {
		nodes[i].next = i + 1 < n ? &nodes[i + 1] : NULL;
		nodes[i].udp_port = nodes[i].tcp_port = servers[i].port;
		if (ip_is_v4(&servers[i].ip)) {
			nodes[i].family = AF_INET;
			memcpy(&nodes[i].addr.addr4, ip_v4_bytes(&servers[i].ip), 4);
		} else {
			nodes[i].family = AF_INET6;
			memcpy(&nodes[i].addr.addr6, servers[i].ip.b, 16);
		}
	}
	status = ares_set_servers_ports(channel, nodes);
	free(nodes);
	return status;
}

/* c-ares itself sets its sockets non-blocking and close-on-exec (1.18, configure_socket()). */
static int channel_open(struct resolver *r, const struct resolver_options *o)
{
	char lookups[] = "fb"; /* the hosts file first */
	struct ares_options options = {
	    .flags = ARES_FLAG_NOALIASES, /* HOSTALIASES is for people at a terminal */
	    .timeout = (int)r->timeout_ms,
	    .tries = (int)(o->tries ? o->tries : TRIES_DEFAULT),
	    .lookups = lookups,
	    .sock_state_cb = on_socket_state,
	    .sock_state_cb_data = r,
	};
	int mask = ARES_OPT_FLAGS | ARES_OPT_TIMEOUTMS | ARES_OPT_TRIES | ARES_OPT_LOOKUPS |
		   ARES_OPT_SOCK_STATE_CB;
	int status;

	/* Servers of our own have nothing to do with the system's search list. */
	if (o->n_servers)
		mask |= ARES_OPT_DOMAINS;
	status = ares_init_options(&r->channel, &options, mask);
	if (status == ARES_SUCCESS && o->n_servers) {
		status = channel_set_servers(r->channel, o->servers, o->n_servers);
		if (status != ARES_SUCCESS)
			ares_destroy(r->channel);
	}
	return status == ARES_SUCCESS ? 0 : status == ARES_ENOMEM ? -ENOMEM : -EINVAL;
}

int resolver_new(
    struct resolver **ret_resolver, struct loop *loop, const struct resolver_options *options)
{
	struct resolver *r = calloc(1, sizeof(*r));
	int err;

	if (!r)
		return -ENOMEM;
	r->loop = loop;
	r->cache_max = options->cache_max ? options->cache_max : CACHE_MAX_DEFAULT;
	r->timeout_ms = options->timeout_ms ? options->timeout_ms : TIMEOUT_MS_DEFAULT;
	ring_init(&r->kept);
	ring_init(&r->pending);
	r->finished_end = &r->finished;
	ares_library_init(ARES_LIB_INIT_ALL);
	err = channel_open(r, options);
	if (err < 0) {
		ares_library_cleanup();
		free(r);
		return err;
	}
	timer_init(&r->timer, loop, resolver_on_timer);
	r->handles = 1;
	*ret_resolver = r;
	return 0;
}

static void answer_localhost(struct resolve_answer *ret_answer)
{
	static const uint8_t v4[4] = {127, 0, 0, 1}, v6[16] = {[15] = 1};

	memset(ret_answer, 0, sizeof(*ret_answer));
	ret_answer->n = 2;
	ret_answer->ip[0] = ip_from_v4(v4);
	ret_answer->ip[1] = ip_from_v6(v6);
}

/* RFC 6761 section 6.3: no name server is asked, and so none can say otherwise. */
static bool is_localhost(const char *name, size_t len)
{
	static const char local[] = "localhost";
	size_t n = sizeof(local) - 1;

	return len >= n && memcmp(name + len - n, local, n) == 0 &&
	       (len == n || name[len - n - 1] == '.');
}

static void ask_for_name(struct lookup *lookup)
{
	struct ip ip;

	/* resolver_ask_name() has written it. */
	(void)ip_parse(lookup->key + 1, strlen(lookup->key + 1), &ip);
	if (ip_is_v4(&ip))
		ares_gethostbyaddr(
		    lookup->resolver->channel, ip_v4_bytes(&ip), 4, AF_INET, on_name, lookup);
	else
		ares_gethostbyaddr(lookup->resolver->channel, ip.b, 16, AF_INET6, on_name, lookup);
}

/* c-ares's sorting is not ours: see prefer.c. */
static void ask_for_addresses(struct lookup *lookup)
{
	static const struct ares_addrinfo_hints hints = {
	    .ai_family = AF_UNSPEC, .ai_flags = ARES_AI_NOSORT};

	ares_getaddrinfo(lookup->resolver->channel, lookup->key, NULL, &hints, on_answer, lookup);
}

/* Hands a look-up to c-ares. It may be answered, and pending no more, on return. */
static void lookup_ask(struct lookup *lookup)
{
	struct resolver *r = lookup->resolver;

	lookup->pending = true;
	wait_ring_init(&lookup->waits);
	ring_add(&r->pending, lookup);
	r->n_pending++;
	r->asking = lookup;
	if (lookup->key[0] == KEY_OF_IP)
		ask_for_name(lookup);
	else
		ask_for_addresses(lookup);
	r->asking = NULL;
	resolver_update_timer(r);
}

/* Begins a look-up; `lookup` is the name's old one or NULL. */
static int resolver_begin(
    struct resolver *r, const char *key, struct lookup *lookup, struct lookup **ret_lookup)
{
	if (r->n_pending >= LOOKUPS_MAX)
		return ERR_RESOLVER;
	if (lookup)
		lookup_unkeep(lookup);
	else
		lookup = lookup_new(r, key);
	if (!lookup)
		return -ENOMEM;
	lookup_ask(lookup);
	*ret_lookup = lookup;
	return 0;
}

static bool lookup_is_stale(const struct lookup *lookup)
{
	return !lookup->pending && lookup->expires <= loop_now(lookup->resolver->loop);
}

static int resolver_ask_key(struct resolver *r, const char *key, struct resolve_wait *wait,
    resolve_fn *fn, struct resolve_answer *ret_answer)
{
	struct lookup *lookup = lookup_find(r, key);
	int err;

	if (!lookup || lookup_is_stale(lookup)) {
		err = resolver_begin(r, key, lookup, &lookup);
		if (err < 0)
			return err;
	}
	if (!lookup->pending) {
		lookup_unkeep(lookup);
		lookup_keep(lookup);
		*ret_answer = lookup->answer;
		return 1;
	}
	wait->fn = fn;
	wait_link(&lookup->waits, wait);
	return 0;
}

int resolver_ask(struct resolver *r, const char *name, struct resolve_wait *wait, resolve_fn *fn,
    struct resolve_answer *ret_answer)
{
	char key[ADDR_NAME_MAX + 2];
	struct addr addr;
	size_t len;
	int err = addr_set_host(&addr, name, strlen(name));

	if (err < 0)
		return err;
	if (addr.kind == ADDR_IP) {
		memset(ret_answer, 0, sizeof(*ret_answer));
		ret_answer->n = 1;
		ret_answer->ip[0] = addr.ip;
		return 1;
	}
	len = name_canonical(addr.name, addr.name_len, key);
	if (is_localhost(key, len)) {
		answer_localhost(ret_answer);
		return 1;
	}
	/* With its dot a name is another one: neither the search list nor the hosts file apply. */
	if (len < addr.name_len)
		memcpy(key + len, ".", sizeof("."));
	return resolver_ask_key(r, key, wait, fn, ret_answer);
}

int resolver_ask_name(struct resolver *r, const struct ip *ip, struct resolve_wait *wait,
    resolve_fn *fn, struct resolve_answer *ret_answer)
{
	char key[1 + IP_TEXT_MAX] = {KEY_OF_IP};

	ip_format(ip, key + 1);
	return resolver_ask_key(r, key, wait, fn, ret_answer);
}
