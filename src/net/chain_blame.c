/* SPDX-License-Identifier: MIT */
/* What the failure of a chain means: at which stage it was, whose fault, and which error. */
#include <errno.h>

#include "net/chain.h"
#include "proto/err.h"

const char *chain_stage_name(enum chain_stage stage)
{
	static const char *const names[] = {
	    [CHAIN_AT_RESOLVE] = "resolve",
	    [CHAIN_AT_DIAL] = "dial",
	    [CHAIN_AT_TLS] = "tls",
	    [CHAIN_AT_METHOD] = "method",
	    [CHAIN_AT_AUTH] = "auth",
	    [CHAIN_AT_REPLY] = "reply",
	};

	return names[stage];
}

/* ---- whose fault it was ---- */

static bool is_shortage(int err)
{
	return err == -ENOMEM || err == -ENOBUFS || err == -EMFILE || err == -ENFILE;
}

/* Of SOCKS4 two codes are about us, not about the destination. */
static bool is_about_us(const struct chain_result *r)
{
	return r->code == SOCKS4_NO_IDENTD || r->code == SOCKS4_IDENT_MISMATCH;
}

enum chain_blame chain_blame(const struct chain_result *failed, size_t n_hops)
{
	if (is_shortage(failed->err))
		return CHAIN_BLAMES_US;
	if (failed->stage == CHAIN_AT_RESOLVE && failed->hop == n_hops)
		return CHAIN_BLAMES_TARGET;
	if (failed->err == ERR_ADDRESS_TYPE || failed->err == ERR_ADDRESS ||
	    failed->err == ERR_COMMAND || failed->err == ERR_EGRESS ||
	    failed->err == ERR_EGRESS_FAMILY)
		return CHAIN_BLAMES_REQUEST;
	if (failed->stage != CHAIN_AT_REPLY || failed->hop + 1 != n_hops)
		return CHAIN_BLAMES_PROXY;
	if ((failed->err == ERR_PROXY_REPLY && !is_about_us(failed)) ||
	    failed->err == ERR_CONNECT_TIMEOUT)
		return CHAIN_BLAMES_TARGET;
	if (failed->err == ERR_PROXY_TRUNCATED || failed->err == -ECONNRESET)
		return CHAIN_BLAMES_SILENCE;
	return CHAIN_BLAMES_PROXY;
}

/* With TLS 1.3 a proxy that wants a certificate says so when we have begun to talk. */
static bool is_of_tls(int err)
{
	return err == ERR_TLS_CERT || err == ERR_TLS_HANDSHAKE || err == ERR_TLS_BROKEN;
}

/* What the destination's proxy has answered, as if we had met it ourselves. */
static int error_of_code(int code)
{
	switch (code) {
	case SOCKS5_NOT_ALLOWED:
	case 403: /* of HTTP; so are those below */
	case 405:
	case 451:
		return ERR_PROXY_DENIED;
	case SOCKS5_NETWORK_UNREACHABLE:
		return -ENETUNREACH;
	case SOCKS5_HOST_UNREACHABLE:
	case SOCKS5_TTL_EXPIRED:
		return -EHOSTUNREACH;
	case SOCKS5_REFUSED:
		return -ECONNREFUSED;
	case SOCKS5_COMMAND_NOT_SUPPORTED:
		return ERR_COMMAND;
	case SOCKS5_ADDRESS_NOT_SUPPORTED:
		return ERR_ADDRESS_TYPE;
	case 504:
		return ERR_CONNECT_TIMEOUT;
	default:
		return ERR_PROXY_REPLY;
	}
}

int chain_error(const struct chain_result *failed, size_t n_hops)
{
	if (failed->err == -ECONNRESET && chain_blame(failed, n_hops) == CHAIN_BLAMES_SILENCE)
		return ERR_PROXY_TRUNCATED;
	if (chain_blame(failed, n_hops) != CHAIN_BLAMES_PROXY)
		return failed->err == ERR_PROXY_REPLY ? error_of_code(failed->code) : failed->err;
	switch (failed->stage) {
	case CHAIN_AT_RESOLVE:
	case CHAIN_AT_DIAL:
		return failed->err == ERR_SELF ? ERR_SELF : ERR_PROXY_UNREACHABLE;
	case CHAIN_AT_TLS:
		return ERR_PROXY_TLS;
	case CHAIN_AT_METHOD:
	case CHAIN_AT_AUTH:
	case CHAIN_AT_REPLY:
		break;
	}
	if (is_of_tls(failed->err))
		return ERR_PROXY_TLS;
	if (failed->err == ERR_GSS_LEVEL)
		return ERR_PROXY_AUTH;
	if (failed->err == ERR_GSS_MESSAGE)
		return ERR_PROXY_PROTOCOL;
	if (failed->err == ERR_PROXY_NO_METHOD || failed->err == ERR_PROXY_AUTH ||
	    failed->err == ERR_PROXY_PROTOCOL || failed->err == ERR_PROXY_TRUNCATED)
		return failed->err;
	return ERR_PROXY_UNREACHABLE;
}
