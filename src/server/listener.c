/* SPDX-License-Identifier: MIT */
#include "server/listener.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "net/log.h"
#include "net/sockaddr.h"
#include "server/session.h"
#include "server/worker.h"

/* Accepted in one go, before others get their turn. */
#define BATCH 64
#define RETRY_MS 100
/* At most one line about resting in so long. */
#define QUIET_MS 1000

static void retry(struct timer *timer);

void listeners_init(struct listeners *all, struct worker *worker)
{
	*all = (struct listeners){.worker = worker};
	timer_init(&all->retry, &worker->loop, retry);
}

static void listener_closed(struct watch *watch)
{
	free((struct listener *)watch);
}

void listeners_close(struct listeners *all)
{
	for (size_t i = 0; i < all->n; i++) {
		struct listener *l = all->list[i];
		int fd = l->fd;

		/* In this order: the supervisor holds the socket too, so close() ends no watch. */
		watch_close(&l->watch, listener_closed);
		close(fd);
	}
	free(all->list);
	all->list = NULL;
	all->n = 0;
}

void listeners_fini(struct listeners *all)
{
	listeners_close(all);
	timer_close(&all->retry, NULL);
}

static void set_resting(struct listeners *all, bool resting)
{
	all->resting = resting;
	for (size_t i = 0; i < all->n; i++)
		watch_set(&all->list[i]->watch, resting ? 0 : WATCH_READ);
}

bool listeners_full(const struct worker *worker)
{
	return worker->n_sessions + worker->n_associations >= worker->max_sessions;
}

/* More sessions than there should be. */
static bool beyond(const struct worker *worker)
{
	return worker->n_sessions + worker->n_associations > worker->max_sessions;
}

void listeners_wake(struct listeners *all)
{
	if (listeners_full(all->worker))
		return;
	if (all->resting) {
		timer_stop(&all->retry);
		set_resting(all, false);
	}
	inbox_open(&all->worker->inbox);
}

static void retry(struct timer *timer)
{
	struct listeners *all =
	    (struct listeners *)((char *)timer - offsetof(struct listeners, retry));

	listeners_wake(all);
}

static bool may_say(struct listeners *all)
{
	uint64_t now = loop_now(&all->worker->loop);

	if (now < all->quiet_until)
		return false;
	all->quiet_until = now + QUIET_MS;
	return true;
}

/* The system will not let us accept just now. */
static void rest_for_want(struct listeners *all, int err)
{
	if (may_say(all))
		log_say(LOG_AT_WARN, "cannot accept: %s; trying again every %d ms", strerror(err),
		    RETRY_MS);
	set_resting(all, true);
	inbox_rest(&all->worker->inbox);
	timer_start(&all->retry, RETRY_MS);
}

/* The next session that ends wakes us. */
static void rest_for_room(struct listeners *all)
{
	if (may_say(all))
		log_say(LOG_AT_WARN,
		    "%u sessions are all that the limit of descriptors allows; others wait",
		    all->worker->max_sessions);
	set_resting(all, true);
}

bool accept_error_is_gone(int err)
{
	static const int gone[] = {ECONNABORTED, EINTR, EPROTO, ENETDOWN, ENETUNREACH, EHOSTDOWN,
	    EHOSTUNREACH, ENOPROTOOPT, EOPNOTSUPP, ENONET, ETIMEDOUT, ECONNRESET};

	for (size_t i = 0; i < sizeof(gone) / sizeof(gone[0]); i++)
		if (gone[i] == err)
			return true;
	return false;
}

/* Returns whether it is worth going on at once. */
static bool accept_one(struct listener *l)
{
	struct worker *w = l->all->worker;
	struct sockaddr_storage sa;
	socklen_t len = sizeof(sa);
	int fd = accept4(l->fd, (struct sockaddr *)&sa, &len, SOCK_NONBLOCK | SOCK_CLOEXEC);
	int err = errno;

	if (fd >= 0) {
		struct addr peer = {.kind = ADDR_NONE};

		if (len >= sizeof(sa.ss_family))
			peer = sockaddr_to_addr(&sa);
		if (inbox_pass(&w->inbox, l->said, fd, &peer))
			return true;
		session_begin(w, l->said, fd, &peer);
		/* One beyond, where nobody would take it after all: there is room aside for that.
		 */
		return !beyond(w);
	}
	if (accept_error_is_gone(err))
		return true;
	if (err != EAGAIN)
		rest_for_want(l->all, err);
	return false;
}

/* Then what comes to us goes to them. */
static bool others_have_room(struct worker *w)
{
	inbox_rest(&w->inbox);
	return !beyond(w) && inbox_others(&w->inbox);
}

static void on_connection(struct watch *watch, unsigned events)
{
	struct listener *l = (struct listener *)watch;
	struct listeners *all = l->all;

	/* The kernel lacked the memory to wait for connections, and told of it only now. */
	if (events & WATCH_ERROR) {
		rest_for_want(all, ENOMEM);
		return;
	}
	for (int i = 0; i < BATCH && !all->resting; i++) {
		if (listeners_full(all->worker) && !others_have_room(all->worker)) {
			rest_for_room(all);
			return;
		}
		if (!accept_one(l))
			return;
	}
}

static int add(struct listeners *all, const struct policy_listener *said, int fd)
{
	struct listener *l = calloc(1, sizeof(*l));
	int err;

	if (!l)
		return -ENOMEM;
	l->all = all;
	l->said = said;
	l->fd = fd;
	err = watch_init(&l->watch, &all->worker->loop, fd, on_connection);
	if (err) {
		free(l);
		return err;
	}
	watch_set(&l->watch, all->resting ? 0 : WATCH_READ);
	all->list[all->n++] = l;
	return 0;
}

int listeners_replace(struct listeners *all, const struct policy *policy, const int *fds,
    const uint8_t *place, size_t n)
{
	struct listener **list = calloc(n + 1, sizeof(struct listener *));
	int err = list ? 0 : -ENOMEM;
	size_t i;

	listeners_close(all);
	all->list = list;
	for (i = 0; i < n && !err; i++)
		err = add(all, &policy->listeners[place[i]], fds[i]);
	if (!err)
		return 0;
	/* Those that were added are closed with their listener, the others here. */
	for (i = all->n; i < n; i++)
		close(fds[i]);
	listeners_close(all);
	return err;
}

bool listeners_have_port(const struct policy *policy, uint16_t port)
{
	for (size_t i = 0; i < policy->n_listeners; i++)
		if (!policy->listeners[i].unix_path && policy->listeners[i].addr.port == port)
			return true;
	return false;
}
