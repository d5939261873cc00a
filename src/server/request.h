/* SPDX-License-Identifier: MIT */
/*
 * A session's request: decided by policy, resolved, decided again for each address, then dialled,
 * listened for, or told where nothing else was asked.
 *
 * What is judged is what is connected to: a name is looked up once, every address that it has is
 * put to the policy, and those admitted are the ones that net/dial tries.
 */
#ifndef TABI_SERVER_REQUEST_H
#define TABI_SERVER_REQUEST_H

#include <stdbool.h>

#include "policy/decide.h"

struct log_record;
struct policy_rule;
struct session;

/* Begins with what session->hs->accept asks for; ends in session_connected(), session_listening(),
 * session_associated(), session_resolved() or session_end(). */
void request_begin(struct session *session);

/* Stops what is under way. */
void request_cancel(struct session *session);

/* Of a BIND that expects anybody: does the policy admit this one? */
bool request_admits_peer(struct session *session, const struct ip *ip);

/* For server/upstream.c: what a proxy has answered to RESOLVE, an address or a name. A name is
 * judged once more, with its address. */
void request_resolved_via(struct session *session, const struct addr *found);

/* The fields `verdict` and `rule` of a log line. */
void request_log_verdict(struct log_record *rec, bool allowed, const struct policy_rule *rule);

/* Local time, as `during` means it. */
week_minute request_now(void);

/* The line that a rule with `log` asks for. */
void request_log_decision(
    const struct session *session, const struct policy_request *req, const struct decision *d);

/* Is it an address of this host, or an IPv6 form that carries one of our IPv4 addresses? */
bool request_is_local(const struct ip *ip);

/* Would what is sent there come back to one of our listeners? */
bool request_is_self(const struct session *session, const struct ip *ip, uint16_t port);

#endif
