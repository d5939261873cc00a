/* SPDX-License-Identifier: MIT */
#include "lib/os.h"

tabi_socket os_group(void)
{
	return TABI_NO_SOCKET;
}

int os_group_add(tabi_socket group, tabi_socket fd)
{
	(void)group;
	(void)fd;
	return -1;
}

void os_group_remove(tabi_socket group, tabi_socket fd)
{
	(void)group;
	(void)fd;
}
