/* SPDX-License-Identifier: MIT */
/*
 * GSS-API's protection of every message as a layer (net/layer.h), RFC 1961 section 4: the stream in
 * frames that are wrapped, and the datagrams of a UDP association with them.
 *
 * Theory of operation. What is sent is cut into slices, each wrapped and sent as one frame; what is
 * received is unwrapped frame by frame, and may be cut in any way. A frame of another kind, one
 * that is not genuine, repeated or out of its order, or not encrypted where that was agreed, ends
 * the connection. Buffers exist while there is something in them; an idle layer owns the context
 * alone. All of it is computation, and runs in the loop.
 *
 * The end of the stream is TCP's: RFC 1961 has no message for it, so somebody on the way may end
 * the stream where he likes, and what was cut off by that looks complete.
 */
#ifndef TABI_NET_GSS_H
#define TABI_NET_GSS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "net/layer.h"

struct gss_ctx_id_struct; /* gss_ctx_id_t points to one */

/* Was this built with GSS-API? Without, all of this fails. */
bool gss_is_there(void);

/* NULL is fine. */
void gss_context_free(struct gss_ctx_id_struct *context);

/*
 * Single messages, before there is a layer. `*ret_len` says how many of `size` bytes of `buf` were
 * written. Return 0, ERR_GSS_MESSAGE where the message is not genuine or not `confidential` though
 * that is asked for, or -ENOBUFS or -ENOMEM.
 */
int gss_message_wrap(struct gss_ctx_id_struct *context, bool confidential, const void *data,
    size_t len, uint8_t *buf, size_t size, size_t *ret_len);
int gss_message_unwrap(struct gss_ctx_id_struct *context, bool confidential, const void *data,
    size_t len, uint8_t *buf, size_t size, size_t *ret_len);

/*
 * The client's side of establishing a context, which starts as NULL: takes the proxy's token (none
 * at first) and gives ours, perhaps none. `service` is SERVICE@HOST, or a principal where it holds
 * a '/'. Asks for mutual authentication, replay detection, integrity and confidentiality, and for
 * an order unless `datagrams` are to be sent. The ticket comes from the cache of credentials that
 * `cache` names; NULL: from where the library finds one, perhaps from a KDC, and that blocks.
 * Returns 1 when our side stands, 0 when another token is needed, or ERR_PROXY_AUTH, with the
 * library's words in `why`.
 */
int gss_initiate(struct gss_ctx_id_struct **context, const char *service, const char *cache,
    bool datagrams, const void *token, size_t len, uint8_t *buf, size_t size, size_t *ret_len,
    char *why, size_t why_size);

/*
 * A layer over `fd` (the caller's) and `below` (another layer, or NULL; its own from now on, as is
 * `context`, where this succeeds). The `n` bytes at `early` were read behind the message that began
 * it and come first. Returns 0, or -ENOMEM.
 */
int gss_layer_new(struct layer **ret_layer, int fd, struct layer *below,
    struct gss_ctx_id_struct *context, bool confidential, const void *early, size_t n);

/* Is it one of these? NULL is not. */
bool gss_layer_is(const struct layer *layer);

/*
 * A whole datagram under the layer's context: one frame. They may be lost and come in any order,
 * but not twice. As the messages above; unwrapping, `buf` needs `len` bytes. `*ret_len` is the
 * frame's, or the unwrapped datagram's length.
 */
int gss_datagram_wrap(
    struct layer *layer, const void *data, size_t len, uint8_t *buf, size_t size, size_t *ret_len);
int gss_datagram_unwrap(
    struct layer *layer, const void *data, size_t len, uint8_t *buf, size_t size, size_t *ret_len);

#endif
