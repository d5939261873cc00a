/* SPDX-License-Identifier: MIT */
/*
 * A stream like telephony's through UDP ASSOCIATE, and the same one beside it without a proxy.
 *
 * usage: bench-rtp PROXY PORT PER_SECOND SECONDS
 *
 * Theory of operation. Packets of RTP's size (12 bytes of header, 160 of sound) leave at even
 * distances, each of them twice: straight to a remote of ours, and by the proxy to another. The
 * remotes send every packet back the way it came. So there are four flows, up and down, direct and
 * relayed, in one run under the same load; what the machine itself does to them is seen in the
 * direct ones. Each packet carries its number and the time at which this flow sent it. Jitter is
 * that of RFC 3550 section 6.4.1, without its filter: the mean and the maximum of the differences
 * between the transit times of neighbours.
 *
 * Nothing is queued or sent again. A packet that is not there half a second after the last was sent
 * is lost. The exit status is 0 whatever was lost.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define PACKET_SIZE 172
#define HEADER_SIZE 10 /* of SOCKS5 with an IPv4 address */
#define LATE_MS 500
#define MS 1000000u /* nanoseconds */
#define RECEIVE_BYTES (4 << 20)

enum flow { DIRECT_UP, DIRECT_DOWN, RELAY_UP, RELAY_DOWN, FLOWS };

static const char *const flow_names[FLOWS] = {
    [DIRECT_UP] = "direct-up",
    [DIRECT_DOWN] = "direct-down",
    [RELAY_UP] = "relay-up",
    [RELAY_DOWN] = "relay-down",
};

/* What a packet holds; of its host's byte order, for it never leaves the host. */
struct packet {
	uint8_t rtp[12];
	uint32_t number;
	uint64_t sent_at;
	uint8_t sound[PACKET_SIZE - 24];
} __attribute__((packed));

struct stats {
	uint64_t sent, received, repeated, reordered;
	uint32_t newest;   /* number, of those received */
	uint64_t *transit; /* nanoseconds, by number; 0: not received */
};

struct side {
	int fd[2]; /* direct, relayed */
	struct stats *stats[2];
	bool echoes; /* sends back what it gets, under stats of `back` */
	struct stats *back[2];
};

static struct stats flows[FLOWS];
static uint32_t total;
static atomic_bool over;

static _Noreturn void die(const char *what)
{
	fprintf(stderr, "bench-rtp: %s: %s\n", what, errno ? strerror(errno) : "refused");
	exit(1);
}

static uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000 * MS + (uint64_t)ts.tv_nsec;
}

static int udp_socket(struct sockaddr_in *ret_at)
{
	struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	const int bytes = RECEIVE_BYTES;
	socklen_t len = sizeof(at);
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &bytes, sizeof(bytes)) < 0 ||
	    bind(fd, (struct sockaddr *)&at, len) < 0 ||
	    getsockname(fd, (struct sockaddr *)&at, &len) < 0)
		die("cannot open a socket");
	if (ret_at)
		*ret_at = at;
	return fd;
}

/* ---- the association ---- */

static void read_exactly(int fd, void *buf, size_t len)
{
	if (recv(fd, buf, len, MSG_WAITALL) != (ssize_t)len)
		die("the proxy ended the connection");
}

/* Returns the connection, by which the association lives. */
static int associate(const char *host, const char *port, struct sockaddr_in *ret_relay)
{
	static const uint8_t hello[] = {5, 1, 0}, ask[] = {5, 3, 0, 1, 0, 0, 0, 0, 0, 0};
	struct sockaddr_in proxy = {.sin_family = AF_INET};
	uint8_t answer[10];
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	proxy.sin_port = htons((uint16_t)strtoul(port, NULL, 10));
	if (inet_pton(AF_INET, host, &proxy.sin_addr) != 1 || fd < 0 ||
	    connect(fd, (struct sockaddr *)&proxy, sizeof(proxy)) < 0)
		die("cannot connect to the proxy");
	errno = 0;
	if (send(fd, hello, sizeof(hello), MSG_NOSIGNAL) != sizeof(hello))
		die("no association");
	read_exactly(fd, answer, 2);
	if (answer[1] != 0 || send(fd, ask, sizeof(ask), MSG_NOSIGNAL) != sizeof(ask))
		die("no association");
	read_exactly(fd, answer, sizeof(answer));
	if (answer[1] != 0 || answer[3] != 1)
		die("no association");
	*ret_relay = (struct sockaddr_in){.sin_family = AF_INET};
	memcpy(&ret_relay->sin_addr, answer + 4, 4);
	memcpy(&ret_relay->sin_port, answer + 8, 2);
	return fd;
}

static void make_header(uint8_t *header, const struct sockaddr_in *to)
{
	memcpy(header, "\0\0\0\1", 4);
	memcpy(header + 4, &to->sin_addr, 4);
	memcpy(header + 8, &to->sin_port, 2);
}

/* ---- receiving ---- */

static void count(struct stats *s, const struct packet *p)
{
	uint64_t now = now_ns();

	if (p->number >= total)
		return;
	if (s->transit[p->number] != 0) {
		s->repeated++;
		return;
	}
	s->transit[p->number] = now > p->sent_at ? now - p->sent_at : 1;
	s->received++;
	if (p->number < s->newest)
		s->reordered++;
	else
		s->newest = p->number;
}

/* One packet of socket `i`, with or without a header in front. */
static void receive(struct side *side, size_t i)
{
	uint8_t buf[HEADER_SIZE + PACKET_SIZE + 1];
	struct sockaddr_in from;
	socklen_t from_len = sizeof(from);
	struct packet p;
	ssize_t n = recvfrom(
	    side->fd[i], buf, sizeof(buf), MSG_DONTWAIT, (struct sockaddr *)&from, &from_len);
	size_t skip = i == 1 && !side->echoes ? HEADER_SIZE : 0;

	if (n != (ssize_t)(skip + sizeof(p)))
		return;
	memcpy(&p, buf + skip, sizeof(p));
	count(side->stats[i], &p);
	if (!side->echoes)
		return;
	p.sent_at = now_ns();
	if (sendto(side->fd[i], &p, sizeof(p), 0, (struct sockaddr *)&from, from_len) > 0)
		side->back[i]->sent++;
}

static void *run_side(void *arg)
{
	struct side *side = arg;
	struct pollfd polled[2] = {
	    {.fd = side->fd[0], .events = POLLIN}, {.fd = side->fd[1], .events = POLLIN}};

	while (!atomic_load(&over)) {
		if (poll(polled, 2, 50) <= 0)
			continue;
		for (size_t i = 0; i < 2; i++)
			if (polled[i].revents)
				receive(side, i);
	}
	return NULL;
}

/* ---- sending ---- */

static void sleep_until(uint64_t at)
{
	struct timespec ts = {
	    .tv_sec = (time_t)(at / (1000 * MS)), .tv_nsec = (long)(at % (1000 * MS))};

	while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &ts, NULL) == EINTR)
		;
}

static void send_one(
    int fd, const void *data, size_t len, const struct sockaddr_in *to, struct stats *s)
{
	/* What the kernel does not take is lost before it was sent, and not the proxy's fault. */
	if (sendto(fd, data, len, 0, (const struct sockaddr *)to, sizeof(*to)) == (ssize_t)len)
		s->sent++;
}

/* Which of the two goes first changes, or one would always find the caches warm. */
static void send_all(const struct side *client, const struct sockaddr_in *remote,
    const struct sockaddr_in *relay, uint64_t per_second)
{
	uint8_t wrapped[HEADER_SIZE + PACKET_SIZE];
	struct packet p = {.rtp = {0x80, 0}};
	uint64_t began = now_ns();

	make_header(wrapped, &remote[1]);
	for (p.number = 0; p.number < total; p.number++) {
		sleep_until(began + p.number * (1000 * (uint64_t)MS) / per_second);
		for (uint32_t i = 0; i < 2; i++) {
			p.sent_at = now_ns();
			memcpy(wrapped + HEADER_SIZE, &p, sizeof(p));
			if ((i + p.number) % 2 == 0)
				send_one(
				    client->fd[0], &p, sizeof(p), &remote[0], &flows[DIRECT_UP]);
			else
				send_one(client->fd[1], wrapped, sizeof(wrapped), relay,
				    &flows[RELAY_UP]);
		}
	}
}

/* ---- the table ---- */

static int compare(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return (x > y) - (x < y);
}

static double us(uint64_t ns)
{
	return (double)ns / 1000;
}

static void print_flow(enum flow flow)
{
	struct stats *s = &flows[flow];
	uint64_t before = 0, sum = 0, most = 0, pairs = 0;
	uint64_t *sorted = s->transit + (total - s->received);

	for (uint32_t i = 0; i < total; i++) {
		uint64_t t = s->transit[i], d = t > before ? t - before : before - t;

		if (t != 0 && before != 0) {
			sum += d;
			pairs++;
			most = d > most ? d : most;
		}
		if (t != 0)
			before = t;
	}
	/* Those that were not received come first. */
	qsort(s->transit, total, sizeof(*s->transit), compare);
	printf("%-11s %8llu %8llu %6llu %8.4f %5llu %7llu", flow_names[flow],
	    (unsigned long long)s->sent, (unsigned long long)s->received,
	    (unsigned long long)(s->sent - s->received),
	    s->sent ? 100.0 * (double)(s->sent - s->received) / (double)s->sent : 0.0,
	    (unsigned long long)s->repeated, (unsigned long long)s->reordered);
	if (s->received == 0) {
		printf("       -        -        -        -        -        -\n");
		return;
	}
	printf(" %7.1f %8.1f %8.1f %8.1f %8.1f %8.1f\n", pairs ? us(sum) / (double)pairs : 0.0,
	    us(most), us(sorted[s->received / 2]), us(sorted[s->received * 99 / 100]),
	    us(sorted[s->received * 999 / 1000]), us(sorted[s->received - 1]));
}

static void print_table(void)
{
	printf("%-11s %8s %8s %6s %8s %5s %7s %7s %8s %8s %8s %8s %8s\n", "flow", "sent",
	    "received", "lost", "lost-%", "twice", "reorder", "jitter", "jit-max", "p50", "p99",
	    "p99.9", "max");
	for (int i = 0; i < FLOWS; i++)
		print_flow((enum flow)i);
	printf("times in microseconds; jitter is the mean difference between neighbours\n");
}

int main(int argc, char **argv)
{
	struct sockaddr_in remote[2], relay;
	struct side client = {.stats = {&flows[DIRECT_DOWN], &flows[RELAY_DOWN]}};
	struct side far = {.stats = {&flows[DIRECT_UP], &flows[RELAY_UP]},
	    .echoes = true,
	    .back = {&flows[DIRECT_DOWN], &flows[RELAY_DOWN]}};
	unsigned long per_second, seconds;
	pthread_t threads[2];
	int control;

	if (argc != 5 || (per_second = strtoul(argv[3], NULL, 10)) - 1 >= 1000000 ||
	    (seconds = strtoul(argv[4], NULL, 10)) - 1 >= 3600) {
		fputs("usage: bench-rtp PROXY PORT PER_SECOND SECONDS\n", stderr);
		return 2;
	}
	total = (uint32_t)(per_second * seconds);
	for (int i = 0; i < FLOWS; i++) {
		flows[i].transit = calloc(total, sizeof(uint64_t));
		if (!flows[i].transit)
			die("no memory");
	}
	control = associate(argv[1], argv[2], &relay);
	for (int i = 0; i < 2; i++) {
		far.fd[i] = udp_socket(&remote[i]);
		client.fd[i] = udp_socket(NULL);
	}
	if (pthread_create(&threads[0], NULL, run_side, &far) != 0 ||
	    pthread_create(&threads[1], NULL, run_side, &client) != 0)
		die("cannot start a thread");
	send_all(&client, remote, &relay, per_second);
	sleep_until(now_ns() + (uint64_t)LATE_MS * MS);
	atomic_store(&over, true);
	pthread_join(threads[0], NULL);
	pthread_join(threads[1], NULL);
	close(control);
	print_table();
	return 0;
}
