/* SPDX-License-Identifier: MIT */
#include "cli/stdio.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

int stdio_fill(void)
{
	int fd;

	do
		fd = open("/dev/null", O_RDWR);
	while (fd >= 0 && fd <= STDERR_FILENO);
	if (fd < 0)
		return -errno;
	close(fd);
	return 0;
}

static enum stdio_kind kind_of(int fd)
{
	struct stat st;

	if (fstat(fd, &st) < 0)
		return STDIO_OTHER;
	if (S_ISSOCK(st.st_mode))
		return STDIO_SOCKET;
	return S_ISREG(st.st_mode) || S_ISBLK(st.st_mode) ? STDIO_FILE : STDIO_OTHER;
}

void stdio_input(struct stdio *end, int fd)
{
	*end = (struct stdio){.fd = fd, .kind = kind_of(fd)};
}

/* The same pipe by another open file; -1 where that is not allowed, or /proc not there. Of what is
 * no pipe another open file may be another thing (/dev/ptmx). */
static int reopen(int fd)
{
	char path[32];
	struct stat st;

	if (fstat(fd, &st) < 0 || !S_ISFIFO(st.st_mode))
		return -1;
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	return open(path, O_WRONLY | O_NONBLOCK | O_CLOEXEC);
}

void stdio_output(struct stdio *end, int fd)
{
	int own = reopen(fd);

	*end = (struct stdio){.fd = fd, .kind = kind_of(fd)};
	if (own < 0)
		return;
	/* In its place, so that closing it is the end of the pipe's last writer. */
	if (dup2(own, fd) >= 0)
		end->kind = STDIO_OWN;
	close(own);
}

ssize_t stdio_read(const struct stdio *end, void *buf, size_t size)
{
	ssize_t n;

	do
		n = end->kind == STDIO_SOCKET ? recv(end->fd, buf, size, MSG_DONTWAIT)
					      : read(end->fd, buf, size);
	while (n < 0 && errno == EINTR);
	return n < 0 ? -errno : n;
}

/* Would PIPE_BUF bytes not wait? What is broken does not either. */
static bool takes_some(int fd)
{
	struct pollfd p = {.fd = fd, .events = POLLOUT};

	return poll(&p, 1, 0) != 0;
}

ssize_t stdio_write(const struct stdio *end, const void *data, size_t len)
{
	ssize_t n;

	if (end->kind == STDIO_OTHER) {
		if (!takes_some(end->fd))
			return -EAGAIN;
		len = len < PIPE_BUF ? len : PIPE_BUF;
	}
	do
		n = end->kind == STDIO_SOCKET
			? send(end->fd, data, len, MSG_DONTWAIT | MSG_NOSIGNAL)
			: write(end->fd, data, len);
	while (n < 0 && errno == EINTR);
	return n < 0 ? -errno : n;
}

void stdio_end(struct stdio *end)
{
	if (end->fd < 0)
		return;
	/* Standard input may be the same socket. */
	if (end->kind == STDIO_SOCKET)
		shutdown(end->fd, SHUT_WR);
	close(end->fd);
	end->fd = -1;
}
