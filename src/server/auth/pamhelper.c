/* SPDX-License-Identifier: MIT */
#include "server/auth/pamhelper.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "net/log.h"
#include "proto/err.h"
#include "server/auth/pamcheck.h"
#include "server/sandbox.h"

enum check_state {
	CHECK_FREE,
	CHECK_RUNS,  /* its process is to write a result */
	CHECK_DYING, /* answered or given up, and killed; its process is not reaped yet */
};

struct check {
	enum check_state state;
	pid_t pid;     /* also its process group */
	int result;    /* a pipe */
	int answer_to; /* closed when the asker has gone */
	uint64_t deadline;
	char service[PAMWIRE_SERVICE_MAX + 1];
	char user[ACCEPT_CREDENTIAL_MAX + 1];
};

struct pamhelper {
	const struct pamhelper_options *options;
	int signals;
	bool leaving; /* takes no more questions */
	struct check checks[PAMHELPER_CHECKS];
};

static uint64_t now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

/* ---- the process of one check ---- */

static void use_nothing_as_stdio(void)
{
	int fd = open("/dev/null", O_RDWR | O_CLOEXEC);

	if (fd < 0)
		_exit(1);
	for (int i = 0; i <= 2; i++)
		if (dup2(fd, i) < 0)
			_exit(1);
}

/*
 * It keeps its pipe alone. Modules get the signals of a fresh process, a group of their own that
 * can be killed with all that they start, and no terminal.
 */
static _Noreturn void run_check(const struct pam_question *question, int to)
{
	static const int reset[] = {SIGPIPE, SIGHUP, SIGINT, SIGTERM, SIGCHLD};
	struct pam_result result;
	sigset_t none;

	use_nothing_as_stdio();
	if (to != 3 && dup2(to, 3) < 0)
		_exit(1);
	if (close_range(4, ~0u, 0) < 0 || fcntl(3, F_SETFD, FD_CLOEXEC) < 0)
		_exit(1);
	for (size_t i = 0; i < sizeof(reset) / sizeof(reset[0]); i++)
		signal(reset[i], SIG_DFL);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	if (setsid() < 0 || prctl(PR_SET_PDEATHSIG, SIGKILL) < 0)
		_exit(1);
	result = pamcheck_run(question);
	_exit(write(3, &result, sizeof(result)) == (ssize_t)sizeof(result) ? 0 : 1);
}

/* ---- checks ---- */

static struct check *find_free(struct pamhelper *h)
{
	for (size_t i = 0; i < PAMHELPER_CHECKS; i++)
		if (h->checks[i].state == CHECK_FREE)
			return &h->checks[i];
	return NULL;
}

static bool any_runs(const struct pamhelper *h)
{
	for (size_t i = 0; i < PAMHELPER_CHECKS; i++)
		if (h->checks[i].state == CHECK_RUNS)
			return true;
	return false;
}

static bool any_dies(const struct pamhelper *h)
{
	for (size_t i = 0; i < PAMHELPER_CHECKS; i++)
		if (h->checks[i].state == CHECK_DYING)
			return true;
	return false;
}

static bool is_served(const struct pamhelper *h, const char *service)
{
	for (size_t i = 0; i < h->options->n_services; i++)
		if (strcmp(h->options->services[i], service) == 0)
			return true;
	return false;
}

static void refuse(int answer_to)
{
	const struct pam_answer answer = {.err = ERR_UNAVAILABLE};

	/* Whoever does not hear it has gone. */
	(void)pamwire_answer(answer_to, &answer);
	close(answer_to);
}

/* Returns 0, with the check under way, or -errno. */
static int begin(struct pamhelper *h, const struct pam_question *question, int answer_to)
{
	struct check *c = find_free(h);
	int fds[2], err;
	pid_t pid;

	if (pipe2(fds, O_CLOEXEC | O_NONBLOCK) < 0)
		return -errno;
	pid = fork();
	err = -errno;
	if (pid == 0)
		run_check(question, fds[1]);
	close(fds[1]);
	if (pid < 0) {
		close(fds[0]);
		return err;
	}
	*c = (struct check){
	    .state = CHECK_RUNS,
	    .pid = pid,
	    .result = fds[0],
	    .answer_to = answer_to,
	    .deadline = now_ms() + PAMHELPER_MS,
	};
	memcpy(c->service, question->service, sizeof(c->service));
	memcpy(c->user, question->user, sizeof(c->user));
	return 0;
}

/* One that has set up a group of its own is killed with the group, one that has not yet alone. */
static void give_up(struct check *c)
{
	kill(-c->pid, SIGKILL);
	kill(c->pid, SIGKILL);
	close(c->result);
	close(c->answer_to);
	c->state = CHECK_DYING;
}

static void log_result(const struct check *c, const struct pam_result *result)
{
	struct log_record rec;

	log_begin(
	    &rec, result->answer.err == ERR_UNAVAILABLE ? LOG_AT_ERROR : LOG_AT_DEBUG, "pam-check");
	log_text(&rec, "service", c->service);
	log_text(&rec, "user", c->user);
	log_text(&rec, "result", pamcheck_text(result->code));
	log_text(&rec, "stage", result->account ? "account" : "password");
	log_end(&rec);
}

/* The process has written or ended. */
static void hear(struct check *c)
{
	struct pam_result result;
	ssize_t n = read(c->result, &result, sizeof(result));

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n == (ssize_t)sizeof(result)) {
		log_result(c, &result);
		(void)pamwire_answer(c->answer_to, &result.answer);
	} else {
		log_say(LOG_AT_ERROR, "PAM service %s: a module ended its process", c->service);
	}
	give_up(c);
}

static void end_late_ones(struct pamhelper *h)
{
	uint64_t now = now_ms();

	for (size_t i = 0; i < PAMHELPER_CHECKS; i++) {
		struct check *c = &h->checks[i];

		if (c->state != CHECK_RUNS || now < c->deadline)
			continue;
		log_say(LOG_AT_ERROR, "PAM service %s: no answer in %d s; its process is killed",
		    c->service, PAMHELPER_MS / 1000);
		give_up(c);
	}
}

static bool is_check(const struct pamhelper *h, pid_t pid)
{
	for (size_t i = 0; i < PAMHELPER_CHECKS; i++)
		if (h->checks[i].state != CHECK_FREE && h->checks[i].pid == pid)
			return true;
	return false;
}

/* What modules have started in a group of its own (pam_exec does) becomes a child of the helper
 * when their process ends, and ends then as well. Whoever is in this list stays himself until he is
 * waited for, so nobody else can be hit. */
static void end_orphans(const struct pamhelper *h)
{
	FILE *f = fopen("/proc/thread-self/children", "re");
	char word[16];

	while (f && fscanf(f, "%15s", word) == 1) {
		pid_t pid = (pid_t)strtol(word, NULL, 10);

		if (pid <= 0 || is_check(h, pid))
			continue;
		kill(pid, SIGKILL);
		waitpid(pid, NULL, WNOHANG);
	}
	if (f)
		fclose(f);
}

static void reap(struct pamhelper *h)
{
	for (size_t i = 0; i < PAMHELPER_CHECKS; i++) {
		struct check *c = &h->checks[i];

		if (c->state == CHECK_DYING && waitpid(c->pid, NULL, WNOHANG) != 0)
			c->state = CHECK_FREE;
	}
	end_orphans(h);
}

/* Takes a question. Returns whether there may be more. */
static bool take(struct pamhelper *h)
{
	struct pam_question question;
	int answer_to, err = pamwire_take(h->options->questions, &question, &answer_to);

	if (err == ERR_MALFORMED) {
		log_say(LOG_AT_ERROR, "a worker asks what is no question");
		return true;
	}
	if (err != 1) {
		h->leaving = h->leaving || err == 0;
		return false;
	}
	err = is_served(h, question.service) ? begin(h, &question, answer_to) : -ENOENT;
	explicit_bzero(&question, sizeof(question));
	if (!err)
		return true;
	log_say(LOG_AT_ERROR, "cannot ask PAM: %s",
	    err == -ENOENT ? "the configuration has no such service" : strerror(-err));
	refuse(answer_to);
	return true;
}

/* ---- the process of the helper ---- */

static void on_signals(struct pamhelper *h)
{
	struct signalfd_siginfo info;

	while (read(h->signals, &info, sizeof(info)) == (ssize_t)sizeof(info))
		h->leaving = h->leaving || info.ssi_signo == SIGTERM;
}

static int until_due(const struct pamhelper *h)
{
	uint64_t now = now_ms(), due = UINT64_MAX;

	for (size_t i = 0; i < PAMHELPER_CHECKS; i++)
		if (h->checks[i].state == CHECK_RUNS && h->checks[i].deadline < due)
			due = h->checks[i].deadline;
	if (due == UINT64_MAX)
		return -1;
	return due > now ? (int)(due - now) : 0;
}

static void wait_and_handle(struct pamhelper *h)
{
	struct pollfd p[2 + 2 * PAMHELPER_CHECKS];

	p[0] = (struct pollfd){.fd = h->signals, .events = POLLIN};
	p[1] = (struct pollfd){
	    .fd = h->leaving || !find_free(h) ? -1 : h->options->questions, .events = POLLIN};
	for (size_t i = 0; i < PAMHELPER_CHECKS; i++) {
		const struct check *c = &h->checks[i];
		bool runs = c->state == CHECK_RUNS;

		p[2 + 2 * i] = (struct pollfd){.fd = runs ? c->result : -1, .events = POLLIN};
		p[3 + 2 * i] = (struct pollfd){.fd = runs ? c->answer_to : -1};
	}
	if (poll(p, sizeof(p) / sizeof(p[0]), until_due(h)) < 0)
		return;
	atomic_fetch_add(h->options->pulse, 1);
	for (size_t i = 0; i < PAMHELPER_CHECKS; i++) {
		if (p[2 + 2 * i].revents)
			hear(&h->checks[i]);
		else if (p[3 + 2 * i].revents)
			give_up(&h->checks[i]);
	}
	if (p[0].revents)
		on_signals(h);
	end_late_ones(h);
	if (p[0].revents)
		reap(h);
	while (p[1].revents && !h->leaving && find_free(h) && take(h))
		;
}

/* The group of a supervisor in a terminal gets its Ctrl-C too; the supervisor alone answers it. */
static int take_signals(void)
{
	sigset_t set;

	signal(SIGPIPE, SIG_IGN);
	signal(SIGHUP, SIG_IGN);
	signal(SIGINT, SIG_IGN);
	sigemptyset(&set);
	sigaddset(&set, SIGCHLD);
	sigaddset(&set, SIGTERM);
	if (sigprocmask(SIG_SETMASK, &set, NULL) < 0)
		return -errno;
	return signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
}

int pamhelper_main(const struct pamhelper_options *options)
{
	struct pamhelper h = {.options = options};
	int err = sandbox_enter_helper();

	prctl(PR_SET_NAME, "tabi-auth");
	prctl(PR_SET_CHILD_SUBREAPER, 1);
	h.signals = take_signals();
	if (err || h.signals < 0) {
		log_say(
		    LOG_AT_ERROR, "the auth helper cannot start: %s", strerror(err ? -err : errno));
		return 1;
	}
	while (!h.leaving || any_runs(&h) || any_dies(&h))
		wait_and_handle(&h);
	return 0;
}
