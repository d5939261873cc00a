/* SPDX-License-Identifier: MIT */
/*
 * The supervisor's care for the auth helper (server/auth/pamhelper.h): it runs while the
 * configuration asks for PAM, is started again when it dies or hangs, replaced on reload, and ended
 * after the workers.
 */
#ifndef TABI_SERVER_HELPER_H
#define TABI_SERVER_HELPER_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "net/log.h"
#include "server/config.h"

/* Helpers that were replaced and have checks to finish; with more reloads than that in so short a
 * time the oldest is cut short. */
#define HELPER_LEAVING_MAX 8

struct helper_leaving {
	pid_t pid;        /* 0: none */
	uint64_t kill_at; /* ms */
};

struct helper {
	int ask;       /* what workers ask through; -1 before helper_init() */
	int questions; /* the other end, which outlives every helper */
	atomic_uint *pulse;

	struct config *config; /* that is served; NULL: none */
	struct log_options log;
	pid_t pid;                    /* 0: not running */
	uint64_t started, restart_at; /* ms */
	unsigned backoff_ms;

	/* Questions were waiting, and it had done so much: when to look whether it did more. */
	uint64_t look_at; /* ms; 0: not planned */
	unsigned done;

	struct helper_leaving leaving[HELPER_LEAVING_MAX];
};

/* Returns 0 or -errno. */
int helper_init(struct helper *helper);
void helper_fini(struct helper *helper);

/*
 * From now on this configuration is served (borrowed until the next call), by a new helper if it
 * has an `auth pam`; one that runs finishes what it has begun. What is said in the log goes to
 * `log`.
 */
void helper_use(struct helper *helper, struct config *config, const struct log_options *log);

/* Ends all of them, if they can within `ms`. May be called again. */
void helper_stop(struct helper *helper, unsigned ms);
bool helper_runs(const struct helper *helper);

/* A child has ended: was it one of these? */
bool helper_reaped(struct helper *helper, pid_t pid, int status);

/* What to poll for reading (or -1), and what to call when it can be read. */
int helper_watched(const struct helper *helper);
void helper_asked(struct helper *helper);

/* Does what is due, and tells when something will be: ms of CLOCK_MONOTONIC, or UINT64_MAX. */
void helper_due(struct helper *helper);
uint64_t helper_next(const struct helper *helper);

#endif
