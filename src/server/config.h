/* SPDX-License-Identifier: MIT */
/*
 * A configuration as the processes hold it: the policy and the files it was made of.
 *
 * Theory of operation. Only the supervisor reads files. It keeps every text it read (the
 * configuration, what that includes, password files, certificates) in a bundle, and hands the
 * bundle to the workers, who make the same policy of it with the same parser. So workers need no
 * file, and what the supervisor found valid is valid there.
 */
#ifndef TABI_SERVER_CONFIG_H
#define TABI_SERVER_CONFIG_H

#include "policy/parse.h"
#include "policy/policy.h"
#include "server/certs.h"
#include "server/keytabs.h"
#include "server/texts.h"
#include "server/upstreams.h"

struct password_table;

/* Immutable once made, shared by reference: sessions keep the one they were decided under. */
struct config {
	unsigned refs; /* counted in the loop's thread only */
	struct policy *policy;
	struct password_table **passwords; /* one for each `auth`; NULL where it has no file */
	struct certs certs;
	struct keytabs keytabs;
	struct upstreams upstreams;
	struct texts texts;
};

/*
 * Reads and checks the file at `path`. Every mistake goes to `complain`. Returns 0 and
 * `*ret_config` (config_unref()) or a negative error after at least one complaint.
 */
int config_load(
    const char *path, config_complain_fn *complain, void *ctx, struct config **ret_config);

/* The configuration without a file: safe, on loopback, or with the given listening addresses
 * instead. */
int config_load_default(const char *const *listen, size_t n_listen, config_complain_fn *complain,
    void *ctx, struct config **ret_config);

/* The same of a text that is no file; messages call it `name`. */
int config_load_text(const char *name, const char *text, config_complain_fn *complain, void *ctx,
    struct config **ret_config);

/* Does it ask for nothing that was left out of this build? Adds a diagnostic for each word that
 * does. Returns 0 or ERR_MALFORMED. */
int config_check_built(const struct policy *policy, struct diagnostics *diags);

/* How many workers to run, 1 to CONFIG_WORKERS_MAX: what it says, or as many as there are cores. */
#define CONFIG_WORKERS_MAX 256
unsigned config_workers(const struct config *config);

struct config *config_ref(struct config *config);
/* NULL is fine. */
void config_unref(struct config *config);

/* The bundle in a sealed memory file: returns a descriptor (read it from offset 0) or -errno. */
int config_to_memfd(const struct config *config);
/* The other way round, in the worker. Returns 0 or a negative error. */
int config_from_memfd(int fd, struct config **ret_config);

#endif
