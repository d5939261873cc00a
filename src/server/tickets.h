/* SPDX-License-Identifier: MIT */
/*
 * Tickets for other proxies (`proxy ... gssapi`), of one statement: what a worker has of them.
 *
 * Theory of operation. A KDC that is slow or dead makes libkrb5 wait for many seconds, and it has
 * no way to wait but to block. So no session's work ever meets a KDC: a ticket is fetched by a
 * thread of its own, one for each service at a time, whoever needs it waits in the loop, and one
 * ticket is all sessions'. The threads are none of libuv's pool: those are few, passwords and
 * tokens of clients need them, and a process cannot exit before they are done. A ticket that grows
 * old is used until it ends while the next one is fetched. A failure is told to all who wait, and
 * to who comes within a second.
 */
#ifndef TABI_SERVER_TICKETS_H
#define TABI_SERVER_TICKETS_H

#include <stdbool.h>

#include "net/chain_gss.h"
#include "server/auth/kdc.h"

struct tickets;

/* For that client, which becomes its own where this succeeds. NULL without memory. */
struct tickets *tickets_new(struct kdc_client *client);
/* By the loop's thread. */
struct tickets *tickets_ref(struct tickets *tickets);
/* NULL is fine. */
void tickets_unref(struct tickets *tickets);

bool tickets_equal(const struct tickets *a, const struct tickets *b);

/* For chains; it lives as long. */
struct chain_tickets *tickets_for_chains(struct tickets *tickets);

/* Before the loop ends, when no chain is left: no watch of it is needed any more. */
void tickets_stop(struct tickets *tickets);

/* Does a thread still wait for a KDC? Then the process must end by _exit(): exit() would take away
 * what the thread uses. */
bool tickets_are_fetched(void);

#endif
