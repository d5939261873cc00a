/* SPDX-License-Identifier: MIT */
/*
 * The client machine against the server machine, in memory: every protocol, with and without
 * credentials, every kind of address, in pieces of several sizes; and chains of three of any kinds.
 */
#include "proto/accept.h"
#include "proto/connect.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "proto/err.h"
#include "proto/socks5.h"

#define HOPS_MAX 3

static const enum url_scheme schemes[] = {
    URL_SOCKS4, URL_SOCKS4A, URL_SOCKS5, URL_SOCKS5H, URL_HTTP};
static const size_t pieces[] = {1, 2, 3, 7, 64, 100000};
static const char *const targets[] = {
    "192.0.2.1:80", "[2001:db8::1]:443", "example.com:22", "a.b.:65535", "localhost:1"};

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* A pipe with a writer on one side and a reader on the other. */
struct pipe {
	uint8_t data[8192];
	size_t head, tail;
};

/* What stands behind the last proxy says this at once, and is told that. */
static const char early[] = "220 welcome\r\n", payload[] = "HELO there\r\n";

struct world {
	struct url hops[HOPS_MAX];
	size_t n_hops;
	struct addr target, bound;
	size_t piece;
	int verdict;    /* of the last proxy */
	bool wrong;     /* the last proxy knows other credentials */
	bool as_wanted; /* the client reads no more than it is told */
	struct connect client;
	enum connect_event event;
	struct accept proxies[HOPS_MAX];
	size_t active; /* the proxy that the client's bytes reach; n_hops: the target */
	bool cut_off;  /* the active proxy ended */
	struct pipe up, down;
	size_t given_up, given_down; /* how much of each pipe its reader may see */
};

static void pipe_write(struct pipe *p, const void *data, size_t n)
{
	assert_true(n <= sizeof(p->data) - p->tail);
	if (n > 0)
		memcpy(p->data + p->tail, data, n);
	p->tail += n;
}

static const struct addr *asked_of(const struct world *w, size_t hop)
{
	return hop + 1 == w->n_hops ? &w->target : &w->hops[hop + 1].proxy;
}

static void assert_same_addr(const struct addr *a, const struct addr *b)
{
	char x[ADDR_TEXT_MAX], y[ADDR_TEXT_MAX];

	assert_string_equal(addr_format(a, x), addr_format(b, y));
}

static bool is_socks4(enum url_scheme scheme)
{
	return scheme == URL_SOCKS4 || scheme == URL_SOCKS4A;
}

static void judge_request(struct world *w, struct accept *a, struct wire_writer *out)
{
	const struct url *hop = &w->hops[w->active];
	bool last = w->active + 1 == w->n_hops;
	int verdict = last ? w->verdict : ERR_OK;

	assert_int_equal(a->command, COMMAND_CONNECT);
	assert_same_addr(&a->target, asked_of(w, w->active));
	if (is_socks4(hop->scheme)) {
		assert_int_equal(a->claim_len, hop->user_len);
		assert_memory_equal(a->claim, hop->user, hop->user_len);
	} else {
		assert_int_equal(a->method, hop->has_user ? AUTH_PASSWORD : AUTH_NONE);
	}
	accept_reply(a, verdict, &w->bound, out);
	pipe_write(&w->down, out->data, out->len);
	out->len = 0;
	if (verdict != ERR_OK)
		return;
	w->active++;
	if (w->active == w->n_hops)
		pipe_write(&w->down, early, sizeof(early) - 1);
}

static void judge_credentials(struct world *w, struct accept *a, struct wire_writer *out)
{
	const struct url *hop = &w->hops[w->active];

	assert_int_equal(a->user_len, hop->user_len);
	assert_memory_equal(a->user, hop->user, hop->user_len);
	assert_int_equal(a->password_len, hop->password_len);
	assert_memory_equal(a->password, hop->password, hop->password_len);
	accept_auth_result(a, !w->wrong || w->active + 1 < w->n_hops, out);
}

static void run_proxy(struct world *w)
{
	struct accept *a = &w->proxies[w->active];
	struct wire_reader in = wire_reader_of(w->up.data + w->up.head, w->given_up - w->up.head);
	uint8_t answer[ACCEPT_OUTPUT_MAX];
	struct wire_writer out = wire_writer_of(answer, sizeof(answer));
	enum accept_event event;

	do {
		event = accept_step(a, &in, &out);
		if (event == ACCEPT_AUTH)
			judge_credentials(w, a, &out);
	} while (event == ACCEPT_AUTH);
	w->up.head += in.pos;
	if (event == ACCEPT_REQUEST)
		judge_request(w, a, &out);
	assert_false(out.failed);
	pipe_write(&w->down, answer, out.len);
	/* What waits for another try is the end too: this client has no other credentials. */
	w->cut_off = a->state == ACCEPT_AT_END && a->err != ERR_OK;
}

static void run_client(struct world *w)
{
	struct wire_reader in =
	    wire_reader_of(w->down.data + w->down.head, w->given_down - w->down.head);
	uint8_t asked[CONNECT_OUTPUT_MAX];
	struct wire_writer out = wire_writer_of(asked, sizeof(asked));

	w->event = connect_step(&w->client, &in, &out);
	assert_false(out.failed);
	w->down.head += in.pos;
	pipe_write(&w->up, asked, out.len);
	if (w->event == CONNECT_DONE) {
		/* The client does not wait for anything now. */
		pipe_write(&w->up, payload, sizeof(payload) - 1);
		if (w->as_wanted)
			assert_int_equal(w->down.head, w->given_down);
	}
}

static size_t least(size_t a, size_t b)
{
	return a < b ? a : b;
}

/* One side, then the other, until neither has anything to read. */
static void run_world(struct world *w)
{
	run_client(w);
	while (w->event == CONNECT_MORE &&
	       (w->given_up < w->up.tail || w->given_down < w->down.tail)) {
		size_t n = w->piece;

		if (w->given_up < w->up.tail && w->active < w->n_hops && !w->cut_off) {
			w->given_up += least(n, w->up.tail - w->given_up);
			run_proxy(w);
		}
		if (w->given_down == w->down.tail)
			continue;
		if (w->as_wanted)
			n = least(n, w->client.want);
		w->given_down += least(n, w->down.tail - w->given_down);
		run_client(w);
	}
}

static void set_credentials(struct url *hop, const char *user, const char *password)
{
	hop->has_user = user != NULL;
	hop->has_password = password != NULL;
	hop->user_len = user ? (uint8_t)strlen(user) : 0;
	hop->password_len = password ? (uint8_t)strlen(password) : 0;
	memcpy(hop->user, user ? user : "", hop->user_len);
	memcpy(hop->password, password ? password : "", hop->password_len);
}

static void start_world(struct world *w, size_t n_hops, const char *target)
{
	static const char *const proxies[] = {"192.0.2.101:1", "192.0.2.102:2", "192.0.2.103:3"};
	const char *bound = "198.51.100.7:40000";

	memset(w, 0, sizeof(*w));
	w->n_hops = n_hops;
	w->piece = 100000;
	for (size_t i = 0; i < n_hops; i++)
		assert_int_equal(addr_parse(proxies[i], strlen(proxies[i]), &w->hops[i].proxy), 0);
	assert_int_equal(addr_parse(target, strlen(target), &w->target), 0);
	assert_int_equal(addr_parse(bound, strlen(bound), &w->bound), 0);
}

static void play(struct world *w)
{
	for (size_t i = 0; i < w->n_hops; i++) {
		bool password = w->hops[i].has_user && !is_socks4(w->hops[i].scheme);

		accept_init(&w->proxies[i], password ? AUTH_PASSWORD : AUTH_NONE);
	}
	connect_init(&w->client, w->hops, w->n_hops, COMMAND_CONNECT, &w->target);
	run_world(w);
	for (size_t i = 0; i < w->n_hops; i++)
		accept_fini(&w->proxies[i]);
}

static bool can_be_asked(enum url_scheme scheme, const struct addr *target)
{
	if (!is_socks4(scheme))
		return true;
	return target->kind == ADDR_NAME ? scheme == URL_SOCKS4A : ip_is_v4(&target->ip);
}

static void assert_connected(const struct world *w)
{
	assert_int_equal(w->event, CONNECT_DONE);
	assert_int_equal(w->active, w->n_hops);
	if (w->hops[w->n_hops - 1].scheme == URL_HTTP)
		assert_int_equal(w->client.bound.kind, ADDR_NONE);
	else
		assert_same_addr(&w->client.bound, &w->bound);
	/* Nothing of the payload has been taken, on either side. */
	assert_int_equal(w->down.tail - w->down.head, sizeof(early) - 1);
	assert_memory_equal(w->down.data + w->down.head, early, sizeof(early) - 1);
	assert_int_equal(w->up.tail - w->up.head, sizeof(payload) - 1);
	assert_memory_equal(w->up.data + w->up.head, payload, sizeof(payload) - 1);
}

static void play_one(enum url_scheme scheme, bool credentials, const char *target, size_t piece)
{
	static struct world w;

	start_world(&w, 1, target);
	w.hops[0].scheme = scheme;
	w.piece = piece;
	w.as_wanted = piece != 64;
	if (credentials)
		set_credentials(&w.hops[0], "alice", is_socks4(scheme) ? NULL : "s:e\xffret");
	play(&w);
	if (can_be_asked(scheme, &w.target)) {
		assert_connected(&w);
	} else {
		assert_int_equal(w.event, CONNECT_FAILED);
		assert_int_equal(w.client.err, ERR_ADDRESS_TYPE);
		assert_int_equal(w.up.tail, 0);
	}
}

static void one_proxy(void **state)
{
	(void)state;
	for (size_t s = 0; s < COUNT(schemes); s++)
		for (size_t t = 0; t < COUNT(targets); t++)
			for (size_t p = 0; p < COUNT(pieces); p++) {
				play_one(schemes[s], false, targets[t], pieces[p]);
				play_one(schemes[s], true, targets[t], pieces[p]);
			}
}

static void longest_everything(void **state)
{
	char name[ADDR_TEXT_MAX] = "", credential[256];
	size_t n = 0;
	static struct world w;

	(void)state;
	for (int i = 0; i < 50; i++)
		n += (size_t)snprintf(name + n, sizeof(name) - n, "abcd.");
	snprintf(name + n, sizeof(name) - n, "abc:65535");
	memset(credential, 'x', 255);
	credential[255] = '\0';
	for (size_t s = 0; s < COUNT(schemes); s++) {
		start_world(&w, 1, schemes[s] == URL_SOCKS4 ? "192.0.2.1:1" : name);
		w.hops[0].scheme = schemes[s];
		w.piece = 1;
		set_credentials(&w.hops[0], credential, is_socks4(schemes[s]) ? NULL : credential);
		play(&w);
		assert_connected(&w);
	}
}

/* The proxy's reason arrives as the code that its protocol has for it. */
static void refusals(void **state)
{
	static const int verdicts[] = {-ECONNREFUSED, -ENETUNREACH, ERR_DENIED, ERR_NOT_FOUND,
	    ERR_CONNECT_TIMEOUT, ERR_SELF, ERR_UNAVAILABLE, ERR_SHUTDOWN};
	static struct world w;

	(void)state;
	for (size_t s = 0; s < COUNT(schemes); s++)
		for (size_t v = 0; v < COUNT(verdicts); v++)
			for (size_t p = 0; p < COUNT(pieces); p++) {
				int code = err_socks5(verdicts[v]);

				start_world(&w, 1, "192.0.2.1:80");
				w.hops[0].scheme = schemes[s];
				w.piece = pieces[p];
				w.verdict = verdicts[v];
				play(&w);
				if (is_socks4(schemes[s]))
					code = SOCKS4_REJECTED;
				if (schemes[s] == URL_HTTP)
					code = err_http_status(verdicts[v]);
				assert_int_equal(w.event, CONNECT_FAILED);
				assert_int_equal(w.client.err, ERR_PROXY_REPLY);
				assert_int_equal(w.client.code, code);
				assert_int_equal(w.client.stage, CONNECT_AT_REPLY);
			}
}

static void wrong_credentials(void **state)
{
	static const enum url_scheme with_password[] = {URL_SOCKS5, URL_SOCKS5H, URL_HTTP};
	static struct world w;

	(void)state;
	for (size_t s = 0; s < COUNT(with_password); s++)
		for (size_t p = 0; p < COUNT(pieces); p++) {
			start_world(&w, 1, "192.0.2.1:80");
			w.hops[0].scheme = with_password[s];
			w.piece = pieces[p];
			w.wrong = true;
			set_credentials(&w.hops[0], "alice", "");
			play(&w);
			assert_int_equal(w.event, CONNECT_FAILED);
			assert_int_equal(w.client.err, ERR_PROXY_AUTH);
			assert_int_equal(w.active, 0);
		}
}

static void play_chain(const size_t kinds[static HOPS_MAX], const char *target, size_t piece)
{
	static struct world w;

	start_world(&w, HOPS_MAX, target);
	w.piece = piece;
	w.as_wanted = piece != 7;
	for (size_t i = 0; i < HOPS_MAX; i++) {
		w.hops[i].scheme = schemes[kinds[i]];
		if (i == 1)
			set_credentials(
			    &w.hops[i], "bob", is_socks4(w.hops[i].scheme) ? NULL : "pw");
	}
	play(&w);
	if (can_be_asked(w.hops[HOPS_MAX - 1].scheme, &w.target)) {
		assert_connected(&w);
	} else {
		assert_int_equal(w.event, CONNECT_FAILED);
		assert_int_equal(w.client.err, ERR_ADDRESS_TYPE);
		assert_int_equal(w.client.hop, HOPS_MAX - 1);
	}
}

static void chains_of_three(void **state)
{
	size_t kinds[HOPS_MAX];

	(void)state;
	for (size_t n = 0; n < COUNT(schemes) * COUNT(schemes) * COUNT(schemes); n++) {
		kinds[0] = n % COUNT(schemes);
		kinds[1] = n / COUNT(schemes) % COUNT(schemes);
		kinds[2] = n / COUNT(schemes) / COUNT(schemes);
		for (size_t t = 0; t < COUNT(targets); t++)
			for (size_t p = 0; p < COUNT(pieces); p++)
				play_chain(kinds, targets[t], pieces[p]);
	}
}

/* A name that the caller did not check cannot add lines to a request. */
static void bad_names_are_not_sent(void **state)
{
	static const char evil[] = "a\r\nX: y";
	static struct world w;

	(void)state;
	for (size_t s = 0; s < COUNT(schemes); s++) {
		start_world(&w, 1, "example.com:80");
		w.hops[0].scheme = schemes[s];
		memcpy(w.target.name, evil, sizeof(evil));
		w.target.name_len = sizeof(evil) - 1;
		play(&w);
		assert_int_equal(w.event, CONNECT_FAILED);
		assert_int_equal(w.client.err, ERR_NAME);
		assert_int_equal(w.up.tail, 0);
	}
}

/* A URL may not hold these, but a caller may fill in the struct itself. */
static void users_that_cannot_be_sent(void **state)
{
	static const struct {
		enum url_scheme scheme;
		char user[4];
	} cases[] = {
	    {URL_SOCKS4, "a\0b"}, {URL_SOCKS4A, "a\0b"}, {URL_HTTP, "a:b"}, {URL_HTTP, ":ab"}};
	static struct world w;

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		start_world(&w, 1, "192.0.2.1:80");
		w.hops[0].scheme = cases[i].scheme;
		w.hops[0].has_user = true;
		w.hops[0].user_len = 3;
		memcpy(w.hops[0].user, cases[i].user, 3);
		play(&w);
		assert_int_equal(w.event, CONNECT_FAILED);
		assert_int_equal(w.client.err, ERR_PROXY_NO_METHOD);
		assert_int_equal(w.up.tail, 0);
	}
}

/* A proxy that answers what it was not asked makes the machine write for hop after hop. */
static void answers_in_advance_are_bounded(void **state)
{
	static const char ok[] = "HTTP/1.1 200 OK\r\n\r\n";
	struct url hops[HOPS_MAX] = {0};
	uint8_t asked[CONNECT_OUTPUT_MAX];
	char answers[HOPS_MAX * (sizeof(ok) - 1)];
	struct wire_writer out = wire_writer_of(asked, sizeof(asked));
	struct wire_reader in;
	struct connect c;
	char credential[256];

	(void)state;
	memset(credential, 'x', 255);
	credential[255] = '\0';
	for (size_t i = 0; i < HOPS_MAX; i++) {
		hops[i].scheme = URL_HTTP;
		hops[i].proxy = addr_from_ip(&(struct ip){{0x20, 1}}, 80);
		set_credentials(&hops[i], credential, credential);
		memcpy(answers + i * (sizeof(ok) - 1), ok, sizeof(ok) - 1);
	}
	connect_init(&c, hops, HOPS_MAX, COMMAND_CONNECT, &hops[0].proxy);
	in = wire_reader_of(answers, sizeof(answers));
	assert_int_equal(connect_step(&c, &in, &out), CONNECT_FAILED);
	assert_int_equal(c.err, ERR_PROXY_PROTOCOL);
	assert_false(out.failed);
}

/* The failure is where the last thing that was really sent is, not what would have come next. */
static void fails_where_it_stood(void **state)
{
	struct wire_reader in = wire_reader_of("\x05", 1), more = wire_reader_of("\x05\x00", 2);
	uint8_t asked[CONNECT_OUTPUT_MAX];
	struct wire_writer out = wire_writer_of(asked, sizeof(asked));
	static struct world w;
	struct connect c;

	(void)state;
	start_world(&w, 1, "192.0.2.1:80");
	w.hops[0].scheme = URL_SOCKS5;
	connect_init(&c, w.hops, 1, COMMAND_CONNECT, &w.target);
	assert_int_equal(connect_step(&c, &in, &out), CONNECT_MORE);
	assert_int_equal(c.want, 1);
	assert_int_equal(connect_eof(&c, &more), CONNECT_FAILED);
	assert_int_equal(c.err, ERR_PROXY_TRUNCATED);
	assert_int_equal(c.stage, CONNECT_AT_METHOD);
	/* It stays so. */
	assert_int_equal(connect_step(&c, &more, &out), CONNECT_FAILED);
	assert_int_equal(out.len, 3);
}

/* curl reads ten bytes before it looks at any; an address in a failure means nothing anyway. */
static void failures_have_ten_bytes(void **state)
{
	struct addr bound = addr_from_ip(&(struct ip){{0x20, 1}}, 80);
	uint8_t answer[ACCEPT_OUTPUT_MAX];
	struct wire_writer out = wire_writer_of(answer, sizeof(answer));

	(void)state;
	socks5_write_answer(&out, SOCKS5_REFUSED, &bound);
	assert_int_equal(out.len, 10);
	assert_memory_equal(answer, "\x05\x05\x00\x01\x00\x00\x00\x00\x00\x00", 10);
}

/* The machine says nothing and takes nothing while it waits for its caller. */
static void waits_for_the_caller(void **state)
{
	static const uint8_t bytes[] = {
	    5, 1, 2, 1, 1, 'u', 1, 'p', 5, 1, 0, 1, 192, 0, 2, 1, 0, 80, 9};
	struct wire_reader in = wire_reader_of(bytes, sizeof(bytes));
	uint8_t answer[ACCEPT_OUTPUT_MAX];
	struct wire_writer out = wire_writer_of(answer, sizeof(answer));
	struct accept a;

	(void)state;
	accept_init(&a, AUTH_PASSWORD);
	assert_int_equal(accept_step(&a, &in, &out), ACCEPT_AUTH);
	assert_int_equal(in.pos, 8);
	assert_int_equal(accept_step(&a, &in, &out), ACCEPT_MORE);
	assert_int_equal(in.pos, 8);
	accept_auth_result(&a, true, &out);
	assert_int_equal(accept_step(&a, &in, &out), ACCEPT_REQUEST);
	assert_int_equal(in.pos, 18);
	out.len = 0;
	assert_int_equal(accept_step(&a, &in, &out), ACCEPT_MORE);
	accept_auth_result(&a, false, &out);
	assert_int_equal(out.len, 0);
	accept_reply(&a, ERR_OK, NULL, &out);
	assert_int_equal(out.len, 10);
	/* Once is enough. */
	accept_reply(&a, ERR_SHUTDOWN, NULL, &out);
	assert_int_equal(out.len, 10);
	assert_int_equal(a.err, ERR_OK);
	assert_int_equal(accept_step(&a, &in, &out), ACCEPT_END);
	assert_int_equal(in.pos, 18);
}

/* A caller that stops while it checks a password leaves the client with an answer it can read. */
static void stops_while_checking(void **state)
{
	static const uint8_t bytes[] = {5, 1, 2, 1, 1, 'u', 1, 'p'};
	struct wire_reader in = wire_reader_of(bytes, sizeof(bytes));
	uint8_t answer[ACCEPT_OUTPUT_MAX];
	struct wire_writer out = wire_writer_of(answer, sizeof(answer));
	struct accept a;

	(void)state;
	accept_init(&a, AUTH_PASSWORD);
	assert_int_equal(accept_step(&a, &in, &out), ACCEPT_AUTH);
	out.len = 0;
	accept_reply(&a, ERR_HANDSHAKE_TIMEOUT, NULL, &out);
	assert_int_equal(out.len, 2);
	assert_memory_equal(answer, "\x01\x01", 2);
	assert_int_equal(a.password_len, 0);
	assert_int_equal(a.password[0], 0);
}

/* S12: zeros of a SOCKS4 server stand for the address at which it was reached. */
static void zeros_stand_for_the_proxy(void **state)
{
	static const uint8_t zeros[] = {0, 90, 0x75, 0x31, 0, 0, 0, 0};
	static const uint8_t concrete[] = {0, 90, 0x75, 0x31, 198, 51, 100, 1};
	const struct ip proxy = ip_from_v4((const uint8_t[]){203, 0, 113, 7});
	const struct url hop = {.scheme = URL_SOCKS4, .proxy = {.kind = ADDR_IP, .port = 1080}};
	const struct addr target = addr_from_ip(&proxy, 21);
	const uint8_t *answers[] = {zeros, concrete};
	const char *expected[] = {"203.0.113.7:30001", "198.51.100.1:30001"};

	(void)state;
	for (int i = 0; i < 2; i++) {
		uint8_t asked[CONNECT_OUTPUT_MAX];
		struct wire_writer out = wire_writer_of(asked, sizeof(asked));
		struct wire_reader none = wire_reader_of(zeros, 0);
		struct wire_reader in = wire_reader_of(answers[i], sizeof(zeros));
		struct connect c;
		struct addr at;
		char text[ADDR_TEXT_MAX];

		connect_init(&c, &hop, 1, COMMAND_BIND, &target);
		assert_int_equal(connect_step(&c, &none, &out), CONNECT_MORE);
		assert_int_equal(connect_step(&c, &in, &out), CONNECT_DONE);
		at = connect_listens_at(&c, &proxy);
		assert_string_equal(addr_format(&at, text), expected[i]);
	}
}

/* U24: zeros of UDP ASSOCIATE, of either family, stand for the proxy; what cannot be sent to is no
 * success. */
static void where_datagrams_are_sent(void **state)
{
	static const struct {
		uint8_t bytes[24];
		size_t len;
		const char *to; /* NULL: fails */
	} cases[] = {
	    {{5, 0, 5, 0, 0, 1, 0, 0, 0, 0, 0x1f, 0x90}, 12, "203.0.113.7:8080"},
	    {{5, 0, 5, 0, 0, 4, [22] = 0x1f, 0x90}, 24, "203.0.113.7:8080"},
	    {{5, 0, 5, 0, 0, 1, 198, 51, 100, 1, 0x1f, 0x90}, 12, "198.51.100.1:8080"},
	    {{5, 0, 5, 0, 0, 3, 3, 'a', '.', 'b', 0x1f, 0x90}, 12, "a.b:8080"},
	    {{5, 0, 5, 0, 0, 1, 198, 51, 100, 1, 0, 0}, 12, NULL},
	    {{5, 0, 5, 0, 0, 3, 3, 'a', 0, 'b', 0x1f, 0x90}, 12, NULL},
	};
	const struct ip proxy = ip_from_v4((const uint8_t[]){203, 0, 113, 7});
	const struct url hop = {.scheme = URL_SOCKS5, .proxy = {.kind = ADDR_IP, .port = 1080}};
	const struct addr target = {.kind = ADDR_NONE};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		uint8_t asked[2 * CONNECT_OUTPUT_MAX];
		struct wire_writer out = wire_writer_of(asked, sizeof(asked));
		struct wire_reader none = wire_reader_of(asked, 0);
		struct wire_reader in = wire_reader_of(cases[i].bytes, cases[i].len);
		struct connect c;
		struct addr at;
		char text[ADDR_TEXT_MAX];

		connect_init(&c, &hop, 1, COMMAND_UDP, &target);
		assert_int_equal(connect_step(&c, &none, &out), CONNECT_MORE);
		if (!cases[i].to) {
			assert_int_equal(connect_step(&c, &in, &out), CONNECT_FAILED);
			assert_int_equal(c.err, ERR_PROXY_PROTOCOL);
			continue;
		}
		assert_int_equal(connect_step(&c, &in, &out), CONNECT_DONE);
		assert_memory_equal(asked, "\5\1\0\5\3\0\1\0\0\0\0\0\0", 13);
		at = connect_listens_at(&c, &proxy);
		assert_string_equal(addr_format(&at, text), cases[i].to);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(one_proxy),
	    cmocka_unit_test(longest_everything),
	    cmocka_unit_test(refusals),
	    cmocka_unit_test(wrong_credentials),
	    cmocka_unit_test(chains_of_three),
	    cmocka_unit_test(bad_names_are_not_sent),
	    cmocka_unit_test(users_that_cannot_be_sent),
	    cmocka_unit_test(answers_in_advance_are_bounded),
	    cmocka_unit_test(fails_where_it_stood),
	    cmocka_unit_test(failures_have_ten_bytes),
	    cmocka_unit_test(waits_for_the_caller),
	    cmocka_unit_test(stops_while_checking),
	    cmocka_unit_test(zeros_stand_for_the_proxy),
	    cmocka_unit_test(where_datagrams_are_sent),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
