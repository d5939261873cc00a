/* SPDX-License-Identifier: MIT */
#include "server/channel.h"

#include <errno.h>

int channel_send(int channel, const struct channel_message *msg, const int *fds, size_t n_fds)
{
	return passfd_send(channel, msg, sizeof(*msg), fds, n_fds, 0);
}

int channel_receive(int channel, struct channel_message *ret_msg, int fds[static CHANNEL_FDS_MAX],
    size_t *ret_n_fds)
{
	ssize_t n =
	    passfd_receive(channel, ret_msg, sizeof(*ret_msg), fds, CHANNEL_FDS_MAX, ret_n_fds);

	if (n < 0)
		return n == -ECONNRESET ? 0 : (int)n;
	if (n != 0 && n != sizeof(*ret_msg))
		return -EPROTO;
	return n != 0;
}
