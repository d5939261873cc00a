/* SPDX-License-Identifier: MIT */
/* What a process gives up before it meets the network: root, new privileges, core dumps. */
#ifndef TABI_SERVER_SANDBOX_H
#define TABI_SERVER_SANDBOX_H

#include <stdbool.h>
#include <sys/types.h>

/* Whom to become; `change` is false where the process is not root. */
struct sandbox_user {
	bool change;
	uid_t uid;
	gid_t gid;
	char name[64];
};

/*
 * Looks up `name` (NULL: "nobody"), in the supervisor, for it reads the user database. Returns 0,
 * or -errno where we are root and there is no such user, or it is root again.
 */
int sandbox_find_user(const char *name, struct sandbox_user *ret_user);

/*
 * Becomes `user` without any group but its own and without any capability, for good; also forbids
 * new privileges by exec, core dumps and being traced: a worker's memory holds passwords for
 * moments. Returns 0 or -errno, after which the process must not go on.
 */
int sandbox_enter(const struct sandbox_user *user);

/*
 * For the auth helper, which stays who it is: forbids core dumps and being traced. New privileges
 * by exec stay possible, for that is how PAM without root reads hashes (unix_chkpwd is setuid or
 * setgid). Returns 0 or -errno.
 */
int sandbox_enter_helper(void);

/* Raises the limit of descriptors as far as is allowed. Returns it. */
unsigned long sandbox_raise_descriptors(void);

#endif
