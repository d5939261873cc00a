/* SPDX-License-Identifier: MIT */
#include "net/passfd.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

union control {
	struct cmsghdr align;
	char space[CMSG_SPACE(PASSFD_MAX * sizeof(int))];
};

int passfd_send(int socket, const void *msg, size_t len, const int *fds, size_t n, int flags)
{
	union control control;
	struct iovec iov = {.iov_len = len};
	struct msghdr hdr = {.msg_iov = &iov, .msg_iovlen = 1};
	ssize_t sent;

	if (n > PASSFD_MAX)
		return -E2BIG;
	/* sendmsg() only reads it, which its types cannot say. */
	memcpy(&iov.iov_base, &msg, sizeof(msg));
	if (n > 0) {
		struct cmsghdr *c;

		memset(&control, 0, CMSG_SPACE(n * sizeof(int)));
		hdr.msg_control = control.space;
		hdr.msg_controllen = CMSG_SPACE(n * sizeof(int));
		c = CMSG_FIRSTHDR(&hdr);
		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN(n * sizeof(int));
		memcpy(CMSG_DATA(c), fds, n * sizeof(int));
	}
	do {
		sent = sendmsg(socket, &hdr, flags | MSG_NOSIGNAL);
	} while (sent < 0 && errno == EINTR);
	return sent < 0 ? -errno : 0;
}

/* Their number. There is one such part at most, and room for `max`. */
static size_t take(struct msghdr *hdr, int *fds)
{
	struct cmsghdr *c = CMSG_FIRSTHDR(hdr);
	size_t n;

	if (!c || c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
		return 0;
	n = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
	memcpy(fds, CMSG_DATA(c), n * sizeof(int));
	return n;
}

ssize_t passfd_receive(int socket, void *msg, size_t size, int *fds, size_t max, size_t *ret_n)
{
	union control control;
	struct iovec iov = {.iov_base = msg, .iov_len = size};
	struct msghdr hdr = {
	    .msg_iov = &iov,
	    .msg_iovlen = 1,
	    .msg_control = control.space,
	    /* CMSG_SPACE would be rounded up, to room for one more. */
	    .msg_controllen = CMSG_LEN((max < PASSFD_MAX ? max : PASSFD_MAX) * sizeof(int)),
	};
	ssize_t n;

	*ret_n = 0;
	do {
		n = recvmsg(socket, &hdr, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
	} while (n < 0 && errno == EINTR);
	if (n < 0)
		return -errno;
	*ret_n = take(&hdr, fds);
	if (!(hdr.msg_flags & (MSG_CTRUNC | MSG_TRUNC)))
		return n;
	while (*ret_n > 0)
		close(fds[--*ret_n]);
	/* The kernel drops those for which there is no room, and says so here only. */
	return hdr.msg_flags & MSG_CTRUNC ? -EMFILE : -EMSGSIZE;
}
