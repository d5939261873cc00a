/* SPDX-License-Identifier: MIT */
/*
 * A loop that has something else to do every 50 ms, and says so, while a dial goes on: whatever
 * would block it is seen. Calls of the library that took a second or more are errors.
 *
 * usage: ticks TIMEOUT LEVEL PROXY[,PROXY...] HOST PORT      LEVEL is of enum tabi_gss
 *
 * With FORK in the environment the child of a fork() goes on after the third tick, and the parent
 * frees its dial and waits for it.
 */
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <tabi.h>
#include <time.h>
#include <unistd.h>

#include "common.h"

#define TICK_MS 50
#define LONG_MS 1000

static long now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static long next_tick;
static int ticks;

/* Until the dial wants to go on; its own work goes on meanwhile. */
static void wait_a_tick(const struct tabi_dial *dial)
{
	const int timeout = tabi_dial_timeout(dial);
	long left = next_tick - now_ms();

	if (left < 0)
		left = 0;
	if (timeout >= 0 && timeout < left)
		left = timeout;
	wait_for(tabi_dial_fd(dial), tabi_dial_events(dial), (int)left);
	if (now_ms() >= next_tick) {
		printf("tick\n");
		fflush(stdout);
		next_tick = now_ms() + TICK_MS;
		ticks++;
	}
}

/* Only the child returns. */
static void change_process(struct tabi_dial *dial)
{
	pid_t child = fork();
	int status;

	if (child == 0)
		return;
	tabi_dial_free(dial);
	if (waitpid(child, &status, 0) != child)
		exit(1);
	exit(WIFEXITED(status) ? WEXITSTATUS(status) : 1);
}

int main(int argc, char **argv)
{
	struct tabi_options options = tabi_options();
	struct tabi_error error;
	struct tabi_dial *dial;
	char text[500];
	long before, took, longest = 0;
	int rc, forks = getenv("FORK") != NULL;

	if (argc != 6)
		return 2;
	options.timeout = atoi(argv[1]);
	options.gss = atoi(argv[2]);
	dial = tabi_dial_new(
	    argv[3], TABI_CONNECT, argv[4], (uint16_t)atoi(argv[5]), &options, &error);
	if (!dial)
		return 2;
	next_tick = now_ms() + TICK_MS;
	do {
		before = now_ms();
		rc = tabi_dial_step(dial);
		took = now_ms() - before;
		longest = took > longest ? took : longest;
		if (rc == 0)
			wait_a_tick(dial);
		if (forks && ticks == 3) {
			change_process(dial);
			forks = 0;
		}
	} while (rc == 0);
	if (rc == 1) {
		printf("through\n");
	} else {
		tabi_dial_error(dial, &error);
		fprintf(stderr, "%s\n", tabi_error_text(&error, text, sizeof(text)));
	}
	before = now_ms();
	tabi_dial_free(dial);
	took = now_ms() - before;
	longest = took > longest ? took : longest;
	if (longest >= LONG_MS)
		printf("a call took %ld ms\n", longest);
	return rc != 1 || longest >= LONG_MS;
}
