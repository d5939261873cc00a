/* SPDX-License-Identifier: MIT */
/*
 * What a program must be able to rely on whatever a proxy does, and whatever it does itself.
 *
 * usage: hostile HOW PROXY
 *
 * HOW: deadline  datagrams are waited for 300 ms, and not longer
 *      words     the peer's last words, after sending has failed
 *      ended     nothing is sent after the end, and there is no harm in trying
 *      asked     credentials are asked for a URL without a user alone: prints how often
 *      full      a name is to be looked up without descriptors for that
 *      queue     a failure of TLS leaves nothing in OpenSSL's list of errors (of this thread)
 *      fork      a child of fork() frees its copy of a dial, and the parent gets its connection
 */
#include <dlfcn.h>
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <tabi.h>
#include <time.h>
#include <unistd.h>

#include "common.h"

#define HOST "192.0.2.7"

static long now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static int deadline(const char *proxy)
{
	static char buf[4096];
	struct tabi_address from;
	struct tabi_error error;
	struct tabi_udp *udp = tabi_udp_open(proxy, NULL, &error);
	void *payload;
	long begun = now(), n;

	if (!udp)
		return fail(&error);
	n = tabi_udp_recv(udp, buf, sizeof(buf), 300, &from, &payload);
	begun = now() - begun;
	tabi_udp_close(udp);
	printf("%ld %s\n", n, begun >= 300 && begun < 3000 ? "in time" : "late");
	return 0;
}

static int words(const char *proxy)
{
	static char much[100000], buf[100];
	struct tabi_error error;
	struct tabi_stream *s = tabi_stream_open(proxy, HOST, 80, NULL, &error);
	size_t got = 0;
	long n;

	if (!s)
		return fail(&error);
	do
		n = tabi_stream_send(s, much, sizeof(much), -1);
	while (n > 0);
	tabi_stream_error(s, &error);
	printf("%ld %d %d\n", n, error.code, tabi_stream_send(s, "x", 1, 0) == n);
	while ((n = tabi_stream_recv(s, buf + got, sizeof(buf) - got, -1)) > 0)
		got += (size_t)n;
	printf("%.*s\n", (int)got, buf);
	tabi_stream_close(s);
	return 0;
}

static int ended(const char *proxy)
{
	struct tabi_error error;
	struct tabi_stream *s = tabi_stream_open(proxy, HOST, 80, NULL, &error);
	char buf[100];
	long n;

	if (!s)
		return fail(&error);
	printf("%d ", tabi_stream_end(s, -1));
	printf("%ld ", tabi_stream_send(s, "x", 1, -1));
	printf("%d ", tabi_stream_end(s, -1));
	tabi_stream_error(s, &error);
	n = tabi_stream_recv(s, buf, sizeof(buf), -1);
	printf("%d %.*s\n", error.code, n > 0 ? (int)n : 0, buf);
	tabi_stream_close(s);
	return 0;
}

static int count(void *user, int hop, const char *proxy, struct tabi_credentials *ret)
{
	(void)hop;
	(void)proxy;
	(void)ret;
	++*(int *)user;
	return 0;
}

static int asked(const char *proxy)
{
	struct tabi_options options = tabi_options();
	struct tabi_error error;
	int n = 0;

	options.credentials = count;
	options.user = &n;
	struct tabi_dial *d = tabi_dial_new(proxy, TABI_CONNECT, HOST, 80, &options, &error);
	if (!d)
		return fail(&error);
	tabi_dial_free(d);
	printf("%d\n", n);
	return 0;
}

static int full(const char *proxy)
{
	const struct rlimit few = {4, 4};
	struct tabi_error error;

	if (setrlimit(RLIMIT_NOFILE, &few) != 0 ||
	    tabi_connect(proxy, HOST, 80, NULL, &error) != TABI_NO_SOCKET)
		return 2;
	printf("%d %d\n", error.code, error.error_number == EMFILE);
	return fail(&error);
}

/* The library has opened it; its list is one for all who use it. */
static int queue(const char *proxy)
{
	struct tabi_error error;
	struct tabi_stream *s = tabi_stream_open(proxy, HOST, 80, NULL, &error);
	void *crypto = dlopen("libcrypto.so.3", RTLD_NOW | RTLD_NOLOAD);
	unsigned long (*peek)(void);

	if (s || !crypto)
		return 2;
	*(void **)&peek = dlsym(crypto, "ERR_peek_error");
	printf("%d %lu\n", error.code, peek());
	return 0;
}

static int two(void *user, const char *host, struct tabi_address *ret, int cap)
{
	(void)user;
	(void)host;
	return cap < 2 || tabi_address_set(&ret[0], "127.0.0.1", 0) != 0 ||
		       tabi_address_set(&ret[1], "127.0.0.2", 0) != 0
		   ? 0
		   : 2;
}

static int fork_and_free(const char *proxy)
{
	struct tabi_options options = tabi_options();
	struct tabi_error error;
	struct tabi_dial *d;
	int rc, status;
	pid_t child;

	options.resolve = two;
	options.timeout = 10000;
	d = tabi_dial_new(proxy, TABI_CONNECT, HOST, 80, &options, &error);
	if (!d)
		return fail(&error);
	while ((rc = tabi_dial_step(d)) == 0) {
		struct pollfd p = {.fd = tabi_dial_fd(d)};

		child = fork();
		if (child == 0) {
			tabi_dial_free(d);
			_exit(0);
		}
		waitpid(child, &status, 0);
		p.events = (short)((tabi_dial_events(d) & TABI_READABLE ? POLLIN : 0) |
				   (tabi_dial_events(d) & TABI_WRITABLE ? POLLOUT : 0));
		poll(&p, 1, tabi_dial_timeout(d));
	}
	tabi_dial_error(d, &error);
	printf("%d %d\n", rc, error.code);
	tabi_dial_free(d);
	return 0;
}

int main(int argc, char **argv)
{
	static const struct {
		const char *how;
		int (*test)(const char *proxy);
	} tests[] = {{"deadline", deadline}, {"words", words}, {"ended", ended}, {"asked", asked},
	    {"full", full}, {"queue", queue}, {"fork", fork_and_free}};

	alarm(50);
	for (size_t i = 0; argc == 3 && i < sizeof(tests) / sizeof(tests[0]); i++)
		if (strcmp(argv[1], tests[i].how) == 0)
			return tests[i].test(argv[2]);
	return 2;
}
