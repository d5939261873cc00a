/* SPDX-License-Identifier: MIT */
#include "server/worker.h"

#include <errno.h>
#include <malloc.h>
#include <signal.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#include "net/log.h"
#include "proto/err.h"
#include "server/channel.h"
#include "server/session.h"

/* Descriptors for what is neither a session nor a listener: loop, channel, name servers, log. */
#define DESCRIPTORS_ASIDE 32
/* Of all descriptors so many at most are for pipes: one eighth. */
#define PIPES_SHARE 16
/* Fewer sessions than this leave nothing worth giving back. */
#define TRIM_FROM 512

/* Nothing is left to do: the loop ends by itself once the last handles have closed. */
static void finish(struct worker *w)
{
	loop_stop(&w->loop);
}

/* Where something is being taken from the inbox, that is not yet nothing. */
static void finish_without_sessions(struct worker *w)
{
	if (w->inbox.taking)
		return;
	inbox_take(&w->inbox);
	if (w->n_sessions == 0)
		finish(w);
}

/*
 * Sessions have pages of their own (server/slab.h), but what belongs to them has not. The allocator
 * keeps what is freed: one block that lives on at the end of its heap holds all
 * before it, and after a rush a worker would stay as large as it ever was. So when most of the
 * sessions of a rush have gone, their pages go back. Three quarters at a time, so that the cost is
 * spread over many ends.
 */
static void give_back_memory(struct worker *w)
{
	if (w->n_sessions >= w->most_sessions)
		w->most_sessions = w->n_sessions + 1;
	if (w->most_sessions < TRIM_FROM || w->n_sessions > w->most_sessions / 4)
		return;
#ifdef __GLIBC__
	malloc_trim(0);
#endif
	w->most_sessions = w->n_sessions;
}

void worker_session_gone(struct worker *w)
{
	give_back_memory(w);
	listeners_wake(&w->listeners);
	if (w->draining && w->n_sessions == 0)
		finish_without_sessions(w);
}

static void drain_over(struct timer *timer)
{
	struct worker *w = (struct worker *)((char *)timer - offsetof(struct worker, drain));

	inbox_close(&w->inbox);
	session_end_all(w, ERR_SHUTDOWN);
	/* A session that ends is gone at the end of this turn; finish() comes from there. */
}

static void drain(struct worker *w, int ms)
{
	if (w->draining)
		return;
	w->draining = true;
	listeners_close(&w->listeners);
	/* What others have handed over was accepted, as our own were. They may still be at it: so
	 * the inbox stays until the last session has gone. */
	inbox_rest(&w->inbox);
	inbox_take(&w->inbox);
	inbox_open(&w->inbox);
	if (w->n_sessions == 0)
		finish(w);
	else
		timer_start(&w->drain, ms > 0 ? (uint64_t)ms : 0);
	session_end_resting(w, ERR_SHUTDOWN);
}

static void stop(struct worker *w)
{
	listeners_close(&w->listeners);
	inbox_close(&w->inbox);
	w->draining = true;
	if (w->n_sessions == 0)
		finish(w);
	session_end_all(w, ERR_SHUTDOWN);
}

static void setup_log(struct worker *w, int fd)
{
	const struct policy_settings *set = &w->config->policy->set;
	const struct log_options options = {
	    .json = set->log_json,
	    .place = set->log_place,
	    .fd = fd,
	    .level = set->log_level,
	    .worker = (int)w->number,
	};

	log_setup(&options);
	if (w->log_fd >= 0)
		close(w->log_fd);
	w->log_fd = fd;
}

/* Questions that were asked by way of the old one are answered by their own. */
static void use_helper(struct worker *w, int fd)
{
	auth_use_helper(w->auth, fd);
	if (w->helper >= 0)
		close(w->helper);
	w->helper = fd;
}

static bool same_resolvers(const struct policy_settings *a, const struct policy_settings *b)
{
	if (a->n_resolvers != b->n_resolvers)
		return false;
	for (size_t i = 0; i < a->n_resolvers; i++)
		if (!ip_equal(&a->resolvers[i].ip, &b->resolvers[i].ip) ||
		    a->resolvers[i].port != b->resolvers[i].port)
			return false;
	return true;
}

/* A resolver with waiting sessions cannot go: on reload it stays where the servers stay. */
static int setup_resolver(struct worker *w, const struct policy_settings *old)
{
	const struct policy_settings *set = &w->config->policy->set;
	const struct resolver_options options = {
	    .servers = set->resolvers,
	    .n_servers = set->n_resolvers,
	};
	struct resolver *resolver;
	int err;

	if (old && same_resolvers(old, set))
		return 0;
	err = resolver_new(&resolver, &w->loop, &options);
	if (err)
		return err;
	if (w->resolver)
		resolver_free(w->resolver);
	w->resolver = resolver;
	return 0;
}

/* How many pipes there may be; their descriptors are not the sessions'. */
static unsigned room_for_pipes(const struct worker *w, size_t bytes)
{
	unsigned long n = w->max_descriptors / PIPES_SHARE;

	if (w->config->policy->set.relay == RELAY_COPY)
		return 0;
	return n < bytes / PIPE_SIZE_LEAST ? (unsigned)n : (unsigned)(bytes / PIPE_SIZE_LEAST);
}

/* For new sessions. The bound of a user's pipes is one for all workers. */
static void setup_relay(struct worker *w)
{
	size_t bytes = PIPE_BYTES_OF_ALL / config_workers(w->config);

	w->relay.mode = w->config->policy->set.relay;
	pipe_pool_limit(&w->relay.pipes, bytes, room_for_pipes(w, bytes));
}

/* A session has two sockets, and one that has only the first will want the other. On reload the
 * listeners come anew before the old ones go. */
static unsigned room_for_sessions(const struct worker *w)
{
	unsigned long aside =
	    DESCRIPTORS_ASIDE + 2 * w->listeners.n + 2 * w->relay.pipes.n_max + inbox_descriptors();

	return w->max_descriptors > aside + 4 ? (unsigned)(w->max_descriptors - aside) / 2 : 2;
}

/* Takes over what CHANNEL_CONFIG brought; the descriptors become the worker's in any case. */
static int apply(struct worker *w, const struct channel_message *msg, const int *fds, size_t n)
{
	struct config *config, *old = w->config;
	int err = config_from_memfd(fds[CHANNEL_FD_CONFIG], &config);

	/* What was handed over under the old one is served under it. */
	inbox_rest(&w->inbox);
	inbox_take(&w->inbox);
	close(fds[CHANNEL_FD_CONFIG]);
	if (!err && (err = upstreams_attach(&config->upstreams, &w->upstreams)) != 0)
		config_unref(config);
	if (err) {
		for (size_t i = CHANNEL_FD_LOG; i < n; i++)
			close(fds[i]);
		return err;
	}
	w->config = config;
	setup_log(w, fds[CHANNEL_FD_LOG]);
	use_helper(w, fds[CHANNEL_FD_HELPER]);
	err = listeners_replace(&w->listeners, config->policy, fds + CHANNEL_FD_LISTENERS,
	    msg->listener, n - CHANNEL_FD_LISTENERS);
	if (!err)
		err = setup_resolver(w, old ? &old->policy->set : NULL);
	setup_relay(w);
	w->max_sessions = room_for_sessions(w);
	/* Workers begin at different ones, or they would try each other's. */
	w->next_udp_port = w->number * 997;
	session_deadlines_change(w);
	if (!err)
		inbox_serve(&w->inbox, (uint32_t)msg->number);
	config_unref(old);
	return err;
}

static void tell(struct worker *w, enum channel_word word, int number)
{
	const struct channel_message msg = {.word = word, .number = number};

	/* Where the supervisor is gone the channel's end will say so. */
	(void)channel_send(w->channel, &msg, NULL, 0);
}

static void obey(struct worker *w, const struct channel_message *msg, const int *fds, size_t n)
{
	int err;

	if (msg->word == CHANNEL_CONFIG && n >= CHANNEL_FD_LISTENERS && !w->draining) {
		err = apply(w, msg, fds, n);
		tell(w, err ? CHANNEL_FAILED : CHANNEL_SERVING, err);
		return;
	}
	for (size_t i = 0; i < n; i++)
		close(fds[i]);
	if (msg->word == CHANNEL_DRAIN)
		drain(w, msg->number);
	else if (msg->word == CHANNEL_STOP)
		stop(w);
}

static int drain_ms(const struct worker *w)
{
	return w->config ? (int)w->config->policy->set.timeout_ms[TIMEOUT_DRAIN] : 0;
}

static void on_channel(struct watch *watch, unsigned events)
{
	struct worker *w =
	    (struct worker *)((char *)watch - offsetof(struct worker, channel_watch));
	struct channel_message msg;
	int fds[CHANNEL_FDS_MAX];
	size_t n;
	int ret = channel_receive(w->channel, &msg, fds, &n);

	if (ret > 0) {
		obey(w, &msg, fds, n);
	} else if (ret == -EMFILE) {
		/* Only a configuration brings descriptors. */
		tell(w, CHANNEL_FAILED, ret);
	} else if (ret != -EAGAIN || events & WATCH_ERROR) {
		/* No supervisor, no future: serve those who are here. */
		watch_set(&w->channel_watch, 0);
		log_say(LOG_AT_ERROR, "the supervisor is gone; draining");
		drain(w, drain_ms(w));
	}
}

static int set_up(struct worker *w)
{
	int err = loop_init(&w->loop);

	if (!err)
		err = relay_shared_init(&w->relay, &w->loop);
	if (!err)
		err = datagram_shared_new(&w->datagrams);
	if (!err)
		err = auth_new(&w->auth, &w->loop);
	if (err)
		return err;
	session_slab_init(w);
	session_deadlines_init(w);
	listeners_init(&w->listeners, w);
	err = inbox_init(&w->inbox, w);
	if (err)
		return err;
	timer_init(&w->drain, &w->loop, drain_over);
	err = watch_init(&w->channel_watch, &w->loop, w->channel, on_channel);
	if (!err)
		watch_set(&w->channel_watch, WATCH_READ);
	return err;
}

/* In order, so that a leak checker finds what was forgotten and nothing else. */
static void tear_down(struct worker *w)
{
	watch_close(&w->channel_watch, NULL);
	timer_close(&w->drain, NULL);
	listeners_fini(&w->listeners);
	inbox_close(&w->inbox);
	session_deadlines_close(w);
	resolver_free(w->resolver);
	upstreams_stop(w->upstreams);
	/* Its pool of pipes has a timer, for which the loop would wait. */
	relay_shared_fini(&w->relay);
	/* Closing is asynchronous, and password checks under way must come back. */
	loop_run(&w->loop);
	auth_free(w->auth);
	datagram_shared_free(w->datagrams);
	config_unref(w->config);
	loop_fini(&w->loop);
	slab_fini(&w->slab);
}

/* The supervisor alone answers a terminal's Ctrl-C and the service manager's signals. */
static void ignore_signals(void)
{
	static const int ignored[] = {SIGPIPE, SIGHUP, SIGINT, SIGTERM};
	sigset_t none;

	for (size_t i = 0; i < sizeof(ignored) / sizeof(ignored[0]); i++)
		signal(ignored[i], SIG_IGN);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
}

int worker_main(unsigned number, int channel, const struct sandbox_user *user)
{
	struct worker w = {.number = number, .channel = channel, .log_fd = -1, .helper = -1};
	int err;

	ignore_signals();
	/* Where there is no randomness yet, workers still differ. */
	w.chance = w.isolation_secret = number;
	(void)!getrandom(&w.chance, sizeof(w.chance), GRND_NONBLOCK);
	(void)!getrandom(&w.isolation_secret, sizeof(w.isolation_secret), GRND_NONBLOCK);
	w.max_descriptors = sandbox_raise_descriptors();
	err = sandbox_enter(user);
	if (!err)
		err = set_up(&w);
	if (err) {
		log_say(LOG_AT_ERROR, "cannot start: %s", strerror(-err));
		return 1;
	}
	loop_run(&w.loop);
	tear_down(&w);
	if (tickets_are_fetched())
		_exit(0);
	return 0;
}
