/* SPDX-License-Identifier: MIT */
/*
 * Datagrams through SOCKS5: sends each line of standard input as one, and prints what comes back.
 *
 * usage: udp [-s] PROXY[,PROXY...] HOST PORT <lines
 *
 * Through a chain all have to be SOCKS5; with -s others may come before the last one, to which the
 * datagrams go straight then.
 *
 * A datagram can be lost, so each is sent again after a second, five times at most.
 *
 * cc udp.c $(pkg-config --cflags --libs tabi)
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <tabi.h>

/* Returns 0 when an answer came. */
static int ask(struct tabi_udp *udp, const struct tabi_address *to, const char *line)
{
	static char buf[65536 + TABI_HOPS_MAX * TABI_UDP_HEADER_MAX];
	char address[TABI_ADDRESS_TEXT_MAX];
	struct tabi_address from;
	void *payload;
	long n = TABI_E_AGAIN;

	for (int tries = 0; tries < 5 && n == TABI_E_AGAIN; tries++) {
		if (tabi_udp_send(udp, to, line, strlen(line)) < 0)
			return -1;
		n = tabi_udp_recv(udp, buf, sizeof(buf), 1000, &from, &payload);
	}
	if (n < 0)
		return -1;
	printf("%s: %.*s\n", tabi_address_text(&from, address, sizeof(address)), (int)n,
	    (char *)payload);
	return 0;
}

int main(int argc, char **argv)
{
	struct tabi_options options = tabi_options();
	struct tabi_address to;
	struct tabi_error error;
	struct tabi_udp *udp;
	char line[1400], text[300];
	int failed = 0;

	if (argc == 5 && strcmp(argv[1], "-s") == 0) {
		options.flags = TABI_UDP_STRAIGHT;
		argc--;
		argv++;
	}
	if (argc != 4 || tabi_address_set(&to, argv[2], (uint16_t)atoi(argv[3])) != 0) {
		fprintf(stderr, "usage: udp [-s] PROXY[,PROXY...] HOST PORT <lines\n");
		return 2;
	}
	udp = tabi_udp_open(argv[1], &options, &error);
	if (!udp) {
		fprintf(stderr, "%s\n", tabi_error_text(&error, text, sizeof(text)));
		return 1;
	}
	while (failed == 0 && fgets(line, sizeof(line), stdin)) {
		line[strcspn(line, "\n")] = '\0';
		failed = ask(udp, &to, line);
	}
	if (failed != 0)
		fprintf(stderr, "no answer\n");
	tabi_udp_close(udp);
	return failed != 0;
}
