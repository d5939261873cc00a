/* SPDX-License-Identifier: MIT */
/* Between the addresses of the public header and those of proto/addr. */
#ifndef TABI_LIB_ADDRESS_H
#define TABI_LIB_ADDRESS_H

#include "proto/addr.h"
#include "tabi.h"

/* ADDR_NONE is TABI_NONE. */
void address_from_addr(const struct addr *addr, struct tabi_address *ret_address);

/* Returns 0, or TABI_E_ARGUMENT where it is no address: of an unknown family, or a name that is
 * none. TABI_NONE is ADDR_NONE. */
int address_to_addr(const struct tabi_address *address, struct addr *ret_addr);

#endif
