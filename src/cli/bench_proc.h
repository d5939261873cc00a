/* SPDX-License-Identifier: MIT */
/* What processes cost, from /proc: one and all its descendants. */
#ifndef TABI_CLI_BENCH_PROC_H
#define TABI_CLI_BENCH_PROC_H

#include <stdint.h>
#include <sys/types.h>

#define PROC_MAX 256

struct proc_usage {
	unsigned n;
	struct {
		pid_t pid;
		double cpu; /* seconds of user and system time, since it began */
	} each[PROC_MAX];
};

/* Returns 0, or -ESRCH where there is no such process. No more than PROC_MAX are looked at. */
int proc_usage_read(pid_t pid, struct proc_usage *ret_usage);

/* Bytes that belong to one of them alone, which takes longer to find out. */
uint64_t proc_usage_memory(const struct proc_usage *usage);

/* Seconds of CPU between the two. Who began in between counts whole, who ended not at all, and
 * `*ret_lost` says how many did. */
double proc_usage_cpu(
    const struct proc_usage *before, const struct proc_usage *after, unsigned *ret_lost);

#endif
