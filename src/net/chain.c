/* SPDX-License-Identifier: MIT */
#include "net/chain.h"

#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "net/dial.h"
#include "proto/connect.h"
#include "proto/err.h"

/* The first piece of the input buffer: more than any SOCKS message has. */
#define INPUT_FIRST 512
/* Steps of one turn of the loop: HTTP is read by a byte or two, and no proxy may keep the loop. */
#define TURNS_MAX 1024

/* What is under way, in this order. */
enum doing {
	DOING_NAMES,  /* looks up names, `wait` is with the resolver or about to be */
	DOING_DIAL,   /* `dial` is under way */
	DOING_TLS,    /* the handshake of the layer on top; back to DOING_TALK */
	DOING_GSS,    /* a context of GSS-API, on a thread; back to DOING_TALK */
	DOING_TALK,   /* `machine` and the proxies talk */
	DOING_WAIT,   /* BIND: `fn` was told where it is listened, the peer is awaited */
	DOING_NOTHING /* over */
};

/* What the machine needs once all that it said is sent. */
enum next { NEXT_NONE, NEXT_READ, NEXT_STEP };

struct chain {
	struct loop *loop;
	chain_fn *fn;
	void *ctx;
	bool (*refuses)(void *ctx, const struct ip *ip, uint16_t port);
	struct resolver *resolver;
	struct tls_context *tls;
	const char *tls_name;
	unsigned proxy_ms, whole_ms;
	uint64_t began;
	enum doing doing;
	enum next next;

	struct resolve_wait wait;
	size_t naming; /* whose name is looked up: of hops[naming], or n_hops: the target's */
	struct dial *dial;
	struct ip ips[RESOLVE_ADDRS_MAX]; /* of the first proxy */
	size_t n_ips;
	struct ip proxy;      /* the one of them that was connected to */
	struct source source; /* where `has_source` */
	bool has_source;

	struct timer timer;
	struct watch watch; /* of `fd`, from the connection on */
	bool watching;
	uint8_t closing; /* watch and timer that the loop has not let go of */
	int fd;          /* -1: none, or handed over */
	struct layer *layer;

	struct connect machine;
	uint8_t *in; /* owned; from the proxies, not yet understood: in_len of in_cap bytes */
	size_t in_len, in_cap;
	uint8_t said[CONNECT_OUTPUT_MAX]; /* by the machine; may hold credentials */
	uint8_t *out;                     /* to be sent, from out_at on: `said`, or `gss`'s */
	size_t out_at, out_len;
	struct chain_gss *gss; /* owned; NULL where it is not offered */
	size_t protecting;     /* 1 + the hop whose GSS-API is on top; 0: none is */
	enum gss_level gss_level;
	bool gss_nec, gss_demanded;
	bool starts_tls; /* once that is sent */
	int send_err;    /* the proxy takes no more; what it has said before counts first */

	struct addr target;
	struct addr *forms; /* of the target; owned */
	size_t n_forms;
	unsigned early;
	enum command command;
	size_t n_hops;
	/* What the URLs say, which is what certificates are for; `hops` have addresses in place of
	 * names that were looked up. Behind the hops, and as many. */
	struct addr *hosts;
	struct url hops[];
};

/* ---- the end ---- */

static void let_go(struct chain *c)
{
	if (--c->closing > 0)
		return;
	chain_gss_free(c->gss);
	/* The URLs have passwords. */
	explicit_bzero(c, offsetof(struct chain, hops) + c->n_hops * sizeof(c->hops[0]));
	free(c);
}

static void on_watch_closed(struct watch *watch)
{
	let_go((struct chain *)((char *)watch - offsetof(struct chain, watch)));
}

static void on_timer_closed(struct timer *timer)
{
	let_go((struct chain *)((char *)timer - offsetof(struct chain, timer)));
}

/* The memory goes when the loop has let go of everything. */
static void chain_end(struct chain *c)
{
	if (c->doing == DOING_NOTHING)
		return;
	c->doing = DOING_NOTHING;
	resolve_cancel(&c->wait);
	dial_cancel(c->dial);
	chain_gss_cancel(c->gss);
	layer_free(c->layer);
	if (c->watching)
		watch_close(&c->watch, on_watch_closed);
	if (c->fd >= 0)
		close(c->fd);
	if (c->in)
		explicit_bzero(c->in, c->in_cap);
	free(c->in);
	free(c->forms);
	c->forms = NULL;
	c->dial = NULL;
	c->layer = NULL;
	c->fd = -1;
	c->in = NULL;
	timer_close(&c->timer, on_timer_closed);
}

void chain_cancel(struct chain *c)
{
	if (c)
		chain_end(c);
}

static enum chain_stage stage_of(const struct chain *c)
{
	if (c->doing == DOING_NAMES)
		return CHAIN_AT_RESOLVE;
	if (c->doing == DOING_DIAL)
		return CHAIN_AT_DIAL;
	switch (c->machine.stage) {
	case CONNECT_AT_TLS:
		return c->doing == DOING_TLS || c->starts_tls ? CHAIN_AT_TLS : CHAIN_AT_METHOD;
	case CONNECT_AT_METHOD:
		return CHAIN_AT_METHOD;
	case CONNECT_AT_REPLY:
	case CONNECT_AT_END:
		return CHAIN_AT_REPLY;
	case CONNECT_AT_START:
		break;
	default:
		return CHAIN_AT_AUTH;
	}
	/* Nothing is said to SOCKS4 and HTTP before the request. */
	return c->hops[c->machine.hop].scheme >= URL_SOCKS5 &&
		       c->hops[c->machine.hop].scheme <= URL_SOCKS5_TLS
		   ? CHAIN_AT_METHOD
		   : CHAIN_AT_REPLY;
}

static const char *why_of(const struct chain *c)
{
	const char *why = chain_gss_why(c->gss);

	return why || !c->layer ? why : c->layer->why;
}

static struct chain_result result_of(const struct chain *c, int err)
{
	return (struct chain_result){
	    .err = err,
	    .stage = stage_of(c),
	    .hop = c->doing == DOING_NAMES ? c->naming : c->machine.hop,
	    .code = c->machine.err ? c->machine.code : -1,
	    .why = why_of(c),
	    .fd = -1,
	    .proxy = c->proxy,
	};
}

static void fail(struct chain *c, int err)
{
	struct chain_result r = result_of(c, err);

	chain_end(c);
	c->fn(c->ctx, &r);
}

/* Where the datagrams of UDP ASSOCIATE go, or the peer of BIND. */
static struct addr bound_of(const struct chain *c)
{
	const struct addr *last = &c->hops[c->n_hops - 1].proxy;

	if (c->n_hops == 1)
		return connect_listens_at(&c->machine, &c->proxy);
	if (last->kind == ADDR_IP)
		return connect_listens_at(&c->machine, &last->ip);
	return c->machine.bound;
}

/* The first of BIND's two answers. Who is told may have had enough. */
static enum next tell_listening(struct chain *c)
{
	struct chain_result r = result_of(c, ERR_OK);

	r.why = NULL;
	r.listening = true;
	r.bound = bound_of(c);
	c->doing = DOING_WAIT;
	timer_stop(&c->timer);
	connect_await_peer(&c->machine);
	c->fn(c->ctx, &r);
	return c->doing == DOING_WAIT ? NEXT_STEP : NEXT_NONE;
}

static void succeed(struct chain *c)
{
	struct chain_result r = result_of(c, ERR_OK);

	r.why = NULL;
	r.bound = c->command == COMMAND_UDP ? bound_of(c) : c->machine.bound;
	r.fd = c->fd;
	r.layer = c->layer;
	r.protects = c->protecting == c->n_hops;
	c->fd = -1;
	c->layer = NULL;
	chain_end(c);
	c->fn(c->ctx, &r);
}

/* ---- time ---- */

static bool last_is_asked(const struct chain *c)
{
	return c->doing > DOING_DIAL && c->machine.hop + 1 == c->n_hops &&
	       stage_of(c) == CHAIN_AT_REPLY && c->machine.stage != CONNECT_AT_START;
}

/* Whichever limit comes first. */
static void run_timer(struct chain *c)
{
	const uint64_t now = loop_now(c->loop);
	uint64_t whole = c->whole_ms ? c->began + c->whole_ms : UINT64_MAX;
	uint64_t proxy = c->proxy_ms && !last_is_asked(c) ? c->began + c->proxy_ms : UINT64_MAX;
	uint64_t due = whole < proxy ? whole : proxy;

	if (due == UINT64_MAX)
		return;
	timer_start(&c->timer, due > now ? due - now : 0);
}

static void on_timer(struct timer *timer)
{
	struct chain *c = (struct chain *)((char *)timer - offsetof(struct chain, timer));
	const uint64_t now = loop_now(c->loop);

	if ((c->whole_ms && now >= c->began + c->whole_ms) ||
	    (c->proxy_ms && !last_is_asked(c) && now >= c->began + c->proxy_ms))
		fail(c, ERR_CONNECT_TIMEOUT);
	else
		run_timer(c);
}

/* ---- talking ---- */

/* The host alone, as a certificate names it. */
static const char *host_of(const struct addr *a, char text[static ADDR_NAME_MAX + 1])
{
	if (a->kind == ADDR_IP)
		return ip_format(&a->ip, text);
	memcpy(text, a->name, a->name_len);
	text[a->name_len] = '\0';
	return text;
}

/* What was read belongs to TLS. */
static int start_tls(struct chain *c)
{
	char name[ADDR_NAME_MAX + 1];
	const struct tls_start start = {
	    .fd = c->fd,
	    .below = c->layer,
	    .early = c->in,
	    .early_len = c->in_len,
	    .peer = c->tls_name ? c->tls_name : host_of(&c->hosts[c->machine.hop], name),
	};
	struct layer *layer;

	c->doing = DOING_TLS;
	c->starts_tls = false;
	if (!c->tls)
		return ERR_TLS_HANDSHAKE;
	layer = tls_connect(c->tls, &start);
	if (!layer)
		return -ENOMEM;
	c->layer = layer;
	c->in_len = 0;
	return 0;
}

/* Returns 0 when nothing is left to be sent, -EAGAIN, or an error. */
static int send_out(struct chain *c)
{
	while (c->out_at < c->out_len && !c->send_err) {
		ssize_t n = layer_send(c->layer, c->fd, c->out + c->out_at, c->out_len - c->out_at);

		if (n == -EAGAIN)
			return -EAGAIN;
		if (n < 0)
			c->send_err = (int)n;
		else
			c->out_at += (size_t)n;
	}
	/* It may hold a password. */
	explicit_bzero(c->out, c->out_len);
	c->out = c->said;
	c->out_at = c->out_len = 0;
	return c->send_err ? 0 : layer_flush(c->layer);
}

/* Makes room for `want` bytes behind what is there. */
static int make_room(struct chain *c, size_t want)
{
	size_t cap = c->in_cap ? c->in_cap : INPUT_FIRST;
	uint8_t *in;

	if (c->in_cap - c->in_len >= want)
		return 0;
	while (cap - c->in_len < want && cap < CONNECT_INPUT_MAX)
		cap *= 2;
	if (cap - c->in_len < want)
		return ERR_PROXY_PROTOCOL;
	in = realloc(c->in, cap);
	if (!in)
		return -ENOMEM;
	c->in = in;
	c->in_cap = cap;
	return 0;
}

/* Gives the machine what there is, or its end. */
static enum connect_event step(struct chain *c, bool ended)
{
	struct wire_reader in = wire_reader_of(c->in, c->in_len);
	struct wire_writer out = wire_writer_of(c->said, sizeof(c->said));
	enum connect_event event =
	    ended ? connect_eof(&c->machine, &in) : connect_step(&c->machine, &in, &out);

	if (c->gss && c->machine.token_len > 0)
		chain_gss_take(c->gss, c->in + in.pos - c->machine.token_len, c->machine.token_len);
	if (in.pos > 0)
		memmove(c->in, c->in + in.pos, c->in_len - in.pos);
	c->in_len -= in.pos;
	c->out = c->said;
	c->out_len = out.len;
	return event;
}

/* Returns a count, 0 at the end of the stream, -EAGAIN or an error. */
static ssize_t read_in(struct chain *c)
{
	int err = make_room(c, c->machine.want);
	ssize_t n;

	if (err)
		return err;
	n = layer_recv(c->layer, c->fd, c->in + c->in_len, c->machine.want);
	if (n > 0)
		c->in_len += (size_t)n;
	return n == -EAGAIN && c->send_err ? c->send_err : n;
}

static void wait_for(struct chain *c, unsigned events)
{
	if (layer_holds(c->layer))
		events |= WATCH_WRITE;
	watch_set(&c->watch, events);
}

static void on_dialled(void *ctx, int err, int fd, size_t which, const struct addr *local);

static int start_dial(struct chain *c)
{
	c->doing = DOING_DIAL;
	return dial_start(&c->dial, c->loop, c->ips, c->n_ips, c->hops[0].proxy.port,
	    c->has_source ? &c->source : NULL, on_dialled, c);
}

/* There is another way to ask, on a new connection. */
static int dial_again(struct chain *c)
{
	layer_free(c->layer);
	c->layer = NULL;
	chain_gss_forget(c->gss);
	c->protecting = 0;
	watch_set(&c->watch, 0);
	close(c->fd);
	c->fd = -1;
	c->in_len = 0;
	c->send_err = 0;
	return start_dial(c);
}

static void fail_or_retry(struct chain *c)
{
	int err = c->machine.err;

	if (connect_retry(&c->machine))
		err = dial_again(c);
	if (err)
		fail(c, err);
}

/* ---- GSS-API ---- */

static void talk(struct chain *c);

static void on_context(void *ctx)
{
	struct chain *c = ctx;
	struct wire_writer out;
	int err = chain_gss_context(c->gss, &c->machine, &out);

	c->doing = DOING_TALK;
	if (err) {
		fail(c, err);
		return;
	}
	c->out = out.data;
	c->out_len = out.len;
	c->next = NEXT_STEP;
	talk(c);
}

/* Meanwhile the proxy is not heard. */
static int begin_context(struct chain *c)
{
	const bool datagrams = c->command == COMMAND_UDP && c->machine.hop + 1 == c->n_hops;
	char host[ADDR_NAME_MAX + 1];

	c->doing = DOING_GSS;
	watch_set(&c->watch, 0);
	return chain_gss_begin(
	    c->gss, c->loop, host_of(&c->hosts[c->machine.hop], host), datagrams, on_context, c);
}

static enum next act_gss(struct chain *c, enum connect_event event)
{
	enum next next = NEXT_STEP;
	struct wire_writer out;
	bool taken;
	int err = ERR_PROXY_PROTOCOL;

	if (event == CONNECT_GSS_CONTEXT && c->gss) {
		err = begin_context(c);
		next = NEXT_NONE;
	} else if (event == CONNECT_GSS_LEVEL && c->gss) {
		err = chain_gss_level(c->gss, &c->machine, &out);
		c->out = out.data;
		c->out_len = out.len;
	} else if (event == CONNECT_GSS_ANSWER && c->gss) {
		err = chain_gss_answer(
		    c->gss, &c->machine, c->fd, &c->layer, c->in, c->in_len, &taken);
		c->in_len = taken ? 0 : c->in_len;
		c->protecting = taken ? c->machine.hop + 1 : 0;
	}
	if (!err)
		return next;
	fail(c, err);
	return NEXT_NONE;
}

/* Does what the machine says. */
static enum next act(struct chain *c, enum connect_event event)
{
	switch (event) {
	case CONNECT_MORE:
		return NEXT_READ;
	case CONNECT_TLS:
		c->starts_tls = true;
		return NEXT_STEP;
	case CONNECT_DONE:
		if (c->command == COMMAND_BIND && c->doing != DOING_WAIT)
			return tell_listening(c);
		succeed(c);
		break;
	case CONNECT_FAILED:
		fail_or_retry(c);
		break;
	default:
		return act_gss(c, event);
	}
	return NEXT_NONE;
}

/* What has to be over before the machine is asked again. Returns 0, -EAGAIN where that is waited
 * for, or an error. */
static int get_ready(struct chain *c)
{
	int err = send_out(c);

	if (err == -EAGAIN)
		wait_for(c, WATCH_WRITE);
	if (!err && c->starts_tls)
		err = c->send_err ? c->send_err : start_tls(c);
	if (err || c->doing != DOING_TLS)
		return err;
	err = tls_handshake(c->layer);
	if (err == -EAGAIN)
		wait_for(c, WATCH_READ);
	if (!err)
		c->doing = DOING_TALK;
	return err;
}

/* Asks the machine, with what can be read if it wants that. Returns 0, -EAGAIN or an error. */
static int go_on(struct chain *c)
{
	ssize_t n = 1;
	int err = get_ready(c);

	if (err)
		return err;
	if (c->next == NEXT_READ)
		n = read_in(c);
	if (n == -EAGAIN)
		wait_for(c, WATCH_READ);
	if (n < 0)
		return (int)n;
	c->next = act(c, step(c, n == 0));
	return 0;
}

static void talk(struct chain *c)
{
	int turns = TURNS_MAX, err = 0;

	/* What is pending in a layer no poll reports. */
	while (!err && c->next != NEXT_NONE && (turns-- > 0 || layer_pending(c->layer)))
		err = go_on(c);
	if (err && err != -EAGAIN)
		fail(c, err);
	else if (!err && c->next != NEXT_NONE)
		wait_for(c, WATCH_READ);
}

static void on_socket(struct watch *watch, unsigned events)
{
	(void)events; /* what is broken is told by the next read or write */
	talk((struct chain *)((char *)watch - offsetof(struct chain, watch)));
}

/* ---- the connection ---- */

static int watch_socket(struct chain *c, int fd)
{
	int err = 0;

	if (c->watching) {
		watch_move(&c->watch, fd);
		return 0;
	}
	err = watch_init(&c->watch, c->loop, fd, on_socket);
	if (err)
		return err;
	c->watching = true;
	c->closing++;
	return 0;
}

static void on_dialled(void *ctx, int err, int fd, size_t which, const struct addr *local)
{
	struct chain *c = ctx;

	(void)local; /* what is told is the last hop's */
	c->dial = NULL;
	if (!err)
		err = watch_socket(c, fd);
	if (err) {
		if (fd >= 0)
			close(fd);
		fail(c, err);
		return;
	}
	c->fd = fd;
	c->proxy = c->ips[which];
	c->doing = DOING_TALK;
	c->next = NEXT_STEP;
	talk(c);
}

/* All names are known. Returns 0 or an error. */
static int dial(struct chain *c)
{
	uint16_t port = c->hops[0].proxy.port;
	size_t n = 0;

	c->doing = DOING_DIAL;
	for (size_t i = 0; i < c->n_ips; i++)
		if (!c->refuses || !c->refuses(c->ctx, &c->ips[i], port))
			c->ips[n++] = c->ips[i];
	if (n == 0)
		return ERR_SELF;
	c->n_ips = n;
	connect_init(&c->machine, c->hops, c->n_hops, c->command, &c->target);
	connect_set_forms(&c->machine, c->forms, c->n_forms);
	connect_send_early(&c->machine, c->early & CONNECT_EARLY_REQUEST);
	if (c->gss)
		connect_use_gss(&c->machine, c->gss_level, c->gss_nec);
	if (c->gss_demanded)
		connect_demand_gss(&c->machine);
	return start_dial(c);
}

/* ---- names ---- */

/* Of the chain and, behind it, the target. */
static struct addr *host_at(struct chain *c, size_t i)
{
	return i == c->n_hops ? &c->target : &c->hops[i].proxy;
}

/* Must somebody here look it up? */
static bool is_ours_to_find(struct chain *c, size_t i)
{
	if (host_at(c, i)->kind != ADDR_NAME || (i == c->n_hops && c->command == COMMAND_RESOLVE))
		return false;
	return i == 0 ? c->n_ips == 0 : !url_takes_names(&c->hops[i - 1]);
}

/* Uses what was found of the one at `naming`. Returns 0 or an error. */
static int use_answer(struct chain *c, const struct resolve_answer *answer)
{
	bool v4_only;

	if (answer->err)
		return answer->err;
	if (c->naming == 0) {
		c->n_ips = answer->n;
		memcpy(c->ips, answer->ip, answer->n * sizeof(answer->ip[0]));
		return 0;
	}
	v4_only = c->hops[c->naming - 1].scheme == URL_SOCKS4;
	for (unsigned i = 0; i < answer->n; i++)
		if (!v4_only || ip_is_v4(&answer->ip[i])) {
			struct addr *host = host_at(c, c->naming);

			*host = addr_from_ip(&answer->ip[i], host->port);
			return 0;
		}
	return ERR_ADDRESS_TYPE;
}

static int find_names(struct chain *c);

static void on_resolved(struct resolve_wait *wait, const struct resolve_answer *answer)
{
	struct chain *c = (struct chain *)((char *)wait - offsetof(struct chain, wait));
	int err = use_answer(c, answer);

	if (!err)
		err = find_names(c);
	if (err)
		fail(c, err);
}

/* From the target to the first proxy; then dials. Returns 0, or an error. */
static int find_names(struct chain *c)
{
	while (c->naming > 0) {
		struct resolve_answer answer;
		int ret;

		if (!is_ours_to_find(c, --c->naming))
			continue;
		if (!c->resolver)
			return ERR_RESOLVER;
		ret = resolver_ask(
		    c->resolver, host_at(c, c->naming)->name, &c->wait, on_resolved, &answer);
		if (ret <= 0)
			return ret;
		ret = use_answer(c, &answer);
		if (ret)
			return ret;
	}
	return dial(c);
}

/* ---- the beginning ---- */

static struct chain *chain_new(struct loop *loop, const struct chain_options *o)
{
	struct chain *c =
	    calloc(1, sizeof(*c) + o->n_hops * (sizeof(c->hops[0]) + sizeof(c->hosts[0])));

	if (!c)
		return NULL;
	c->loop = loop;
	c->fn = o->fn;
	c->ctx = o->ctx;
	c->refuses = o->refuses;
	c->resolver = o->resolver;
	c->tls = o->tls;
	c->has_source = o->source != NULL;
	if (o->source)
		c->source = *o->source;
	c->tls_name = o->tls_name;
	c->out = c->said;
	c->proxy_ms = o->proxy_ms;
	c->whole_ms = o->whole_ms;
	c->began = loop_now(loop);
	c->fd = -1;
	c->target = o->target;
	c->command = o->command;
	c->n_hops = o->n_hops;
	c->hosts = (struct addr *)&c->hops[o->n_hops];
	for (size_t i = 0; i < o->n_hops; i++) {
		c->hops[i] = o->hops[i];
		c->hosts[i] = o->hops[i].proxy;
	}
	c->naming = o->n_hops + 1;
	c->early = o->early;
	if (o->first)
		c->ips[c->n_ips++] = *o->first;
	else if (c->hops[0].proxy.kind == ADDR_IP)
		c->ips[c->n_ips++] = c->hops[0].proxy.ip;
	timer_init(&c->timer, loop, on_timer);
	c->closing = 1;
	return c;
}

static int copy_forms(struct chain *c, const struct chain_options *o)
{
	if (o->n_forms == 0)
		return 0;
	c->forms = malloc(o->n_forms * sizeof(c->forms[0]));
	if (!c->forms)
		return -ENOMEM;
	memcpy(c->forms, o->forms, o->n_forms * sizeof(c->forms[0]));
	c->n_forms = o->n_forms;
	return 0;
}

static int use_gss(struct chain *c, const struct chain_gss_options *o)
{
	if (!o)
		return 0;
	c->gss_level = o->level;
	c->gss_nec = o->nec;
	c->gss_demanded = o->demanded;
	c->gss = chain_gss_new(o->service, o->tickets);
	return c->gss ? 0 : -ENOMEM;
}

int chain_start(struct chain **ret_chain, struct loop *loop, const struct chain_options *options,
    struct chain_result *ret_failed)
{
	struct chain *c = chain_new(loop, options);
	int err = -ENOMEM;

	*ret_failed = (struct chain_result){.err = -ENOMEM, .code = -1, .fd = -1};
	if (!c)
		return err;
	err = copy_forms(c, options);
	if (!err)
		err = use_gss(c, options->gss);
	if (!err)
		err = find_names(c);
	if (err) {
		*ret_failed = result_of(c, err);
		chain_end(c);
		return err;
	}
	run_timer(c);
	*ret_chain = c;
	return 0;
}
