/* SPDX-License-Identifier: MIT */
/* tabi passwd: sets or removes a user's password in a password file. */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <termios.h>
#include <unistd.h>

#include "cli/main.h"
#include "server/auth/password.h"

static const char usage[] =
    "usage: tabi passwd [-d] FILE USER\n"
    "\n"
    "Sets the password of USER in FILE, which is made if it does not exist (readable by its owner\n"
    "alone). The password is asked for twice on a terminal, else read from standard input: one\n"
    "line of 1 to 255 bytes.\n"
    "\n"
    "  -d, --delete  remove USER from FILE\n"
    "  -h, --help    show this\n";

static const struct option long_options[] = {
    {"delete", no_argument, NULL, 'd'},
    {"help", no_argument, NULL, 'h'},
    {NULL, 0, NULL, 0},
};

static int fail(const char *what, const char *why)
{
	fprintf(stderr, "tabi passwd: %s: %s\n", what, why);
	return 1;
}

/* One line of standard input without its newline. Returns NULL, or what is wrong. */
static const char *read_line(char password[static PASSWORD_MAX + 2])
{
	size_t len = 0;
	int c;

	/* One more than allowed is kept, so that too long is seen. */
	while ((c = getchar()) != EOF && c != '\n') {
		if (c == '\0')
			return "a password cannot hold a NUL byte";
		if (len > PASSWORD_MAX - 1)
			return "a password has 255 bytes at most";
		password[len++] = (char)c;
	}
	password[len] = '\0';
	return len > 0 ? NULL : "a password has at least 1 byte";
}

static const char *ask(const char *prompt, char password[static PASSWORD_MAX + 2])
{
	struct termios old, quiet;
	const char *why;

	if (tcgetattr(STDIN_FILENO, &old) < 0)
		return strerror(errno);
	quiet = old;
	quiet.c_lflag &= ~(tcflag_t)ECHO;
	fputs(prompt, stderr);
	tcsetattr(STDIN_FILENO, TCSAFLUSH, &quiet);
	why = read_line(password);
	tcsetattr(STDIN_FILENO, TCSAFLUSH, &old);
	fputc('\n', stderr);
	return why;
}

static const char *get_password(char password[static PASSWORD_MAX + 2])
{
	char again[PASSWORD_MAX + 2] = "";
	const char *why;

	if (!isatty(STDIN_FILENO))
		return read_line(password);
	why = ask("New password: ", password);
	if (!why)
		why = ask("The same again: ", again);
	if (!why && strcmp(password, again) != 0)
		why = "the two passwords differ; nothing was changed";
	explicit_bzero(again, sizeof(again));
	return why;
}

static bool is_line_of(const char *line, const char *user)
{
	size_t n = strlen(user);

	return strncmp(line, user, n) == 0 && line[n] == ':';
}

/* Copies `from` (may be NULL) to `to`, with `user`'s line replaced; a NULL hash leaves it out.
 * Returns whether there was one. */
static bool copy_lines(FILE *from, FILE *to, const char *user, const char *hash)
{
	char *line = NULL;
	size_t cap = 0;
	bool found = false;
	ssize_t n;

	while (from && (n = getline(&line, &cap, from)) > 0) {
		if (is_line_of(line, user)) {
			if (hash && !found)
				fprintf(to, "%s:%s\n", user, hash);
			found = true;
			continue;
		}
		fputs(line, to);
		if (line[n - 1] != '\n')
			fputc('\n', to);
	}
	if (hash && !found)
		fprintf(to, "%s:%s\n", user, hash);
	free(line);
	return found;
}

/* A new file beside the old one takes its place at once: a reader sees one or the other. */
static int replace_file(const char *path, const char *user, const char *hash)
{
	char *tmp = NULL;
	FILE *from = fopen(path, "re"), *to = NULL;
	struct stat st;
	bool found = false;
	int fd = -1, err = 0;

	if (!from && (errno != ENOENT || !hash))
		return fail(path, strerror(errno));
	if (asprintf(&tmp, "%s.XXXXXX", path) < 0)
		tmp = NULL;
	if (tmp)
		fd = mkostemp(tmp, O_CLOEXEC); /* mode 0600 */
	if (fd >= 0)
		to = fdopen(fd, "w");
	if (!to) {
		err = tmp ? errno : ENOMEM;
		goto out;
	}
	/* Whoever owned it goes on owning it. */
	if (from && fstat(fileno(from), &st) == 0 && geteuid() == 0 &&
	    fchown(fd, st.st_uid, st.st_gid) < 0)
		err = errno;
	found = copy_lines(from, to, user, hash);
	if (!err && (fflush(to) != 0 || fsync(fd) < 0))
		err = errno;
	if (!err && (hash || found) && rename(tmp, path) < 0)
		err = errno;
out:
	if (to)
		fclose(to);
	if (from)
		fclose(from);
	if (tmp && (err || (!hash && !found)))
		unlink(tmp);
	free(tmp);
	if (err)
		return fail(path, strerror(err));
	return hash || found ? 0 : fail(user, "there is no such user in the file");
}

static int set_password(const char *path, const char *user)
{
	char password[PASSWORD_MAX + 2] = "", hash[PASSWORD_HASH_MAX];
	const char *why = get_password(password);
	int err = 0;

	if (!why) {
		err = password_hash(password, hash);
		why = err ? strerror(-err) : NULL;
	}
	explicit_bzero(password, sizeof(password));
	return why ? fail(user, why) : replace_file(path, user, hash);
}

static const char *wrong_with_user(const char *user)
{
	size_t n = strlen(user);

	if (n == 0 || n > PASSWORD_MAX)
		return "a user has 1 to 255 bytes";
	if (strpbrk(user, ":\n") || user[0] == '#')
		return "a user cannot hold ':' or a newline, nor begin with '#'";
	return NULL;
}

int passwd_main(int argc, char **argv)
{
	bool delete = false;
	const char *why;
	int c;

	while ((c = getopt_long(argc, argv, "dh", long_options, NULL)) != -1) {
		if (c == 'h') {
			fputs(usage, stdout);
			return 0;
		}
		if (c != 'd') {
			fputs(usage, stderr);
			return 2;
		}
		delete = true;
	}
	if (argc - optind != 2) {
		fputs(usage, stderr);
		return 2;
	}
	why = wrong_with_user(argv[optind + 1]);
	if (why)
		return fail(argv[optind + 1], why);
	if (delete)
		return replace_file(argv[optind], argv[optind + 1], NULL);
	return set_password(argv[optind], argv[optind + 1]);
}
