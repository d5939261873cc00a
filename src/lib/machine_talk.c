/* SPDX-License-Identifier: MIT */
#include "tabi.h"

#include <string.h>

#include "lib/address.h"
#include "lib/error.h"
#include "lib/machine_parts.h"

/* ---- talking ---- */

static void forget_connection(struct tabi_machine *m)
{
	m->in_len = m->in_done = m->out_len = m->out_at = m->payload_at = 0;
}

static void has_failed(struct tabi_machine *m)
{
	struct connect at = m->c;

	if (!(m->options.flags & TABI_NO_RETRY) && connect_retry(&m->c)) {
		forget_connection(m);
		m->want = TABI_WANT_CONNECTION;
		return;
	}
	m->want = TABI_WANT_READ;
	m->c = at;
	machine_fail(m, error_code(at.err), at.code, 0);
}

/* Together with what goes before, where there is room, for that makes one packet. */
static void add_payload(struct tabi_machine *m)
{
	const size_t len = m->options.payload_len;

	if (!m->c.stream_open || m->payload_at > 0 || len > m->out_cap - m->out_len)
		return;
	if (len > 0)
		memcpy(m->out + m->out_len, m->options.payload, len);
	m->out_len += len;
	m->payload_at = len;
}

static void handle(struct tabi_machine *m, enum connect_event event)
{
	switch (event) {
	case CONNECT_MORE:
		m->want = TABI_WANT_READ;
		break;
	case CONNECT_TLS:
		m->want = TABI_WANT_TLS;
		break;
	case CONNECT_GSS_CONTEXT:
		m->want = TABI_WANT_GSS_CONTEXT;
		break;
	case CONNECT_GSS_LEVEL:
		m->want = TABI_WANT_GSS_LEVEL;
		break;
	case CONNECT_GSS_ANSWER:
		m->want = TABI_WANT_GSS_ANSWER;
		break;
	case CONNECT_DONE:
		m->want = TABI_DONE;
		break;
	case CONNECT_FAILED:
		has_failed(m);
		return;
	}
	if (m->command == COMMAND_CONNECT)
		add_payload(m);
}

/* The output before this has been sent. */
static void advance(struct tabi_machine *m)
{
	struct wire_writer out = wire_writer_of(m->out + m->out_len, m->out_cap - m->out_len);
	struct wire_reader in;
	enum connect_event event;

	memmove(m->in, m->in + m->in_done, m->in_len - m->in_done);
	m->in_len -= m->in_done;
	in = wire_reader_of(m->in, m->in_len);
	event = connect_step(&m->c, &in, &out);
	m->in_done = in.pos;
	m->out_len += out.len;
	handle(m, event);
}

static bool has_output(const struct tabi_machine *m)
{
	return m->out_at < m->out_len;
}

static bool has_payload(const struct tabi_machine *m)
{
	return m->command == COMMAND_CONNECT && m->payload_at < m->options.payload_len &&
	       (m->c.stream_open || m->want == TABI_DONE);
}

enum tabi_want tabi_step(const struct tabi_machine *m)
{
	if (m->want == 0)
		return TABI_FAILED;
	if (m->want != TABI_FAILED && m->want != TABI_WANT_CONNECTION &&
	    (has_output(m) || has_payload(m)))
		return TABI_WANT_WRITE;
	return m->want;
}

void tabi_connected(struct tabi_machine *m)
{
	if (m->want == TABI_WANT_CONNECTION)
		advance(m);
}

void tabi_tls_started(struct tabi_machine *m)
{
	if (tabi_step(m) == TABI_WANT_TLS)
		advance(m);
}

const void *tabi_output(const struct tabi_machine *m, size_t *ret_len)
{
	*ret_len = 0;
	if (tabi_step(m) != TABI_WANT_WRITE)
		return NULL;
	if (has_output(m)) {
		*ret_len = m->out_len - m->out_at;
		return m->out + m->out_at;
	}
	*ret_len = m->options.payload_len - m->payload_at;
	return (const uint8_t *)m->options.payload + m->payload_at;
}

void tabi_wrote(struct tabi_machine *m, size_t len)
{
	size_t have;

	(void)tabi_output(m, &have);
	len = len < have ? len : have;
	if (!has_output(m)) {
		m->payload_at += len;
		return;
	}
	m->out_at += len;
	if (m->out_at == m->out_len) {
		/* It may have held a password. */
		explicit_bzero(m->out, m->out_len);
		m->out_at = m->out_len = 0;
	}
}

static size_t room_for_input(const struct tabi_machine *m)
{
	return m->in_cap - (m->in_len - m->in_done);
}

size_t tabi_wanted(const struct tabi_machine *m)
{
	size_t room = room_for_input(m);

	if (tabi_step(m) != TABI_WANT_READ)
		return 0;
	return m->c.want < room ? m->c.want : room;
}

/* The byte that is `back` before the one at `at` of what follows the input; 0 where there is none.
 */
static uint8_t byte_before(
    const struct tabi_machine *m, const uint8_t *data, size_t at, size_t back)
{
	const size_t held = m->in_len - m->in_done;

	if (back <= at)
		return data[at - back];
	return back - at <= held ? m->in[m->in_len - (back - at)] : 0;
}

/*
 * How many bytes of an answer of HTTP are certain: none ends but at the end of its first line, a
 * refusal, or of its first empty one.
 */
static size_t certain_of_http(const struct tabi_machine *m, const uint8_t *data, size_t len)
{
	const bool in_fields = memchr(m->in + m->in_done, '\n', m->in_len - m->in_done) != NULL;

	for (size_t i = 0; i < len; i++) {
		uint8_t before = byte_before(m, data, i, 1);

		if (data[i] != '\n')
			continue;
		if (!in_fields || before == '\n' ||
		    (before == '\r' && byte_before(m, data, i, 2) == '\n'))
			return i + 1;
	}
	return len;
}

/* tabi_wanted() is right for all, but of HTTP it is a byte or two, and who reads an answer by twos
 * reads all of it again for each. */
static size_t certain(const struct tabi_machine *m, const uint8_t *data, size_t len)
{
	const enum url_scheme scheme = m->hops[m->c.hop].scheme;
	const size_t room = room_for_input(m);
	size_t n = tabi_wanted(m);

	if (n > 0 && n < len && (scheme == URL_HTTP || scheme == URL_HTTPS)) {
		n = certain_of_http(m, data, len);
		n = n < room ? n : room;
	}
	return n < len ? n : len;
}

size_t tabi_input(struct tabi_machine *m, const void *data, size_t len)
{
	size_t taken = 0, n;

	while ((n = certain(m, (const uint8_t *)data + taken, len - taken)) > 0) {
		memmove(m->in, m->in + m->in_done, m->in_len - m->in_done);
		m->in_len -= m->in_done;
		m->in_done = 0;
		memcpy(m->in + m->in_len, (const uint8_t *)data + taken, n);
		m->in_len += n;
		taken += n;
		advance(m);
	}
	return taken;
}

static bool is_talking(const struct tabi_machine *m)
{
	return m->want != 0 && m->want != TABI_FAILED && m->want != TABI_DONE &&
	       m->want != TABI_WANT_CONNECTION && m->want != TABI_WANT_RESOLVE;
}

void tabi_input_end(struct tabi_machine *m)
{
	struct wire_reader in;

	if (!is_talking(m))
		return;
	in = wire_reader_of(m->in + m->in_done, m->in_len - m->in_done);
	m->out_len = m->out_at = 0;
	handle(m, connect_eof(&m->c, &in));
}

int tabi_may_stall(const struct tabi_machine *m)
{
	return tabi_step(m) == TABI_WANT_READ && m->c.sent_early && !m->c.bind_answered &&
	       !(m->options.flags & TABI_NO_RETRY);
}

void tabi_stalled(struct tabi_machine *m)
{
	if (tabi_may_stall(m))
		tabi_input_end(m);
}

/* ---- answers ---- */

void tabi_bound(const struct tabi_machine *m, struct tabi_address *ret_address)
{
	const struct addr nothing = {.kind = ADDR_NONE};

	address_from_addr(m->want == TABI_DONE ? &m->c.bound : &nothing, ret_address);
}

static bool is_unspecified(const struct tabi_address *a)
{
	static const unsigned char zeros[16];

	if (a->family == TABI_IPV4)
		return memcmp(a->ip, zeros, 4) == 0;
	return a->family == TABI_IPV6 && memcmp(a->ip, zeros, 16) == 0;
}

void tabi_listens_at(const struct tabi_machine *m, const struct tabi_address *reached,
    struct tabi_address *ret_address)
{
	uint16_t port;

	tabi_bound(m, ret_address);
	if (!is_unspecified(ret_address))
		return;
	port = ret_address->port;
	if (reached)
		*ret_address = *reached;
	else
		(void)tabi_address_set(ret_address, m->hosts[m->n_hops - 1], 0);
	ret_address->port = port;
}

int tabi_await_peer(struct tabi_machine *m)
{
	if (m->want != TABI_DONE || m->command != COMMAND_BIND || m->c.bind_answered)
		return TABI_E_STATE;
	connect_await_peer(&m->c);
	advance(m);
	return 0;
}

/* ---- GSS-API ---- */

const void *tabi_gss_token(const struct tabi_machine *m, size_t *ret_len)
{
	const bool asked = m->want == TABI_WANT_GSS_CONTEXT || m->want == TABI_WANT_GSS_ANSWER;

	*ret_len = asked ? m->c.token_len : 0;
	return m->in + m->in_done - *ret_len;
}

/* What connect_gss_...() wrote is the output, and it goes on from there. */
static void after_gss(struct tabi_machine *m, const struct wire_writer *out)
{
	m->out_len += out->len;
	if (m->c.err == 0 && out->failed)
		tabi_give_up(m, TABI_E_ARGUMENT, 0);
	else
		advance(m);
}

int tabi_gss_context(struct tabi_machine *m, int complete, const void *token, size_t len)
{
	struct wire_writer out = wire_writer_of(m->out + m->out_len, m->out_cap - m->out_len);

	if (tabi_step(m) != TABI_WANT_GSS_CONTEXT)
		return TABI_E_STATE;
	connect_gss_context(&m->c, complete != 0, token, len, &out);
	after_gss(m, &out);
	return m->error.code;
}

unsigned char tabi_gss_octet(const struct tabi_machine *m)
{
	return m->c.gss_level;
}

int tabi_gss_level(struct tabi_machine *m, const void *token, size_t len)
{
	struct wire_writer out = wire_writer_of(m->out + m->out_len, m->out_cap - m->out_len);

	if (tabi_step(m) != TABI_WANT_GSS_LEVEL)
		return TABI_E_STATE;
	connect_gss_level(&m->c, token, len, &out);
	after_gss(m, &out);
	return m->error.code;
}

int tabi_gss_answer(struct tabi_machine *m, const void *octets, size_t len)
{
	int level;

	if (tabi_step(m) != TABI_WANT_GSS_ANSWER)
		return TABI_E_STATE;
	level = connect_gss_answer(&m->c, octets, len);
	advance(m);
	return level < 0 ? m->error.code : level;
}
