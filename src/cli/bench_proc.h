/* SPDX-License-Identifier: MIT */
/* What processes cost, from /proc: one and all its descendants. */
#ifndef TABI_CLI_BENCH_PROC_H
#define TABI_CLI_BENCH_PROC_H

#include <stdint.h>
#include <sys/types.h>

#define PROC_MAX 256

/* Of a process since it began, all its threads together. */
struct proc_one {
	pid_t pid;
	double cpu;          /* seconds of user and system time: to the nanosecond, as below else */
	double user, system; /* seconds, to the clock tick */
	uint64_t wakeups;    /* how often a thread went to sleep; of threads that are there */
};

struct proc_usage {
	unsigned n;
	struct proc_one each[PROC_MAX];
};

/* What they took between two moments. Who began in between counts whole, who ended not at all. */
struct proc_cost {
	double seconds, user, system;
	uint64_t wakeups;
	unsigned lost; /* how many ended */
};

/* Returns 0, or -ESRCH where there is no such process. No more than PROC_MAX are looked at. */
int proc_usage_read(pid_t pid, struct proc_usage *ret_usage);

/* Bytes that belong to one of them alone, which takes longer to find out. */
uint64_t proc_usage_memory(const struct proc_usage *usage);

struct proc_cost proc_usage_cost(const struct proc_usage *before, const struct proc_usage *after);

#endif
