/* SPDX-License-Identifier: MIT */
#include "proto/connect_gss.h"

#include "proto/err.h"

/* What of a frame is certainly still to come. */
static int more(struct connect *c, const struct wire_reader *in)
{
	int len = gss_frame_peek_length(in);
	size_t whole = GSS_FRAME_HEADER + (size_t)(len < 0 ? 0 : len);

	/* An abort is two bytes. */
	if (wire_left(in) < 2)
		whole = 2;
	c->want = whole - wire_left(in);
	return WIRE_MORE;
}

/* A proxy may say "go on" once more, to a client whose context stood without a token to send. */
static bool skip_empty_context(struct connect *c, struct wire_reader *in, int *ret_rc)
{
	struct wire_reader r = *in;
	struct gss_frame f;
	int rc = gss_frame_read(&r, GSS_FRAME_CONTEXT, &f);

	if (c->stage != CONNECT_AT_GSS_LEVEL || c->gss_skipped || rc < 0)
		return false;
	if (rc == WIRE_DONE && (f.type != GSS_FRAME_CONTEXT || f.len != 0))
		return false;
	if (rc == WIRE_MORE && (wire_left(in) < 2 || gss_frame_peek_length(in) > 0))
		return false;
	*ret_rc = rc == WIRE_DONE ? WIRE_DONE : more(c, in);
	c->gss_skipped = rc == WIRE_DONE;
	*in = r;
	return true;
}

int connect_gss_step(struct connect *c, struct wire_reader *in)
{
	bool context = c->stage == CONNECT_AT_GSS_CONTEXT;
	struct wire_reader r = *in;
	struct gss_frame f;
	int rc = gss_frame_read(&r, context ? GSS_FRAME_CONTEXT : GSS_FRAME_LEVEL, &f);

	if (rc < 0 && skip_empty_context(c, in, &rc))
		return rc;
	if (rc == WIRE_MORE)
		return more(c, in);
	if (rc < 0)
		return ERR_PROXY_PROTOCOL;
	*in = r;
	/* It has no length, and nothing behind it means anything. */
	if (f.type == GSS_FRAME_ABORT) {
		c->code = GSS_FRAME_ABORT;
		return ERR_PROXY_AUTH;
	}
	c->token_len = f.len;
	if (!context) {
		c->stage = CONNECT_WAITS_GSS_ANSWER;
	} else if (c->gss_complete) {
		/* The last word of a proxy whose client has nothing more to say. */
		c->stage = CONNECT_WAITS_GSS_LEVEL;
	} else {
		c->stage = CONNECT_WAITS_GSS_CONTEXT;
	}
	return WIRE_DONE;
}

void connect_use_gss(struct connect *c, enum gss_level level, bool nec)
{
	c->gss = true;
	c->gss_level = (uint8_t)level;
	c->gss_nec = nec;
}

void connect_demand_gss(struct connect *c)
{
	c->gss_demanded = true;
}

static void fail(struct connect *c, int err)
{
	c->err = err;
}

void connect_gss_context(
    struct connect *c, bool complete, const void *token, size_t len, struct wire_writer *out)
{
	if (c->stage != CONNECT_WAITS_GSS_CONTEXT)
		return;
	if (len > GSS_TOKEN_MAX || (len == 0 && !complete) ||
	    ++c->gss_rounds > GSS_CONTEXT_ROUNDS_MAX) {
		fail(c, ERR_PROXY_AUTH);
		return;
	}
	c->token_len = 0;
	c->gss_complete = complete;
	if (len > 0)
		gss_frame_write(out, GSS_FRAME_CONTEXT, token, len);
	c->stage = len > 0 ? CONNECT_AT_GSS_CONTEXT : CONNECT_WAITS_GSS_LEVEL;
}

void connect_gss_level(struct connect *c, const void *token, size_t len, struct wire_writer *out)
{
	if (c->stage != CONNECT_WAITS_GSS_LEVEL)
		return;
	c->token_len = 0;
	gss_frame_write(out, GSS_FRAME_LEVEL, token, len);
	c->stage = CONNECT_AT_GSS_LEVEL;
}

/* As asked for or stronger; of "as you like" any that is protection. */
static bool is_enough(const struct connect *c, uint8_t level)
{
	if (c->gss_level == GSS_LEVEL_CLEAR)
		return level == GSS_LEVEL_CLEAR;
	if (level != GSS_LEVEL_INTEGRITY && level != GSS_LEVEL_CONFIDENTIAL)
		return false;
	return c->gss_level == GSS_LEVEL_PER_MESSAGE || level >= c->gss_level;
}

int connect_gss_answer(struct connect *c, const uint8_t *octets, size_t len)
{
	if (c->stage != CONNECT_WAITS_GSS_ANSWER)
		return ERR_PROXY_PROTOCOL;
	c->token_len = 0;
	if (!octets || len != 1 || !is_enough(c, octets[0])) {
		fail(c, octets && len == 1 ? ERR_GSS_LEVEL : ERR_PROXY_PROTOCOL);
		return c->err;
	}
	c->stage = CONNECT_AT_REQUEST;
	return octets[0];
}
