/* SPDX-License-Identifier: MIT */
/*
 * Fuzzes proto/connect against a hostile proxy: the first four bytes choose the chain, the request
 * and how the rest, which is what the proxy sends, is cut into pieces.
 */
#include "fuzz.h"

#include <string.h>

#include "proto/connect.h"
#include "proto/err.h"

#define HOPS_MAX 3
#define FORMS 2

enum cut {
	ALL_AT_ONCE,
	BYTE_BY_BYTE,
	AS_WANTED,
	PIECES,
};

struct outcome {
	uint8_t said[24 * CONNECT_OUTPUT_MAX];
	size_t n_said;
	size_t shown, consumed;
	enum connect_event event;
	struct connect c;
};

static void set_credentials(struct url *hop, uint8_t choice)
{
	hop->has_user = choice != 0;
	hop->has_password = choice > 1;
	hop->user_len = choice == 3 ? 255 : choice;
	hop->password_len = choice > 1 ? hop->user_len : 0;
	memset(hop->user, 'u', hop->user_len);
	memset(hop->password, ':', hop->password_len);
}

/* Two bits for how many, then for each hop two of credentials; and of the second byte the kinds. */
static size_t make_chain(struct url hops[static HOPS_MAX], const uint8_t choices[static 2])
{
	size_t n = 1 + (choices[0] & 3) % HOPS_MAX;
	unsigned kinds = choices[1];

	memset(hops, 0, HOPS_MAX * sizeof(*hops));
	for (size_t i = 0; i < n; i++) {
		hops[i].scheme = kinds % (URL_HTTPS + 1);
		kinds /= URL_HTTPS + 1;
		set_credentials(&hops[i], choices[0] >> (2 + 2 * i) & 3);
		CHECK(addr_parse("192.0.2.1:1080", 14, &hops[i].proxy) == 0);
	}
	return n;
}

static enum command make_request(uint8_t choice, struct addr *ret_target)
{
	static const char *const targets[] = {"192.0.2.1:80", "[2001:db8::1]:443", "example.com:22",
	    "0.0.0.7:1", "255.255.255.255:0"};
	static const enum command commands[] = {COMMAND_CONNECT, COMMAND_CONNECT, COMMAND_BIND,
	    COMMAND_UDP, COMMAND_RESOLVE, COMMAND_MULTICAST};
	const char *target = targets[choice % 5];

	CHECK(addr_parse(target, strlen(target), ret_target) == 0);
	if (choice >> 7)
		ret_target->kind = ADDR_NONE;
	return commands[choice / 5 % 6];
}

static size_t next_piece(const struct outcome *o, enum cut cut, unsigned *seed)
{
	switch (cut) {
	case ALL_AT_ONCE:
		return SIZE_MAX;
	case BYTE_BY_BYTE:
		return 1;
	case AS_WANTED:
		return o->c.want;
	case PIECES:
		break;
	}
	*seed = *seed * 1103515245u + 12345u;
	return 1 + (*seed >> 16 & 15);
}

static void deliver(struct outcome *o, const uint8_t *data)
{
	uint8_t asked[CONNECT_OUTPUT_MAX], *copy = malloc(o->shown - o->consumed + 1);
	struct wire_writer out = wire_writer_of(asked, sizeof(asked));
	struct wire_reader in;

	CHECK(copy != NULL);
	memcpy(copy, data + o->consumed, o->shown - o->consumed);
	in = wire_reader_of(copy, o->shown - o->consumed);
	o->event = connect_step(&o->c, &in, &out);
	CHECK(!in.failed && !out.failed);
	CHECK(out.len <= sizeof(o->said) - o->n_said);
	memcpy(o->said + o->n_said, asked, out.len);
	o->n_said += out.len;
	o->consumed += in.pos;
	CHECK(o->event != CONNECT_MORE || (o->c.want > 0 && o->c.want <= CONNECT_INPUT_MAX));
	CHECK(o->event != CONNECT_FAILED || o->c.err != 0);
	CHECK(o->c.ahead <= o->c.n_hops && (!o->c.stream_open || o->c.ahead == o->c.n_hops));
	free(copy);
}

/* What a library would make of the tokens: complete by the first bit of theirs, ours of up to three
 * bytes; the level is wrapped behind a W. */
static void answer_gss(struct outcome *o, const uint8_t *data)
{
	uint8_t asked[64], level[2] = {'W', o->c.gss_level};
	struct wire_writer out = wire_writer_of(asked, sizeof(asked));
	const uint8_t *token = data + o->consumed - o->c.token_len;
	uint8_t first = o->c.token_len > 0 ? token[0] : 6;
	int rc;

	CHECK(o->c.gss && o->c.token_len <= o->consumed);
	if (o->event == CONNECT_GSS_CONTEXT) {
		connect_gss_context(&o->c, first & 1, "abc", first >> 1 & 3, &out);
	} else if (o->event == CONNECT_GSS_LEVEL) {
		connect_gss_level(&o->c, level + o->c.gss_nec, 2u - o->c.gss_nec, &out);
	} else {
		rc = connect_gss_answer(&o->c, token, o->c.token_len);
		CHECK((rc < 0) == (o->c.err != 0));
		CHECK(rc < 0 || (rc <= GSS_LEVEL_CONFIDENTIAL && rc == token[0]));
	}
	CHECK(!out.failed && out.len <= sizeof(o->said) - o->n_said);
	memcpy(o->said + o->n_said, asked, out.len);
	o->n_said += out.len;
}

static bool asks_gss(enum connect_event event)
{
	return event == CONNECT_GSS_CONTEXT || event == CONNECT_GSS_LEVEL ||
	       event == CONNECT_GSS_ANSWER;
}

/* At the end of the bytes the connection ends, and then the machine has made up its mind. */
static void finish(struct outcome *o, const uint8_t *data)
{
	struct wire_reader in = wire_reader_of(data + o->consumed, o->shown - o->consumed);
	enum connect_event event = connect_eof(&o->c, &in);

	CHECK(event != CONNECT_MORE);
	CHECK(o->event == CONNECT_MORE || event == o->event);
	CHECK(o->event != CONNECT_MORE || event == CONNECT_FAILED);
	CHECK((event == CONNECT_FAILED) == (o->c.err != 0));
	o->event = event;
}

/* Until the machine has made up its mind or nothing is left to show. */
static void feed(struct outcome *o, enum cut cut, unsigned *seed, const uint8_t *data, size_t size)
{
	deliver(o, data);
	while (o->event == CONNECT_TLS || asks_gss(o->event) ||
	       (o->event == CONNECT_MORE && o->shown < size)) {
		/* The same bytes stand for what comes out of TLS, and of GSS-API's protection. */
		size_t n = o->event == CONNECT_MORE ? next_piece(o, cut, seed) : 0;

		if (asks_gss(o->event))
			answer_gss(o, data);

		o->shown += n < size - o->shown ? n : size - o->shown;
		deliver(o, data);
	}
}

static void make_forms(struct connect *c, struct addr forms[static FORMS])
{
	static const char *const texts[FORMS] = {"example.net:80", "192.0.2.9:80"};

	for (size_t i = 0; i < FORMS; i++)
		CHECK(addr_parse(texts[i], strlen(texts[i]), &forms[i]) == 0);
	connect_set_forms(c, forms, FORMS);
}

static void run(struct outcome *o, enum cut cut, const uint8_t choices[static 4],
    const uint8_t *data, size_t size)
{
	struct url hops[HOPS_MAX];
	struct addr target, forms[FORMS];
	size_t n_hops = make_chain(hops, choices);
	enum command command = make_request(choices[2], &target);
	unsigned seed = choices[3];

	memset(o, 0, sizeof(*o));
	connect_init(&o->c, hops, n_hops, command, &target);
	if (choices[3] & 0x80)
		connect_use_gss(&o->c, choices[3] & 3, choices[3] & 4);
	if (choices[3] & 0x40)
		connect_demand_gss(&o->c);
	connect_send_early(&o->c, choices[3] >> 3 & 3);
	if (choices[3] & 0x20)
		make_forms(&o->c, forms);
	feed(o, cut, &seed, data, size);
	for (unsigned n = 0; o->event == CONNECT_FAILED && connect_retry(&o->c); n++) {
		CHECK(n < 1 + FORMS);
		/* What has been read of the first connection is gone with it, the rest is what
		 * comes from the next one. */
		o->shown = o->consumed;
		feed(o, cut, &seed, data, size);
	}
	if (o->event == CONNECT_DONE && command == COMMAND_BIND) {
		connect_await_peer(&o->c);
		feed(o, cut, &seed, data, size);
	}
	/* Who reads what is wanted has read nothing of the target's. */
	if (cut == AS_WANTED && o->event == CONNECT_DONE)
		CHECK(o->shown == o->consumed);
	finish(o, data);
	o->c.hops = NULL;
	o->c.forms = NULL;
}

static bool same_addr(const struct addr *a, const struct addr *b)
{
	char x[ADDR_TEXT_MAX], y[ADDR_TEXT_MAX];

	if (a->kind == ADDR_NONE || b->kind == ADDR_NONE)
		return a->kind == b->kind;
	return a->kind == b->kind && strcmp(addr_format(a, x), addr_format(b, y)) == 0;
}

static void check_same(const struct outcome *a, const struct outcome *b)
{
	CHECK(a->event == b->event && a->consumed == b->consumed);
	CHECK(a->n_said == b->n_said && memcmp(a->said, b->said, a->n_said) == 0);
	CHECK(a->c.err == b->c.err && a->c.code == b->c.code);
	CHECK(a->c.hop == b->c.hop && a->c.stage == b->c.stage);
	CHECK(a->c.ahead == b->c.ahead && a->c.stream_open == b->c.stream_open);
	CHECK(same_addr(&a->c.bound, &b->c.bound));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct outcome whole, bytes, wanted, pieces;

	if (size < 4)
		return 0;
	run(&whole, ALL_AT_ONCE, data, data + 4, size - 4);
	run(&bytes, BYTE_BY_BYTE, data, data + 4, size - 4);
	run(&wanted, AS_WANTED, data, data + 4, size - 4);
	run(&pieces, PIECES, data, data + 4, size - 4);
	check_same(&bytes, &wanted);
	/* A proxy that answers for hops which have not been asked yet may run out of room. */
	if (whole.c.n_hops == 1) {
		check_same(&bytes, &whole);
		check_same(&bytes, &pieces);
	}
	return 0;
}
