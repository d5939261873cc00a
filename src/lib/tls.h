/* SPDX-License-Identifier: MIT */
/*
 * TLS 1.2 and 1.3 by the system's OpenSSL as a layer, for whoever gives no options.tls.
 *
 * Theory of operation. The library is opened when a chain wants TLS first (lib/library.h). OpenSSL
 * reads and writes through the layer below, whatever that is. A build without has tls_none.c in the
 * place of tls.c, and there tls_load() fails.
 */
#ifndef TABI_LIB_TLS_H
#define TABI_LIB_TLS_H

#include "lib/layer.h"

#define TLS_SAID_MAX 160

/* Opens the library, once. Returns 0, or TABI_E_TLS with the reason in `said`. The other function
 * is called only when it was 0. */
int tls_load(char said[static TLS_SAID_MAX]);

/*
 * A session as the client, whose handshake is still to come. The certificate has to be for `host`,
 * a name or an address, and signed by those in the file `ca` (PEM), or, where that is NULL, by
 * those whom the system trusts. `below` is the layer's own where it succeeds. NULL where it fails,
 * with the reason in `*ret_why`, a constant.
 */
struct layer *tls_layer_new(
    const char *ca, const char *host, struct layer *below, const char **ret_why);

#endif
