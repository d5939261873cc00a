/* SPDX-License-Identifier: MIT */
/* tabi connect: standard input and output through proxies. */
#include "cli/connect.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "cli/main.h"
#include "net/passfd.h"
#include "net/sockaddr.h"
#include "proto/err.h"

/* ---- what is said ---- */

static void say(const struct connect_options *o, const char *text, const char *advice)
{
	fprintf(stderr, "%s: %s\n", o->proxies.me, text);
	if (advice)
		fprintf(stderr, "%s: (%s)\n", o->proxies.me, advice);
}

static int trouble(const struct connect_options *o, const char *what, int err)
{
	fprintf(stderr, "%s: %s: %s\n", o->proxies.me, what, strerror(-err));
	return VERDICT_LOCAL;
}

int connect_complain(
    const struct connect_options *o, size_t n_hops, const struct chain_result *failed, bool waiting)
{
	static const enum command commands[] = {
	    [CONNECT_STREAM] = COMMAND_CONNECT,
	    [CONNECT_UDP] = COMMAND_UDP,
	    [CONNECT_LISTEN] = COMMAND_BIND,
	    [CONNECT_SCAN] = COMMAND_CONNECT,
	};
	const struct verdict_request request = {
	    .hops = o->proxies.hop,
	    .n_hops = n_hops,
	    .command = commands[o->mode],
	    .target = &o->target,
	    .gss_demanded = o->proxies.gssapi.demanded,
	    .waiting = waiting,
	    .timeout_ms = o->timeout_ms,
	};
	struct verdict v;

	verdict_of(&v, &request, failed);
	say(o, v.text, v.advice);
	return v.status;
}

static int broken(const struct connect_options *o, int err, enum pump_place place, const char *why)
{
	if (place == PUMP_STDIN)
		return trouble(o, "standard input", err);
	/* Whoever does not want more need not be told so. */
	if (place == PUMP_STDOUT && err == -EPIPE)
		return VERDICT_LOCAL;
	if (place == PUMP_STDOUT)
		return trouble(o, "standard output", err);
	if (err == ERR_IDLE) {
		say(o, "nothing moved for the time of --idle", NULL);
		return VERDICT_TIMEOUT;
	}
	fprintf(stderr, "%s: the connection broke: %s%s%s\n", o->proxies.me,
	    err > -1000 ? strerror(-err) : err_text(err), why ? ": " : "", why ? why : "");
	return VERDICT_CUT;
}

int connect_tell_end(const struct connect_options *o, int err, enum pump_place place,
    const char *why, uint64_t up, uint64_t down)
{
	int status = err ? broken(o, err, place, why) : VERDICT_OK;

	if (o->verbose)
		fprintf(stderr, "%s: over: %" PRIu64 " bytes up, %" PRIu64 " down\n", o->proxies.me,
		    up, down);
	return status;
}

/* ---- the loop ---- */

int connect_loop_init(struct connect_loop *l, const struct connect_options *o)
{
	const struct resolver_options defaults = {.servers = NULL};
	int err = loop_init(&l->loop);

	if (err)
		return trouble(o, "the event loop", err);
	err = resolver_new(&l->resolver, &l->loop, &defaults);
	if (!err)
		return 0;
	loop_fini(&l->loop);
	return trouble(o, "the resolver", err);
}

void connect_loop_fini(struct connect_loop *l)
{
	resolver_free(l->resolver);
	while (loop_turn(&l->loop, true))
		;
	loop_fini(&l->loop);
}

/* ---- one connection ---- */

struct opening {
	const struct connect_options *o;
	struct chain_result result;
	bool listening;    /* it was told so */
	size_t n_hops;     /* that were asked */
	struct nest *nest; /* of datagrams through proxies */
	char why[256];     /* of `result` */
	struct loop *loop;
};

static void tell_listening(const struct connect_options *o, const struct addr *bound)
{
	char text[ADDR_TEXT_MAX];

	fprintf(stderr, "%s: listening on %s\n", o->proxies.me, addr_format(bound, text));
}

static void on_way(void *ctx, const struct chain_result *r)
{
	struct opening *opening = ctx;

	if (r->err == ERR_OK && r->listening) {
		tell_listening(opening->o, &r->bound);
		opening->listening = true;
		return;
	}
	opening->result = *r;
	if (r->why) {
		snprintf(opening->why, sizeof(opening->why), "%s", r->why);
		opening->result.why = opening->why;
	}
	loop_stop(opening->loop);
}

static void on_nest(void *ctx, struct nest *nest, const struct chain_result *r, size_t n_hops)
{
	struct opening *opening = ctx;

	opening->nest = nest;
	opening->n_hops = n_hops;
	on_way(opening, r);
}

static void tell_way(const struct connect_options *o, const struct chain_result *r)
{
	char proxy[1024], first[IP_TEXT_MAX], bound[ADDR_TEXT_MAX];
	struct addr local;

	if (o->mode == CONNECT_LISTEN)
		fprintf(stderr, "%s: connection from %s\n", o->proxies.me,
		    addr_format(&r->bound, bound));
	if (!o->verbose)
		return;
	if (o->proxies.n > 0) {
		url_format(&o->proxies.hop[0], proxy, sizeof(proxy));
		fprintf(stderr, "%s: %s is at %s; the last proxy says it is at %s\n", o->proxies.me,
		    proxy, ip_format(&r->proxy, first), addr_format(&r->bound, bound));
	} else {
		local = socket_local_addr(r->fd);
		fprintf(
		    stderr, "%s: connected from %s\n", o->proxies.me, addr_format(&local, bound));
	}
}

/* Datagrams through proxies. Returns 0 where the loop is to run, or 1 with the result. */
static int start_nest(struct opening *opening, struct resolver *resolver)
{
	const struct connect_options *o = opening->o;
	const struct nest_options options = {
	    .chain =
		{
		    .hops = o->proxies.hop,
		    .n_hops = o->proxies.n,
		    .resolver = resolver,
		    .tls = o->proxies.tls,
		    .gss = o->proxies.gss,
		    .whole_ms = (unsigned)o->timeout_ms,
		},
	    .fn = on_nest,
	    .ctx = opening,
	};
	struct nest_opening *started;

	return nest_open(&started, opening->loop, &options, &opening->result, &opening->n_hops) == 0
		   ? 0
		   : 1;
}

/* The same of everything else. */
static int start_way(struct opening *opening, struct resolver *resolver)
{
	static const enum command commands[] = {
	    [CONNECT_STREAM] = COMMAND_CONNECT,
	    [CONNECT_UDP] = COMMAND_UDP,
	    [CONNECT_LISTEN] = COMMAND_BIND,
	};
	const struct connect_options *o = opening->o;
	const struct way_options way = {
	    .loop = opening->loop,
	    .resolver = resolver,
	    .proxies = &o->proxies,
	    .command = commands[o->mode],
	    .target = o->target,
	    .timeout_ms = o->timeout_ms,
	    .fn = on_way,
	    .ctx = opening,
	};
	struct way *started;

	return way_start(&started, &way, &opening->result);
}

/* Returns 0 with what was opened, or an exit status with what is wrong printed. */
static int open_way(
    const struct connect_options *o, struct chain_result *ret_result, struct nest **ret_nest)
{
	const bool nests = o->mode == CONNECT_UDP && o->proxies.n > 0;
	struct connect_loop l;
	struct opening opening = {.o = o, .loop = &l.loop, .n_hops = o->proxies.n};
	int status = connect_loop_init(&l, o);

	if (status)
		return status;
	if ((nests ? start_nest : start_way)(&opening, l.resolver) == 0)
		loop_run(&l.loop);
	*ret_result = opening.result;
	*ret_nest = opening.nest;
	/* A thread that waits for a KDC is not waited for. */
	if (opening.result.err == ERR_CONNECT_TIMEOUT && o->proxies.gss)
		_exit(connect_complain(o, opening.n_hops, ret_result, false));
	connect_loop_fini(&l);
	if (ret_result->err)
		return connect_complain(o, opening.n_hops, ret_result, opening.listening);
	tell_way(o, ret_result);
	return 0;
}

static int pump(const struct connect_options *o, const struct chain_result *r)
{
	struct pump p = {
	    .fd = r->fd,
	    .layer = r->layer,
	    .limits = {.idle_ms = o->idle_ms, .quit_ms = o->quit_ms},
	};
	int err = pump_run(&p);
	int status =
	    connect_tell_end(o, err, p.place, r->layer ? r->layer->why : NULL, p.up, p.down);

	layer_free(r->layer);
	close(r->fd);
	return status;
}

/* As ssh's ProxyUseFdpass wants it: one byte, and the descriptor with it. */
static int pass_fd(const struct connect_options *o, int fd)
{
	const char byte = 0;
	int err, status = VERDICT_OK;

	/* As whoever gets it would have made it. */
	fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) & ~O_NONBLOCK);
	err = passfd_send(STDOUT_FILENO, &byte, 1, &fd, 1, 0);
	if (err)
		status = trouble(o, "standard output takes no descriptor", err);
	close(fd);
	return status;
}

static int go(struct connect_options *o)
{
	struct chain_result r;
	struct nest *nest = NULL;
	int status;

	if (o->mode == CONNECT_SCAN)
		return connect_scan(o);
	status = open_way(o, &r, &nest);
	/* They are nobody's business from here on; what is left is for messages. */
	for (size_t i = 0; i < o->proxies.n; i++)
		explicit_bzero(o->proxies.hop[i].password, sizeof(o->proxies.hop[i].password));
	if (status)
		return status;
	if (o->mode == CONNECT_UDP)
		return connect_datagrams(o, nest, r.fd);
	return o->pass_fd ? pass_fd(o, r.fd) : pump(o, &r);
}

int connect_main(int argc, char **argv)
{
	struct connect_options o;
	int status;

	signal(SIGPIPE, SIG_IGN);
	status = stdio_fill();
	if (status) {
		fprintf(stderr, "%s: /dev/null: %s\n", argv[0], strerror(-status));
		return VERDICT_LOCAL;
	}
	status = connect_options_read(&o, argc, argv);
	if (status < 0)
		status = go(&o);
	connect_options_free(&o);
	return status;
}
