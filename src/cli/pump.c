/* SPDX-License-Identifier: MIT */
#include "cli/pump.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "proto/err.h"

#define BUFFER_SIZE ((size_t)128 << 10)

struct pump_buffer {
	size_t at, len;
	uint8_t data[BUFFER_SIZE];
};

enum { AT_INPUT, AT_OUTPUT, AT_CONNECTION, N_PLACES };

static uint64_t now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

void pump_moved(struct pump_limits *l)
{
	l->moved_at = now_ms();
}

void pump_half(struct pump_limits *l)
{
	if (l->half_at == 0)
		l->half_at = now_ms();
}

int pump_time_left(const struct pump_limits *l)
{
	uint64_t idle = l->idle_ms > 0 ? l->moved_at + l->idle_ms : UINT64_MAX;
	uint64_t quit =
	    l->quit_ms >= 0 && l->half_at > 0 ? l->half_at + (uint64_t)l->quit_ms : UINT64_MAX;
	uint64_t due = idle < quit ? idle : quit, now = now_ms();

	if (due == UINT64_MAX)
		return -1;
	if (due <= now)
		return 0;
	return due - now < INT32_MAX ? (int)(due - now) : INT32_MAX;
}

bool pump_is_late(const struct pump_limits *l, int *ret_err)
{
	uint64_t now = now_ms();

	*ret_err = 0;
	if (l->quit_ms >= 0 && l->half_at > 0 && now >= l->half_at + (uint64_t)l->quit_ms)
		return true;
	if (l->idle_ms == 0 || now < l->moved_at + l->idle_ms)
		return false;
	*ret_err = ERR_IDLE;
	return true;
}

static bool is_empty(const struct pump_buffer *b)
{
	return b->at == b->len;
}

static int fail(struct pump *p, enum pump_place place, int err)
{
	p->place = place;
	return err;
}

/* ---- up ---- */

static bool wants_input(const struct pump *p)
{
	return p->in.fd >= 0 && is_empty(p->to) && !p->broken;
}

static bool has_something_to_send(const struct pump *p)
{
	if (p->broken || p->told)
		return !p->broken && layer_holds(p->layer);
	return !is_empty(p->to) || p->in.fd < 0 || layer_holds(p->layer);
}

static int read_input(struct pump *p)
{
	ssize_t n = stdio_read(&p->in, p->to->data, BUFFER_SIZE);

	if (n == -EAGAIN)
		return 0;
	if (n < 0)
		return fail(p, PUMP_STDIN, (int)n);
	p->to->at = 0;
	p->to->len = (size_t)n;
	/* The descriptor stays open: nothing else shall get its number. */
	if (n == 0)
		p->in.fd = -1;
	pump_moved(&p->limits);
	return 0;
}

static void send_some(struct pump *p)
{
	struct pump_buffer *b = p->to;
	int err;

	while (!is_empty(b)) {
		ssize_t n = layer_send(p->layer, p->fd, b->data + b->at, b->len - b->at);

		if (n == -EAGAIN)
			return;
		if (n < 0) {
			p->broken = (int)n;
			return;
		}
		b->at += (size_t)n;
		p->up += (uint64_t)n;
		pump_moved(&p->limits);
	}
	err = p->in.fd < 0 && !p->told ? layer_end(p->layer, p->fd) : layer_flush(p->layer);
	if (err == 0 && p->in.fd < 0)
		p->told = true;
	else if (err && err != -EAGAIN)
		p->broken = err;
}

/* ---- down ---- */

static bool wants_connection(const struct pump *p)
{
	return !p->over && is_empty(p->from);
}

static int receive(struct pump *p)
{
	ssize_t n = layer_recv(p->layer, p->fd, p->from->data, BUFFER_SIZE);

	if (n == -EAGAIN)
		return 0;
	/* What sending met first says more. */
	if (n < 0)
		return fail(p, PUMP_CONNECTION, p->broken ? p->broken : (int)n);
	p->from->at = 0;
	p->from->len = (size_t)n;
	p->over = n == 0;
	pump_moved(&p->limits);
	return 0;
}

static int write_output(struct pump *p)
{
	struct pump_buffer *b = p->from;
	ssize_t n = stdio_write(&p->out, b->data + b->at, b->len - b->at);

	if (n == -EAGAIN)
		return 0;
	if (n < 0)
		return fail(p, PUMP_STDOUT, (int)n);
	b->at += (size_t)n;
	p->down += (uint64_t)n;
	pump_moved(&p->limits);
	return 0;
}

/* ---- both ---- */

static void wait_for_something(const struct pump *p, struct pollfd fds[static N_PLACES])
{
	const short net =
	    (short)((wants_connection(p) ? POLLIN : 0) | (has_something_to_send(p) ? POLLOUT : 0));
	int left = pump_time_left(&p->limits);

	fds[AT_INPUT] = (struct pollfd){wants_input(p) ? p->in.fd : -1, POLLIN, 0};
	/* Waited for even without events: whether anybody is still there to read. */
	fds[AT_OUTPUT] = (struct pollfd){p->out.fd, is_empty(p->from) ? 0 : POLLOUT, 0};
	/* Not so here, where a reset that waits behind back-pressure would keep us awake. */
	fds[AT_CONNECTION] = (struct pollfd){net ? p->fd : -1, net, 0};
	if (wants_connection(p) && layer_pending(p->layer))
		left = 0;
	poll(fds, N_PLACES, left);
}

static int move(struct pump *p, const struct pollfd fds[static N_PLACES])
{
	int err = 0;

	if (fds[AT_OUTPUT].revents & (POLLERR | POLLHUP | POLLNVAL) &&
	    !(fds[AT_OUTPUT].revents & POLLOUT))
		return fail(p, PUMP_STDOUT, -EPIPE);
	if (fds[AT_INPUT].revents)
		err = read_input(p);
	if (!err && has_something_to_send(p))
		send_some(p);
	if (!err && wants_connection(p) && (fds[AT_CONNECTION].revents || layer_pending(p->layer)))
		err = receive(p);
	if (!err && !is_empty(p->from))
		err = write_output(p);
	return err;
}

static bool is_over(struct pump *p)
{
	bool down = p->over && is_empty(p->from);
	bool up = p->told && !layer_holds(p->layer);

	if (down)
		stdio_end(&p->out);
	if (down || up)
		pump_half(&p->limits);
	return down && (up || p->broken || p->terminal);
}

static int run(struct pump *p)
{
	struct pollfd fds[N_PLACES] = {{.fd = -1}, {.fd = -1}, {.fd = -1}};
	int err;

	for (;;) {
		wait_for_something(p, fds);
		err = move(p, fds);
		if (err)
			return err;
		if (is_over(p))
			return fail(p, PUMP_CONNECTION, p->broken);
		if (pump_is_late(&p->limits, &err))
			return fail(p, PUMP_CONNECTION, err);
	}
}

int pump_run(struct pump *p)
{
	int err = -ENOMEM;

	stdio_input(&p->in, STDIN_FILENO);
	stdio_output(&p->out, STDOUT_FILENO);
	p->terminal = isatty(STDIN_FILENO);
	p->to = malloc(sizeof(*p->to));
	p->from = malloc(sizeof(*p->from));
	pump_moved(&p->limits);
	p->place = PUMP_CONNECTION;
	if (p->to && p->from) {
		p->to->at = p->to->len = p->from->at = p->from->len = 0;
		err = run(p);
	}
	stdio_end(&p->out);
	free(p->to);
	free(p->from);
	return err;
}
