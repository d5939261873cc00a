/* SPDX-License-Identifier: MIT */
/*
 * How many flights a connection takes is counted by whoever is in between; this is the client: says
 * QUESTION as the stream's first bytes and prints what comes back.
 *
 * usage: oneflight FLAGS PROXY[,PROXY...] HOST PORT QUESTION     FLAGS are those of enum tabi_flags
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <tabi.h>
#include <unistd.h>

int main(int argc, char **argv)
{
	struct tabi_options options = tabi_options();
	struct tabi_error error;
	char buf[16384], text[300];
	ssize_t n;
	int fd;

	if (argc != 6)
		return 2;
	options.flags = (unsigned)atoi(argv[1]);
	options.patience = 500;
	options.payload = argv[5];
	options.payload_len = strlen(argv[5]);
	fd = tabi_connect(argv[2], argv[3], (uint16_t)atoi(argv[4]), &options, &error);
	if (fd == TABI_NO_SOCKET) {
		fprintf(stderr, "%s\n", tabi_error_text(&error, text, sizeof(text)));
		return 1;
	}
	while ((n = recv(fd, buf, sizeof(buf), 0)) > 0)
		fwrite(buf, 1, (size_t)n, stdout);
	close(fd);
	return n < 0;
}
