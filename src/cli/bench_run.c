/* SPDX-License-Identifier: MIT */
/* A run of tabi bench from its preparations to its report. */
#include <errno.h>
#include <inttypes.h>
#include <netdb.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#include "cli/bench.h"
#include "net/sockaddr.h"

/* More at once would overrun the queue of a listener (somaxconn, 4096 where it is not less). */
#define DIALING_MAX 128
/* A session that is not made by then has failed. */
#define MADE_WITHIN (UINT64_C(10) * 1000000000)
/* What was begun has so long to end. */
#define DRAIN_MS 5000
#define TICK_MS 100
/* Beside the connections. */
#define OTHER_DESCRIPTORS 32

uint64_t bench_clock(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

/* The last row takes all for which there was no room. */
void bench_count_error(struct bench *b, const char *stage, const char *word, int code)
{
	struct bench_error *e = b->errors;

	while (e < &b->errors[BENCH_ERRORS - 1] && e->n > 0 &&
	       !(e->code == code && strcmp(e->stage, stage) == 0 && strcmp(e->word, word) == 0))
		e++;
	if (e->n == 0)
		*e = (struct bench_error){stage, word, code, 0};
	if (e == &b->errors[BENCH_ERRORS - 1])
		*e = (struct bench_error){"any", "others", -1, e->n};
	e->n++;
}

/* ---- the edges ---- */

static double own_cpu(void)
{
	struct rusage u;

	getrusage(RUSAGE_SELF, &u);
	return (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) +
	       (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec) / 1e6;
}

static void take_edge(struct bench *b, struct bench_edge *edge)
{
	if (b->o->pid > 0 && proc_usage_read((pid_t)b->o->pid, &edge->proxy) < 0)
		bench_count_error(b, "proxy", "gone", -1);
	edge->own_cpu = own_cpu();
	edge->count = b->count;
	edge->at = bench_clock();
}

static unsigned count_open(const struct bench *b)
{
	unsigned n = 0;

	for (unsigned i = 0; i < b->n_conns; i++)
		n += b->conns[i].stage == CONN_OPEN;
	return n;
}

/* ---- phases ---- */

static void close_descriptor(struct watch *watch)
{
	if (watch->fd < 0)
		return;
	watch_close(watch, NULL);
	close(watch->fd);
}

static void finish(struct bench *b)
{
	if (b->phase == BENCH_OVER)
		return;
	b->phase = BENCH_OVER;
	for (unsigned i = 0; i < b->n_conns; i++)
		conn_close(&b->conns[i]);
	timer_close(&b->phase_timer, NULL);
	timer_close(&b->tick, NULL);
	close_descriptor(&b->signals);
	close_descriptor(&b->due);
}

static void arm_due(struct bench *b)
{
	uint64_t at = bench_due_of(b, b->rate_next);
	const struct itimerspec when = {
	    .it_value = {.tv_sec = (time_t)(at / 1000000000), .tv_nsec = (long)(at % 1000000000)},
	};

	timerfd_settime(b->due.fd, TFD_TIMER_ABSTIME, &when, NULL);
}

/* Hands out the messages that are due, to one connection after the other. */
static void hand_out(struct bench *b, uint64_t until)
{
	for (; bench_due_of(b, b->rate_next) < until; b->rate_next++)
		bench_message_due(&b->conns[b->rate_next % b->n_conns]);
}

static void on_due(struct watch *watch, unsigned events)
{
	struct bench *b = (struct bench *)(void *)((char *)watch - offsetof(struct bench, due));
	uint64_t times;

	(void)events;
	if (read(watch->fd, &times, sizeof(times)) < 0 || b->phase >= BENCH_DRAIN)
		return;
	hand_out(b, bench_clock());
	arm_due(b);
}

static void start_measuring(struct bench *b)
{
	b->phase = BENCH_MEASURE;
	take_edge(b, &b->begin);
	timer_start(&b->phase_timer, b->o->seconds_ms);
}

static void start_draining(struct bench *b)
{
	/* A message that was due in time is not forgiven for coming late. */
	if (b->o->rate > 0)
		hand_out(b, bench_clock());
	take_edge(b, &b->end);
	b->held = count_open(b);
	b->memory_after = proc_usage_memory(&b->end.proxy);
	b->phase = BENCH_DRAIN;
	timer_start(&b->phase_timer, DRAIN_MS);
	for (unsigned i = 0; i < b->n_conns; i++)
		if (b->conns[i].stage == CONN_OPEN && b->mode->end)
			b->mode->end(&b->conns[i]);
	if (b->live == 0)
		finish(b);
}

static void give_up(struct bench *b)
{
	for (unsigned i = 0; i < b->n_conns; i++) {
		struct bench_conn *conn = &b->conns[i];

		if (conn->stage != CONN_NONE && conn->stage != CONN_CLOSING)
			conn_fail(conn, conn_stage_name(conn), 0, "unfinished", -1);
	}
	finish(b);
}

static void on_phase(struct timer *timer)
{
	struct bench *b =
	    (struct bench *)(void *)((char *)timer - offsetof(struct bench, phase_timer));

	if (b->phase == BENCH_WARM_UP)
		start_measuring(b);
	else if (b->phase == BENCH_MEASURE)
		start_draining(b);
	else if (b->phase == BENCH_DRAIN)
		give_up(b);
}

static void fill(struct bench *b);

static void warm_up(struct bench *b)
{
	b->phase = BENCH_WARM_UP;
	timer_start(&b->phase_timer, b->o->warm_up_ms);
	if (b->o->kind == BENCH_CONNECT) {
		fill(b);
		return;
	}
	for (unsigned i = 0; i < b->n_conns; i++)
		if (b->conns[i].stage == CONN_OPEN && b->mode->begin)
			b->mode->begin(&b->conns[i]);
	if (b->o->rate > 0) {
		b->rate_began = bench_clock();
		watch_set(&b->due, WATCH_READ);
		arm_due(b);
	}
}

/* ---- connections ---- */

static void fill(struct bench *b)
{
	if (b->filling)
		return;
	b->filling = true;
	while (b->started < b->n_conns && b->dialing < DIALING_MAX && b->phase < BENCH_DRAIN)
		conn_start(&b->conns[b->started++]);
	b->filling = false;
}

void bench_settle(struct bench_conn *conn)
{
	struct bench *b = conn->bench;

	if (b->o->kind == BENCH_CONNECT || conn->settled)
		return;
	conn->settled = true;
	b->settled++;
	b->opened += conn->stage == CONN_OPEN;
	fill(b);
	if (b->settled < b->n_conns || b->phase != BENCH_SETUP)
		return;
	if (b->opened > 0)
		warm_up(b);
	else
		finish(b);
}

void bench_closed(struct bench_conn *conn)
{
	struct bench *b = conn->bench;

	if (b->o->kind == BENCH_CONNECT && b->phase < BENCH_DRAIN) {
		/* Where it failed the next tick tries again, not a tight loop. */
		if (!conn->failed)
			conn_start(conn);
		else
			fill(b);
		return;
	}
	if (b->live > 0 || b->phase == BENCH_SETUP)
		return;
	/* All are gone, and there is nothing more to see. */
	if (b->phase == BENCH_MEASURE)
		start_draining(b);
	else
		finish(b);
}

static void end_overdue(struct bench *b)
{
	uint64_t now = bench_clock();

	for (unsigned i = 0; i < b->started; i++) {
		struct bench_conn *conn = &b->conns[i];

		if (conn->stage == CONN_NONE && b->o->kind == BENCH_CONNECT)
			conn_start(conn);
		else if (conn->stage != CONN_NONE && conn->stage != CONN_CLOSING &&
			 !conn->settled && now - conn->due > MADE_WITHIN)
			conn_fail(conn, conn_stage_name(conn), 0, "timeout", -1);
	}
}

static void on_tick(struct timer *timer)
{
	struct bench *b = (struct bench *)(void *)((char *)timer - offsetof(struct bench, tick));

	timer_start(timer, TICK_MS);
	if (b->phase == BENCH_SETUP || (b->o->kind == BENCH_CONNECT && b->phase < BENCH_DRAIN))
		end_overdue(b);
	for (unsigned i = 0; i < b->started && b->mode->tick; i++)
		if (b->conns[i].stage == CONN_OPEN)
			b->mode->tick(&b->conns[i]);
	bench_progress(b);
}

/* What was measured so far is reported; the second signal ends at once. */
static void on_signal(struct watch *watch, unsigned events)
{
	struct bench *b = (struct bench *)(void *)((char *)watch - offsetof(struct bench, signals));
	struct signalfd_siginfo info;

	(void)events;
	if (read(watch->fd, &info, sizeof(info)) < 0)
		return;
	b->interrupted = true;
	if (b->phase == BENCH_MEASURE)
		start_draining(b);
	else
		finish(b);
}

/* ---- preparations ---- */

int bench_fail(const char *what, const char *why)
{
	fprintf(stderr, "tabi bench: %s: %s\n", what, why);
	return 1;
}

/* The first address will do: more than one would be two ways to measure. */
static int look_up(
    const struct addr *a, int family, struct sockaddr_storage *ret_sa, socklen_t *ret_len)
{
	const struct addrinfo hints = {.ai_family = family, .ai_socktype = SOCK_STREAM};
	char port[8];
	struct addrinfo *list;
	int err;

	if (a->kind == ADDR_IP) {
		*ret_len = sockaddr_from_ip(ret_sa, &a->ip, a->port);
		return 0;
	}
	snprintf(port, sizeof(port), "%u", a->port);
	err = getaddrinfo(a->name, port, &hints, &list);
	if (err)
		return bench_fail(a->name, gai_strerror(err));
	memcpy(ret_sa, list->ai_addr, list->ai_addrlen);
	*ret_len = list->ai_addrlen;
	freeaddrinfo(list);
	return 0;
}

/* Whom to connect to for a target, and what to ask for there: some protocols have names looked up
 * here. */
static int find_way(struct bench *b, unsigned i)
{
	const struct bench_options *o = b->o;
	const struct addr *target = &o->targets[i];
	bool old = o->proxy.scheme == URL_SOCKS4;
	struct sockaddr_storage sa = {0};
	socklen_t len;

	b->targets[i] = *target;
	if (o->direct)
		return look_up(target, AF_UNSPEC, &b->first[i].sa, &b->first[i].len);
	if (target->kind == ADDR_NAME && (old || o->proxy.scheme == URL_SOCKS5)) {
		if (look_up(target, old ? AF_INET : AF_UNSPEC, &sa, &len) != 0)
			return 1;
		b->targets[i] = sockaddr_to_addr(&sa);
	}
	return 0;
}

static int find_ways(struct bench *b)
{
	for (unsigned i = 0; i < b->o->n_targets; i++)
		if (find_way(b, i) != 0)
			return 1;
	if (b->o->direct)
		return 0;
	return look_up(&b->o->proxy.proxy, AF_UNSPEC, &b->first[0].sa, &b->first[0].len);
}

/* Each association has its datagrams' socket as well. */
static uint64_t descriptors_of(const struct bench_options *o)
{
	return o->kind == BENCH_UDP ? 2 * o->connections : o->connections;
}

static int allow_descriptors(uint64_t connections)
{
	struct rlimit limit;
	char why[128];

	if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
		return bench_fail("RLIMIT_NOFILE", strerror(errno));
	limit.rlim_cur = limit.rlim_max;
	if (setrlimit(RLIMIT_NOFILE, &limit) < 0)
		return bench_fail("RLIMIT_NOFILE", strerror(errno));
	if (limit.rlim_max >= connections + OTHER_DESCRIPTORS)
		return 0;
	snprintf(why, sizeof(why), "%" PRIu64 " sockets and no more than %" PRIu64 " files",
	    connections, (uint64_t)limit.rlim_max);
	return bench_fail("ulimit -n", why);
}

static int open_watches(struct bench *b)
{
	sigset_t set;
	int fd;

	sigemptyset(&set);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGTERM);
	sigprocmask(SIG_BLOCK, &set, NULL);
	fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	if (fd < 0)
		return bench_fail("signalfd", strerror(errno));
	watch_init(&b->signals, &b->loop, fd, on_signal);
	watch_set(&b->signals, WATCH_READ);
	fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
	if (fd < 0)
		return bench_fail("timerfd", strerror(errno));
	watch_init(&b->due, &b->loop, fd, on_due);
	return 0;
}

static uint8_t letter_of(const struct bench_options *o)
{
	static const uint8_t of_streams[] = {
	    [BENCH_DOWN] = BENCH_SOURCE,
	    [BENCH_UP] = BENCH_SINK,
	    [BENCH_BOTH] = BENCH_BOTH_WAYS,
	};

	return o->kind == BENCH_STREAM ? of_streams[o->direction] : BENCH_ECHO;
}

/* Returns 0 or the exit status. */
static int prepare(struct bench *b)
{
	struct proc_usage usage;

	if (find_ways(b) != 0 || allow_descriptors(descriptors_of(b->o)) != 0)
		return 1;
	if (b->o->pid > 0) {
		if (proc_usage_read((pid_t)b->o->pid, &usage) < 0)
			return bench_fail("--pid", "there is no such process");
		b->memory_before = proc_usage_memory(&usage);
	}
	b->n_conns = (unsigned)b->o->connections;
	b->conns = calloc(b->n_conns, sizeof(*b->conns));
	b->out = malloc(BENCH_PREFACE + b->o->size);
	if (!b->conns || !b->out)
		return bench_fail("memory", strerror(ENOMEM));
	for (unsigned i = 0; i < b->n_conns; i++)
		b->conns[i].bench = b;
	memset(b->out, 'x', BENCH_PREFACE + b->o->size);
	b->out[0] = letter_of(b->o);
	b->out[1] = '\n';
	return b->o->kind == BENCH_UDP ? bench_udp_prepare(b) : 0;
}

/* Did anything at all go right? What came too late to be measured did. */
static bool has_result(const struct bench *b)
{
	if (b->end.at == 0)
		return false;
	if (b->o->kind == BENCH_IDLE)
		return b->held > 0;
	return b->o->kind == BENCH_STREAM ? b->count.up + b->count.down > 0 : b->count.units > 0;
}

static void run(struct bench *b)
{
	timer_init(&b->phase_timer, &b->loop, on_phase);
	timer_init(&b->tick, &b->loop, on_tick);
	timer_start(&b->tick, TICK_MS);
	b->began = bench_clock();
	if (b->o->kind == BENCH_CONNECT)
		warm_up(b);
	else
		fill(b);
	loop_run(&b->loop);
}

int bench_run(const struct bench_options *o)
{
	struct bench *b = calloc(1, sizeof(*b));
	int status;

	if (!b)
		return bench_fail("memory", strerror(ENOMEM));
	b->o = o;
	b->mode = bench_mode_of(o);
	status = prepare(b);
	if (status == 0 && loop_init(&b->loop) < 0)
		status = bench_fail("epoll", strerror(errno));
	if (status == 0) {
		status = open_watches(b);
		if (status == 0) {
			run(b);
			loop_fini(&b->loop);
			status = has_result(b) ? 0 : 1;
			bench_progress_end();
			bench_report(b, status == 0);
		}
	}
	bench_udp_free(b);
	free(b->conns);
	free(b->out);
	free(b);
	return status;
}
