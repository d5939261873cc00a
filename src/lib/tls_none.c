/* SPDX-License-Identifier: MIT */
#include "lib/tls.h"

#include <stdio.h>

int tls_load(char said[static TLS_SAID_MAX])
{
	snprintf(said, TLS_SAID_MAX,
	    "this libtabi was built without TLS of its own, and options.tls has none");
	return TABI_E_TLS;
}

struct layer *tls_layer_new(
    const char *ca, const char *host, struct layer *below, const char **ret_why)
{
	(void)ca, (void)host, (void)below;
	*ret_why = "this libtabi was built without TLS of its own";
	return NULL;
}
