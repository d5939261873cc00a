/* SPDX-License-Identifier: MIT */
#include "server/sockets.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "net/sockaddr.h"
#include "proto/err.h"
#include "server/channel.h"

/* The kernel cuts it to net.core.somaxconn. */
#define BACKLOG 4096

/* One opening under way: what it adds to and whom it complains to. */
struct opening {
	struct sockets *sockets;
	struct sockets *old;
	config_complain_fn *complain;
	void *ctx;
};

/* What to do about it, where that is not in the system's own words. */
static const char *advice(const struct policy_listener *l, int err)
{
	static const struct {
		int err;
		const char *tcp, *local;
	} table[] = {
	    {EADDRINUSE, "; another program listens there ('ss -ltnp' shows which)",
		"; another program listens there ('ss -lxp' shows which)"},
	    {EACCES, "; ports below 1024 are for root", "; its folder must be writable"},
	    {EADDRNOTAVAIL, "; this host has no such address ('ip address' shows those it has)",
		""},
	    {EAFNOSUPPORT, "; this host has no IPv6", ""},
	    {ENOENT, "", "; its folder does not exist"},
	    {EEXIST, "", "; what is there is no socket"},
	    {EMFILE, "; 'ulimit -n' is too low for so many addresses and workers", ""},
	};

	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++)
		if (table[i].err == -err)
			return l->unix_path ? table[i].local : table[i].tcp;
	return "";
}

static int complain(struct opening *o, const struct policy_listener *l, const char *what, int err)
{
	char text[512];

	snprintf(text, sizeof(text), "%s:%u: cannot listen on %s: %s%s", l->at.file, l->at.line,
	    l->text, what, advice(l, err));
	o->complain(o->ctx, text);
	return err ? err : ERR_UNAVAILABLE;
}

static int set_int(int fd, int level, int name, int value)
{
	return setsockopt(fd, level, name, &value, sizeof(value)) < 0 ? -errno : 0;
}

/* The last step: listens, unless something has failed before. Returns `fd`, or -errno without it.
 */
static int finish_listening(int fd, int err)
{
	if (!err && listen(fd, BACKLOG) < 0)
		err = -errno;
	if (err) {
		close(fd);
		return err;
	}
	return fd;
}

/* A bound and listening TCP socket, or -errno. */
static int open_tcp(const struct ip *ip, bool v6, uint16_t port, bool reuse_port)
{
	struct sockaddr_storage sa;
	socklen_t len = sockaddr_from_ip(&sa, ip, port);
	int family = v6 ? AF_INET6 : AF_INET;
	int err = 0, fd = socket(family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	if (fd < 0)
		return -errno;
	if (v6)
		err = set_int(fd, IPPROTO_IPV6, IPV6_V6ONLY, 1);
	if (!err)
		err = set_int(fd, SOL_SOCKET, SO_REUSEADDR, 1);
	if (!err && reuse_port)
		err = set_int(fd, SOL_SOCKET, SO_REUSEPORT, 1);
	/* Accepted sockets inherit both: no call per connection. */
	if (!err)
		err = set_int(fd, IPPROTO_TCP, TCP_NODELAY, 1);
	socket_keep_urgent(fd);
	if (!err && bind(fd, (struct sockaddr *)&sa, len) < 0)
		err = -errno;
	return finish_listening(fd, err);
}

static struct ip unspecified(bool v6)
{
	static const uint8_t zeros[16];

	return v6 ? ip_from_v6(zeros) : ip_from_v4(zeros);
}

/* Do we listen on this port already, on whatever address? */
static bool have_port(const struct sockets *old, uint16_t port)
{
	for (size_t i = 0; old && i < old->n; i++)
		if (!old->list[i].shared && old->list[i].listener->addr.port == port)
			return true;
	return false;
}

/*
 * SO_REUSEPORT would let a second tabi of the same user share the port, and connections would go to
 * either at random. So the first socket is tried without it: then an address in use is an error.
 * Not where we may be the ones who use it: on reload 127.0.0.1:1080 becomes 0.0.0.0:1080.
 */
static int open_workers(struct opening *o, struct listening *l)
{
	struct ip ip = l->listener->any_family ? unspecified(l->v6) : l->listener->addr.ip;
	uint16_t port = l->listener->addr.port;

	if (!have_port(o->old, port)) {
		int probe = open_tcp(&ip, l->v6, port, false);

		if (probe < 0)
			return probe;
		close(probe);
	}
	for (unsigned i = 0; i < o->sockets->workers; i++) {
		l->fds[i] = open_tcp(&ip, l->v6, port, true);
		if (l->fds[i] < 0)
			return l->fds[i];
	}
	return 0;
}

/* Does somebody serve the Unix socket at `sa`? Only a refusal says that nobody does: it may be a
 * socket that we may not connect to, or one of another type. */
static bool unix_in_use(const struct sockaddr_un *sa)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	bool used;

	if (fd < 0)
		return true;
	used = connect(fd, (const struct sockaddr *)sa, sizeof(*sa)) == 0 ||
	       (errno != ECONNREFUSED && errno != ENOENT);
	close(fd);
	return used;
}

/* Removes the file of a Unix socket that nobody serves any more; anything else is left alone. */
static int remove_stale(const struct sockaddr_un *sa)
{
	struct stat st;

	if (lstat(sa->sun_path, &st) < 0)
		return errno == ENOENT ? 0 : -errno;
	if (!S_ISSOCK(st.st_mode))
		return -EEXIST;
	if (unix_in_use(sa))
		return -EADDRINUSE;
	return unlink(sa->sun_path) < 0 ? -errno : 0;
}

static int open_unix(const struct policy_listener *l)
{
	struct sockaddr_un sa = {.sun_family = AF_UNIX};
	size_t len = strlen(l->unix_path);
	mode_t mask;
	int fd, err;

	if (len >= sizeof(sa.sun_path))
		return -ENAMETOOLONG;
	memcpy(sa.sun_path, l->unix_path, len);
	err = remove_stale(&sa);
	if (err)
		return err;
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return -errno;
	/* The file is made with its final mode: no moment in which others may connect. */
	mask = umask(~(mode_t)l->unix_mode & 0777);
	err = bind(fd, (struct sockaddr *)&sa, sizeof(sa)) < 0 ? -errno : 0;
	umask(mask);
	return finish_listening(fd, err);
}

static bool same_address(const struct listening *a, const struct policy_listener *l, bool v6)
{
	if (a->listener->unix_path || l->unix_path)
		return a->listener->unix_path && l->unix_path &&
		       strcmp(a->listener->unix_path, l->unix_path) == 0;
	return a->v6 == v6 && a->listener->any_family == l->any_family &&
	       a->listener->addr.port == l->addr.port &&
	       ip_equal(&a->listener->addr.ip, &l->addr.ip);
}

static struct listening *find_old(struct opening *o, const struct policy_listener *l, bool v6)
{
	for (size_t i = 0; o->old && i < o->old->n; i++)
		if (o->old->list[i].fds && same_address(&o->old->list[i], l, v6))
			return &o->old->list[i];
	return NULL;
}

static bool family_is_missing(int err)
{
	return err == -EAFNOSUPPORT || err == -EADDRNOTAVAIL;
}

/* Adds the sockets of one address; those that are open already are borrowed from `old` for now. */
static int add(struct opening *o, const struct policy_listener *l, bool v6)
{
	struct listening *it = &o->sockets->list[o->sockets->n];
	struct listening *old = find_old(o, l, v6);
	int err;

	if (o->sockets->n + CHANNEL_FD_LISTENERS >= CHANNEL_FDS_MAX)
		return complain(o, l, "too many addresses (250 at most)", 0);
	*it = (struct listening){.listener = l, .v6 = v6, .shared = l->unix_path != NULL};
	if (old) {
		it->fds = old->fds;
		o->sockets->n++;
		return 0;
	}
	it->fds = malloc(o->sockets->workers * sizeof(int));
	if (!it->fds)
		return -ENOMEM;
	for (unsigned i = 0; i < o->sockets->workers; i++)
		it->fds[i] = -1;
	o->sockets->n++;
	if (l->unix_path) {
		it->fds[0] = open_unix(l);
		err = it->fds[0] < 0 ? it->fds[0] : 0;
	} else {
		err = open_workers(o, it);
	}
	/* *:PORT on a host without IPv6 is IPv4 alone, and so is the built-in default. */
	if (family_is_missing(err) && v6 && (l->any_family || l->optional))
		return 0;
	return err ? complain(o, l, strerror(-err), err) : 0;
}

static int add_all(struct opening *o, const struct policy *policy)
{
	int err = 0;

	for (size_t i = 0; i < policy->n_listeners; i++) {
		const struct policy_listener *l = &policy->listeners[i];
		bool v6 = !l->unix_path && !l->any_family && !ip_is_v4(&l->addr.ip);
		int e = add(o, l, v6);

		if (!e && l->any_family)
			e = add(o, l, true);
		if (e)
			err = e;
	}
	return err;
}

static bool is_borrowed(const struct opening *o, const int *fds)
{
	for (size_t i = 0; o->old && i < o->old->n; i++)
		if (o->old->list[i].fds == fds)
			return true;
	return false;
}

/* What was borrowed goes back. */
static void give_back(struct opening *o)
{
	for (size_t i = 0; i < o->sockets->n; i++)
		if (is_borrowed(o, o->sockets->list[i].fds))
			o->sockets->list[i].fds = NULL;
}

/* A Unix socket that stays has the mode that the new configuration says. */
static void follow_mode(
    struct opening *o, const struct policy_listener *old, const struct policy_listener *new)
{
	if (!new->unix_path || old->unix_mode == new->unix_mode)
		return;
	if (chmod(new->unix_path, new->unix_mode) < 0)
		(void)complain(o, new, strerror(errno), -errno);
}

/* What was borrowed becomes ours. */
static void keep(struct opening *o)
{
	for (size_t i = 0; o->old && i < o->old->n; i++)
		for (size_t k = 0; k < o->sockets->n; k++) {
			struct listening *old = &o->old->list[i], *new = &o->sockets->list[k];

			if (old->fds != new->fds)
				continue;
			follow_mode(o, old->listener, new->listener);
			old->fds = NULL;
		}
}

int sockets_open(struct sockets *ret_sockets, struct sockets *old, const struct policy *policy,
    unsigned workers, config_complain_fn *complain_fn, void *ctx)
{
	struct sockets sockets = {.workers = workers};
	struct opening o = {&sockets, old, complain_fn, ctx};
	int err;

	/* Two for each, since any may be of any family. */
	sockets.list = calloc(2 * policy->n_listeners + 1, sizeof(*sockets.list));
	if (!sockets.list)
		return -ENOMEM;
	err = add_all(&o, policy);
	if (err) {
		give_back(&o);
		sockets_close(&sockets);
	} else {
		keep(&o);
		*ret_sockets = sockets;
	}
	return err;
}

void sockets_close(struct sockets *sockets)
{
	for (size_t i = 0; i < sockets->n; i++) {
		struct listening *l = &sockets->list[i];

		for (unsigned k = 0; l->fds && k < sockets->workers; k++)
			if (l->fds[k] >= 0)
				close(l->fds[k]);
		if (l->fds && l->listener->unix_path && l->fds[0] >= 0)
			unlink(l->listener->unix_path);
		free(l->fds);
	}
	free(sockets->list);
	*sockets = (struct sockets){0};
}

size_t sockets_of_worker(const struct sockets *sockets, const struct policy *policy,
    unsigned worker, int *fds, uint8_t *listener)
{
	size_t n = 0;

	for (size_t i = 0; i < sockets->n; i++) {
		const struct listening *l = &sockets->list[i];
		int fd = l->fds[l->shared ? 0 : worker];

		if (fd < 0)
			continue;
		fds[n] = fd;
		listener[n++] = (uint8_t)(l->listener - policy->listeners);
	}
	return n;
}
