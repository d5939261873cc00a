/* SPDX-License-Identifier: MIT */
/* Checks of tabi probe: the bytes behind a granted CONNECT, and the ends of them. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/bench.h"
#include "cli/probe_kit.h"

#define BULK_LEN ((size_t)4 << 20)
/* More than all the buffers that a kernel gives to three connections. */
#define TOO_MUCH ((size_t)96 << 20)
#define BULK_MS 20000
/* Who still sends so much later was not told of the end. */
#define REST_MAX ((uint64_t)256 << 20)

static uint8_t *pattern(size_t len)
{
	uint8_t *data = malloc(len);

	for (size_t i = 0; data && i < len; i++)
		data[i] = (uint8_t)(i * 31 + (i >> 9) + (i >> 17));
	return data;
}

static enum probe_verdict echo_bulk(struct kit *k)
{
	struct talk_bulk b = {.out_len = BULK_LEN, .in_len = BULK_LEN};
	uint8_t *data = pattern(BULK_LEN);

	b.out = b.expected = data;
	if (!data || !ask_open(k->p, k->t, &k->p->main, BENCH_ECHO, "")) {
		free(data);
		return kit_stuck(k);
	}
	talk_bulk(k->t, &b, BULK_MS);
	free(data);
	if (b.received != BULK_LEN || b.differs)
		return kit_fail(k, "%zu of %zu bytes came back%s", b.received, BULK_LEN,
		    b.differs ? ", and others" : "");
	return kit_pass(k, "%zu bytes there and back", BULK_LEN);
}

/* The target's sums: what it received, what it sent. */
static bool read_sums(const char *text, uint64_t *ret_received, uint64_t *ret_sent)
{
	char *end;

	if (!text || strlen(text) < BENCH_TRAILER - 1)
		return false;
	*ret_received = strtoull(text, &end, 10);
	if (end != text + 19 || *end != ' ')
		return false;
	*ret_sent = strtoull(end + 1, &end, 10);
	return end == text + BENCH_TRAILER - 1;
}

/* All that we said has arrived when the target says so, which it does behind our end. */
static enum probe_verdict half_close(struct kit *k)
{
	struct talk_bulk b = {.out_len = BULK_LEN, .finish = true};
	uint8_t *data = pattern(BULK_LEN);
	uint64_t received, sent;

	b.out = data;
	if (!data || !ask_open(k->p, k->t, &k->p->main, BENCH_SINK, "")) {
		free(data);
		return kit_stuck(k);
	}
	talk_bulk(k->t, &b, BULK_MS);
	free(data);
	if (!read_sums(talk_line(k->t, BULK_MS), &received, &sent))
		return kit_fail(k, "our end passed, no answer came back");
	return received == BULK_LEN ? kit_pass(k, "the target has %zu bytes and says so", BULK_LEN)
				    : kit_fail(k, "the target has %" PRIu64 " bytes", received);
}

static enum probe_verdict half_close_late(struct kit *k)
{
	const char *line;

	if (!ask_open(k->p, k->t, &k->p->main, TARGET_LATE, ""))
		return kit_stuck(k);
	talk_finish(k->t);
	line = talk_line(k->t, TARGET_LATE_MS + probe_ms(k->p));
	return line && strcmp(line, "late") == 0 ? kit_pass(k, "the answer came")
						 : kit_fail(k, "no answer came");
}

/* The target ends first; then we speak. */
static enum probe_verdict target_half_close(struct kit *k)
{
	static const uint8_t text[100000];
	char token[TARGET_TOKEN + 1];
	struct target_line line;

	if (!ask_open(k->p, k->t, &k->p->main, TARGET_FINISH, kit_token(k, token)))
		return kit_stuck(k);
	if (talk_await_end(k->t, probe_ms(k->p)) != TALK_EOF)
		return kit_fail(k, "the target's end did not come");
	talk_send(k->t, text, sizeof(text), probe_ms(k->p));
	talk_finish(k->t);
	if (!kit_query(k, token, true, &line))
		return kit_stuck(k);
	if (line.received != sizeof(text))
		return kit_fail(k, "%" PRIu64 " of %zu bytes arrived", line.received, sizeof(text));
	return kit_pass(k, "%zu bytes arrived behind the target's end", sizeof(text));
}

static enum probe_verdict end_reaches_us(struct kit *k)
{
	char token[TARGET_TOKEN + 1];

	if (!ask_open(k->p, k->t, &k->p->main, TARGET_FINISH, kit_token(k, token)))
		return kit_stuck(k);
	return talk_await_end(k->t, probe_ms(k->p)) == TALK_EOF
		   ? kit_pass(k, "the end came")
		   : kit_fail(k, "no end of the stream came");
}

/* How the target saw our end. */
static enum probe_verdict our_end(struct kit *k, bool reset)
{
	char token[TARGET_TOKEN + 1];
	struct target_line line;

	if (!ask_open(k->p, k->t, &k->p->main, TARGET_NOTE, kit_token(k, token)))
		return kit_stuck(k);
	/* Not before the target has noted it, or the end may overtake the token. */
	for (unsigned i = 0; i < 100; i++) {
		if (!kit_query(k, token, false, &line))
			return kit_stuck(k);
		if (line.noted)
			break;
		talk_pause(10);
	}
	if (reset)
		talk_reset(k->t);
	else
		talk_finish(k->t);
	if (!kit_query(k, token, true, &line))
		return kit_stuck(k);
	if (!line.noted || strcmp(line.end, "open") == 0)
		return kit_fail(k, "the target never saw an end");
	if (k->check->arg && strcmp(line.end, "reset") != 0)
		return kit_fail(k, "the target saw an ordinary end");
	return kit_pass(k, "the target saw: %s", line.end);
}

static enum probe_verdict end_reaches_target(struct kit *k)
{
	return our_end(k, false);
}

static enum probe_verdict reset_reaches_target(struct kit *k)
{
	return our_end(k, true);
}

static enum probe_verdict reset_reaches_us(struct kit *k)
{
	if (!ask_open(k->p, k->t, &k->p->main, TARGET_RESET, ""))
		return kit_stuck(k);
	switch (talk_await_end(k->t, probe_ms(k->p))) {
	case TALK_RESET:
		return kit_pass(k, "a reset");
	case TALK_EOF:
		return kit_fail(k, "an ordinary end, as if all had been said");
	default:
		return kit_fail(k, "nothing");
	}
}

/* A target that does not read must stop us in the end: the proxy's memory has one. */
static enum probe_verdict back_pressure(struct kit *k)
{
	static uint8_t chunk[(size_t)1 << 20];
	size_t sent = 0;

	if (!ask_open(k->p, k->t, &k->p->main, TARGET_WAIT, ""))
		return kit_stuck(k);
	while (sent < TOO_MUCH && talk_send(k->t, chunk, sizeof(chunk), 500) == 0)
		sent += sizeof(chunk);
	talk_reset(k->t);
	if (sent >= TOO_MUCH)
		return kit_fail(k, "%zu MB taken, for nobody", sent >> 20);
	return kit_alive(k) ? kit_pass(k, "stopped within %zu MB", (sent >> 20) + 1)
			    : kit_fail(k, "afterwards: %s", k->p->why);
}

/* A flood toward us, and we speak as well: both have to move. */
static enum probe_verdict both_ways(struct kit *k)
{
	struct talk_bulk b = {.out_len = BULK_LEN, .in_len = SIZE_MAX};
	uint8_t *data = pattern(BULK_LEN);

	b.out = data;
	if (!data || !ask_open(k->p, k->t, &k->p->main, BENCH_BOTH_WAYS, "")) {
		free(data);
		return kit_stuck(k);
	}
	b.in_len = 0;
	/* Reads as long as it sends. */
	talk_bulk(k->t, &b, BULK_MS);
	free(data);
	talk_reset(k->t);
	if (b.sent < BULK_LEN)
		return kit_fail(
		    k, "%zu of %zu bytes could be sent against the flood", b.sent, BULK_LEN);
	return kit_pass(k, "%zu KB sent, %zu KB came meanwhile", b.sent >> 10, b.received >> 10);
}

/* A stream toward us, which the target fills with one letter. */
static enum probe_verdict stream(struct kit *k)
{
	struct talk_bulk b = {.in_len = BULK_LEN};
	uint8_t *expected = malloc(BULK_LEN);

	if (!expected || !ask_open(k->p, k->t, &k->p->main, BENCH_SOURCE, "")) {
		free(expected);
		return kit_stuck(k);
	}
	memset(expected, 'x', BULK_LEN);
	b.expected = expected;
	talk_bulk(k->t, &b, BULK_MS);
	free(expected);
	if (b.received < BULK_LEN || b.differs)
		return kit_fail(k, "%zu of %zu bytes came%s", b.received, BULK_LEN,
		    b.differs ? ", and others" : "");
	return kit_pass(k, "%zu bytes came", BULK_LEN);
}

/* The rest of it behind our end, up to the target's sums: not a byte more or less. */
static enum probe_verdict rest_of_stream(struct kit *k)
{
	struct talk_bulk b = {.in_len = BULK_LEN};
	uint64_t received = 0, sent = 0, total;
	char tail[BENCH_TRAILER + 1] = {0};

	if (!ask_open(k->p, k->t, &k->p->main, BENCH_SOURCE, ""))
		return kit_stuck(k);
	talk_bulk(k->t, &b, BULK_MS);
	total = b.received;
	talk_finish(k->t);
	while (total < REST_MAX && talk_want(k->t, TALK_ROOM, BULK_MS) == TALK_ROOM) {
		talk_take(k->t, TALK_ROOM - BENCH_TRAILER);
		total += TALK_ROOM - BENCH_TRAILER;
	}
	total += talk_left(k->t);
	if (k->t->end != TALK_EOF || talk_left(k->t) < BENCH_TRAILER)
		return kit_fail(k, "no end came behind %" PRIu64 " bytes", total);
	talk_take(k->t, talk_left(k->t) - BENCH_TRAILER);
	memcpy(tail, k->t->in + k->t->at, BENCH_TRAILER);
	if (!read_sums(tail, &received, &sent))
		return kit_fail(k, "the end came before the target's last words");
	if (sent + BENCH_TRAILER != total)
		return kit_fail(k, "%" PRIu64 " bytes came, %" PRIu64 " were sent", total,
		    sent + BENCH_TRAILER);
	return kit_pass(k, "%" PRIu64 " bytes, as many as were sent", total);
}

/* Who resets in the midst of a flood. */
static enum probe_verdict reset_in_flood(struct kit *k)
{
	struct talk_bulk b = {.in_len = (size_t)1 << 20};

	if (!ask_open(k->p, k->t, &k->p->main, BENCH_SOURCE, ""))
		return kit_stuck(k);
	talk_bulk(k->t, &b, BULK_MS);
	talk_reset(k->t);
	return kit_alive(k) ? kit_pass(k, "others are greeted")
			    : kit_fail(k, "afterwards: %s", k->p->why);
}

#define L5 NEED_REACHED

const struct check relay_checks[] = {
    {"L01", LEVEL_REQUIRED, L5, "Four megabytes both ways at once arrive as they are.",
	"RFC 1928 section 6: data passes", "the same bytes", .run = echo_bulk},
    {"L02", LEVEL_REQUIRED, L5, "Four megabytes from the target arrive as they are.",
	"RFC 1928 section 6: data passes", "the same bytes", .run = stream},
    {"L03", LEVEL_RECOMMENDED, L5, "Behind the client's end the target can answer.",
	"protocol 2.11; case T13", "the answer comes", .run = half_close},
    {"L04", LEVEL_RECOMMENDED, L5, "The same where the answer takes some seconds.", "protocol 2.11",
	"the answer comes", .run = half_close_late},
    {"L05", LEVEL_RECOMMENDED, L5, "Behind the target's end the client can go on.",
	"protocol 2.11; case R27", "the bytes arrive", .run = target_half_close},
    {"L06", LEVEL_RECOMMENDED, L5, "The target's end reaches the client.", "protocol 2.11",
	"the end of the stream", .run = end_reaches_us},
    {"L07", LEVEL_RECOMMENDED, L5, "The client's end reaches the target.", "protocol 2.11",
	"an end", .run = end_reaches_target},
    {"L08", LEVEL_RECOMMENDED, L5, "A reset by the client ends the target's connection.",
	"protocol 2.11", "an end or a reset", .run = reset_reaches_target},
    {"L09", LEVEL_RECOMMENDED, L5, "A reset by the client is a reset to the target.",
	"protocol 2.11: RST aborts both", "a reset", .run = reset_reaches_target, .arg = 1},
    {"L10", LEVEL_RECOMMENDED, L5, "A reset by the target is a reset to the client.",
	"protocol 2.11: RST aborts both", "a reset, for the bytes may not be all",
	.run = reset_reaches_us},
    {"L11", LEVEL_RECOMMENDED, L5, "Who does not read stops who sends.",
	"protocol 2.11: back-pressure", "less than 96 MB are taken", .run = back_pressure},
    {"L12", LEVEL_RECOMMENDED, L5, "A flood one way does not stop the other way.",
	"reliability: fairness", "four megabytes pass against it", .run = both_ways},
    {"L13", LEVEL_RECOMMENDED, L5, "A client that resets in the midst of a flood does no harm.",
	"case T14", "others are served", .run = reset_in_flood},
    {"L14", LEVEL_RECOMMENDED, L5, "Behind the client's end the rest of a stream arrives whole.",
	"protocol 2.11; case T13", "as many bytes as were sent", .run = rest_of_stream},
};
const unsigned n_relay_checks = N_CHECKS_OF(relay_checks);
