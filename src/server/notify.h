/* SPDX-License-Identifier: MIT */
/* Telling the service manager how we are: sd_notify(3)'s protocol. */
#ifndef TABI_SERVER_NOTIFY_H
#define TABI_SERVER_NOTIFY_H

/* Sends `state` ("READY=1") to $NOTIFY_SOCKET; nothing happens where there is none. */
void notify_manager(const char *state);

#endif
