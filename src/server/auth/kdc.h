/* SPDX-License-Identifier: MIT */
/*
 * The client of a KDC: who we are toward other proxies (`proxy ... gssapi`), and a ticket for one
 * of them. In a build without Kerberos it is kdc_none.c, where nobody is anybody.
 *
 * Who we are comes from a keytab, which is held in memory, or from a cache of credentials that
 * somebody else keeps. A ticket lies in a cache of its own in memory, with nothing beside it: who
 * uses it can go no further, not even to a KDC.
 */
#ifndef TABI_SERVER_AUTH_KDC_H
#define TABI_SERVER_AUTH_KDC_H

#include <stdbool.h>
#include <stddef.h>
#include <time.h>

#include "policy/policy.h"

/* Threads may use it at once. */
struct kdc_client;

/*
 * `keytab` is the bytes of the file that `gss` names; NULL where it names a cache. Returns 0,
 * -ENOMEM, or another error with a sentence that says what is wrong with the file (in `why`, which
 * holds `size` bytes).
 */
int kdc_client_new(struct kdc_client **ret_client, const struct policy_gss *gss, const void *keytab,
    size_t len, char *why, size_t size);
struct kdc_client *kdc_client_ref(struct kdc_client *client);
/* By any thread. NULL is fine. */
void kdc_client_unref(struct kdc_client *client);

/* The same principal with the same keys, or the same cache. */
bool kdc_client_equal(const struct kdc_client *a, const struct kdc_client *b);

/* Belongs to one thread at a time. */
struct kdc_ticket;

/* Asks a KDC, and waits for it: many seconds, where it is not there. Returns 0, or ERR_PROXY_AUTH
 * with the library's words in `why`. */
int kdc_fetch(struct kdc_client *client, const char *service, const char *host,
    struct kdc_ticket **ret_ticket, char *why, size_t size);
/* Wiped. NULL is fine. */
void kdc_ticket_free(struct kdc_ticket *ticket);

/* They live as long as the ticket. */
const char *kdc_ticket_cache(const struct kdc_ticket *ticket);
const char *kdc_ticket_principal(const struct kdc_ticket *ticket);
time_t kdc_ticket_end(const struct kdc_ticket *ticket);

#endif
