/* SPDX-License-Identifier: MIT */
/*
 * What came from a proxy or through it, read without any leniency: proto's readers make the best of
 * bad answers, here it matters how bad they are.
 *
 * Pure: no I/O, and nothing is trusted.
 */
#ifndef TABI_CLI_REPLIES_H
#define TABI_CLI_REPLIES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/addr.h"

enum shape {
	SHAPE_NONE,  /* nothing */
	SHAPE_SHORT, /* right as far as it goes, and not whole */
	SHAPE_WHOLE,
	SHAPE_WRONG, /* no continuation makes it right */
};

struct reply {
	enum shape shape;
	uint8_t version, code;
	uint8_t rsv, type; /* of SOCKS5; 0 before they came */
	size_t len;        /* of it, where it is whole */
	struct addr bound; /* where it is whole; ADDR_NAME holds what came, unchecked */
};

/* A reply of SOCKS5, RFC 1928 section 6, with RSV 0; `data` may hold more behind it. Returns how
 * long it is at least, as far as the bytes tell (more than `len` where some are missing). */
size_t reply5_read(const uint8_t *data, size_t len, struct reply *ret_reply);

/* A reply of SOCKS4: version 0, a code of 90 to 93. */
size_t reply4_read(const uint8_t *data, size_t len, struct reply *ret_reply);

/* What a target says (cli/target.h), NUL-terminated and without its newline. */
struct target_line {
	struct addr peer;  /* "peer=" or "from="; ADDR_NONE where it is not told */
	uint16_t refuses;  /* 0: not told */
	bool noted;        /* received and end are told */
	uint64_t received; /* at most 10^18 */
	char end[8];       /* "open", "eof", "reset" */
	bool failed;       /* "failed=": it could not connect */
};

/* Returns whether it is one. */
bool target_line_read(const char *line, struct target_line *ret_line);

/* The head of an answer in HTTP. */
struct head {
	enum shape shape;
	/* Where it is whole: */
	size_t len;
	unsigned status; /* 100 to 999 */
	bool has_length; /* it says how long what follows is: by Content-Length or Transfer-Encoding
			  */
	bool chunked;
	uint64_t length; /* of Content-Length, or 0 */
	bool challenge;  /* there is a Proxy-Authenticate */
	bool stays;      /* the connection may be used again */
};

/* `data` may hold more behind it. */
void head_read(const uint8_t *data, size_t len, struct head *ret_head);

/* Hexadecimal, cut with "..." where it is longer than fits. Returns `buf`. */
char *bytes_format(const uint8_t *data, size_t len, char *buf, size_t cap);

#endif
