/* SPDX-License-Identifier: MIT */
/*
 * Fuzzes proto/accept: the first byte says what the server offers and how it decides, the second
 * how the rest, which is what the client sends, is cut into pieces.
 */
#include "fuzz.h"

#include <string.h>

#include "proto/accept.h"
#include "proto/err.h"
#include "proto/gss.h"

#define AUTHS_MAX 8

/* Everything that must not depend on how the bytes were cut. */
struct outcome {
	uint8_t said[8 * ACCEPT_OUTPUT_MAX];
	size_t n_said;
	size_t consumed;
	unsigned n_auths, n_tokens;
	enum accept_event event;
	struct accept a;
};

static unsigned methods_of(uint8_t choices)
{
	static const unsigned methods[] = {
	    AUTH_NONE, AUTH_PASSWORD, AUTH_NONE | AUTH_PASSWORD, AUTH_GSSAPI};

	return methods[choices & 3] | (choices & 8 ? AUTH_IDENT : 0);
}

/* A token of the context, as it falls out by its first byte. */
static void answer_context(struct outcome *o, const uint8_t *token, struct wire_writer *out)
{
	struct accept_gss_answer answer = {
	    .outcome = ACCEPT_GSS_CONTINUE,
	    .token = token,
	    .len = token[0] >> 2 & 3,
	    .user = "alice@EXAMPLE.ORG",
	    .user_len = token[0] & 0x40 ? 5 : 17,
	    .confidential = token[0] & 0x80,
	};

	CHECK(++o->n_tokens <= GSS_CONTEXT_ROUNDS_MAX);
	CHECK(o->a.gss_bytes <= GSS_CONTEXT_TOTAL_MAX);
	if (answer.len > o->a.token_len)
		answer.len = o->a.token_len;
	if ((token[0] & 3) == 3)
		answer.outcome = ACCEPT_GSS_FAILED;
	else if (token[0] & 1)
		answer.outcome = ACCEPT_GSS_DONE;
	accept_gss_context(&o->a, &answer, out);
	CHECK((o->a.state == ACCEPT_AT_END) == (answer.outcome == ACCEPT_GSS_FAILED));
}

/* What is wrapped is the token without its first byte. */
static void answer_level(struct outcome *o, const uint8_t *token, struct wire_writer *out)
{
	bool nec = o->a.gss_nec;
	unsigned allowed = o->a.gss_levels;
	uint8_t octets[2] = {0x60, 0};
	int level;

	CHECK(!nec || (o->a.token_len == 1 && o->a.gss_nec_allowed));
	level = accept_gss_level(&o->a, token + !nec, o->a.token_len - !nec, out);
	CHECK((level < 0) == (o->a.state == ACCEPT_AT_END));
	if (level < 0)
		return;
	CHECK(allowed & GSS_LEVEL_BIT(level));
	octets[1] = (uint8_t)level;
	accept_gss_answer_level(&o->a, octets + nec, 2u - nec, out);
}

static void answer_gss(struct outcome *o, const struct wire_reader *in, struct wire_writer *out)
{
	const uint8_t *token;

	CHECK(o->a.token_len > 0 && o->a.token_len <= in->pos);
	CHECK(o->a.methods & AUTH_GSSAPI);
	token = in->data + in->pos - o->a.token_len;
	if (o->event == ACCEPT_GSS_CONTEXT)
		answer_context(o, token, out);
	else
		answer_level(o, token, out);
	CHECK(o->a.token_len == 0 || o->a.state == ACCEPT_AT_END);
}

static void say(struct outcome *o, struct wire_writer *out)
{
	CHECK(!out->failed);
	CHECK(out->len <= sizeof(o->said) - o->n_said);
	memcpy(o->said + o->n_said, out->data, out->len);
	o->n_said += out->len;
	out->len = 0;
}

static void check_credentials(const struct accept *a)
{
	CHECK(a->user[a->user_len] == '\0' && a->password[a->password_len] == '\0');
	CHECK(a->methods & AUTH_PASSWORD);
}

static void check_request(const struct accept *a)
{
	CHECK(a->command != COMMAND_NONE);
	CHECK(a->proto != PROTO_NONE);
	CHECK(a->methods & a->method);
	CHECK(a->method != AUTH_IDENT ||
	      ((a->proto == PROTO_SOCKS4 || a->proto == PROTO_SOCKS4A) && a->user_len > 0));
	CHECK(a->command == COMMAND_MULTICAST || a->target.kind == ADDR_IP ||
	      a->target.kind == ADDR_NAME);
	if (a->target.kind == ADDR_NAME) {
		CHECK(a->target.name_len > 0 && a->target.name[a->target.name_len] == '\0');
		CHECK(strlen(a->target.name) == a->target.name_len);
	}
	if (a->command == COMMAND_CONNECT) {
		CHECK(a->target.port != 0);
		CHECK(a->target.kind != ADDR_IP || !(ip_classes(&a->target.ip) & IP_UNSPECIFIED));
	}
	if (a->proto == PROTO_HTTP)
		CHECK(a->command == COMMAND_CONNECT);
}

static bool asks_gss(enum accept_event event)
{
	return event == ACCEPT_GSS_CONTEXT || event == ACCEPT_GSS_LEVEL;
}

/* One delivery of bytes; returns when the machine wants more or has decided. */
static void deliver(struct outcome *o, uint8_t choices, const uint8_t *data, size_t size)
{
	uint8_t answer[ACCEPT_OUTPUT_MAX];
	struct wire_writer out = wire_writer_of(answer, sizeof(answer));
	struct wire_reader in = wire_reader_of(data, size);

	do {
		o->event = accept_step(&o->a, &in, &out);
		CHECK(!in.failed && in.pos <= size);
		say(o, &out);
		if (asks_gss(o->event)) {
			answer_gss(o, &in, &out);
			say(o, &out);
		}
		if (o->event == ACCEPT_IDENT) {
			accept_ident_result(&o->a, choices & 16 ? 0 : ERR_IDENT_MISMATCH, &out);
			say(o, &out);
		}
		if (o->event != ACCEPT_AUTH)
			continue;
		check_credentials(&o->a);
		CHECK(o->n_auths < AUTHS_MAX);
		accept_auth_result(&o->a, choices >> 4 & (1u << (o->n_auths & 3)), &out);
		o->n_auths++;
		CHECK(o->a.password_len == 0 && o->a.password[0] == '\0');
		say(o, &out);
	} while (o->event == ACCEPT_AUTH || o->event == ACCEPT_IDENT || o->event == ACCEPT_TLS ||
		 asks_gss(o->event));
	o->consumed += in.pos;
}

/* Of BIND: between its answers the machine takes nothing; the second one ends it. */
static void check_second_answer(struct outcome *o, const struct addr *peer)
{
	static const uint8_t byte[] = {5};
	struct wire_reader in = wire_reader_of(byte, sizeof(byte));
	uint8_t answer[ACCEPT_OUTPUT_MAX];
	struct wire_writer out = wire_writer_of(answer, sizeof(answer));

	CHECK(o->a.command == COMMAND_BIND);
	CHECK(accept_step(&o->a, &in, &out) == ACCEPT_MORE);
	CHECK(in.pos == 0 && out.len == 0);
	accept_reply(&o->a, o->a.target.port & 1 ? ERR_OK : ERR_CONNECT_TIMEOUT, peer, &out);
	CHECK(out.len == (o->a.proto == PROTO_SOCKS5 ? 10 : 8));
	say(o, &out);
}

/* Two further words of the caller, and that the machine then says no more. */
static void finish(struct outcome *o, uint8_t choices)
{
	static const uint8_t byte[] = {5};
	struct ip ip = ip_from_v4((const uint8_t[]){192, 0, 2, 10});
	struct addr bound = addr_from_ip(&ip, 40000);
	struct wire_reader in = wire_reader_of(byte, sizeof(byte));
	uint8_t answer[ACCEPT_OUTPUT_MAX];
	struct wire_writer out = wire_writer_of(answer, sizeof(answer));
	int err = o->event == ACCEPT_REQUEST && choices & 4 ? ERR_OK : ERR_HANDSHAKE_TIMEOUT;

	if (o->event == ACCEPT_REQUEST)
		check_request(&o->a);
	accept_reply(&o->a, err, &bound, &out);
	CHECK(o->event != ACCEPT_END || out.len == 0);
	if (o->event == ACCEPT_REQUEST)
		CHECK(out.len >= (o->a.proto == PROTO_SOCKS5 ? 10 : 8));
	say(o, &out);
	if (o->a.state == ACCEPT_WAITS_PEER)
		check_second_answer(o, &bound);
	CHECK(accept_step(&o->a, &in, &out) == ACCEPT_END);
	CHECK(in.pos == 0 && out.len == 0);
	accept_fini(&o->a);
}

/* `seed` 0: all at once, 1: byte by byte, else pieces of up to 16 bytes as it falls. */
static void run(struct outcome *o, uint8_t choices, unsigned seed, const uint8_t *data, size_t size)
{
	size_t shown = seed == 0 ? size : 0;

	memset(o, 0, sizeof(*o));
	accept_init(&o->a, methods_of(choices));
	accept_offer_gss(&o->a, choices >> 4 & 7, choices & 0x80);
	/* The same bytes stand for what comes out of TLS. */
	if (choices & 8)
		accept_offer_tls(&o->a);
	for (;;) {
		uint8_t *copy = malloc(shown - o->consumed + 1);

		CHECK(copy != NULL);
		memcpy(copy, data + o->consumed, shown - o->consumed);
		deliver(o, choices, copy, shown - o->consumed);
		free(copy);
		if (o->event != ACCEPT_MORE || shown == size)
			break;
		shown++;
		seed = seed > 1 ? seed * 1103515245u + 12345u : seed;
		for (unsigned n = seed > 1 ? seed >> 16 & 15 : 0; n > 0 && shown < size; n--)
			shown++;
	}
	finish(o, choices);
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
	CHECK(a->event == b->event);
	CHECK(a->consumed == b->consumed);
	CHECK(a->n_auths == b->n_auths);
	CHECK(a->n_said == b->n_said && memcmp(a->said, b->said, a->n_said) == 0);
	CHECK(a->a.err == b->a.err && a->a.proto == b->a.proto);
	CHECK(a->a.command == b->a.command && a->a.method == b->a.method);
	CHECK(a->a.user_len == b->a.user_len && a->a.claim_len == b->a.claim_len);
	CHECK(same_addr(&a->a.target, &b->a.target));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct outcome whole, bytes, pieces;

	if (size < 2)
		return 0;
	run(&whole, data[0], 0, data + 2, size - 2);
	run(&bytes, data[0], 1, data + 2, size - 2);
	run(&pieces, data[0], 2u + data[1], data + 2, size - 2);
	check_same(&whole, &bytes);
	check_same(&whole, &pieces);
	return 0;
}
