/* SPDX-License-Identifier: MIT */
/* What several of these programs do alike. */
#ifndef TABI_TESTS_LIB_COMMON_H
#define TABI_TESTS_LIB_COMMON_H

#include <poll.h>
#include <stdio.h>
#include <tabi.h>

/* Returns the status with which to end. */
static inline int fail(const struct tabi_error *error)
{
	char text[600];

	fprintf(stderr, "%s\n", tabi_error_text(error, text, sizeof(text)));
	return 1;
}

static inline void wait_for(tabi_socket fd, int events, int timeout)
{
	struct pollfd p = {.fd = fd};

	p.events =
	    (short)((events & TABI_READABLE ? POLLIN : 0) | (events & TABI_WRITABLE ? POLLOUT : 0));
	poll(&p, 1, timeout);
}

#endif
