/* SPDX-License-Identifier: MIT */
/*
 * Streams as tests want them: says standard input, both ways at once, and prints what comes back.
 *
 * usage: streams HOW LEVEL FLAGS SERVICE PROXY[,PROXY...] HOST PORT <question
 *
 * HOW: poll     tabi_dial_new() and a loop that never waits in a call
 *      bare     tabi_connect(), and the socket
 *      accept   tabi_listen(), which prints where, and tabi_accept_stream()
 *      udp      each line of standard input a datagram, after the answer to the one before
 * LEVEL is of enum tabi_gss, FLAGS of enum tabi_flags; SERVICE may be "" for the usual. TIMEOUT in
 * the environment is options.timeout, and CA
 * is options.tls_ca.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <tabi.h>
#include <unistd.h>

#include "common.h"

static char question[8 << 20];
static size_t question_len;

/* Both directions until each has ended. */
static int talk(struct tabi_stream *stream)
{
	static char buf[100000];
	struct tabi_error error;
	size_t at = 0;
	int ended = 0, over = 0;

	while (!over) {
		long n = TABI_E_AGAIN, m;

		if (at < question_len)
			n = tabi_stream_send(stream, question + at, question_len - at, 0);
		else if (!ended)
			n = tabi_stream_end(stream, 0);
		if (n > 0)
			at += (size_t)n;
		ended |= n == 0 && at == question_len;
		m = tabi_stream_recv(stream, buf, sizeof(buf), 0);
		if (m > 0)
			fwrite(buf, 1, (size_t)m, stdout);
		over = m == 0;
		if ((n < 0 && n != TABI_E_AGAIN) || (m < 0 && m != TABI_E_AGAIN)) {
			tabi_stream_error(stream, &error);
			return fail(&error);
		}
		if (n == TABI_E_AGAIN && m == TABI_E_AGAIN)
			wait_for(tabi_stream_fd(stream), tabi_stream_events(stream), -1);
	}
	fprintf(stderr, "%s", tabi_stream_is_protected(stream) ? "protected\n" : "");
	return fflush(stdout) != 0;
}

static int use(struct tabi_stream *stream)
{
	int rc = stream ? talk(stream) : 1;

	tabi_stream_close(stream);
	return rc;
}

static int by_poll(char **argv, const struct tabi_options *options)
{
	struct tabi_error error;
	struct tabi_dial *dial =
	    tabi_dial_new(argv[5], TABI_CONNECT, argv[6], (uint16_t)atoi(argv[7]), options, &error);
	struct tabi_stream *stream;
	int rc;

	if (!dial)
		return fail(&error);
	while ((rc = tabi_dial_step(dial)) == 0)
		wait_for(tabi_dial_fd(dial), tabi_dial_events(dial), tabi_dial_timeout(dial));
	if (rc < 0) {
		tabi_dial_error(dial, &error);
		tabi_dial_free(dial);
		return fail(&error);
	}
	stream = tabi_dial_take_stream(dial);
	tabi_dial_free(dial);
	return use(stream);
}

static int bare(char **argv, const struct tabi_options *options)
{
	struct tabi_error error;
	char buf[4096];
	ssize_t n;
	int fd = tabi_connect(argv[5], argv[6], (uint16_t)atoi(argv[7]), options, &error);

	if (fd == TABI_NO_SOCKET)
		return fail(&error);
	if (send(fd, question, question_len, MSG_NOSIGNAL) != (ssize_t)question_len)
		return 1;
	shutdown(fd, SHUT_WR);
	while ((n = recv(fd, buf, sizeof(buf), 0)) > 0)
		fwrite(buf, 1, (size_t)n, stdout);
	close(fd);
	return n < 0 || fflush(stdout) != 0;
}

static int accept_one(char **argv, const struct tabi_options *options)
{
	struct tabi_address at;
	struct tabi_error error;
	struct tabi_stream *stream = NULL;
	struct tabi_listener *listener =
	    tabi_listen(argv[5], argv[6], (uint16_t)atoi(argv[7]), options, &error);

	if (!listener)
		return fail(&error);
	tabi_listener_address(listener, &at);
	fprintf(stderr, "%d\n", at.port);
	if (tabi_accept(listener, 0, NULL, &error) != TABI_NO_SOCKET || error.code != TABI_E_GSS)
		fprintf(stderr, "a socket alone was given\n");
	else
		stream = tabi_accept_stream(listener, 20000, NULL, &error);
	tabi_listener_close(listener);
	return stream ? use(stream) : fail(&error);
}

static int datagrams(char **argv, const struct tabi_options *options)
{
	static char buf[70000];
	struct tabi_address to, from;
	struct tabi_error error;
	struct tabi_udp *udp;
	char *line = strtok(question, "\n");
	void *payload;
	long n = 0;

	tabi_address_set(&to, argv[6], (uint16_t)atoi(argv[7]));
	udp = tabi_udp_open(argv[5], options, &error);
	if (!udp)
		return fail(&error);
	if (tabi_udp_send(udp, &to, buf, sizeof(buf)) != TABI_E_TOO_LONG)
		fprintf(stderr, "70000 bytes were sent\n");
	if (tabi_udp_control_fd(udp) == TABI_NO_SOCKET)
		fprintf(stderr, "there is nothing to watch\n");
	for (; line && n >= 0; line = strtok(NULL, "\n")) {
		if (tabi_udp_send(udp, &to, line, strlen(line)) < 0)
			break;
		n = tabi_udp_recv(udp, buf, sizeof(buf), 20000, &from, &payload);
		if (n >= 0)
			printf("%.*s\n", (int)n, (char *)payload);
	}
	fprintf(stderr, "%s", n == TABI_E_CLOSED ? "it has ended\n" : "");
	tabi_udp_close(udp);
	return line || n < 0;
}

int main(int argc, char **argv)
{
	struct tabi_options options = tabi_options();

	signal(SIGPIPE, SIG_IGN);
	if (argc != 8)
		return 2;
	options.gss = atoi(argv[2]);
	options.flags = (unsigned)atoi(argv[3]);
	options.gss_service = argv[4][0] ? argv[4] : NULL;
	if (getenv("TIMEOUT"))
		options.timeout = atoi(getenv("TIMEOUT"));
	options.tls_ca = getenv("CA");
	question_len = fread(question, 1, sizeof(question) - 1, stdin);
	if (strcmp(argv[1], "poll") == 0)
		return by_poll(argv, &options);
	if (strcmp(argv[1], "bare") == 0)
		return bare(argv, &options);
	return argv[1][0] == 'a' ? accept_one(argv, &options) : datagrams(argv, &options);
}
