/* SPDX-License-Identifier: MIT */
#include "server/sandbox.h"

#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

int sandbox_find_user(const char *name, struct sandbox_user *ret_user)
{
	struct passwd *pw;

	*ret_user = (struct sandbox_user){.change = geteuid() == 0};
	if (!ret_user->change)
		return 0;
	errno = 0;
	pw = getpwnam(name ? name : "nobody");
	if (!pw)
		return errno ? -errno : -ENOENT;
	if (pw->pw_uid == 0)
		return -EINVAL;
	ret_user->uid = pw->pw_uid;
	ret_user->gid = pw->pw_gid;
	snprintf(ret_user->name, sizeof(ret_user->name), "%s", pw->pw_name);
	return 0;
}

/* setresuid() from root clears the permitted, effective and ambient capabilities, capabilities(7).
 */
static int become(const struct sandbox_user *user)
{
	if (setgroups(0, NULL) < 0)
		return -errno;
	if (setresgid(user->gid, user->gid, user->gid) < 0)
		return -errno;
	if (setresuid(user->uid, user->uid, user->uid) < 0)
		return -errno;
	/* Were any way back left, this would find it. */
	if (setuid(0) == 0)
		return -EPERM;
	return 0;
}

/* A build with sanitizers stays open to them: the leak checker traces its own process at exit. */
static int forbid_tracing(void)
{
#ifndef TABI_SANITIZED
	if (prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0)
		return -errno;
#endif
	return 0;
}

int sandbox_enter_helper(void)
{
	const struct rlimit none = {0, 0};

	if (setrlimit(RLIMIT_CORE, &none) < 0)
		return -errno;
	/* Last: /proc/self belongs to root from here on. */
	return forbid_tracing();
}

int sandbox_enter(const struct sandbox_user *user)
{
	int err = user->change ? become(user) : 0;

	if (err)
		return err;
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		return -errno;
	return sandbox_enter_helper();
}

unsigned long sandbox_raise_descriptors(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
		return 1024;
	if (limit.rlim_cur < limit.rlim_max) {
		limit.rlim_cur = limit.rlim_max;
		if (setrlimit(RLIMIT_NOFILE, &limit) < 0)
			(void)getrlimit(RLIMIT_NOFILE, &limit);
	}
	return limit.rlim_cur;
}
