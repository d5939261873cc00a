/* SPDX-License-Identifier: MIT */
/* Runs the vectors of the PROXY protocol: each fed whole, byte by byte, and split everywhere. */
#include "proto/proxyproto.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "proto/err.h"
#include "vector.h"

/* What the reader says of the first `len` bytes, as a line of a vector would; "" where it needs
 * more. They lie in a block of their own size, so that a sanitizer sees any read beyond them. */
static void say(const uint8_t *stream, size_t len, char *text, size_t size, size_t *ret_rest)
{
	uint8_t *copy = malloc(len + 1);
	struct wire_reader in;
	struct proxyproto p;
	char from[ADDR_TEXT_MAX], to[ADDR_TEXT_MAX];
	int rc;

	assert_non_null(copy);
	memcpy(copy + 1, stream, len);
	in = wire_reader_of(copy + 1, len);
	rc = proxyproto_read(&in, &p);
	assert_false(in.failed);
	text[0] = '\0';
	if (rc == WIRE_DONE && p.local)
		snprintf(text, size, "done %u local", p.version);
	else if (rc == WIRE_DONE)
		snprintf(text, size, "done %u %s %s", p.version, addr_format(&p.source, from),
		    addr_format(&p.destination, to));
	else if (rc < 0)
		snprintf(text, size, "fail %s", err_word(rc));
	if (rc != WIRE_DONE)
		assert_int_equal(in.pos, 0);
	*ret_rest = wire_left(&in);
	free(copy);
}

static void expect(const struct vector *v, char *text, size_t size)
{
	const struct vector_line *done = vector_find(v, "done", 0);
	const struct vector_line *fail = vector_find(v, "fail", 0);

	text[0] = '\0';
	if (done || fail)
		snprintf(text, size, "%s %s", done ? done->word : fail->word,
		    done ? done->args : fail->args);
	else
		assert_non_null(vector_find(v, "more", 0));
}

/* Nothing is kept between calls, so every prefix is every way in which the bytes may arrive. */
static void every_prefix(void **state)
{
	const struct vector *v = *state;
	const char *rest_line = vector_args(v, "rest", NULL);
	char expected[300], said[300] = "";
	size_t len, rest = 0, at;
	uint8_t *stream = vector_stream(v, ">", &len);

	expect(v, expected, sizeof(expected));
	say(stream, len, said, sizeof(said), &rest);
	assert_string_equal(said, expected);
	if (rest_line)
		assert_int_equal(rest, strtoul(rest_line, NULL, 10));
	/* Once it says something of some bytes, more behind them change nothing. */
	for (at = 0; at < len; at++) {
		say(stream, at, said, sizeof(said), &rest);
		if (said[0] != '\0')
			break;
	}
	for (; at < len; at++) {
		say(stream, at, said, sizeof(said), &rest);
		assert_string_equal(said, expected);
	}
	free(stream);
}

int main(int argc, char **argv)
{
	return vector_run("proxyproto", every_prefix, argc, argv);
}
