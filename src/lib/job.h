/* SPDX-License-Identifier: MIT */
/*
 * Work that blocks (a name's look-up, a ticket of Kerberos) on a thread of its own, and a
 * descriptor that says when it is over.
 *
 * Theory of operation. What blocks in the system's libraries cannot be called off. So the caller
 * may leave it at any time: whichever of the two, caller or thread, is the last to leave frees all.
 * The thread takes no signal of the program's, is waited for by nobody, and a program may end with
 * it still at work; the library's code stays in memory as long as one runs. After fork() the child
 * has no such thread, and is told so.
 */
#ifndef TABI_LIB_JOB_H
#define TABI_LIB_JOB_H

#include "tabi.h"

struct job;

/*
 * Begins work(ctx) on a new thread. From here on `ctx` is the job's, which frees it by drop(ctx) on
 * either thread, unless job_take() gets it back. Returns 0, or -errno, and then `ctx` is still the
 * caller's.
 */
int job_start(struct job **ret_job, void (*work)(void *ctx), void (*drop)(void *ctx), void *ctx);

/* Readable when it is over; for waiting alone. */
tabi_socket job_fd(const struct job *job);

/* Returns 1 when it is over, 0 while it is not, and -ECHILD in a child of fork(), where it never
 * will be. */
int job_is_over(const struct job *job);

/* Once it is over: ends the job, and `ctx` is the caller's again. NULL before. */
void *job_take(struct job *job);

/* Ends it whether or not it is over. NULL is fine. In a child of fork() `ctx` is not dropped, for
 * it is as the thread had it at that moment. */
void job_leave(struct job *job);

#endif
