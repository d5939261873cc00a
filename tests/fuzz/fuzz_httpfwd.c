/* SPDX-License-Identifier: MIT */
/*
 * Fuzzes proto/httpfwd and proto/httpbody: the first byte says how the rest is cut into pieces,
 * then comes a request with its body, 0xff twice, and what the destination answers. What is written
 * must not depend on the pieces, and must be read by our own reader as one message that means the
 * same.
 */
#include "fuzz.h"

#include <string.h>

#include "proto/err.h"
#include "proto/httpfwd.h"

#define OUT_MAX (4 * HTTPFWD_ANSWER_MAX)

struct message {
	const uint8_t *data;
	size_t size, shown, used;
	struct http_body body;
	bool is_answer, headed, done;
	int err;
	size_t n_out; /* bytes of: */
	uint8_t out[OUT_MAX];
};

struct talk {
	struct message up, down;
	struct httpfwd_request request;
	struct httpfwd_answer answer;
};

/* What goes out has one line end, no hop-by-hop field, and at most one length. */
static void check_head(const uint8_t *head, size_t n, bool is_answer)
{
	struct wire_reader in = wire_reader_of(head, n);
	struct http_request q = {0};
	struct http_response a = {0};
	const struct http_fields *f = is_answer ? &a.fields : &q.fields;
	int rc = is_answer ? http_read_response(&in, &a) : http_read_request(&in, &q);

	/* It may have grown beyond what we would read. */
	if (rc == ERR_TOO_LONG)
		return;
	CHECK(rc == WIRE_DONE && in.pos == n);
	CHECK(!f->bare_lf && f->n_credentials == 0 && !f->bad_length);
	CHECK(f->n_lengths + f->n_codings <= 1 && (f->n_codings == 0 || f->chunked));
	CHECK(is_answer ? a.status != 101 && a.status != 407 : f->n_host == 1 && q.target.len > 0);
	CHECK(is_answer || q.target.at[0] == '/' || http_text_is(&q.target, "*"));
	CHECK(f->n_named <= 1);
}

static void feed_head(struct talk *t, struct message *m, uint8_t *copy, size_t n)
{
	struct wire_reader in = wire_reader_of(copy, n);
	struct wire_writer out = wire_writer_of(m->out + m->n_out, HTTPFWD_ANSWER_MAX);
	int rc;

	CHECK(m->n_out + HTTPFWD_ANSWER_MAX <= OUT_MAX);
	if (!m->is_answer) {
		out.cap = HTTPFWD_REQUEST_MAX;
		rc = httpfwd_write_request(&in, &out, &t->request, &m->body);
	} else {
		rc = httpfwd_write_answer(&in, &out, &t->request, true, &t->answer, &m->body);
	}
	CHECK(!out.failed && (rc == WIRE_DONE || (out.len == 0 && in.pos == 0)));
	m->used += in.pos;
	m->err = rc < 0 ? rc : 0;
	m->done = m->err != 0 || rc == WIRE_MORE;
	if (rc != WIRE_DONE)
		return;
	if (out.len > 0)
		check_head(out.data, out.len, m->is_answer);
	m->n_out += out.len;
	m->headed = !m->is_answer || !t->answer.interim;
}

static void feed_body(struct message *m, uint8_t *copy, size_t n)
{
	size_t taken, out;

	m->err = http_body_feed(&m->body, copy, n, &taken, &out);
	CHECK(out <= taken && taken <= n);
	CHECK(m->err || taken == n || http_body_is_done(&m->body));
	CHECK(m->n_out + out <= OUT_MAX);
	memcpy(m->out + m->n_out, copy, out);
	m->n_out += out;
	m->used += taken;
	m->done = true;
}

/* Everything that is shown, from memory of its own size. */
static void feed(struct talk *t, struct message *m)
{
	do {
		size_t n = m->shown - m->used;
		uint8_t *copy = malloc(n + 1);

		CHECK(copy != NULL);
		memcpy(copy, m->data + m->used, n);
		m->done = false;
		if (m->headed)
			feed_body(m, copy, n);
		else
			feed_head(t, m, copy, n);
		free(copy);
	} while (!m->done && m->n_out + HTTPFWD_ANSWER_MAX <= OUT_MAX);
}

/* `seed` 0: all at once, 1: byte by byte, else pieces of up to 16 bytes as it falls. */
static void feed_pieces(struct talk *t, struct message *m, unsigned seed)
{
	m->shown = seed == 0 ? m->size : 0;
	for (;;) {
		feed(t, m);
		if (m->err || m->shown == m->size || (m->headed && http_body_is_done(&m->body)))
			return;
		seed = seed > 1 ? seed * 1103515245u + 12345u : seed;
		m->shown += 1 + (seed > 1 ? seed >> 16 & 15 : 0);
		if (m->shown > m->size)
			m->shown = m->size;
	}
}

/* What was passed on of a body that is whole is one, for a strict reader. */
static void check_whole(const struct message *m)
{
	static uint8_t copy[OUT_MAX];
	struct wire_reader in = wire_reader_of(m->out, m->n_out);
	struct http_request q;
	enum http_framing framing;
	struct http_body body;
	size_t taken, out, n;

	if (m->err || !m->headed || !http_body_is_done(&m->body) || m->is_answer)
		return;
	if (http_read_request(&in, &q) != WIRE_DONE)
		return;
	CHECK(http_request_framing(&q, &framing) == 0);
	CHECK(framing == m->body.framing);
	http_body_init(&body, framing, q.fields.length, false);
	n = wire_left(&in);
	memcpy(copy, m->out + in.pos, n);
	CHECK(http_body_feed(&body, copy, n, &taken, &out) == 0);
	CHECK(taken == n && out == n && http_body_is_done(&body));
}

static void run(struct talk *t, unsigned seed, const uint8_t *data, size_t size)
{
	size_t cut = 0;

	while (cut + 1 < size && !(data[cut] == 0xff && data[cut + 1] == 0xff))
		cut++;
	memset(&t->request, 0, sizeof(t->request));
	memset(&t->answer, 0, sizeof(t->answer));
	memset(&t->up, 0, offsetof(struct message, out));
	memset(&t->down, 0, offsetof(struct message, out));
	t->up.data = t->down.data = data;
	t->up.size = cut + 1 < size ? cut : size;
	t->down.is_answer = true;
	feed_pieces(t, &t->up, seed);
	check_whole(&t->up);
	if (cut + 1 >= size || t->up.err || !t->up.headed)
		return;
	t->down.data = data + cut + 2;
	t->down.size = size - cut - 2;
	feed_pieces(t, &t->down, seed);
}

static void check_same(const struct message *a, const struct message *b)
{
	CHECK(a->err == b->err && a->used == b->used && a->headed == b->headed);
	CHECK(a->n_out == b->n_out && memcmp(a->out, b->out, a->n_out) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct talk whole, bytes, pieces;

	if (size < 1 || size > 2 * HTTP_HEAD_MAX)
		return 0;
	run(&whole, 0, data + 1, size - 1);
	/* Byte by byte a head is parsed once a byte: not for long ones. */
	run(&bytes, size < 2048 ? 1 : 2, data + 1, size - 1);
	run(&pieces, 2u + data[0], data + 1, size - 1);
	check_same(&whole.up, &bytes.up);
	check_same(&whole.up, &pieces.up);
	check_same(&whole.down, &bytes.down);
	check_same(&whole.down, &pieces.down);
	return 0;
}
