/* SPDX-License-Identifier: MIT */
/* What the calls that block need of a dial beyond the public functions. */
#ifndef TABI_LIB_DIAL_H
#define TABI_LIB_DIAL_H

#include "lib/layer.h"
#include "tabi.h"

/* Steps and waits until it is through, or for at most `timeout` (negative: as long as the dial's
 * own deadline allows). Returns 1, 0 when that time was over, or the negative error. */
int dial_wait(struct tabi_dial *dial, int timeout);

/* Why a socket alone would be of no use, be it that a hop is to be spoken to in TLS or that
 * GSS-API's protection is asked for: 0, TABI_E_TLS or TABI_E_GSS. */
int dial_needs_stream(const struct tabi_dial *dial);

/* After its end, up to LOOKUP_ADDRESSES_MAX addresses of a host, within the dial's deadline.
 * Returns how many. */
int dial_look_up(struct tabi_dial *dial, const char *host, struct tabi_address *ret_addresses);

/* The proxies as they were given, else as the environment says; NULL: there are none. */
const char *dial_find_proxies(const char *proxies);

/* How many proxies datagrams go through: all where all speak SOCKS5, and the last one alone where
 * there is no other or the options say that they go straight to it; 0 where they cannot. */
size_t dial_datagram_hops(const struct tabi_dial *dial);

/* Until its deadline, as options.timeout. */
int dial_time_left(const struct tabi_dial *dial);

/* After its end: by what datagrams of the last hop are protected, or NULL. */
struct layer *dial_protects_datagrams(const struct tabi_dial *dial);

#endif
