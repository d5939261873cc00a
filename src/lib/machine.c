/* SPDX-License-Identifier: MIT */
/*
 * The public machine: proto/connect with buffers of its own, names to look up before it begins, and
 * errors that can be told.
 *
 * Theory of operation. `want` is what the machine waits for; output that is not sent yet comes
 * before it. proto/connect says how many bytes are certainly its own, and no more than those are
 * ever taken at once. So it makes no difference whether the caller reads by tabi_wanted() or feeds
 * whatever arrived: what is the stream's stays with him.
 */
#include "tabi.h"

#include <limits.h>
#include <string.h>

#include "lib/address.h"
#include "lib/error.h"
#include "lib/options.h"
#include "proto/connect.h"
#include "proto/err.h"
#include "proto/http.h"

/* Of every block in the caller's memory. */
#define ALIGNMENT 16
/* The first flights of several hops, and a payload that is not long. */
#define OUTPUT_MAX ((size_t)2 * CONNECT_OUTPUT_MAX)
#define FORMS_MAX 2
#define HOST_MAX 256

#define TEXT_OF(x) #x
#define VERSION_TEXT(major, minor, patch) TEXT_OF(major) "." TEXT_OF(minor) "." TEXT_OF(patch)

_Static_assert(TABI_UDP_HEADER_MAX == 262, "proto/udp.h says UDP_HEADER_MAX");

struct tabi_machine {
	struct connect c;
	struct tabi_options options;
	enum tabi_want want; /* 0: tabi_machine_start() has not been called */
	struct tabi_error error;
	enum command command;
	struct addr target;
	struct addr forms[FORMS_MAX];
	size_t n_forms;
	size_t looked_up; /* hops whose next one has the form in which it will be asked for */
	size_t n_hops;
	struct url *hops;
	char (*hosts)[HOST_MAX]; /* as they were in the URLs, which look-ups may change */
	char (*name)[HOST_MAX];  /* that is looked up */

	uint8_t *in, *out;
	size_t in_cap, out_cap;
	size_t in_len, in_done; /* those up to in_done were consumed, a token may be among them */
	size_t out_len, out_at;
	size_t payload_at; /* this much of the payload is sent or in `out` */
};

/* ---- memory ---- */

static size_t aligned(size_t n)
{
	return (n + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
}

static size_t count_hops(const char *proxies)
{
	size_t n = 1;

	for (const char *p = proxies; *p; p++)
		n += *p == ',';
	return n;
}

/* Where the parts of a machine lie, from its beginning; the last one is where it ends. */
struct layout {
	size_t hops, hosts, name, in, in_cap, out, out_cap, end;
};

static struct layout layout_of(size_t n_hops, const struct tabi_options *o)
{
	const bool gss = o->gss != TABI_GSS_OFF;
	struct layout l;

	l.in_cap = gss ? CONNECT_INPUT_MAX : HTTP_HEAD_MAX;
	l.out_cap = OUTPUT_MAX + (gss ? GSS_FRAME_MAX : 0);
	l.hops = aligned(sizeof(struct tabi_machine));
	l.hosts = l.hops + aligned(n_hops * sizeof(struct url));
	l.name = l.hosts + n_hops * HOST_MAX;
	l.in = l.name + HOST_MAX;
	l.out = l.in + aligned(l.in_cap);
	l.end = l.out + aligned(l.out_cap);
	return l;
}

size_t tabi_machine_size(const char *proxies, const struct tabi_options *options)
{
	struct tabi_options o;
	size_t n;

	if (!proxies || options_take(options, &o, NULL) != 0)
		return 0;
	n = count_hops(proxies);
	return n <= TABI_HOPS_MAX ? layout_of(n, &o).end : 0;
}

static void write_host(const struct addr *addr, char host[static HOST_MAX])
{
	memset(host, 0, HOST_MAX);
	if (addr->kind == ADDR_IP)
		ip_format(&addr->ip, host);
	else
		memcpy(host, addr->name, addr->name_len);
}

static bool speaks_socks5(enum url_scheme scheme)
{
	return scheme == URL_SOCKS5 || scheme == URL_SOCKS5H || scheme == URL_SOCKS5_TLS;
}

static int read_proxies(struct tabi_machine *m, const char *proxies, struct tabi_error *e)
{
	int n = url_parse_chain(proxies, strlen(proxies), m->hops, m->n_hops, &e->why, &e->at);

	if (n < 0)
		return TABI_E_ARGUMENT;
	for (size_t i = 0; i < m->n_hops; i++)
		write_host(&m->hops[i].proxy, m->hosts[i]);
	e->why = "TABI_GSS_ONLY is about the last proxy, which does not speak SOCKS5";
	if ((m->options.flags & TABI_GSS_ONLY) && !speaks_socks5(m->hops[m->n_hops - 1].scheme))
		return TABI_E_ARGUMENT;
	return 0;
}

struct tabi_machine *tabi_machine_init(void *memory, size_t size, const char *proxies,
    const struct tabi_options *options, struct tabi_error *ret_error)
{
	struct tabi_error e = error_of_call(TABI_E_ARGUMENT, "no proxy was named");
	struct tabi_machine *m = memory;
	struct tabi_options o;
	struct layout l;

	if (!proxies || options_take(options, &o, &e.why) != 0)
		goto failed;
	e.why = "the chain is too long; expected at most 16 proxies";
	if (count_hops(proxies) > TABI_HOPS_MAX)
		goto failed;
	l = layout_of(count_hops(proxies), &o);
	e = error_of_call(TABI_E_MEMORY, NULL);
	if (!memory || size < l.end || (uintptr_t)memory % _Alignof(max_align_t) != 0)
		goto failed;
	memset(m, 0, sizeof(*m));
	m->options = o;
	m->error = error_of_call(TABI_OK, NULL);
	m->n_hops = count_hops(proxies);
	m->hops = (struct url *)(void *)((uint8_t *)memory + l.hops);
	m->hosts = (char(*)[HOST_MAX])((uint8_t *)memory + l.hosts);
	m->name = (char(*)[HOST_MAX])((uint8_t *)memory + l.name);
	m->in = (uint8_t *)memory + l.in;
	m->in_cap = l.in_cap;
	m->out = (uint8_t *)memory + l.out;
	m->out_cap = l.out_cap;
	e = error_of_call(TABI_E_ARGUMENT, NULL);
	if (read_proxies(m, proxies, &e) == 0)
		return m;
failed:
	error_tell(ret_error, &e);
	return NULL;
}

void tabi_machine_wipe(struct tabi_machine *m)
{
	if (m)
		explicit_bzero(m, layout_of(m->n_hops, &m->options).end);
}

/* ---- what it is about ---- */

int tabi_machine_credentials(
    struct tabi_machine *m, int hop, const struct tabi_credentials *credentials)
{
	const struct tabi_credentials *c = credentials;
	struct url *url;

	if (m->want != 0)
		return TABI_E_STATE;
	if (hop < 0 || (size_t)hop >= m->n_hops || c->user_len > URL_CREDENTIAL_MAX ||
	    c->password_len > URL_CREDENTIAL_MAX)
		return TABI_E_ARGUMENT;
	url = &m->hops[hop];
	if ((url->scheme == URL_HTTP || url->scheme == URL_HTTPS) && c->user_len > 0 &&
	    memchr(c->user, ':', c->user_len))
		return TABI_E_ARGUMENT;
	if ((url->scheme == URL_SOCKS4 || url->scheme == URL_SOCKS4A) &&
	    (c->password_len > 0 || (c->user_len > 0 && memchr(c->user, '\0', c->user_len))))
		return TABI_E_ARGUMENT;
	url->has_user = url->has_password = true;
	url->user_len = (uint8_t)c->user_len;
	url->password_len = (uint8_t)c->password_len;
	if (c->user_len > 0)
		memcpy(url->user, c->user, c->user_len);
	if (c->password_len > 0)
		memcpy(url->password, c->password, c->password_len);
	return 0;
}

int tabi_hops(const struct tabi_machine *m)
{
	return (int)m->n_hops;
}

int tabi_hop(const struct tabi_machine *m)
{
	return (int)m->c.hop;
}

static size_t hop_in_range(const struct tabi_machine *m, int hop)
{
	if (hop < 0)
		return 0;
	return (size_t)hop < m->n_hops ? (size_t)hop : m->n_hops - 1;
}

const char *tabi_hop_host(const struct tabi_machine *m, int hop)
{
	return m->hosts[hop_in_range(m, hop)];
}

uint16_t tabi_hop_port(const struct tabi_machine *m, int hop)
{
	return m->hops[hop_in_range(m, hop)].proxy.port;
}

char *tabi_hop_url(const struct tabi_machine *m, int hop, char *buf, size_t cap)
{
	size_t i = hop_in_range(m, hop);
	struct url url = m->hops[i];

	/* By the name that the caller knows. */
	(void)addr_set_host(&url.proxy, m->hosts[i], strlen(m->hosts[i]));
	url_format(&url, buf, cap);
	explicit_bzero(&url, sizeof(url));
	return buf;
}

/* ---- failing ---- */

static enum tabi_stage stage_of(const struct tabi_machine *m)
{
	if (m->want == TABI_WANT_RESOLVE)
		return TABI_AT_RESOLVE;
	if (m->want == TABI_WANT_CONNECTION)
		return TABI_AT_CONNECT;
	switch (m->c.stage) {
	case CONNECT_AT_START:
		return TABI_AT_START;
	case CONNECT_AT_TLS:
		return TABI_AT_TLS;
	case CONNECT_AT_METHOD:
		return TABI_AT_METHOD;
	case CONNECT_AT_REQUEST:
	case CONNECT_AT_REPLY:
		return m->c.bind_answered ? TABI_AT_PEER : TABI_AT_REPLY;
	case CONNECT_AT_END:
		return TABI_AT_STREAM;
	default:
		return TABI_AT_AUTH;
	}
}

static void fail(struct tabi_machine *m, int code, int reply, int number)
{
	const size_t hop = m->want == TABI_WANT_RESOLVE ? m->looked_up : m->c.hop;
	struct tabi_error e = {.code = code,
	    .stage = (int)stage_of(m),
	    .hop = (int)hop,
	    .reply = reply,
	    .error_number = number,
	    .detail = (int)m->hops[hop].scheme};

	if (code == TABI_E_REFUSED)
		e.error_number = error_number_of_reply(e.detail, reply);
	tabi_hop_url(m, (int)hop, e.proxy, sizeof(e.proxy));
	m->error = e;
	m->want = TABI_FAILED;
	m->in_len = m->in_done = m->out_len = m->out_at = 0;
}

void tabi_give_up(struct tabi_machine *m, int code, int error_number)
{
	if (m->want != 0 && m->want != TABI_FAILED)
		fail(m, code < 0 ? code : TABI_E_STATE, -1, error_number);
}

void tabi_machine_error(const struct tabi_machine *m, struct tabi_error *ret_error)
{
	*ret_error = m->error;
}

/* ---- names ---- */

/* What hop `i` is asked for. */
static struct addr *asked_of(struct tabi_machine *m, size_t i)
{
	return i + 1 < m->n_hops ? &m->hops[i + 1].proxy : &m->target;
}

static bool is_looked_up_here(const struct tabi_machine *m, size_t i)
{
	const enum url_scheme scheme = m->hops[i].scheme;

	if (i + 1 == m->n_hops && m->command == COMMAND_RESOLVE)
		return false;
	if (m->options.names != TABI_NAMES_BY_URL)
		return m->options.names == TABI_NAMES_HERE;
	return scheme == URL_SOCKS4 || scheme == URL_SOCKS5;
}

static void begin(struct tabi_machine *m)
{
	static const enum gss_level levels[] = {
	    [TABI_GSS_INTEGRITY] = GSS_LEVEL_INTEGRITY,
	    [TABI_GSS_CONFIDENTIAL] = GSS_LEVEL_CONFIDENTIAL,
	    [TABI_GSS_PER_MESSAGE] = GSS_LEVEL_PER_MESSAGE,
	    [TABI_GSS_CLEAR] = GSS_LEVEL_CLEAR,
	};
	unsigned early = 0;

	connect_init(&m->c, m->hops, m->n_hops, m->command, &m->target);
	if (m->options.gss != TABI_GSS_OFF)
		connect_use_gss(
		    &m->c, levels[m->options.gss], (m->options.flags & TABI_GSS_NEC) != 0);
	if (m->options.flags & TABI_GSS_ONLY)
		connect_demand_gss(&m->c);
	if (m->options.flags & TABI_ONE_FLIGHT)
		early |= CONNECT_EARLY_REQUEST;
	if (m->options.flags & TABI_EARLY_STREAM)
		early |= CONNECT_EARLY_STREAM;
	connect_send_early(&m->c, early);
	connect_set_forms(&m->c, m->forms, m->n_forms);
	m->want = TABI_WANT_CONNECTION;
}

/* The next name that has to be looked up, or the beginning. */
static void look_up_next(struct tabi_machine *m)
{
	for (; m->looked_up < m->n_hops; m->looked_up++) {
		const struct addr *addr = asked_of(m, m->looked_up);

		if (addr->kind != ADDR_NAME || !is_looked_up_here(m, m->looked_up))
			continue;
		write_host(addr, *m->name);
		m->want = TABI_WANT_RESOLVE;
		return;
	}
	begin(m);
}

static enum command command_of(enum tabi_command command)
{
	switch (command) {
	case TABI_CONNECT:
		return COMMAND_CONNECT;
	case TABI_BIND:
		return COMMAND_BIND;
	case TABI_UDP:
		return COMMAND_UDP;
	case TABI_RESOLVE:
		return COMMAND_RESOLVE;
	}
	return COMMAND_NONE;
}

int tabi_machine_start(
    struct tabi_machine *m, enum tabi_command command, const char *host, uint16_t port)
{
	/* Of nobody in particular, in the form that PRO5 fixed. */
	static const uint8_t anybody[4];
	const struct ip none = ip_from_v4(anybody);

	if (m->want != 0)
		return TABI_E_STATE;
	m->command = command_of(command);
	m->target = addr_from_ip(&none, port);
	if (m->command == COMMAND_NONE ||
	    (!host && (command == TABI_CONNECT || command == TABI_RESOLVE)))
		return TABI_E_ARGUMENT;
	if (host && addr_set_host(&m->target, host, strlen(host)) != 0)
		return TABI_E_ARGUMENT;
	look_up_next(m);
	return 0;
}

const char *tabi_asked_name(const struct tabi_machine *m)
{
	return m->want == TABI_WANT_RESOLVE ? *m->name : "";
}

/* The first address from `at` on that is of the same family or of another one. NULL: none. */
static const struct tabi_address *find_family(
    const struct tabi_address *addresses, size_t n, int family, bool same)
{
	for (size_t i = 0; i < n; i++)
		if ((addresses[i].family == TABI_IPV4 || addresses[i].family == TABI_IPV6) &&
		    (addresses[i].family == family) == same)
			return &addresses[i];
	return NULL;
}

static void add_form(struct tabi_machine *m, const struct addr *addr)
{
	if (m->n_forms < FORMS_MAX)
		m->forms[m->n_forms++] = *addr;
}

/*
 * The destination: as its first address, then as its name where nobody minds that it is told, then
 * as an address of the other family.
 */
static void set_target(
    struct tabi_machine *m, const struct tabi_address *first, const struct tabi_address *other)
{
	const struct addr name = m->target;
	struct addr addr;

	(void)address_to_addr(first, &addr);
	m->target = addr;
	m->target.port = name.port;
	if (m->options.names == TABI_NAMES_BY_URL && m->hops[m->n_hops - 1].scheme == URL_SOCKS5)
		add_form(m, &name);
	if (other) {
		(void)address_to_addr(other, &addr);
		addr.port = name.port;
		add_form(m, &addr);
	}
}

void tabi_resolved(struct tabi_machine *m, const struct tabi_address *addresses, size_t n)
{
	const struct tabi_address *first, *other;
	struct addr *asked;
	uint16_t port;

	if (m->want != TABI_WANT_RESOLVE)
		return;
	asked = asked_of(m, m->looked_up);
	first = find_family(addresses, n, TABI_NAME, false);
	/* It cannot name the other ones. */
	if (m->hops[m->looked_up].scheme == URL_SOCKS4)
		first = find_family(addresses, n, TABI_IPV4, true);
	if (!first) {
		fail(m, TABI_E_RESOLVE, -1, 0);
		return;
	}
	other = find_family(addresses, n, first->family, false);
	if (asked == &m->target) {
		set_target(m, first, other);
	} else {
		port = asked->port;
		(void)address_to_addr(first, asked);
		asked->port = port;
	}
	m->looked_up++;
	look_up_next(m);
}

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
	fail(m, error_code(at.err), at.code, 0);
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

const char *tabi_version(void)
{
	return VERSION_TEXT(TABI_VERSION_MAJOR, TABI_VERSION_MINOR, TABI_VERSION_PATCH);
}
