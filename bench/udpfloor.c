/* SPDX-License-Identifier: MIT */
/*
 * The least that a SOCKS5 relay of datagrams can cost which takes them one by one: what
 * tabi bench udp compares others with.
 *
 * usage: udpfloor PORT [BYTES]    BYTES: what its sockets ask the kernel to hold (1 MB)
 *
 * It has what every relay must do: recvfrom() and sendto() for each datagram each way, until there
 * are no more or BUDGET were relayed, on epoll; the header checked, taken off and
 * put in front; the client's port learned from its first datagram, and nobody else heard.
 *
 * It leaves out everything else: no batches and no trains (recvmmsg, sendmmsg, UDP_GRO,
 * UDP_SEGMENT), no authentication, no rules, no names, no IPv6, no fragments, no filter on remotes,
 * no time limits, no counters, no log. It takes a greeting and a request that come whole, and hears
 * datagrams at the address to which the client's connection came.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#define HEADER 10 /* of SOCKS5 with an IPv4 address */
#define EVENTS 64
#define BUDGET 64 /* datagrams of one event, so that every socket has its turn */

enum kind { CONTROL, INSIDE, OUTSIDE };

/* One descriptor; what epoll tells points here. */
struct end {
	enum kind kind;
	int fd;
	struct association *of;
};

struct association {
	struct end end[3]; /* by enum kind */
	struct sockaddr_in client;
	bool heard, greeted, closed;
	struct association *next; /* of those closed */
};

static int epoll;
static struct association *closed;
static int held = 1 << 20;
static uint8_t buf[65536 + HEADER];

static _Noreturn void die(const char *what)
{
	perror(what);
	exit(1);
}

static void wait_for(struct end *e, unsigned events)
{
	struct epoll_event event = {.events = events, .data.ptr = e};

	if (epoll_ctl(epoll, EPOLL_CTL_ADD, e->fd, &event) < 0)
		die("epoll_ctl");
}

static void finish(struct association *a)
{
	for (int i = 0; i < 3; i++)
		if (a->end[i].fd >= 0)
			close(a->end[i].fd);
	a->closed = true;
	a->next = closed;
	closed = a;
}

static void free_closed(void)
{
	while (closed) {
		struct association *a = closed;

		closed = a->next;
		free(a);
	}
}

static void open_datagrams(struct association *a, enum kind kind, struct in_addr at)
{
	struct sockaddr_in local = {.sin_family = AF_INET, .sin_addr = at};
	struct end *e = &a->end[kind];

	e->fd = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (e->fd < 0 || bind(e->fd, (struct sockaddr *)&local, sizeof(local)) < 0)
		die("bind");
	setsockopt(e->fd, SOL_SOCKET, SO_RCVBUF, &held, sizeof(held));
	wait_for(e, EPOLLIN);
}

/* A greeting, and then a request for UDP ASSOCIATE: each whole, or that was it. */
static void on_control(struct association *a)
{
	int fd = a->end[CONTROL].fd;
	ssize_t n = recv(fd, buf, sizeof(buf), 0);
	struct sockaddr_in local;
	socklen_t len = sizeof(local);

	if (n < 0 && errno == EAGAIN)
		return;
	if (n >= 3 && !a->greeted && buf[0] == 5) {
		a->greeted = true;
		(void)!send(fd, "\5", 2, MSG_NOSIGNAL);
	} else if (n >= HEADER && a->greeted && a->end[INSIDE].fd < 0 && buf[1] == 3) {
		uint8_t reply[HEADER] = {5, 0, 0, 1};

		getsockname(fd, (struct sockaddr *)&local, &len);
		open_datagrams(a, INSIDE, local.sin_addr);
		open_datagrams(a, OUTSIDE, (struct in_addr){0});
		getsockname(a->end[INSIDE].fd, (struct sockaddr *)&local, &len);
		memcpy(reply + 4, &local.sin_addr, 4);
		memcpy(reply + 8, &local.sin_port, 2);
		(void)!send(fd, reply, sizeof(reply), MSG_NOSIGNAL);
	} else {
		finish(a);
	}
}

/* Returns whether there may be more. */
static bool relay_up(struct association *a)
{
	struct sockaddr_in from = {0}, to = {.sin_family = AF_INET};
	socklen_t len = sizeof(from);
	ssize_t n =
	    recvfrom(a->end[INSIDE].fd, buf, sizeof(buf), 0, (struct sockaddr *)&from, &len);

	if (n < 0)
		return errno == ECONNREFUSED;
	if (!a->heard) {
		a->client = from;
		a->heard = true;
	}
	if (from.sin_port != a->client.sin_port ||
	    from.sin_addr.s_addr != a->client.sin_addr.s_addr || n < HEADER || buf[2] != 0 ||
	    buf[3] != 1)
		return true;
	memcpy(&to.sin_addr, buf + 4, 4);
	memcpy(&to.sin_port, buf + 8, 2);
	(void)!sendto(a->end[OUTSIDE].fd, buf + HEADER, (size_t)n - HEADER, 0,
	    (struct sockaddr *)&to, sizeof(to));
	return true;
}

static bool relay_down(struct association *a)
{
	struct sockaddr_in from;
	socklen_t len = sizeof(from);
	ssize_t n = recvfrom(a->end[OUTSIDE].fd, buf + HEADER, sizeof(buf) - HEADER, 0,
	    (struct sockaddr *)&from, &len);

	if (n < 0)
		return errno == ECONNREFUSED;
	memcpy(buf, "\0\0\0\1", 4);
	memcpy(buf + 4, &from.sin_addr, 4);
	memcpy(buf + 8, &from.sin_port, 2);
	(void)!sendto(a->end[INSIDE].fd, buf, (size_t)n + HEADER, 0, (struct sockaddr *)&a->client,
	    sizeof(a->client));
	return true;
}

static void on_event(struct end *e)
{
	struct association *a = e->of;

	if (e->kind == CONTROL)
		on_control(a);
	else
		for (int i = 0; i < BUDGET && (e->kind == INSIDE ? relay_up(a) : relay_down(a));
		     i++)
			;
}

static void begin(int listener)
{
	int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
	struct association *a = fd < 0 ? NULL : calloc(1, sizeof(*a));

	if (!a)
		die("accept");
	for (int i = 0; i < 3; i++)
		a->end[i] = (struct end){(enum kind)i, i == CONTROL ? fd : -1, a};
	wait_for(&a->end[CONTROL], EPOLLIN);
}

static int listen_at(uint16_t port)
{
	struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons(port)};
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &(int){1}, sizeof(int));
	if (fd < 0 || bind(fd, (struct sockaddr *)&at, sizeof(at)) < 0 || listen(fd, 1024) < 0)
		die("listen");
	return fd;
}

int main(int argc, char **argv)
{
	struct end listener = {.kind = CONTROL};
	struct epoll_event events[EVENTS];
	struct rlimit limit;

	if (argc < 2) {
		fputs("usage: udpfloor PORT [BYTES]\n", stderr);
		return 2;
	}
	held = argc > 2 ? (int)strtol(argv[2], NULL, 10) : held;
	getrlimit(RLIMIT_NOFILE, &limit);
	limit.rlim_cur = limit.rlim_max;
	setrlimit(RLIMIT_NOFILE, &limit);
	epoll = epoll_create1(EPOLL_CLOEXEC);
	listener.fd = listen_at((uint16_t)strtoul(argv[1], NULL, 10));
	wait_for(&listener, EPOLLIN);
	for (;;) {
		int n = epoll_wait(epoll, events, EVENTS, -1);

		for (int i = 0; i < n; i++) {
			struct end *e = events[i].data.ptr;

			if (e == &listener)
				begin(e->fd);
			else if (!e->of->closed)
				on_event(e);
		}
		/* What was closed may still be in that list, so its memory is let go of now. */
		free_closed();
	}
}
