/* SPDX-License-Identifier: MIT */
/*
 * Runs the vectors of the client handshake: the proxy's bytes whole, byte by byte, as many as are
 * wanted, and split at every position. All must give the transcript that the vector says.
 */
#include "proto/connect.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "proto/err.h"
#include "vector.h"

#define HOPS_MAX 4
#define FORMS_MAX 3

/* How the bytes of the proxy are cut; a cut is made at the end of each of its answers as well. */
enum cut {
	CUT_NOWHERE,
	CUT_BYTES,
	CUT_AS_WANTED,
	CUT_ONCE,
};

struct run {
	const struct vector *v;
	enum cut cut;
	size_t at; /* of CUT_ONCE */
	struct connect c;
	struct transcript t;
	const uint8_t *stream;
	size_t len;
	size_t shown, consumed;
	bool open; /* the stream, and it was said */
	enum connect_event event;
};

static enum command command_of(const char *word)
{
	for (enum command command = COMMAND_CONNECT; command <= COMMAND_MULTICAST; command++)
		if (strcmp(command_name(command), word) == 0)
			return command;
	fail_msg("no such command: %s", word);
	return COMMAND_NONE;
}

/* Where the answer ends that the byte at `at` belongs to; `*ret_start` is where it begins. */
static size_t answer_end(const struct vector *v, size_t at, size_t *ret_start)
{
	const struct vector_line *line;
	size_t end = 0;

	for (size_t i = 0; (line = vector_find(v, "<", i)); i++) {
		*ret_start = end;
		end += line->n_bytes[0];
		if (at < end)
			return end;
	}
	return end;
}

static void show_more(struct run *r)
{
	size_t start = 0, end = answer_end(r->v, r->shown, &start), n = end - r->shown;

	if (r->shown == start)
		transcript_line(&r->t, "<");
	if (r->cut == CUT_BYTES)
		n = 1;
	if (r->cut == CUT_AS_WANTED && r->c.want < n)
		n = r->c.want;
	if (r->cut == CUT_ONCE && r->shown < r->at && r->at < end)
		n = r->at - r->shown;
	r->shown += n;
}

/* The bytes lie in a block of their own size, so that a sanitizer sees any read beyond them. */
static void step(struct run *r, bool eof)
{
	uint8_t asked[CONNECT_OUTPUT_MAX], *copy = malloc(r->shown - r->consumed + 1);
	struct wire_writer out = wire_writer_of(asked, sizeof(asked));
	struct wire_reader in;

	assert_non_null(copy);
	memmove(copy, r->stream + r->consumed, r->shown - r->consumed);
	in = wire_reader_of(copy, r->shown - r->consumed);
	r->event = eof ? connect_eof(&r->c, &in) : connect_step(&r->c, &in, &out);
	assert_false(in.failed);
	assert_false(out.failed);
	transcript_bytes(&r->t, '>', out.data, out.len);
	if (r->c.stream_open && !r->open)
		transcript_line(&r->t, "open");
	r->open = r->c.stream_open;
	r->consumed += in.pos;
	if (r->event == CONNECT_MORE)
		assert_true(r->c.want > 0);
	free(copy);
}

static void at_the_end(struct run *r)
{
	char bound[ADDR_TEXT_MAX] = "-", text[ADDR_TEXT_MAX + 8] = "more";

	if (r->event == CONNECT_FAILED) {
		snprintf(text, sizeof(text), "fail %s hop %zu code %d", err_word(r->c.err),
		    r->c.hop, r->c.code);
	} else if (r->event == CONNECT_DONE) {
		if (r->c.bound.kind != ADDR_NONE)
			addr_format(&r->c.bound, bound);
		snprintf(text, sizeof(text), "done %s", bound);
		/* Who reads as many bytes as are wanted has read none of the target's. */
		if (r->cut == CUT_AS_WANTED)
			assert_int_equal(r->shown, r->consumed);
	}
	transcript_line(&r->t, text);
}

/* Until the machine has made up its mind or nothing is left to show. */
static void feed_connection(struct run *r)
{
	step(r, false);
	while (r->event == CONNECT_TLS || (r->event == CONNECT_MORE && r->shown < r->len)) {
		if (r->event == CONNECT_TLS)
			transcript_line(&r->t, "tls");
		else
			show_more(r);
		step(r, false);
	}
}

/* What was left of the last answer is lost with its connection. */
static void connect_anew(struct run *r)
{
	size_t start;

	if (r->shown > 0)
		r->shown = answer_end(r->v, r->shown - 1, &start);
	r->consumed = r->shown;
	r->open = false;
	transcript_line(&r->t, "again");
}

static void feed(struct run *r)
{
	feed_connection(r);
	while (r->event == CONNECT_FAILED && connect_retry(&r->c)) {
		connect_anew(r);
		feed_connection(r);
	}
}

static void proxy_closes(struct run *r)
{
	if (r->event != CONNECT_MORE || !vector_find(r->v, "eof", 0))
		return;
	step(r, true);
	if (connect_retry(&r->c)) {
		connect_anew(r);
		feed(r);
	}
}

/* The first answer to a BIND, of which nothing but that answer may have been taken. */
static void listens(struct run *r)
{
	char bound[ADDR_TEXT_MAX], text[ADDR_TEXT_MAX + 8];

	snprintf(text, sizeof(text), "listens %s", addr_format(&r->c.bound, bound));
	transcript_line(&r->t, text);
	if (r->cut == CUT_AS_WANTED)
		assert_int_equal(r->shown, r->consumed);
	connect_await_peer(&r->c);
	feed(r);
}

static void set_options(struct run *r, struct addr forms[static FORMS_MAX])
{
	const struct vector_line *line;
	unsigned early = 0;
	size_t n = 0;

	if (strstr(vector_args(r->v, "early", ""), "request"))
		early |= CONNECT_EARLY_REQUEST;
	if (strstr(vector_args(r->v, "early", ""), "stream"))
		early |= CONNECT_EARLY_STREAM;
	connect_send_early(&r->c, early);
	for (; (line = vector_find(r->v, "or", n)); n++) {
		assert_true(n < FORMS_MAX);
		assert_int_equal(addr_parse(line->args, strlen(line->args), &forms[n]), 0);
	}
	connect_set_forms(&r->c, forms, n);
}

static void run(struct run *r, const struct url *hops, size_t n_hops)
{
	const char *to = vector_args(r->v, "to", "");
	struct addr target, forms[FORMS_MAX];

	assert_int_equal(addr_parse(to, strlen(to), &target), 0);
	connect_init(
	    &r->c, hops, n_hops, command_of(vector_args(r->v, "command", "connect")), &target);
	set_options(r, forms);
	feed(r);
	if (r->event == CONNECT_DONE && vector_find(r->v, "listens", 0))
		listens(r);
	proxy_closes(r);
	at_the_end(r);
}

static void expect(const struct vector *v, struct transcript *t)
{
	for (size_t i = 0; i < v->n_lines; i++) {
		const struct vector_line *l = &v->lines[i];
		char text[sizeof(l->args) + 20];

		if (strcmp(l->word, ">") == 0) {
			transcript_bytes(t, '>', l->bytes[0], l->n_bytes[0]);
		} else if (strcmp(l->word, "<") == 0) {
			transcript_line(t, "<");
		} else if (strcmp(l->word, "tls") == 0 || strcmp(l->word, "open") == 0 ||
			   strcmp(l->word, "again") == 0) {
			transcript_line(t, l->word);
		} else if (strcmp(l->word, "listens") == 0) {
			snprintf(text, sizeof(text), "%s %s", l->word, l->args);
			transcript_line(t, text);
		} else if (strcmp(l->word, "more") == 0) {
			transcript_line(t, "more");
			return;
		} else if (strcmp(l->word, "done") == 0 || strcmp(l->word, "fail") == 0) {
			snprintf(text, sizeof(text), "%s %s", l->word, l->args);
			transcript_line(t, text);
			return;
		}
	}
	fail_msg("the vector has no end");
}

static void check(
    const struct vector *v, const struct transcript *expected, enum cut cut, size_t at)
{
	struct run r = {.v = v, .cut = cut, .at = at};
	const char *chain = vector_args(v, "chain", ""), *rest = vector_args(v, "rest", NULL), *why;
	struct url hops[HOPS_MAX];
	size_t error_at;
	uint8_t *stream = vector_stream(v, "<", &r.len);
	int n = url_parse_chain(chain, strlen(chain), hops, HOPS_MAX, &why, &error_at);

	assert_in_range(n, 1, HOPS_MAX);
	r.stream = stream;
	run(&r, hops, (size_t)n);
	if (strcmp(transcript_text(&r.t), transcript_text(expected)) != 0)
		fail_msg("cut %d at %zu of %zu:%s\nexpected:%s", cut, at, r.len,
		    transcript_text(&r.t), transcript_text(expected));
	if (rest && r.len - r.consumed != strtoul(rest, NULL, 10))
		fail_msg("cut %d at %zu: rest %zu, not %s", cut, at, r.len - r.consumed, rest);
	transcript_free(&r.t);
	free(stream);
}

static void every_split(void **state)
{
	const struct vector *v = *state;
	struct transcript expected = {0};
	size_t len;

	free(vector_stream(v, "<", &len));
	expect(v, &expected);
	check(v, &expected, CUT_NOWHERE, 0);
	check(v, &expected, CUT_BYTES, 0);
	check(v, &expected, CUT_AS_WANTED, 0);
	for (size_t at = 1; at < len; at = vector_next_split(at, len))
		check(v, &expected, CUT_ONCE, at);
	transcript_free(&expected);
}

int main(int argc, char **argv)
{
	return vector_run("connect-vectors", every_split, argc, argv);
}
