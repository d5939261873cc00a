/* SPDX-License-Identifier: MIT */
/*
 * tabi bench serve: the other end of what tabi bench says.
 *
 * The first two bytes of a connection say what it is for (bench.h). One loop; what cannot be sent
 * back at once is kept, and no more is read till it is gone. What is counted is told at the end.
 */
#include <errno.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "cli/bench.h"
#include "cli/bench_batch.h"
#include "cli/target.h"
#include "net/sockaddr.h"

#define CHUNK ((size_t)64 << 10)
/* Of one event. */
#define BUDGET 4
#define ACCEPTED_AT_ONCE 64
/* After accept() found no descriptor. */
#define PAUSE_MS 100

struct server {
	struct loop loop;
	struct watch listener, datagrams, signals;
	struct timer pause;
	struct target *target; /* what tabi probe asks for */
	uint64_t connections, received, sent, n_datagrams, n_refused;
	struct batch *batch;           /* of datagrams */
	uint8_t in[CHUNK], out[CHUNK]; /* `out` is what a source sends */
};

struct peer {
	struct watch watch; /* first: found by it */
	struct server *server;
	struct peer *prev, *next;
	int fd;
	uint8_t preface[BENCH_PREFACE];
	uint8_t n_preface;
	bool ended; /* nothing more comes */
	uint64_t received, sent;
	/* To be sent before anything else: of the echo, or the last words. */
	uint8_t *kept;
	size_t kept_at, kept_len;
};

static struct peer peers; /* the ring's head: all who are connected */

static void on_peer_closed(struct watch *watch)
{
	struct peer *p = (struct peer *)watch;

	free(p->kept);
	free(p);
}

/* All but its descriptor. */
static void release_peer(struct peer *p)
{
	p->server->received += p->received;
	p->server->sent += p->sent;
	p->prev->next = p->next;
	p->next->prev = p->prev;
	watch_close(&p->watch, on_peer_closed);
	p->fd = -1;
}

static void close_peer(struct peer *p)
{
	int fd = p->fd;

	release_peer(p);
	close(fd);
}

static bool is_gone(const struct peer *p)
{
	return p->fd < 0;
}

static char letter(const struct peer *p)
{
	return p->n_preface == BENCH_PREFACE ? (char)p->preface[0] : '\0';
}

static bool is_source(const struct peer *p)
{
	return letter(p) == BENCH_SOURCE || letter(p) == BENCH_BOTH_WAYS;
}

/* Returns how many bytes went, or -1 where the peer is gone. */
static ssize_t send_some(struct peer *p, const uint8_t *data, size_t len)
{
	ssize_t n = send(p->fd, data, len, MSG_NOSIGNAL);

	if (n >= 0)
		return n;
	if (errno == EAGAIN)
		return 0;
	close_peer(p);
	return -1;
}

static void keep(struct peer *p, const uint8_t *data, size_t len)
{
	p->kept = malloc(len);
	if (!p->kept) {
		close_peer(p);
		return;
	}
	memcpy(p->kept, data, len);
	p->kept_at = 0;
	p->kept_len = len;
}

/* Only where nothing is kept. What is counted is what was handed over here: it will be sent. */
static void send_or_keep(struct peer *p, const uint8_t *data, size_t len)
{
	ssize_t n = send_some(p, data, len);

	if (n >= 0 && (size_t)n < len)
		keep(p, data + n, len - (size_t)n);
}

/* Returns whether nothing is left of what was kept. */
static bool send_kept(struct peer *p)
{
	ssize_t n;

	if (!p->kept)
		return true;
	n = send_some(p, p->kept + p->kept_at, p->kept_len - p->kept_at);
	if (n < 0)
		return false;
	p->kept_at += (size_t)n;
	if (p->kept_at < p->kept_len)
		return false;
	free(p->kept);
	p->kept = NULL;
	return true;
}

static void say_last_words(struct peer *p)
{
	char text[BENCH_TRAILER + 1];

	if (p->n_preface < BENCH_PREFACE || letter(p) == BENCH_ECHO)
		return;
	snprintf(text, sizeof(text), "%019" PRIu64 " %019" PRIu64 "\n", p->received, p->sent);
	send_or_keep(p, (const uint8_t *)text, BENCH_TRAILER);
}

/* To somebody else, with what came behind the preface. */
static void hand_over(struct peer *p, const uint8_t *data, size_t len)
{
	struct target *target = p->server->target;
	uint8_t letter = p->preface[0];
	int fd = p->fd;

	release_peer(p);
	target_adopt(target, fd, letter, data, len);
}

/* Returns how much of it is the preface, or -1 where that is none of ours. */
static ssize_t take_preface(struct peer *p, const uint8_t *data, size_t len)
{
	size_t n = BENCH_PREFACE - p->n_preface;

	n = len < n ? len : n;
	memcpy(p->preface + p->n_preface, data, n);
	p->n_preface = (uint8_t)(p->n_preface + n);
	if (p->n_preface < BENCH_PREFACE)
		return (ssize_t)n;
	if (p->preface[1] == '\n' && p->preface[0] &&
	    strchr((const char[]){BENCH_ECHO, BENCH_SINK, BENCH_SOURCE, BENCH_BOTH_WAYS, '\0'},
		p->preface[0]))
		return (ssize_t)n;
	if (p->preface[1] == '\n' && target_knows(p->preface[0])) {
		hand_over(p, data + n, len - n);
		return -1;
	}
	p->server->n_refused++;
	close_peer(p);
	return -1;
}

static void take(struct peer *p, const uint8_t *data, size_t len)
{
	ssize_t n = take_preface(p, data, len);

	if (n < 0)
		return;
	data += n;
	len -= (size_t)n;
	p->received += len;
	if (letter(p) != BENCH_ECHO || len == 0)
		return;
	p->sent += len;
	send_or_keep(p, data, len);
}

/* Returns whether there may be more. */
static bool read_some(struct peer *p)
{
	ssize_t n = recv(p->fd, p->server->in, CHUNK, 0);

	if (n < 0) {
		if (errno != EAGAIN)
			close_peer(p);
		return false;
	}
	if (n == 0) {
		p->ended = true;
		say_last_words(p);
		return false;
	}
	take(p, p->server->in, (size_t)n);
	return !is_gone(p) && !p->kept && (size_t)n == CHUNK;
}

static bool send_of_source(struct peer *p)
{
	ssize_t n = send_some(p, p->server->out, CHUNK);

	if (n > 0)
		p->sent += (uint64_t)n;
	return n == (ssize_t)CHUNK;
}

static void on_peer(struct watch *watch, unsigned events)
{
	struct peer *p = (struct peer *)watch;

	if (!send_kept(p)) {
		if (!is_gone(p))
			watch_set(watch, WATCH_WRITE);
		return;
	}
	if (!p->ended && events & (WATCH_READ | WATCH_ERROR))
		for (unsigned i = 0; i < BUDGET && read_some(p); i++)
			;
	if (!is_gone(p) && is_source(p) && !p->ended)
		for (unsigned i = 0; i < BUDGET && send_of_source(p); i++)
			;
	if (is_gone(p))
		return;
	if (p->ended && !p->kept)
		close_peer(p);
	else if (p->kept)
		watch_set(watch, WATCH_WRITE);
	else
		watch_set(watch, is_source(p) ? WATCH_READ | WATCH_WRITE : WATCH_READ);
}

static void add_peer(struct server *s, int fd)
{
	struct peer *p = calloc(1, sizeof(*p));

	if (!p) {
		close(fd);
		return;
	}
	*p = (struct peer){.server = s, .fd = fd, .prev = &peers, .next = peers.next};
	peers.next->prev = p;
	peers.next = p;
	s->connections++;
	watch_init(&p->watch, &s->loop, fd, on_peer);
	watch_set(&p->watch, WATCH_READ);
}

static void on_listener(struct watch *watch, unsigned events)
{
	struct server *s =
	    (struct server *)(void *)((char *)watch - offsetof(struct server, listener));

	(void)events;
	for (unsigned i = 0; i < ACCEPTED_AT_ONCE; i++) {
		int fd = accept4(watch->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

		if (fd >= 0) {
			add_peer(s, fd);
			continue;
		}
		if (errno != EAGAIN && errno != ECONNABORTED && errno != EINTR) {
			watch_set(watch, 0);
			timer_start(&s->pause, PAUSE_MS);
		}
		return;
	}
}

static void on_pause_over(struct timer *timer)
{
	struct server *s =
	    (struct server *)(void *)((char *)timer - offsetof(struct server, pause));

	watch_set(&s->listener, WATCH_READ);
}

/* What cannot be sent is lost, as datagrams are. */
static void on_datagram(struct watch *watch, unsigned events)
{
	struct server *s =
	    (struct server *)(void *)((char *)watch - offsetof(struct server, datagrams));
	int n;

	(void)events;
	for (unsigned i = 0; i < BUDGET; i++) {
		n = batch_receive(s->batch, watch->fd);
		for (int k = 0; k < n; k++) {
			struct batch_one one = batch_at(s->batch, (unsigned)k);

			target_datagram(s->target, one.data, one.len, &s->batch->msgs[k].msg_hdr);
			s->n_datagrams +=
			    one.len == 0 ? 1 : (one.len + one.segment - 1) / one.segment;
		}
		if (n > 0)
			batch_return(s->batch, watch->fd);
		if (n != BATCH_MAX)
			break;
	}
	/* An error of the socket ends the waiting. */
	watch_set(watch, WATCH_READ);
}

static void close_watch(struct watch *watch)
{
	watch_close(watch, NULL);
	close(watch->fd);
}

static void on_signal(struct watch *watch, unsigned events)
{
	struct server *s =
	    (struct server *)(void *)((char *)watch - offsetof(struct server, signals));

	(void)events;
	timer_close(&s->pause, NULL);
	target_close(s->target);
	close_watch(&s->listener);
	close_watch(&s->datagrams);
	close_watch(&s->signals);
	while (peers.next != &peers)
		close_peer(peers.next);
}

/* ---- preparations ---- */

static int fail(const char *what, const char *why)
{
	fprintf(stderr, "tabi bench serve: %s: %s\n", what, why);
	return 1;
}

static int open_socket(int type, const struct addr *at)
{
	struct sockaddr_storage sa;
	socklen_t len = sockaddr_from_ip(&sa, &at->ip, at->port);
	int fd = socket(sa.ss_family, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0), err;

	if (fd < 0)
		return -errno;
	/* Accepted sockets inherit it. */
	if (type == SOCK_STREAM) {
		setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &(int){1}, sizeof(int));
		setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int));
	}
	if (bind(fd, (const struct sockaddr *)&sa, len) == 0 &&
	    (type != SOCK_STREAM || listen(fd, 4096) == 0))
		return fd;
	err = -errno;
	close(fd);
	return err;
}

static int open_signals(void)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGTERM);
	sigprocmask(SIG_BLOCK, &set, NULL);
	return signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
}

/* Returns 0, or the exit status. With port 0 the kernel chooses one, the same for datagrams. */
static int open_all(struct server *s, const struct addr *at, bool trains)
{
	int tcp = open_socket(SOCK_STREAM, at), udp, signals, err;
	struct addr local;
	char text[ADDR_TEXT_MAX];

	if (tcp < 0)
		return fail(addr_format(at, text), strerror(-tcp));
	local = socket_local_addr(tcp);
	udp = open_socket(SOCK_DGRAM, &local);
	if (udp >= 0)
		batch_want_room(udp);
	if (udp >= 0 && trains && batch_want_trains(udp) < 0)
		fprintf(stderr, "tabi bench serve: the kernel has no trains of datagrams\n");
	signals = udp < 0 ? -1 : open_signals();
	if (udp < 0 || signals < 0) {
		close(tcp);
		return fail(addr_format(&local, text), strerror(udp < 0 ? -udp : errno));
	}
	err = target_new(&s->target, &s->loop, &local);
	if (err < 0) {
		close(tcp);
		close(udp);
		return fail(addr_format(&local, text), strerror(-err));
	}
	watch_init(&s->listener, &s->loop, tcp, on_listener);
	watch_init(&s->datagrams, &s->loop, udp, on_datagram);
	watch_init(&s->signals, &s->loop, signals, on_signal);
	watch_set(&s->listener, WATCH_READ);
	watch_set(&s->datagrams, WATCH_READ);
	watch_set(&s->signals, WATCH_READ);
	timer_init(&s->pause, &s->loop, on_pause_over);
	printf("ready %s\n", addr_format(&local, text));
	fflush(stdout);
	return 0;
}

static int serve(const struct addr *at, bool trains)
{
	struct server *s = calloc(1, sizeof(*s));
	struct rlimit limit;
	int status;

	if (!s || batch_new(&s->batch, CHUNK) < 0 || loop_init(&s->loop) < 0) {
		if (s)
			batch_free(s->batch);
		free(s);
		return fail("start", strerror(errno));
	}
	memset(s->out, 'x', sizeof(s->out));
	peers.prev = peers.next = &peers;
	if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
		limit.rlim_cur = limit.rlim_max;
		setrlimit(RLIMIT_NOFILE, &limit);
	}
	status = open_all(s, at, trains);
	if (status == 0) {
		loop_run(&s->loop);
		printf("connections=%" PRIu64 " refused=%" PRIu64 " received=%" PRIu64
		       " sent=%" PRIu64 " datagrams=%" PRIu64 "\n",
		    s->connections, s->n_refused, s->received, s->sent, s->n_datagrams);
	}
	loop_fini(&s->loop);
	batch_free(s->batch);
	free(s);
	return status;
}

int bench_serve_main(int argc, char **argv)
{
	struct addr at;
	const char *text;
	bool trains;

	if (argc == 2 && (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0)) {
		fputs(bench_usage, stdout);
		return 0;
	}
	trains = argc == 3 && (strcmp(argv[1], "--trains") == 0 || strcmp(argv[1], "-t") == 0);
	if (argc != 2 + trains) {
		fputs(bench_usage, stderr);
		return 2;
	}
	text = argv[argc - 1];
	if (addr_parse(text, strlen(text), &at) != 0 || at.kind != ADDR_IP) {
		fprintf(stderr, "tabi bench serve: %s: is not ADDRESS:PORT\n", text);
		return 2;
	}
	return serve(&at, trains);
}
