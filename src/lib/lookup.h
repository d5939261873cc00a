/* SPDX-License-Identifier: MIT */
/* A name's addresses by the system's resolver, as a job: getaddrinfo() blocks. */
#ifndef TABI_LIB_LOOKUP_H
#define TABI_LIB_LOOKUP_H

#include "lib/job.h"
#include "tabi.h"

#define LOOKUP_ADDRESSES_MAX 16
#define LOOKUP_SAID_MAX 120

struct lookup {
	char host[256];
	struct tabi_address found[LOOKUP_ADDRESSES_MAX]; /* in the system's order, ports are 0 */
	int n;
	char said[LOOKUP_SAID_MAX]; /* by the system where there are none, or "" */
};

/* Begins to look `host` up. Returns 0 or -errno. */
int lookup_start(struct job **ret_job, const char *host);

/* Once the job is over. The caller's, who calls free(). */
struct lookup *lookup_take(struct job *job);

#endif
