/* SPDX-License-Identifier: MIT */
/* tabi connect -z: which ports are open, and what the proxy says of those that are not. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/connect.h"
#include "proto/err.h"

/* At once: enough that a port that does not answer holds up few others. */
#define SCAN_WIDTH 16

struct scan;

struct slot {
	struct scan *scan;
	size_t port; /* by its place among the ports */
};

struct scan {
	struct connect_options *o;
	struct connect_loop loop;
	struct slot slots[SCAN_WIDTH];
	struct slot *idle[SCAN_WIDTH];
	size_t n_idle;
	size_t next, told; /* of the ports: to be begun, to be printed */
	uint8_t *verdicts; /* of each port, plus one; 0: not known yet */
	struct way *ways[SCAN_WIDTH];
	int status;
	bool open, over;
};

/* What says nothing of the port: the rest would go the same way. */
static bool ends_scan(int status)
{
	return status == VERDICT_LOCAL || status == VERDICT_PROXY_UNREACHABLE ||
	       status == VERDICT_TLS || status == VERDICT_AUTH || status == VERDICT_PROXY_BROKEN;
}

/* In the order of the ports, whichever is known first. */
static void print_known(struct scan *s)
{
	char text[ADDR_TEXT_MAX];

	for (; s->told < s->o->n_ports && s->verdicts[s->told] > 0; s->told++) {
		const enum verdict_status status = s->verdicts[s->told] - 1U;

		s->o->target.port = s->o->ports[s->told];
		printf("%s %s\n", addr_format(&s->o->target, text), verdict_word(status));
	}
	fflush(stdout);
}

static void stop(struct scan *s)
{
	s->over = true;
	for (size_t i = 0; i < SCAN_WIDTH; i++)
		way_cancel(s->ways[i]);
	loop_stop(&s->loop.loop);
}

/* A failure of the proxy is told once, others only to whoever asked for words. */
static int judge(struct scan *s, size_t port, const struct chain_result *r)
{
	struct verdict v;
	const struct verdict_request request = {
	    .hops = s->o->proxies.hop,
	    .n_hops = s->o->proxies.n,
	    .command = COMMAND_CONNECT,
	    .target = &s->o->target,
	    .gss_demanded = s->o->proxies.gssapi.demanded,
	    .timeout_ms = s->o->timeout_ms,
	};

	if (r->err == ERR_OK) {
		layer_free(r->layer);
		close(r->fd);
		s->open = true;
		return VERDICT_OK;
	}
	s->o->target.port = s->o->ports[port];
	verdict_of(&v, &request, r);
	if (s->o->verbose || ends_scan(v.status))
		connect_complain(s->o, s->o->proxies.n, r, false);
	return v.status;
}

/* Returns false where the scan is over. */
static bool take(struct scan *s, size_t port, const struct chain_result *r)
{
	int status = judge(s, port, r);

	s->status = status;
	if (ends_scan(status))
		return false;
	s->verdicts[port] = (uint8_t)(status + 1);
	print_known(s);
	return s->told < s->o->n_ports;
}

static void begin_more(struct scan *s);

static void on_way(void *ctx, const struct chain_result *r)
{
	struct slot *slot = ctx;
	struct scan *s = slot->scan;

	s->ways[slot - s->slots] = NULL;
	s->idle[s->n_idle++] = slot;
	if (take(s, slot->port, r))
		begin_more(s);
	else
		stop(s);
}

static void begin_more(struct scan *s)
{
	while (!s->over && s->n_idle > 0 && s->next < s->o->n_ports) {
		struct slot *slot = s->idle[s->n_idle - 1];
		struct way_options way = {
		    .loop = &s->loop.loop,
		    .resolver = s->loop.resolver,
		    .proxies = &s->o->proxies,
		    .command = COMMAND_CONNECT,
		    .target = s->o->target,
		    .timeout_ms = s->o->timeout_ms,
		    .fn = on_way,
		    .ctx = slot,
		};
		struct chain_result r;

		slot->port = s->next++;
		way.target.port = s->o->ports[slot->port];
		if (way_start(&s->ways[slot - s->slots], &way, &r) == 0)
			s->n_idle--;
		else if (!take(s, slot->port, &r))
			stop(s);
	}
}

int connect_scan(struct connect_options *o)
{
	struct scan s = {.o = o, .status = VERDICT_LOCAL};
	int status = connect_loop_init(&s.loop, o);

	if (status)
		return status;
	s.verdicts = calloc(o->n_ports, 1);
	for (size_t i = 0; i < SCAN_WIDTH; i++) {
		s.slots[i] = (struct slot){.scan = &s};
		s.idle[s.n_idle++] = &s.slots[i];
	}
	if (s.verdicts) {
		begin_more(&s);
		if (!s.over)
			loop_run(&s.loop.loop);
	}
	connect_loop_fini(&s.loop);
	free(s.verdicts);
	return s.open && !ends_scan(s.status) ? VERDICT_OK : s.status;
}
