/* SPDX-License-Identifier: MIT */
/*
 * tabi probe: what a proxy really does.
 *
 * probe_ask.c speaks with the proxy in the regular way (in HTTP probe_ask_http.c, by GSS-API
 * probe_ask_gss.c), probe_survey.c finds out what it can, and probe_show.c tells that; probe_kit.h
 * has the numbered checks. One thing is done after the other,
 * each with a time limit of its own, and nothing that a proxy sends can make any of it wait longer.
 */
#ifndef TABI_CLI_PROBE_H
#define TABI_CLI_PROBE_H

#include "cli/probe_options.h"
#include "cli/replies.h"
#include "cli/talk.h"
#include "cli/target.h"
#include "proto/socks5.h"

/* What must not come would have come within this; ms. */
#define PROBE_QUIET 300
/* All that is said by one attempt. */
#define PROBE_STEP_SECONDS 30

/* How an attempt to get something from the proxy went. */
enum outcome {
	OUTCOME_UNTRIED,
	OUTCOME_YES,
	OUTCOME_NO,      /* refused, by a reply that says so */
	OUTCOME_SILENT,  /* nothing came in time */
	OUTCOME_CLOSED,  /* it closed without a reply */
	OUTCOME_WRONG,   /* it answered something else */
	OUTCOME_NO_ECHO, /* granted, and then no bytes passed */
};

struct attempt {
	enum outcome outcome;
	struct reply reply;
	struct head head; /* of HTTP, instead */
	uint64_t ns;      /* from the request to its reply */
	char seen[160];   /* in words; printable */
};

#define PROBE_METHODS 9

/* By which protocol the target is reached where it does not matter. */
enum probe_way { WAY_SOCKS5, WAY_SOCKS4, WAY_HTTP };

struct survey {
	uint64_t dial_ns, tls_ns, method_ns, reply_ns, echo_ns;
	bool v5;                       /* a greeting is answered in version 5 */
	bool enters;                   /* by one of our methods, up to the request */
	uint8_t method;                /* which */
	bool open;                     /* lets in whoever shows nothing */
	uint8_t chosen[PROBE_METHODS]; /* the answer to each of probe_methods[] offered alone; 0xfe:
					  none */
	struct attempt connect4, connect6, by_name, socks4, socks4a, http, http6, http_name, bind,
	    bind4, udp, resolve, resolve_ptr;
	/* To CONNECT in HTTP without credentials, where that is not `http`. */
	struct attempt http_open;
	bool connects;                   /* one of connect4 and connect6 is OUTCOME_YES */
	bool reached;                    /* the target is, by probe_way() */
	struct target_line seen4, seen6; /* what the target says of those */
};

struct probe {
	const struct probe_options *o;
	struct sockaddr_storage proxy;
	socklen_t proxy_len;
	struct addr proxy_addr, local; /* local: from where we reach it */
	/* ADDR_NONE where there is none. `main` is that of the two through which everything is
	 * tried; `name` is one of it that the proxy may be able to look up. */
	struct addr target4, target6, main, name;
	struct addr refusing;     /* where nobody listens */
	uint64_t dial_ns, tls_ns; /* of the last ask_dial() */
	bool own_target;
	int own_pids[2];
	struct survey s;
	char why[160]; /* why the last call of probe_ask.c failed; printable */
};

extern const struct probe_method {
	uint8_t number;
	const char *name;
} probe_methods[PROBE_METHODS];

/* ---- probe_ask.c ---- */

/* The moment beyond which nothing waits, from now. */
uint64_t probe_limit(void);
unsigned probe_ms(const struct probe *p); /* for one answer */

/* What the URL says. */
enum probe_way probe_way(const struct probe *p);
/* p->why becomes "WHAT: WHY"; returns false. */
bool ask_fail(struct probe *p, const char *what, const char *why);
/* The same with what came instead of what should have. */
bool ask_fail_bytes(struct probe *p, struct talk *t, const char *of);
/* Into an attempt that came to nothing: what came instead of an answer; `any` bytes of it did. */
void ask_no_answer(struct talk *t, bool any, struct attempt *ret);
/* There was not even a connection. */
void ask_untried(struct probe *p, struct attempt *ret);

/* Connects to the proxy, in TLS where the URL says so. Returns whether that went well; talk_close()
 * is fine in any case. */
bool ask_dial(struct probe *p, struct talk *t);

/* These write into `buf`, which has room (PROBE_MESSAGE), and return the length. */
#define PROBE_MESSAGE 1024
size_t ask_write_greeting(const struct probe *p, uint8_t *buf);
size_t ask_write_login(const struct probe *p, uint8_t *buf); /* 0 where there is none */
size_t ask_write_request(uint8_t *buf, uint8_t command, const struct addr *to);
/* A request of SOCKS4, or of 4A for a name. */
size_t ask_write_request4(uint8_t *buf, uint8_t command, const struct addr *to);

/* Reads the answer to a greeting: the method, or -1 where it is none of SOCKS5. */
int ask_read_choice(struct probe *p, struct talk *t);
/* Password or GSS-API, where that is the method; returns whether a request may follow. */
bool ask_login(struct probe *p, struct talk *t);
/* Greeting and login over a connection of ours; returns the same. */
bool ask_enter(struct probe *p, struct talk *t);
/* ask_dial() and ask_enter(). */
bool ask_hello(struct probe *p, struct talk *t);

/* Waits for a reply, takes it and says in words what it was. */
void ask_read5(struct probe *p, struct talk *t, struct attempt *ret);
void ask_read4(struct probe *p, struct talk *t, struct attempt *ret);
/* Hello, request, reply. The connection stays open. */
void ask5(
    struct probe *p, struct talk *t, uint8_t command, const struct addr *to, struct attempt *ret);
void ask4(
    struct probe *p, struct talk *t, uint8_t command, const struct addr *to, struct attempt *ret);

/* A connection through the proxy to `to`, by probe_way(), with the preface of `letter` and its
 * argument said. */
bool ask_open(struct probe *p, struct talk *t, const struct addr *to, char letter, const char *arg);
/* Through the proxy to the target: a line of it. */
bool ask_target(struct probe *p, char letter, const char *arg, struct target_line *ret);
/* Waits for a line of the target. */
bool ask_line(struct probe *p, struct talk *t, struct target_line *ret);
/* Over a connection to TARGET's echo: does it come back? */
bool ask_ping(struct probe *p, struct talk *t, const char *text);

/* ---- probe_ask_gss.c ---- */

/* RFC 1961 behind the choice of its method: from here on all is protected. */
bool ask_gss(struct probe *p, struct talk *t);

/* ---- probe_ask_http.c ---- */

/* A request, or several; credentials may be long. */
#define PROBE_HTTP ((size_t)4096)

/* "Proxy-Authorization: Basic ...", as a line with its end; nothing where the URL has no user.
 * Writes no NUL. Returns the length. */
size_t ask_write_credentials(const struct probe *p, char *buf);
/* CONNECT to `to`, with credentials. Returns the length. */
size_t ask_write_http(const struct probe *p, uint8_t *buf, const struct addr *to);
/* Waits for the head of an answer, takes it and says in words what it was. Interim ones are passed
 * over. */
void ask_read_http(struct probe *p, struct talk *t, struct attempt *ret);
/* Takes what comes behind a refusal. Returns whether another request may follow. */
bool ask_skip_body(struct probe *p, struct talk *t, const struct head *head);
/* Dials, asks, reads. The connection stays open. */
void ask_http(struct probe *p, struct talk *t, const struct addr *to, struct attempt *ret);

/* ---- probe_survey.c ---- */

/* Returns false where there is no proxy to ask at all; `why` tells. */
bool probe_survey(struct probe *p);

/* ---- probe_target.c ---- */

/* Finds the targets, or starts some of our own. Returns 0, or the exit status with a message. */
int probe_find_targets(struct probe *p);
void probe_end_targets(struct probe *p);

/* ---- probe_show.c ---- */

void probe_show(struct probe *p);
/* A JSON string with its quotes. */
void show_json_text(const char *text);
/* "yes", "no", "silent"... */
const char *outcome_name(enum outcome outcome);

#endif
