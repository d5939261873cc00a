/* SPDX-License-Identifier: MIT */
#include "server/auth/ident.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "net/sockaddr.h"
#include "proto/accept.h"
#include "proto/err.h"
#include "proto/ident.h"

struct ident {
	struct watch watch; /* first */
	struct timer timer;
	int fd;
	unsigned open; /* of watch and timer */
	bool asked;
	struct ident_ports ports;
	ident_fn *fn; /* NULL: answered or cancelled */
	void *ctx;
	uint8_t user_len;
	char user[ACCEPT_CREDENTIAL_MAX];
	size_t len;
	uint8_t answer[IDENT_LINE_MAX];
};

static struct ident *ident_of_timer(struct timer *timer)
{
	return (struct ident *)((char *)timer - offsetof(struct ident, timer));
}

static void let_go(struct ident *ident)
{
	if (--ident->open == 0)
		free(ident);
}

static void watch_gone(struct watch *watch)
{
	let_go((struct ident *)watch);
}

static void timer_gone(struct timer *timer)
{
	let_go(ident_of_timer(timer));
}

static void close_all(struct ident *ident)
{
	ident->fn = NULL;
	watch_close(&ident->watch, watch_gone);
	timer_close(&ident->timer, timer_gone);
	close(ident->fd);
}

static void end(struct ident *ident, int err)
{
	ident_fn *fn = ident->fn;
	void *ctx = ident->ctx;

	close_all(ident);
	fn(ctx, err);
}

void ident_cancel(struct ident *ident)
{
	if (ident)
		close_all(ident);
}

static void on_timeout(struct timer *timer)
{
	end(ident_of_timer(timer), ERR_NO_IDENTD);
}

/* Connected, or not: the question fits the empty buffer of a new socket. Returns 0 or an error. */
static int ask(struct ident *ident)
{
	uint8_t buf[IDENT_QUERY_MAX];
	struct wire_writer out = wire_writer_of(buf, sizeof(buf));

	if (socket_take_error(ident->fd) != 0)
		return ERR_NO_IDENTD;
	ident_write_query(&out, &ident->ports);
	if (send(ident->fd, buf, out.len, MSG_NOSIGNAL) != (ssize_t)out.len)
		return ERR_NO_IDENTD;
	ident->asked = true;
	watch_set(&ident->watch, WATCH_READ);
	return 0;
}

/* Anything but an answer is none: whom nobody vouches for is not let in. */
static int judge(const struct ident *ident)
{
	struct wire_reader in = wire_reader_of(ident->answer, ident->len);
	const uint8_t *user;
	size_t len;
	int rc = ident_read_answer(&in, &ident->ports, &user, &len);

	if (rc == WIRE_MORE)
		return -EAGAIN;
	if (rc < 0)
		return ERR_NO_IDENTD;
	return len == ident->user_len && memcmp(user, ident->user, len) == 0 ? 0
									     : ERR_IDENT_MISMATCH;
}

static void hear(struct ident *ident)
{
	ssize_t n =
	    recv(ident->fd, ident->answer + ident->len, sizeof(ident->answer) - ident->len, 0);
	int err;

	if (n < 0 && (errno == EAGAIN || errno == EINTR)) {
		watch_set(&ident->watch, WATCH_READ);
		return;
	}
	if (n <= 0) {
		end(ident, ERR_NO_IDENTD);
		return;
	}
	ident->len += (size_t)n;
	err = judge(ident);
	if (err != -EAGAIN)
		end(ident, err);
}

static void on_socket(struct watch *watch, unsigned events)
{
	struct ident *ident = (struct ident *)watch;

	(void)events;
	if (ident->asked) {
		hear(ident);
		return;
	}
	if (ask(ident) != 0)
		end(ident, ERR_NO_IDENTD);
}

static void set_port(struct sockaddr_storage *sa, uint16_t port)
{
	if (sa->ss_family == AF_INET)
		((struct sockaddr_in *)sa)->sin_port = htons(port);
	else
		((struct sockaddr_in6 *)sa)->sin6_port = htons(port);
}

/* Both ends of the client's connection, as the kernel has them, with the scope of an address. */
static int read_ends(int fd, const struct addr *client, struct sockaddr_storage *ret_ours,
    struct sockaddr_storage *ret_theirs, struct ident_ports *ret_ports)
{
	socklen_t ours_len = sizeof(*ret_ours), theirs_len = sizeof(*ret_theirs);
	struct ip ours, theirs;

	memset(ret_ours, 0, sizeof(*ret_ours));
	memset(ret_theirs, 0, sizeof(*ret_theirs));
	if (getsockname(fd, (struct sockaddr *)ret_ours, &ours_len) < 0 ||
	    getpeername(fd, (struct sockaddr *)ret_theirs, &theirs_len) < 0 ||
	    !sockaddr_read(ret_ours, &ours, &ret_ports->ours) ||
	    !sockaddr_read(ret_theirs, &theirs, &ret_ports->theirs))
		return ERR_NO_IDENTD;
	if (!ip_equal(&theirs, &client->ip) || ret_ports->theirs != client->port)
		return ERR_NO_IDENTD;
	return 0;
}

/* Begins to connect to the host of the client, from the address at which it has reached us: from
 * another it would not find the connection. Returns a descriptor or an error. */
static int reach(const struct sockaddr_storage *ours, const struct sockaddr_storage *theirs)
{
	socklen_t len =
	    ours->ss_family == AF_INET ? sizeof(struct sockaddr_in) : sizeof(struct sockaddr_in6);
	int fd = socket(ours->ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	int one = 1;

	if (fd < 0)
		return ERR_UNAVAILABLE;
	/* The port is chosen by connect(), which may share it; no harm where that is not known. */
	(void)setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &one, sizeof(one));
	if (bind(fd, (const struct sockaddr *)ours, len) == 0 &&
	    (connect(fd, (const struct sockaddr *)theirs, len) == 0 || errno == EINPROGRESS))
		return fd;
	close(fd);
	return ERR_NO_IDENTD;
}

static struct ident *ident_new(
    struct loop *loop, int fd, const char *user, size_t len, ident_fn *fn, void *ctx)
{
	struct ident *ident = calloc(1, sizeof(*ident));

	if (!ident)
		return NULL;
	if (watch_init(&ident->watch, loop, fd, on_socket) != 0) {
		free(ident);
		return NULL;
	}
	timer_init(&ident->timer, loop, on_timeout);
	ident->open = 2;
	ident->fd = fd;
	ident->fn = fn;
	ident->ctx = ctx;
	ident->user_len = (uint8_t)len;
	memcpy(ident->user, user, len);
	return ident;
}

int ident_start(struct loop *loop, int fd, const struct addr *client, const char *user, size_t len,
    ident_fn *fn, void *ctx, struct ident **ret_ident)
{
	struct sockaddr_storage ours, theirs;
	struct ident_ports ports;
	struct ident *ident;
	int err = read_ends(fd, client, &ours, &theirs, &ports);
	int to;

	if (err || len > ACCEPT_CREDENTIAL_MAX)
		return ERR_NO_IDENTD;
	set_port(&ours, 0);
	set_port(&theirs, IDENT_PORT);
	to = reach(&ours, &theirs);
	if (to < 0)
		return to;
	ident = ident_new(loop, to, user, len, fn, ctx);
	if (!ident) {
		close(to);
		return -ENOMEM;
	}
	ident->ports = ports;
	watch_set(&ident->watch, WATCH_WRITE);
	timer_start(&ident->timer, IDENT_MS);
	*ret_ident = ident;
	return 0;
}
