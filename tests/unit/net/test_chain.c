/* SPDX-License-Identifier: MIT */
#include "net/chain.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>

#include "proto/err.h"

#include "sockets.h"

/*
 * The proxies here say all they have to say as soon as somebody connects. An honest client reads no
 * byte too many of it, and the answers of a whole chain are one after the other.
 */
static struct loop loop;
static struct watch proxy_watch;
static int proxy_fd, accepted_fd;
static const uint8_t *words;
static size_t n_words;
static bool hangs_up;

static int calls, listenings;
static bool cancels_at_listening;
static struct chain *chain;
static struct chain_result result;
static int descriptors;

static void on_connection(struct watch *watch, unsigned events)
{
	(void)events;
	accepted_fd = accept4(watch->fd, NULL, NULL, SOCK_CLOEXEC);
	assert_true(accepted_fd >= 0);
	watch_close(watch, NULL);
	assert_int_equal(send(accepted_fd, words, n_words, 0), n_words);
	if (hangs_up)
		shutdown(accepted_fd, SHUT_WR);
}

static void on_chain(void *ctx, const struct chain_result *r)
{
	assert_ptr_equal(ctx, &loop);
	result = *r;
	calls++;
	if (!r->listening)
		return;
	listenings++;
	if (cancels_at_listening)
		chain_cancel(chain);
}

static int count_descriptors(void)
{
	DIR *dir = opendir("/proc/self/fd");
	int n = 0;

	assert_non_null(dir);
	while (readdir(dir))
		n++;
	closedir(dir);
	return n;
}

static int set_up(void **state)
{
	(void)state;
	calls = listenings = 0;
	cancels_at_listening = hangs_up = false;
	chain = NULL;
	proxy_fd = accepted_fd = -1;
	words = NULL;
	n_words = 0;
	result = (struct chain_result){.fd = -1};
	assert_int_equal(loop_init(&loop), 0);
	descriptors = count_descriptors();
	return 0;
}

static int tear_down(void **state)
{
	const int fds[] = {proxy_fd, accepted_fd, result.fd};

	(void)state;
	layer_free(result.layer);
	for (int i = 0; i < 3; i++)
		if (fds[i] >= 0)
			close(fds[i]);
	assert_int_equal(count_descriptors(), descriptors);
	loop_fini(&loop);
	return loop.watching != 0;
}

/* Between the cases of one test. */
static void again(void **state)
{
	assert_int_equal(tear_down(state), 0);
	set_up(state);
}

/* A proxy that says these bytes; returns its URLs: SCHEME of the first, then `rest`. */
static const char *proxy(
    const char *scheme, const char *rest, const void *says, size_t n, char url[static 200])
{
	uint16_t port = 0;

	words = says;
	n_words = n;
	proxy_fd = bound_socket(1, &port);
	assert_int_equal(listen(proxy_fd, 4), 0);
	assert_int_equal(watch_init(&proxy_watch, &loop, proxy_fd, on_connection), 0);
	watch_set(&proxy_watch, WATCH_READ);
	snprintf(url, 200, "%s127.0.0.1:%u%s", scheme, port, rest);
	return url;
}

static struct chain_options options_of(const char *urls, struct url *hops)
{
	int n = url_parse_chain(urls, strlen(urls), hops, 4, NULL, NULL);
	struct chain_options o = {
	    .hops = hops, .command = COMMAND_CONNECT, .fn = on_chain, .ctx = &loop};

	assert_true(n > 0);
	o.n_hops = (size_t)n;
	assert_int_equal(addr_parse("192.0.2.1:80", 12, &o.target), 0);
	return o;
}

/* loop_run() comes back when nothing is left of the chain: what it forgets would hang here. The
 * hops are wiped at once, for the chain has copied them. */
static void go(struct chain_options *o, struct url *hops)
{
	int err = chain_start(&chain, &loop, o, &result);

	assert_int_equal(calls, 0);
	memset(hops, 0x55, o->n_hops * sizeof(*hops));
	if (err) {
		assert_int_equal(result.err, err);
		if (proxy_fd >= 0)
			watch_close(&proxy_watch, NULL);
	}
	loop_run(&loop);
	assert_int_equal(calls, err ? 0 : listenings + !cancels_at_listening);
}

static void run(const char *urls)
{
	struct url hops[4];
	struct chain_options o = options_of(urls, hops);

	go(&o, hops);
}

static void check_failed(int err, enum chain_stage stage, size_t hop, int code)
{
	assert_int_equal(result.err, err);
	assert_string_equal(chain_stage_name(result.stage), chain_stage_name(stage));
	assert_int_equal(result.hop, hop);
	assert_int_equal(result.code, code);
	assert_int_equal(result.fd, -1);
	assert_null(result.layer);
}

#define S5_NONE "\5\0"
#define S5_OK "\5\0\0\1\x7f\0\0\2\x1f\x90"
#define S5_SAYS(code) "\5" code "\0\1\0\0\0\0\0\0"

#define SAYS(scheme, rest, text) proxy(scheme, rest, text, sizeof(text) - 1, url)

static void check_connected(const char *rest)
{
	char buf[64] = "";

	assert_int_equal(result.err, ERR_OK);
	assert_true(result.fd >= 0);
	assert_int_equal(ip_v4_bytes(&result.proxy)[0], 127);
	assert_int_equal(recv(result.fd, buf, sizeof(buf), 0), strlen(rest));
	assert_string_equal(buf, rest);
}

static void connects(void **state)
{
	char url[200], text[ADDR_TEXT_MAX];

	(void)state;
	run(SAYS("socks5h://", "", S5_NONE S5_OK "early"));
	check_connected("early");
	assert_string_equal(addr_format(&result.bound, text), "127.0.0.2:8080");
}

static void connects_by_http(void **state)
{
	char url[200];

	(void)state;
	run(SAYS("http://u:p@", "", "HTTP/1.1 200 Fine\r\nVia: x\r\n\r\nearly"));
	check_connected("early");
	assert_int_equal(result.bound.kind, ADDR_NONE);
}

static void connects_by_three(void **state)
{
	char url[200];

	(void)state;
	run(SAYS("socks4a://", ",http://192.0.2.7:1,socks5h://a:b@proxy.example:2",
	    "\0\x5a\0\0\0\0\0\0"
	    "HTTP/1.0 200 ok\r\n\r\n"
	    "\5\2\1\0" S5_OK "early"));
	check_connected("early");
}

/* Whose fault something is, and what a client behind us is told. */
static void check_blame(enum chain_blame blame, int err, size_t n_hops)
{
	assert_int_equal(chain_blame(&result, n_hops), blame);
	assert_int_equal(chain_error(&result, n_hops), err);
}

static void target_refused(void **state)
{
	static const struct {
		const char *says;
		int err;
	} cases[] = {
	    {S5_NONE S5_SAYS("\1"), ERR_PROXY_REPLY},
	    {S5_NONE S5_SAYS("\2"), ERR_PROXY_DENIED},
	    {S5_NONE S5_SAYS("\3"), -ENETUNREACH},
	    {S5_NONE S5_SAYS("\4"), -EHOSTUNREACH},
	    {S5_NONE S5_SAYS("\5"), -ECONNREFUSED},
	    {S5_NONE S5_SAYS("\6"), -EHOSTUNREACH},
	    {S5_NONE S5_SAYS("\7"), ERR_COMMAND},
	    {S5_NONE S5_SAYS("\x8"), ERR_ADDRESS_TYPE},
	    {S5_NONE S5_SAYS("\xf0"), ERR_PROXY_REPLY},
	};
	char url[200];

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		again(state);
		run(proxy("socks5h://", "", cases[i].says, 12, url));
		check_failed(ERR_PROXY_REPLY, CHAIN_AT_REPLY, 0, (uint8_t)cases[i].says[3]);
		check_blame(CHAIN_BLAMES_TARGET, cases[i].err, 1);
	}
}

/* What the first of two says of the second is not what the second says of the target. */
static void hop_refused(void **state)
{
	char url[200];

	(void)state;
	run(SAYS("socks5h://", ",socks5h://192.0.2.9:1080", S5_NONE S5_SAYS("\5")));
	check_failed(ERR_PROXY_REPLY, CHAIN_AT_REPLY, 0, 5);
	check_blame(CHAIN_BLAMES_PROXY, ERR_PROXY_UNREACHABLE, 2);
}

static void refused_by_http(void **state)
{
	char url[200];

	(void)state;
	run(SAYS("http://", "", "HTTP/1.1 403 No\r\n"));
	check_failed(ERR_PROXY_REPLY, CHAIN_AT_REPLY, 0, 403);
	check_blame(CHAIN_BLAMES_TARGET, ERR_PROXY_DENIED, 1);
}

static void wants_a_password(void **state)
{
	char url[200];

	(void)state;
	run(SAYS("http://", "", "HTTP/1.1 407 Who\r\n\r\n"));
	check_failed(ERR_PROXY_NO_METHOD, CHAIN_AT_REPLY, 0, 407);
	check_blame(CHAIN_BLAMES_PROXY, ERR_PROXY_NO_METHOD, 1);
}

static void wrong_password(void **state)
{
	char url[200];

	(void)state;
	run(SAYS("socks5h://u:p@", "", "\5\2\1\1"));
	check_failed(ERR_PROXY_AUTH, CHAIN_AT_AUTH, 0, 1);
	check_blame(CHAIN_BLAMES_PROXY, ERR_PROXY_AUTH, 1);
}

static void hangs_up_early(void **state)
{
	char url[200];

	(void)state;
	hangs_up = true;
	run(SAYS("socks5h://", "", "\5"));
	check_failed(ERR_PROXY_TRUNCATED, CHAIN_AT_METHOD, 0, -1);
	check_blame(CHAIN_BLAMES_PROXY, ERR_PROXY_TRUNCATED, 1);
}

/* Behind the request it may have been the destination. */
static void hangs_up_without_an_answer(void **state)
{
	char url[200];

	(void)state;
	hangs_up = true;
	run(SAYS("socks5h://", "", S5_NONE));
	check_failed(ERR_PROXY_TRUNCATED, CHAIN_AT_REPLY, 0, -1);
	check_blame(CHAIN_BLAMES_SILENCE, ERR_PROXY_TRUNCATED, 1);
}

static void is_another_protocol(void **state)
{
	char url[200];

	(void)state;
	run(SAYS("socks5h://", "", "220 mail.example ESMTP\r\n"));
	check_failed(ERR_PROXY_PROTOCOL, CHAIN_AT_METHOD, 0, -1);
	check_blame(CHAIN_BLAMES_PROXY, ERR_PROXY_PROTOCOL, 1);
}

static void nobody_listens(void **state)
{
	struct url hops[4];
	struct chain_options o = options_of("socks5h://127.0.0.1:1", hops);

	(void)state;
	go(&o, hops);
	check_failed(-ECONNREFUSED, CHAIN_AT_DIAL, 0, -1);
	check_blame(CHAIN_BLAMES_PROXY, ERR_PROXY_UNREACHABLE, 1);
}

static void cannot_be_asked(void **state)
{
	char url[200];
	struct url hops[4];
	struct chain_options o = options_of(SAYS("socks4://", "", ""), hops);

	(void)state;
	assert_int_equal(addr_parse("[2001:db8::1]:80", 16, &o.target), 0);
	go(&o, hops);
	check_failed(ERR_ADDRESS_TYPE, CHAIN_AT_REPLY, 0, -1);
	check_blame(CHAIN_BLAMES_REQUEST, ERR_ADDRESS_TYPE, 1);
}

static void silent_proxy(void **state)
{
	char url[200];
	struct url hops[4];
	struct chain_options o = options_of(SAYS("socks5h://", "", "\5"), hops);

	(void)state;
	o.proxy_ms = 30;
	o.whole_ms = 30000;
	go(&o, hops);
	check_failed(ERR_CONNECT_TIMEOUT, CHAIN_AT_METHOD, 0, -1);
	check_blame(CHAIN_BLAMES_PROXY, ERR_PROXY_UNREACHABLE, 1);
}

static void silent_target(void **state)
{
	char url[200];
	struct url hops[4];
	struct chain_options o = options_of(SAYS("socks5h://", "", S5_NONE "\5\0"), hops);

	(void)state;
	o.proxy_ms = 20;
	o.whole_ms = 60;
	go(&o, hops);
	check_failed(ERR_CONNECT_TIMEOUT, CHAIN_AT_REPLY, 0, -1);
	check_blame(CHAIN_BLAMES_TARGET, ERR_CONNECT_TIMEOUT, 1);
}

static bool refuses_all(void *ctx, const struct ip *ip, uint16_t port)
{
	assert_ptr_equal(ctx, &loop);
	assert_int_equal(ip_v4_bytes(ip)[0], 127);
	assert_int_equal(port, 9);
	return true;
}

static void must_not_be_dialled(void **state)
{
	struct url hops[4];
	struct chain_options o = options_of("socks5h://127.0.0.1:9", hops);

	(void)state;
	o.refuses = refuses_all;
	go(&o, hops);
	check_failed(ERR_SELF, CHAIN_AT_DIAL, 0, -1);
	check_blame(CHAIN_BLAMES_PROXY, ERR_SELF, 1);
}

/* A name that somebody here must know: the proxy's, the one behind socks5, and the target's. */
static void names_without_a_resolver(void **state)
{
	static const char *const urls[] = {"socks5h://proxy.example:1",
	    "socks5://127.0.0.1:1,socks5h://proxy.example:1", "socks4://127.0.0.1:1"};
	static const size_t hop[] = {0, 1, 1};

	for (size_t i = 0; i < 3; i++) {
		struct url hops[4];
		struct chain_options o = options_of(urls[i], hops);
		const size_t n_hops = o.n_hops;

		if (i == 2)
			assert_int_equal(addr_parse("a.example:80", 12, &o.target), 0);
		go(&o, hops);
		check_failed(ERR_RESOLVER, CHAIN_AT_RESOLVE, hop[i], -1);
		check_blame(i < 2 ? CHAIN_BLAMES_PROXY : CHAIN_BLAMES_TARGET,
		    i < 2 ? ERR_PROXY_UNREACHABLE : ERR_RESOLVER, n_hops);
	}
	(void)state;
}

static void tls_without_a_context(void **state)
{
	char url[200];

	(void)state;
	run(SAYS("https://", "", ""));
	check_failed(ERR_TLS_HANDSHAKE, CHAIN_AT_TLS, 0, -1);
	check_blame(CHAIN_BLAMES_PROXY, ERR_PROXY_TLS, 1);
}

static void out_of_descriptors(void **state)
{
	(void)state;
	result =
	    (struct chain_result){.err = -EMFILE, .stage = CHAIN_AT_DIAL, .code = -1, .fd = -1};
	check_blame(CHAIN_BLAMES_US, -EMFILE, 1);
}

static void binds(void **state)
{
	char url[200], text[ADDR_TEXT_MAX];
	struct url hops[4];
	struct chain_options o = options_of(
	    SAYS("socks5h://", "", S5_NONE "\5\0\0\1\0\0\0\0\0\x09" S5_OK "early"), hops);

	(void)state;
	o.command = COMMAND_BIND;
	go(&o, hops);
	assert_int_equal(listenings, 1);
	check_connected("early");
	assert_string_equal(addr_format(&result.bound, text), "127.0.0.2:8080");
}

/* The first answer, in which 0.0.0.0 stands for the proxy; and enough of it. */
static void binds_and_cancels(void **state)
{
	char url[200], text[ADDR_TEXT_MAX];
	struct url hops[4];
	struct chain_options o =
	    options_of(SAYS("socks5h://", "", S5_NONE "\5\0\0\1\0\0\0\0\0\x09" S5_OK), hops);

	(void)state;
	o.command = COMMAND_BIND;
	cancels_at_listening = true;
	go(&o, hops);
	assert_int_equal(listenings, 1);
	assert_int_equal(result.fd, -1);
	assert_string_equal(addr_format(&result.bound, text), "127.0.0.1:9");
}

static void associates(void **state)
{
	char url[200], text[ADDR_TEXT_MAX];
	struct url hops[4];
	struct chain_options o =
	    options_of(SAYS("socks5h://", "", S5_NONE "\5\0\0\1\0\0\0\0\0\x09"), hops);

	(void)state;
	o.command = COMMAND_UDP;
	go(&o, hops);
	assert_int_equal(result.err, ERR_OK);
	assert_string_equal(addr_format(&result.bound, text), "127.0.0.1:9");
}

static void on_cancel_timer(struct timer *timer)
{
	chain_cancel(chain);
	timer_close(timer, NULL);
}

/* Whatever is under way: nothing is left, and nobody is told. */
static void cancels(void **state)
{
	static const char *const says[] = {"", "\5", S5_NONE, S5_NONE "\5"};
	static const size_t n[] = {0, 1, 2, 3};
	char url[200];

	for (size_t i = 0; i < 4; i++) {
		struct url hops[4];
		struct chain_options o;
		struct chain_result failed;
		struct timer timer;

		again(state);
		o = options_of(proxy("socks5h://", "", says[i], n[i], url), hops);
		o.whole_ms = 10000;
		assert_int_equal(chain_start(&chain, &loop, &o, &failed), 0);
		timer_init(&timer, &loop, on_cancel_timer);
		timer_start(&timer, 20);
		loop_run(&loop);
		assert_int_equal(calls, 0);
	}
	chain_cancel(NULL);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
	static const struct CMUnitTest tests[] = {
	    TEST(connects),
	    TEST(connects_by_http),
	    TEST(connects_by_three),
	    TEST(target_refused),
	    TEST(hop_refused),
	    TEST(refused_by_http),
	    TEST(wants_a_password),
	    TEST(wrong_password),
	    TEST(hangs_up_early),
	    TEST(hangs_up_without_an_answer),
	    TEST(is_another_protocol),
	    TEST(nobody_listens),
	    TEST(cannot_be_asked),
	    TEST(silent_proxy),
	    TEST(silent_target),
	    TEST(must_not_be_dialled),
	    TEST(names_without_a_resolver),
	    TEST(tls_without_a_context),
	    TEST(out_of_descriptors),
	    TEST(binds),
	    TEST(binds_and_cancels),
	    TEST(associates),
	    TEST(cancels),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
