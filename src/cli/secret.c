/* SPDX-License-Identifier: MIT */
#include "cli/secret.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <string.h>
#include <sys/stat.h>
#include <termios.h>
#include <unistd.h>

/* ---- files ---- */

static const char *wrong_with(int fd)
{
	struct stat st;

	if (fstat(fd, &st) < 0)
		return strerror(errno);
	if (!S_ISREG(st.st_mode))
		return NULL;
	if (st.st_mode & 077)
		return "others may read or write it; make it private with 'chmod 600'";
	if (st.st_uid != 0 && st.st_uid != geteuid())
		return "belongs to somebody else; it must be root's or your own";
	return NULL;
}

static int read_all(int fd, char buf[static SECRET_TEXT_MAX], const char **ret_why)
{
	size_t len = 0;
	ssize_t n;

	do {
		n = read(fd, buf + len, SECRET_TEXT_MAX - len);
		if (n > 0)
			len += (size_t)n;
	} while ((n > 0 && len < SECRET_TEXT_MAX) || (n < 0 && errno == EINTR));
	if (n < 0)
		*ret_why = strerror(errno);
	else if (len == SECRET_TEXT_MAX)
		*ret_why = "is too long to be a file of passwords";
	else
		return (int)len;
	explicit_bzero(buf, SECRET_TEXT_MAX);
	return -1;
}

int secret_read(const char *path, char buf[static SECRET_TEXT_MAX], const char **ret_why)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
	int len = -1;

	*ret_why = fd < 0 ? strerror(errno) : wrong_with(fd);
	if (!*ret_why)
		len = read_all(fd, buf, ret_why);
	if (fd >= 0)
		close(fd);
	return len;
}

/* ---- the terminal ---- */

/*
 * A signal that would end or stop us while nothing is shown is caught, the terminal put right, and
 * the signal sent again. They are let in only while we wait, so that none comes unseen in between.
 */
static const int caught_signals[] = {SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGTSTP};

#define N_CAUGHT (sizeof(caught_signals) / sizeof(caught_signals[0]))

static volatile sig_atomic_t caught;

static void on_signal(int number)
{
	caught = number;
}

struct terminal {
	int fd;
	struct termios shown;
	sigset_t open; /* the mask as it was */
	struct sigaction old[N_CAUGHT];
};

static void catch_signals(struct terminal *t)
{
	const struct sigaction action = {.sa_handler = on_signal};
	sigset_t held;

	caught = 0;
	sigemptyset(&held);
	for (size_t i = 0; i < N_CAUGHT; i++)
		sigaddset(&held, caught_signals[i]);
	sigprocmask(SIG_BLOCK, &held, &t->open);
	for (size_t i = 0; i < N_CAUGHT; i++) {
		sigaction(caught_signals[i], NULL, &t->old[i]);
		/* nohup(1) and the like. */
		if (t->old[i].sa_handler != SIG_IGN)
			sigaction(caught_signals[i], &action, NULL);
	}
}

static void release_signals(struct terminal *t)
{
	for (size_t i = 0; i < N_CAUGHT; i++)
		sigaction(caught_signals[i], &t->old[i], NULL);
	sigprocmask(SIG_SETMASK, &t->open, NULL);
}

/* In the background this stops us, before anything has changed. */
static int hide(struct terminal *t)
{
	struct termios hidden;

	if (tcgetattr(t->fd, &t->shown) < 0)
		return -errno;
	hidden = t->shown;
	hidden.c_lflag &= ~(tcflag_t)ECHO;
	hidden.c_lflag |= ICANON | ECHONL;
	return tcsetattr(t->fd, TCSAFLUSH, &hidden) < 0 ? -errno : 0;
}

/* Returns a count, 0 at the end of the input, or -EINTR where one of the signals came. */
static ssize_t read_some(const struct terminal *t, char *buf, size_t size)
{
	struct pollfd p = {.fd = t->fd, .events = POLLIN};
	ssize_t n = -1;

	if (ppoll(&p, 1, NULL, &t->open) > 0)
		n = read(t->fd, buf, size);
	if (caught)
		return -EINTR;
	return n < 0 ? -errno : n;
}

static int read_line(const struct terminal *t, char *buf, size_t size, size_t *ret_len)
{
	char more[64];
	size_t len = 0;
	ssize_t n = 0;
	bool ended = false;

	while (!ended) {
		n = read_some(t, more, sizeof(more));
		if (n == -EINTR && !caught)
			continue;
		if (n <= 0)
			break;
		ended = more[n - 1] == '\n';
		n -= ended;
		if (len <= size)
			memcpy(buf + len, more, (size_t)n <= size - len ? (size_t)n : size - len);
		len += (size_t)n;
	}
	explicit_bzero(more, sizeof(more));
	*ret_len = len <= size ? len : 0;
	if (n < 0)
		return (int)n;
	if (!ended && len == 0)
		return -ENODATA;
	return len <= size ? 0 : -EMSGSIZE;
}

static int ask_once(struct terminal *t, const char *prompt, char *buf, size_t size, size_t *ret_len)
{
	int err = hide(t);

	if (err)
		return err;
	/* Where it cannot be written there is nobody to read it. */
	if (write(t->fd, prompt, strlen(prompt)) >= 0)
		err = read_line(t, buf, size, ret_len);
	else
		err = -errno;
	tcsetattr(t->fd, TCSAFLUSH, &t->shown);
	return err;
}

int secret_ask(const char *prompt, char *buf, size_t size, size_t *ret_len)
{
	struct terminal t = {.fd = open("/dev/tty", O_RDWR | O_CLOEXEC | O_NOCTTY)};
	bool again;
	int err;

	if (t.fd < 0)
		return -errno;
	do {
		catch_signals(&t);
		err = ask_once(&t, prompt, buf, size, ret_len);
		again = caught != 0;
		release_signals(&t);
		/* Of stopping and of what was caught elsewhere we come back. */
		if (again) {
			explicit_bzero(buf, size);
			raise(caught);
		}
	} while (again);
	close(t.fd);
	return err;
}
