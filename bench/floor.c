/* SPDX-License-Identifier: MIT */
/*
 * floor: the least that a SOCKS5 relay in user space can cost, to measure others against.
 *
 * usage: bench-floor PORT [PIPE_BYTES [BUFFER_BYTES]]
 *
 * Theory of operation. One process on 127.0.0.1, one edge-triggered epoll in which each socket is
 * registered once. It takes no authentication, CONNECT to an IPv4 address and nothing else, and
 * believes that each message of the handshake arrives whole and alone: a program to measure with,
 * not to use. What epoll said of a socket is remembered (`readable`, `writable`) until a call on it
 * says otherwise. Data is copied through one buffer for all, and what could not be sent waits in
 * memory of its own. With PIPE_BYTES, a direction whose read filled the buffer goes through a pipe
 * of that size (splice) until less than a page comes at once. There is no limit of time, no log,
 * no rule, no fairness.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#define BUFFER_MAX (1 << 18)
#define SPARE_PIPES 4096
#define ACCEPTED_AT_ONCE 64
#define SPLICED_AT_ONCE ((size_t)1 << 20)
#define PAGE 4096

enum stage { GREETING, REQUEST, CONNECTING, RELAYING };

struct session;

struct end {
	int fd;
	bool readable, writable, hung_up;
	struct session *session;
};

/* One way of the bytes. */
struct direction {
	int pipe[2];
	size_t in_pipe;
	uint8_t *kept; /* read and not yet sent */
	size_t kept_at, kept_len;
	bool bulk, ended;
};

struct session {
	struct end client, target;
	struct direction up, down;
	enum stage stage;
	bool dead;
	struct session *next_dead;
};

static int epoll_fd;
static size_t pipe_bytes, buffer_bytes = 1 << 16;
static uint8_t buffer[BUFFER_MAX];
static struct session *dead; /* freed when no event of this turn can name them */
static int spare_pipes[SPARE_PIPES][2];
static unsigned n_spare_pipes;

/* ---- pipes ---- */

static int take_pipe(struct direction *d)
{
	if (n_spare_pipes > 0) {
		memcpy(d->pipe, spare_pipes[--n_spare_pipes], sizeof(d->pipe));
		return 0;
	}
	if (pipe2(d->pipe, O_NONBLOCK) < 0)
		return -1;
	fcntl(d->pipe[0], F_SETPIPE_SZ, (int)pipe_bytes);
	return 0;
}

static void leave_pipe(struct direction *d)
{
	if (d->pipe[0] < 0)
		return;
	if (d->in_pipe == 0 && n_spare_pipes < SPARE_PIPES) {
		memcpy(spare_pipes[n_spare_pipes++], d->pipe, sizeof(d->pipe));
	} else {
		close(d->pipe[0]);
		close(d->pipe[1]);
	}
	d->pipe[0] = d->pipe[1] = -1;
}

/* ---- the end ---- */

static void end_session(struct session *s)
{
	if (s->dead)
		return;
	s->dead = true;
	close(s->client.fd);
	if (s->target.fd >= 0)
		close(s->target.fd);
	free(s->up.kept);
	free(s->down.kept);
	leave_pipe(&s->up);
	leave_pipe(&s->down);
	s->next_dead = dead;
	dead = s;
}

static void free_dead(void)
{
	while (dead) {
		struct session *s = dead;

		dead = s->next_dead;
		free(s);
	}
}

/* ---- the relay; each returns 1 to go on, 0 to wait for an event, -1 where the session ends ----
 */

static int end_direction(struct end *from, struct end *to, struct direction *d)
{
	shutdown(to->fd, SHUT_WR);
	from->readable = false;
	d->ended = true;
	return 0;
}

/* After a call that failed: the socket is not ready any more, or it is broken. */
static int not_ready(bool *ready)
{
	if (errno != EAGAIN)
		return -1;
	*ready = false;
	return 0;
}

static int splice_in(struct end *from, struct end *to, struct direction *d)
{
	ssize_t n;

	if (!from->readable)
		return 0;
	n = splice(
	    from->fd, NULL, d->pipe[1], NULL, SPLICED_AT_ONCE, SPLICE_F_MOVE | SPLICE_F_NONBLOCK);
	if (n < 0)
		return not_ready(&from->readable);
	if (n == 0)
		return end_direction(from, to, d);
	d->in_pipe = (size_t)n;
	if (n < PAGE)
		d->bulk = false;
	return 1;
}

static int move_by_splice(struct end *from, struct end *to, struct direction *d)
{
	if (d->pipe[0] < 0 && take_pipe(d) < 0)
		return -1;
	if (d->in_pipe == 0) {
		int more = splice_in(from, to, d);

		if (more <= 0)
			return more;
	}
	while (d->in_pipe > 0) {
		ssize_t n;

		if (!to->writable)
			return 0;
		n = splice(
		    d->pipe[0], NULL, to->fd, NULL, d->in_pipe, SPLICE_F_MOVE | SPLICE_F_NONBLOCK);
		if (n < 0)
			return not_ready(&to->writable);
		d->in_pipe -= (size_t)n;
	}
	if (!d->bulk)
		leave_pipe(d);
	return 1;
}

static int send_kept(struct end *to, struct direction *d)
{
	while (d->kept_len > 0) {
		ssize_t n;

		if (!to->writable)
			return 0;
		n = write(to->fd, d->kept + d->kept_at, d->kept_len);
		if (n < 0)
			return not_ready(&to->writable);
		d->kept_at += (size_t)n;
		d->kept_len -= (size_t)n;
	}
	free(d->kept);
	d->kept = NULL;
	return 1;
}

static int keep_rest(struct end *to, struct direction *d, size_t at, size_t len)
{
	to->writable = false;
	d->kept = malloc(len);
	if (!d->kept)
		return -1;
	memcpy(d->kept, buffer + at, len);
	d->kept_at = 0;
	d->kept_len = len;
	return 0;
}

static int copy_some(struct end *from, struct end *to, struct direction *d)
{
	ssize_t n, sent;

	if (!from->readable)
		return 0;
	n = read(from->fd, buffer, buffer_bytes);
	if (n < 0)
		return not_ready(&from->readable);
	if (n == 0)
		return end_direction(from, to, d);
	sent = write(to->fd, buffer, (size_t)n);
	if (sent < 0) {
		if (errno != EAGAIN)
			return -1;
		sent = 0;
	}
	if (sent < n)
		return keep_rest(to, d, (size_t)sent, (size_t)(n - sent));
	if ((size_t)n == buffer_bytes && pipe_bytes > 0)
		d->bulk = true;
	/* A short read has emptied the socket: an event will say when there is more. */
	if ((size_t)n < buffer_bytes && !from->hung_up) {
		from->readable = false;
		return 0;
	}
	return 1;
}

static int move_by_copy(struct end *from, struct end *to, struct direction *d)
{
	int more = d->kept ? send_kept(to, d) : 1;

	return more > 0 ? copy_some(from, to, d) : more;
}

/* All that there is. Returns -1 where the session ends. */
static int move(struct end *from, struct end *to, struct direction *d)
{
	int more;

	do
		more = d->bulk || d->in_pipe > 0 ? move_by_splice(from, to, d)
						 : move_by_copy(from, to, d);
	while (more > 0);
	return more;
}

static void relay(struct session *s)
{
	if (move(&s->client, &s->target, &s->up) < 0 ||
	    move(&s->target, &s->client, &s->down) < 0 || (s->up.ended && s->down.ended))
		end_session(s);
}

/* ---- the handshake ---- */

static void watch(struct end *end)
{
	struct epoll_event event = {
	    .events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET,
	    .data.ptr = end,
	};

	epoll_ctl(epoll_fd, EPOLL_CTL_ADD, end->fd, &event);
}

/* One message that has to have arrived whole. Returns whether it is there. */
static bool read_message(struct session *s, uint8_t *message, size_t cap, ssize_t least)
{
	ssize_t n;

	if (!s->client.readable)
		return false;
	n = read(s->client.fd, message, cap);
	s->client.readable = false;
	if (n < 0 && errno == EAGAIN)
		return false;
	if (n >= least)
		return true;
	end_session(s);
	return false;
}

static void answer_greeting(struct session *s)
{
	uint8_t message[300];

	if (!read_message(s, message, sizeof(message), 3))
		return;
	if (write(s->client.fd, "\5\0", 2) != 2)
		end_session(s);
	s->stage = REQUEST;
}

static void begin_connecting(struct session *s)
{
	struct sockaddr_in to = {.sin_family = AF_INET};
	uint8_t message[300];

	if (!read_message(s, message, sizeof(message), 10))
		return;
	memcpy(&to.sin_addr, message + 4, 4);
	memcpy(&to.sin_port, message + 8, 2);
	s->target.fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
	setsockopt(s->target.fd, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int));
	(void)!connect(s->target.fd, (const struct sockaddr *)&to, sizeof(to));
	watch(&s->target);
	s->stage = CONNECTING;
}

static void finish_connecting(struct session *s, const struct end *end)
{
	uint8_t reply[10] = {5, 0, 0, 1};
	int err = 0;

	if (end != &s->target || !s->target.writable)
		return;
	getsockopt(s->target.fd, SOL_SOCKET, SO_ERROR, &err, &(socklen_t){sizeof(err)});
	reply[1] = err ? 5 : 0;
	if (write(s->client.fd, reply, sizeof(reply)) != sizeof(reply) || err) {
		end_session(s);
		return;
	}
	s->stage = RELAYING;
	s->client.writable = true;
	relay(s);
}

/* ---- events ---- */

static void accept_all(int listener)
{
	for (int i = 0; i < ACCEPTED_AT_ONCE; i++) {
		int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK);
		struct session *s;

		if (fd < 0)
			break;
		setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int));
		s = calloc(1, sizeof(*s));
		if (!s) {
			close(fd);
			break;
		}
		s->client = (struct end){.fd = fd, .session = s};
		s->target = (struct end){.fd = -1, .session = s};
		s->up.pipe[0] = s->down.pipe[0] = -1;
		watch(&s->client);
	}
}

static void on_event(struct end *end, uint32_t events)
{
	struct session *s = end->session;

	if (s->dead)
		return;
	if (events & (EPOLLIN | EPOLLHUP | EPOLLERR | EPOLLRDHUP))
		end->readable = true;
	if (events & (EPOLLHUP | EPOLLERR | EPOLLRDHUP))
		end->hung_up = true;
	if (events & (EPOLLOUT | EPOLLHUP | EPOLLERR))
		end->writable = true;
	switch (s->stage) {
	case GREETING:
		answer_greeting(s);
		break;
	case REQUEST:
		begin_connecting(s);
		break;
	case CONNECTING:
		finish_connecting(s, end);
		break;
	case RELAYING:
		relay(s);
		break;
	}
}

static int open_listener(uint16_t port)
{
	const struct sockaddr_in at = {
	    .sin_family = AF_INET,
	    .sin_port = htons(port),
	    .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
	};
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);

	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &(int){1}, sizeof(int));
	if (bind(fd, (const struct sockaddr *)&at, sizeof(at)) == 0 && listen(fd, 4096) == 0)
		return fd;
	perror("bench-floor");
	exit(1);
}

static void prepare(int argc, char **argv)
{
	struct rlimit limit;

	if (argc < 2 || argc > 4) {
		fputs("usage: bench-floor PORT [PIPE_BYTES [BUFFER_BYTES]]\n", stderr);
		exit(2);
	}
	if (argc > 2)
		pipe_bytes = strtoul(argv[2], NULL, 10);
	if (argc > 3)
		buffer_bytes = strtoul(argv[3], NULL, 10);
	if (buffer_bytes == 0 || buffer_bytes > BUFFER_MAX)
		buffer_bytes = BUFFER_MAX;
	signal(SIGPIPE, SIG_IGN);
	getrlimit(RLIMIT_NOFILE, &limit);
	limit.rlim_cur = limit.rlim_max;
	setrlimit(RLIMIT_NOFILE, &limit);
}

int main(int argc, char **argv)
{
	struct epoll_event event = {.events = EPOLLIN}, events[256];
	int listener;

	prepare(argc, argv);
	epoll_fd = epoll_create1(0);
	listener = open_listener((uint16_t)strtoul(argv[1], NULL, 10));
	epoll_ctl(epoll_fd, EPOLL_CTL_ADD, listener, &event);
	for (;;) {
		int n = epoll_wait(epoll_fd, events, 256, -1);

		for (int i = 0; i < n; i++) {
			if (events[i].data.ptr)
				on_event(events[i].data.ptr, events[i].events);
			else
				accept_all(listener);
		}
		free_dead();
	}
}
