/* SPDX-License-Identifier: MIT */
#include "server/drops.h"

static const char *const fields[DROP_COUNT] = {
    [DROP_PROTECTION] = "drop-protection",
    [DROP_MALFORMED] = "drop-malformed",
    [DROP_FRAGMENT] = "drop-fragment",
    [DROP_DENIED] = "drop-denied",
    [DROP_NAME] = "drop-name",
    [DROP_INTERFACE] = "drop-interface",
    [DROP_EGRESS] = "drop-egress",
    [DROP_PROXY] = "drop-proxy",
    [DROP_UNASKED] = "drop-unasked",
    [DROP_RATE] = "drop-rate",
    [DROP_SIZE] = "drop-size",
    [DROP_FULL] = "drop-full",
    [DROP_ERROR] = "drop-error",
};

void drops_log(const struct udp_counts *counts, struct log_record *rec)
{
	for (int i = 0; i < DROP_COUNT; i++)
		if (counts->dropped[i] > 0)
			log_number(rec, fields[i], counts->dropped[i]);
}
