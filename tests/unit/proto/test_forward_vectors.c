/* SPDX-License-Identifier: MIT */
/*
 * Runs the vectors of plain HTTP forwarding: what client and destination send is fed whole, byte by
 * byte, and split at every position. All must give the transcript that the vector says.
 */
#include "proto/httpfwd.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "proto/err.h"
#include "vector.h"

/* One side's bytes, as they are delivered: in two pieces at `split`, or byte by byte where it is 0.
 */
struct side {
	const uint8_t *stream;
	size_t len, split;
	size_t shown, used;
	struct http_body body;
	bool in_body;
};

struct run {
	const struct vector *v;
	struct transcript t;
	struct side client, target;
	struct httpfwd_request request;
	struct httpfwd_answer answer;
	bool failed;
};

static void show_more(struct side *s)
{
	if (s->split == 0)
		s->shown++;
	else
		s->shown = s->shown < s->split ? s->split : s->len;
}

static void broke(struct run *r, const char *who, int err)
{
	char text[64];

	snprintf(text, sizeof(text), "fail %s %s", who, err_word(err));
	transcript_line(&r->t, text);
	r->failed = true;
}

/* The head of what is shown. The bytes lie in a block of their own size, so that a sanitizer sees
 * any read beyond them. Returns as the functions under test. */
static int feed_head(struct run *r, struct side *s)
{
	static uint8_t buf[HTTPFWD_ANSWER_MAX];
	struct wire_writer out = wire_writer_of(buf, sizeof(buf));
	size_t n = s->shown - s->used;
	uint8_t *copy = malloc(n + 1);
	bool may_keep = !vector_find(r->v, "unfinished", 0);
	struct wire_reader in;
	int rc;

	assert_non_null(copy);
	memcpy(copy, s->stream + s->used, n);
	in = wire_reader_of(copy, n);
	if (s == &r->client)
		rc = httpfwd_write_request(&in, &out, &r->request, &s->body);
	else
		rc = httpfwd_write_answer(&in, &out, &r->request, may_keep, &r->answer, &s->body);
	assert_false(out.failed);
	if (rc == WIRE_DONE) {
		s->used += in.pos;
		transcript_bytes(&r->t, s == &r->client ? '>' : '<', buf, out.len);
	} else {
		assert_int_equal(in.pos, 0);
		assert_int_equal(out.len, 0);
	}
	free(copy);
	return rc;
}

static int feed_body(struct run *r, struct side *s)
{
	size_t n = s->shown - s->used, taken, out;
	uint8_t *copy = malloc(n + 1);
	int rc;

	assert_non_null(copy);
	memcpy(copy, s->stream + s->used, n);
	rc = http_body_feed(&s->body, copy, n, &taken, &out);
	assert_true(out <= taken && taken <= n);
	assert_true(rc < 0 || taken == n || http_body_is_done(&s->body));
	assert_memory_equal(copy + taken, s->stream + s->used + taken, n - taken);
	transcript_bytes(&r->t, s == &r->client ? '>' : '<', copy, out);
	s->used += taken;
	free(copy);
	return rc;
}

/* Returns whether the message has ended. */
static bool feed(struct run *r, struct side *s)
{
	int rc;

	while (!s->in_body) {
		rc = feed_head(r, s);
		if (rc < 0)
			broke(r, s == &r->client ? "client" : "target", rc);
		if (rc != WIRE_DONE)
			return false;
		s->in_body = s == &r->client || !r->answer.interim;
	}
	rc = feed_body(r, s);
	if (rc < 0)
		broke(r, s == &r->client ? "client" : "target", rc);
	return rc == 0 && http_body_is_done(&s->body);
}

static bool feed_all(struct run *r, struct side *s)
{
	do {
		show_more(s);
		if (feed(r, s))
			return true;
	} while (s->shown < s->len && !r->failed);
	return false;
}

static void run(struct run *r)
{
	char text[64];

	if (!feed_all(r, &r->client)) {
		transcript_line(&r->t, "more client");
		return;
	}
	if (r->target.len == 0)
		return;
	if (!feed_all(r, &r->target))
		transcript_line(&r->t, "more target");
	if (r->failed)
		return;
	snprintf(text, sizeof(text), "end client %s target %s",
	    r->answer.keep_client ? "keep" : "close", r->answer.keep_target ? "keep" : "close");
	transcript_line(&r->t, text);
}

static void expect(const struct vector *v, struct transcript *t)
{
	for (size_t i = 0; i < v->n_lines; i++) {
		const struct vector_line *l = &v->lines[i];
		char text[sizeof(l->args) + 20];

		snprintf(text, sizeof(text), "%s %s", l->word, l->args);
		if (strcmp(l->word, ">>") == 0)
			transcript_bytes(t, '>', l->bytes[0], l->n_bytes[0]);
		else if (strcmp(l->word, "<") == 0)
			transcript_bytes(t, '<', l->bytes[0], l->n_bytes[0]);
		else if (strcmp(l->word, "end") == 0 || strcmp(l->word, "fail") == 0 ||
			 strcmp(l->word, "more") == 0)
			transcript_line(t, text);
	}
}

struct streams {
	uint8_t *client, *target;
	size_t n_client, n_target;
};

static void check(const struct vector *v, const struct transcript *expected,
    const struct streams *st, size_t split_client, size_t split_target)
{
	const char *rest = vector_args(v, "rest", NULL);
	struct run r = {
	    .v = v,
	    .client = {.stream = st->client, .len = st->n_client, .split = split_client},
	    .target = {.stream = st->target, .len = st->n_target, .split = split_target},
	};

	run(&r);
	if (strcmp(transcript_text(&r.t), transcript_text(expected)) != 0)
		fail_msg("split at %zu and %zu:%s\nexpected:%s", split_client, split_target,
		    transcript_text(&r.t), transcript_text(expected));
	if (rest && st->n_client - r.client.used != strtoul(rest, NULL, 10))
		fail_msg("rest %zu, not %s", st->n_client - r.client.used, rest);
	transcript_free(&r.t);
}

static void every_split(void **state)
{
	const struct vector *v = *state;
	struct transcript expected = {0};
	struct streams st;

	st.client = vector_stream(v, ">", &st.n_client);
	st.target = vector_stream(v, "<<", &st.n_target);
	expect(v, &expected);
	assert_string_not_equal(transcript_text(&expected), "");
	for (size_t at = 0; at <= st.n_client; at = vector_next_split(at, st.n_client))
		check(v, &expected, &st, at, st.n_target);
	for (size_t at = 0; at <= st.n_target; at = vector_next_split(at, st.n_target))
		check(v, &expected, &st, st.n_client, at);
	transcript_free(&expected);
	free(st.client);
	free(st.target);
}

int main(int argc, char **argv)
{
	return vector_run("forward-vectors", every_split, argc, argv);
}
