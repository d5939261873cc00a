/* SPDX-License-Identifier: MIT */
#include "server/supervisor.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "net/log.h"
#include "proto/err.h"
#include "server/channel.h"
#include "server/config.h"
#include "server/egress.h"
#include "server/helper.h"
#include "server/inbox.h"
#include "server/notify.h"
#include "server/ports.h"
#include "server/sandbox.h"
#include "server/sockets.h"
#include "server/worker.h"

#define WORKERS_MAX PORTS_WORKERS_MAX
_Static_assert(WORKERS_MAX <= INBOX_WORKERS_MAX, "an inbox for each");
_Static_assert(CONFIG_WORKERS_MAX <= WORKERS_MAX, "no more workers than there is room for");
/* A worker that lived this long did not die of its start: its successor comes at once. */
#define LIVED_MS 5000
#define BACKOFF_FIRST_MS 100
#define BACKOFF_MAX_MS 5000
/* What a worker may take beyond its drain deadline before it is killed. */
#define GRACE_MS 3000
/* Between attempts to give a worker its configuration. */
#define CONFIGURE_AGAIN_MS 100

struct child {
	pid_t pid;                    /* 0: not running */
	int channel;                  /* -1: none */
	unsigned unanswered;          /* configurations that were sent to it */
	bool serving;                 /* the newest configuration */
	uint64_t started, restart_at; /* ms */
	uint64_t configure_at;        /* ms; 0: the newest configuration is on its way to it */
	unsigned backoff_ms;
};

struct supervisor {
	const struct supervisor_options *options;
	struct config *config;
	int generation; /* of `config`, from 1 */
	struct sockets sockets;
	struct sandbox_user user;
	struct helper helper;
	int log_fd; /* owned unless it is standard error */
	int signals;
	struct child children[WORKERS_MAX];
	unsigned n_children;
	bool ready, stopping, failed;
	bool reloading;   /* not every worker serves the newest configuration yet */
	uint64_t kill_at; /* ms; 0: not yet */
};

static uint64_t now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

/* A mistake in the configuration, at start: the user reads it on the terminal as it stands. */
static void complain_on_stderr(void *ctx, const char *text)
{
	(void)ctx;
	fprintf(stderr, "%s\n", text);
}

/* The same on reload: it goes where the log goes, a line at a time. */
static void complain_in_log(void *ctx, const char *text)
{
	const char *end;

	(void)ctx;
	for (; *text; text = *end ? end + 1 : end) {
		end = strchrnul(text, '\n');
		log_say(LOG_AT_ERROR, "%.*s", (int)(end - text), text);
	}
}

/* What can be served, and somebody should know of. */
static void warn_in_log(void *ctx, const char *text)
{
	(void)ctx;
	log_say(LOG_AT_WARN, "%s", text);
}

static int load(
    const struct supervisor_options *o, config_complain_fn *complain, struct config **ret)
{
	if (o->config)
		return config_load(o->config, complain, NULL, ret);
	if (o->text)
		return config_load_text(o->name, o->text, complain, NULL, ret);
	return config_load_default(o->listen, o->n_listen, complain, NULL, ret);
}

/* ---- the log ---- */

static int open_log(const struct policy_settings *set)
{
	int fd;

	if (set->log_place != LOG_TO_FILE)
		return STDERR_FILENO;
	fd = open(set->log_file, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOCTTY, 0640);
	return fd < 0 ? -errno : fd;
}

static struct log_options log_options_of(const struct policy_settings *set, int fd)
{
	return (struct log_options){
	    .json = set->log_json,
	    .place = set->log_place,
	    .fd = fd,
	    .level = set->log_level,
	    .worker = -1,
	};
}

static void use_log(struct supervisor *s, const struct policy_settings *set, int fd)
{
	const struct log_options options = log_options_of(set, fd);

	log_setup(&options);
	if (s->log_fd != STDERR_FILENO)
		close(s->log_fd);
	s->log_fd = fd;
}

static void use_helper(struct supervisor *s)
{
	const struct log_options log = log_options_of(&s->config->policy->set, s->log_fd);

	helper_use(&s->helper, s->config, &log);
}

/* ---- workers ---- */

static struct child *child_of(struct supervisor *s, pid_t pid)
{
	for (unsigned i = 0; i < s->n_children; i++)
		if (s->children[i].pid == pid)
			return &s->children[i];
	return NULL;
}

/* Sends a worker all that it needs. Returns 0 or -errno. */
static int send_config(struct supervisor *s, unsigned number)
{
	struct channel_message msg = {.word = CHANNEL_CONFIG, .number = s->generation};
	int fds[CHANNEL_FDS_MAX];
	int config = config_to_memfd(s->config);
	size_t n;
	int err;

	if (config < 0)
		return config;
	fds[CHANNEL_FD_CONFIG] = config;
	fds[CHANNEL_FD_LOG] = s->log_fd;
	fds[CHANNEL_FD_HELPER] = s->helper.ask;
	n = sockets_of_worker(
	    &s->sockets, s->config->policy, number, fds + CHANNEL_FD_LISTENERS, msg.listener);
	err = channel_send(s->children[number].channel, &msg, fds, CHANNEL_FD_LISTENERS + n);
	close(config);
	return err;
}

/*
 * Sees to it that a worker gets the newest configuration. Where it cannot be sent just now (nothing
 * to make the packet of, or a worker that reads none) it is sent later: a worker must not stay
 * without one, nor under rules that are no longer in force. One that is gone is reaped instead.
 */
static void configure(struct supervisor *s, unsigned number)
{
	struct child *c = &s->children[number];
	bool first = c->configure_at == 0;
	int err = send_config(s, number);

	c->serving = false;
	c->configure_at = 0;
	c->unanswered += err == 0;
	if (err == 0 || err == -EPIPE || err == -ECONNRESET)
		return;
	c->configure_at = now_ms() + CONFIGURE_AGAIN_MS;
	if (first)
		log_say(LOG_AT_ERROR, "cannot configure worker %u: %s; trying again every %d ms",
		    number, strerror(-err), CONFIGURE_AGAIN_MS);
}

static void configure_due(struct supervisor *s)
{
	uint64_t now = now_ms();

	for (unsigned i = 0; i < s->n_children; i++)
		if (s->children[i].configure_at && s->children[i].configure_at <= now)
			configure(s, i);
}

/*
 * In the new process: nothing of the supervisor's but its end of the channel stays open. Not its
 * log either: until the configuration brings that, what there is to say goes to standard error.
 */
static _Noreturn void become_worker(unsigned number, int channel, const struct supervisor *s)
{
	const struct policy_settings *set = &s->config->policy->set;
	const struct log_options log = {
	    .json = set->log_json,
	    .place = LOG_TO_STDERR,
	    .fd = STDERR_FILENO,
	    .level = set->log_level,
	    .worker = (int)number,
	};
	int fd;

	/* First: syslog's descriptor may be the one that the channel gets. */
	log_setup(&log);
	/* dup3() refuses to duplicate onto itself. */
	fd = channel == 3 ? 3 : dup3(channel, 3, O_CLOEXEC);
	if (fd < 0 || inbox_keep(number, 4) < 0)
		_exit(1);
	exit(worker_main(number, fd, &s->user));
}

static int spawn(struct supervisor *s, unsigned number)
{
	struct child *c = &s->children[number];
	int pair[2], err;

	/* Also of a start that fails: it is no long life that earns another at once. */
	c->started = now_ms();
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) < 0)
		return -errno;
	/* Those of the worker that had this number before died with it. */
	ports_clear(number);
	c->pid = fork();
	err = -errno;
	if (c->pid == 0)
		become_worker(number, pair[1], s);
	close(pair[1]);
	if (c->pid < 0) {
		c->pid = 0;
		close(pair[0]);
		return err;
	}
	c->channel = pair[0];
	c->restart_at = 0;
	configure(s, number);
	return 0;
}

static void plan_restart(struct child *c)
{
	uint64_t now = now_ms();

	if (now - c->started >= LIVED_MS)
		c->backoff_ms = 0;
	c->restart_at = now + c->backoff_ms;
	c->backoff_ms = c->backoff_ms == 0 ? BACKOFF_FIRST_MS : c->backoff_ms * 2;
	if (c->backoff_ms > BACKOFF_MAX_MS)
		c->backoff_ms = BACKOFF_MAX_MS;
}

static void log_death(unsigned number, pid_t pid, int status)
{
	if (WIFSIGNALED(status))
		log_say(LOG_AT_ERROR,
		    "worker %u (pid %d) was killed by signal %d (%s); its sessions are lost",
		    number, (int)pid, WTERMSIG(status), strsignal(WTERMSIG(status)));
	else
		log_say(LOG_AT_ERROR, "worker %u (pid %d) ended with status %d", number, (int)pid,
		    WEXITSTATUS(status));
}

static void kill_all(struct supervisor *s)
{
	for (unsigned i = 0; i < s->n_children; i++)
		if (s->children[i].pid != 0)
			kill(s->children[i].pid, SIGKILL);
}

/* Before all is ready a worker that ends says that its start cannot work: another would not either.
 */
static void give_up(struct supervisor *s)
{
	s->failed = true;
	s->stopping = true;
	kill_all(s);
}

static void close_channel(struct child *c)
{
	if (c->channel >= 0)
		close(c->channel);
	c->channel = -1;
	c->configure_at = 0;
	c->unanswered = 0;
	c->serving = false;
}

static void reap(struct supervisor *s)
{
	int status;
	pid_t pid;

	while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
		struct child *c = child_of(s, pid);

		if (!c) {
			helper_reaped(&s->helper, pid, status);
			continue;
		}
		c->pid = 0;
		close_channel(c);
		inbox_clear((unsigned)(c - s->children));
		if (s->stopping)
			inbox_shut((unsigned)(c - s->children));
		if (s->stopping && WIFEXITED(status) && WEXITSTATUS(status) == 0)
			continue;
		if (!s->failed)
			log_death((unsigned)(c - s->children), pid, status);
		plan_restart(c);
		if (!s->ready && WIFEXITED(status))
			give_up(s);
	}
}

static void restart_due(struct supervisor *s)
{
	uint64_t now = now_ms();

	for (unsigned i = 0; i < s->n_children; i++) {
		struct child *c = &s->children[i];
		int err;

		if (c->pid != 0 || c->restart_at > now)
			continue;
		err = spawn(s, i);
		if (err) {
			log_say(LOG_AT_ERROR, "cannot start worker %u: %s", i, strerror(-err));
			plan_restart(c);
		}
	}
}

static bool any_child(const struct supervisor *s)
{
	for (unsigned i = 0; i < s->n_children; i++)
		if (s->children[i].pid != 0)
			return true;
	return false;
}

static void send_all(struct supervisor *s, enum channel_word word, int number)
{
	const struct channel_message msg = {.word = word, .number = number};

	for (unsigned i = 0; i < s->n_children; i++)
		if (s->children[i].channel >= 0)
			(void)channel_send(s->children[i].channel, &msg, NULL, 0);
}

/* ---- ready, stop, reload ---- */

/* What is listened on, as one value: "127.0.0.1:1080,[::1]:1080". */
static void log_listeners(struct log_record *rec, const struct sockets *sockets)
{
	const struct policy_listener *last = NULL;
	char text[1024];
	size_t len = 0;

	for (size_t i = 0; i < sockets->n; i++) {
		const struct listening *l = &sockets->list[i];
		int n;

		/* Of both families it is one in the configuration; of a missing one it is none. */
		if (l->listener == last || l->fds[0] < 0)
			continue;
		last = l->listener;
		n = snprintf(
		    text + len, sizeof(text) - len, "%s%s", len > 0 ? "," : "", last->text);
		len = n < (int)(sizeof(text) - len) ? len + (size_t)n : sizeof(text) - 1;
	}
	log_bytes(rec, "listen", text, len);
}

static void say_ready(struct supervisor *s)
{
	struct log_record rec;

	log_begin(&rec, LOG_AT_INFO, "ready");
	log_listeners(&rec, &s->sockets);
	log_number(&rec, "workers", s->n_children);
	log_number(&rec, "pid", (uint64_t)getpid());
	if (s->user.change)
		log_text(&rec, "user", s->user.name);
	log_end(&rec);
	upstreams_warn(s->config->policy, warn_in_log, NULL);
	egress_warn(s->config->policy, warn_in_log, NULL);
	notify_manager("READY=1");
}

static void stop(struct supervisor *s)
{
	unsigned drain_ms = s->config->policy->set.timeout_ms[TIMEOUT_DRAIN];

	if (!s->stopping) {
		s->stopping = true;
		notify_manager("STOPPING=1");
		log_say(LOG_AT_INFO, "stopping: %u ms for live sessions; a second signal ends them",
		    drain_ms);
		sockets_close(&s->sockets);
		send_all(s, CHANNEL_DRAIN, (int)drain_ms);
		s->kill_at = now_ms() + drain_ms + GRACE_MS;
	} else {
		send_all(s, CHANNEL_STOP, 0);
		s->kill_at = now_ms() + GRACE_MS;
	}
}

static void warn_of_what_stays(const struct supervisor *s, const struct policy_settings *new)
{
	const struct policy_settings *old = &s->config->policy->set;
	bool same_user =
	    old->user == new->user || (old->user && new->user &&strcmp(old->user, new->user) == 0);

	if (old->workers != new->workers)
		log_say(LOG_AT_WARN, "a changed 'workers' takes effect at the next start");
	if (!same_user)
		log_say(LOG_AT_WARN, "a changed 'user' takes effect at the next start");
}

/* All or nothing: whatever fails leaves what was served before. */
static int reload_into(struct supervisor *s, struct config *config)
{
	struct sockets sockets;
	int log_fd = open_log(&config->policy->set);
	int err;

	if (log_fd < 0) {
		log_say(LOG_AT_ERROR, "%s: cannot be written: %s", config->policy->set.log_file,
		    strerror(-log_fd));
		return log_fd;
	}
	err = sockets_open(
	    &sockets, &s->sockets, config->policy, s->n_children, complain_in_log, NULL);
	if (err) {
		if (log_fd != STDERR_FILENO)
			close(log_fd);
		return err;
	}
	warn_of_what_stays(s, &config->policy->set);
	sockets_close(&s->sockets);
	s->sockets = sockets;
	use_log(s, &config->policy->set, log_fd);
	config_unref(s->config);
	s->config = config;
	s->generation++;
	use_helper(s);
	upstreams_warn(config->policy, warn_in_log, NULL);
	egress_warn(config->policy, warn_in_log, NULL);
	return 0;
}

static void reload(struct supervisor *s)
{
	struct config *config;

	if (s->stopping)
		return;
	if (load(s->options, complain_in_log, &config) != 0) {
		log_say(
		    LOG_AT_ERROR, "the configuration was not reloaded; the old one stays in force");
		return;
	}
	if (reload_into(s, config) != 0) {
		config_unref(config);
		log_say(
		    LOG_AT_ERROR, "the configuration was not reloaded; the old one stays in force");
		return;
	}
	for (unsigned i = 0; i < s->n_children; i++)
		if (s->children[i].channel >= 0)
			configure(s, i);
	s->reloading = true;
}

/* ---- events ---- */

static void on_signal(struct supervisor *s)
{
	struct signalfd_siginfo info;

	while (read(s->signals, &info, sizeof(info)) == sizeof(info)) {
		if (info.ssi_signo == SIGCHLD)
			reap(s);
		else if (info.ssi_signo == SIGHUP)
			reload(s);
		else
			stop(s);
	}
}

static void on_failure(struct supervisor *s, struct child *c, int err)
{
	log_say(LOG_AT_ERROR, "worker %u cannot serve: %s", (unsigned)(c - s->children),
	    err <= -1000 ? err_text(err) : strerror(-err));
	if (s->ready) {
		/* Its successor gets another try. */
		kill(c->pid, SIGKILL);
		return;
	}
	give_up(s);
}

static void on_word(struct supervisor *s, struct child *c)
{
	struct channel_message msg;
	int fds[CHANNEL_FDS_MAX];
	size_t n;
	bool all = true;

	if (channel_receive(c->channel, &msg, fds, &n) <= 0)
		return;
	/* A worker has no descriptor to give. */
	for (size_t i = 0; i < n; i++)
		close(fds[i]);
	if (msg.word == CHANNEL_FAILED)
		on_failure(s, c, msg.number);
	if (msg.word != CHANNEL_SERVING)
		return;
	/* One answer each; an earlier configuration's says nothing of the newest. */
	c->serving = --c->unanswered == 0 && c->configure_at == 0;
	for (unsigned i = 0; i < s->n_children; i++)
		all = all && s->children[i].serving;
	if (!all || s->stopping)
		return;
	if (!s->ready) {
		s->ready = true;
		say_ready(s);
	} else if (s->reloading) {
		s->reloading = false;
		log_say(LOG_AT_INFO, "the configuration was reloaded");
	}
}

/* Milliseconds until something is due; -1: nothing is. */
static int until_due(const struct supervisor *s)
{
	uint64_t now = now_ms(), due = s->kill_at ? s->kill_at : UINT64_MAX;

	for (unsigned i = 0; i < s->n_children && !s->stopping; i++) {
		const struct child *c = &s->children[i];

		if (c->pid == 0 && c->restart_at < due)
			due = c->restart_at;
		if (c->configure_at && c->configure_at < due)
			due = c->configure_at;
	}
	if (helper_next(&s->helper) < due)
		due = helper_next(&s->helper);
	if (due == UINT64_MAX)
		return -1;
	return due <= now ? 0 : (int)(due - now);
}

static void wait_and_handle(struct supervisor *s)
{
	struct pollfd p[2 + WORKERS_MAX];
	int n;

	p[0] = (struct pollfd){.fd = s->signals, .events = POLLIN};
	for (unsigned i = 0; i < s->n_children; i++)
		p[1 + i] = (struct pollfd){.fd = s->children[i].channel, .events = POLLIN};
	p[1 + s->n_children] = (struct pollfd){.fd = helper_watched(&s->helper), .events = POLLIN};
	n = poll(p, 2 + s->n_children, until_due(s));
	if (n < 0)
		return;
	if (p[1 + s->n_children].revents & POLLIN)
		helper_asked(&s->helper);
	for (unsigned i = 0; i < s->n_children; i++)
		if (p[1 + i].revents & POLLIN)
			on_word(s, &s->children[i]);
	if (p[0].revents)
		on_signal(s);
	/* A worker that is gone is reaped by its signal; its channel must not keep us awake until
	 * then. */
	for (unsigned i = 0; i < s->n_children; i++)
		if ((p[1 + i].revents & (POLLHUP | POLLIN)) == POLLHUP)
			close_channel(&s->children[i]);
}

static int supervise(struct supervisor *s)
{
	while (!s->stopping || any_child(s) || helper_runs(&s->helper)) {
		if (!s->stopping) {
			restart_due(s);
			configure_due(s);
		} else if (!any_child(s)) {
			helper_stop(&s->helper, GRACE_MS);
		}
		helper_due(&s->helper);
		wait_and_handle(s);
		if (s->kill_at && now_ms() >= s->kill_at) {
			log_say(LOG_AT_ERROR, "workers did not end in time; killing them");
			kill_all(s);
			s->kill_at = 0;
		}
	}
	return s->failed ? 1 : 0;
}

/* ---- the start ---- */

static int take_signals(void)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGCHLD);
	sigaddset(&set, SIGHUP);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGTERM);
	signal(SIGPIPE, SIG_IGN);
	if (sigprocmask(SIG_BLOCK, &set, NULL) < 0)
		return -errno;
	return signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
}

static const char *why_not_user(int err)
{
	if (err == -ENOENT)
		return "there is no such user";
	return err == -EINVAL ? "that is root" : strerror(-err);
}

/* Everything that can fail for a reason the user should read before anything runs. */
static int prepare(struct supervisor *s)
{
	const struct policy_settings *set = &s->config->policy->set;
	int err = sandbox_find_user(set->user, &s->user);
	int fd;

	if (err) {
		fprintf(stderr,
		    "tabi: cannot run workers as user '%s': %s; name another with 'user'\n",
		    set->user ? set->user : "nobody", why_not_user(err));
		return err;
	}
	fd = open_log(set);
	if (fd < 0) {
		fprintf(
		    stderr, "tabi: cannot write the log %s: %s\n", set->log_file, strerror(-fd));
		return fd;
	}
	use_log(s, set, fd);
	s->n_children = config_workers(s->config);
	s->signals = take_signals();
	if (s->signals < 0) {
		perror("tabi: signalfd");
		return -EIO;
	}
	err = ports_setup();
	if (err) {
		fprintf(stderr, "tabi: cannot share memory: %s\n", strerror(-err));
		return err;
	}
	err = helper_init(&s->helper);
	if (err) {
		fprintf(stderr, "tabi: cannot make a socketpair: %s\n", strerror(-err));
		return err;
	}
	err = egress_setup();
	if (err) {
		fprintf(stderr, "tabi: there is no randomness: %s\n", strerror(-err));
		return err;
	}
	sandbox_raise_descriptors();
	err = sockets_open(
	    &s->sockets, NULL, s->config->policy, s->n_children, complain_on_stderr, NULL);
	if (err)
		return err;
	use_helper(s);
	err = inbox_setup(s->n_children);
	if (err)
		log_say(LOG_AT_WARN, "the kernel alone spreads connections over the workers: %s",
		    strerror(-err));
	return 0;
}

int supervisor_run(const struct supervisor_options *options)
{
	struct supervisor s = {
	    .options = options,
	    .helper = {.ask = -1, .questions = -1},
	    .log_fd = STDERR_FILENO,
	    .generation = 1,
	    .signals = -1,
	};
	int status = 1;

	if (load(options, complain_on_stderr, &s.config) != 0)
		return 1;
	for (unsigned i = 0; i < WORKERS_MAX; i++)
		s.children[i].channel = -1;
	if (prepare(&s) == 0)
		status = supervise(&s);
	sockets_close(&s.sockets);
	inbox_fini();
	helper_fini(&s.helper);
	if (s.signals >= 0)
		close(s.signals);
	if (s.log_fd != STDERR_FILENO)
		close(s.log_fd);
	config_unref(s.config);
	return status;
}
