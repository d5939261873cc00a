/* SPDX-License-Identifier: MIT */
/* Configuration text in, a policy or a list of mistakes out. */
#ifndef TABI_POLICY_PARSE_H
#define TABI_POLICY_PARSE_H

#include "policy/policy.h"

/*
 * What is used without a configuration file, and the name to parse it under: listeners of a file of
 * that name are `optional`.
 */
extern const char parse_default_text[];
extern const char parse_default_name[];

/* One mistake, ready to show: where, what, and what was expected. */
struct diagnostic {
	const char *file;
	unsigned line, column, width; /* from 1; `width` columns are underlined */
	const char *source;           /* the line itself, without its newline */
	const char *message;          /* "unknown word 'tcp' after 'command'" */
	const char *expected; /* "connect, bind, udp or resolve"; NULL where nothing helps */
};

struct diagnostics {
	struct diagnostic *list;
	size_t n;
	bool lost;    /* there are more, for which there was no memory */
	void *memory; /* owned */
};

void diagnostics_free(struct diagnostics *d);

/*
 * Writes one diagnostic as text of several lines into `buf`, cut to `cap`:
 *
 *     tabi.conf:7:18: unknown command 'tcp'
 *         allow command tcp from office
 *                       ^~~
 *     expected connect, bind, udp or resolve
 *
 * Control bytes of the source are shown as '?'. Returns the length without NUL.
 */
size_t diagnostic_format(const struct diagnostic *d, char *buf, size_t cap);

/*
 * How the parser gets at files: pure, so somebody else reads them. `name` is the path to open: what
 * `include` says, put behind the directory of the file that says it where it is relative. Returns 0
 * with text that lives until parsing ends, or -errno.
 */
struct parse_source {
	int (*read)(
	    struct parse_source *src, const char *name, const char **ret_text, size_t *ret_len);
};

/*
 * Parses `name` (and what it includes) in one pass, collecting every mistake. On success returns 0
 * and
 * `*ret_policy` (policy_free()); otherwise ERR_MALFORMED and at least one diagnostic, or -ENOMEM.
 * `*ret_diags` is always to be freed; on success it is empty.
 */
int policy_parse(struct parse_source *src, const char *name, struct policy **ret_policy,
    struct diagnostics *ret_diags);

/*
 * May this configuration be served by this version? Adds a diagnostic for each word whose effect is
 * not built yet
 * ("not in this version"), for a configuration that lets strangers in without authentication from a
 * listener that is neither on loopback nor `open`, and for one without listeners. Returns 0 or
 * ERR_MALFORMED.
 */
int policy_check_servable(const struct policy *policy, struct diagnostics *diags);

#endif
