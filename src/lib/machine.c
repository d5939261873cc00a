/* SPDX-License-Identifier: MIT */
#include "tabi.h"

#include <limits.h>
#include <string.h>

#include "lib/address.h"
#include "lib/error.h"
#include "lib/machine_parts.h"
#include "lib/options.h"
#include "proto/http.h"

/* Of every block in the caller's memory. */
#define ALIGNMENT 16
/* The first flights of several hops, and a payload that is not long. */
#define OUTPUT_MAX ((size_t)2 * CONNECT_OUTPUT_MAX)

#define TEXT_OF(x) #x
#define VERSION_TEXT(major, minor, patch) TEXT_OF(major) "." TEXT_OF(minor) "." TEXT_OF(patch)

_Static_assert(TABI_UDP_HEADER_MAX == 262, "proto/udp.h says UDP_HEADER_MAX");

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

void machine_fail(struct tabi_machine *m, int code, int reply, int number)
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
		machine_fail(m, code < 0 ? code : TABI_E_STATE, -1, error_number);
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
		machine_fail(m, TABI_E_RESOLVE, -1, 0);
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

const char *tabi_version(void)
{
	return VERSION_TEXT(TABI_VERSION_MAJOR, TABI_VERSION_MINOR, TABI_VERSION_PATCH);
}
