/* SPDX-License-Identifier: MIT */
#include "cli/verdict.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "proto/err.h"

/* A URL whose user is percent-encoded. */
#define WHO_MAX 1120

const char *verdict_word(enum verdict_status status)
{
	static const char *const words[] = {
	    [VERDICT_OK] = "open",
	    [VERDICT_LOCAL] = "local-failure",
	    [VERDICT_USAGE] = "usage",
	    [VERDICT_PROXY_UNREACHABLE] = "proxy-unreachable",
	    [VERDICT_TLS] = "proxy-tls",
	    [VERDICT_AUTH] = "proxy-auth",
	    [VERDICT_PROXY_BROKEN] = "proxy-broken",
	    [VERDICT_DENIED] = "denied",
	    [VERDICT_REFUSED] = "refused",
	    [VERDICT_UNREACHABLE] = "unreachable",
	    [VERDICT_NOT_FOUND] = "not-found",
	    [VERDICT_TIMEOUT] = "timeout",
	    [VERDICT_CUT] = "cut",
	    [VERDICT_UNSUPPORTED] = "unsupported",
	    [VERDICT_PROXY_FAILED] = "failed",
	};

	return status < sizeof(words) / sizeof(words[0]) ? words[status] : "?";
}

/* ---- what a proxy answered ---- */

struct answer {
	int code;
	enum verdict_status status;
	const char *text, *advice;
};

static const char ask_operator[] =
    "the proxy's operator decides who may reach what; its log says which rule this was";
static const char perhaps_no_name[] =
    "SOCKS has one answer for this and for a name that does not exist";

/* RFC 1928 section 6, and Tor's own (protocol.md section 8.3). */
static const struct answer socks5_answers[] = {
    {1, VERDICT_PROXY_FAILED, "the proxy failed and does not say why", NULL},
    {2, VERDICT_DENIED, "denied by the proxy's rules", ask_operator},
    {3, VERDICT_UNREACHABLE, "network unreachable", NULL},
    {4, VERDICT_UNREACHABLE, "host unreachable, or no such name", perhaps_no_name},
    {5, VERDICT_REFUSED, "connection refused", NULL},
    {6, VERDICT_UNREACHABLE, "TTL expired", NULL},
    {7, VERDICT_UNSUPPORTED, "command not supported by the proxy", NULL},
    {8, VERDICT_UNSUPPORTED, "type of address not supported by the proxy",
	"an address instead of a name, or IPv4 instead of IPv6, may do"},
    {0xf0, VERDICT_NOT_FOUND, "no such onion service", NULL},
    {0xf1, VERDICT_NOT_FOUND, "the onion service's descriptor is invalid", NULL},
    {0xf2, VERDICT_UNREACHABLE, "the onion service cannot be introduced to", NULL},
    {0xf3, VERDICT_UNREACHABLE, "the onion service cannot be met", NULL},
    {0xf4, VERDICT_AUTH, "the onion service wants client authorization", NULL},
    {0xf5, VERDICT_AUTH, "the onion service does not accept the client authorization", NULL},
    {0xf6, VERDICT_NOT_FOUND, "not the name of an onion service", NULL},
    {0xf7, VERDICT_TIMEOUT, "the onion service did not answer in time", NULL},
    {-1, VERDICT_PROXY_FAILED, "refused by the proxy", NULL},
};

static const struct answer socks4_answers[] = {
    {91, VERDICT_PROXY_FAILED, "rejected or failed, SOCKS4 does not tell which",
	"with socks5:// the proxy may say why"},
    {92, VERDICT_AUTH, "the proxy wants an ident server on this host", NULL},
    {93, VERDICT_AUTH, "this host's ident server names another user", NULL},
    {-1, VERDICT_PROXY_FAILED, "refused by the proxy", NULL},
};

/* Proxies are of many minds about these; the class counts for what is not listed. */
static const struct answer http_answers[] = {
    {400, VERDICT_UNSUPPORTED, "not a request that the proxy takes", NULL},
    {401, VERDICT_AUTH, "the proxy wants authentication of another kind", NULL},
    {403, VERDICT_DENIED, "denied by the proxy's rules", ask_operator},
    {404, VERDICT_PROXY_FAILED, "not found",
	"this may be a web server that is no proxy, or a proxy that does not find the name"},
    {405, VERDICT_UNSUPPORTED, "the proxy does not do CONNECT", NULL},
    {501, VERDICT_UNSUPPORTED, "the proxy does not do CONNECT", NULL},
    {502, VERDICT_UNREACHABLE, "the proxy cannot connect to it", NULL},
    {503, VERDICT_PROXY_FAILED, "the proxy is overloaded, or cannot connect to it", NULL},
    {504, VERDICT_TIMEOUT, "the proxy's time for it was over", NULL},
    {-1, VERDICT_PROXY_FAILED, "refused by the proxy", NULL},
};

static bool is_http(const struct url *hop)
{
	return hop->scheme == URL_HTTP || hop->scheme == URL_HTTPS;
}

static bool is_socks4(const struct url *hop)
{
	return hop->scheme == URL_SOCKS4 || hop->scheme == URL_SOCKS4A;
}

/* The last row takes whatever is left. */
static const struct answer *answer_of(const struct url *hop, int code)
{
	const struct answer *a = is_http(hop)     ? http_answers
				 : is_socks4(hop) ? socks4_answers
						  : socks5_answers;

	while (a->code != code && a->code != -1)
		a++;
	return a;
}

/* ---- what failed here ---- */

struct failure {
	enum verdict_status status;
	const char *text, *advice;
};

static const char *const check_scheme =
    "is this the right port, and the scheme of the URL the right one?";

static const struct failure no_gss = {
    VERDICT_AUTH,
    "does not take GSS-API, without which nothing would be protected",
    "with --gssapi none it is offered what else there is",
};

static struct failure auth_failure(const struct url *hop, int err)
{
	bool sent = hop->has_user || hop->has_password;

	if (err == ERR_PROXY_AUTH && sent)
		return (struct failure){
		    VERDICT_AUTH, "did not accept the user or the password", NULL};
	if (err == ERR_PROXY_AUTH)
		return (struct failure){VERDICT_AUTH, "did not accept who we are", NULL};
	if (sent)
		return (struct failure){VERDICT_AUTH,
		    "takes neither a user with a password nor nobody in particular", NULL};
	return (struct failure){VERDICT_AUTH, "wants to know who we are",
	    "write user:password@ in the URL, or user@ and the password elsewhere"};
}

static bool is_of_tls(int err)
{
	return err == ERR_TLS_HANDSHAKE || err == ERR_TLS_PLAIN || err == ERR_TLS_TRUNCATED ||
	       err == ERR_TLS_BROKEN;
}

/* Of an error at `hop`, which is one of the chain. */
static struct failure proxy_failure(const struct url *hop, const struct chain_result *f)
{
	switch (f->err) {
	case ERR_PROXY_NO_METHOD:
	case ERR_PROXY_AUTH:
		return auth_failure(hop, f->err);
	case ERR_PROXY_PROTOCOL:
		return (struct failure){
		    VERDICT_PROXY_BROKEN, "does not speak what its URL says", check_scheme};
	case ERR_PROXY_TRUNCATED:
	case -ECONNRESET:
	case -EPIPE:
		if (f->stage == CHAIN_AT_DIAL || f->stage == CHAIN_AT_TLS)
			break;
		return (struct failure){VERDICT_PROXY_BROKEN,
		    "closed the connection instead of answering", check_scheme};
	case ERR_TLS_CERT:
		return (struct failure){VERDICT_TLS, err_text(f->err),
		    "--ca FILE says whom to trust, --cert and --key who we are"};
	case ERR_GSS_CONTEXT:
	case ERR_GSS_LEVEL:
	case ERR_GSS_MESSAGE:
		return (struct failure){VERDICT_AUTH, err_text(f->err), NULL};
	case ERR_COMMAND:
		return (struct failure){VERDICT_UNSUPPORTED,
		    "its protocol has no word for this command", "SOCKS5 has all of them"};
	case ERR_ADDRESS_TYPE:
	case ERR_ADDRESS:
		return (struct failure){VERDICT_UNSUPPORTED, "its protocol cannot say this address",
		    "SOCKS5 and HTTP can"};
	case ERR_NOT_FOUND:
	case ERR_RESOLVER:
	case ERR_NAME:
		return (struct failure){VERDICT_PROXY_UNREACHABLE, err_text(f->err), NULL};
	default:
		break;
	}
	if (f->stage == CHAIN_AT_TLS || is_of_tls(f->err))
		return (struct failure){VERDICT_TLS, err_text(f->err), check_scheme};
	if (f->stage == CHAIN_AT_DIAL)
		return (struct failure){
		    VERDICT_PROXY_UNREACHABLE, err_text(f->err), "is the proxy running?"};
	return (struct failure){VERDICT_PROXY_BROKEN, err_text(f->err), NULL};
}

static struct failure target_failure(const struct chain_result *f)
{
	switch (f->err) {
	case ERR_NOT_FOUND:
	case ERR_RESOLVER:
	case ERR_NAME:
		return (struct failure){VERDICT_NOT_FOUND, err_text(f->err), NULL};
	case -ECONNREFUSED:
	case -ECONNRESET:
		return (struct failure){VERDICT_REFUSED, err_text(f->err), NULL};
	case -EACCES:
	case -EPERM:
		return (struct failure){VERDICT_DENIED, err_text(f->err), NULL};
	default:
		return (struct failure){VERDICT_UNREACHABLE, err_text(f->err), NULL};
	}
}

static bool is_local(int err)
{
	return err == -ENOMEM || err == -ENOBUFS || err == -EMFILE || err == -ENFILE ||
	       err == ERR_UNAVAILABLE;
}

/* Who or what an answer is about. */
static const char *subject(const struct verdict_request *q, size_t hop, char text[static WHO_MAX])
{
	char name[ADDR_TEXT_MAX];

	if (hop + 1 < q->n_hops)
		url_format(&q->hops[hop + 1], text, WHO_MAX);
	else if (q->command == COMMAND_UDP)
		snprintf(text, WHO_MAX, "UDP");
	else if (q->command == COMMAND_BIND)
		snprintf(text, WHO_MAX, "listening");
	else
		snprintf(text, WHO_MAX, "%s", addr_format(q->target, name));
	return text;
}

static void timed_out(
    struct verdict *v, const struct verdict_request *q, const char *who, const char *what)
{
	v->status = VERDICT_TIMEOUT;
	if (q->timeout_ms > 0)
		snprintf(v->text, sizeof(v->text), "%s%s%s: no answer within %g seconds", who,
		    *what ? ": " : "", what, (double)q->timeout_ms / 1000);
	else
		snprintf(
		    v->text, sizeof(v->text), "%s%s%s: no answer", who, *what ? ": " : "", what);
}

/* The answer of a proxy to what it was asked for. */
static void answered(struct verdict *v, const struct verdict_request *q,
    const struct chain_result *f, const char *who, const char *what)
{
	const struct url *hop = &q->hops[f->hop];
	const struct answer *a = answer_of(hop, f->code);

	if (q->waiting) {
		v->status = VERDICT_TIMEOUT;
		snprintf(v->text, sizeof(v->text), "%s: nobody came whom it lets in (reply %d)",
		    who, f->code);
		return;
	}
	v->status = a->status;
	v->advice = a->advice;
	/* What is not there is then the next proxy. */
	if (f->hop + 1 < q->n_hops && v->status != VERDICT_DENIED && v->status != VERDICT_AUTH)
		v->status = VERDICT_PROXY_UNREACHABLE;
	snprintf(v->text, sizeof(v->text), "%s: %s: %s (%s %d)", who, what, a->text,
	    is_http(hop) ? "status" : "reply", f->code);
}

void verdict_of(struct verdict *ret_verdict, const struct verdict_request *request,
    const struct chain_result *failed)
{
	char who[WHO_MAX], what[WHO_MAX];
	bool of_proxy = failed->hop < request->n_hops;
	struct failure why;

	*ret_verdict = (struct verdict){.advice = NULL};
	if (of_proxy)
		url_format(&request->hops[failed->hop], who, sizeof(who));
	else
		addr_format(request->target, who);
	subject(request, failed->hop, what);
	if (failed->err == ERR_CONNECT_TIMEOUT || failed->err == -ETIMEDOUT) {
		timed_out(ret_verdict, request, who,
		    of_proxy && failed->stage == CHAIN_AT_REPLY ? what : "");
		return;
	}
	if (of_proxy && failed->err == ERR_PROXY_REPLY) {
		answered(ret_verdict, request, failed, who, what);
		return;
	}
	if (request->gss_demanded && failed->err == ERR_PROXY_NO_METHOD &&
	    failed->hop + 1 == request->n_hops)
		why = no_gss;
	else
		why = of_proxy ? proxy_failure(&request->hops[failed->hop], failed)
			       : target_failure(failed);
	if (is_local(failed->err))
		why = (struct failure){VERDICT_LOCAL, err_text(failed->err), NULL};
	ret_verdict->status = why.status;
	ret_verdict->advice = why.advice;
	snprintf(ret_verdict->text, sizeof(ret_verdict->text), "%s: %s%s%s", who, why.text,
	    failed->why ? ": " : "", failed->why ? failed->why : "");
}
