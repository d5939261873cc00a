/* SPDX-License-Identifier: MIT */
#include "lib/race.h"

#include <errno.h>
#include <stdbool.h>

#define STAGGER_MS 250
/* Of several attempts where nothing stands for them all: how often they are looked at. */
#define TICK_MS 20

/* ---- the order ---- */

/* The first from `at` on that is of the same family or of another one; `n` where there is none. */
static int find(const struct race *r, int at, int family, bool same)
{
	while (at < r->n && (r->to[at].family == family) != same)
		at++;
	return at;
}

static void move_to(struct race *r, int from, int to)
{
	const struct tabi_address moved = r->to[from];

	for (int i = from; i > to; i--)
		r->to[i] = r->to[i - 1];
	r->to[to] = moved;
}

/* RFC 8305 section 4: behind each address one of the other family, while there are any. */
static void alternate(struct race *r)
{
	for (int at = 1; at < r->n; at++) {
		const int other = find(r, at, r->to[at - 1].family, false);

		if (other == r->n)
			return;
		move_to(r, other, at);
	}
}

void race_set(struct race *r, const struct tabi_address *addresses, int n, uint16_t port)
{
	*r = (struct race){.group = TABI_NO_SOCKET};
	for (int i = 0; i < n && r->n < RACE_MAX; i++) {
		r->to[r->n] = addresses[i];
		r->to[r->n++].port = port;
	}
	alternate(r);
}

/* ---- attempts ---- */

/* How much a failure tells; 0 is the most. */
static int rank_of(int err)
{
	static const int telling[] = {EMFILE, ENFILE, ENOMEM, ENOBUFS, ECONNREFUSED, ECONNRESET,
	    EHOSTUNREACH, ETIMEDOUT, ENETUNREACH};
	const int n = sizeof(telling) / sizeof(telling[0]);

	for (int i = 0; i < n; i++)
		if (telling[i] == -err)
			return i;
	return n;
}

static void has_failed(struct race *r, int err)
{
	if (r->err == 0 || rank_of(err) < rank_of(r->err))
		r->err = err;
}

/* The next address to which a connection can be begun at all. */
static void begin_next(struct race *r)
{
	bool begun = false;

	while (!begun && r->begun < r->n) {
		const int i = r->begun++;
		const int err = os_connect(&r->to[i], &r->fds[i]);

		begun = err == 0;
		if (begun) {
			r->flying++;
			if (r->group != TABI_NO_SOCKET)
				(void)os_group_add(r->group, r->fds[i], TABI_WRITABLE);
		} else {
			r->fds[i] = TABI_NO_SOCKET;
			has_failed(r, err);
		}
	}
	r->next = os_now() + STAGGER_MS;
	r->changes++;
}

/* It is not waited for any more. */
static tabi_socket drop(struct race *r, int i)
{
	const tabi_socket fd = r->fds[i];

	if (r->group != TABI_NO_SOCKET)
		os_group_remove(r->group, fd);
	r->fds[i] = TABI_NO_SOCKET;
	r->flying--;
	r->changes++;
	return fd;
}

/* The group first, and nothing is taken out of it: in a child of fork() it is the parent's too. */
void race_stop(struct race *r)
{
	if (r->begun > 0 && r->group != TABI_NO_SOCKET)
		os_close(r->group);
	r->group = TABI_NO_SOCKET;
	for (int i = 0; i < r->begun; i++)
		if (r->fds[i] != TABI_NO_SOCKET)
			os_close(drop(r, i));
	r->begun = 0;
}

void race_start(struct race *r)
{
	race_stop(r);
	r->err = 0;
	/* One that stands for them all from the beginning, so that what the caller waits for is not
	 * a socket that goes on beside others. */
	if (r->n > 1)
		r->group = os_group();
	begin_next(r);
}

int race_waits(const struct race *r, struct os_wait *ret_waits)
{
	int n = 0;

	for (int i = 0; i < r->begun; i++)
		if (r->fds[i] != TABI_NO_SOCKET)
			ret_waits[n++] = (struct os_wait){.fd = r->fds[i], .events = TABI_WRITABLE};
	return n;
}

static void win(struct race *r, int i, tabi_socket *ret_fd)
{
	*ret_fd = drop(r, i);
	race_stop(r);
	move_to(r, i, 0);
}

/* Returns true when attempt `i` is over: `*ret_rc` is then 1, or it has failed. */
static bool look_at(struct race *r, int i, tabi_socket *ret_fd, int *ret_rc)
{
	struct os_wait w = {.fd = r->fds[i], .events = TABI_WRITABLE};
	int err;

	if (r->fds[i] == TABI_NO_SOCKET || os_wait(&w, 1, 0) <= 0)
		return false;
	err = os_connected(r->fds[i]);
	if (err == 0) {
		win(r, i, ret_fd);
		*ret_rc = 1;
	} else {
		os_close(drop(r, i));
		has_failed(r, err);
	}
	return true;
}

int race_step(struct race *r, tabi_socket *ret_fd)
{
	int rc = 0;

	do {
		bool lost = false;

		for (int i = 0; i < r->begun && rc == 0; i++)
			lost |= look_at(r, i, ret_fd, &rc);
		if (rc == 1)
			return 1;
		if (r->begun < r->n && (lost || r->flying == 0 || os_now() >= r->next))
			begin_next(r);
		else
			break;
	} while (true);
	return r->flying > 0 ? 0 : r->err;
}

uint64_t race_next(const struct race *r)
{
	const uint64_t soon = os_now() + TICK_MS;
	uint64_t next = r->begun < r->n ? r->next : UINT64_MAX;

	if (r->group == TABI_NO_SOCKET && r->flying > 1 && soon < next)
		next = soon;
	return next;
}

tabi_socket race_fd(const struct race *r, int *ret_events)
{
	tabi_socket fd = TABI_NO_SOCKET;

	*ret_events = r->group != TABI_NO_SOCKET ? TABI_READABLE : TABI_WRITABLE;
	if (r->group != TABI_NO_SOCKET)
		return r->group;
	for (int i = 0; i < r->begun; i++)
		if (r->fds[i] != TABI_NO_SOCKET)
			fd = r->fds[i];
	return fd;
}
