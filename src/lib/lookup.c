/* SPDX-License-Identifier: MIT */
#include "lib/lookup.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "lib/os.h"

/* On a thread. */
static void resolve(void *ctx)
{
	struct lookup *l = ctx;

	l->n = os_resolve(l->host, l->found, LOOKUP_ADDRESSES_MAX, l->said, sizeof(l->said));
}

int lookup_start(struct job **ret_job, const char *host)
{
	struct lookup *l = calloc(1, sizeof(*l));
	int err = -ENOMEM;

	if (!l)
		return err;
	snprintf(l->host, sizeof(l->host), "%s", host);
	err = job_start(ret_job, resolve, free, l);
	if (err < 0)
		free(l);
	return err;
}

struct lookup *lookup_take(struct job *job)
{
	return job_take(job);
}
