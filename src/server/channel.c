/* SPDX-License-Identifier: MIT */
#include "server/channel.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

union control {
	struct cmsghdr align;
	char space[CMSG_SPACE(CHANNEL_FDS_MAX * sizeof(int))];
};

int channel_send(int channel, const struct channel_message *msg, const int *fds, size_t n_fds)
{
	union control control;
	struct channel_message copy = *msg; /* sendmsg() wants it writable */
	struct iovec iov = {.iov_base = &copy, .iov_len = sizeof(copy)};
	struct msghdr hdr = {.msg_iov = &iov, .msg_iovlen = 1};
	ssize_t n;

	if (n_fds > CHANNEL_FDS_MAX)
		return -E2BIG;
	if (n_fds > 0) {
		struct cmsghdr *c;

		memset(&control, 0, sizeof(control));
		hdr.msg_control = control.space;
		hdr.msg_controllen = CMSG_SPACE(n_fds * sizeof(int));
		c = CMSG_FIRSTHDR(&hdr);
		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN(n_fds * sizeof(int));
		memcpy(CMSG_DATA(c), fds, n_fds * sizeof(int));
	}
	do {
		n = sendmsg(channel, &hdr, MSG_NOSIGNAL);
	} while (n < 0 && errno == EINTR);
	return n < 0 ? -errno : 0;
}

static void take_fds(struct msghdr *hdr, int *fds, size_t *ret_n_fds)
{
	*ret_n_fds = 0;
	for (struct cmsghdr *c = CMSG_FIRSTHDR(hdr); c; c = CMSG_NXTHDR(hdr, c)) {
		if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
			continue;
		*ret_n_fds = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
		memcpy(fds, CMSG_DATA(c), *ret_n_fds * sizeof(int));
	}
}

int channel_receive(int channel, struct channel_message *ret_msg, int fds[static CHANNEL_FDS_MAX],
    size_t *ret_n_fds)
{
	union control control;
	struct iovec iov = {.iov_base = ret_msg, .iov_len = sizeof(*ret_msg)};
	struct msghdr hdr = {
	    .msg_iov = &iov,
	    .msg_iovlen = 1,
	    .msg_control = control.space,
	    .msg_controllen = sizeof(control.space),
	};
	ssize_t n;

	do {
		n = recvmsg(channel, &hdr, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
	} while (n < 0 && errno == EINTR);
	*ret_n_fds = 0;
	if (n < 0)
		return errno == ECONNRESET ? 0 : -errno;
	take_fds(&hdr, fds, ret_n_fds);
	/* The kernel drops those for which there is no room, and says so here only. */
	if (hdr.msg_flags & MSG_CTRUNC) {
		while (*ret_n_fds > 0)
			close(fds[--*ret_n_fds]);
		return -EMFILE;
	}
	if (n != 0 && n != sizeof(*ret_msg))
		return -EPROTO;
	return n != 0;
}
