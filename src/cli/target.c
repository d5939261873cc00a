/* SPDX-License-Identifier: MIT */
#include "cli/target.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "net/sockaddr.h"
#include "proto/err.h"

/* A guest that neither speaks nor leaves is put out. */
#define LIFE_MS (120 * 1000)
#define NOTES 1024
#define CHUNK 16384

struct note {
	char token[TARGET_TOKEN];
	struct addr peer;
	uint64_t received;
	const char *end; /* NULL: nothing noted */
};

struct target {
	struct loop *loop;
	struct guest *guests;
	int refusing, other; /* bound and not listening; a socket for datagrams */
	uint16_t refusing_port;
	unsigned n_guests, next_note;
	bool closing;
	struct note notes[NOTES];
	uint8_t in[CHUNK];
};

struct guest {
	struct watch watch; /* first: found by it */
	struct timer timer;
	struct target *target;
	struct guest *prev, *next;
	struct guest *back; /* of TARGET_CONNECT: the connection made, while it is being made */
	uint8_t letter;     /* 0: that connection */
	uint8_t n_arg;
	bool started, ended, is_closed;
	char arg[TARGET_TOKEN];
	unsigned note; /* which one, where it has one */
	unsigned closing;
	struct addr peer;
};

static const struct {
	uint8_t letter, arg;
} letters[] = {
    {TARGET_PEER, 0},
    {TARGET_NOTE, TARGET_TOKEN},
    {TARGET_FINISH, TARGET_TOKEN},
    {TARGET_QUERY, TARGET_TOKEN},
    {TARGET_LATE, 0},
    {TARGET_RESET, 0},
    {TARGET_WAIT, 0},
    {TARGET_CONNECT, TARGET_PORT},
};

#define N_LETTERS (sizeof(letters) / sizeof(letters[0]))

static size_t arg_of(uint8_t letter)
{
	for (size_t i = 0; i < N_LETTERS; i++)
		if (letters[i].letter == letter)
			return letters[i].arg;
	return 0;
}

bool target_knows(uint8_t letter)
{
	for (size_t i = 0; i < N_LETTERS; i++)
		if (letters[i].letter == letter)
			return true;
	return false;
}

/* ---- notes ---- */

static struct note *note_find(struct target *t, const char *token)
{
	for (unsigned i = 0; i < NOTES; i++)
		if (t->notes[i].end && memcmp(t->notes[i].token, token, TARGET_TOKEN) == 0)
			return &t->notes[i];
	return NULL;
}

static bool has_note(const struct guest *g)
{
	return g->started && (g->letter == TARGET_NOTE || g->letter == TARGET_FINISH);
}

/* Its note, unless a later one has taken the place. */
static struct note *note_of(struct guest *g)
{
	struct note *note = &g->target->notes[g->note];

	return has_note(g) && memcmp(note->token, g->arg, TARGET_TOKEN) == 0 ? note : NULL;
}

static void note_begin(struct guest *g)
{
	struct target *t = g->target;
	struct note *note = &t->notes[t->next_note];

	g->note = t->next_note;
	t->next_note = (t->next_note + 1) % NOTES;
	*note = (struct note){.peer = g->peer, .end = "open"};
	memcpy(note->token, g->arg, TARGET_TOKEN);
}

/* ---- the end of a guest ---- */

static void let_go(struct guest *g)
{
	struct target *t = g->target;

	if (--g->closing > 0)
		return;
	free(g);
	if (--t->n_guests == 0 && t->closing)
		free(t);
}

static void on_watch_closed(struct watch *watch)
{
	let_go((struct guest *)watch);
}

static void on_timer_closed(struct timer *timer)
{
	let_go((struct guest *)(void *)((char *)timer - offsetof(struct guest, timer)));
}

static void guest_close(struct guest *g, const char *end)
{
	struct note *note = note_of(g);

	if (g->is_closed)
		return;
	g->is_closed = true;
	if (note)
		note->end = end;
	*(g->prev ? &g->prev->next : &g->target->guests) = g->next;
	if (g->next)
		g->next->prev = g->prev;
	for (struct guest *other = g->target->guests; other; other = other->next)
		if (other->back == g)
			other->back = NULL;
	g->closing = 2;
	watch_close(&g->watch, on_watch_closed);
	timer_close(&g->timer, on_timer_closed);
	close(g->watch.fd);
}

static void on_timer(struct timer *timer)
{
	struct guest *g = (struct guest *)(void *)((char *)timer - offsetof(struct guest, timer));

	if (g->letter == TARGET_LATE && g->ended)
		(void)!send(g->watch.fd, "late\n", 5, MSG_NOSIGNAL);
	guest_close(g, "open");
}

/* ---- what is said ---- */

/* Lines are short and the first thing sent: there is room for them. */
static void say(struct guest *g, const char *line)
{
	(void)!send(g->watch.fd, line, strlen(line), MSG_NOSIGNAL);
}

static void say_peer(struct guest *g)
{
	char line[TARGET_LINE_MAX], peer[ADDR_TEXT_MAX];

	snprintf(line, sizeof(line), "peer=%.60s refuses=%u\n", addr_format(&g->peer, peer),
	    g->target->refusing_port);
	say(g, line);
}

static void say_note(struct guest *g)
{
	const struct note *note = note_find(g->target, g->arg);
	char line[TARGET_LINE_MAX], peer[ADDR_TEXT_MAX];

	snprintf(line, sizeof(line), "none\n");
	if (note)
		snprintf(line, sizeof(line), "peer=%.60s received=%" PRIu64 " end=%s\n",
		    addr_format(&note->peer, peer), note->received, note->end);
	say(g, line);
	shutdown(g->watch.fd, SHUT_WR);
}

static struct guest *guest_new(struct target *t, int fd, uint8_t letter);
static void on_back(struct watch *watch, unsigned events);

/* With leading zeros, which port_parse() does not take. */
static int read_port(const char arg[static TARGET_PORT], uint16_t *ret_port)
{
	size_t at = 0;

	while (at < TARGET_PORT - 1 && arg[at] == '0')
		at++;
	return port_parse(arg + at, TARGET_PORT - at, ret_port);
}

/* To the peer's own address alone, and to no port where a system service may be. */
static int connect_back(struct guest *g)
{
	struct sockaddr_storage sa;
	socklen_t len;
	uint16_t port;
	int fd;

	if (read_port(g->arg, &port) != 0 || port < 1024)
		return ERR_DENIED;
	len = sockaddr_from_ip(&sa, &g->peer.ip, port);
	fd = socket(sa.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return -errno;
	if (connect(fd, (const struct sockaddr *)&sa, len) < 0 && errno != EINPROGRESS) {
		int err = -errno;

		close(fd);
		return err;
	}
	g->back = guest_new(g->target, fd, 0);
	if (!g->back)
		return -ENOMEM;
	g->back->watch.fn = on_back;
	watch_set(&g->back->watch, WATCH_WRITE);
	return 0;
}

static void say_failed(struct guest *g, int err)
{
	char line[TARGET_LINE_MAX];

	snprintf(line, sizeof(line), "failed=%s\n", err_word(err));
	say(g, line);
}

/* ---- what is heard ---- */

/* Behind the argument. */
static void guest_heard(struct guest *g, const uint8_t *data, size_t len)
{
	struct note *note = note_of(g);

	if (note)
		note->received += len;
	if (g->letter == 0)
		(void)!send(g->watch.fd, data, len, MSG_NOSIGNAL);
}

static void guest_start(struct guest *g)
{
	int err;

	g->started = true;
	switch (g->letter) {
	case TARGET_PEER:
		say_peer(g);
		break;
	case TARGET_NOTE:
		note_begin(g);
		break;
	case TARGET_FINISH:
		note_begin(g);
		shutdown(g->watch.fd, SHUT_WR);
		break;
	case TARGET_QUERY:
		say_note(g);
		break;
	case TARGET_RESET:
		socket_set_reset_on_close(g->watch.fd);
		guest_close(g, "reset");
		break;
	case TARGET_WAIT:
		watch_set(&g->watch, WATCH_ERROR);
		break;
	case TARGET_CONNECT:
		err = connect_back(g);
		if (err < 0)
			say_failed(g, err);
		break;
	default:
		break;
	}
}

static void take(struct guest *g, const uint8_t *data, size_t len)
{
	size_t want = arg_of(g->letter) - g->n_arg;

	if (!g->started) {
		if (want > len)
			want = len;
		memcpy(g->arg + g->n_arg, data, want);
		g->n_arg = (uint8_t)(g->n_arg + want);
		if (g->n_arg < arg_of(g->letter))
			return;
		guest_start(g);
		data += want;
		len -= want;
	}
	if (!g->is_closed && len > 0)
		guest_heard(g, data, len);
}

static void on_end(struct guest *g)
{
	g->ended = true;
	if (g->letter == TARGET_LATE) {
		watch_set(&g->watch, WATCH_ERROR);
		timer_start(&g->timer, TARGET_LATE_MS);
	} else if (g->back) {
		watch_set(&g->watch, WATCH_ERROR);
	} else {
		guest_close(g, "eof");
	}
}

static void on_guest(struct watch *watch, unsigned events)
{
	struct guest *g = (struct guest *)watch;
	ssize_t n;

	(void)events;
	if (g->started && (g->letter == TARGET_WAIT || g->ended)) {
		guest_close(g, "reset");
		return;
	}
	n = recv(watch->fd, g->target->in, CHUNK, 0);
	if (n > 0) {
		take(g, g->target->in, (size_t)n);
	} else if (n == 0) {
		on_end(g);
		return;
	} else if (errno != EAGAIN) {
		guest_close(g, "reset");
		return;
	}
	if (!g->is_closed && g->letter != TARGET_WAIT)
		watch_set(watch, WATCH_READ);
}

/* The connection of TARGET_CONNECT was made, or not. */
static void on_back(struct watch *watch, unsigned events)
{
	struct guest *back = (struct guest *)watch, *g = back->target->guests;
	int err = socket_take_error(watch->fd);
	char line[TARGET_LINE_MAX], text[ADDR_TEXT_MAX];
	struct addr local;

	(void)events;
	/* It was made, and is over already. */
	if (err == -ECONNRESET)
		err = 0;
	while (g && g->back != back)
		g = g->next;
	if (g && err < 0) {
		say_failed(g, err);
	} else if (g) {
		local = socket_local_addr(watch->fd);
		snprintf(line, sizeof(line), "connected from=%.60s\n", addr_format(&local, text));
		say(g, line);
		g->back = NULL;
	}
	if (g && g->ended)
		guest_close(g, "eof");
	if (!g || err < 0) {
		guest_close(back, "reset");
		return;
	}
	watch->fn = on_guest;
	watch_set(watch, WATCH_READ);
}

/* ---- beginning and end ---- */

static struct guest *guest_new(struct target *t, int fd, uint8_t letter)
{
	struct guest *g = calloc(1, sizeof(*g));

	if (!g || watch_init(&g->watch, t->loop, fd, on_guest) < 0) {
		free(g);
		close(fd);
		return NULL;
	}
	g->target = t;
	g->letter = letter;
	g->started = letter == 0;
	g->peer = socket_peer_addr(fd);
	g->next = t->guests;
	if (g->next)
		g->next->prev = g;
	t->guests = g;
	t->n_guests++;
	timer_init(&g->timer, t->loop, on_timer);
	timer_start(&g->timer, LIFE_MS);
	return g;
}

void target_adopt(struct target *target, int fd, uint8_t letter, const uint8_t *data, size_t len)
{
	struct guest *g = guest_new(target, fd, letter);

	if (!g)
		return;
	watch_set(&g->watch, WATCH_READ);
	take(g, data, len);
}

static int bound_socket(int type, const struct ip *ip)
{
	struct sockaddr_storage sa;
	socklen_t len = sockaddr_from_ip(&sa, ip, 0);
	int fd = socket(sa.ss_family, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	if (fd >= 0 && bind(fd, (const struct sockaddr *)&sa, len) == 0)
		return fd;
	if (fd >= 0)
		close(fd);
	return -1;
}

int target_new(struct target **ret_target, struct loop *loop, const struct addr *at)
{
	struct target *t = calloc(1, sizeof(*t));

	if (!t)
		return -ENOMEM;
	t->loop = loop;
	t->refusing = bound_socket(SOCK_STREAM, &at->ip);
	t->other = bound_socket(SOCK_DGRAM, &at->ip);
	if (t->refusing < 0 || t->other < 0) {
		int err = -errno;

		if (t->refusing >= 0)
			close(t->refusing);
		free(t);
		return err;
	}
	t->refusing_port = socket_local_addr(t->refusing).port;
	*ret_target = t;
	return 0;
}

void target_close(struct target *target)
{
	if (!target)
		return;
	close(target->refusing);
	close(target->other);
	/* One more than there are, till all have been told. */
	target->n_guests++;
	while (target->guests)
		guest_close(target->guests, "open");
	target->closing = true;
	if (--target->n_guests == 0)
		free(target);
}

void target_datagram(struct target *target, uint8_t *data, size_t len, const struct msghdr *msg)
{
	const struct sockaddr_storage *from = msg->msg_name;
	char line[TARGET_LINE_MAX], text[ADDR_TEXT_MAX];
	struct addr peer;

	if (len <= TARGET_MAGIC_LEN || memcmp(data, TARGET_MAGIC, TARGET_MAGIC_LEN) != 0)
		return;
	if (data[TARGET_MAGIC_LEN] == TARGET_PEER && len >= sizeof(line)) {
		peer = sockaddr_to_addr(from);
		snprintf(line, sizeof(line), "peer=%.60s\n", addr_format(&peer, text));
		memcpy(data, line, strlen(line));
	} else if (data[TARGET_MAGIC_LEN] == TARGET_OTHER) {
		data[TARGET_MAGIC_LEN] = TARGET_OTHER_ANSWER;
		(void)!sendto(
		    target->other, data, len, 0, (const struct sockaddr *)from, msg->msg_namelen);
		data[TARGET_MAGIC_LEN] = TARGET_OTHER;
	}
}
