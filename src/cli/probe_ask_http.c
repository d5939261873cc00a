/* SPDX-License-Identifier: MIT */
/* tabi probe speaks HTTP with a proxy: CONNECT, RFC 9110 section 9.3.6. */
#include <stdio.h>
#include <string.h>

#include "cli/probe.h"
#include "proto/http.h"

#define END_OF_CHUNKS "0\r\n\r\n"

size_t ask_write_http(const struct probe *p, uint8_t *buf, const struct addr *to)
{
	const struct url *u = &p->o->proxy;
	struct wire_writer w = wire_writer_of(buf, PROBE_HTTP);
	const struct userpass credentials = {
	    .user_len = u->user_len,
	    .password_len = u->password_len,
	    .user = (const uint8_t *)u->user,
	    .password = (const uint8_t *)u->password,
	};

	http_write_connect(&w, to, u->has_user ? &credentials : NULL);
	return w.len;
}

/* The line is cut out of a request that has it. */
size_t ask_write_credentials(const struct probe *p, char *buf)
{
	static const char field[] = "Proxy-Authorization:";
	const struct addr to = {.kind = ADDR_NAME, .name = "a", .name_len = 1, .port = 1};
	uint8_t request[PROBE_HTTP];
	size_t len = ask_write_http(p, request, &to);
	const uint8_t *line = memmem(request, len, field, sizeof(field) - 1);
	const uint8_t *end = line ? memmem(line, len - (size_t)(line - request), "\r\n", 2) : NULL;

	len = end ? (size_t)(end - line) + 2 : 0;
	if (len > 0)
		memcpy(buf, line, len);
	explicit_bzero(request, sizeof(request));
	return len;
}

void ask_read_http(struct probe *p, struct talk *t, struct attempt *ret)
{
	uint64_t began = talk_clock();
	size_t len;

	*ret = (struct attempt){0};
	do {
		len = talk_left(t);
		head_read(t->in + t->at, len, &ret->head);
		if (ret->head.shape == SHAPE_WHOLE && ret->head.status < 200 &&
		    ret->head.status != 101)
			talk_take(t, ret->head.len);
		else if (ret->head.shape == SHAPE_WHOLE || ret->head.shape == SHAPE_WRONG)
			break;
	} while (talk_left(t) < len || talk_want(t, len + 1, probe_ms(p)) > len);
	ret->ns = talk_clock() - began;
	if (ret->head.shape != SHAPE_WHOLE) {
		ask_no_answer(t, talk_left(t) > 0, ret);
		return;
	}
	talk_take(t, ret->head.len);
	ret->outcome = ret->head.status / 100 == 2 ? OUTCOME_YES : OUTCOME_NO;
	snprintf(ret->seen, sizeof(ret->seen), "status %u", ret->head.status);
}

static bool skip(struct probe *p, struct talk *t, uint64_t length)
{
	while (length > 0) {
		size_t n = talk_want(t, 1, probe_ms(p));

		n = n < length ? n : (size_t)length;
		if (n == 0)
			return false;
		talk_take(t, n);
		length -= n;
	}
	return true;
}

/* Up to what ends them; an answer of a proxy's own is short. */
static bool skip_chunks(struct probe *p, struct talk *t)
{
	size_t len = 0;

	while (talk_want(t, len + 1, probe_ms(p)) > len) {
		const uint8_t *end =
		    memmem(t->in + t->at, talk_left(t), END_OF_CHUNKS, sizeof(END_OF_CHUNKS) - 1);

		len = talk_left(t);
		if (end) {
			talk_take(t, (size_t)(end - t->in) - t->at + sizeof(END_OF_CHUNKS) - 1);
			return true;
		}
	}
	return false;
}

bool ask_skip_body(struct probe *p, struct talk *t, const struct head *head)
{
	if (!head->stays || !head->has_length)
		return false;
	return head->chunked ? skip_chunks(p, t) : skip(p, t, head->length);
}

void ask_http(struct probe *p, struct talk *t, const struct addr *to, struct attempt *ret)
{
	uint8_t request[PROBE_HTTP];
	size_t len;

	if (!ask_dial(p, t)) {
		ask_untried(p, ret);
		return;
	}
	len = ask_write_http(p, request, to);
	talk_send(t, request, len, probe_ms(p));
	explicit_bzero(request, len);
	ask_read_http(p, t, ret);
}
