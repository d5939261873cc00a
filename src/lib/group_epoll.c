/* SPDX-License-Identifier: MIT */
#include "lib/os.h"

#include <sys/epoll.h>

tabi_socket os_group(void)
{
	return epoll_create1(EPOLL_CLOEXEC);
}

int os_group_add(tabi_socket group, tabi_socket fd)
{
	struct epoll_event event = {.events = EPOLLOUT};

	return epoll_ctl(group, EPOLL_CTL_ADD, fd, &event) == 0 ? 0 : -1;
}

/* Closing does not do where the descriptor has a copy in a child. */
void os_group_remove(tabi_socket group, tabi_socket fd)
{
	struct epoll_event event = {0};

	(void)epoll_ctl(group, EPOLL_CTL_DEL, fd, &event);
}
