/* SPDX-License-Identifier: MIT */
/*
 * tabi probe --conformance: numbered checks of what a SOCKS server does, the same for all servers.
 *
 * A check is a row of a table; the tables are in the files named for what they are about. Numbers
 * are for ever: a check that goes takes its number with it. A check is required where RFC 1928, RFC
 * 1929 or the memo of SOCKS4 demand it, and recommended where it is good practice.
 */
#ifndef TABI_CLI_PROBE_KIT_H
#define TABI_CLI_PROBE_KIT_H

#include "cli/probe.h"

enum level { LEVEL_REQUIRED, LEVEL_RECOMMENDED };

enum probe_verdict {
	VERDICT_PASS,
	VERDICT_FAIL,
	VERDICT_NOT_APPLICABLE, /* the proxy does not offer what it is about */
	VERDICT_UNTESTED,       /* it could not be found out from here */
	VERDICTS,
};

/* What has to be known to work, or there is nothing to check. */
enum need {
	NEED_V5 = 1 << 0,       /* a request can be made by SOCKS5 */
	NEED_CONNECT = 1 << 1,  /* and the target reached so */
	NEED_TARGET4 = 1 << 2,  /* by IPv4 */
	NEED_TARGET6 = 1 << 3,  /* by IPv6 */
	NEED_NAME = 1 << 4,     /* and by a name */
	NEED_REFUSING = 1 << 5, /* a port is known where nobody listens */
	NEED_LOGIN = 1 << 6,    /* we come in by a password */
	NEED_CLOSED = 1 << 7,   /* nobody comes in without showing something */
	NEED_FREE = 1 << 8,     /* anybody does */
	NEED_SOCKS4 = 1 << 9,   /* the target can be reached by SOCKS4 */
	NEED_SOCKS4A = 1 << 10,
	NEED_BIND = 1 << 11,
	NEED_BIND4 = 1 << 12,
	NEED_UDP = 1 << 13,
	NEED_SLOW = 1 << 14,       /* it takes minutes */
	NEED_GREETING = 1 << 15,   /* a greeting is answered */
	NEED_MAIN = 1 << 16,       /* there is a target, whether or not it is reached */
	NEED_REACHED = 1 << 17,    /* the target is reached, by whatever the URL says */
	NEED_HTTP = 1 << 18,       /* the target is reached by CONNECT in HTTP */
	NEED_HTTP_LOGIN = 1 << 19, /* and only with our credentials */
	NEED_NO_GSS = 1 << 20,     /* messages can follow each other without an answer */
	/* What the URL says, or is there all the same. */
	NEED_SOCKS5_SAID = 1 << 21,
	NEED_HTTP_SAID = 1 << 22,
};

struct kit;

struct check {
	const char *id;
	enum level level;
	unsigned needs;
	const char *what; /* one sentence */
	const char *source;
	const char *expected;
	enum probe_verdict (*run)(struct kit *k);
	const char *bytes; /* for `run` */
	unsigned n_bytes, arg;
};

#define BYTES(text) .bytes = (text), .n_bytes = sizeof(text) - 1

#define KIT_TALKS 3

struct kit {
	struct probe *p;
	const struct check *check;
	struct talk t[KIT_TALKS]; /* closed after the check */
	int udp[KIT_TALKS];       /* the same, for datagrams; -1: none */
	unsigned token;           /* the last one given out */
	char seen[240];           /* printable */
};

/* The end of a check: what was seen, and the verdict. */
enum probe_verdict kit_pass(struct kit *k, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
enum probe_verdict kit_fail(struct kit *k, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
enum probe_verdict kit_none(struct kit *k, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
enum probe_verdict kit_untested(struct kit *k, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
/* Not even as far as the check: the last ask_...() says why. */
enum probe_verdict kit_stuck(struct kit *k);

/* A token of TARGET_TOKEN letters that no other check has. */
const char *kit_token(struct kit *k, char buf[static TARGET_TOKEN + 1]);
/* What the target noted under a token. Returns false where it could not be asked; `noted` of the
 * line is false where it never saw the token. Waits till the connection has ended if `ended`. */
bool kit_query(struct kit *k, const char *token, bool ended, struct target_line *ret);

/* Sends and describes what comes back up to the end, at most 8 bytes of it; for bytes that are no
 * proper message. */
void kit_say(struct kit *k, struct talk *t, const void *data, size_t len);
/* A lot for a server that has refused and may not read any more; what it said meanwhile can be read
 * afterwards. */
void kit_fire(struct talk *t);
/* Was it closed within ten seconds (with --timeout unsaid)? Bytes that come before are left in `t`.
 */
bool kit_ends(struct kit *k, struct talk *t);
/* Somebody else than the target, at port 0: of its own network where that is this host alone, or
 * the proxy would have no way to him. */
struct addr kit_stranger(const struct kit *k);
/* Is the proxy there, for somebody new, by what the URL says? */
bool kit_alive(struct kit *k);
/* A pass where the reply refuses with `code`, and fails with all others. */
enum probe_verdict kit_refused_with(struct kit *k, const struct attempt *a, uint8_t code);
/* A pass where the reply is a refusal of any code, or the connection was closed. */
enum probe_verdict kit_refused(struct kit *k, const struct attempt *a);

/* The groups. */
extern const struct check transport_checks[], socks4_checks[], method_checks[], login_checks[],
    request_checks[], relay_checks[], bind_checks[], udp_checks[], http_checks[],
    http_login_checks[], last_checks[];
extern const unsigned n_transport_checks, n_socks4_checks, n_method_checks, n_login_checks,
    n_request_checks, n_relay_checks, n_bind_checks, n_udp_checks, n_http_checks,
    n_http_login_checks, n_last_checks;
#define N_CHECKS_OF(table) ((unsigned)(sizeof(table) / sizeof((table)[0])))

/* ---- the runner ---- */

struct kit_result {
	const struct check *check;
	enum probe_verdict verdict;
	uint64_t ns;
	char seen[240];
};

unsigned kit_count(void);
const struct check *kit_check(unsigned i);
const struct check *kit_find(const char *id);
/* Runs one. */
void kit_run(struct probe *p, const struct check *check, struct kit_result *ret_result);
/* Runs all that were asked for and tells. Returns an enum probe_status. */
int kit_main(struct probe *p);
/* Are all of --only checks or groups? Tells which is not. */
bool kit_knows_all(const struct probe_options *o);

/* ---- telling, probe_kit_show.c ---- */

const char *verdict_name(enum probe_verdict verdict);
const char *level_name(enum level level);
void kit_show_begin(const struct probe *p);
void kit_show(const struct probe *p, const struct kit_result *result, bool first);
void kit_show_end(const struct probe *p, unsigned counts[2][VERDICTS]);

#endif
