/* SPDX-License-Identifier: MIT */
/* Streams: a socket with its layers, read and written by the public calls. */
#ifndef TABI_LIB_STREAM_H
#define TABI_LIB_STREAM_H

#include "lib/layer.h"

/* `fd`, which does not block, and `top` are the stream's where it succeeds. NULL without memory. */
struct tabi_stream *stream_new(tabi_socket fd, struct layer *top);

#endif
