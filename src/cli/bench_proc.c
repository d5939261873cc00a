/* SPDX-License-Identifier: MIT */
#include "cli/bench_proc.h"

#include <dirent.h>
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static FILE *open_of(pid_t pid, const char *name)
{
	char path[96];

	snprintf(path, sizeof(path), "/proc/%d/%s", (int)pid, name);
	return fopen(path, "re");
}

/* The number in column `n`, from 0, of columns with one space between them; 0 where there is none.
 */
static uint64_t column(const char *text, unsigned n)
{
	for (; n > 0 && text; n--) {
		text = strchr(text, ' ');
		text = text ? text + 1 : NULL;
	}
	return text ? strtoull(text, NULL, 10) : 0;
}

/* utime and stime are columns 13 and 14 from 0 (proc(5)); the name in column 1 may hold anything.
 */
static bool read_ticks(pid_t pid, struct proc_one *ret_one)
{
	double ticks = (double)sysconf(_SC_CLK_TCK);
	FILE *f = open_of(pid, "stat");
	char line[1024], *at = NULL;

	if (!f)
		return false;
	if (fgets(line, sizeof(line), f))
		at = strrchr(line, ')');
	fclose(f);
	if (!at)
		return false;
	ret_one->user = (double)column(at, 12) / ticks;
	ret_one->system = (double)column(at, 13) / ticks;
	return true;
}

/*
 * A process's clock counts what its threads ran, those that ended included, where schedstat in
 * /proc/PID/task knows only of those that are there: of a proxy with a thread for each session
 * most would be missing. Reading it takes no right over the process.
 */
static double read_clock(pid_t pid, double otherwise)
{
	struct timespec t;
	clockid_t clock;

	if (clock_getcpuclockid(pid, &clock) != 0 || clock_gettime(clock, &t) < 0)
		return otherwise;
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static uint64_t read_switches(pid_t pid, const char *tid)
{
	static const char key[] = "voluntary_ctxt_switches:";
	char name[64], line[256];
	uint64_t n = 0;
	FILE *f;

	snprintf(name, sizeof(name), "task/%.20s/status", tid);
	f = open_of(pid, name);
	if (!f)
		return 0;
	while (fgets(line, sizeof(line), f))
		if (strncmp(line, key, sizeof(key) - 1) == 0)
			n = strtoull(line + sizeof(key) - 1, NULL, 10);
	fclose(f);
	return n;
}

static uint64_t read_wakeups(pid_t pid)
{
	const struct dirent *entry;
	uint64_t n = 0;
	char path[64];
	DIR *dir;

	snprintf(path, sizeof(path), "/proc/%d/task", (int)pid);
	dir = opendir(path);
	if (!dir)
		return 0;
	while ((entry = readdir(dir)))
		if (entry->d_name[0] != '.')
			n += read_switches(pid, entry->d_name);
	closedir(dir);
	return n;
}

static bool read_private(pid_t pid, uint64_t *ret_bytes)
{
	static const char clean[] = "Private_Clean:", dirty[] = "Private_Dirty:";
	FILE *f = open_of(pid, "smaps_rollup");
	char line[256];
	bool found = false;

	*ret_bytes = 0;
	if (!f)
		return false;
	while (fgets(line, sizeof(line), f)) {
		if (strncmp(line, clean, sizeof(clean) - 1) != 0 &&
		    strncmp(line, dirty, sizeof(dirty) - 1) != 0)
			continue;
		*ret_bytes += strtoull(line + sizeof(clean) - 1, NULL, 10) << 10;
		found = true;
	}
	fclose(f);
	return found;
}

/* smaps is only for who might debug the process; what is resident and of no file, for everybody. */
static uint64_t read_memory(pid_t pid)
{
	char line[256] = "";
	uint64_t bytes;
	FILE *f;

	if (read_private(pid, &bytes))
		return bytes;
	f = open_of(pid, "statm");
	if (!f)
		return 0;
	if (!fgets(line, sizeof(line), f))
		line[0] = '\0';
	fclose(f);
	return (column(line, 1) - column(line, 2)) * (uint64_t)sysconf(_SC_PAGESIZE);
}

static void add(struct proc_usage *u, pid_t pid)
{
	struct proc_one *one = &u->each[u->n];

	if (u->n == PROC_MAX || !read_ticks(pid, one))
		return;
	one->pid = pid;
	one->cpu = read_clock(pid, one->user + one->system);
	one->wakeups = read_wakeups(pid);
	u->n++;
}

/* Of its first thread, where programs that fork have their children. */
static void add_children(struct proc_usage *u, pid_t pid)
{
	char name[64], *line = NULL;
	size_t cap = 0;
	FILE *f;

	snprintf(name, sizeof(name), "task/%d/children", (int)pid);
	f = open_of(pid, name);
	if (!f)
		return;
	if (getline(&line, &cap, f) > 0) {
		char *at = line, *end;

		for (long child; (child = strtol(at, &end, 10)) > 0 && end != at; at = end)
			add(u, (pid_t)child);
	}
	free(line);
	fclose(f);
}

int proc_usage_read(pid_t pid, struct proc_usage *ret_usage)
{
	*ret_usage = (struct proc_usage){0};
	add(ret_usage, pid);
	if (ret_usage->n == 0)
		return -ESRCH;
	/* Grows while it is walked: children of children. */
	for (unsigned i = 0; i < ret_usage->n; i++)
		add_children(ret_usage, ret_usage->each[i].pid);
	return 0;
}

uint64_t proc_usage_memory(const struct proc_usage *usage)
{
	uint64_t sum = 0;

	for (unsigned i = 0; i < usage->n; i++)
		sum += read_memory(usage->each[i].pid);
	return sum;
}

static int find(const struct proc_usage *u, pid_t pid)
{
	for (unsigned i = 0; i < u->n; i++)
		if (u->each[i].pid == pid)
			return (int)i;
	return -1;
}

struct proc_cost proc_usage_cost(const struct proc_usage *before, const struct proc_usage *after)
{
	static const struct proc_one nothing;
	struct proc_cost sum = {0};

	for (unsigned i = 0; i < after->n; i++) {
		int was = find(before, after->each[i].pid);
		const struct proc_one *a = was < 0 ? &nothing : &before->each[was];
		const struct proc_one *z = &after->each[i];

		sum.seconds += z->cpu - a->cpu;
		sum.user += z->user - a->user;
		sum.system += z->system - a->system;
		/* Of a thread that ended its share is gone. */
		sum.wakeups += z->wakeups > a->wakeups ? z->wakeups - a->wakeups : 0;
	}
	for (unsigned i = 0; i < before->n; i++)
		sum.lost += find(after, before->each[i].pid) < 0;
	return sum;
}
