/* SPDX-License-Identifier: MIT */
#include "proto/err.h"

#include <errno.h>
#include <stddef.h>

struct err_row {
	int err;
	uint8_t socks5;
	uint16_t http;
	const char *word;
	const char *text;
};

/*
 * The errno rows follow protocol.md section 2.3. EACCES and EPERM from connect() are a local
 * firewall's word, so they read as policy. A timeout is "host unreachable": SOCKS5 has no code of
 * its own for it, and 6 (TTL expired) would claim an ICMP message that nobody saw.
 */
static const struct err_row rows[] = {
    {ERR_OK, SOCKS5_SUCCEEDED, 200, "done", "finished"},
    {-ECONNREFUSED, SOCKS5_REFUSED, 502, "refused", "connection refused"},
    {-ECONNRESET, SOCKS5_REFUSED, 502, "reset", "connection reset"},
    {-EHOSTUNREACH, SOCKS5_HOST_UNREACHABLE, 502, "host-unreachable", "no route to host"},
    {-EHOSTDOWN, SOCKS5_HOST_UNREACHABLE, 502, "host-unreachable", "host is down"},
    {-ETIMEDOUT, SOCKS5_HOST_UNREACHABLE, 504, "timeout", "connection timed out"},
    {-ENETUNREACH, SOCKS5_NETWORK_UNREACHABLE, 502, "net-unreachable", "network is unreachable"},
    {-ENETDOWN, SOCKS5_NETWORK_UNREACHABLE, 502, "net-unreachable", "network is down"},
    {-EADDRNOTAVAIL, SOCKS5_NETWORK_UNREACHABLE, 502, "no-source", "no source address or port"},
    {-EADDRINUSE, SOCKS5_GENERAL_FAILURE, 503, "port-busy", "port in use"},
    {-EAFNOSUPPORT, SOCKS5_ADDRESS_NOT_SUPPORTED, 502, "no-family", "address family not supported"},
    {-EACCES, SOCKS5_NOT_ALLOWED, 403, "local-firewall", "forbidden by the local firewall"},
    {-EPERM, SOCKS5_NOT_ALLOWED, 403, "local-firewall", "forbidden by the local firewall"},
    {-EMFILE, SOCKS5_GENERAL_FAILURE, 503, "no-descriptors", "out of descriptors"},
    {-ENFILE, SOCKS5_GENERAL_FAILURE, 503, "no-descriptors", "out of descriptors"},
    {-ENOMEM, SOCKS5_GENERAL_FAILURE, 503, "no-memory", "out of memory"},
    {-ENOBUFS, SOCKS5_GENERAL_FAILURE, 503, "no-memory", "out of socket buffers"},

    {ERR_MALFORMED, SOCKS5_GENERAL_FAILURE, 400, "malformed", "malformed request"},
    {ERR_PROTOCOL, SOCKS5_GENERAL_FAILURE, 400, "unknown-protocol", "not a protocol spoken here"},
    {ERR_TOO_LONG, SOCKS5_GENERAL_FAILURE, 431, "too-long", "request too long"},
    {ERR_COMMAND, SOCKS5_COMMAND_NOT_SUPPORTED, 501, "bad-command", "command not supported"},
    {ERR_ADDRESS_TYPE, SOCKS5_ADDRESS_NOT_SUPPORTED, 400, "bad-address-type",
	"address type not supported"},
    {ERR_ADDRESS, SOCKS5_ADDRESS_NOT_SUPPORTED, 400, "bad-address",
	"not an address one can connect to"},
    {ERR_NAME, SOCKS5_GENERAL_FAILURE, 400, "bad-name", "not a valid host name"},
    {ERR_NUMERIC_NAME, SOCKS5_NOT_ALLOWED, 403, "numeric-name",
	"an IPv4 address must be written as four decimal numbers"},
    {ERR_TRUNCATED, SOCKS5_GENERAL_FAILURE, 400, "truncated", "the request ended halfway"},
    {ERR_PROXY_HEADER, SOCKS5_GENERAL_FAILURE, 400, "bad-proxy-header",
	"no valid header of the PROXY protocol came first"},

    {ERR_NO_METHOD, SOCKS5_NOT_ALLOWED, 407, "no-method", "no acceptable authentication method"},
    {ERR_AUTH, SOCKS5_NOT_ALLOWED, 407, "bad-credentials", "wrong user or password"},
    {ERR_NOT_OFFERED, SOCKS5_NOT_ALLOWED, 403, "not-offered",
	"no authentication method is offered to this client"},
    {ERR_GSS_CONTEXT, SOCKS5_NOT_ALLOWED, 403, "bad-ticket", "not authenticated by GSS-API"},
    {ERR_GSS_LEVEL, SOCKS5_NOT_ALLOWED, 403, "bad-level",
	"a level of protection that is not allowed"},
    {ERR_GSS_MESSAGE, SOCKS5_NOT_ALLOWED, 403, "bad-protection",
	"a message that is not protected as was agreed"},
    {ERR_NO_IDENTD, SOCKS5_NOT_ALLOWED, 403, "no-identd", "no ident answer from the client's host"},
    {ERR_IDENT_MISMATCH, SOCKS5_NOT_ALLOWED, 403, "ident-mismatch",
	"the client's host names another user"},
    {ERR_DENIED, SOCKS5_NOT_ALLOWED, 403, "denied", "denied by policy"},
    {ERR_SELF, SOCKS5_NOT_ALLOWED, 403, "self", "the destination is this proxy"},

    {ERR_BIND_PORT, SOCKS5_NOT_ALLOWED, 403, "bad-port", "not a port to listen on"},
    {ERR_STRANGER, SOCKS5_NOT_ALLOWED, 403, "stranger", "not the expected peer connected"},
    {ERR_SENDER, SOCKS5_NOT_ALLOWED, 403, "unnamed-sender",
	"not one of those who may say whose a connection is"},

    {ERR_NOT_FOUND, SOCKS5_HOST_UNREACHABLE, 502, "not-found", "name has no address"},
    {ERR_ONION, SOCKS5_HOST_UNREACHABLE, 502, "bad-onion", "not the name of an onion service"},
    {ERR_RESOLVER, SOCKS5_HOST_UNREACHABLE, 502, "resolver", "name servers did not answer"},
    {ERR_CONNECT_TIMEOUT, SOCKS5_HOST_UNREACHABLE, 504, "timeout", "connection timed out"},
    {ERR_EGRESS, SOCKS5_NETWORK_UNREACHABLE, 503, "no-egress",
	"the address or interface to leave from is not there"},
    {ERR_EGRESS_FAMILY, SOCKS5_ADDRESS_NOT_SUPPORTED, 502, "no-egress-family",
	"nothing of this address family leaves from there"},
    {ERR_UNAVAILABLE, SOCKS5_GENERAL_FAILURE, 503, "unavailable", "proxy out of resources"},

    {ERR_HANDSHAKE_TIMEOUT, SOCKS5_GENERAL_FAILURE, 408, "handshake-timeout",
	"the client did not finish its request in time"},
    {ERR_IDLE, SOCKS5_GENERAL_FAILURE, 504, "idle", "nothing was sent for too long"},
    {ERR_CLIENT_GONE, SOCKS5_GENERAL_FAILURE, 400, "client-gone", "the client left"},
    {ERR_CLIENT_RESET, SOCKS5_GENERAL_FAILURE, 502, "client-reset", "reset by the client"},
    {ERR_TARGET_RESET, SOCKS5_GENERAL_FAILURE, 502, "target-reset", "reset by the destination"},
    {ERR_SHUTDOWN, SOCKS5_GENERAL_FAILURE, 503, "shutdown", "the proxy is stopping"},

    {ERR_ANSWER, SOCKS5_GENERAL_FAILURE, 502, "bad-answer",
	"the destination's answer is not what HTTP allows"},
    {ERR_ANSWER_TRUNCATED, SOCKS5_GENERAL_FAILURE, 502, "cut-answer",
	"the destination closed before its answer was whole"},

    {ERR_PROXY_REPLY, SOCKS5_GENERAL_FAILURE, 502, "proxy-refused", "the proxy refused"},
    {ERR_PROXY_PROTOCOL, SOCKS5_GENERAL_FAILURE, 502, "proxy-protocol",
	"the proxy does not speak this protocol"},
    {ERR_PROXY_NO_METHOD, SOCKS5_GENERAL_FAILURE, 502, "proxy-no-method",
	"the proxy accepts no authentication method that we have"},
    {ERR_PROXY_AUTH, SOCKS5_GENERAL_FAILURE, 502, "proxy-auth",
	"the proxy did not accept the credentials"},
    {ERR_PROXY_TRUNCATED, SOCKS5_GENERAL_FAILURE, 502, "proxy-truncated",
	"the proxy closed before it had answered"},
    {ERR_PROXY_DENIED, SOCKS5_NOT_ALLOWED, 403, "proxy-denied", "the next proxy does not allow it"},
    {ERR_PROXY_UNREACHABLE, SOCKS5_GENERAL_FAILURE, 502, "proxy-unreachable",
	"the next proxy could not be reached"},
    {ERR_PROXY_TLS, SOCKS5_GENERAL_FAILURE, 502, "proxy-tls",
	"the next proxy could not be spoken to in TLS"},

    {ERR_TLS_HANDSHAKE, SOCKS5_GENERAL_FAILURE, 502, "tls-handshake", "no TLS could be agreed on"},
    {ERR_TLS_CERT, SOCKS5_NOT_ALLOWED, 403, "tls-certificate",
	"the certificate is missing or was not accepted"},
    {ERR_TLS_PLAIN, SOCKS5_GENERAL_FAILURE, 400, "not-tls", "TLS is required here"},
    {ERR_TLS_UNEXPECTED, SOCKS5_GENERAL_FAILURE, 400, "tls-unexpected", "no TLS is spoken here"},
    {ERR_TLS_TRUNCATED, SOCKS5_GENERAL_FAILURE, 502, "tls-truncated",
	"the TLS connection was cut off"},
    {ERR_TLS_BROKEN, SOCKS5_GENERAL_FAILURE, 502, "tls-broken", "a TLS record was broken"},
};

/* What is not in the table is an errno that tells a client nothing. */
static const struct err_row other = {0, SOCKS5_GENERAL_FAILURE, 502, "error", "internal error"};

static const struct err_row *find(int err)
{
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		if (rows[i].err == err)
			return &rows[i];
	return &other;
}

const char *err_word(int err)
{
	return find(err)->word;
}

const char *err_text(int err)
{
	return find(err)->text;
}

enum socks5_reply err_socks5(int err)
{
	return find(err)->socks5;
}

enum socks5_reply err_socks5_extended(int err)
{
	return err == ERR_ONION ? SOCKS5_BAD_ONION : err_socks5(err);
}

enum socks4_reply err_socks4(int err)
{
	switch (err) {
	case ERR_OK:
		return SOCKS4_GRANTED;
	case ERR_NO_IDENTD:
		return SOCKS4_NO_IDENTD;
	case ERR_IDENT_MISMATCH:
		return SOCKS4_IDENT_MISMATCH;
	default:
		return SOCKS4_REJECTED;
	}
}

int err_http_status(int err)
{
	return find(err)->http;
}
