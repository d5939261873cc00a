/* SPDX-License-Identifier: MIT */
/*
 * Several connections at once in a loop of poll(), none of which blocks: says standard input to
 * each target and prints the answers, one after the other.
 *
 * usage: pollloop PROXY[,PROXY...] HOST PORT [HOST PORT]... <question
 *
 * cc pollloop.c $(pkg-config --cflags --libs tabi)
 */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <tabi.h>
#include <unistd.h>

#define CLIENTS_MAX 16

struct client {
	struct tabi_dial *dial; /* until the stream is ours */
	int fd;                 /* then */
	size_t sent;
	char answer[65536];
	size_t len;
	int over;
};

static struct client clients[CLIENTS_MAX];
static int n_clients, n_open, n_failed;
static char question[65536];
static size_t question_len;

static void finish(struct client *c, const char *why)
{
	if (why) {
		fprintf(stderr, "%s\n", why);
		n_failed++;
	}
	tabi_dial_free(c->dial);
	c->dial = NULL;
	if (c->fd >= 0)
		close(c->fd);
	c->fd = -1;
	c->over = 1;
	n_open--;
}

/* Goes on with the handshake. */
static void dial(struct client *c)
{
	struct tabi_error error;
	char text[300];
	int rc = tabi_dial_step(c->dial);

	if (rc < 0) {
		tabi_dial_error(c->dial, &error);
		finish(c, tabi_error_text(&error, text, sizeof(text)));
	} else if (rc == 1) {
		c->fd = tabi_dial_take(c->dial);
		tabi_dial_free(c->dial);
		c->dial = NULL;
		if (c->fd == TABI_NO_SOCKET)
			finish(c, "behind TLS it takes tabi_dial_take_stream()");
	}
}

/* The socket is a socket like any other now, and does not block. */
static void talk(struct client *c, short events)
{
	ssize_t n;

	if (events & POLLOUT && c->sent < question_len) {
		n = send(c->fd, question + c->sent, question_len - c->sent, MSG_NOSIGNAL);
		c->sent += n > 0 ? (size_t)n : 0;
	}
	if (!(events & (POLLIN | POLLHUP | POLLERR)))
		return;
	n = recv(c->fd, c->answer + c->len, sizeof(c->answer) - c->len, 0);
	if (n > 0)
		c->len += (size_t)n;
	else if (n == 0)
		finish(c, NULL);
	else if (errno != EAGAIN && errno != EWOULDBLOCK)
		finish(c, "the stream broke");
}

/* What each waits for; returns the time until somebody has to be called in any case. */
static int prepare(struct pollfd *p)
{
	int timeout = -1;

	for (int i = 0; i < n_clients; i++) {
		const struct client *c = &clients[i];

		p[i] = (struct pollfd){.fd = -1};
		if (c->dial) {
			const int events = tabi_dial_events(c->dial),
				  ms = tabi_dial_timeout(c->dial);

			p[i].fd = tabi_dial_fd(c->dial);
			p[i].events = (short)((events & TABI_READABLE ? POLLIN : 0) |
					      (events & TABI_WRITABLE ? POLLOUT : 0));
			if (ms >= 0 && (timeout < 0 || ms < timeout))
				timeout = ms;
		} else if (!c->over) {
			p[i].fd = c->fd;
			p[i].events = (short)(POLLIN | (c->sent < question_len ? POLLOUT : 0));
		}
	}
	return timeout;
}

static void loop(void)
{
	struct pollfd p[CLIENTS_MAX];

	while (n_open > 0) {
		if (poll(p, (nfds_t)n_clients, prepare(p)) < 0 && errno != EINTR)
			exit(1);
		for (int i = 0; i < n_clients; i++) {
			/* A dial has its own clock: it is stepped whether or not its socket is
			 * ready. */
			if (clients[i].dial)
				dial(&clients[i]);
			else if (!clients[i].over && p[i].revents)
				talk(&clients[i], p[i].revents);
		}
	}
}

int main(int argc, char **argv)
{
	struct tabi_error error;
	char text[300];

	if (argc < 4 || argc % 2 != 0 || argc > 2 + 2 * CLIENTS_MAX) {
		fprintf(stderr, "usage: pollloop PROXY[,PROXY...] HOST PORT [HOST PORT]...\n");
		return 2;
	}
	question_len = fread(question, 1, sizeof(question), stdin);
	for (int i = 2; i < argc; i += 2) {
		struct client *c = &clients[n_clients++];

		c->fd = -1;
		c->dial = tabi_dial_new(
		    argv[1], TABI_CONNECT, argv[i], (uint16_t)atoi(argv[i + 1]), NULL, &error);
		n_open++;
		if (!c->dial)
			finish(c, tabi_error_text(&error, text, sizeof(text)));
	}
	loop();
	for (int i = 0; i < n_clients; i++)
		fwrite(clients[i].answer, 1, clients[i].len, stdout);
	return n_failed > 0;
}
