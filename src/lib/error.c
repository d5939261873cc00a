/* SPDX-License-Identifier: MIT */
#include "lib/error.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "proto/err.h"
#include "proto/url.h"

struct tabi_error error_of_call(int code, const char *why)
{
	return (struct tabi_error){
	    .code = code, .stage = TABI_AT_START, .hop = -1, .reply = -1, .why = why};
}

int error_tell(struct tabi_error *ret, const struct tabi_error *error)
{
	if (ret)
		*ret = *error;
	return error->code;
}

/* KDCs and servers of names have a say in these sentences. */
void error_say(struct tabi_error *error, const char *said)
{
	size_t n = 0;

	for (; said[n] && n + 1 < sizeof(error->said); n++) {
		const unsigned char c = (unsigned char)said[n];

		error->said[n] = c < 0x20 || c == 0x7f ? '?' : said[n];
	}
	error->said[n] = '\0';
}

int error_code(int err)
{
	static const struct {
		int err;
		int code;
	} rows[] = {
	    {ERR_PROXY_REPLY, TABI_E_REFUSED},
	    {ERR_PROXY_PROTOCOL, TABI_E_PROTOCOL},
	    {ERR_PROXY_NO_METHOD, TABI_E_METHOD},
	    {ERR_PROXY_AUTH, TABI_E_AUTH},
	    {ERR_PROXY_TRUNCATED, TABI_E_CLOSED},
	    {ERR_COMMAND, TABI_E_UNSUPPORTED},
	    {ERR_ADDRESS_TYPE, TABI_E_UNSUPPORTED},
	    {ERR_GSS_LEVEL, TABI_E_GSS},
	    {ERR_NOT_FOUND, TABI_E_RESOLVE},
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		if (rows[i].err == err)
			return rows[i].code;
	/* What is left is about names and addresses that nobody can be asked for. */
	return TABI_E_ARGUMENT;
}

/* REP of SOCKS5 and what connect() says for the same. */
static const struct {
	int number;
	const char *text;
} replies5[] = {
    [SOCKS5_GENERAL_FAILURE] = {ECONNREFUSED, "general failure"},
    [SOCKS5_NOT_ALLOWED] = {EACCES, "not allowed by its rules"},
    [SOCKS5_NETWORK_UNREACHABLE] = {ENETUNREACH, "network is unreachable"},
    [SOCKS5_HOST_UNREACHABLE] = {EHOSTUNREACH, "host is unreachable"},
    [SOCKS5_REFUSED] = {ECONNREFUSED, "connection refused"},
    [SOCKS5_TTL_EXPIRED] = {ETIMEDOUT, "time to live expired"},
    [SOCKS5_COMMAND_NOT_SUPPORTED] = {EOPNOTSUPP, "command not supported"},
    [SOCKS5_ADDRESS_NOT_SUPPORTED] = {EAFNOSUPPORT, "address type not supported"},
};

#define N_REPLIES5 ((int)(sizeof(replies5) / sizeof(replies5[0])))

static int is_http(int scheme)
{
	return scheme == URL_HTTP || scheme == URL_HTTPS;
}

static int is_socks4(int scheme)
{
	return scheme == URL_SOCKS4 || scheme == URL_SOCKS4A;
}

int error_number_of_reply(int scheme, int reply)
{
	if (is_socks4(scheme))
		return reply == SOCKS4_REJECTED ? ECONNREFUSED : EACCES;
	if (is_http(scheme)) {
		if (reply == 504)
			return ETIMEDOUT;
		return reply == 403 || reply == 407 ? EACCES : ECONNREFUSED;
	}
	return reply > 0 && reply < N_REPLIES5 ? replies5[reply].number : ECONNREFUSED;
}

static const char *reply_text(int scheme, int reply)
{
	if (is_socks4(scheme)) {
		if (reply == SOCKS4_NO_IDENTD)
			return "it cannot ask this host who we are";
		return reply == SOCKS4_IDENT_MISMATCH ? "this host says that we are another"
						      : "rejected or failed";
	}
	if (is_http(scheme)) {
		if (reply == 403 || reply == 407)
			return "not allowed";
		return reply == 504 ? "no answer in time" : "failed";
	}
	return reply > 0 && reply < N_REPLIES5 ? replies5[reply].text : "a reply that is not known";
}

/* What comes of connecting. strerror() is the system's, and not every one knows its own numbers. */
static const char *number_text(int number)
{
	static const struct {
		int number;
		const char *text;
	} rows[] = {
	    {ECONNREFUSED, "connection refused"},
	    {ECONNRESET, "connection reset"},
	    {ETIMEDOUT, "connection timed out"},
	    {EHOSTUNREACH, "no route to host"},
	    {ENETUNREACH, "network is unreachable"},
	    {ENETDOWN, "network is down"},
	    {EADDRNOTAVAIL, "no source address or port"},
	    {EAFNOSUPPORT, "address family not supported"},
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		if (rows[i].number == number)
			return rows[i].text;
	return strerror(number);
}

static const char *stage_text(int stage)
{
	static const char *const texts[] = {
	    [TABI_AT_START] = "before anything was said",
	    [TABI_AT_RESOLVE] = "looking up what to ask it for",
	    [TABI_AT_CONNECT] = "connecting to it",
	    [TABI_AT_TLS] = "in TLS",
	    [TABI_AT_METHOD] = "waiting for its method",
	    [TABI_AT_AUTH] = "authenticating",
	    [TABI_AT_REPLY] = "waiting for its reply",
	    [TABI_AT_PEER] = "waiting for the peer",
	    [TABI_AT_STREAM] = "in the stream",
	};

	return stage >= TABI_AT_START && stage <= TABI_AT_STREAM ? texts[stage] : "?";
}

static const char *code_text(int code)
{
	static const char *const texts[] = {
	    [-TABI_OK] = "no error",
	    [-TABI_E_ARGUMENT] = "called wrongly",
	    [-TABI_E_MEMORY] = "out of memory",
	    [-TABI_E_STATE] = "not possible in this state",
	    [-TABI_E_RESOLVE] = "name has no address",
	    [-TABI_E_CONNECT] = "cannot be reached",
	    [-TABI_E_IO] = "the connection broke",
	    [-TABI_E_CLOSED] = "closed before it had answered",
	    [-TABI_E_TIMEOUT] = "no answer in time",
	    [-TABI_E_PROTOCOL] = "does not speak what its URL says",
	    [-TABI_E_METHOD] = "accepts no authentication method that we have",
	    [-TABI_E_AUTH] = "did not accept the credentials",
	    [-TABI_E_REFUSED] = "refused",
	    [-TABI_E_UNSUPPORTED] = "its protocol cannot ask for that",
	    [-TABI_E_TLS] = "TLS failed",
	    [-TABI_E_GSS] = "GSS-API failed",
	    [-TABI_E_AGAIN] = "nothing there yet",
	    [-TABI_E_TOO_LONG] = "datagram too long",
	};

	return code <= 0 && -code < (int)(sizeof(texts) / sizeof(texts[0])) ? texts[-code] : "?";
}

/* What stands behind the colon, or "". */
static void details(const struct tabi_error *e, char *buf, size_t cap)
{
	buf[0] = '\0';
	if (e->why)
		snprintf(buf, cap, ": %s", e->why);
	else if (e->said[0])
		snprintf(buf, cap, ": %s", e->said);
	else if (e->code == TABI_E_REFUSED)
		snprintf(buf, cap, ": %s (reply %d)", reply_text(e->detail, e->reply), e->reply);
	else if ((e->code == TABI_E_CONNECT || e->code == TABI_E_IO) && e->error_number != 0)
		snprintf(buf, cap, ": %s", number_text(e->error_number));
	else if (e->reply >= 0)
		snprintf(buf, cap, " (its code is %d)", e->reply);
}

char *tabi_error_text(const struct tabi_error *error, char *buf, size_t cap)
{
	char more[200];

	if (cap == 0)
		return buf;
	details(error, more, sizeof(more));
	if (error->code == TABI_OK || error->hop < 0)
		snprintf(buf, cap, "%s%s", code_text(error->code), more);
	else
		snprintf(buf, cap, "proxy %d (%s), %s: %s%s", error->hop + 1, error->proxy,
		    stage_text(error->stage), code_text(error->code), more);
	return buf;
}
