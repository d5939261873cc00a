/* SPDX-License-Identifier: MIT */
/*
 * GSS-API's protection of every message as a layer, and of datagrams (RFC 1961 section 4).
 *
 * Theory of operation. What is sent is cut into slices, each wrapped and sent as one frame; the
 * next is wrapped when all of that is with the kernel, and only then is the slice said to be taken.
 * What is received is collected up to a frame and unwrapped where it is. RFC 1961 has no message
 * for the end of the stream: it is TCP's.
 */
#ifndef TABI_LIB_GSSLAYER_H
#define TABI_LIB_GSSLAYER_H

#include "lib/gssapi.h"
#include "lib/layer.h"

/* `context` and `below` are the layer's own where it succeeds. NULL without memory. */
struct layer *gsslayer_new(
    struct gss_ctx_id_struct *context, bool confidential, struct layer *below);

/* Is it one of these? */
bool gsslayer_is(const struct layer *layer);

/*
 * Datagrams under the layer's context, each a frame of its own. `*ret_len` says how many of `size`
 * bytes of `buf` were written; unwrapping, `buf` may be `data`. Return what
 * gssapi_wrap() and gssapi_unwrap() do.
 */
int gsslayer_wrap(
    struct layer *layer, const void *data, size_t len, void *buf, size_t size, size_t *ret_len);
int gsslayer_unwrap(
    struct layer *layer, const void *data, size_t len, void *buf, size_t size, size_t *ret_len);

#endif
