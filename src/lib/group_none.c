/* SPDX-License-Identifier: MIT */
#include "lib/os.h"

tabi_socket os_group(void)
{
	return TABI_NO_SOCKET;
}

int os_group_add(tabi_socket to, tabi_socket fd, int wanted)
{
	(void)to;
	(void)fd;
	(void)wanted;
	return -1;
}

void os_group_remove(tabi_socket from, tabi_socket fd)
{
	(void)from;
	(void)fd;
}
