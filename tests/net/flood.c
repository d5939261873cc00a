/* SPDX-License-Identifier: MIT */
/*
 * Datagrams with invented sources, as fast as the receiver reads them.
 *
 * usage: flood FD KIND PORT COUNT SEED AVOID PAYLOAD(hex)
 *
 * FD is a raw socket (IPPROTO_RAW) that was inherited. They go to 127.0.0.1:PORT. KIND says where
 * from: `hosts` any address but 127.0.0.1, `ports` 127.0.0.1 and any port but AVOID, `both` either.
 * After each burst it waits until the kernel has none of them left, so that no queue overflows.
 */
#include <arpa/inet.h>
#include <netinet/ip.h>
#include <netinet/udp.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

#define BURST 128
#define PAYLOAD_MAX 64

struct wire {
	struct iphdr ip;
	struct udphdr udp;
	uint8_t payload[PAYLOAD_MAX];
} __attribute__((packed));

static uint64_t state;

/* splitmix64 */
static uint64_t next(void)
{
	uint64_t z = state += 0x9e3779b97f4a7c15u;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
	z = (z ^ z >> 27) * 0x94d049bb133111ebu;
	return z ^ z >> 31;
}

/* Most from loopback, and a quarter from addresses that are nobody's here. */
static uint32_t some_host(void)
{
	uint32_t host;

	do
		host = next() % 4 == 0 ? 0xc6120000u | (next() & 0x1ffff)
				       : 0x7f000000u | (next() & 0xffffff);
	while (host == INADDR_LOOPBACK || host == 0x7f000000u || host == 0x7fffffffu);
	return host;
}

static void make(struct wire *w, const char *kind, uint16_t avoid)
{
	bool other_host =
	    strcmp(kind, "hosts") == 0 || (strcmp(kind, "both") == 0 && next() % 2 == 0);
	uint16_t port;

	do
		port = (uint16_t)next();
	while (port == avoid && !other_host);
	w->ip.saddr = htonl(other_host ? some_host() : INADDR_LOOPBACK);
	w->udp.source = htons(port);
}

/* Bytes that wait at the port. */
static unsigned long waiting(uint16_t port)
{
	unsigned long n = 0, queue;
	unsigned local;
	char line[512];
	FILE *f = fopen("/proc/net/udp", "re");

	if (!f)
		exit(1);
	while (fgets(line, sizeof(line), f))
		if (sscanf(line, "%*u: %*8X:%X %*8X:%*X %*X %*X:%lX", &local, &queue) == 2 &&
		    local == port)
			n += queue;
	fclose(f);
	return n;
}

int main(int argc, char **argv)
{
	static struct wire wires[BURST];
	static struct iovec parts[BURST];
	static struct mmsghdr msgs[BURST];
	struct sockaddr_in to = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	const struct timespec moment = {.tv_nsec = 100000};
	size_t len = argc == 8 ? strlen(argv[7]) / 2 : PAYLOAD_MAX + 1;
	long count;
	int fd;

	if (len > PAYLOAD_MAX)
		return 2;
	fd = atoi(argv[1]);
	count = atol(argv[4]);
	state = strtoull(argv[5], NULL, 10);
	for (int i = 0; i < BURST; i++) {
		struct wire *w = &wires[i];

		w->ip = (struct iphdr){.version = 4, .ihl = 5, .ttl = 64, .protocol = IPPROTO_UDP};
		w->ip.daddr = to.sin_addr.s_addr;
		w->udp.dest = htons((uint16_t)atoi(argv[3]));
		w->udp.len = htons((uint16_t)(sizeof(w->udp) + len));
		for (size_t k = 0; k < len; k++)
			sscanf(argv[7] + 2 * k, "%2hhx", &w->payload[k]);
		parts[i] = (struct iovec){w, sizeof(w->ip) + sizeof(w->udp) + len};
		msgs[i].msg_hdr = (struct msghdr){.msg_name = &to,
		    .msg_namelen = sizeof(to),
		    .msg_iov = &parts[i],
		    .msg_iovlen = 1};
	}
	while (count > 0) {
		unsigned n = count < BURST ? (unsigned)count : BURST;

		for (unsigned i = 0; i < n; i++)
			make(&wires[i], argv[2], (uint16_t)atoi(argv[6]));
		if (sendmmsg(fd, msgs, n, 0) != (int)n) {
			perror("sendmmsg");
			return 1;
		}
		count -= n;
		while (waiting((uint16_t)atoi(argv[3])) > 0)
			nanosleep(&moment, NULL);
	}
	return 0;
}
