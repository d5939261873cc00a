/* SPDX-License-Identifier: MIT */
/*
 * A client whose proxy knows it by Kerberos, and protects what is said: says what standard input
 * says, and prints the answer. kinit(1) gets the ticket.
 *
 * usage: stream LEVEL PROXY[,PROXY...] HOST PORT <question
 *
 * LEVEL is none, integrity or confidentiality.
 *
 * cc stream.c $(pkg-config --cflags --libs tabi)
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <tabi.h>

static int level_of(const char *word)
{
	if (strcmp(word, "none") == 0)
		return TABI_GSS_CLEAR;
	if (strcmp(word, "integrity") == 0)
		return TABI_GSS_INTEGRITY;
	return strcmp(word, "confidentiality") == 0 ? TABI_GSS_CONFIDENTIAL : TABI_GSS_OFF;
}

static int fail(const struct tabi_error *error)
{
	char text[500];

	fprintf(stderr, "%s\n", tabi_error_text(error, text, sizeof(text)));
	return 1;
}

int main(int argc, char **argv)
{
	struct tabi_options options = tabi_options();
	struct tabi_stream *stream;
	struct tabi_error error;
	char buf[16384];
	size_t len;
	long n = 0;

	if (argc != 5 || level_of(argv[1]) == TABI_GSS_OFF) {
		fprintf(stderr, "usage: stream LEVEL PROXY[,PROXY...] HOST PORT <question\n");
		return 2;
	}
	options.gss = level_of(argv[1]);
	/* No proxy is trusted to do without. */
	options.flags = TABI_GSS_ONLY;
	stream = tabi_stream_open(argv[2], argv[3], (uint16_t)atoi(argv[4]), &options, &error);
	if (!stream)
		return fail(&error);
	while (n >= 0 && (len = fread(buf, 1, sizeof(buf), stdin)) > 0)
		n = tabi_stream_send(stream, buf, len, -1);
	if (n >= 0)
		n = tabi_stream_end(stream, -1);
	while (n >= 0 && (n = tabi_stream_recv(stream, buf, sizeof(buf), -1)) > 0)
		fwrite(buf, 1, (size_t)n, stdout);
	if (n < 0) {
		tabi_stream_error(stream, &error);
		fail(&error);
	}
	tabi_stream_close(stream);
	return n < 0 || fflush(stdout) != 0;
}
