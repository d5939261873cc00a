/* SPDX-License-Identifier: MIT */
/*
 * A thread of the library's own, and the bell that it rings: thread_posix.c or thread_windows.c,
 * chosen by the build. Errors are -errno.
 */
#ifndef TABI_LIB_THREAD_H
#define TABI_LIB_THREAD_H

#include "tabi.h"

/*
 * Begins run(arg) on a thread that nobody waits for, which takes no signal of the program's and
 * keeps the library's code in memory. Returns 0 or an error.
 */
int thread_start(void *(*run)(void *arg), void *arg);

/* This process, which is another one in a child of fork(). */
long thread_process(void);

/* What was rung is readable for ever. On Windows, where only sockets are waited for, both are one.
 */
struct bell {
	tabi_socket listen, ring;
};

/* Returns 0 or an error. */
int bell_open(struct bell *ret_bell);
/* On any thread. */
void bell_ring(const struct bell *bell);
void bell_close(const struct bell *bell);

#endif
