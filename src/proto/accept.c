/* SPDX-License-Identifier: MIT */
#include "proto/accept.h"

#include <stdio.h>
#include <string.h>

#include "proto/accept_int.h"
#include "proto/err.h"
#include "proto/gss.h"
#include "proto/http.h"
#include "proto/httpfwd.h"
#include "proto/mcast.h"
#include "proto/socks4.h"
#include "proto/socks5.h"
#include "proto/userpass.h"

/*
 * Every step reads from the front of the caller's bytes and either consumes one whole message or
 * leaves them alone; nothing of a message is kept but what struct accept shows. That is why pieces
 * do not matter, and tests/vectors holds every case to it.
 *
 * A step that fails only returns its error. accept_step() alone writes the refusal and ends, so no
 * path can forget one or write two; what the refusal looks like follows from protocol and state.
 */

/* What a client begins with that believes to speak TLS here: the type of a handshake record. */
#define TLS_FIRST_BYTE 22
/* The so-many-th 407 closes the connection. */
#define HTTP_TRIES_MAX 3

const char *proto_name(enum proto proto)
{
	static const char *const names[] = {
	    [PROTO_NONE] = "none",
	    [PROTO_SOCKS4] = "socks4",
	    [PROTO_SOCKS4A] = "socks4a",
	    [PROTO_SOCKS5] = "socks5",
	    [PROTO_HTTP] = "http",
	};

	return names[proto];
}

const char *command_name(enum command command)
{
	static const char *const names[] = {
	    [COMMAND_NONE] = "none",
	    [COMMAND_CONNECT] = "connect",
	    [COMMAND_BIND] = "bind",
	    [COMMAND_UDP] = "udp",
	    [COMMAND_RESOLVE] = "resolve",
	    [COMMAND_MULTICAST] = "multicast",
	};

	return names[command];
}

const char *auth_method_name(enum auth_method method)
{
	switch (method) {
	case AUTH_PASSWORD:
		return "password";
	case AUTH_GSSAPI:
		return "gssapi";
	case AUTH_CERT:
		return "cert";
	case AUTH_IDENT:
		return "ident";
	case AUTH_NONE:
		break;
	}
	return "none";
}

void accept_init(struct accept *a, unsigned methods)
{
	memset(a, 0, sizeof(*a));
	a->methods = methods;
	a->method = AUTH_NONE;
}

void accept_prove(struct accept *a, enum auth_method method, const char *user, size_t len)
{
	a->methods = AUTH_NONE;
	a->method = method;
	a->proved = true;
	if (len > ACCEPT_CREDENTIAL_MAX)
		len = ACCEPT_CREDENTIAL_MAX;
	memcpy(a->user, user, len);
	a->user[len] = '\0';
	a->user_len = (uint8_t)len;
}

void accept_offer_extended(struct accept *a)
{
	a->extended = true;
}

void accept_offer_tls(struct accept *a)
{
	a->tls_offered = true;
}

void accept_init_http(struct accept *a, unsigned methods)
{
	accept_init(a, methods);
	a->proto = PROTO_HTTP;
	a->state = ACCEPT_AT_HTTP;
}

void accept_keep_password(struct accept *a)
{
	a->keeps_password = true;
}

void accept_fini(struct accept *a)
{
	explicit_bzero(a->password, sizeof(a->password));
	a->password_len = 0;
}

void accept_keep_bytes(
    char to[static ACCEPT_CREDENTIAL_MAX + 1], uint8_t *ret_len, const uint8_t *from, uint8_t len)
{
	if (len > 0)
		memcpy(to, from, len);
	to[len] = '\0';
	*ret_len = len;
}

static void keep_credentials(struct accept *a, const struct userpass *credentials)
{
	accept_keep_bytes(a->user, &a->user_len, credentials->user, credentials->user_len);
	accept_keep_bytes(
	    a->password, &a->password_len, credentials->password, credentials->password_len);
}

/* What no command can mean. Multicast, broadcast and the like are for the policy to refuse. */
static int judge_target(const struct accept *a)
{
	const struct addr *t = &a->target;

	if (a->command != COMMAND_CONNECT)
		return 0;
	if (t->port == 0)
		return ERR_ADDRESS;
	/* Linux connects 0.0.0.0 and :: to the host that asks: to this proxy's. */
	return t->kind == ADDR_IP && ip_classes(&t->ip) & IP_UNSPECIFIED ? ERR_SELF : 0;
}

static int ask_caller(struct accept *a)
{
	int err = judge_target(a);

	if (err != 0)
		return err;
	a->state = ACCEPT_WAITS_REPLY;
	return WIRE_DONE;
}

/* Of a client that is offered nothing the reason is not what it can do. */
static int no_method(const struct accept *a)
{
	return a->methods == 0 ? ERR_NOT_OFFERED : ERR_NO_METHOD;
}

/* What is not here is read to its end all the same, and then refused. */
static enum command socks4_command(uint8_t code)
{
	switch (code) {
	case SOCKS4_CONNECT:
		return COMMAND_CONNECT;
	case SOCKS4_BIND:
		return COMMAND_BIND;
	case SOCKS4_RESOLVE:
		return COMMAND_RESOLVE;
	default:
		return COMMAND_NONE;
	}
}

static int socks4_target(struct accept *a, const struct socks4_request *q)
{
	struct ip ip = ip_from_v4(q->ip);

	if (!q->named) {
		a->target = addr_from_ip(&ip, q->port);
		/* Of BIND it may mean any peer; elsewhere it is a name that was forgotten. */
		if (a->command == COMMAND_RESOLVE && ip_classes(&ip) & IP_UNSPECIFIED)
			return ERR_ADDRESS;
		return 0;
	}
	a->target.port = q->port;
	return addr_set_host(&a->target, (const char *)q->name, q->name_len);
}

/* Who says who he is wants it judged, as with a password; without a name there is nothing to ask
 * his host. */
static int identify(struct accept *a)
{
	if (!(a->methods & AUTH_IDENT) || (a->claim_len == 0 && a->methods & AUTH_NONE))
		return ask_caller(a);
	if (a->claim_len == 0)
		return ERR_IDENT_MISMATCH;
	a->state = ACCEPT_WAITS_IDENT;
	return WIRE_DONE;
}

/* The whole request is read before anything in it is refused: bytes left unread would make the
 * kernel answer with a reset that overtakes the reply. */
static int step_socks4(struct accept *a, struct wire_reader *in)
{
	struct socks4_request q;
	int rc;

	rc = socks4_read_request(in, &q);
	if (rc != WIRE_DONE)
		return rc;
	a->proto = q.named ? PROTO_SOCKS4A : PROTO_SOCKS4;
	accept_keep_bytes(a->claim, &a->claim_len, q.user, q.user_len);
	a->command = socks4_command(q.command);
	if (!(a->methods & (AUTH_NONE | AUTH_IDENT)))
		return no_method(a);
	if (a->command == COMMAND_NONE)
		return ERR_COMMAND;
	rc = socks4_target(a, &q);
	return rc != 0 ? rc : identify(a);
}

/* What may be chosen, best first. */
static const struct choice {
	uint8_t code;
	enum auth_method method;
	bool tls;
	enum accept_state state; /* then */
} choices[] = {
    {SOCKS5_METHOD_TLS_PASSWORD, AUTH_PASSWORD, true, ACCEPT_AT_USERPASS},
    {SOCKS5_METHOD_PASSWORD, AUTH_PASSWORD, false, ACCEPT_AT_USERPASS},
    {SOCKS5_METHOD_GSSAPI, AUTH_GSSAPI, false, ACCEPT_AT_GSS_CONTEXT},
    {SOCKS5_METHOD_TLS, AUTH_NONE, true, ACCEPT_AT_REQUEST},
    {SOCKS5_METHOD_NONE, AUTH_NONE, false, ACCEPT_AT_REQUEST},
};

/*
 * A client that brings a password wants it judged, so that goes before all. Before GSS-API too:
 * curl offers that whenever it was built with it, ticket or not. Who can prove who he is does so
 * even where he need not.
 */
static const struct choice *choose(const struct accept *a, const struct socks5_greeting *g)
{
	for (size_t i = 0; i < sizeof(choices) / sizeof(choices[0]); i++)
		if ((a->methods & choices[i].method) && (a->tls_offered || !choices[i].tls) &&
		    memchr(g->methods, choices[i].code, g->n_methods))
			return &choices[i];
	return NULL;
}

static int step_greeting(struct accept *a, struct wire_reader *in, struct wire_writer *out)
{
	const struct choice *choice;
	struct socks5_greeting g;
	int rc;

	rc = socks5_read_greeting(in, &g);
	if (rc != WIRE_DONE)
		return rc;
	choice = choose(a, &g);
	if (!choice)
		return no_method(a);
	socks5_write_choice(out, choice->code);
	a->state = choice->state;
	a->tls_due = choice->tls;
	return WIRE_DONE;
}

/* A version other than 1 is answered 01 01, not REP: that is what the client reads here, for all
 * that it has written something else (a request, mostly, that it should have kept back). */
static int step_userpass(struct accept *a, struct wire_reader *in)
{
	struct userpass q;
	int rc;

	rc = userpass_read_request(in, &q);
	if (rc != WIRE_DONE)
		return rc;
	keep_credentials(a, &q);
	a->state = ACCEPT_WAITS_AUTH;
	return WIRE_DONE;
}

/*
 * Some clients send RFC 1929 although "none" was chosen; Tor's answer is a friendly lie. Nobody
 * checked these credentials, so they are not kept. Once only: the answers of one step are bounded.
 */
static int step_unasked_userpass(struct accept *a, struct wire_reader *in, struct wire_writer *out)
{
	struct userpass q;
	int rc;

	rc = userpass_read_request(in, &q);
	if (rc != WIRE_DONE)
		return rc;
	userpass_write_answer(out, USERPASS_OK);
	a->userpass_unasked = true;
	return WIRE_DONE;
}

static enum command socks5_command(uint8_t code)
{
	switch (code) {
	case SOCKS5_CONNECT:
		return COMMAND_CONNECT;
	case SOCKS5_BIND:
		return COMMAND_BIND;
	case SOCKS5_UDP_ASSOCIATE:
		return COMMAND_UDP;
	case SOCKS5_ENHANCED_UDP:
		return COMMAND_MULTICAST;
	case SOCKS5_RESOLVE:
	case SOCKS5_RESOLVE_PTR:
		return COMMAND_RESOLVE;
	default:
		return COMMAND_NONE;
	}
}

/*
 * The order of what can be wrong is the order in which it can be known: the version, the type of
 * the address (its length is then unknown, so nothing behind it can be read), and with the message
 * whole the command and the address.
 *
 * RSV is not looked at: a later draft made it a byte of flags (protocol.md section 6.2).
 */
static int unspecified(uint16_t port, struct addr *ret)
{
	static const uint8_t zeros[4] = {0};
	struct ip ip = ip_from_v4(zeros);

	*ret = addr_from_ip(&ip, port);
	return 0;
}

static int step_socks5_request(struct accept *a, struct wire_reader *in)
{
	struct socks5_request q;
	int rc;

	rc = socks5_read_request(in, &q);
	if (rc != WIRE_DONE)
		return rc;
	a->command = socks5_command(q.command);
	if (a->command == COMMAND_NONE)
		return ERR_COMMAND;
	/* Its address means nothing and is not even looked at. */
	if (a->command == COMMAND_MULTICAST)
		return ask_caller(a);
	a->resolve_reverse = q.command == SOCKS5_RESOLVE_PTR;
	rc = socks5_address_to_addr(&q.target, &a->target);
	/* This one only says from where the client will send: PySocks says "0", as a name. */
	if (rc != 0 && a->command == COMMAND_UDP)
		rc = unspecified(q.target.port, &a->target);
	if (a->resolve_reverse && (rc != 0 || a->target.kind != ADDR_IP))
		return ERR_ADDRESS_TYPE;
	return rc != 0 ? rc : ask_caller(a);
}

/*
 * 407 is the one refusal after which the connection goes on. The limit bounds what a guesser gets
 * out of one connection, and what one step can write.
 */
static int challenge(struct accept *a, int err, struct wire_writer *out)
{
	const struct http_answer answer = {
	    .status = 407,
	    .text = "This proxy asks for a user name and a password.",
	    .keep_alive = true,
	    .challenge = true,
	};

	if (++a->http_tries >= HTTP_TRIES_MAX || a->http_close)
		return err;
	http_write_answer(out, &answer);
	a->state = ACCEPT_AT_HTTP;
	return WIRE_DONE;
}

/*
 * Credentials, where they are needed or brought along and can be checked. Each request stands for
 * itself (RFC 9110 section 11.7.2): a user of the one before must not stay behind.
 */
static int http_authenticate(
    struct accept *a, const struct http_request *q, struct wire_writer *out)
{
	uint8_t buf[HTTP_BASIC_MAX];
	struct userpass credentials;
	int rc;

	if (!a->proved)
		a->user_len = 0;
	if (!(a->methods & AUTH_PASSWORD) ||
	    (q->fields.n_credentials == 0 && a->methods & AUTH_NONE))
		return a->methods & AUTH_NONE ? ask_caller(a) : no_method(a);
	if (q->fields.n_credentials == 0)
		return challenge(a, ERR_NO_METHOD, out);
	rc = http_decode_basic(&q->fields.credentials, buf, &credentials);
	if (rc == 0) {
		keep_credentials(a, &credentials);
		a->state = ACCEPT_WAITS_AUTH;
		rc = WIRE_DONE;
	} else {
		rc = challenge(a, rc, out);
	}
	explicit_bzero(buf, sizeof(buf));
	return rc;
}

/*
 * The target of CONNECT is HOST:PORT and nothing else; the Host field has no say, but must be there
 * once (RFC 9112 section 3.2). CONNECT has no content: bytes behind the block belong to the tunnel,
 * and a body in between would be somebody's second opinion of where it begins.
 */
static int http_judge_connect(struct accept *a, const struct http_request *q)
{
	int rc;

	if (http_has_body(q))
		return ERR_MALFORMED;
	a->command = COMMAND_CONNECT;
	rc = addr_parse((const char *)q->target.at, q->target.len, &a->target);
	return rc != 0 ? rc : judge_target(a);
}

/* Another method asks for a page to be fetched. A body that comes along is in the way of another
 * try on this connection, so the client is to make that on a new one. */
static int http_judge_forward(struct accept *a, const struct http_request *q)
{
	int rc = httpfwd_judge(q, &a->target, &a->http_page);

	if (rc != 0)
		return rc;
	a->http_page = NULL;
	a->command = COMMAND_CONNECT;
	a->forward = true;
	a->for_us = httpfwd_is_for_us(q);
	a->http_close |= http_has_body(q);
	return judge_target(a);
}

/* Two credentials are two opinions of who asks. */
static int http_judge(struct accept *a, const struct http_request *q)
{
	const struct http_fields *f = &q->fields;

	if (f->n_host > 1 || (f->n_host == 0 && !q->http10) || f->n_credentials > 1)
		return ERR_MALFORMED;
	a->forward = false;
	if (http_text_is(&q->method, "CONNECT"))
		return http_judge_connect(a, q);
	return http_judge_forward(a, q);
}

/* Reads a whole block and what it asks for. */
static int http_ask(struct accept *a, struct wire_reader *in, struct wire_writer *out)
{
	size_t at = in->pos;
	struct http_request q;
	int rc = http_read_request(in, &q);

	if (rc != WIRE_DONE)
		return rc;
	a->http_close = !http_is_persistent(&q);
	a->http_head = http_text_is(&q.method, "HEAD");
	rc = http_judge(a, &q);
	if (rc == 0)
		rc = http_authenticate(a, &q, out);
	/* Who is asked for credentials sends all of it again. */
	if (rc == WIRE_DONE && a->forward && a->state != ACCEPT_AT_HTTP) {
		a->http_len = (uint16_t)(in->pos - at);
		in->pos = at;
	}
	return rc;
}

static int step_http(struct accept *a, struct wire_reader *in, struct wire_writer *out)
{
	size_t left;
	int rc;

	wire_read_bytes(in, a->http_skip);
	a->http_skip = 0;
	left = wire_left(in);
	/* A block grows only by lines: without a new LF there is nothing new to say of it. So a
	 * client that sends it byte by byte does not have it parsed at each. */
	if (left < HTTP_HEAD_MAX && left >= a->http_seen &&
	    (left == a->http_seen ||
		!memchr(in->data + in->pos + a->http_seen, '\n', left - a->http_seen))) {
		a->http_seen = (uint16_t)left;
		return WIRE_MORE;
	}
	rc = http_ask(a, in, out);
	a->http_seen = rc == WIRE_MORE ? (uint16_t)left : 0;
	return rc;
}

/* By the first byte alone, which stays in place: every reader begins with it (protocol.md 0.2). */
static enum proto proto_of(uint8_t first)
{
	if (first == SOCKS4_VERSION)
		return PROTO_SOCKS4;
	if (first == SOCKS5_VERSION)
		return PROTO_SOCKS5;
	if ((first >= 'A' && first <= 'Z') || (first >= 'a' && first <= 'z'))
		return PROTO_HTTP;
	/* An empty line before a request. */
	return first == '\r' || first == '\n' ? PROTO_HTTP : PROTO_NONE;
}

static int step_start(struct accept *a, struct wire_reader *in, struct wire_writer *out)
{
	if (wire_left(in) == 0)
		return WIRE_MORE;
	if (a->proto == PROTO_NONE)
		a->proto = proto_of(in->data[in->pos]);
	switch (a->proto) {
	case PROTO_SOCKS4:
	case PROTO_SOCKS4A:
		return step_socks4(a, in);
	case PROTO_SOCKS5:
		return step_greeting(a, in, out);
	case PROTO_HTTP:
		a->state = ACCEPT_AT_HTTP;
		return WIRE_DONE;
	case PROTO_NONE:
		break;
	}
	return in->data[in->pos] == TLS_FIRST_BYTE ? ERR_TLS_UNEXPECTED : ERR_PROTOCOL;
}

static int step_request(struct accept *a, struct wire_reader *in, struct wire_writer *out)
{
	if (a->proto != PROTO_SOCKS5)
		return ask_caller(a);
	if ((a->method == AUTH_NONE || a->proved) && !a->userpass_unasked && wire_left(in) > 0 &&
	    in->data[in->pos] == USERPASS_VERSION)
		return step_unasked_userpass(a, in, out);
	return step_socks5_request(a, in);
}

/* One message, or less. WIRE_DONE where the state has moved on, WIRE_MORE, or the error to end
 * with. */
static int step(struct accept *a, struct wire_reader *in, struct wire_writer *out)
{
	switch (a->state) {
	case ACCEPT_AT_START:
		return step_start(a, in, out);
	case ACCEPT_AT_USERPASS:
		return step_userpass(a, in);
	case ACCEPT_AT_GSS_CONTEXT:
	case ACCEPT_AT_GSS_LEVEL:
		return accept_gss_step(a, in);
	case ACCEPT_AT_REQUEST:
		return step_request(a, in, out);
	case ACCEPT_AT_HTTP:
		return step_http(a, in, out);
	case ACCEPT_WAITS_AUTH:
	case ACCEPT_WAITS_IDENT:
	case ACCEPT_WAITS_GSS_CONTEXT:
	case ACCEPT_WAITS_GSS_LEVEL:
	case ACCEPT_WAITS_REPLY:
	case ACCEPT_WAITS_PEER:
	case ACCEPT_AT_END:
		break;
	}
	return WIRE_MORE;
}

/* err.h knows no listener; what it says of credentials holds where there are any to give. */
static int http_status(const struct accept *a, int err)
{
	int status = err_http_status(err);

	/* 407 must come with a challenge, and there is none to make where no password helps. */
	return status == 407 && !(a->methods & AUTH_PASSWORD) ? 403 : status;
}

static void write_http_refusal(const struct accept *a, int err, struct wire_writer *out)
{
	char text[160];
	struct http_answer answer = {
	    .status = http_status(a, err),
	    .text = text,
	    .no_body = a->http_head,
	};

	answer.challenge = answer.status == 407;
	if (err == ERR_COMMAND && a->http_page)
		answer.text = a->http_page;
	else
		snprintf(text, sizeof(text), "This proxy could not serve the request: %s.",
		    err_text(err));
	http_write_answer(out, &answer);
}

static void write_socks5_refusal(const struct accept *a, int err, struct wire_writer *out)
{
	enum socks5_reply code;

	switch (a->state) {
	case ACCEPT_AT_START:
		socks5_write_choice(out, SOCKS5_METHOD_UNACCEPTABLE);
		break;
	case ACCEPT_AT_USERPASS:
	case ACCEPT_WAITS_AUTH:
		userpass_write_answer(out, USERPASS_FAILED);
		break;
	case ACCEPT_AT_GSS_CONTEXT:
	case ACCEPT_AT_GSS_LEVEL:
	case ACCEPT_WAITS_GSS_CONTEXT:
	case ACCEPT_WAITS_GSS_LEVEL:
		gss_frame_write_abort(out);
		break;
	default:
		code = a->extended ? err_socks5_extended(err) : err_socks5(err);
		socks5_write_answer(out, (uint8_t)code, NULL);
		break;
	}
}

/* The refusal of what the client has just sent, or waits for. */
static void write_refusal(const struct accept *a, int err, struct wire_writer *out)
{
	switch (a->proto) {
	case PROTO_NONE:
		break;
	case PROTO_SOCKS4:
	case PROTO_SOCKS4A:
		socks4_write_answer(out, (uint8_t)err_socks4(err), NULL);
		break;
	case PROTO_SOCKS5:
		write_socks5_refusal(a, err, out);
		break;
	case PROTO_HTTP:
		write_http_refusal(a, err, out);
		break;
	}
}

/* Secrets do not outlive the handshake, however long the caller keeps the struct. */
static void end(struct accept *a, int err)
{
	a->state = ACCEPT_AT_END;
	a->err = err;
	accept_fini(a);
}

void accept_refuse(struct accept *a, int err, struct wire_writer *out)
{
	write_refusal(a, err, out);
	end(a, err);
}

enum accept_event accept_step(struct accept *a, struct wire_reader *in, struct wire_writer *out)
{
	/* Each turn consumes a message or changes the state; neither goes on for ever. */
	for (;;) {
		int rc;

		if (a->state == ACCEPT_AT_END)
			return ACCEPT_END;
		rc = step(a, in, out);
		if (rc == WIRE_MORE)
			return ACCEPT_MORE;
		if (rc < 0) {
			accept_refuse(a, rc, out);
		} else if (a->tls_due) {
			a->tls_due = false;
			return ACCEPT_TLS;
		}
		if (a->state == ACCEPT_WAITS_AUTH)
			return ACCEPT_AUTH;
		else if (a->state == ACCEPT_WAITS_IDENT)
			return ACCEPT_IDENT;
		else if (a->state == ACCEPT_WAITS_GSS_CONTEXT)
			return ACCEPT_GSS_CONTEXT;
		else if (a->state == ACCEPT_WAITS_GSS_LEVEL)
			return ACCEPT_GSS_LEVEL;
		else if (a->state == ACCEPT_WAITS_REPLY)
			return ACCEPT_REQUEST;
	}
}

void accept_auth_result(struct accept *a, bool ok, struct wire_writer *out)
{
	int rc;

	if (a->state != ACCEPT_WAITS_AUTH)
		return;
	if (!ok || !a->keeps_password)
		accept_fini(a);
	if (ok) {
		a->method = AUTH_PASSWORD;
		if (a->proto == PROTO_SOCKS5)
			userpass_write_answer(out, USERPASS_OK);
		a->state = ACCEPT_AT_REQUEST;
		return;
	}
	if (a->forward)
		a->http_skip = a->http_len;
	rc = a->proto == PROTO_HTTP ? challenge(a, ERR_AUTH, out) : ERR_AUTH;
	if (rc < 0)
		accept_refuse(a, rc, out);
}

/* Who is known then is no mere claim any more. */
void accept_ident_result(struct accept *a, int err, struct wire_writer *out)
{
	if (a->state != ACCEPT_WAITS_IDENT)
		return;
	if (err != 0) {
		accept_refuse(a, err, out);
		return;
	}
	memcpy(a->user, a->claim, sizeof(a->user));
	a->user_len = a->claim_len;
	a->claim_len = 0;
	a->method = AUTH_IDENT;
	a->state = ACCEPT_AT_REQUEST;
}

static void write_grant(const struct accept *a, const struct addr *bound, struct wire_writer *out)
{
	switch (a->proto) {
	case PROTO_NONE:
		break;
	case PROTO_SOCKS4:
	case PROTO_SOCKS4A:
		socks4_write_answer(out, SOCKS4_GRANTED, bound);
		break;
	case PROTO_SOCKS5:
		if (a->command == COMMAND_MULTICAST)
			mcast_write_granted(out);
		else
			socks5_write_answer(out, SOCKS5_SUCCEEDED, bound);
		break;
	case PROTO_HTTP:
		if (!a->forward)
			http_write_established(out);
		break;
	}
}

/*
 * Before the request is whole a client in the midst of a SOCKS5 message waits for no answer, and
 * one that it cannot place would be read as something else.
 */
static bool awaits_refusal(const struct accept *a)
{
	if (a->proto == PROTO_SOCKS5)
		return a->state == ACCEPT_WAITS_AUTH || a->state == ACCEPT_WAITS_REPLY ||
		       a->state == ACCEPT_WAITS_PEER || a->state == ACCEPT_WAITS_GSS_CONTEXT ||
		       a->state == ACCEPT_WAITS_GSS_LEVEL;
	return a->proto != PROTO_NONE;
}

void accept_reply(struct accept *a, int err, const struct addr *bound, struct wire_writer *out)
{
	bool asked = a->state == ACCEPT_WAITS_REPLY || a->state == ACCEPT_WAITS_PEER;

	if (a->state == ACCEPT_AT_END)
		return;
	if (err == ERR_OK && asked)
		write_grant(a, bound, out);
	else if (err != ERR_OK && awaits_refusal(a))
		write_refusal(a, err, out);
	if (err == ERR_OK && a->state == ACCEPT_WAITS_REPLY && a->command == COMMAND_BIND)
		a->state = ACCEPT_WAITS_PEER;
	else
		end(a, err);
}
