/* SPDX-License-Identifier: MIT */
#include "cli/way.h"

#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "net/dial.h"
#include "net/sockaddr.h"
#include "proto/err.h"

struct way {
	struct way_options o;
	struct chain *chain;
	/* Directly: */
	struct resolve_wait wait;
	struct dial *dial;
	struct timer timer;
	bool direct, over;
};

static void on_timer_closed(struct timer *timer)
{
	free((char *)timer - offsetof(struct way, timer));
}

static void end(struct way *w)
{
	if (w->over)
		return;
	w->over = true;
	chain_cancel(w->chain);
	resolve_cancel(&w->wait);
	dial_cancel(w->dial);
	if (w->direct)
		timer_close(&w->timer, on_timer_closed);
	else
		free(w);
}

void way_cancel(struct way *way)
{
	if (way)
		end(way);
}

static struct chain_result result_of(enum chain_stage stage, int err, int fd)
{
	return (struct chain_result){.err = err, .stage = stage, .code = -1, .fd = fd};
}

static void tell(struct way *w, const struct chain_result *r)
{
	const struct way_options o = w->o;

	end(w);
	o.fn(o.ctx, r);
}

/* ---- through a chain ---- */

static void on_chain(void *ctx, const struct chain_result *r)
{
	struct way *w = ctx;

	if (r->err == ERR_OK && r->listening) {
		w->o.fn(w->o.ctx, r);
		return;
	}
	w->chain = NULL;
	tell(w, r);
}

static int start_chain(struct way *w, struct chain_result *ret_result)
{
	const struct chain_options chain = {
	    .hops = w->o.proxies->hop,
	    .n_hops = w->o.proxies->n,
	    .command = w->o.command,
	    .target = w->o.target,
	    .resolver = w->o.resolver,
	    .tls = w->o.proxies->tls,
	    .gss = w->o.proxies->gss,
	    .whole_ms = (unsigned)w->o.timeout_ms,
	    .fn = on_chain,
	    .ctx = w,
	};

	return chain_start(&w->chain, w->o.loop, &chain, ret_result) == 0 ? 0 : 1;
}

/* ---- directly ---- */

static void on_dialled(void *ctx, int err, int fd, size_t which, const struct addr *local)
{
	struct way *w = ctx;
	const struct chain_result r = result_of(CHAIN_AT_DIAL, err, fd);

	(void)which;
	(void)local;
	w->dial = NULL;
	tell(w, &r);
}

/* The first address that there is a route to: nobody answers a datagram at once. */
static int open_datagrams(const struct ip *ips, size_t n, uint16_t port)
{
	int err = -ENETUNREACH;

	for (size_t i = 0; i < n; i++) {
		struct sockaddr_storage sa;
		socklen_t len = sockaddr_from_ip(&sa, &ips[i], port);
		int fd = socket(sa.ss_family, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

		if (fd >= 0 && connect(fd, (const struct sockaddr *)&sa, len) == 0)
			return fd;
		err = -errno;
		if (fd >= 0)
			close(fd);
	}
	return err;
}

/* Returns 0, or 1 with the result. */
static int go_to(struct way *w, const struct ip *ips, size_t n, struct chain_result *ret_result)
{
	int err, fd = -1;

	if (w->o.command == COMMAND_UDP) {
		fd = open_datagrams(ips, n, w->o.target.port);
		err = fd < 0 ? fd : 0;
	} else {
		err =
		    dial_start(&w->dial, w->o.loop, ips, n, w->o.target.port, NULL, on_dialled, w);
		if (!err)
			return 0;
	}
	*ret_result = result_of(CHAIN_AT_DIAL, err, fd);
	return 1;
}

static int use_answer(
    struct way *w, const struct resolve_answer *answer, struct chain_result *ret_result)
{
	if (answer->err == ERR_OK)
		return go_to(w, answer->ip, answer->n, ret_result);
	*ret_result = result_of(CHAIN_AT_RESOLVE, answer->err, -1);
	return 1;
}

static void on_resolved(struct resolve_wait *wait, const struct resolve_answer *answer)
{
	struct way *w = (struct way *)(void *)((char *)wait - offsetof(struct way, wait));
	struct chain_result r;

	if (use_answer(w, answer, &r) == 1)
		tell(w, &r);
}

static void on_time_out(struct timer *timer)
{
	struct way *w = (struct way *)(void *)((char *)timer - offsetof(struct way, timer));
	const struct chain_result r =
	    result_of(w->dial ? CHAIN_AT_DIAL : CHAIN_AT_RESOLVE, ERR_CONNECT_TIMEOUT, -1);

	tell(w, &r);
}

static int start_direct(struct way *w, struct chain_result *ret_result)
{
	struct resolve_answer answer;
	int ret;

	w->direct = true;
	timer_init(&w->timer, w->o.loop, on_time_out);
	if (w->o.timeout_ms > 0)
		timer_start(&w->timer, w->o.timeout_ms);
	if (w->o.target.kind == ADDR_IP)
		return go_to(w, &w->o.target.ip, 1, ret_result);
	ret = resolver_ask(w->o.resolver, w->o.target.name, &w->wait, on_resolved, &answer);
	if (ret == 0)
		return 0;
	if (ret < 0)
		answer.err = ret;
	return use_answer(w, &answer, ret_result);
}

int way_start(
    struct way **ret_way, const struct way_options *options, struct chain_result *ret_result)
{
	struct way *w = calloc(1, sizeof(*w));
	int ret;

	*ret_way = NULL;
	if (!w) {
		*ret_result = result_of(CHAIN_AT_RESOLVE, -ENOMEM, -1);
		return 1;
	}
	w->o = *options;
	ret = options->proxies->n > 0 ? start_chain(w, ret_result) : start_direct(w, ret_result);
	if (ret == 0)
		*ret_way = w;
	else
		end(w);
	return ret;
}
