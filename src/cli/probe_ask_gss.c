/* SPDX-License-Identifier: MIT */
/* tabi probe comes in by GSS-API, RFC 1961: one frame after the other, and then all that is said is
 * wrapped. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/probe.h"
#include "net/gss.h"
#include "proto/err.h"
#include "proto/gss.h"

struct gss {
	struct gss_ctx_id_struct *context;
	char principal[ADDR_NAME_MAX + 101]; /* SERVICE@HOST */
	size_t theirs_len, ours_len;
	uint8_t theirs[GSS_TOKEN_MAX], ours[GSS_TOKEN_MAX];
};

static bool put(struct probe *p, struct talk *t, enum gss_frame_type type, const struct gss *g)
{
	uint8_t header[GSS_FRAME_HEADER];

	gss_frame_header(header, type, (uint16_t)g->ours_len);
	return (talk_send(t, header, sizeof(header), probe_ms(p)) == 0 &&
		   talk_send(t, g->ours, g->ours_len, probe_ms(p)) == 0) ||
	       ask_fail(p, "GSS-API", "the proxy takes no frame");
}

/* A frame of that type into `theirs`. A long one comes in parts: a talk has less room. */
static bool get(struct probe *p, struct talk *t, uint8_t type, struct gss *g)
{
	const uint8_t *head;

	if (talk_want(t, 2, probe_ms(p)) < 2)
		return ask_fail_bytes(p, t, "GSS-API");
	if (t->in[t->at + 1] == GSS_FRAME_ABORT)
		return ask_fail(p, "GSS-API", "the proxy aborts");
	if (talk_want(t, GSS_FRAME_HEADER, probe_ms(p)) < GSS_FRAME_HEADER ||
	    t->in[t->at] != GSS_FRAME_VERSION || t->in[t->at + 1] != type)
		return ask_fail_bytes(p, t, "GSS-API");
	head = talk_take(t, GSS_FRAME_HEADER);
	g->theirs_len = (size_t)head[2] << 8 | head[3];
	for (size_t at = 0; at < g->theirs_len;) {
		size_t n = talk_want(t, 1, probe_ms(p));

		n = n < g->theirs_len - at ? n : g->theirs_len - at;
		if (n == 0)
			return ask_fail(p, "GSS-API", "a token breaks off");
		memcpy(g->theirs + at, talk_take(t, n), n);
		at += n;
	}
	return true;
}

static bool establish(struct probe *p, struct talk *t, struct gss *g)
{
	char why[120] = "";

	for (unsigned i = 0; i < GSS_CONTEXT_ROUNDS_MAX; i++) {
		/* Datagrams need a context without an order, and which one this will be is not
		 * known here. */
		int rc = gss_initiate(&g->context, g->principal, NULL, true, g->theirs,
		    g->theirs_len, g->ours, sizeof(g->ours), &g->ours_len, why, sizeof(why));

		if (rc < 0)
			return ask_fail(p, "GSS-API", why);
		if (g->ours_len > 0 &&
		    (!put(p, t, GSS_FRAME_CONTEXT, g) || !get(p, t, GSS_FRAME_CONTEXT, g)))
			return false;
		if (rc == 1)
			return true;
	}
	return ask_fail(p, "GSS-API", "no end of tokens");
}

static bool wrap_level(const struct chain_gss_options *o, struct gss *g)
{
	uint8_t level = (uint8_t)o->level;

	g->ours[0] = level;
	g->ours_len = 1;
	return o->nec || gss_message_wrap(g->context, false, &level, 1, g->ours, sizeof(g->ours),
			     &g->ours_len) == 0;
}

/* Returns the level, or -1 where it is none or less than was asked for. */
static int read_level(const struct chain_gss_options *o, struct gss *g)
{
	const uint8_t *octets = o->nec ? g->theirs : g->ours;
	size_t len = g->theirs_len;

	if (!o->nec && gss_message_unwrap(g->context, false, g->theirs, g->theirs_len, g->ours,
			   sizeof(g->ours), &len) != 0)
		return -1;
	if (len != 1 || octets[0] > GSS_LEVEL_CONFIDENTIAL)
		return -1;
	if (o->level == GSS_LEVEL_PER_MESSAGE ? octets[0] == GSS_LEVEL_CLEAR : octets[0] < o->level)
		return -1;
	return octets[0];
}

static bool protect(struct probe *p, struct talk *t, struct gss *g)
{
	const struct chain_gss_options *o = p->o->proxies.gss;
	size_t early;
	int level;

	if (!wrap_level(o, g))
		return ask_fail(p, "GSS-API", "the level cannot be wrapped");
	if (!put(p, t, GSS_FRAME_LEVEL, g) || !get(p, t, GSS_FRAME_LEVEL, g))
		return false;
	level = read_level(o, g);
	if (level < 0)
		return ask_fail(p, "GSS-API", "the proxy wants another level of protection");
	if (level == GSS_LEVEL_CLEAR)
		return true;
	early = talk_left(t);
	if (gss_layer_new(&t->layer, t->fd, t->layer, g->context, level == GSS_LEVEL_CONFIDENTIAL,
		talk_take(t, early), early) != 0)
		return ask_fail(p, "GSS-API", "no memory");
	g->context = NULL;
	return true;
}

bool ask_gss(struct probe *p, struct talk *t)
{
	const struct addr *proxy = &p->o->proxy.proxy;
	struct gss *g = calloc(1, sizeof(*g));
	char text[IP_TEXT_MAX];
	bool ok;

	if (!g)
		return ask_fail(p, "GSS-API", "no memory");
	snprintf(g->principal, sizeof(g->principal), "%.99s@%s", p->o->proxies.gss->service,
	    proxy->kind == ADDR_NAME ? proxy->name : ip_format(&proxy->ip, text));
	ok = establish(p, t, g) && protect(p, t, g);
	gss_context_free(g->context);
	explicit_bzero(g, sizeof(*g));
	free(g);
	return ok;
}
