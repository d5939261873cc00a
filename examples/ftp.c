/* SPDX-License-Identifier: MIT */
/*
 * Fetches a file as active FTP does, where the server connects to the client: BIND lets it connect
 * to the proxy instead.
 *
 * usage: ftp PROXY[,PROXY...] HOST PORT FILE
 *
 * cc ftp.c $(pkg-config --cflags --libs tabi)
 */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <tabi.h>
#include <unistd.h>

static const char *proxies;

static _Noreturn void die(const char *what, const struct tabi_error *error)
{
	char text[300];

	fprintf(stderr, "%s: %s\n", what,
	    error ? tabi_error_text(error, text, sizeof(text)) : "not what was expected");
	exit(1);
}

/* A line of the server, which has to begin with `expected`. */
static void hear(FILE *control, const char *expected)
{
	char line[1000];

	do
		if (!fgets(line, sizeof(line), control))
			die("the server has gone", NULL);
	while (line[0] < '0' || line[0] > '9' || line[3] == '-');
	if (strncmp(line, expected, strlen(expected)) != 0)
		die(line, NULL);
}

static void __attribute__((format(printf, 2, 3))) say(int fd, const char *format, ...)
{
	char line[1000];
	va_list args;
	int n;

	va_start(args, format);
	n = vsnprintf(line, sizeof(line), format, args);
	va_end(args);
	if (n < 0 || n >= (int)sizeof(line) || send(fd, line, (size_t)n, MSG_NOSIGNAL) != n)
		die("the server has gone", NULL);
}

/* RFC 2428: the address at which the proxy listens for the server. */
static void announce(int fd, FILE *control, const struct tabi_listener *listener)
{
	struct tabi_address at;
	char host[TABI_ADDRESS_TEXT_MAX], *end;

	tabi_listener_address(listener, &at);
	tabi_address_text(&at, host, sizeof(host));
	/* HOST:PORT or [HOST]:PORT */
	end = strrchr(host, ':');
	*end = '\0';
	if (host[0] == '[')
		end[-1] = '\0';
	say(fd, "EPRT |%d|%s|%u|\r\n", at.family == TABI_IPV6 ? 2 : 1, host + (host[0] == '['),
	    at.port);
	hear(control, "200");
}

static void fetch(int fd, FILE *control, const char *host, const char *file)
{
	struct tabi_listener *listener;
	struct tabi_error error;
	char buf[16384];
	ssize_t n;
	int data;

	listener = tabi_listen(proxies, host, 0, NULL, &error);
	if (!listener)
		die("listening", &error);
	announce(fd, control, listener);
	say(fd, "RETR %s\r\n", file);
	data = tabi_accept(listener, 10000, NULL, &error);
	if (data == TABI_NO_SOCKET)
		die("waiting for the server", &error);
	hear(control, "1");
	while ((n = recv(data, buf, sizeof(buf), 0)) > 0)
		fwrite(buf, 1, (size_t)n, stdout);
	if (n < 0)
		die("the file", NULL);
	close(data);
	tabi_listener_close(listener);
	hear(control, "226");
}

int main(int argc, char **argv)
{
	struct tabi_error error;
	FILE *control;
	int fd;

	if (argc != 5) {
		fprintf(stderr, "usage: ftp PROXY[,PROXY...] HOST PORT FILE\n");
		return 2;
	}
	proxies = argv[1];
	fd = tabi_connect(proxies, argv[2], (uint16_t)atoi(argv[3]), NULL, &error);
	if (fd == TABI_NO_SOCKET)
		die("connecting", &error);
	control = fdopen(fd, "r");
	hear(control, "220");
	say(fd, "USER anonymous\r\n");
	hear(control, "331");
	say(fd, "PASS guest@\r\n");
	hear(control, "230");
	say(fd, "TYPE I\r\n");
	hear(control, "200");
	fetch(fd, control, argv[2], argv[4]);
	say(fd, "QUIT\r\n");
	fclose(control);
	return fflush(stdout) != 0;
}
