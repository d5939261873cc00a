/* SPDX-License-Identifier: MIT */
/* What the blocking calls need of a dial beyond the public functions. */
#ifndef TABI_LIB_DIAL_H
#define TABI_LIB_DIAL_H

#include "tabi.h"

/* Steps and waits until it is through, or for at most `timeout` (negative: as long as the dial's
 * own deadline allows). Returns 1, 0 when that time was over, or the negative error. */
int dial_wait(struct tabi_dial *dial, int timeout);

/* Is one of the hops to be spoken to in TLS? */
int dial_wants_tls(const struct tabi_dial *dial);

#endif
