/* SPDX-License-Identifier: MIT */
#include "server/inbox.h"

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "net/log.h"
#include "net/passfd.h"
#include "server/listener.h"
#include "server/session.h"
#include "server/worker.h"

/* Taken in one go, before others get their turn. */
#define BATCH 64
/* A worker hands over what comes to it when it has more sessions than another by this share of what
 * it has, those included that ended lately. */
#define SLACK_SHARE 16
#define CHURN_MS 1000
/* Of a listener's name, for one that a reload overtakes. Longer ones are cut: it is as good as
 * another if all of this is equal. */
#define NAME_MAX_KEPT 119

/* A cache line for each, or one worker's counting would slow down another's. */
struct column {
	_Alignas(64) atomic_uint generation; /* may be handed connections of this one; 0: none */
	atomic_uint sessions;
	/* In its inbox. Counted by those who send before they do, so that the next one sees it;
	 * what one leaves that dies in between is gone when the inbox is found empty. */
	atomic_int coming;
};

/* A connection on its way. The descriptor goes beside it. */
struct message {
	uint32_t generation;
	uint8_t place; /* of the listener, in the policy's list */
	bool has_address;
	uint16_t port;
	struct ip ip;
	char name[NAME_MAX_KEPT + 1]; /* of the listener */
};

static struct column *columns; /* shared; NULL: there are no inboxes */
static unsigned n_workers;
/* Reading end, writing end; -1 where closed. In a worker: all but the others' reading ends. */
static int ends[INBOX_WORKERS_MAX][2];

/* ---- the supervisor ---- */

void inbox_shut(unsigned worker)
{
	for (int i = 0; columns && i < 2; i++) {
		if (ends[worker][i] >= 0)
			close(ends[worker][i]);
		ends[worker][i] = -1;
	}
}

void inbox_fini(void)
{
	if (!columns)
		return;
	for (unsigned i = 0; i < n_workers; i++)
		inbox_shut(i);
	munmap(columns, n_workers * sizeof(*columns));
	columns = NULL;
}

/* Not where a worker has its channel. */
static int move_up(int *fd)
{
	int moved = fcntl(*fd, F_DUPFD_CLOEXEC, 4);
	int err = moved < 0 ? -errno : 0;

	close(*fd);
	*fd = moved;
	return err;
}

static int open_pair(int pair[2])
{
	int err;

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) < 0) {
		pair[0] = pair[1] = -1;
		return -errno;
	}
	err = move_up(&pair[0]);
	if (!err)
		err = move_up(&pair[1]);
	return err;
}

int inbox_setup(unsigned workers)
{
	void *map;
	int err = 0;

	if (workers < 2)
		return 0;
	map = mmap(NULL, workers * sizeof(*columns), PROT_READ | PROT_WRITE,
	    MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (map == MAP_FAILED)
		return -errno;
	columns = map;
	n_workers = workers;
	memset(ends, -1, sizeof(ends));
	for (unsigned i = 0; i < workers && !err; i++)
		err = open_pair(ends[i]);
	if (err)
		inbox_fini();
	return err;
}

static int by_number(const void *a, const void *b)
{
	return *(const int *)a - *(const int *)b;
}

int inbox_keep(unsigned worker, unsigned first)
{
	int kept[INBOX_WORKERS_MAX];
	unsigned n = 0;

	if (!columns)
		return close_range(first, ~0u, 0) < 0 ? -errno : 0;
	for (unsigned i = 0; i < n_workers; i++)
		kept[n++] = ends[i][i == worker ? 0 : 1];
	qsort(kept, n, sizeof(kept[0]), by_number);
	for (unsigned i = 0; i < n; i++) {
		unsigned next = (unsigned)kept[i];

		if (next > first && close_range(first, next - 1, 0) < 0)
			return -errno;
		first = next + 1;
	}
	for (unsigned i = 0; i < n_workers; i++)
		ends[i][i == worker ? 1 : 0] = -1;
	return close_range(first, ~0u, 0) < 0 ? -errno : 0;
}

void inbox_clear(unsigned worker)
{
	if (!columns)
		return;
	atomic_store(&columns[worker].generation, 0);
	atomic_store(&columns[worker].sessions, 0);
}

/* ---- taking ---- */

static struct column *own_column(const struct inbox *in)
{
	return &columns[in->worker->number];
}

/* NULL where a reload has taken it away. */
static const struct policy_listener *find_listener(
    const struct inbox *in, const struct message *msg)
{
	const struct policy *policy = in->worker->config->policy;

	if (msg->generation == in->serving)
		return msg->place < policy->n_listeners ? &policy->listeners[msg->place] : NULL;
	for (size_t i = 0; i < policy->n_listeners; i++)
		if (strncmp(policy->listeners[i].text, msg->name, NAME_MAX_KEPT) == 0)
			return &policy->listeners[i];
	return NULL;
}

static void begin(struct inbox *in, const struct message *msg, int fd)
{
	const struct policy_listener *listener = find_listener(in, msg);
	struct addr peer = {.kind = ADDR_NONE};

	if (!listener) {
		close(fd);
		return;
	}
	if (msg->has_address) {
		peer.kind = ADDR_IP;
		peer.ip = msg->ip;
		peer.port = msg->port;
	}
	session_begin(in->worker, listener, fd, &peer);
}

/* Returns 1, 0 at the end, or -errno. `*ret_fd` is -1 where this process had no room for it. */
static int receive(int from, struct message *ret_msg, int *ret_fd)
{
	size_t n_fds;
	ssize_t n = passfd_receive(from, ret_msg, sizeof(*ret_msg), ret_fd, 1, &n_fds);

	if (n_fds == 0)
		*ret_fd = -1;
	if (n <= 0 && n != -EMFILE && n != -EMSGSIZE)
		return (int)n;
	if (n != sizeof(*ret_msg) && *ret_fd >= 0) {
		close(*ret_fd);
		*ret_fd = -1;
	}
	return 1;
}

/* Returns whether more may lie there. */
static bool take_one(struct inbox *in)
{
	struct column *own = own_column(in);
	struct message msg;
	int fd, ret = receive(in->fd, &msg, &fd);

	if (ret > 0) {
		atomic_fetch_sub(&own->coming, 1);
		if (fd >= 0)
			begin(in, &msg, fd);
		else
			log_say(LOG_AT_WARN, "cannot take a connection over: no descriptor");
		return true;
	}
	if (ret == -EAGAIN)
		atomic_store(&own->coming, 0);
	else
		/* Nobody is left who could send, not even the supervisor. */
		watch_set(&in->watch, 0);
	return false;
}

void inbox_take(struct inbox *in)
{
	if (in->fd < 0 || in->taking || !in->serving)
		return;
	in->taking = true;
	while (in->fd >= 0 && !listeners_full(in->worker) && take_one(in))
		;
	in->taking = false;
}

static void on_inbox(struct watch *watch, unsigned events)
{
	struct inbox *in = (struct inbox *)watch;

	(void)events;
	in->taking = true;
	for (int i = 0; i < BATCH; i++) {
		if (listeners_full(in->worker)) {
			inbox_rest(in);
			break;
		}
		if (!take_one(in))
			break;
	}
	in->taking = false;
}

/* ---- a worker's own ---- */

int inbox_init(struct inbox *in, struct worker *worker)
{
	int err;

	*in = (struct inbox){.worker = worker, .fd = -1};
	if (!columns)
		return 0;
	err = watch_init(&in->watch, &worker->loop, ends[worker->number][0], on_inbox);
	if (!err)
		in->fd = ends[worker->number][0];
	return err;
}

unsigned inbox_descriptors(void)
{
	return columns ? n_workers : 0;
}

void inbox_rest(struct inbox *in)
{
	if (in->fd < 0 || !in->open)
		return;
	in->open = false;
	atomic_store(&own_column(in)->generation, 0);
	watch_set(&in->watch, 0);
}

void inbox_open(struct inbox *in)
{
	if (in->fd < 0 || in->open || !in->serving)
		return;
	in->open = true;
	watch_set(&in->watch, WATCH_READ);
	/* While draining we take what is on its way, and ask for no more. */
	if (!in->worker->draining)
		atomic_store(&own_column(in)->generation, in->serving);
}

void inbox_close(struct inbox *in)
{
	if (in->fd < 0)
		return;
	inbox_rest(in);
	watch_close(&in->watch, NULL);
	close(in->fd);
	in->fd = -1;
}

void inbox_serve(struct inbox *in, uint32_t generation)
{
	inbox_rest(in);
	in->serving = generation;
	inbox_open(in);
}

static void count_end(struct inbox *in)
{
	uint64_t now = loop_now(&in->worker->loop), passed = now - in->counted_from;

	if (passed >= CHURN_MS) {
		in->ended_before = passed < 2 * CHURN_MS ? in->ended : 0;
		in->ended = 0;
		in->counted_from = now;
	}
	in->ended++;
}

void inbox_count(struct inbox *in, unsigned sessions)
{
	struct column *own;

	if (in->fd < 0)
		return;
	own = own_column(in);
	if (sessions < atomic_load_explicit(&own->sessions, memory_order_relaxed))
		count_end(in);
	atomic_store_explicit(&own->sessions, sessions, memory_order_relaxed);
}

/* ---- handing over ---- */

static unsigned load_of(const struct column *c)
{
	int coming = atomic_load_explicit(&c->coming, memory_order_relaxed);

	return atomic_load_explicit(&c->sessions, memory_order_relaxed) +
	       (coming > 0 ? (unsigned)coming : 0);
}

static unsigned ended_lately(const struct inbox *in)
{
	uint64_t passed = loop_now(&in->worker->loop) - in->counted_from;

	if (passed >= 2 * CHURN_MS)
		return 0;
	return passed >= CHURN_MS ? in->ended : in->ended + in->ended_before;
}

/* The one with the fewest sessions among those that have less than `bound`; -1: there is none. */
static int least_loaded(const struct inbox *in, unsigned bound)
{
	unsigned own = in->worker->number;
	int found = -1;

	/* Each begins behind itself, or the first of several idle ones would get all. */
	for (unsigned i = 1; i < n_workers && bound > 0; i++) {
		unsigned k = own + i < n_workers ? own + i : own + i - n_workers;
		unsigned load = load_of(&columns[k]);

		if (load >= bound || ends[k][1] < 0 ||
		    atomic_load_explicit(&columns[k].generation, memory_order_relaxed) !=
			in->serving)
			continue;
		found = (int)k;
		bound = load;
	}
	return found;
}

bool inbox_others(const struct inbox *in)
{
	return in->fd >= 0 && in->serving && least_loaded(in, in->worker->max_sessions) >= 0;
}

static int choose(const struct inbox *in)
{
	unsigned load = load_of(own_column(in)), slack;

	if (listeners_full(in->worker))
		return least_loaded(in, in->worker->max_sessions);
	slack = (load + ended_lately(in)) / SLACK_SHARE;
	return load > slack ? least_loaded(in, load - slack) : -1;
}

bool inbox_pass(
    struct inbox *in, const struct policy_listener *listener, int fd, const struct addr *peer)
{
	struct message msg;
	int to;

	if (in->fd < 0 || (to = choose(in)) < 0)
		return false;
	/* No byte of the stack behind it leaves this process. */
	memset(&msg, 0, sizeof(msg));
	msg.generation = in->serving;
	msg.place = (uint8_t)(listener - in->worker->config->policy->listeners);
	msg.has_address = peer->kind == ADDR_IP;
	if (msg.has_address) {
		msg.ip = peer->ip;
		msg.port = peer->port;
	}
	strncpy(msg.name, listener->text, NAME_MAX_KEPT);
	atomic_fetch_add(&columns[to].coming, 1);
	/* Full, or with nobody at the other end: then it stays here. */
	if (passfd_send(ends[to][1], &msg, sizeof(msg), &fd, 1, MSG_DONTWAIT) < 0) {
		atomic_fetch_sub(&columns[to].coming, 1);
		return false;
	}
	close(fd);
	return true;
}
