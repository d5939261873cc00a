/* SPDX-License-Identifier: MIT */
#include "proto/connect.h"

#include <string.h>

#include "proto/connect_gss.h"
#include "proto/err.h"
#include "proto/http.h"
#include "proto/mcast.h"
#include "proto/socks4.h"
#include "proto/socks5.h"
#include "proto/userpass.h"

/*
 * A hop is a small state machine of its own, and the chain is that machine begun anew over the same
 * bytes: what the previous proxy relays looks just like a connection to the next one. Nothing of a
 * message is kept between steps, so pieces do not matter.
 *
 * `want` counts the bytes that are certainly still part of the proxy's answer. For SOCKS that is
 * known to the byte; of HTTP only the shortest end is, so it is read by one or two bytes at a time.
 */

/*
 * No hop writes more than this in all; the longest is an HTTP request with credentials of 255 bytes
 * each. An honest proxy never makes one step write for two hops, for it cannot answer what it has
 * not been asked; one that tries must not overrun the writer.
 */
#define HOP_OUTPUT_MAX 1400

void connect_init(struct connect *c, const struct url *hops, size_t n_hops, enum command command,
    const struct addr *target)
{
	memset(c, 0, sizeof(*c));
	c->hops = hops;
	c->n_hops = n_hops;
	c->command = command;
	c->target = *target;
	c->stage = CONNECT_AT_START;
	c->code = -1;
}

static const struct url *hop_of(const struct connect *c)
{
	return &c->hops[c->hop];
}

static bool is_last(const struct connect *c)
{
	return c->hop + 1 == c->n_hops;
}

/* All hops but the last are asked for a connection to the next one. */
static enum command hop_command(const struct connect *c)
{
	return is_last(c) ? c->command : COMMAND_CONNECT;
}

/*
 * Names are checked here although their makers should have done so: a line end in one would end the
 * request line of HTTP, a NUL the string of SOCKS4A.
 */
static int hop_target(const struct connect *c, struct addr *ret_target)
{
	const struct addr *t = is_last(c) ? &c->target : &c->hops[c->hop + 1].proxy;
	enum command command = hop_command(c);

	*ret_target = *t;
	if (t->kind == ADDR_NAME)
		return addr_set_host(ret_target, t->name, t->name_len);
	if (t->kind == ADDR_NONE && command != COMMAND_BIND && command != COMMAND_UDP &&
	    command != COMMAND_MULTICAST)
		return ERR_ADDRESS;
	return 0;
}

/* Either is enough: RFC 1929 and Basic can say an empty user, and servers that take one exist. */
static bool has_credentials(const struct url *hop)
{
	return hop->has_user || hop->has_password;
}

static struct userpass credentials_of(const struct url *hop)
{
	return (struct userpass){
	    .user_len = hop->has_user ? hop->user_len : 0,
	    .password_len = hop->has_password ? hop->password_len : 0,
	    .user = (const uint8_t *)hop->user,
	    .password = (const uint8_t *)hop->password,
	};
}

/* How the address is written is also what is asked for: 0.0.0.x would announce a name. */
static int socks4_set_target(
    struct socks4_request *q, const struct addr *target, enum url_scheme scheme)
{
	q->port = target->port;
	if (target->kind == ADDR_NAME) {
		if (scheme != URL_SOCKS4A)
			return ERR_ADDRESS_TYPE;
		q->named = true;
		q->ip[3] = 1;
		q->name = (const uint8_t *)target->name;
		q->name_len = target->name_len;
	} else if (target->kind == ADDR_IP) {
		if (!ip_is_v4(&target->ip))
			return ERR_ADDRESS_TYPE;
		memcpy(q->ip, ip_v4_bytes(&target->ip), sizeof(q->ip));
		if (q->ip[0] == 0 && q->ip[1] == 0 && q->ip[2] == 0 && q->ip[3] != 0)
			return ERR_ADDRESS;
	}
	return 0;
}

static int start_socks4(struct connect *c, const struct addr *target, struct wire_writer *out)
{
	static const uint8_t codes[] = {
	    [COMMAND_CONNECT] = SOCKS4_CONNECT,
	    [COMMAND_BIND] = SOCKS4_BIND,
	    [COMMAND_UDP] = 0,
	    [COMMAND_RESOLVE] = SOCKS4_RESOLVE,
	    [COMMAND_MULTICAST] = 0,
	};
	const struct userpass user = credentials_of(hop_of(c));
	struct socks4_request q = {
	    .command = codes[hop_command(c)],
	    .user = user.user,
	    .user_len = user.user_len,
	};
	int rc;

	/* SOCKS4 cannot ask for the name of an address. */
	if (q.command == 0 || (q.command == SOCKS4_RESOLVE && target->kind == ADDR_IP))
		return ERR_COMMAND;
	/* The USERID ends at its first NUL. */
	if (memchr(user.user, 0, user.user_len))
		return ERR_PROXY_NO_METHOD;
	rc = socks4_set_target(&q, target, hop_of(c)->scheme);
	if (rc != 0)
		return rc;
	socks4_write_request(out, &q);
	c->stage = CONNECT_AT_REPLY;
	return WIRE_DONE;
}

static bool is_socks5(const struct url *hop)
{
	return hop->scheme == URL_SOCKS5 || hop->scheme == URL_SOCKS5H ||
	       hop->scheme == URL_SOCKS5_TLS;
}

/* Does the hop get greeting, authentication and request at once? */
static bool in_one_flight(const struct connect *c)
{
	return (c->early & CONNECT_EARLY_REQUEST) && !c->gss && is_socks5(hop_of(c));
}

static uint8_t expected_method(const struct connect *c)
{
	return has_credentials(hop_of(c)) ? SOCKS5_METHOD_PASSWORD : SOCKS5_METHOD_NONE;
}

/* RESOLVE of an address asks for its name: the other way round there is nothing to resolve. */
static uint8_t socks5_code(enum command command, const struct addr *target)
{
	switch (command) {
	case COMMAND_BIND:
		return SOCKS5_BIND;
	case COMMAND_UDP:
		return SOCKS5_UDP_ASSOCIATE;
	case COMMAND_MULTICAST:
		return SOCKS5_ENHANCED_UDP;
	case COMMAND_RESOLVE:
		return target->kind == ADDR_IP ? SOCKS5_RESOLVE_PTR : SOCKS5_RESOLVE;
	case COMMAND_CONNECT:
	case COMMAND_NONE:
		break;
	}
	return SOCKS5_CONNECT;
}

static int ask_socks5(struct connect *c, struct wire_writer *out)
{
	struct addr target;
	int rc = hop_target(c, &target);

	if (rc != 0)
		return rc;
	socks5_write_request(out, socks5_code(hop_command(c), &target), &target);
	c->stage = CONNECT_AT_REPLY;
	return WIRE_DONE;
}

/* The one method offered is the one that is then spoken, or the proxy refuses. */
static int start_at_once(struct connect *c, struct wire_writer *out)
{
	const struct userpass credentials = credentials_of(hop_of(c));
	const uint8_t method = expected_method(c);
	int rc;

	socks5_write_greeting(out, &method, 1);
	if (method == SOCKS5_METHOD_PASSWORD)
		userpass_write_request(out, &credentials);
	rc = ask_socks5(c, out);
	c->sent_early = true;
	c->stage = CONNECT_AT_METHOD;
	return rc;
}

static bool demands_gss(const struct connect *c)
{
	return c->gss && c->gss_demanded && c->hop + 1 == c->n_hops;
}

/* "None" is offered beside the password: a proxy that asks for none should not have to refuse. */
static int start_socks5(struct connect *c, struct wire_writer *out)
{
	uint8_t methods[3], n = 0;

	if (in_one_flight(c))
		return start_at_once(c, out);
	if (!demands_gss(c))
		methods[n++] = SOCKS5_METHOD_NONE;
	if (c->gss)
		methods[n++] = SOCKS5_METHOD_GSSAPI;
	if (has_credentials(hop_of(c)) && !demands_gss(c))
		methods[n++] = SOCKS5_METHOD_PASSWORD;
	socks5_write_greeting(out, methods, n);
	c->gss_rounds = 0;
	c->gss_complete = c->gss_skipped = false;
	c->stage = CONNECT_AT_METHOD;
	return WIRE_DONE;
}

static int start_http(struct connect *c, const struct addr *target, struct wire_writer *out)
{
	const struct userpass credentials = credentials_of(hop_of(c));

	if (hop_command(c) != COMMAND_CONNECT)
		return ERR_COMMAND;
	/* Basic ends the user at the first colon. */
	if (memchr(credentials.user, ':', credentials.user_len))
		return ERR_PROXY_NO_METHOD;
	http_write_connect(out, target, has_credentials(hop_of(c)) ? &credentials : NULL);
	c->stage = CONNECT_AT_REPLY;
	return WIRE_DONE;
}

static int say_first(struct connect *c, struct wire_writer *out)
{
	struct addr target;
	int rc;

	rc = hop_target(c, &target);
	if (rc != 0)
		return rc;
	switch (hop_of(c)->scheme) {
	case URL_SOCKS4:
	case URL_SOCKS4A:
		return start_socks4(c, &target, out);
	case URL_SOCKS5:
	case URL_SOCKS5H:
	case URL_SOCKS5_TLS:
		return start_socks5(c, out);
	case URL_HTTP:
	case URL_HTTPS:
		return start_http(c, &target, out);
	}
	return ERR_PROXY_PROTOCOL;
}

static bool has_room(const struct wire_writer *out)
{
	return out->cap - out->len >= HOP_OUTPUT_MAX;
}

/* After what was said to the hop first, has it been asked for what follows it? HTTP does not count.
 */
static bool is_asked_at_once(const struct connect *c)
{
	const struct url *hop = hop_of(c);

	return in_one_flight(c) || hop->scheme == URL_SOCKS4 || hop->scheme == URL_SOCKS4A;
}

/*
 * This hop, which speaks SOCKS, has been asked: what is for those behind it, as far as that can be
 * said now. Whatever cannot is left for the hop's own turn, its failure too.
 */
static void go_ahead(struct connect *c, struct wire_writer *out)
{
	const enum connect_stage stage = c->stage;
	const size_t hop = c->hop;
	bool asked = (c->early & CONNECT_EARLY_STREAM) && !c->gss;

	while (asked && !is_last(c) && !url_wants_tls(&c->hops[c->hop + 1]) && has_room(out)) {
		c->hop++;
		if (say_first(c, out) < 0)
			break;
		c->ahead = c->hop + 1;
		c->sent_early = true;
		asked = is_asked_at_once(c);
	}
	if (asked && c->ahead == c->n_hops && is_last(c) && c->command == COMMAND_CONNECT)
		c->stream_open = c->sent_early = true;
	c->hop = hop;
	c->stage = stage;
}

static bool next_form(struct connect *c)
{
	if (c->n_forms == 0)
		return false;
	c->target = *c->forms++;
	c->n_forms--;
	return true;
}

static int start_hop(struct connect *c, struct wire_writer *out)
{
	int rc;

	if (c->hop < c->ahead) {
		c->stage = is_socks5(hop_of(c)) ? CONNECT_AT_METHOD : CONNECT_AT_REPLY;
		return WIRE_DONE;
	}
	if (!has_room(out))
		return ERR_PROXY_PROTOCOL;
	do
		rc = say_first(c, out);
	while (rc == ERR_ADDRESS_TYPE && is_last(c) && next_form(c));
	if (rc < 0)
		return rc;
	c->ahead = c->hop + 1;
	if (is_asked_at_once(c))
		go_ahead(c, out);
	return WIRE_DONE;
}

/* The method is settled. */
static int ask_after_all(struct connect *c, struct wire_writer *out)
{
	int rc = ask_socks5(c, out);

	if (rc == WIRE_DONE)
		go_ahead(c, out);
	return rc;
}

/* What is still to come of a message of fixed size. */
static int more(struct connect *c, const struct wire_reader *in, size_t whole)
{
	c->want = whole - wire_left(in);
	return WIRE_MORE;
}

static int refused(struct connect *c, int err, int code)
{
	c->code = code;
	return err;
}

/* The rest has been said already. */
static int was_expected(struct connect *c, uint8_t method)
{
	if (method != expected_method(c))
		return ERR_PROXY_PROTOCOL;
	c->stage = method == SOCKS5_METHOD_PASSWORD ? CONNECT_AT_AUTH : CONNECT_AT_REPLY;
	return WIRE_DONE;
}

static int step_method(struct connect *c, struct wire_reader *in, struct wire_writer *out)
{
	const struct userpass credentials = credentials_of(hop_of(c));
	uint8_t method;
	int rc;

	rc = socks5_read_choice(in, &method);
	if (rc == WIRE_MORE)
		return more(c, in, 2);
	if (rc < 0)
		return ERR_PROXY_PROTOCOL;
	if (method == SOCKS5_METHOD_UNACCEPTABLE)
		return refused(c, ERR_PROXY_NO_METHOD, method);
	if (in_one_flight(c))
		return was_expected(c, method);
	if (method == SOCKS5_METHOD_NONE && !demands_gss(c))
		return ask_after_all(c, out);
	if (method == SOCKS5_METHOD_GSSAPI && c->gss) {
		c->stage = CONNECT_WAITS_GSS_CONTEXT;
		return WIRE_DONE;
	}
	/* A method that was not offered, which RFC 1928 does not let it choose. */
	if (method != SOCKS5_METHOD_PASSWORD || !has_credentials(hop_of(c)) || demands_gss(c))
		return ERR_PROXY_PROTOCOL;
	userpass_write_request(out, &credentials);
	c->stage = CONNECT_AT_AUTH;
	return WIRE_DONE;
}

/* Any status but 0 is a failure (RFC 1929 section 2). */
static int step_auth(struct connect *c, struct wire_reader *in, struct wire_writer *out)
{
	uint8_t status;
	int rc;

	rc = userpass_read_answer(in, &status);
	if (rc == WIRE_MORE)
		return more(c, in, 2);
	if (rc < 0)
		return ERR_PROXY_PROTOCOL;
	if (status != USERPASS_OK)
		return refused(c, ERR_PROXY_AUTH, status);
	if (!in_one_flight(c))
		return ask_after_all(c, out);
	c->stage = CONNECT_AT_REPLY;
	return WIRE_DONE;
}

static int step_socks4_reply(struct connect *c, struct wire_reader *in, struct addr *ret_bound)
{
	struct socks4_answer a;
	struct ip ip;
	int rc;

	rc = socks4_read_answer(in, &a);
	if (rc == WIRE_MORE)
		return more(c, in, SOCKS4_REPLY_SIZE);
	if (rc < 0)
		return ERR_PROXY_PROTOCOL;
	if (a.code != SOCKS4_GRANTED)
		return refused(c, ERR_PROXY_REPLY, a.code);
	ip = ip_from_v4(a.ip);
	*ret_bound = addr_from_ip(&ip, a.port);
	return WIRE_DONE;
}

/* BND informs and no more, so a name in it that is none is dropped and not held against anyone. */
static int step_socks5_reply(struct connect *c, struct wire_reader *in, struct addr *ret_bound)
{
	struct socks5_answer a;
	int rc;

	rc = hop_command(c) == COMMAND_MULTICAST ? mcast_read_answer(in, &a)
						 : socks5_read_answer(in, &a);
	if (rc == WIRE_MORE) {
		c->want = socks5_answer_missing(in);
		return rc;
	}
	if (rc < 0)
		return ERR_PROXY_PROTOCOL;
	if (a.code != SOCKS5_SUCCEEDED)
		return refused(c, ERR_PROXY_REPLY, a.code);
	if (socks5_address_to_addr(&a.bound, ret_bound) != 0)
		ret_bound->kind = ADDR_NONE;
	return WIRE_DONE;
}

static int step_http_reply(struct connect *c, struct wire_reader *in)
{
	int rc, status;

	/* Interim answers (RFC 9110 section 15.2) announce a final one. */
	do
		rc = http_read_answer(in, &status);
	while (rc == WIRE_DONE && status < 200 && status != 101);
	if (rc == WIRE_MORE) {
		c->want = http_answer_missing(in);
		return rc;
	}
	if (rc < 0)
		return ERR_PROXY_PROTOCOL;
	/* Nobody asked to switch protocols. */
	if (status < 200)
		return refused(c, ERR_PROXY_PROTOCOL, status);
	if (status == 407)
		return refused(
		    c, has_credentials(hop_of(c)) ? ERR_PROXY_AUTH : ERR_PROXY_NO_METHOD, status);
	return status < 300 ? WIRE_DONE : refused(c, ERR_PROXY_REPLY, status);
}

/* Of RESOLVE the address in the reply is what was asked for: one for a name, a name for one. Of UDP
 * ASSOCIATE it is where the datagrams are to be sent, which nothing stands in for. */
static bool is_answer(const struct connect *c, const struct addr *bound)
{
	if (c->command == COMMAND_UDP)
		return bound->kind != ADDR_NONE && bound->port != 0;
	return c->command != COMMAND_RESOLVE ||
	       bound->kind == (c->target.kind == ADDR_IP ? ADDR_NAME : ADDR_IP);
}

static int step_reply(struct connect *c, struct wire_reader *in)
{
	struct addr bound = {.kind = ADDR_NONE};
	int rc;

	switch (hop_of(c)->scheme) {
	case URL_SOCKS4:
	case URL_SOCKS4A:
		rc = step_socks4_reply(c, in, &bound);
		break;
	case URL_SOCKS5:
	case URL_SOCKS5H:
	case URL_SOCKS5_TLS:
		rc = step_socks5_reply(c, in, &bound);
		break;
	default:
		rc = step_http_reply(c, in);
		break;
	}
	if (rc != WIRE_DONE)
		return rc;
	if (is_last(c) && !is_answer(c, &bound))
		return ERR_PROXY_PROTOCOL;
	if (is_last(c)) {
		c->bound = bound;
		c->stage = CONNECT_AT_END;
	} else {
		c->hop++;
		c->stage = CONNECT_AT_START;
	}
	return WIRE_DONE;
}

static int step(struct connect *c, struct wire_reader *in, struct wire_writer *out)
{
	switch (c->stage) {
	case CONNECT_AT_START:
	case CONNECT_AT_TLS:
		return start_hop(c, out);
	case CONNECT_AT_METHOD:
		return step_method(c, in, out);
	case CONNECT_AT_AUTH:
		return step_auth(c, in, out);
	case CONNECT_AT_GSS_CONTEXT:
	case CONNECT_AT_GSS_LEVEL:
		return connect_gss_step(c, in);
	case CONNECT_AT_REQUEST:
		return ask_after_all(c, out);
	case CONNECT_AT_REPLY:
		return step_reply(c, in);
	case CONNECT_WAITS_GSS_CONTEXT:
	case CONNECT_WAITS_GSS_LEVEL:
	case CONNECT_WAITS_GSS_ANSWER:
	case CONNECT_AT_END:
		break;
	}
	return WIRE_DONE;
}

/* What the caller has to do before anything can go on, or CONNECT_MORE. */
static enum connect_event asks_caller(struct connect *c)
{
	switch (c->stage) {
	case CONNECT_AT_START:
		if (!url_wants_tls(hop_of(c)))
			break;
		c->stage = CONNECT_AT_TLS;
		return CONNECT_TLS;
	case CONNECT_WAITS_GSS_CONTEXT:
		return CONNECT_GSS_CONTEXT;
	case CONNECT_WAITS_GSS_LEVEL:
		return CONNECT_GSS_LEVEL;
	case CONNECT_WAITS_GSS_ANSWER:
		return CONNECT_GSS_ANSWER;
	default:
		break;
	}
	return CONNECT_MORE;
}

enum connect_event connect_step(struct connect *c, struct wire_reader *in, struct wire_writer *out)
{
	enum connect_event event;
	int rc;

	/* Each turn consumes a message or starts the next hop, of which there is an end. */
	while (c->err == 0 && c->stage != CONNECT_AT_END) {
		event = asks_caller(c);
		if (event != CONNECT_MORE)
			return event;
		rc = step(c, in, out);
		if (rc == WIRE_MORE)
			return CONNECT_MORE;
		if (rc < 0)
			c->err = rc;
	}
	return c->err == 0 ? CONNECT_DONE : CONNECT_FAILED;
}

void connect_send_early(struct connect *c, unsigned early)
{
	c->early = early;
}

void connect_set_forms(struct connect *c, const struct addr *forms, size_t n)
{
	c->forms = forms;
	c->n_forms = n;
}

/* May the proxy have stumbled over what it had not asked for yet? Not where it says that something
 * is wrong that would be so at any time. */
static bool is_early_to_blame(const struct connect *c)
{
	return c->sent_early && (c->err == ERR_PROXY_PROTOCOL || c->err == ERR_PROXY_TRUNCATED ||
				    c->err == ERR_PROXY_NO_METHOD);
}

static bool is_form_to_blame(const struct connect *c)
{
	if (c->err != ERR_PROXY_REPLY || !is_last(c) || !is_socks5(hop_of(c)))
		return false;
	if (c->code == SOCKS5_ADDRESS_NOT_SUPPORTED)
		return true;
	return (c->code == SOCKS5_NETWORK_UNREACHABLE || c->code == SOCKS5_HOST_UNREACHABLE) &&
	       c->target.kind == ADDR_IP && !ip_is_v4(&c->target.ip);
}

bool connect_retry(struct connect *c)
{
	/* An answer to a BIND was given already, and somebody may rely on it. */
	if (c->err == 0 || c->bind_answered)
		return false;
	if (is_early_to_blame(c))
		c->early = 0;
	else if (!is_form_to_blame(c) || !next_form(c))
		return false;
	c->hop = c->ahead = 0;
	c->stage = CONNECT_AT_START;
	c->err = 0;
	c->code = -1;
	c->stream_open = c->sent_early = false;
	return true;
}

void connect_await_peer(struct connect *c)
{
	if (c->err != 0 || c->stage != CONNECT_AT_END || c->command != COMMAND_BIND)
		return;
	c->stage = CONNECT_AT_REPLY;
	c->bind_answered = true;
	c->bound = (struct addr){.kind = ADDR_NONE};
}

struct addr connect_listens_at(const struct connect *c, const struct ip *proxy)
{
	if (c->bound.kind == ADDR_IP && ip_own_classes(&c->bound.ip) & IP_UNSPECIFIED)
		return addr_from_ip(proxy, c->bound.port);
	return c->bound;
}

enum connect_event connect_eof(struct connect *c, struct wire_reader *in)
{
	uint8_t unsent[CONNECT_OUTPUT_MAX];
	struct wire_writer out = wire_writer_of(unsent, sizeof(unsent));
	enum connect_stage stage = c->stage;
	enum connect_event event;
	size_t hop = c->hop;

	event = connect_step(c, in, &out);
	/* The last bytes may hold credentials. */
	explicit_bzero(unsent, sizeof(unsent));
	if (event == CONNECT_DONE || event == CONNECT_FAILED)
		return event;
	/* What the step went on to say will never be sent, so the failure is where it was before.
	 */
	c->stage = stage;
	c->hop = hop;
	c->err = ERR_PROXY_TRUNCATED;
	return CONNECT_FAILED;
}
