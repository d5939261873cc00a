/* SPDX-License-Identifier: MIT */
/*
 * Fuzzes libtabi's machine as a client of hostile proxies, through its public header: the first
 * five bytes choose the chain, the request, the options and the cut into pieces, the rest is what
 * the proxies send. However it is cut, the outcome is the same.
 */
#include "fuzz.h"

#include <string.h>

#include "tabi.h"

#define SAID_MAX 65536
#define PAYLOAD_LEN 5000
/* The first one, one without anything early, and two other forms of the target. */
#define CONNECTIONS_MAX 4

enum cut {
	ALL_AT_ONCE,
	BYTE_BY_BYTE,
	AS_WANTED,
	PIECES,
};

struct outcome {
	uint8_t said[SAID_MAX];
	size_t n_said, consumed;
	unsigned connections;
	struct tabi_error error;
	struct tabi_address bound;
	enum tabi_want want;
};

static uint8_t payload[PAYLOAD_LEN];

static const char *chain_of(uint8_t choice)
{
	static const char *const chains[] = {
	    "socks5h://192.0.2.1",
	    "socks5://user:password@proxy.example",
	    "socks4a://fred@192.0.2.1",
	    "socks4://192.0.2.1",
	    "http://192.0.2.1",
	    "https://user:password@proxy.example",
	    "socks5+tls://192.0.2.1",
	    "socks5h://a.example,socks5h://u:p@b.example",
	    "socks5h://a.example,http://u:p@b.example,socks4a://c.example",
	    "http://a.example,socks5+tls://u:p@b.example,socks5://c.example",
	    "socks4://a.example,socks4://b.example,socks5://[2001:db8::1]",
	    "socks4a://a,socks5h://u:p@b,socks4a://c,socks5h://d,socks4a://e,socks5h://f",
	};

	return chains[choice % (sizeof(chains) / sizeof(chains[0]))];
}

static struct tabi_options options_of(const uint8_t choices[static 5])
{
	struct tabi_options o = tabi_options();

	o.flags = choices[2] & 15;
	o.names = (choices[2] >> 4) % 3;
	if (choices[2] & 0x80)
		o.gss = 1 + (choices[3] & 3);
	o.payload = payload;
	o.payload_len = (choices[3] >> 4) * (PAYLOAD_LEN / 15);
	return o;
}

/* Returns false where it was refused at once. */
static bool start(struct tabi_machine *m, uint8_t choice)
{
	static const char *const hosts[] = {
	    "192.0.2.1", "2001:db8::1", "example.com", "0.0.0.7", NULL};

	return tabi_machine_start(m, (enum tabi_command)(1 + choice / 5 % 4), hosts[choice % 5],
		   (uint16_t)(choice * 257)) == 0;
}

static void say(struct outcome *o, const void *data, size_t len)
{
	CHECK(len <= SAID_MAX - o->n_said);
	memcpy(o->said + o->n_said, data, len);
	o->n_said += len;
}

static void write_output(struct outcome *o, struct tabi_machine *m)
{
	size_t len;
	const void *data = tabi_output(m, &len);

	CHECK(data && len > 0);
	say(o, data, len);
	tabi_wrote(m, len);
}

static void answer_resolve(struct tabi_machine *m)
{
	struct tabi_address a[3];
	const char *name = tabi_asked_name(m);

	CHECK(strlen(name) > 0);
	memset(a, 0, sizeof(a));
	CHECK(tabi_address_set(&a[0], "2001:db8::7", 1) == 0);
	CHECK(tabi_address_set(&a[1], "192.0.2.7", 1) == 0);
	a[2].family = 99;
	tabi_resolved(m, a, name[0] == 'b' ? 0 : 3);
}

/* What a library would make of the tokens. */
static void answer_gss(struct tabi_machine *m, enum tabi_want want)
{
	static const uint8_t big[65536];
	size_t len;
	const uint8_t *token = tabi_gss_token(m, &len);
	uint8_t first = len > 0 ? token[0] : 6, octets[2] = {'W', tabi_gss_octet(m)};

	if (want == TABI_WANT_GSS_CONTEXT)
		(void)tabi_gss_context(
		    m, first & 1, big, first == 0x77 ? sizeof(big) : first >> 1 & 3);
	else if (want == TABI_WANT_GSS_LEVEL)
		(void)tabi_gss_level(m, octets, 2);
	else
		(void)tabi_gss_answer(m, first == 0x55 ? NULL : token, len);
}

static size_t piece(const struct tabi_machine *m, enum cut cut, unsigned *seed, size_t left)
{
	size_t n = left;

	if (cut == BYTE_BY_BYTE)
		n = 1;
	else if (cut == AS_WANTED)
		n = tabi_wanted(m);
	else if (cut == PIECES) {
		*seed = *seed * 1103515245u + 12345u;
		n = 1 + (*seed >> 16 & 15);
	}
	return n < left ? n : left;
}

static void give(struct outcome *o, struct tabi_machine *m, enum cut cut, unsigned *seed,
    const uint8_t *data, size_t size)
{
	size_t n = piece(m, cut, seed, size - o->consumed), taken;
	uint8_t *copy = malloc(n + 1);

	CHECK(copy && tabi_wanted(m) > 0);
	memcpy(copy, data + o->consumed, n);
	taken = tabi_input(m, copy, n);
	CHECK(taken > 0 && taken <= n);
	/* Who reads what is wanted has read nothing else. */
	CHECK(cut != AS_WANTED || taken == n);
	o->consumed += taken;
	free(copy);
}

/* Does the one thing that is wanted; false when that is nothing. */
static bool go_on(struct outcome *o, struct tabi_machine *m, enum cut cut, unsigned *seed,
    const uint8_t *data, size_t size)
{
	const enum tabi_want want = tabi_step(m);

	switch (want) {
	case TABI_WANT_CONNECTION:
		CHECK(o->connections < CONNECTIONS_MAX);
		/* What the next proxy sends begins at a place of its own: how much of a refusal
		 * was read depends on the pieces. */
		o->consumed = size * o->connections++ / CONNECTIONS_MAX;
		tabi_connected(m);
		return true;
	case TABI_WANT_WRITE:
		write_output(o, m);
		return true;
	case TABI_WANT_RESOLVE:
		answer_resolve(m);
		return true;
	case TABI_WANT_TLS:
		tabi_tls_started(m);
		return true;
	case TABI_WANT_GSS_CONTEXT:
	case TABI_WANT_GSS_LEVEL:
	case TABI_WANT_GSS_ANSWER:
		answer_gss(m, want);
		return true;
	case TABI_WANT_READ:
		if (o->consumed < size)
			give(o, m, cut, seed, data, size);
		else
			tabi_input_end(m);
		return true;
	case TABI_DONE:
	case TABI_FAILED:
		break;
	}
	return false;
}

static void finish(struct outcome *o, struct tabi_machine *m)
{
	struct tabi_address at;
	char text[400];

	o->want = tabi_step(m);
	tabi_machine_error(m, &o->error);
	CHECK((o->want == TABI_FAILED) == (o->error.code < 0));
	CHECK(strlen(tabi_error_text(&o->error, text, sizeof(text))) > 0);
	tabi_bound(m, &o->bound);
	tabi_listens_at(m, NULL, &at);
	/* Nothing moves it any more. */
	CHECK(tabi_input(m, "x", 1) == 0);
	tabi_input_end(m);
	CHECK(tabi_step(m) == o->want);
}

static void run(struct outcome *o, enum cut cut, const uint8_t choices[static 5],
    const uint8_t *data, size_t size)
{
	const struct tabi_options options = options_of(choices);
	const char *chain = chain_of(choices[0]);
	size_t need = tabi_machine_size(chain, &options);
	void *memory = malloc(need);
	struct tabi_machine *m = tabi_machine_init(memory, need, chain, &options, NULL);
	unsigned seed = choices[4];

	CHECK(m != NULL);
	memset(o, 0, sizeof(*o));
	if (start(m, choices[1])) {
		while (go_on(o, m, cut, &seed, data, size))
			;
		if (tabi_step(m) == TABI_DONE && tabi_await_peer(m) == 0)
			while (go_on(o, m, cut, &seed, data, size))
				;
		finish(o, m);
	}
	tabi_machine_wipe(m);
	free(memory);
}

static bool same_address(const struct tabi_address *a, const struct tabi_address *b)
{
	char x[TABI_ADDRESS_TEXT_MAX], y[TABI_ADDRESS_TEXT_MAX];

	return a->family == b->family &&
	       strcmp(tabi_address_text(a, x, sizeof(x)), tabi_address_text(b, y, sizeof(y))) == 0;
}

static void check_same(const struct outcome *a, const struct outcome *b)
{
	CHECK(a->want == b->want && a->connections == b->connections);
	CHECK(a->want == TABI_FAILED || a->consumed == b->consumed);
	CHECK(a->n_said == b->n_said && memcmp(a->said, b->said, a->n_said) == 0);
	CHECK(memcmp(&a->error, &b->error, sizeof(a->error)) == 0);
	CHECK(same_address(&a->bound, &b->bound));
}

/* What the other calls make of bytes. */
static void read_datagram(const uint8_t *data, size_t size)
{
	struct tabi_address from;
	const void *in;
	long n = tabi_udp_unwrap(data, size, &from, &in);

	CHECK(n < 0 || (n <= (long)size && (const uint8_t *)in + n == data + size));
	CHECK(tabi_gss_frame_read(data, size) <= 65535);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct outcome whole, bytes, wanted, pieces;

	if (size < 5)
		return 0;
	run(&whole, ALL_AT_ONCE, data, data + 5, size - 5);
	run(&bytes, BYTE_BY_BYTE, data, data + 5, size - 5);
	run(&wanted, AS_WANTED, data, data + 5, size - 5);
	run(&pieces, PIECES, data, data + 5, size - 5);
	check_same(&bytes, &wanted);
	check_same(&bytes, &whole);
	check_same(&bytes, &pieces);
	read_datagram(data, size);
	return 0;
}
