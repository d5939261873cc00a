/* SPDX-License-Identifier: MIT */
/* The public machine where no vector leads: options, memory, names, GSS-API, datagrams, errors. */
#include "tabi.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

static struct tabi_machine *make(const char *proxies, const struct tabi_options *options)
{
	size_t size = tabi_machine_size(proxies, options);
	struct tabi_machine *m;
	void *memory = malloc(size);

	assert_true(size > 0);
	m = tabi_machine_init(memory, size, proxies, options, NULL);
	assert_non_null(m);
	return m;
}

static void unmake(struct tabi_machine *m)
{
	tabi_machine_wipe(m);
	free(m);
}

static void expect_output(struct tabi_machine *m, const void *bytes, size_t len)
{
	size_t n;
	const void *data;

	assert_int_equal(tabi_step(m), TABI_WANT_WRITE);
	data = tabi_output(m, &n);
	assert_int_equal(n, len);
	assert_memory_equal(data, bytes, len);
	tabi_wrote(m, n);
}

static void feed(struct tabi_machine *m, const void *bytes, size_t len)
{
	assert_int_equal(tabi_input(m, bytes, len), len);
}

static void expect_error(const struct tabi_machine *m, int code, int stage, int hop)
{
	struct tabi_error e;

	assert_int_equal(tabi_step(m), TABI_FAILED);
	tabi_machine_error(m, &e);
	assert_int_equal(e.code, code);
	assert_int_equal(e.stage, stage);
	assert_int_equal(e.hop, hop);
}

/* ---- calls ---- */

static void options_of_other_versions(void **state)
{
	struct {
		struct tabi_options o;
		char more[16];
	} newer = {.o = tabi_options()};
	struct tabi_options o = tabi_options();
	struct tabi_error e;

	(void)state;
	/* None are all defaults, also where they are passed on. */
	unmake(make("socks5://192.0.2.1", NULL));
	newer.o.size = sizeof(newer);
	unmake(make("socks5://192.0.2.1", &newer.o));
	newer.more[15] = 1;
	assert_int_equal(tabi_machine_size("socks5://192.0.2.1", &newer.o), 0);
	/* An older one ends after its size and flags. */
	o.size = sizeof(size_t) + sizeof(unsigned);
	o.names = 77;
	unmake(make("socks5://192.0.2.1", &o));
	o = tabi_options();
	o.flags = 1u << 30;
	assert_null(tabi_machine_init(&o, sizeof(o), "socks5://192.0.2.1", &o, &e));
	assert_int_equal(e.code, TABI_E_ARGUMENT);
	assert_non_null(e.why);
	o = tabi_options();
	o.size = 0;
	assert_int_equal(tabi_machine_size("socks5://192.0.2.1", &o), 0);
}

static void memory_that_will_not_do(void **state)
{
	const char *proxies = "socks5://192.0.2.1";
	size_t size = tabi_machine_size(proxies, NULL);
	char *memory = malloc(size + 1);
	struct tabi_error e;

	(void)state;
	assert_true(size < 26000);
	assert_null(tabi_machine_init(memory, size - 1, proxies, NULL, &e));
	assert_int_equal(e.code, TABI_E_MEMORY);
	assert_null(tabi_machine_init(memory + 1, size, proxies, NULL, &e));
	assert_int_equal(e.code, TABI_E_MEMORY);
	assert_null(tabi_machine_init(NULL, size, proxies, NULL, &e));
	assert_int_equal(e.code, TABI_E_MEMORY);
	free(memory);
}

static void proxies_that_are_none(void **state)
{
	static const struct {
		const char *proxies;
		size_t at;
	} rows[] = {{"", 0}, {"socks9://x", 0}, {"socks5://one.example,socks5://two example", 33}};
	struct tabi_error e;
	char text[300];

	(void)state;
	for (size_t i = 0; i < 3; i++) {
		size_t size = tabi_machine_size(rows[i].proxies, NULL);
		void *memory = malloc(size);

		assert_null(tabi_machine_init(memory, size, rows[i].proxies, NULL, &e));
		assert_int_equal(e.code, TABI_E_ARGUMENT);
		assert_int_equal(e.at, rows[i].at);
		assert_non_null(strstr(tabi_error_text(&e, text, sizeof(text)), "expected"));
		free(memory);
	}
	assert_int_equal(tabi_machine_size("a,,,,,,,,,,,,,,,,,,,", NULL), 0);
	assert_null(tabi_machine_init(NULL, 0, NULL, NULL, NULL));
}

static void a_call_out_of_order_changes_nothing(void **state)
{
	struct tabi_machine *m = make("socks5h://192.0.2.1", NULL);
	struct tabi_credentials c = {.user = "u", .user_len = 1};
	struct tabi_address a;
	size_t n;

	(void)state;
	assert_int_equal(tabi_machine_start(m, TABI_CONNECT, NULL, 80), TABI_E_ARGUMENT);
	assert_int_equal(tabi_machine_start(m, TABI_CONNECT, "a b", 80), TABI_E_ARGUMENT);
	assert_int_equal(tabi_machine_start(m, (enum tabi_command)9, "a", 80), TABI_E_ARGUMENT);
	assert_int_equal(tabi_machine_start(m, TABI_CONNECT, "example.com", 80), 0);
	assert_int_equal(tabi_machine_start(m, TABI_CONNECT, "example.com", 80), TABI_E_STATE);
	assert_int_equal(tabi_machine_credentials(m, 0, &c), TABI_E_STATE);
	assert_int_equal(tabi_step(m), TABI_WANT_CONNECTION);
	assert_int_equal(tabi_input(m, "x", 1), 0);
	assert_int_equal(tabi_wanted(m), 0);
	assert_null(tabi_output(m, &n));
	tabi_wrote(m, 5);
	tabi_tls_started(m);
	tabi_resolved(m, NULL, 0);
	tabi_input_end(m);
	tabi_stalled(m);
	assert_int_equal(tabi_await_peer(m), TABI_E_STATE);
	assert_int_equal(tabi_gss_context(m, 1, "", 0), TABI_E_STATE);
	assert_int_equal(tabi_gss_level(m, "", 0), TABI_E_STATE);
	assert_int_equal(tabi_gss_answer(m, "", 0), TABI_E_STATE);
	tabi_bound(m, &a);
	assert_int_equal(a.family, TABI_NONE);
	assert_int_equal(tabi_step(m), TABI_WANT_CONNECTION);
	unmake(m);
}

static void credentials_by_call(void **state)
{
	struct tabi_machine *m =
	    make("socks5h://u:p@192.0.2.1,http://[2001:db8::1],socks4://c", NULL);
	struct tabi_credentials c = {
	    .user = "alice", .user_len = 5, .password = "secret", .password_len = 6};
	char url[200];

	(void)state;
	assert_int_equal(tabi_machine_credentials(m, 0, &c), 0);
	assert_int_equal(tabi_machine_credentials(m, 2, &c), TABI_E_ARGUMENT);
	assert_int_equal(tabi_machine_credentials(m, 3, &c), TABI_E_ARGUMENT);
	assert_int_equal(tabi_machine_credentials(m, -1, &c), TABI_E_ARGUMENT);
	c.user = "a:b";
	c.user_len = 3;
	assert_int_equal(tabi_machine_credentials(m, 1, &c), TABI_E_ARGUMENT);
	c.user_len = 256;
	assert_int_equal(tabi_machine_credentials(m, 1, &c), TABI_E_ARGUMENT);
	assert_int_equal(tabi_hops(m), 3);
	assert_string_equal(tabi_hop_host(m, 1), "2001:db8::1");
	assert_int_equal(tabi_hop_port(m, 1), 8080);
	assert_string_equal(tabi_hop_url(m, 0, url, sizeof(url)), "socks5h://alice@192.0.2.1:1080");
	assert_string_equal(tabi_hop_url(m, 1, url, 7), "http:/");
	assert_int_equal(tabi_machine_start(m, TABI_CONNECT, "example.com", 80), 0);
	/* By the names that SOCKS4 cannot say the machine is not stopped: the third one asks. */
	assert_int_equal(tabi_step(m), TABI_WANT_RESOLVE);
	tabi_resolved(m, NULL, 0);
	expect_error(m, TABI_E_RESOLVE, TABI_AT_RESOLVE, 2);
	unmake(m);
}

/* ---- names ---- */

static void every_hop_has_its_names_looked_up(void **state)
{
	struct tabi_machine *m = make("socks4://one.example,socks5h://two.example", NULL);
	struct tabi_address a[2];

	(void)state;
	assert_int_equal(tabi_machine_start(m, TABI_CONNECT, "three.example", 80), 0);
	assert_int_equal(tabi_step(m), TABI_WANT_RESOLVE);
	assert_string_equal(tabi_asked_name(m), "two.example");
	/* SOCKS4 takes the one that it can say. */
	tabi_address_set(&a[0], "2001:db8::2", 9);
	tabi_address_set(&a[1], "192.0.2.2", 9);
	tabi_resolved(m, a, 2);
	assert_string_equal(tabi_asked_name(m), "");
	assert_int_equal(tabi_step(m), TABI_WANT_CONNECTION);
	tabi_connected(m);
	expect_output(m, "\4\1\x04\x38\xc0\0\2\2\0", 9);
	/* A certificate would be for the name all the same. */
	assert_string_equal(tabi_hop_host(m, 1), "two.example");
	unmake(m);
}

static void a_name_without_an_address(void **state)
{
	struct tabi_machine *m = make("socks5://one.example", NULL);
	struct tabi_address name;
	struct tabi_error e;
	char text[300];

	(void)state;
	assert_int_equal(tabi_machine_start(m, TABI_CONNECT, "three.example", 80), 0);
	tabi_address_set(&name, "four.example", 0);
	tabi_resolved(m, &name, 1);
	expect_error(m, TABI_E_RESOLVE, TABI_AT_RESOLVE, 0);
	tabi_machine_error(m, &e);
	assert_string_equal(tabi_error_text(&e, text, sizeof(text)),
	    "proxy 1 (socks5://one.example:1080), looking "
	    "up what to ask it for: name has no address");
	assert_string_equal(tabi_error_text(&e, text, 8), "proxy 1");
	unmake(m);
}

/* ---- one flight ---- */

static void a_silent_proxy_is_asked_again_once(void **state)
{
	struct tabi_options o = tabi_options();
	struct tabi_machine *m;

	(void)state;
	o.flags = TABI_ONE_FLIGHT;
	m = make("socks5h://one.example", &o);
	assert_int_equal(tabi_machine_start(m, TABI_CONNECT, "a", 80), 0);
	tabi_connected(m);
	assert_false(tabi_may_stall(m));
	expect_output(m, "\5\1\0\5\1\0\3\1a\0\x50", 11);
	assert_true(tabi_may_stall(m));
	feed(m, "\5\0", 2);
	tabi_stalled(m);
	assert_int_equal(tabi_step(m), TABI_WANT_CONNECTION);
	tabi_connected(m);
	expect_output(m, "\5\1\0", 3);
	assert_false(tabi_may_stall(m));
	tabi_give_up(m, TABI_E_TIMEOUT, ETIMEDOUT);
	expect_error(m, TABI_E_TIMEOUT, TABI_AT_METHOD, 0);
	unmake(m);
}

static void no_second_connection_where_none_is_wanted(void **state)
{
	struct tabi_options o = tabi_options();
	struct tabi_machine *m;

	(void)state;
	o.flags = TABI_ONE_FLIGHT | TABI_NO_RETRY;
	m = make("socks5h://one.example", &o);
	assert_int_equal(tabi_machine_start(m, TABI_CONNECT, "a", 80), 0);
	tabi_connected(m);
	expect_output(m, "\5\1\0\5\1\0\3\1a\0\x50", 11);
	assert_false(tabi_may_stall(m));
	feed(m, "\5\xff", 2);
	expect_error(m, TABI_E_METHOD, TABI_AT_METHOD, 0);
	unmake(m);
}

static void a_long_payload_is_not_copied(void **state)
{
	static char payload[70000];
	struct tabi_options o = tabi_options();
	struct tabi_machine *m;
	size_t n;

	(void)state;
	o.flags = TABI_EARLY_STREAM;
	o.payload = payload;
	o.payload_len = sizeof(payload);
	m = make("socks4a://one.example", &o);
	assert_int_equal(tabi_machine_start(m, TABI_CONNECT, "a", 80), 0);
	tabi_connected(m);
	expect_output(m, "\4\1\0\x50\0\0\0\1\0a\0", 11);
	assert_ptr_equal(tabi_output(m, &n), payload);
	assert_int_equal(n, sizeof(payload));
	tabi_wrote(m, 1000);
	assert_ptr_equal(tabi_output(m, &n), payload + 1000);
	tabi_wrote(m, n);
	feed(m, "\0\x5a\0\0\0\0\0\0", 8);
	assert_int_equal(tabi_step(m), TABI_DONE);
	unmake(m);
}

/* ---- BIND and UDP ASSOCIATE ---- */

static void an_unspecified_address_is_the_proxy(void **state)
{
	struct tabi_machine *m = make("socks5://proxy.example", NULL);
	struct tabi_address reached, a;

	(void)state;
	assert_int_equal(tabi_machine_start(m, TABI_UDP, NULL, 0), 0);
	tabi_connected(m);
	expect_output(m, "\5\1\0", 3);
	feed(m, "\5\0", 2);
	expect_output(m, "\5\3\0\1\0\0\0\0\0\0", 10);
	feed(m, "\5\0\0\1\0\0\0\0\x1f\x90", 10);
	assert_int_equal(tabi_step(m), TABI_DONE);
	tabi_address_set(&reached, "2001:db8::9", 1);
	tabi_listens_at(m, &reached, &a);
	assert_int_equal(a.family, TABI_IPV6);
	assert_int_equal(a.port, 8080);
	tabi_listens_at(m, NULL, &a);
	assert_string_equal(a.name, "proxy.example");
	assert_int_equal(a.port, 8080);
	unmake(m);
}

static void datagrams(void **state)
{
	unsigned char room[TABI_UDP_HEADER_MAX + 4], *begin;
	struct tabi_address to, from;
	const void *payload;

	(void)state;
	memcpy(room + TABI_UDP_HEADER_MAX, "data", 4);
	tabi_address_set(&to, "example.com", 53);
	begin = tabi_udp_wrap(room + TABI_UDP_HEADER_MAX, &to);
	assert_non_null(begin);
	assert_memory_equal(begin, "\0\0\0\3\013example.com\0\065data", 22);
	assert_int_equal(
	    tabi_udp_unwrap(begin, (size_t)(room + sizeof(room) - begin), &from, &payload), 4);
	assert_string_equal(from.name, "example.com");
	assert_ptr_equal(payload, room + TABI_UDP_HEADER_MAX);
	tabi_address_set(&to, "[2001:db8::1]", 53);
	assert_int_equal(tabi_udp_header(room, &to), 22);
	assert_int_equal(tabi_udp_unwrap(room, 21, &from, &payload), TABI_E_PROTOCOL);
	assert_int_equal(tabi_udp_unwrap(room, 22, &from, &payload), 0);
	memset(to.name, 'a', sizeof(to.name));
	to.family = TABI_NAME;
	assert_null(tabi_udp_wrap(room + TABI_UDP_HEADER_MAX, &to));
	to.family = 5;
	assert_int_equal(tabi_udp_header(room, &to), TABI_E_ARGUMENT);
	to.family = TABI_NONE;
	assert_int_equal(tabi_udp_header(room, &to), TABI_E_ARGUMENT);
}

/* ---- GSS-API ---- */

static void gss_with_protection(void **state)
{
	struct tabi_options o = tabi_options();
	struct tabi_machine *m;
	const void *token;
	size_t n;

	(void)state;
	o.gss = TABI_GSS_CONFIDENTIAL;
	m = make("socks5h://one.example", &o);
	assert_int_equal(tabi_machine_start(m, TABI_CONNECT, "a", 80), 0);
	tabi_connected(m);
	expect_output(m, "\5\2\0\1", 4);
	feed(m, "\5\1", 2);
	assert_int_equal(tabi_step(m), TABI_WANT_GSS_CONTEXT);
	(void)tabi_gss_token(m, &n);
	assert_int_equal(n, 0);
	assert_int_equal(tabi_gss_context(m, 0, "ours", 4), 0);
	expect_output(m, "\1\1\0\4ours", 8);
	feed(m, "\1\1\0\6theirs", 10);
	assert_int_equal(tabi_step(m), TABI_WANT_GSS_CONTEXT);
	token = tabi_gss_token(m, &n);
	assert_int_equal(n, 6);
	assert_memory_equal(token, "theirs", 6);
	assert_int_equal(tabi_gss_context(m, 1, NULL, 0), 0);
	assert_int_equal(tabi_step(m), TABI_WANT_GSS_LEVEL);
	assert_int_equal(tabi_gss_octet(m), 2);
	assert_int_equal(tabi_gss_level(m, "W\2", 2), 0);
	expect_output(m, "\1\2\0\2W\2", 6);
	feed(m, "\1\2\0\2W\2", 6);
	assert_int_equal(tabi_step(m), TABI_WANT_GSS_ANSWER);
	token = tabi_gss_token(m, &n);
	assert_memory_equal(token, "W\2", 2);
	assert_int_equal(tabi_gss_answer(m, (const char *)token + 1, 1), 2);
	expect_output(m, "\5\1\0\3\1a\0\x50", 8);
	unmake(m);
}

static void gss_that_fails(void **state)
{
	struct tabi_options o = tabi_options();
	struct tabi_machine *m;

	(void)state;
	o.gss = TABI_GSS_INTEGRITY;
	o.flags = TABI_GSS_NEC;
	m = make("socks5h://one.example", &o);
	assert_int_equal(tabi_machine_start(m, TABI_CONNECT, "a", 80), 0);
	tabi_connected(m);
	expect_output(m, "\5\2\0\1", 4);
	feed(m, "\5\1", 2);
	assert_int_equal(tabi_gss_context(m, 1, "ours", 4), 0);
	expect_output(m, "\1\1\0\4ours", 8);
	feed(m, "\1\1\0\0", 4);
	assert_int_equal(tabi_gss_level(m, "\1", 1), 0);
	expect_output(m, "\1\2\0\1\1", 5);
	feed(m, "\1\2\0\1\0", 5);
	assert_int_equal(tabi_gss_answer(m, "\0", 1), TABI_E_GSS);
	expect_error(m, TABI_E_GSS, TABI_AT_AUTH, 0);
	unmake(m);
}

/* The password is not offered either, and what was not offered is not taken. */
static void gss_and_nothing_else(void **state)
{
	static const struct {
		const char *choice;
		int code;
	} rows[] = {
	    {"\5\0", TABI_E_PROTOCOL}, {"\5\2", TABI_E_PROTOCOL}, {"\5\xff", TABI_E_METHOD}};
	struct tabi_options o = tabi_options();
	static _Alignas(16) char buf[200000];
	struct tabi_machine *m;
	struct tabi_error e;

	(void)state;
	o.flags = TABI_GSS_ONLY | TABI_ONE_FLIGHT;
	assert_null(tabi_machine_init(buf, sizeof(buf), "socks5h://one.example", &o, &e));
	assert_int_equal(e.code, TABI_E_ARGUMENT);
	o.gss = TABI_GSS_INTEGRITY;
	assert_null(tabi_machine_init(buf, sizeof(buf), "socks5h://a,http://one.example", &o, &e));
	assert_int_equal(e.code, TABI_E_ARGUMENT);
	assert_non_null(strstr(e.why, "the last proxy"));
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		m = make("socks5h://user:secret@one.example", &o);
		assert_int_equal(tabi_machine_start(m, TABI_CONNECT, "a", 80), 0);
		tabi_connected(m);
		expect_output(m, "\5\1\1", 3);
		feed(m, rows[i].choice, 2);
		expect_error(m, rows[i].code, TABI_AT_METHOD, 0);
		unmake(m);
	}
}

static void gss_frames(void **state)
{
	unsigned char header[TABI_GSS_FRAME_HEADER];

	(void)state;
	tabi_gss_frame(header, 258);
	assert_memory_equal(header, "\1\3\1\2", 4);
	assert_int_equal(tabi_gss_frame_read(header, 4), 258);
	assert_int_equal(tabi_gss_frame_read("\1\3\0\1x", 5), 1);
	assert_int_equal(tabi_gss_frame_read(header, 3), TABI_E_AGAIN);
	assert_int_equal(tabi_gss_frame_read("\5", 1), TABI_E_PROTOCOL);
}

/* ---- addresses and errors ---- */

static void addresses(void **state)
{
	struct tabi_address a;
	char text[TABI_ADDRESS_TEXT_MAX];

	(void)state;
	assert_string_equal(tabi_version(), PROJECT_VERSION);
	assert_int_equal(tabi_address_set(&a, "::ffff:192.0.2.1", 80), 0);
	assert_int_equal(a.family, TABI_IPV4);
	assert_string_equal(tabi_address_text(&a, text, sizeof(text)), "192.0.2.1:80");
	assert_int_equal(tabi_address_set(&a, "2001:db8::1", 80), 0);
	assert_string_equal(tabi_address_text(&a, text, sizeof(text)), "[2001:db8::1]:80");
	assert_string_equal(tabi_address_text(&a, text, 5), "[200");
	assert_int_equal(tabi_address_set(&a, "127.1", 80), TABI_E_ARGUMENT);
	assert_int_equal(tabi_address_set(&a, "", 80), TABI_E_ARGUMENT);
	assert_int_equal(tabi_address_set(&a, NULL, 80), TABI_E_ARGUMENT);
	memset(&a, 0, sizeof(a));
	assert_string_equal(tabi_address_text(&a, text, sizeof(text)), "-");
}

static void an_error_says_it_all(void **state)
{
	struct tabi_machine *m = make("http://one.example,socks5h://u:secret@two.example", NULL);
	struct tabi_error e;
	char text[300];
	size_t n;

	(void)state;
	assert_int_equal(tabi_machine_start(m, TABI_CONNECT, "a", 80), 0);
	tabi_connected(m);
	(void)tabi_output(m, &n);
	tabi_wrote(m, n);
	feed(m, "HTTP/1.1 200 OK\r\n\r\n", 19);
	(void)tabi_output(m, &n);
	tabi_wrote(m, n);
	feed(m, "\5\0", 2);
	(void)tabi_output(m, &n);
	tabi_wrote(m, n);
	feed(m, "\5\5", 2);
	expect_error(m, TABI_E_REFUSED, TABI_AT_REPLY, 1);
	tabi_machine_error(m, &e);
	assert_int_equal(e.reply, 5);
	assert_int_equal(e.error_number, ECONNREFUSED);
	assert_string_equal(tabi_error_text(&e, text, sizeof(text)),
	    "proxy 2 (socks5h://u@two.example:1080), waiting for its reply: refused: connection "
	    "refused (reply 5)");
	unmake(m);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(options_of_other_versions),
	    cmocka_unit_test(memory_that_will_not_do),
	    cmocka_unit_test(proxies_that_are_none),
	    cmocka_unit_test(a_call_out_of_order_changes_nothing),
	    cmocka_unit_test(credentials_by_call),
	    cmocka_unit_test(every_hop_has_its_names_looked_up),
	    cmocka_unit_test(a_name_without_an_address),
	    cmocka_unit_test(a_silent_proxy_is_asked_again_once),
	    cmocka_unit_test(no_second_connection_where_none_is_wanted),
	    cmocka_unit_test(a_long_payload_is_not_copied),
	    cmocka_unit_test(an_unspecified_address_is_the_proxy),
	    cmocka_unit_test(datagrams),
	    cmocka_unit_test(gss_with_protection),
	    cmocka_unit_test(gss_that_fails),
	    cmocka_unit_test(gss_and_nothing_else),
	    cmocka_unit_test(gss_frames),
	    cmocka_unit_test(addresses),
	    cmocka_unit_test(an_error_says_it_all),
	};

	return cmocka_run_group_tests_name("machine", tests, NULL, NULL);
}
