/* SPDX-License-Identifier: MIT */
/* Fuzzes cli/replies: the input is what a proxy or a target of tabi probe said. */
#include "fuzz.h"

#include <string.h>

#include "cli/replies.h"

#define LINE_MAX 512

typedef size_t read_fn(const uint8_t *data, size_t len, struct reply *ret_reply);

static void check_one(const uint8_t *data, size_t len, const struct reply *r, size_t want)
{
	CHECK((r->shape == SHAPE_NONE) == (len == 0));
	CHECK((r->shape == SHAPE_WHOLE) == (r->len > 0));
	CHECK(r->len <= len && r->len <= 262);
	CHECK((r->shape == SHAPE_WHOLE) == (r->bound.kind != ADDR_NONE));
	CHECK(r->shape != SHAPE_SHORT || want > len);
	CHECK(r->shape != SHAPE_WHOLE || want == r->len);
	CHECK(len == 0 || r->version == data[0]);
}

/* More bytes may make a short one whole or wrong, and change nothing else. */
static void check_reply(read_fn *read, const uint8_t *data, size_t size)
{
	struct reply before = {.shape = SHAPE_NONE}, now;

	for (size_t len = 0; len <= size && len < 300; len++) {
		size_t want = read(data, len, &now);

		check_one(data, len, &now, want);
		if (before.shape == SHAPE_WHOLE)
			CHECK(now.shape == SHAPE_WHOLE && now.len == before.len);
		if (before.shape == SHAPE_WRONG)
			CHECK(now.shape == SHAPE_WRONG);
		before = now;
	}
}

static void check_line(const uint8_t *data, size_t size)
{
	char text[LINE_MAX + 1];
	struct target_line line;
	size_t n = size < LINE_MAX ? size : LINE_MAX;

	memcpy(text, data, n);
	text[n] = '\0';
	if (!target_line_read(text, &line))
		return;
	CHECK(line.peer.kind == ADDR_NONE || line.peer.kind == ADDR_IP);
	CHECK(memchr(line.end, '\0', sizeof(line.end)) != NULL);
	CHECK(!line.noted || line.end[0] != '\0');
	CHECK(line.received < UINT64_C(1000000000000000000));
}

/* As above: once whole it stays what it is, whatever comes behind. */
static void check_head(const uint8_t *data, size_t size)
{
	struct head before = {.shape = SHAPE_NONE}, now;

	for (size_t len = 0; len <= size && len < 300; len++) {
		head_read(data, len, &now);
		CHECK((now.shape == SHAPE_NONE) == (len == 0));
		CHECK((now.shape == SHAPE_WHOLE) == (now.status > 0));
		CHECK(now.len <= len &&
		      (now.status == 0 || (now.status >= 100 && now.status <= 999)));
		CHECK(now.shape == SHAPE_WHOLE ||
		      (!now.challenge && !now.has_length && now.len == 0));
		if (before.shape == SHAPE_WHOLE)
			CHECK(now.shape == SHAPE_WHOLE && now.len == before.len &&
			      now.status == before.status && now.challenge == before.challenge);
		if (before.shape == SHAPE_WRONG)
			CHECK(now.shape == SHAPE_WRONG);
		before = now;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const uint8_t nothing[1];
	char text[64];

	data = data ? data : nothing;
	check_reply(reply5_read, data, size);
	check_reply(reply4_read, data, size);
	check_line(data, size);
	check_head(data, size);
	for (size_t cap = 8; cap <= sizeof(text); cap++)
		CHECK(strlen(bytes_format(data, size, text, cap)) < cap);
	return 0;
}
