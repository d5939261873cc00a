/* SPDX-License-Identifier: MIT */
/*
 * Runs the vectors of the server handshake: each fed whole, byte by byte, and split at every
 * position. All must give the transcript that the vector says.
 */
#include "proto/accept.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "proto/err.h"
#include "proto/gss.h"
#include "vector.h"

/* How many bytes of the stream the machine has been shown after the `i`-th delivery. */
struct schedule {
	size_t len;
	size_t split; /* 0: byte by byte; len: whole; else in two pieces */
};

static size_t schedule_at(const struct schedule *s, size_t i)
{
	if (s->split == 0)
		return i < s->len ? i : s->len;
	return i == 0 ? s->split : s->len;
}

static unsigned methods_of(const char *text)
{
	static const enum auth_method all[] = {
	    AUTH_NONE, AUTH_PASSWORD, AUTH_GSSAPI, AUTH_CERT, AUTH_IDENT};
	unsigned methods = 0;

	for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++)
		if (strstr(text, auth_method_name(all[i])))
			methods |= all[i];
	return methods;
}

static int err_of(const char *word)
{
	if (strcmp(word, "ok") == 0)
		return ERR_OK;
	for (int err = -1; err > -1100; err--)
		if (strcmp(err_word(err), word) == 0)
			return err;
	fail_msg("no such error: %s", word);
	return 0;
}

struct run {
	const struct vector *v;
	struct accept a;
	struct transcript t;
	const uint8_t *stream;
	size_t consumed;
	size_t n_auths, n_tokens;
	bool over;
};

static void flush(struct run *r, struct wire_writer *out)
{
	assert_false(out->failed);
	transcript_bytes(&r->t, '<', out->data, out->len);
	out->len = 0;
}

static void on_auth(struct run *r, struct wire_writer *out)
{
	const struct vector_line *line = vector_find(r->v, "auth", r->n_auths++);

	transcript_line_bytes(&r->t, "user", (uint8_t *)r->a.user, r->a.user_len);
	transcript_line_bytes(&r->t, "password", (uint8_t *)r->a.password, r->a.password_len);
	assert_non_null(line);
	accept_auth_result(&r->a, strcmp(line->args, "ok") == 0, out);
	assert_int_equal(r->a.password_len, 0);
	assert_int_equal(r->a.password[0], 0);
}

static void on_ident(struct run *r, struct wire_writer *out)
{
	const struct vector_line *line = vector_find(r->v, "ident", 0);

	transcript_line_bytes(&r->t, "claim", (uint8_t *)r->a.claim, r->a.claim_len);
	assert_non_null(line);
	accept_ident_result(&r->a,
	    strcmp(line->args, "ok") == 0      ? 0
	    : strcmp(line->args, "other") == 0 ? ERR_IDENT_MISMATCH
					       : ERR_NO_IDENTD,
	    out);
}

/* ---- RFC 1961 ---- */

static unsigned levels_of(const char *text)
{
	static const char *const names[] = {
	    [GSS_LEVEL_CLEAR] = "clear",
	    [GSS_LEVEL_INTEGRITY] = "integrity",
	    [GSS_LEVEL_CONFIDENTIAL] = "confidential",
	};
	unsigned levels = 0;

	for (unsigned i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (strstr(text, names[i]))
			levels |= GSS_LEVEL_BIT(i);
	return levels;
}

/* The token as the machine shows it: it ends where the cursor stands. */
static const uint8_t *token_at(const struct run *r, const struct wire_reader *in)
{
	assert_in_range(r->a.token_len, 1, in->pos);
	return in->data + in->pos - r->a.token_len;
}

static void on_context(struct run *r, const struct wire_reader *in, struct wire_writer *out)
{
	const struct vector_line *line = vector_find(r->v, "token", r->n_tokens++);
	struct accept_gss_answer answer = {.outcome = ACCEPT_GSS_FAILED, .confidential = true};
	char word[32] = "", user[256] = "";

	transcript_line_bytes(&r->t, "token", token_at(r, in), r->a.token_len);
	assert_non_null(line);
	assert_in_range(sscanf(line->args, "%31s %255s", word, user), 1, 2);
	if (strcmp(word, "more") == 0)
		answer.outcome = ACCEPT_GSS_CONTINUE;
	else if (strcmp(word, "bad") != 0)
		answer.outcome = ACCEPT_GSS_DONE;
	answer.confidential = strcmp(word, "weak") != 0;
	answer.token = line->bytes[1];
	answer.len = line->n_bytes[1];
	answer.user = user;
	answer.user_len = strcmp(user, "nul") == 0 ? 4 : strlen(user);
	accept_gss_context(&r->a, &answer, out);
}

/* What is wrapped is here the octet behind a W. */
static void on_level(struct run *r, const struct wire_reader *in, struct wire_writer *out)
{
	const struct vector_line *line = vector_find(r->v, "level", 0);
	uint8_t token[2] = {'W'};
	int level;

	transcript_line_bytes(
	    &r->t, r->a.gss_nec ? "level nec" : "level", token_at(r, in), r->a.token_len);
	if (r->a.gss_nec) {
		level = accept_gss_level(&r->a, token_at(r, in), r->a.token_len, out);
	} else {
		assert_non_null(line);
		level = accept_gss_level(&r->a,
		    strcmp(line->args, "bad") == 0 ? NULL : line->bytes[1], line->n_bytes[1], out);
	}
	if (level < 0)
		return;
	token[1] = (uint8_t)level;
	accept_gss_answer_level(&r->a, token + r->a.gss_nec, 2u - r->a.gss_nec, out);
}

/* The caller's answer as a line says it. */
static void answer(struct run *r, const struct vector_line *line, struct wire_writer *out)
{
	struct addr bound = {.kind = ADDR_NONE};
	char word[32], address[ADDR_TEXT_MAX];
	int n = sscanf(line->args, "%31s bound %263s", word, address);

	assert_in_range(n, 1, 2);
	if (n == 2)
		assert_int_equal(addr_parse(address, strlen(address), &bound), 0);
	accept_reply(&r->a, err_of(word), &bound, out);
	flush(r, out);
}

static void on_request(struct run *r, struct wire_writer *out)
{
	const struct vector_line *reply = vector_find(r->v, "reply", 0);
	char target[ADDR_TEXT_MAX], text[ADDR_TEXT_MAX + 100];
	bool claims =
	    (r->a.proto == PROTO_SOCKS4 || r->a.proto == PROTO_SOCKS4A) && r->a.method == AUTH_NONE;

	snprintf(text, sizeof(text), "request %s %s %s %s%s", command_name(r->a.command),
	    proto_name(r->a.proto), addr_format(&r->a.target, target),
	    auth_method_name(r->a.method), r->a.resolve_reverse ? " reverse" : "");
	/* Where nobody checked a user there must be none. */
	if (claims)
		transcript_line_bytes(&r->t, text, (uint8_t *)r->a.claim, r->a.claim_len);
	else
		transcript_line_bytes(&r->t, text, (uint8_t *)r->a.user, r->a.user_len);
	r->over = true;
	if (reply)
		answer(r, reply, out);
}

/* Of BIND, between the two answers nothing is read or said. */
static void on_peer(struct run *r, struct wire_reader *in, struct wire_writer *out)
{
	const struct vector_line *peer = vector_find(r->v, "peer", 0);
	size_t pos = in->pos;

	assert_int_equal(accept_step(&r->a, in, out), ACCEPT_MORE);
	assert_int_equal(in->pos, pos);
	assert_int_equal(out->len, 0);
	assert_non_null(peer);
	transcript_line(&r->t, "peer");
	answer(r, peer, out);
	assert_int_equal(r->a.state, ACCEPT_AT_END);
}

/* One delivery. The bytes lie in a block of their own size, so that a sanitizer sees any read
 * beyond them. */
static void deliver(struct run *r, size_t upto)
{
	static uint8_t answer[ACCEPT_OUTPUT_MAX + GSS_FRAME_MAX];
	uint8_t *copy = malloc(upto - r->consumed + 1);
	struct wire_writer out = wire_writer_of(answer, sizeof(answer));
	struct wire_reader in;
	enum accept_event event;
	char text[64];

	assert_non_null(copy);
	memmove(copy, r->stream + r->consumed, upto - r->consumed);
	in = wire_reader_of(copy, upto - r->consumed);
	do {
		event = accept_step(&r->a, &in, &out);
		assert_false(in.failed);
		flush(r, &out);
		if (event == ACCEPT_AUTH)
			on_auth(r, &out);
		else if (event == ACCEPT_IDENT)
			on_ident(r, &out);
		else if (event == ACCEPT_GSS_CONTEXT)
			on_context(r, &in, &out);
		else if (event == ACCEPT_GSS_LEVEL)
			on_level(r, &in, &out);
		else if (event == ACCEPT_TLS)
			transcript_line(&r->t, "tls");
		else if (event == ACCEPT_REQUEST)
			on_request(r, &out);
		flush(r, &out);
		if (r->a.state == ACCEPT_WAITS_PEER)
			on_peer(r, &in, &out);
	} while (event == ACCEPT_AUTH || event == ACCEPT_IDENT || event == ACCEPT_TLS ||
		 event == ACCEPT_GSS_CONTEXT || event == ACCEPT_GSS_LEVEL);
	if (event == ACCEPT_END) {
		snprintf(text, sizeof(text), "end %s", err_word(r->a.err));
		transcript_line(&r->t, text);
		r->over = true;
	}
	r->consumed += in.pos;
	free(copy);
}

static void at_the_end(struct run *r)
{
	const char *word = vector_args(r->v, "timeout", NULL);
	uint8_t answer[ACCEPT_OUTPUT_MAX];
	struct wire_writer out = wire_writer_of(answer, sizeof(answer));

	if (r->over)
		return;
	transcript_line(&r->t, "more");
	if (!word)
		return;
	accept_reply(&r->a, err_of(word), NULL, &out);
	flush(r, &out);
	assert_int_equal(r->a.state, ACCEPT_AT_END);
}

static void run(struct run *r, const struct schedule *s)
{
	const char *levels = vector_args(r->v, "levels", "");

	accept_init(&r->a, methods_of(vector_args(r->v, "offer", "none")));
	if (strstr(vector_args(r->v, "offer", ""), "tls"))
		accept_offer_tls(&r->a);
	accept_offer_gss(&r->a, levels_of(levels), strstr(levels, "nec") != NULL);
	if (vector_find(r->v, "extended", 0))
		accept_offer_extended(&r->a);
	for (size_t i = 0; !r->over; i++) {
		size_t upto = schedule_at(s, i);

		deliver(r, upto);
		if (upto == s->len)
			break;
	}
	at_the_end(r);
	accept_fini(&r->a);
}

static void expect(const struct vector *v, struct transcript *t)
{
	for (size_t i = 0; i < v->n_lines; i++) {
		const struct vector_line *l = &v->lines[i];
		char text[sizeof(l->args) + 20];

		snprintf(text, sizeof(text), "%s %s", l->word, l->args);
		if (strcmp(l->word, "<") == 0) {
			transcript_bytes(t, '<', l->bytes[0], l->n_bytes[0]);
		} else if (strcmp(l->word, "tls") == 0) {
			transcript_line(t, "tls");
		} else if (strcmp(l->word, "auth") == 0) {
			transcript_line_bytes(t, "user", l->bytes[0], l->n_bytes[0]);
			transcript_line_bytes(t, "password", l->bytes[1], l->n_bytes[1]);
		} else if (strcmp(l->word, "ident") == 0) {
			transcript_line_bytes(t, "claim", l->bytes[0], l->n_bytes[0]);
		} else if (strcmp(l->word, "token") == 0) {
			transcript_line_bytes(t, "token", l->bytes[0], l->n_bytes[0]);
		} else if (strcmp(l->word, "level") == 0) {
			transcript_line_bytes(t,
			    strcmp(l->args, "nec") == 0 ? "level nec" : "level", l->bytes[0],
			    l->n_bytes[0]);
		} else if (strcmp(l->word, "request") == 0) {
			transcript_line_bytes(t, text, l->bytes[0], l->n_bytes[0]);
		} else if (strcmp(l->word, "end") == 0) {
			transcript_line(t, text);
		} else if (strcmp(l->word, "more") == 0 || strcmp(l->word, "peer") == 0) {
			transcript_line(t, l->word);
		}
	}
}

static void check(const struct vector *v, const struct transcript *expected, const uint8_t *stream,
    const struct schedule *s)
{
	struct run r = {.v = v, .stream = stream};
	const char *rest = vector_args(v, "rest", NULL);

	run(&r, s);
	if (strcmp(transcript_text(&r.t), transcript_text(expected)) != 0)
		fail_msg("split at %zu of %zu:%s\nexpected:%s", s->split, s->len,
		    transcript_text(&r.t), transcript_text(expected));
	if (rest && s->len - r.consumed != strtoul(rest, NULL, 10))
		fail_msg("split at %zu: rest %zu, not %s", s->split, s->len - r.consumed, rest);
	transcript_free(&r.t);
}

static void every_split(void **state)
{
	const struct vector *v = *state;
	struct transcript expected = {0};
	struct schedule s = {0};
	uint8_t *stream = vector_stream(v, ">", &s.len);

	expect(v, &expected);
	assert_string_not_equal(transcript_text(&expected), "");
	for (s.split = 0; s.split <= s.len; s.split = vector_next_split(s.split, s.len))
		check(v, &expected, stream, &s);
	transcript_free(&expected);
	free(stream);
}

int main(int argc, char **argv)
{
	return vector_run("vectors", every_split, argc, argv);
}
