/* SPDX-License-Identifier: MIT */
#include "lib/os.h"

#include <sys/epoll.h>

tabi_socket os_group(void)
{
	return epoll_create1(EPOLL_CLOEXEC);
}

int os_group_add(tabi_socket to, tabi_socket fd, int wanted)
{
	struct epoll_event event = {0};

	event.events =
	    (wanted & TABI_READABLE ? EPOLLIN : 0) | (wanted & TABI_WRITABLE ? EPOLLOUT : 0);
	return epoll_ctl(to, EPOLL_CTL_ADD, fd, &event) == 0 ? 0 : -1;
}

/* Closing does not do where the descriptor has a copy in a child. */
void os_group_remove(tabi_socket from, tabi_socket fd)
{
	struct epoll_event event = {0};

	(void)epoll_ctl(from, EPOLL_CTL_DEL, fd, &event);
}
