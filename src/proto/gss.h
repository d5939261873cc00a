/* SPDX-License-Identifier: MIT */
/* The frames of GSS-API inside SOCKS5, RFC 1961, and the levels of protection that they negotiate
 * (protocol.md section 4). What is in the tokens is the business of a GSS-API library. */
#ifndef TABI_PROTO_GSS_H
#define TABI_PROTO_GSS_H

#include "proto/wire.h"

#define GSS_FRAME_VERSION 1
/* Version, type and length; an abort has no length. */
#define GSS_FRAME_HEADER 4
#define GSS_TOKEN_MAX 65535
#define GSS_FRAME_MAX (GSS_FRAME_HEADER + GSS_TOKEN_MAX)

/* What a peer that nobody knows yet may send until the context stands. Kerberos needs one token. */
#define GSS_CONTEXT_TOTAL_MAX (256u * 1024)
#define GSS_CONTEXT_ROUNDS_MAX 10

enum gss_frame_type {
	GSS_FRAME_CONTEXT = 0x01, /* a token that establishes the context */
	GSS_FRAME_LEVEL = 0x02,   /* the level of protection, one octet that is wrapped */
	GSS_FRAME_DATA = 0x03,    /* anything from the request on, wrapped */
	GSS_FRAME_ABORT = 0xff,   /* of the server; these two bytes are all of it */
};

enum gss_level {
	GSS_LEVEL_CLEAR = 0, /* not of the RFC: no frames at all after the negotiation */
	GSS_LEVEL_INTEGRITY = 1,
	GSS_LEVEL_CONFIDENTIAL = 2, /* and integrity */
	GSS_LEVEL_PER_MESSAGE = 3,  /* asked for only: each message as its sender sees fit */
};
/* As bits where a set is meant. */
#define GSS_LEVEL_BIT(level) (1u << (level))

struct gss_frame {
	uint8_t type; /* enum gss_frame_type */
	uint16_t len;
	const uint8_t *token; /* leads into the bytes that were read */
};

/*
 * A frame of that type, or an abort: WIRE_DONE, WIRE_MORE, or ERR_MALFORMED as soon as the version
 * or the type is another. A server may send a context token of length 0 ("go on"), a client has no
 * use for one: that is for the caller to judge.
 */
int gss_frame_read(struct wire_reader *in, enum gss_frame_type type, struct gss_frame *ret_frame);

/* How long the token will be that begins at the front of `in`, or -1 where its header is not whole.
 * Only what gss_frame_read() wants more of is asked about. */
int gss_frame_peek_length(const struct wire_reader *in);

/* A datagram is exactly one frame of data: 0 or ERR_MALFORMED. */
int gss_frame_read_datagram(const void *data, size_t len, struct gss_frame *ret_frame);

/* `len` is at most GSS_TOKEN_MAX; where it is more the writer has failed. */
void gss_frame_write(
    struct wire_writer *out, enum gss_frame_type type, const void *token, size_t len);
/* The first GSS_FRAME_HEADER bytes alone, for whoever sends the token from where it is. */
void gss_frame_header(
    uint8_t header[static GSS_FRAME_HEADER], enum gss_frame_type type, uint16_t len);
void gss_frame_write_abort(struct wire_writer *out);

/*
 * The level to answer to a client that asks for `asked`, any octet, where those of `allowed` (bits)
 * are: what comes closest, a stronger one first. The server decides (RFC 1961 section 4), and a
 * client that wants no less leaves: curl asks for the most that the context can do, and is content
 * with clear. Returns an enum gss_level, or ERR_GSS_LEVEL.
 */
int gss_level_choose(unsigned allowed, uint8_t asked);

#endif
