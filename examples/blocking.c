/* SPDX-License-Identifier: MIT */
/*
 * The shortest client: connects, says what standard input says, and prints the answer.
 *
 * usage: blocking PROXY[,PROXY...] HOST PORT <question     PROXY may be "" for TABI_PROXY
 *
 * cc blocking.c $(pkg-config --cflags --libs tabi)
 */
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <tabi.h>
#include <unistd.h>

int main(int argc, char **argv)
{
	struct tabi_options options = tabi_options();
	struct tabi_error error;
	char buf[16384], text[300];
	ssize_t n;
	size_t len;
	int fd;

	if (argc != 4) {
		fprintf(stderr, "usage: blocking PROXY[,PROXY...] HOST PORT <question\n");
		return 2;
	}
	/* Greeting, password and request go out together. */
	options.flags = TABI_ONE_FLIGHT;
	options.timeout = 10000;
	fd = tabi_connect(
	    argv[1][0] ? argv[1] : NULL, argv[2], (uint16_t)atoi(argv[3]), &options, &error);
	if (fd == TABI_NO_SOCKET) {
		fprintf(stderr, "%s\n", tabi_error_text(&error, text, sizeof(text)));
		return 1;
	}
	/* From here on it is a socket like any other. */
	while ((len = fread(buf, 1, sizeof(buf), stdin)) > 0)
		for (size_t at = 0; at < len; at += (size_t)n)
			if ((n = send(fd, buf + at, len - at, MSG_NOSIGNAL)) < 0)
				break;
	while ((n = recv(fd, buf, sizeof(buf), 0)) > 0)
		fwrite(buf, 1, (size_t)n, stdout);
	close(fd);
	return n < 0 || fflush(stdout) != 0;
}
