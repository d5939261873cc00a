/* SPDX-License-Identifier: MIT */
/* What came of a run of tabi bench: while it runs, as a table, and for machines. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "cli/bench.h"

static const struct {
	const char *name, *key;
	double share;
} percentiles[] = {
    {"p50", "p50", 0.5},
    {"p90", "p90", 0.9},
    {"p99", "p99", 0.99},
    {"p99.9", "p999", 0.999},
    {"max", "max", 1},
};

#define N_PERCENTILES (sizeof(percentiles) / sizeof(percentiles[0]))

/* The figures from which all is told. */
struct figures {
	double seconds, units, up, down;
	double own_cpu;       /* seconds */
	struct proc_cost cpu; /* of the proxy */
	bool cpu_known;
	double memory, memory_per_session; /* bytes */
};

static struct figures figures_of(const struct bench *b)
{
	const struct bench_edge *from = &b->begin, *to = &b->end;
	struct figures f = {0};

	if (to->at <= from->at)
		return f;
	f.seconds = (double)(to->at - from->at) / 1e9;
	f.up = (double)(to->count.up - from->count.up);
	f.down = (double)(to->count.down - from->count.down);
	f.units = b->o->kind == BENCH_STREAM ? f.up + f.down
					     : (double)(to->count.units - from->count.units);
	if (b->o->kind == BENCH_IDLE)
		f.units = b->held;
	f.own_cpu = to->own_cpu - from->own_cpu;
	f.cpu_known = from->proxy.n > 0 && to->proxy.n > 0;
	if (f.cpu_known)
		f.cpu = proc_usage_cost(&from->proxy, &to->proxy);
	f.memory = (double)b->memory_after;
	if (b->held > 0)
		f.memory_per_session = (f.memory - (double)b->memory_before) / b->held;
	return f;
}

static uint64_t count_errors(const struct bench *b)
{
	uint64_t n = 0;

	for (unsigned i = 0; i < BENCH_ERRORS; i++)
		n += b->errors[i].n;
	return n;
}

/* ---- while it runs ---- */

static bool is_shown;

void bench_progress(const struct bench *b)
{
	static const char *const phases[] = {
	    [BENCH_SETUP] = "connecting",
	    [BENCH_WARM_UP] = "warm-up",
	    [BENCH_MEASURE] = "measuring",
	    [BENCH_DRAIN] = "ending",
	    [BENCH_OVER] = "over",
	};

	if (!isatty(STDERR_FILENO))
		return;
	is_shown = true;
	fprintf(stderr, "\r%-10s %6.1f s  %u connections  ", phases[b->phase],
	    (double)(bench_clock() - b->began) / 1e9, b->live);
	if (b->o->kind == BENCH_STREAM)
		fprintf(stderr, "%.1f MB  ", (double)(b->count.up + b->count.down) / 1e6);
	else if (b->o->kind != BENCH_IDLE)
		fprintf(stderr, "%" PRIu64 " %ss  ", b->count.units, b->mode->unit);
	fprintf(stderr, "%" PRIu64 " errors\033[K", count_errors(b));
}

void bench_progress_end(void)
{
	if (is_shown)
		fputs("\r\033[K", stderr);
}

/* ---- for people ---- */

static const char *way(const struct bench *b, char *buf, size_t cap)
{
	if (b->o->direct)
		return "direct";
	url_format(&b->o->proxy, buf, cap);
	return buf;
}

static void print_head(const struct bench *b)
{
	static const char *const directions[] = {
	    [BENCH_DOWN] = " down",
	    [BENCH_UP] = " up",
	    [BENCH_BOTH] = " both",
	};
	char url[1024], target[ADDR_TEXT_MAX];

	printf("%s%s  %s  to %s", bench_kind_name(b->o->kind),
	    b->o->kind == BENCH_STREAM ? directions[b->o->direction] : "", way(b, url, sizeof(url)),
	    addr_format(&b->o->targets[0], target));
	if (b->o->n_targets > 1)
		printf(" and %u more", b->o->n_targets - 1);
	putchar('\n');
	printf("  connections    %" PRIu64, b->o->connections);
	if (b->o->kind != BENCH_CONNECT)
		printf(" (%u made, %u at the end)", b->opened, b->held);
	putchar('\n');
	if (b->o->kind != BENCH_IDLE)
		printf("  size           %" PRIu64 "\n", b->o->size);
	if (b->o->kind == BENCH_UDP && b->o->burst == 0)
		printf("  outstanding    %" PRIu64 " of each\n", b->o->outstanding);
	if (b->o->burst > 0)
		printf("  burst          %" PRIu64 " of each\n", b->o->burst);
	if (b->o->rate > 0)
		printf("  rate           %" PRIu64 " per second\n", b->o->rate);
}

/* In percent, of all that were sent. */
static double share_lost(const struct bench *b)
{
	double all = (double)b->count.lost + (double)b->count.units;

	return all > 0 ? (double)b->count.lost / all * 100 : 0;
}

static void print_traffic(const struct bench *b, const struct figures *f)
{
	char name[32];

	printf("  seconds        %.3f%s\n", f->seconds, b->interrupted ? " (interrupted)" : "");
	if (b->o->kind == BENCH_STREAM) {
		printf(
		    "  up             %.1f MB/s\n", f->seconds > 0 ? f->up / f->seconds / 1e6 : 0);
		printf("  down           %.1f MB/s\n",
		    f->seconds > 0 ? f->down / f->seconds / 1e6 : 0);
	} else if (b->o->kind != BENCH_IDLE) {
		snprintf(name, sizeof(name), "%ss", b->mode->unit);
		printf("  %-14s %.0f, %.1f per second\n", name, f->units,
		    f->seconds > 0 ? f->units / f->seconds : 0);
	}
	if (b->o->kind == BENCH_UDP)
		printf("  lost           %" PRIu64 " (%.3f %%) in all, %" PRIu64 " late, %" PRIu64
		       " for want of room here\n",
		    b->count.lost, share_lost(b), b->count.late, b->own_overflow);
	if (b->latency.n == 0)
		return;
	printf("  latency (us)  ");
	for (size_t i = 0; i < N_PERCENTILES; i++)
		printf(" %s %.1f%s", percentiles[i].name,
		    (double)histogram_at(&b->latency, percentiles[i].share) / 1e3,
		    i + 1 < N_PERCENTILES ? " " : "\n");
}

/* Nobody counts in seconds per byte. */
static void print_cost(const struct bench *b, const struct figures *f)
{
	if (b->o->pid > 0 && f->cpu_known) {
		printf("  proxy's CPU    %.3f s (user %.2f, system %.2f)", f->cpu.seconds,
		    f->cpu.user, f->cpu.system);
		if (b->o->kind == BENCH_STREAM && f->units > 0)
			printf(", %.3f s per GB", f->cpu.seconds / f->units * 1e9);
		else if (b->o->kind != BENCH_IDLE && f->units > 0)
			printf(", %.2f us per %s", f->cpu.seconds / f->units * 1e6, b->mode->unit);
		printf(", %u processes", b->end.proxy.n);
		if (f->cpu.lost > 0)
			printf(", %u more ended and are not counted", f->cpu.lost);
		putchar('\n');
		if (b->o->kind == BENCH_IDLE && f->seconds > 0)
			printf("  its wake-ups   %.1f per second\n",
			    (double)f->cpu.wakeups / f->seconds);
		printf("  proxy's memory %.1f MB", f->memory / 1e6);
		if (b->o->kind == BENCH_IDLE)
			printf(", %.0f bytes per session", f->memory_per_session);
		putchar('\n');
	}
	printf("  our own CPU    %.2f s\n", f->own_cpu);
}

static void print_errors(const struct bench *b)
{
	if (count_errors(b) == 0)
		puts("  errors         none");
	for (const struct bench_error *e = b->errors; e < b->errors + BENCH_ERRORS && e->n; e++) {
		printf("  error          %s: %s", e->stage, e->word);
		if (e->code >= 0)
			printf(" (code %d)", e->code);
		printf(", %" PRIu64 " times\n", e->n);
	}
}

/* ---- for machines ---- */

/* Bytes above 0x7f come in names, and are no UTF-8 for sure. */
static void put_text(const char *key, const char *text)
{
	printf("\"%s\":\"", key);
	for (const char *c = text; *c; c++) {
		unsigned char u = (unsigned char)*c;

		if (u < 0x20 || u >= 0x7f || u == '"' || u == '\\')
			printf("\\u%04x", u);
		else
			putchar(u);
	}
	printf("\",");
}

static void put_count(const char *key, const struct bench_count *c)
{
	printf("\"%s\":{\"up_bytes\":%" PRIu64 ",\"down_bytes\":%" PRIu64 ",\"units\":%" PRIu64
	       "},",
	    key, c->up, c->down, c->units);
}

static void put_latency(const struct bench *b)
{
	printf("\"latency_us\":{\"count\":%" PRIu64, b->latency.n);
	for (size_t i = 0; i < N_PERCENTILES; i++)
		printf(",\"%s\":%.3f", percentiles[i].key,
		    (double)histogram_at(&b->latency, percentiles[i].share) / 1e3);
	printf("},");
}

static void put_datagrams(const struct bench *b)
{
	printf("\"outstanding\":%" PRIu64 ",\"burst\":%" PRIu64 ",\"trains\":%s,"
	       "\"lost\":%" PRIu64 ",\"late\":%" PRIu64 ",\"own_overflow\":%" PRIu64 ",",
	    b->o->burst > 0 ? 0 : b->o->outstanding, b->o->burst, b->o->trains ? "true" : "false",
	    b->count.lost, b->count.late, b->own_overflow);
}

static void put_proxy(const struct bench *b, const struct figures *f)
{
	printf("\"proxy_process\":{\"pid\":%" PRIu64 ",\"processes\":%u,\"processes_lost\":%u,"
	       "\"cpu_seconds\":%.6f,\"user_seconds\":%.2f,\"system_seconds\":%.2f,"
	       "\"cpu_seconds_per_unit\":%.6g,\"wakeups\":%" PRIu64 ",\"memory_before\":%" PRIu64
	       ",\"memory_after\":%" PRIu64,
	    b->o->pid, b->end.proxy.n, f->cpu.lost, f->cpu.seconds, f->cpu.user, f->cpu.system,
	    f->units > 0 ? f->cpu.seconds / f->units : 0, f->cpu.wakeups, b->memory_before,
	    b->memory_after);
	if (b->o->kind == BENCH_IDLE)
		printf(",\"memory_per_session\":%.1f", f->memory_per_session);
	printf("},");
}

static void put_errors(const struct bench *b)
{
	printf("\"errors\":[");
	for (const struct bench_error *e = b->errors; e < b->errors + BENCH_ERRORS && e->n; e++)
		printf("%s{\"stage\":\"%s\",\"error\":\"%s\",\"code\":%d,\"count\":%" PRIu64 "}",
		    e > b->errors ? "," : "", e->stage, e->word, e->code, e->n);
	printf("]}\n");
}

static void print_json(const struct bench *b, const struct figures *f, bool ok)
{
	static const char *const directions[] = {
	    [BENCH_DOWN] = "down",
	    [BENCH_UP] = "up",
	    [BENCH_BOTH] = "both",
	};
	char url[1024], target[ADDR_TEXT_MAX];

	putchar('{');
	put_text("mode", bench_kind_name(b->o->kind));
	if (b->o->kind == BENCH_STREAM)
		put_text("direction", directions[b->o->direction]);
	put_text("way", way(b, url, sizeof(url)));
	put_text("target", addr_format(&b->o->targets[0], target));
	put_text("unit", b->mode->unit);
	printf("\"ok\":%s,\"interrupted\":%s,", ok ? "true" : "false",
	    b->interrupted ? "true" : "false");
	printf("\"targets\":%u,", b->o->n_targets);
	printf("\"connections\":%" PRIu64 ",\"connections_made\":%u,\"connections_at_end\":%u,",
	    b->o->connections, b->opened, b->held);
	printf("\"size\":%" PRIu64 ",\"rate\":%" PRIu64 ",\"seconds\":%.6f,", b->o->size,
	    b->o->rate, f->seconds);
	printf("\"up_bytes\":%.0f,\"down_bytes\":%.0f,\"units\":%.0f,\"units_per_second\":%.3f,",
	    f->up, f->down, f->units, f->seconds > 0 ? f->units / f->seconds : 0);
	if (b->o->kind == BENCH_UDP)
		put_datagrams(b);
	put_latency(b);
	put_count("total", &b->count);
	if (b->o->pid > 0)
		put_proxy(b, f);
	printf("\"own_cpu_seconds\":%.3f,", f->own_cpu);
	put_errors(b);
}

void bench_report(const struct bench *b, bool ok)
{
	struct figures f = figures_of(b);

	if (b->o->json) {
		print_json(b, &f, ok);
		return;
	}
	print_head(b);
	print_traffic(b, &f);
	print_cost(b, &f);
	print_errors(b);
}
