/* SPDX-License-Identifier: MIT */
/*
 * Runs the vectors of the client handshake through the public machine of libtabi: the proxy's bytes
 * whole, byte by byte, as many as are wanted, and split at every position. All must give the
 * transcript that the vector says. What the vectors say of one flight and of other forms of the
 * target is said through the options and the answer to a look-up.
 */
#include "tabi.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "vector.h"

#define PAYLOAD "first bytes"

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
	struct tabi_machine *m;
	void *memory;
	struct transcript t;
	const uint8_t *stream;
	size_t len;
	size_t shown, consumed;
	unsigned connections;
};

/* ---- the bytes of the proxy ---- */

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
	if (r->cut == CUT_AS_WANTED && tabi_wanted(r->m) < n)
		n = tabi_wanted(r->m);
	if (r->cut == CUT_ONCE && r->shown < r->at && r->at < end)
		n = r->at - r->shown;
	r->shown += n;
}

/* The bytes lie in a block of their own size, so that a sanitizer sees any read beyond them. */
static void give_shown(struct run *r)
{
	size_t n = r->shown - r->consumed, taken;
	uint8_t *copy = malloc(n + 1);

	assert_non_null(copy);
	memcpy(copy, r->stream + r->consumed, n);
	taken = tabi_input(r->m, copy, n);
	assert_true(taken <= n);
	if (r->cut == CUT_AS_WANTED)
		assert_int_equal(taken, n);
	r->consumed += taken;
	free(copy);
}

/* ---- what the machine wants ---- */

/* In two pieces, for a send may be short. */
static void write_output(struct run *r)
{
	size_t len, half;
	const void *data = tabi_output(r->m, &len);

	assert_true(len > 0);
	half = (len + 1) / 2;
	transcript_bytes(&r->t, '>', data, half);
	tabi_wrote(r->m, half);
}

static void answer_resolve(struct run *r)
{
	struct tabi_address a[3];
	const struct vector_line *line;
	const char *to = vector_args(r->v, "to", "");
	char host[80];
	size_t n = 0;

	assert_int_equal(sscanf(to, "[%79[^]]]", host), 1);
	assert_int_equal(tabi_address_set(&a[n++], host, 0), 0);
	for (size_t i = 0; (line = vector_find(r->v, "or", i)); i++) {
		assert_int_equal(sscanf(line->args, "%79[^:]", host), 1);
		assert_int_equal(tabi_address_set(&a[n], host, 0), 0);
		n += a[n].family != TABI_NAME;
	}
	tabi_resolved(r->m, a, n);
}

static void connect_anew(struct run *r)
{
	size_t start;

	if (r->connections++ > 0) {
		/* What was left of the last answer is lost with its connection. */
		if (r->shown > 0)
			r->shown = answer_end(r->v, r->shown - 1, &start);
		r->consumed = r->shown;
		transcript_line(&r->t, "again");
	}
	tabi_connected(r->m);
}

/* Does the one thing that is wanted; false when it is over, or nothing is left to show. */
static bool go_on(struct run *r)
{
	enum tabi_want want = tabi_step(r->m);

	assert_int_equal(tabi_step(r->m), want);
	switch (want) {
	case TABI_WANT_CONNECTION:
		connect_anew(r);
		return true;
	case TABI_WANT_WRITE:
		write_output(r);
		return true;
	case TABI_WANT_RESOLVE:
		answer_resolve(r);
		return true;
	case TABI_WANT_TLS:
		transcript_line(&r->t, "tls");
		tabi_tls_started(r->m);
		return true;
	case TABI_WANT_READ:
		assert_true(tabi_wanted(r->m) > 0);
		if (r->shown == r->consumed) {
			if (r->shown == r->len)
				return false;
			show_more(r);
		}
		give_shown(r);
		return true;
	default:
		return false;
	}
}

/* ---- one run ---- */

static int code_of(const char *word)
{
	static const struct {
		const char *word;
		int code;
	} rows[] = {
	    {"bad-address", TABI_E_ARGUMENT},
	    {"bad-address-type", TABI_E_UNSUPPORTED},
	    {"bad-command", TABI_E_UNSUPPORTED},
	    {"proxy-auth", TABI_E_AUTH},
	    {"proxy-no-method", TABI_E_METHOD},
	    {"proxy-protocol", TABI_E_PROTOCOL},
	    {"proxy-refused", TABI_E_REFUSED},
	    {"proxy-truncated", TABI_E_CLOSED},
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		if (strcmp(rows[i].word, word) == 0)
			return rows[i].code;
	fail_msg("no code for %s", word);
	return 0;
}

static void listens(struct run *r)
{
	char bound[TABI_ADDRESS_TEXT_MAX], text[TABI_ADDRESS_TEXT_MAX + 10];
	struct tabi_address a;

	tabi_bound(r->m, &a);
	snprintf(text, sizeof(text), "listens %s", tabi_address_text(&a, bound, sizeof(bound)));
	transcript_line(&r->t, text);
	if (r->cut == CUT_AS_WANTED)
		assert_int_equal(r->shown, r->consumed);
	assert_int_equal(tabi_await_peer(r->m), 0);
	while (go_on(r))
		;
}

static void at_the_end(struct run *r)
{
	char bound[TABI_ADDRESS_TEXT_MAX], text[TABI_ADDRESS_TEXT_MAX + 50] = "more", why[300];
	struct tabi_error e;
	struct tabi_address a;

	tabi_machine_error(r->m, &e);
	if (tabi_step(r->m) == TABI_FAILED) {
		snprintf(text, sizeof(text), "fail %d hop %d code %d", e.code, e.hop, e.reply);
		assert_true(strlen(tabi_error_text(&e, why, sizeof(why))) > 10);
		assert_true((e.error_number != 0) == (e.code == TABI_E_REFUSED));
	} else {
		assert_int_equal(e.code, TABI_OK);
	}
	if (tabi_step(r->m) == TABI_DONE) {
		tabi_bound(r->m, &a);
		snprintf(
		    text, sizeof(text), "done %s", tabi_address_text(&a, bound, sizeof(bound)));
		/* Who reads as many bytes as are wanted has read none of the target's. */
		if (r->cut == CUT_AS_WANTED)
			assert_int_equal(r->shown, r->consumed);
	}
	transcript_line(&r->t, text);
}

static struct tabi_options options_of(const struct vector *v)
{
	const char *early = vector_args(v, "early", "");
	const struct vector_line *line;
	struct tabi_options o = tabi_options();

	if (strstr(early, "request"))
		o.flags |= TABI_ONE_FLIGHT;
	if (strstr(early, "stream")) {
		o.flags |= TABI_EARLY_STREAM;
		o.payload = PAYLOAD;
		o.payload_len = strlen(PAYLOAD);
	}
	o.names = vector_find(v, "or", 0) ? TABI_NAMES_HERE : TABI_NAMES_THERE;
	for (size_t i = 0; (line = vector_find(v, "or", i)); i++)
		if (line->args[0] > '9')
			o.names = TABI_NAMES_BY_URL;
	return o;
}

static enum tabi_command command_of(const struct vector *v)
{
	const char *word = vector_args(v, "command", "connect");

	if (strcmp(word, "bind") == 0)
		return TABI_BIND;
	if (strcmp(word, "udp") == 0)
		return TABI_UDP;
	return strcmp(word, "resolve") == 0 ? TABI_RESOLVE : TABI_CONNECT;
}

static void begin(struct run *r)
{
	const struct tabi_options o = options_of(r->v);
	const char *chain = vector_args(r->v, "chain", ""), *to = vector_args(r->v, "to", "");
	size_t size = tabi_machine_size(chain, &o);
	struct tabi_error e = {.code = 0};
	char host[256];
	unsigned port;

	assert_true(size > 0);
	r->memory = malloc(size);
	r->m = tabi_machine_init(r->memory, size, chain, &o, &e);
	assert_non_null(r->m);
	assert_true(sscanf(to, "[%255[^]]]:%u", host, &port) == 2 ||
		    sscanf(to, "%255[^:]:%u", host, &port) == 2);
	/* The name that stands for the other forms. */
	if (vector_find(r->v, "or", 0))
		snprintf(host, sizeof(host), "example.com");
	assert_int_equal(tabi_machine_start(r->m, command_of(r->v), host, (uint16_t)port), 0);
}

static void expect(const struct vector *v, struct transcript *t)
{
	const bool payload =
	    strstr(vector_args(v, "early", ""), "stream") && command_of(v) == TABI_CONNECT;
	bool open = false;

	for (size_t i = 0; i < v->n_lines; i++) {
		const struct vector_line *l = &v->lines[i];
		char text[sizeof(l->args) + 20], word[40];
		int hop, code;

		if (strcmp(l->word, ">") == 0) {
			transcript_bytes(t, '>', l->bytes[0], l->n_bytes[0]);
		} else if (strcmp(l->word, "open") == 0) {
			transcript_bytes(t, '>', (const uint8_t *)PAYLOAD, strlen(PAYLOAD));
			open = true;
		} else if (strcmp(l->word, "<") == 0 || strcmp(l->word, "tls") == 0) {
			transcript_line(t, l->word);
		} else if (strcmp(l->word, "again") == 0) {
			transcript_line(t, l->word);
			open = false;
		} else if (strcmp(l->word, "listens") == 0) {
			snprintf(text, sizeof(text), "%s %s", l->word, l->args);
			transcript_line(t, text);
		} else if (strcmp(l->word, "done") == 0 || strcmp(l->word, "more") == 0) {
			if (payload && !open && l->word[0] == 'd')
				transcript_bytes(t, '>', (const uint8_t *)PAYLOAD, strlen(PAYLOAD));
			snprintf(
			    text, sizeof(text), "%s%s%s", l->word, l->args[0] ? " " : "", l->args);
			transcript_line(t, text);
			return;
		} else if (strcmp(l->word, "fail") == 0) {
			assert_int_equal(
			    sscanf(l->args, "%39s hop %d code %d", word, &hop, &code), 3);
			snprintf(
			    text, sizeof(text), "fail %d hop %d code %d", code_of(word), hop, code);
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
	const char *rest = vector_args(v, "rest", NULL);
	uint8_t *stream = vector_stream(v, "<", &r.len);

	r.stream = stream;
	begin(&r);
	while (go_on(&r))
		;
	if (tabi_step(r.m) == TABI_DONE && vector_find(v, "listens", 0))
		listens(&r);
	if (tabi_step(r.m) == TABI_WANT_READ && vector_find(v, "eof", 0)) {
		tabi_input_end(r.m);
		while (go_on(&r))
			;
	}
	at_the_end(&r);
	if (strcmp(transcript_text(&r.t), transcript_text(expected)) != 0)
		fail_msg("cut %d at %zu of %zu:%s\nexpected:%s", cut, at, r.len,
		    transcript_text(&r.t), transcript_text(expected));
	if (rest && tabi_step(r.m) == TABI_DONE && r.len - r.consumed != strtoul(rest, NULL, 10))
		fail_msg("cut %d at %zu: rest %zu, not %s", cut, at, r.len - r.consumed, rest);
	tabi_machine_wipe(r.m);
	free(r.memory);
	transcript_free(&r.t);
	free(stream);
}

static void every_split(void **state)
{
	const struct vector *v = *state;
	struct transcript expected = {0};
	size_t len;

	/* The library has no enhanced UDP mode: proto/connect's tests have these. */
	if (strcmp(vector_args(v, "command", ""), "multicast") == 0)
		return;
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
	return vector_run("machine-vectors", every_split, argc, argv);
}
