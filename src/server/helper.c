/* SPDX-License-Identifier: MIT */
#include "server/helper.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "server/auth/pamhelper.h"

/* One that lived this long did not die of its start: its successor comes at once. */
#define LIVED_MS 5000
#define BACKOFF_FIRST_MS 100
#define BACKOFF_MAX_MS 5000
/* Questions wait and it does nothing for so long: it hangs. Longer than any check may take, for
 * with all its places taken it reads none. */
#define HUNG_MS (PAMHELPER_MS + 10000)
/* What a helper that is replaced may take for the checks that it has. */
#define LEAVING_MS (PAMHELPER_MS + 3000)

static uint64_t now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

int helper_init(struct helper *h)
{
	int pair[2];
	void *pulse;

	*h = (struct helper){.ask = -1, .questions = -1};
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) < 0)
		return -errno;
	h->ask = pair[0];
	h->questions = pair[1];
	/* Nothing goes the other way: a worker must not hear what another could be told. */
	if (shutdown(h->questions, SHUT_WR) < 0)
		return -errno;
	pulse = mmap(
	    NULL, sizeof(*h->pulse), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (pulse == MAP_FAILED)
		return -errno;
	h->pulse = pulse;
	return 0;
}

void helper_fini(struct helper *h)
{
	if (h->ask >= 0)
		close(h->ask);
	if (h->questions >= 0)
		close(h->questions);
	if (h->pulse)
		munmap(h->pulse, sizeof(*h->pulse));
}

/* ---- the new process ---- */

/* The names of the services, copied; `*ret_n` of them. NULL without memory. */
static const char **copy_services(const struct policy *policy, size_t *ret_n)
{
	const char **list = calloc(policy->n_auths + 1, sizeof(*list));

	*ret_n = 0;
	for (size_t i = 0; list && i < policy->n_auths; i++) {
		if (!policy->auths[i].service)
			continue;
		list[*ret_n] = strdup(policy->auths[i].service);
		if (!list[(*ret_n)++])
			return NULL;
	}
	return list;
}

/*
 * It keeps the questions and the log, and of the configuration the names of its services: what else
 * that says (password hashes, keys) is wiped from this copy of the supervisor's memory.
 */
static _Noreturn void become_helper(struct helper *h)
{
	struct pamhelper_options options = {.pulse = h->pulse};
	bool file = h->log.place == LOG_TO_FILE;
	int questions, log;

	options.services = copy_services(h->config->policy, &options.n_services);
	if (!options.services)
		_exit(1);
	config_unref(h->config);
	/* Out of the way of the two places below. */
	questions = dup(h->questions);
	log = file ? dup(h->log.fd) : STDERR_FILENO;
	if (questions < 0 || log < 0 || dup3(questions, 3, O_CLOEXEC) < 0 ||
	    (file && dup3(log, 4, O_CLOEXEC) < 0))
		_exit(1);
	h->log.fd = file ? 4 : STDERR_FILENO;
	log_setup(&h->log);
	if (close_range(file ? 5 : 4, ~0u, 0) < 0)
		_exit(1);
	options.questions = 3;
	exit(pamhelper_main(&options));
}

static void spawn(struct helper *h)
{
	pid_t pid;

	h->started = now_ms();
	h->restart_at = 0;
	h->look_at = 0;
	pid = fork();
	if (pid == 0)
		become_helper(h);
	if (pid > 0) {
		h->pid = pid;
		return;
	}
	log_say(LOG_AT_ERROR, "cannot start the auth helper: %s", strerror(errno));
	h->restart_at = h->started + BACKOFF_MAX_MS;
}

/* ---- its life ---- */

static bool has_pam(const struct config *config)
{
	for (size_t i = 0; i < config->policy->n_auths; i++)
		if (config->policy->auths[i].service)
			return true;
	return false;
}

/* It takes no more questions, and ends with the last answer. */
static void let_go(struct helper *h, unsigned ms)
{
	struct helper_leaving *place = &h->leaving[0];

	if (h->pid == 0)
		return;
	for (size_t i = 1; i < HELPER_LEAVING_MAX && place->pid != 0; i++)
		if (h->leaving[i].pid == 0 || h->leaving[i].kill_at < place->kill_at)
			place = &h->leaving[i];
	if (place->pid != 0)
		kill(place->pid, SIGKILL);
	*place = (struct helper_leaving){.pid = h->pid, .kill_at = now_ms() + ms};
	kill(h->pid, SIGTERM);
	h->pid = 0;
}

void helper_use(struct helper *h, struct config *config, const struct log_options *log)
{
	let_go(h, LEAVING_MS);
	h->config = has_pam(config) ? config : NULL;
	h->log = *log;
	h->restart_at = 0;
	h->backoff_ms = 0;
	if (h->config)
		spawn(h);
}

void helper_stop(struct helper *h, unsigned ms)
{
	uint64_t at = now_ms() + ms;

	h->config = NULL;
	h->restart_at = 0;
	let_go(h, ms);
	for (size_t i = 0; i < HELPER_LEAVING_MAX; i++)
		if (h->leaving[i].pid != 0 && h->leaving[i].kill_at > at)
			h->leaving[i].kill_at = at;
}

bool helper_runs(const struct helper *h)
{
	for (size_t i = 0; i < HELPER_LEAVING_MAX; i++)
		if (h->leaving[i].pid != 0)
			return true;
	return h->pid != 0;
}

static void plan_restart(struct helper *h)
{
	uint64_t now = now_ms();

	if (now - h->started >= LIVED_MS)
		h->backoff_ms = 0;
	h->restart_at = now + h->backoff_ms;
	h->backoff_ms = h->backoff_ms == 0 ? BACKOFF_FIRST_MS : h->backoff_ms * 2;
	if (h->backoff_ms > BACKOFF_MAX_MS)
		h->backoff_ms = BACKOFF_MAX_MS;
}

bool helper_reaped(struct helper *h, pid_t pid, int status)
{
	if (pid == h->pid) {
		h->pid = 0;
		if (WIFSIGNALED(status))
			log_say(LOG_AT_ERROR,
			    "the auth helper (pid %d) was killed by signal %d (%s); its checks "
			    "are lost",
			    (int)pid, WTERMSIG(status), strsignal(WTERMSIG(status)));
		else
			log_say(LOG_AT_ERROR, "the auth helper (pid %d) ended with status %d",
			    (int)pid, WEXITSTATUS(status));
		plan_restart(h);
		return true;
	}
	for (size_t i = 0; i < HELPER_LEAVING_MAX; i++) {
		if (h->leaving[i].pid != pid)
			continue;
		h->leaving[i].pid = 0;
		return true;
	}
	return false;
}

/* ---- does it still do anything? ---- */

int helper_watched(const struct helper *h)
{
	return h->pid != 0 && h->look_at == 0 ? h->questions : -1;
}

void helper_asked(struct helper *h)
{
	h->done = atomic_load(h->pulse);
	h->look_at = now_ms() + HUNG_MS;
}

static void look(struct helper *h)
{
	struct pollfd p = {.fd = h->questions, .events = POLLIN};

	h->look_at = 0;
	if (h->pid == 0 || atomic_load(h->pulse) != h->done || poll(&p, 1, 0) <= 0)
		return;
	log_say(LOG_AT_ERROR, "the auth helper (pid %d) does nothing; killing it", (int)h->pid);
	kill(h->pid, SIGKILL);
}

void helper_due(struct helper *h)
{
	uint64_t now = now_ms();

	if (h->config && h->pid == 0 && h->restart_at <= now)
		spawn(h);
	if (h->look_at != 0 && h->look_at <= now)
		look(h);
	for (size_t i = 0; i < HELPER_LEAVING_MAX; i++) {
		struct helper_leaving *l = &h->leaving[i];

		if (l->pid == 0 || l->kill_at > now)
			continue;
		kill(l->pid, SIGKILL);
		l->kill_at = UINT64_MAX;
	}
}

uint64_t helper_next(const struct helper *h)
{
	uint64_t next = UINT64_MAX;

	if (h->config && h->pid == 0)
		next = h->restart_at;
	if (h->look_at != 0 && h->look_at < next)
		next = h->look_at;
	for (size_t i = 0; i < HELPER_LEAVING_MAX; i++)
		if (h->leaving[i].pid != 0 && h->leaving[i].kill_at < next)
			next = h->leaving[i].kill_at;
	return next;
}
