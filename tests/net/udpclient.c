/* SPDX-License-Identifier: MIT */
/*
 * The client's end of UDP ASSOCIATE as proto/ has it, over real sockets.
 *
 * usage: udpclient PROXY-URL TARGET TEXT ...      TARGET is HOST:PORT
 *
 * Each TEXT is sent to the target in a datagram of its own; of each answer the sender and the text
 * are printed.
 */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "proto/connect.h"
#include "proto/err.h"
#include "proto/udp.h"

static _Noreturn void die(const char *what, int err)
{
	fprintf(stderr, "udpclient: %s: %s\n", what, err_text(err));
	exit(1);
}

static socklen_t sockaddr_of(const struct addr *addr, struct sockaddr_storage *ret_sa)
{
	struct sockaddr_in *in = (struct sockaddr_in *)ret_sa;
	struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)ret_sa;

	memset(ret_sa, 0, sizeof(*ret_sa));
	if (ip_is_v4(&addr->ip)) {
		in->sin_family = AF_INET;
		in->sin_port = htons(addr->port);
		memcpy(&in->sin_addr, ip_v4_bytes(&addr->ip), 4);
		return sizeof(*in);
	}
	in6->sin6_family = AF_INET6;
	in6->sin6_port = htons(addr->port);
	memcpy(&in6->sin6_addr, addr->ip.b, 16);
	return sizeof(*in6);
}

static int connected_socket(const struct addr *to, int type)
{
	const struct timeval limit = {.tv_sec = 10};
	struct sockaddr_storage sa;
	socklen_t len = sockaddr_of(to, &sa);
	int fd = socket(sa.ss_family, type | SOCK_CLOEXEC, 0);

	if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit)) < 0 ||
	    connect(fd, (const struct sockaddr *)&sa, len) < 0) {
		perror("udpclient: connect");
		exit(1);
	}
	return fd;
}

/* The handshake over a blocking socket. Returns where the datagrams are to be sent. */
static struct addr associate(int fd, const struct url *proxy)
{
	const struct addr unknown = {.kind = ADDR_NONE};
	uint8_t in[CONNECT_INPUT_MAX], out[CONNECT_OUTPUT_MAX];
	size_t n = 0;
	struct connect c;

	connect_init(&c, proxy, 1, COMMAND_UDP, &unknown);
	for (;;) {
		struct wire_reader r = wire_reader_of(in, n);
		struct wire_writer w = wire_writer_of(out, sizeof(out));
		enum connect_event event = connect_step(&c, &r, &w);
		ssize_t got;

		if (event == CONNECT_FAILED)
			die("no association", c.err);
		if (event == CONNECT_DONE)
			return connect_listens_at(&c, &proxy->proxy.ip);
		if (send(fd, out, w.len, MSG_NOSIGNAL) != (ssize_t)w.len)
			die("cannot send", ERR_PROXY_TRUNCATED);
		n = wire_left(&r);
		memmove(in, in + (r.len - n), n);
		got = recv(fd, in + n, c.want, 0);
		if (got <= 0)
			die("cannot receive", ERR_PROXY_TRUNCATED);
		n += (size_t)got;
	}
}

static void ask(int fd, const struct addr *target, const char *text)
{
	uint8_t buf[UDP_HEADER_MAX + 1024], *payload = buf + UDP_HEADER_MAX, *datagram;
	size_t len = strnlen(text, 1024);
	struct udp_packet p;
	struct addr from;
	char shown[ADDR_TEXT_MAX];
	ssize_t n;
	int err;

	memcpy(payload, text, len);
	datagram = udp_wrap(payload, target);
	n = payload + len - datagram;
	if (send(fd, datagram, (size_t)n, 0) != n)
		die("cannot send", ERR_PROXY_TRUNCATED);
	n = recv(fd, buf, sizeof(buf), 0);
	err = n < 0 ? ERR_PROXY_TRUNCATED : udp_unwrap(buf, (size_t)n, &p, &from);
	if (err)
		die("no answer", err);
	printf("%s %.*s\n", addr_format(&from, shown), (int)p.len, (const char *)p.data);
}

int main(int argc, char **argv)
{
	struct addr target, relay;
	struct url proxy;
	int control, fd, err;

	if (argc < 4)
		return 2;
	err = url_parse(argv[1], strlen(argv[1]), &proxy, NULL, NULL);
	if (!err)
		err = addr_parse(argv[2], strlen(argv[2]), &target);
	if (err)
		die("arguments", err);
	control = connected_socket(&proxy.proxy, SOCK_STREAM);
	relay = associate(control, &proxy);
	fd = connected_socket(&relay, SOCK_DGRAM);
	for (int i = 3; i < argc; i++)
		ask(fd, &target, argv[i]);
	close(fd);
	close(control);
	return 0;
}
