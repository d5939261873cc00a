/* SPDX-License-Identifier: MIT */
#include "net/log.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#define PYTHON "/usr/bin/python3"

static char got[1 << 20];
static size_t got_len;

static int new_file(void)
{
	char path[] = "/tmp/tabi-test-log-XXXXXX";
	int fd = mkstemp(path);

	assert_true(fd >= 0);
	unlink(path);
	assert_int_equal(fcntl(fd, F_SETFL, O_APPEND), 0);
	return fd;
}

static void setup(int fd, bool json, enum log_level level, int worker)
{
	const struct log_options options = {
	    .json = json, .place = LOG_TO_FILE, .fd = fd, .level = level, .worker = worker};

	log_setup(&options);
}

/* What was logged, without the time (whose form is checked) if it is text. */
static const char *logged(int fd, bool json)
{
	ssize_t n = pread(fd, got, sizeof(got) - 1, 0);
	int date[6], ms, used = 0;

	assert_true(n > 0);
	got_len = (size_t)n;
	got[n] = '\0';
	if (json)
		return got;
	assert_int_equal(sscanf(got, "%4d-%2d-%2dT%2d:%2d:%2d.%3dZ %n", &date[0], &date[1],
			     &date[2], &date[3], &date[4], &date[5], &ms, &used),
	    7);
	assert_int_equal(used, 25);
	return got + used;
}

static void text_record(void **state)
{
	struct log_record rec;
	int fd = new_file();

	(void)state;
	setup(fd, false, LOG_AT_INFO, 3);
	log_begin(&rec, LOG_AT_INFO, "session");
	log_text(&rec, "user", "alice");
	log_text(&rec, "rule", NULL);
	log_text(&rec, "empty", "");
	log_text(&rec, "to", "exa mple\"\\");
	log_bytes(&rec, "raw", "\n\x1b\xff\0z", 5);
	log_bytes(&rec, "none", NULL, 0);
	log_number(&rec, "up", UINT64_MAX);
	log_number(&rec, "down", 0);
	log_seconds(&rec, "time", 1007);
	log_seconds(&rec, "short", 0);
	log_end(&rec);
	assert_string_equal(logged(fd, false),
	    "info session worker=3 user=alice empty=\"\" to=\"exa mple\\\"\\\\\" "
	    "raw=\"\\x0a\\x1b\\xff\\x00z\" up=18446744073709551615 down=0 time=1.007 "
	    "short=0.000\n");
	close(fd);
}

static void sentences(void **state)
{
	int fd = new_file();

	(void)state;
	setup(fd, false, LOG_AT_WARN, -1);
	log_say(LOG_AT_INFO, "not shown");
	errno = ENOENT;
	log_say(LOG_AT_WARN, "cannot open \"%s\": %m", "a\nb\\");
	assert_int_equal(errno, ENOENT);
	setup(fd, false, LOG_AT_TRACE, 12);
	log_say(LOG_AT_TRACE, "ready");
	assert_string_equal(strchr(logged(fd, false), '\n') + 1 + 25, "trace worker=12 ready\n");
	*strchr(got, '\n') = '\0';
	assert_string_equal(
	    got + 25, "warn cannot open \"a\\x0ab\\\\\": No such file or directory");
	close(fd);
}

static void level_decides(void **state)
{
	struct log_record rec;
	int fd = new_file();

	(void)state;
	setup(fd, true, LOG_AT_ERROR, 0);
	assert_true(log_enabled(LOG_AT_ERROR));
	assert_false(log_enabled(LOG_AT_WARN));
	log_begin(&rec, LOG_AT_WARN, "session");
	log_text(&rec, "user", "alice");
	log_number(&rec, "up", 1);
	log_end(&rec);
	assert_int_equal(pread(fd, got, sizeof(got), 0), 0);
	close(fd);
}

/* Reads a text value as log.h describes it. Returns where it ends. */
static const char *read_value(const char *p, uint8_t *ret, size_t *ret_len)
{
	bool quoted = *p == '"';
	unsigned byte;

	*ret_len = 0;
	for (p += quoted; *p != (quoted ? '"' : ' ') && *p != '\n'; p++) {
		assert_true(*p >= 0x20 && *p <= 0x7e);
		byte = (uint8_t)*p;
		if (*p == '\\' && p[1] == 'x') {
			assert_int_equal(sscanf(p + 2, "%2x", &byte), 1);
			p += 3;
		} else if (*p == '\\') {
			byte = (uint8_t) * ++p;
		}
		ret[(*ret_len)++] = (uint8_t)byte;
	}
	return p + quoted;
}

static size_t random_bytes(uint8_t *buf, size_t max)
{
	size_t i, n = (size_t)random() % max;
	int kind = (int)random() % 3;

	for (i = 0; i < n; i++)
		buf[i] = (uint8_t)(kind == 0   ? random()
				   : kind == 1 ? "\"\\=\n x"[random() % 6]
					       : 'a' + random() % 26);
	return n;
}

static void text_reads_back(void **state)
{
	uint8_t a[300], b[300], back[300];
	struct log_record rec;
	size_t n, m, len;
	const char *p;
	int i, fd;

	(void)state;
	for (i = 0; i < 3000; i++) {
		fd = new_file();
		setup(fd, false, LOG_AT_INFO, -1);
		n = random_bytes(a, sizeof(a));
		m = random_bytes(b, sizeof(b));
		log_begin(&rec, LOG_AT_INFO, "session");
		log_bytes(&rec, "user", a, n);
		log_bytes(&rec, "to", b, m);
		log_end(&rec);
		p = logged(fd, false);
		assert_ptr_equal(strchr(p, '\n'), got + got_len - 1);
		assert_memory_equal(p, "info session user=", 18);
		p = read_value(p + 18, back, &len);
		assert_int_equal(len, n);
		assert_memory_equal(back, a, n);
		assert_memory_equal(p, " to=", 4);
		p = read_value(p + 4, back, &len);
		assert_int_equal(len, m);
		assert_memory_equal(back, b, m);
		assert_string_equal(p, "\n");
		close(fd);
	}
}

/* Every line must be an object of which python3 reads the same bytes as stand there in hex. */
static void json_reads_back(void **state)
{
	static const char script[] =
	    "import json, sys\n"
	    "n = 0\n"
	    "for line in open(sys.argv[1], 'rb').read().split(b'\\n')[:-1]:\n"
	    "    o = json.loads(line.decode('ascii'))\n"
	    "    assert o['level'] == 'info' and o['worker'] == 7 and len(o['time']) == 24, o\n"
	    "    assert o['event'] == 'session' and o['up'] == 2**64 - 1 and o['time2'] == 0.05\n"
	    "    want = bytes.fromhex(o['hex'])\n"
	    "    have = o['raw'].encode('latin-1')\n"
	    "    assert have == want, (have, want)\n"
	    "    n += 1\n"
	    "assert n == 2000, n\n";
	char hex[2 * 300 + 1], command[2200];
	struct log_record rec;
	int i, fd = new_file();
	uint8_t a[300];
	size_t k, n;

	(void)state;
	setup(fd, true, LOG_AT_INFO, 7);
	for (i = 0; i < 2000; i++) {
		n = random_bytes(a, sizeof(a));
		hex[0] = '\0';
		for (k = 0; k < n; k++)
			snprintf(hex + 2 * k, 3, "%02x", a[k]);
		log_begin(&rec, LOG_AT_INFO, "session");
		log_bytes(&rec, "raw", a, n);
		log_text(&rec, "hex", hex);
		log_number(&rec, "up", UINT64_MAX);
		log_seconds(&rec, "time2", 50);
		log_end(&rec);
	}
	snprintf(command, sizeof(command), PYTHON " -c \"%s\" /dev/fd/%d", script, fd);
	assert_int_equal(system(command), 0);
	close(fd);
}

/* Fields and values of every length around the end of the line. */
static void cut_lines_stay_valid(void **state)
{
	static const char script[] =
	    "import json, sys\n"
	    "n = 0\n"
	    "for line in open(sys.argv[1], 'rb').read().split(b'\\n')[:-1]:\n"
	    "    o = json.loads(line.decode('ascii'))\n"
	    "    whole = o.get('last') == 123456789 and o['v'].strip('\\xff') == ''\n"
	    "    assert whole or '...' in o.get('message', '') or '...' in o['v'] or "
	    "o['more'] == '...', o\n"
	    "    assert len(line) < 4096\n"
	    "    n += 1\n"
	    "assert n == 300 + 2, n\n";
	static uint8_t big[4096];
	struct log_record rec;
	char command[2200];
	int i, fd = new_file();

	(void)state;
	setup(fd, true, LOG_AT_INFO, -1);
	memset(big, 0xff, sizeof(big));
	for (i = 0; i < 300; i++) {
		log_begin(&rec, LOG_AT_INFO, "session");
		log_bytes(&rec, "pad", big, 500);
		log_bytes(&rec, "v", big, (size_t)(i / 2));
		log_text(&rec, "p", i % 2 ? "x" : "xxxxxx");
		log_number(&rec, "last", 123456789);
		log_end(&rec);
		assert_true(rec.len <= PIPE_BUF);
	}
	big[sizeof(big) - 1] = '\0';
	log_say(LOG_AT_INFO, "%s", (char *)big);
	log_begin(&rec, LOG_AT_INFO, "session");
	log_bytes(&rec, "v", big, sizeof(big));
	log_number(&rec, "last", 1);
	log_end(&rec);
	snprintf(command, sizeof(command), PYTHON " -c \"%s\" /dev/fd/%d", script, fd);
	assert_int_equal(system(command), 0);
	close(fd);
}

static void cut_text_is_one_line(void **state)
{
	static uint8_t big[4096];
	struct log_record rec;
	int fd = new_file();
	const char *p;

	(void)state;
	memset(big, ' ', sizeof(big));
	setup(fd, false, LOG_AT_INFO, -1);
	log_begin(&rec, LOG_AT_INFO, "session");
	log_bytes(&rec, "v", big, sizeof(big));
	log_number(&rec, "last", 1);
	log_end(&rec);
	p = logged(fd, false);
	assert_string_equal(p + strlen(p) - 7, "  ...\"\n");
	assert_ptr_equal(strchr(p, '\n') + 1, p + strlen(p));
	close(fd);
}

/* Fills what nobody reads, sees the count grow and no wait, drains it, and reads the count. */
static void drops_are_counted(int reader, int writer)
{
	uint64_t before = log_dropped(), lost;
	char want[40];
	int i;

	setup(writer, false, LOG_AT_INFO, -1);
	for (i = 0; i < 20000; i++)
		log_say(LOG_AT_INFO, "line %d that nobody reads", i);
	lost = log_dropped() - before;
	assert_true(lost > 0 && lost < 20000);
	assert_int_equal(fcntl(reader, F_SETFL, O_NONBLOCK), 0);
	while (read(reader, got, sizeof(got)) > 0)
		;
	log_say(LOG_AT_INFO, "again");
	log_say(LOG_AT_INFO, "and again");
	got_len = 0;
	for (ssize_t n; (n = read(reader, got + got_len, sizeof(got) - 1 - got_len)) > 0;)
		got_len += (size_t)n;
	got[got_len] = '\0';
	snprintf(want, sizeof(want), "info again dropped=%llu\n", (unsigned long long)lost);
	assert_non_null(strstr(got, want));
	assert_non_null(strstr(got, "info and again\n"));
	assert_int_equal(log_dropped() - before, lost);
	close(reader);
	/* A reader that has gone is one more that does not read. */
	log_say(LOG_AT_INFO, "nobody there");
	assert_int_equal(log_dropped() - before, lost + 1);
	close(writer);
}

static void never_blocks_on_a_pipe(void **state)
{
	int fd[2];

	(void)state;
	assert_int_equal(pipe(fd), 0);
	drops_are_counted(fd[0], fd[1]);
}

static void never_blocks_on_a_socket(void **state)
{
	int fd[2];

	(void)state;
	assert_int_equal(socketpair(AF_UNIX, SOCK_DGRAM, 0, fd), 0);
	drops_are_counted(fd[0], fd[1]);
}

/* A full disk (here: a file at its size limit) takes part of a line. When there is room again the
 * next line must not continue it. */
static void torn_line_is_ended(void **state)
{
	uint64_t before = log_dropped();
	struct rlimit full, saved;
	int earlier = new_file(), fd = new_file();

	(void)state;
	setup(earlier, false, LOG_AT_INFO, -1);
	log_say(LOG_AT_INFO, "says what other tests dropped");
	close(earlier);
	assert_int_equal(getrlimit(RLIMIT_FSIZE, &saved), 0);
	full = saved;
	full.rlim_cur = 50;
	setup(fd, false, LOG_AT_INFO, -1);
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &full), 0);
	log_say(LOG_AT_INFO, "whole");
	log_say(LOG_AT_INFO, "torn in the middle");
	log_say(LOG_AT_INFO, "no room at all");
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &saved), 0);
	log_say(LOG_AT_INFO, "room again");
	log_say(LOG_AT_INFO, "and again");
	assert_int_equal(log_dropped() - before, 2);
	logged(fd, false);
	assert_memory_equal(got + 25, "info whole\n", 11);
	assert_memory_equal(got + 50, "\n", 1);
	assert_memory_equal(got + 51 + 25, "info room again dropped=2\n", 26);
	assert_string_equal(got + 51 + 25 + 26 + 25, "info and again\n");
	close(fd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(text_record),
	    cmocka_unit_test(sentences),
	    cmocka_unit_test(level_decides),
	    cmocka_unit_test(text_reads_back),
	    cmocka_unit_test(json_reads_back),
	    cmocka_unit_test(cut_lines_stay_valid),
	    cmocka_unit_test(cut_text_is_one_line),
	    cmocka_unit_test(never_blocks_on_a_pipe),
	    cmocka_unit_test(never_blocks_on_a_socket),
	    cmocka_unit_test(torn_line_is_ended),
	};

	signal(SIGPIPE, SIG_IGN);
	signal(SIGXFSZ, SIG_IGN);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
