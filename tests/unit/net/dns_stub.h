/* SPDX-License-Identifier: MIT */
/*
 * A name server on a thread, over UDP and TCP, whose behaviour is the first label of the name that
 * is asked for (digits behind it make more names of the same behaviour); of an address whose name
 * is asked for the last byte (of IPv6: the last nibble), see dns_pointer().
 */
#ifndef TABI_TESTS_DNS_STUB_H
#define TABI_TESTS_DNS_STUB_H

#include <arpa/inet.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

struct dns_stub {
	int udp, tcp, stray; /* stray: the socket of a stranger */
	int stop[2];
	uint16_t port;
	atomic_uint queries; /* A and AAAA each count */
	pthread_t thread;
	/* A reply that is held back until "flush" is asked for. */
	uint8_t late[512];
	size_t late_len;
	struct sockaddr_storage late_to;
};

/* A query taken apart, and the reply to it under construction. */
struct dns_exchange {
	struct dns_stub *stub;
	const struct sockaddr_storage *client; /* NULL over TCP */
	socklen_t client_len;
	const uint8_t *query;
	size_t question_len; /* of name, type and class */
	char label[64];      /* the first, without digits at its end */
	bool aaaa, ptr;
	uint8_t reply[65535];
	size_t len;
};

static inline void dns_put16(struct dns_exchange *x, unsigned value)
{
	x->reply[x->len++] = (uint8_t)(value >> 8);
	x->reply[x->len++] = (uint8_t)value;
}

/* Header and question; `rcode` also takes other bits of the flags. */
static inline void dns_begin(struct dns_exchange *x, unsigned rcode)
{
	x->len = 0;
	dns_put16(x, (unsigned)(x->query[0] << 8 | x->query[1]));
	dns_put16(x, 0x8180 | rcode);
	dns_put16(x, 1);
	dns_put16(x, 0);
	dns_put16(x, 0);
	dns_put16(x, 0);
	memcpy(x->reply + x->len, x->query + 12, x->question_len);
	x->len += x->question_len;
}

/* A record of the name that was asked for. */
static inline void dns_record(
    struct dns_exchange *x, unsigned type, unsigned ttl, const void *data, size_t len)
{
	unsigned count = (unsigned)(x->reply[6] << 8 | x->reply[7]) + 1;

	x->reply[6] = (uint8_t)(count >> 8);
	x->reply[7] = (uint8_t)count;
	dns_put16(x, 0xc00c);
	dns_put16(x, type);
	dns_put16(x, 1);
	dns_put16(x, ttl >> 16);
	dns_put16(x, ttl & 0xffff);
	dns_put16(x, (unsigned)len);
	memcpy(x->reply + x->len, data, len);
	x->len += len;
}

/* 192.0.2.n or 2001:db8::n; n = 66 is the lie that must never be believed. */
static inline void dns_address(struct dns_exchange *x, unsigned ttl, unsigned n)
{
	uint8_t v4[4] = {192, 0, 2, (uint8_t)n};
	uint8_t v6[16] = {0x20, 0x01, 0x0d, 0xb8, [14] = (uint8_t)(n >> 8), [15] = (uint8_t)n};

	v4[1] = (uint8_t)(n >> 8);
	dns_record(x, x->aaaa ? 28 : 1, ttl, x->aaaa ? v6 : v4, x->aaaa ? 16 : 4);
}

static inline void dns_send(struct dns_exchange *x)
{
	if (x->client)
		sendto(x->stub->udp, x->reply, x->len, 0, (const struct sockaddr *)x->client,
		    x->client_len);
}

static inline void dns_good(struct dns_exchange *x)
{
	dns_begin(x, 0);
	dns_address(x, 60, 1);
}

static inline void dns_drop(struct dns_exchange *x)
{
	x->len = 0;
}

static inline void dns_ttl1(struct dns_exchange *x)
{
	dns_begin(x, 0);
	dns_address(x, 1, 1);
}

/* The address lives long, the alias that leads to it one second. */
static inline void dns_alias(struct dns_exchange *x)
{
	static const uint8_t target[] = {3, 'w', 'w', 'w', 0};
	size_t at;

	dns_begin(x, 0);
	dns_record(x, 5, 1, target, sizeof(target));
	at = x->len - sizeof(target);
	dns_address(x, 3600, 1);
	/* The address belongs to the alias's target. */
	x->reply[at + sizeof(target)] = (uint8_t)(0xc0 | at >> 8);
	x->reply[at + sizeof(target) + 1] = (uint8_t)at;
}

static inline void dns_only_v6(struct dns_exchange *x)
{
	dns_begin(x, 0);
	if (x->aaaa)
		dns_address(x, 60, 1);
}

static inline void dns_nx(struct dns_exchange *x)
{
	dns_begin(x, 3);
}

static inline void dns_empty(struct dns_exchange *x)
{
	dns_begin(x, 0);
}

static inline void dns_fail(struct dns_exchange *x)
{
	dns_begin(x, 2);
}

static inline void dns_cname_loop(struct dns_exchange *x)
{
	dns_begin(x, 0);
	dns_record(x, 5, 60, x->query + 12, x->question_len - 4);
}

/* A thousand IPv4 addresses and three IPv6; more than UDP takes, so asked again over TCP. */
static inline void dns_many(struct dns_exchange *x)
{
	unsigned i;

	dns_begin(x, x->client ? 0x0200 : 0);
	for (i = 0; !x->client && i < (x->aaaa ? 3 : 1000); i++)
		dns_address(x, 60, 256 + i);
}

/* Over TCP alone. */
static inline void dns_truncated(struct dns_exchange *x)
{
	dns_good(x);
	if (x->client)
		dns_begin(x, 0x0200);
}

/* Lies first: another id, another question, another sender. Then the truth. */
static inline void dns_spoof(struct dns_exchange *x)
{
	dns_begin(x, 0);
	dns_address(x, 60, 66);
	x->reply[1] ^= 1;
	dns_send(x);
	x->reply[1] ^= 1;
	x->reply[13] ^= 1;
	dns_send(x);
	x->reply[13] ^= 1;
	sendto(
	    x->stub->stray, x->reply, x->len, 0, (const struct sockaddr *)x->client, x->client_len);
	dns_good(x);
}

/* Everything shorter than the question, and noise. Then the truth. */
static inline void dns_garbage(struct dns_exchange *x)
{
	size_t i, whole;

	dns_good(x);
	whole = 12 + x->question_len;
	for (i = 0; i < whole; i++) {
		x->len = i;
		dns_send(x);
	}
	for (i = 2; i < 500; i++)
		x->reply[i] = (uint8_t)(i * 167 + 13);
	x->len = 500;
	dns_send(x);
	dns_good(x);
}

/* The right question, but records that end in the middle. */
static inline void dns_malformed(struct dns_exchange *x)
{
	dns_good(x);
	x->len -= 3;
}

static inline void dns_late(struct dns_exchange *x)
{
	dns_begin(x, 0);
	dns_address(x, 60, 66);
	memcpy(x->stub->late, x->reply, x->len);
	x->stub->late_len = x->len;
	x->stub->late_to = *x->client;
	x->len = 0;
}

static inline void dns_flush(struct dns_exchange *x)
{
	sendto(x->stub->udp, x->stub->late, x->stub->late_len, 0,
	    (const struct sockaddr *)&x->stub->late_to, x->client_len);
	dns_good(x);
}

/* What PTR records may say, as labels. */
static inline void dns_pointer(struct dns_exchange *x, unsigned n)
{
	static const struct {
		const char *data;
		size_t len;
	} names[] = {{NULL, 0}, {"\4host\4test", 11},
	    {"\3"
	     "192\1"
	     "0\1"
	     "2\2"
	     "66",
		12},
	    {"\3a\nb\4test", 10}, {"", 1}, {"\3a\0b\4test", 10}, {"\3a.b\4test", 10},
	    {"\6ad\xffmin\4test", 13}};

	dns_begin(x, n < sizeof(names) / sizeof(names[0]) ? 0 : 3);
	if (n == 8)
		dns_begin(x, 2);
	else if (n < sizeof(names) / sizeof(names[0]) && names[n].data)
		dns_record(x, 12, 60, names[n].data, names[n].len);
}

static const struct dns_behaviour {
	const char *label;
	void (*reply)(struct dns_exchange *x);
} dns_behaviours[] = {
    {"good", dns_good},
    {"ttl", dns_ttl1},
    {"alias", dns_alias},
    {"six", dns_only_v6},
    {"nx", dns_nx},
    {"empty", dns_empty},
    {"fail", dns_fail},
    {"drop", dns_drop},
    {"loop", dns_cname_loop},
    {"many", dns_many},
    {"truncated", dns_truncated},
    {"spoof", dns_spoof},
    {"garbage", dns_garbage},
    {"malformed", dns_malformed},
    {"late", dns_late},
    {"flush", dns_flush},
};

static inline void dns_answer(struct dns_exchange *x, const uint8_t *query, size_t len)
{
	size_t at = 12, n = 0, i;

	x->query = query;
	x->len = 0;
	while (at < len && query[at])
		at += 1u + query[at];
	if (at + 5 > len)
		return;
	atomic_fetch_add(&x->stub->queries, 1);
	x->question_len = at + 5 - 12;
	x->aaaa = query[at + 2] == 28;
	for (i = 0; i < query[12] && (query[13 + i] < '0' || query[13 + i] > '9'); i++)
		x->label[n++] = (char)query[13 + i];
	x->label[n] = '\0';
	x->ptr = query[at + 2] == 12;
	if (x->ptr) {
		dns_pointer(x, (unsigned)atoi((const char *)query + 13));
		return;
	}
	for (i = 0; i < sizeof(dns_behaviours) / sizeof(dns_behaviours[0]); i++)
		if (strcmp(x->label, dns_behaviours[i].label) == 0)
			dns_behaviours[i].reply(x);
}

static inline void dns_serve_udp(struct dns_exchange *x)
{
	struct sockaddr_storage client;
	uint8_t query[512];
	ssize_t n;

	x->client = &client;
	x->client_len = sizeof(client);
	n = recvfrom(
	    x->stub->udp, query, sizeof(query), 0, (struct sockaddr *)&client, &x->client_len);
	if (n <= 0)
		return;
	dns_answer(x, query, (size_t)n);
	if (x->len)
		dns_send(x);
}

static inline void dns_serve_tcp(struct dns_exchange *x)
{
	const struct timeval patience = {.tv_sec = 2};
	int fd = accept(x->stub->tcp, NULL, NULL);
	uint8_t head[2], query[512];
	size_t len;

	x->client = NULL;
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
	while (recv(fd, head, 2, MSG_WAITALL) == 2) {
		len = (size_t)(head[0] << 8 | head[1]);
		if (len > sizeof(query) || recv(fd, query, len, MSG_WAITALL) != (ssize_t)len)
			break;
		dns_answer(x, query, len);
		head[0] = (uint8_t)(x->len >> 8);
		head[1] = (uint8_t)x->len;
		send(fd, head, 2, MSG_NOSIGNAL);
		send(fd, x->reply, x->len, MSG_NOSIGNAL);
	}
	close(fd);
}

static inline void *dns_stub_run(void *arg)
{
	static struct dns_exchange x; /* too large for a stack; there is one stub at a time */
	struct dns_stub *stub = arg;
	struct pollfd p[3] = {{.fd = stub->udp, .events = POLLIN},
	    {.fd = stub->tcp, .events = POLLIN}, {.fd = stub->stop[0], .events = POLLIN}};

	x.stub = stub;
	while (poll(p, 3, -1) > 0 && !p[2].revents) {
		if (p[0].revents)
			dns_serve_udp(&x);
		if (p[1].revents)
			dns_serve_tcp(&x);
	}
	return NULL;
}

static inline int dns_stub_socket(int family, int type, uint16_t *port)
{
	struct sockaddr_in v4 = {.sin_family = AF_INET,
	    .sin_port = htons(*port),
	    .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	struct sockaddr_in6 v6 = {
	    .sin6_family = AF_INET6, .sin6_port = htons(*port), .sin6_addr = IN6ADDR_LOOPBACK_INIT};
	const struct sockaddr *sa = family == AF_INET ? (void *)&v4 : (void *)&v6;
	socklen_t len = family == AF_INET ? sizeof(v4) : sizeof(v6);
	int fd = socket(family, type | SOCK_CLOEXEC, 0), big = 4 << 20;

	/* Thousands of queries come in one turn. */
	setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &big, sizeof(big));
	if (bind(fd, sa, len) < 0) {
		close(fd);
		return -1;
	}
	getsockname(fd, (struct sockaddr *)&v6, &len);
	*port = ntohs(v6.sin6_port); /* at the same place in both */
	return fd;
}

/* Returns 0, or -1 where this family cannot be had here. */
static inline int dns_stub_start(struct dns_stub *stub, int family)
{
	uint16_t stray_port = 0;
	int attempt;

	memset(stub, 0, sizeof(*stub));
	/* A port that is free for UDP may be taken for TCP. */
	for (attempt = 0; attempt < 20; attempt++) {
		stub->port = 0;
		stub->udp = dns_stub_socket(family, SOCK_DGRAM, &stub->port);
		if (stub->udp < 0)
			return -1;
		stub->tcp = dns_stub_socket(family, SOCK_STREAM, &stub->port);
		if (stub->tcp >= 0)
			break;
		close(stub->udp);
	}
	stub->stray = dns_stub_socket(family, SOCK_DGRAM, &stray_port);
	if (stub->tcp < 0 || stub->stray < 0 || listen(stub->tcp, 8) < 0 || pipe(stub->stop) < 0)
		return -1;
	return pthread_create(&stub->thread, NULL, dns_stub_run, stub) ? -1 : 0;
}

/* Waits until the stub has read what was sent to it: a burst may fill its buffer, and what comes
 * then is lost. */
static inline void dns_stub_catch_up(const struct dns_stub *stub)
{
	const struct timespec moment = {.tv_nsec = 1000000};
	int next = 0;

	while (ioctl(stub->udp, FIONREAD, &next) == 0 && next > 0)
		nanosleep(&moment, NULL);
}

static inline void dns_stub_stop(struct dns_stub *stub)
{
	close(stub->stop[1]);
	pthread_join(stub->thread, NULL);
	close(stub->stop[0]);
	close(stub->udp);
	close(stub->tcp);
	close(stub->stray);
}

#endif
