/* SPDX-License-Identifier: MIT */
/*
 * The auth helper: a process that answers the workers' questions about passwords by asking PAM.
 *
 * Theory of operation. PAM's modules block for seconds, are not made for threads, and want the
 * rights that the server was started with. So they run in a process of their own, and there one
 * process for each check, PAMHELPER_CHECKS at once: a module that hangs, crashes or leaves a mess
 * costs that check alone. Questions beyond that wait in their socket. One that takes longer than
 * PAMHELPER_MS is killed with all that it has started, and so is one whose asker has gone.
 *
 * A delay that modules want after a failure is the asker's to keep: it costs no process.
 *
 * The helper reads questions from one socket, which the supervisor keeps open as well: questions
 * outlive a helper that dies, and need not know of its successor. It ends when nobody is left who
 * could ask, or, after SIGTERM, with its last check.
 */
#ifndef TABI_SERVER_AUTH_PAMHELPER_H
#define TABI_SERVER_AUTH_PAMHELPER_H

#include <stdatomic.h>
#include <stddef.h>

#define PAMHELPER_CHECKS 32
#define PAMHELPER_MS 20000

struct pamhelper_options {
	int questions;               /* the socket */
	const char *const *services; /* what may be asked for; others are refused */
	size_t n_services;
	atomic_uint *pulse; /* shared memory: goes up with all that it does */
};

/* The whole life of the process, which holds no more than it needs; returns its exit status. */
int pamhelper_main(const struct pamhelper_options *options);

#endif
