/* SPDX-License-Identifier: MIT */
/* The server's side of RFC 1961, up to where messages are protected. */
#include "proto/accept_int.h"

#include <string.h>

#include "proto/err.h"
#include "proto/gss.h"

/*
 * The bounds of the context's tokens are judged by the header, before anybody keeps the token; and
 * again by the same header once it is whole, so that pieces do not matter.
 */
static int judge_length(const struct accept *a, const struct wire_reader *in)
{
	int len = gss_frame_peek_length(in);

	if (len == 0)
		return ERR_MALFORMED;
	if (len < 0 || a->state != ACCEPT_AT_GSS_CONTEXT)
		return 0;
	if (a->gss_rounds >= GSS_CONTEXT_ROUNDS_MAX ||
	    a->gss_bytes + (uint32_t)len > GSS_CONTEXT_TOTAL_MAX)
		return ERR_TOO_LONG;
	return 0;
}

/* Only a server may abort: a client simply leaves. */
int accept_gss_step(struct accept *a, struct wire_reader *in)
{
	bool context = a->state == ACCEPT_AT_GSS_CONTEXT;
	struct wire_reader r = *in;
	struct gss_frame f;
	int err, rc;

	rc = gss_frame_read(&r, context ? GSS_FRAME_CONTEXT : GSS_FRAME_LEVEL, &f);
	if (rc < 0)
		return rc;
	if (rc == WIRE_DONE && f.type == GSS_FRAME_ABORT)
		return ERR_MALFORMED;
	err = judge_length(a, in);
	if (err != 0 || rc == WIRE_MORE)
		return err != 0 ? err : WIRE_MORE;
	*in = r;
	a->token_len = f.len;
	if (context) {
		a->gss_rounds++;
		a->gss_bytes += f.len;
	} else {
		/* One octet cannot be a wrapped one. */
		a->gss_nec = a->gss_nec_allowed && f.len == 1;
	}
	a->state = context ? ACCEPT_WAITS_GSS_CONTEXT : ACCEPT_WAITS_GSS_LEVEL;
	return WIRE_DONE;
}

void accept_offer_gss(struct accept *a, unsigned levels, bool nec)
{
	a->gss_levels = (uint8_t)levels;
	a->gss_nec_allowed = nec;
}

size_t accept_input_max(const struct accept *a)
{
	switch (a->state) {
	case ACCEPT_AT_GSS_CONTEXT:
	case ACCEPT_AT_GSS_LEVEL:
	case ACCEPT_WAITS_GSS_CONTEXT:
	case ACCEPT_WAITS_GSS_LEVEL:
		return GSS_FRAME_MAX;
	default:
		return ACCEPT_INPUT_MAX;
	}
}

/* A name that a rule or the log could take for another is nobody's. */
static bool is_usable_name(const char *name, size_t len)
{
	return len > 0 && len <= ACCEPT_CREDENTIAL_MAX && !memchr(name, '\0', len);
}

void accept_gss_context(
    struct accept *a, const struct accept_gss_answer *answer, struct wire_writer *out)
{
	if (a->state != ACCEPT_WAITS_GSS_CONTEXT)
		return;
	a->token_len = 0;
	if (answer->outcome == ACCEPT_GSS_FAILED || answer->len > GSS_TOKEN_MAX) {
		accept_refuse(a, ERR_GSS_CONTEXT, out);
		return;
	}
	if (answer->outcome == ACCEPT_GSS_DONE) {
		if (!is_usable_name(answer->user, answer->user_len)) {
			accept_refuse(a, ERR_GSS_CONTEXT, out);
			return;
		}
		accept_keep_bytes(a->user, &a->user_len, (const uint8_t *)answer->user,
		    (uint8_t)answer->user_len);
		if (!answer->confidential)
			a->gss_levels &= (uint8_t)~GSS_LEVEL_BIT(GSS_LEVEL_CONFIDENTIAL);
	}
	/* Also where there is no token to give: then the frame says "go on". */
	gss_frame_write(out, GSS_FRAME_CONTEXT, answer->token, answer->len);
	a->state = answer->outcome == ACCEPT_GSS_DONE ? ACCEPT_AT_GSS_LEVEL : ACCEPT_AT_GSS_CONTEXT;
}

int accept_gss_level(struct accept *a, const uint8_t *octets, size_t len, struct wire_writer *out)
{
	int level = ERR_GSS_MESSAGE;

	if (a->state != ACCEPT_WAITS_GSS_LEVEL)
		return ERR_MALFORMED;
	if (octets && len == 1)
		level = gss_level_choose(a->gss_levels, octets[0]);
	if (level < 0)
		accept_refuse(a, level, out);
	return level;
}

void accept_gss_answer_level(
    struct accept *a, const void *token, size_t len, struct wire_writer *out)
{
	if (a->state != ACCEPT_WAITS_GSS_LEVEL)
		return;
	a->token_len = 0;
	gss_frame_write(out, GSS_FRAME_LEVEL, token, len);
	a->method = AUTH_GSSAPI;
	a->state = ACCEPT_AT_REQUEST;
}
