/* SPDX-License-Identifier: MIT */
/*
 * The blocking client on Windows: connects, says what standard input says, and prints the answer.
 *
 * usage: winsock PROXY[,PROXY...] HOST PORT <question
 */
#include <fcntl.h>
#include <io.h>
#include <stdio.h>
#include <stdlib.h>
#include <tabi.h>
#include <winsock2.h>

int main(int argc, char **argv)
{
	struct tabi_error error;
	char buf[16384], text[300];
	tabi_socket fd;
	size_t len;
	int n;

	if (argc != 4) {
		fprintf(stderr, "usage: winsock PROXY[,PROXY...] HOST PORT <question\n");
		return 2;
	}
	(void)_setmode(_fileno(stdin), _O_BINARY);
	(void)_setmode(_fileno(stdout), _O_BINARY);
	/* WSAStartup() has been called when it returns. */
	fd = tabi_connect(argv[1], argv[2], (uint16_t)atoi(argv[3]), NULL, &error);
	if (fd == TABI_NO_SOCKET) {
		fprintf(stderr, "%s\n", tabi_error_text(&error, text, sizeof(text)));
		return 1;
	}
	while ((len = fread(buf, 1, sizeof(buf), stdin)) > 0)
		for (size_t at = 0; at < len; at += (size_t)n)
			if ((n = send(fd, buf + at, (int)(len - at), 0)) < 0)
				return 1;
	while ((n = recv(fd, buf, sizeof(buf), 0)) > 0)
		fwrite(buf, 1, (size_t)n, stdout);
	tabi_close(fd);
	return n < 0 || fflush(stdout) != 0;
}
