/* SPDX-License-Identifier: MIT */
#include "net/chain_gss.h"

#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "net/gss.h"
#include "proto/err.h"

struct chain_gss {
	struct job job; /* the first field: it is what the pool gives back */
	bool running, unwanted;
	void (*done)(void *ctx);
	void *ctx;

	struct loop *loop;
	struct chain_tickets *tickets; /* or NULL */
	struct chain_ticket_wait wait;
	struct chain_ticket *ticket; /* of the hop, until its context is gone; or NULL */

	const char *service;
	char principal[ADDR_NAME_MAX + 101]; /* SERVICE@HOST */
	bool datagrams;
	struct gss_ctx_id_struct *context; /* of the hop, until it is a layer's */
	int ret;                           /* of gss_initiate() */
	char why[200];
	size_t theirs_len, ours_len;
	uint8_t theirs[GSS_TOKEN_MAX], ours[GSS_TOKEN_MAX];
	uint8_t frame[GSS_FRAME_MAX];
};

struct chain_gss *chain_gss_new(const char *service, struct chain_tickets *tickets)
{
	struct chain_gss *g = calloc(1, sizeof(*g));

	if (!g)
		return NULL;
	g->service = service;
	g->tickets = tickets;
	return g;
}

static void drop_context(struct chain_gss *g)
{
	gss_context_free(g->context);
	g->context = NULL;
	if (g->ticket)
		g->ticket->release(g->ticket);
	g->ticket = NULL;
}

static void destroy(struct chain_gss *g)
{
	drop_context(g);
	explicit_bzero(g, sizeof(*g));
	free(g);
}

void chain_gss_cancel(struct chain_gss *g)
{
	if (!g)
		return;
	g->done = NULL;
	chain_ticket_cancel(&g->wait);
}

void chain_gss_free(struct chain_gss *g)
{
	if (g && g->running)
		g->unwanted = true;
	else if (g)
		destroy(g);
}

void chain_gss_forget(struct chain_gss *g)
{
	if (!g)
		return;
	drop_context(g);
	g->theirs_len = 0;
}

void chain_gss_take(struct chain_gss *g, const uint8_t *token, size_t len)
{
	memcpy(g->theirs, token, len);
	g->theirs_len = len;
}

/* On a thread. */
static void initiate(struct job *job)
{
	struct chain_gss *g = (struct chain_gss *)(void *)job;

	g->ret = gss_initiate(&g->context, g->ticket ? g->ticket->principal : g->principal,
	    g->ticket ? g->ticket->cache : NULL, g->datagrams, g->theirs, g->theirs_len, g->ours,
	    sizeof(g->ours), &g->ours_len, g->why, sizeof(g->why));
}

static void initiated(struct job *job)
{
	struct chain_gss *g = (struct chain_gss *)(void *)job;

	g->running = false;
	g->theirs_len = 0;
	if (g->unwanted)
		destroy(g);
	else if (g->done)
		g->done(g->ctx);
}

static int start_job(struct chain_gss *g)
{
	int err;

	g->job = (struct job){.work = initiate, .done = initiated};
	err = job_start(&g->job, g->loop);
	g->running = err == 0;
	return err;
}

/* ---- the ticket ---- */

void chain_ticket_cancel(struct chain_ticket_wait *wait)
{
	if (!wait->at)
		return;
	*wait->at = wait->next;
	if (wait->next)
		wait->next->at = wait->at;
	wait->at = NULL;
}

static void note_why(struct chain_gss *g)
{
	snprintf(g->why, sizeof(g->why), "%s", g->wait.why ? g->wait.why : "");
}

static void on_ticket(struct chain_ticket_wait *wait, int err)
{
	struct chain_gss *g =
	    (struct chain_gss *)(void *)((char *)wait - offsetof(struct chain_gss, wait));

	if (err) {
		note_why(g);
	} else {
		g->ticket = wait->ticket;
		err = start_job(g);
	}
	if (!err)
		return;
	g->ret = err;
	g->done(g->ctx);
}

/* Returns 1 where there is one, or none is needed here, 0 where it is waited for, or an error. */
static int get_ticket(struct chain_gss *g, const char *host)
{
	int ret;

	if (!g->tickets || g->ticket)
		return 1;
	g->wait.fn = on_ticket;
	ret = g->tickets->ask(g->tickets, g->loop, g->service, host, &g->wait);
	if (ret < 0)
		note_why(g);
	else if (ret == 1)
		g->ticket = g->wait.ticket;
	return ret;
}

int chain_gss_begin(struct chain_gss *g, struct loop *loop, const char *host, bool datagrams,
    void (*done)(void *ctx), void *ctx)
{
	int ret;

	snprintf(g->principal, sizeof(g->principal), "%.99s@%s", g->service, host);
	g->loop = loop;
	g->datagrams = datagrams;
	g->done = done;
	g->ctx = ctx;
	g->ours_len = 0;
	ret = get_ticket(g, host);
	return ret == 1 ? start_job(g) : ret;
}

int chain_gss_context(struct chain_gss *g, struct connect *machine, struct wire_writer *ret_out)
{
	*ret_out = wire_writer_of(g->frame, sizeof(g->frame));
	if (g->ret < 0)
		return g->ret;
	g->why[0] = '\0';
	connect_gss_context(machine, g->ret == 1, g->ours, g->ours_len, ret_out);
	return 0;
}

int chain_gss_level(struct chain_gss *g, struct connect *machine, struct wire_writer *ret_out)
{
	size_t len = 1;
	int err = 0;

	*ret_out = wire_writer_of(g->frame, sizeof(g->frame));
	g->ours[0] = machine->gss_level;
	if (!machine->gss_nec)
		err = gss_message_wrap(
		    g->context, false, &machine->gss_level, 1, g->ours, sizeof(g->ours), &len);
	if (!err)
		connect_gss_level(machine, g->ours, len, ret_out);
	return err;
}

int chain_gss_answer(struct chain_gss *g, struct connect *machine, int fd, struct layer **layer,
    const void *early, size_t n, bool *ret_taken)
{
	const uint8_t *octets = g->theirs;
	size_t len = g->theirs_len;
	int level, err = 0;

	*ret_taken = false;
	if (!machine->gss_nec) {
		err = gss_message_unwrap(
		    g->context, false, g->theirs, g->theirs_len, g->ours, sizeof(g->ours), &len);
		octets = g->ours;
	}
	level = connect_gss_answer(machine, err ? NULL : octets, len);
	err = 0;
	if (level > GSS_LEVEL_CLEAR) {
		err = gss_layer_new(
		    layer, fd, *layer, g->context, level == GSS_LEVEL_CONFIDENTIAL, early, n);
		*ret_taken = !err;
		if (!err)
			g->context = NULL;
	}
	drop_context(g);
	g->theirs_len = 0;
	return err;
}

const char *chain_gss_why(const struct chain_gss *g)
{
	return g && g->why[0] ? g->why : NULL;
}
