/* SPDX-License-Identifier: MIT */
#include "policy/policy.h"

#include "policy/arena.h"

void policy_free(struct policy *policy)
{
	struct arena arena = {0};

	if (!policy)
		return;
	/* The policy itself lies on its own arena. */
	arena.blocks = policy->memory;
	arena_free(&arena);
}
