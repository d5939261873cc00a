/* SPDX-License-Identifier: MIT */
#include "lib/options.h"

#include <stdbool.h>
#include <string.h>

#define KNOWN_FLAGS                                                                                \
	((unsigned)TABI_ONE_FLIGHT | (unsigned)TABI_EARLY_STREAM | (unsigned)TABI_NO_RETRY |       \
	    (unsigned)TABI_GSS_NEC | (unsigned)TABI_GSS_ONLY | (unsigned)TABI_UDP_STRAIGHT)

static const char *fault_of(const struct tabi_options *o)
{
	if (o->flags & ~KNOWN_FLAGS)
		return "options.flags has a bit that this version does not know";
	if (o->names < TABI_NAMES_BY_URL || o->names > TABI_NAMES_THERE)
		return "options.names is none of enum tabi_names";
	if (o->gss < TABI_GSS_OFF || o->gss > TABI_GSS_CLEAR)
		return "options.gss is none of enum tabi_gss";
	if ((o->flags & TABI_GSS_ONLY) && o->gss == TABI_GSS_OFF)
		return "TABI_GSS_ONLY without options.gss leaves nothing to offer";
	if (o->payload_len > 0 && !o->payload)
		return "options.payload is NULL and its length is not 0";
	return NULL;
}

/* A structure of a newer header is longer; what it holds there must not be lost silently. */
static bool has_more(const struct tabi_options *theirs)
{
	const unsigned char *bytes = (const unsigned char *)theirs;

	for (size_t i = sizeof(*theirs); i < theirs->size; i++)
		if (bytes[i] != 0)
			return true;
	return false;
}

int options_take(
    const struct tabi_options *theirs, struct tabi_options *ret_options, const char **ret_why)
{
	const char *why;

	memset(ret_options, 0, sizeof(*ret_options));
	if (theirs && theirs->size < sizeof(theirs->size))
		why = "options.size is not set: make the options with tabi_options()";
	else if (theirs && has_more(theirs))
		why = "the options hold something that this version does not know";
	else {
		if (theirs)
			memcpy(ret_options, theirs,
			    theirs->size < sizeof(*theirs) ? theirs->size : sizeof(*theirs));
		why = fault_of(ret_options);
	}
	ret_options->size = sizeof(*ret_options);
	if (why && ret_why)
		*ret_why = why;
	return why ? TABI_E_ARGUMENT : 0;
}
