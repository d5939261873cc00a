/* SPDX-License-Identifier: MIT */
#include "cli/bench_options.h"

#include <getopt.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define WORDS_MAX (BENCH_TARGETS_MAX + 8)

static struct bench_options o;
static char line[1024];

/* As from a command line of words with one space between them. */
static int read_line(enum bench_kind kind, const char *text)
{
	static char me[] = "tabi bench";
	char *argv[WORDS_MAX] = {me}, *save = NULL;
	int argc = 1;

	snprintf(line, sizeof(line), "%s", text);
	for (char *w = strtok_r(line, " ", &save); w; w = strtok_r(NULL, " ", &save)) {
		assert_true(argc < WORDS_MAX - 1);
		argv[argc++] = w;
	}
	optind = 0; /* begins anew */
	return bench_options_read(&o, kind, argc, argv);
}

static void defaults(void **state)
{
	static const struct {
		enum bench_kind kind;
		const char *name;
		uint64_t connections, size;
	} rows[] = {
	    {BENCH_STREAM, "stream", 1, 65536},
	    {BENCH_RR, "rr", 64, 64},
	    {BENCH_CONNECT, "connect", 32, 64},
	    {BENCH_IDLE, "idle", 1000, 1},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		assert_int_equal(read_line(rows[i].kind, "--direct 127.0.0.1:7000"), -1);
		assert_string_equal(bench_kind_name(rows[i].kind), rows[i].name);
		assert_int_equal(o.kind, rows[i].kind);
		assert_int_equal(o.connections, rows[i].connections);
		assert_int_equal(o.size, rows[i].size);
		assert_int_equal(o.seconds_ms, 10000);
		assert_int_equal(o.warm_up_ms, 1000);
		assert_int_equal(o.n_targets, 1);
		assert_int_equal(o.targets[0].port, 7000);
		assert_true(o.direct);
		assert_false(o.json);
	}
	assert_null(bench_kind_name(BENCH_KINDS));
}

static void all_of_them(void **state)
{
	(void)state;
	assert_int_equal(read_line(BENCH_RR, "-x socks5://127.0.0.1:1081 -c 10 -b 100 -r 5000 "
					     "-s 0.25 -w 0 -p 77 -j target.example:80"),
	    -1);
	assert_false(o.direct);
	assert_int_equal(o.proxy.scheme, URL_SOCKS5);
	assert_int_equal(o.proxy.proxy.port, 1081);
	assert_int_equal(o.connections, 10);
	assert_int_equal(o.size, 100);
	assert_int_equal(o.rate, 5000);
	assert_int_equal(o.seconds_ms, 250);
	assert_int_equal(o.warm_up_ms, 0);
	assert_int_equal(o.pid, 77);
	assert_true(o.json);
	assert_string_equal(o.targets[0].name, "target.example");
	assert_int_equal(read_line(BENCH_STREAM, "h:1 --direct --direction both"), -1);
	assert_int_equal(o.direction, BENCH_BOTH);
	assert_int_equal(read_line(BENCH_STREAM, "h:1 --direct -d up"), -1);
	assert_int_equal(o.direction, BENCH_UP);
}

static void several_targets(void **state)
{
	char text[8 * (BENCH_TARGETS_MAX + 1) + 10] = "--direct";

	(void)state;
	for (unsigned i = 1; i <= BENCH_TARGETS_MAX; i++)
		snprintf(text + strlen(text), sizeof(text) - strlen(text), " h:%u", i);
	assert_int_equal(read_line(BENCH_RR, text), -1);
	assert_int_equal(o.n_targets, BENCH_TARGETS_MAX);
	assert_int_equal(o.targets[BENCH_TARGETS_MAX - 1].port, BENCH_TARGETS_MAX);
	snprintf(text + strlen(text), sizeof(text) - strlen(text), " h:1");
	assert_int_equal(read_line(BENCH_RR, text), 2);
}

/* ps(1) shows what is in argv. */
static void passwords_are_wiped(void **state)
{
	(void)state;
	assert_int_equal(read_line(BENCH_RR, "h:1 -x socks5://alice:secret@127.0.0.1:1080"), -1);
	assert_int_equal(o.proxy.password_len, 6);
	assert_memory_equal(o.proxy.password, "secret", 6);
	for (size_t i = 0; i + 6 <= sizeof(line); i++)
		assert_memory_not_equal(line + i, "secret", 6);
}

static void mistakes(void **state)
{
	static const struct {
		enum bench_kind kind;
		const char *text;
	} rows[] = {
	    {BENCH_RR, ""},
	    {BENCH_RR, "--direct"},
	    {BENCH_RR, "127.0.0.1:7000"},
	    {BENCH_RR, "--direct -x socks5://a h:1"},
	    {BENCH_RR, "--direct h:1 h"},
	    {BENCH_RR, "--direct h"},
	    {BENCH_RR, "--direct h:0"},
	    {BENCH_RR, "-x nonsense://a h:1"},
	    {BENCH_RR, "-x socks5+tls://a h:1"},
	    {BENCH_RR, "-x https://a h:1"},
	    {BENCH_RR, "--direct h:1 -c 0"},
	    {BENCH_RR, "--direct h:1 -c -1"},
	    {BENCH_RR, "--direct h:1 -c 1.5"},
	    {BENCH_RR, "--direct h:1 -c 1e3"},
	    {BENCH_RR, "--direct h:1 -c 0x10"},
	    {BENCH_RR, "--direct h:1 -c ten"},
	    {BENCH_RR, "--direct h:1 -c 100001"},
	    {BENCH_RR, "--direct h:1 -b 1048577"},
	    {BENCH_RR, "--direct h:1 -s 0"},
	    {BENCH_RR, "--direct h:1 -s 1.2.3"},
	    {BENCH_RR, "--direct h:1 -s nan"},
	    {BENCH_RR, "--direct h:1 -s inf"},
	    {BENCH_RR, "--direct h:1 -p 0"},
	    {BENCH_RR, "--direct h:1 -d up"},
	    {BENCH_RR, "--direct h:1 -c 1000 -r 10"},
	    {BENCH_RR, "--direct h:1 --nothing"},
	    {BENCH_STREAM, "--direct h:1 -r 10"},
	    {BENCH_STREAM, "--direct h:1 -d sideways"},
	    {BENCH_CONNECT, "--direct h:1 -r 10"},
	    {BENCH_IDLE, "--direct h:1 -b 10"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		if (read_line(rows[i].kind, rows[i].text) != 2)
			fail_msg("taken: '%s'", rows[i].text);
}

static void help_is_no_mistake(void **state)
{
	(void)state;
	assert_int_equal(read_line(BENCH_RR, "--help"), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(defaults),
	    cmocka_unit_test(all_of_them),
	    cmocka_unit_test(several_targets),
	    cmocka_unit_test(passwords_are_wiped),
	    cmocka_unit_test(mistakes),
	    cmocka_unit_test(help_is_no_mistake),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
