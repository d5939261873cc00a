/* SPDX-License-Identifier: MIT */
#include "server/config.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "net/log.h"
#include "policy/diag.h"
#include "proto/err.h"
#include "server/auth/pamcheck.h"
#include "server/auth/password.h"

/* What the text made of --listen options is called in messages. */
static const char listen_name[] = "(--listen)";
/* What follows the listeners that were named instead of the built-in ones. */
static const char default_rules[] = "allow from loopback to any\n";

/* A configuration being made, and whom to tell what is wrong with it. */
struct loading {
	struct config *config;
	config_complain_fn *complain;
	void *ctx;
};

/* ---- password files ---- */

static void complain_about(
    const struct loading *l, const struct policy_auth *auth, const char *path, const char *what)
{
	char text[1024];

	snprintf(text, sizeof(text), "%s:%u: password file %s: %s", auth->at.file, auth->at.line,
	    path, what);
	l->complain(l->ctx, text);
}

/* As private as it should be, or not at all. */
static int find_passwords(struct loading *l, const struct policy_auth *auth, const char *path,
    const struct text **ret_text)
{
	const char *why;
	int err = texts_need(&l->config->texts, path, true, ret_text, &why);

	if (err == -ENOENT)
		why = "does not exist; make it with 'tabi passwd'";
	if (err)
		complain_about(l, auth, path, why);
	return err;
}

static int read_passwords(struct loading *l, const struct policy_auth *auth, const char *path,
    struct password_table **ret)
{
	const char *why = NULL;
	const struct text *t;
	unsigned line = 0;
	char text[400];
	int err = find_passwords(l, auth, path, &t);

	if (err)
		return err;
	err = password_table_new(ret, t->data, t->len, &line, &why);
	if (err == 0)
		return 0;
	snprintf(text, sizeof(text), "line %u: %s", line, why ? why : strerror(-err));
	complain_about(l, auth, path, text);
	return err;
}

/* A service of a misspelt name would be PAM's `other`, whatever that lets in. */
static int find_service(struct loading *l, const struct policy_auth *auth)
{
	static const char *const places[] = {"/etc/pam.d", "/usr/lib/pam.d", "/usr/share/pam.d"};
	char text[400], path[128];

	if (l->config->texts.sealed || access("/etc/pam.d", F_OK) < 0)
		return 0;
	for (size_t i = 0; i < sizeof(places) / sizeof(places[0]); i++) {
		snprintf(path, sizeof(path), "%s/%s", places[i], auth->service);
		if (access(path, F_OK) == 0)
			return 0;
	}
	snprintf(text, sizeof(text), "%s:%u: PAM service %s: there is no file /etc/pam.d/%s",
	    auth->at.file, auth->at.line, auth->service, auth->service);
	l->complain(l->ctx, text);
	return ERR_MALFORMED;
}

static int read_all_passwords(struct loading *l)
{
	const struct policy *policy = l->config->policy;
	int err = 0;

	l->config->passwords = calloc(policy->n_auths + 1, sizeof(struct password_table *));
	if (!l->config->passwords)
		return -ENOMEM;
	for (size_t i = 0; i < policy->n_auths; i++) {
		const struct policy_auth *a = &policy->auths[i];
		char *path;
		int e;

		if (a->service && find_service(l, a) != 0)
			err = ERR_MALFORMED;
		if (a->method != AUTH_PASSWORD || !a->file)
			continue;
		path = texts_path_beside(a->file, a->at.file);
		e = path ? read_passwords(l, a, path, &l->config->passwords[i]) : -ENOMEM;
		free(path);
		if (e)
			err = e;
	}
	return err;
}

/* ---- loading ---- */

int config_check_built(const struct policy *policy, struct diagnostics *diags)
{
	size_t before = diags->n;

	for (size_t i = 0; i < policy->n_auths; i++) {
		const struct policy_auth *auth = &policy->auths[i];

		if (auth->service && !pamcheck_built)
			diag_add(diags, &auth->at, NULL, "this tabi was built without PAM");
		if (auth->method == AUTH_GSSAPI && !gssapi_built)
			diag_add(diags, &auth->at, NULL, "this tabi was built without GSS-API");
	}
	for (size_t p = 0; p < policy->n_proxies; p++)
		for (size_t m = 0; m < policy->proxies[p].n_members; m++) {
			const struct policy_gss *gss = &policy->proxies[p].members[m].gss;

			if (gss->at.line > 0 && !gssapi_built)
				diag_add(
				    diags, &gss->at, NULL, "this tabi was built without GSS-API");
		}
	return diags->n > before || diags->lost ? ERR_MALFORMED : 0;
}

static void complain_all(const struct loading *l, const struct diagnostics *diags, int err)
{
	char text[4096];

	for (size_t i = 0; i < diags->n; i++) {
		diagnostic_format(&diags->list[i], text, sizeof(text));
		l->complain(l->ctx, text);
	}
	if (err && diags->n == 0)
		l->complain(l->ctx, err == -ENOMEM ? "out of memory" : err_text(err));
}

/* Parses `name` and all that belongs to it. Takes over the reference to l->config. */
static int finish(struct loading *l, const char *name, struct config **ret_config)
{
	struct diagnostics diags = {0};
	int err;

	err = policy_parse(&l->config->texts.source, name, &l->config->policy, &diags);
	if (!err)
		err = policy_check_servable(l->config->policy, &diags);
	if (!err)
		err = config_check_built(l->config->policy, &diags);
	complain_all(l, &diags, err);
	diagnostics_free(&diags);
	if (!err)
		err = read_all_passwords(l);
	if (!err)
		err = certs_load(&l->config->certs, l->config->policy, &l->config->texts,
		    l->complain, NULL, l->ctx);
	if (!err)
		err = keytabs_load(&l->config->keytabs, l->config->policy, &l->config->texts,
		    l->complain, NULL, l->ctx);
	if (!err)
		err = upstreams_load(&l->config->upstreams, l->config->policy, &l->config->texts,
		    l->complain, NULL, l->ctx);
	if (err)
		config_unref(l->config);
	else
		*ret_config = l->config;
	return err;
}

static struct config *config_new(void)
{
	struct config *config = calloc(1, sizeof(*config));

	if (config) {
		config->refs = 1;
		texts_init(&config->texts);
	}
	return config;
}

int config_load(
    const char *path, config_complain_fn *complain, void *ctx, struct config **ret_config)
{
	struct loading l = {.config = config_new(), .complain = complain, .ctx = ctx};
	const struct text *t;
	char text[512];
	int err;

	if (!l.config)
		return -ENOMEM;
	err = texts_read(&l.config->texts, path, &t);
	if (!err)
		return finish(&l, path, ret_config);
	snprintf(text, sizeof(text), "%s: cannot be read: %s", path, strerror(-err));
	complain(ctx, text);
	config_unref(l.config);
	return err;
}

/* The text that stands for a file where there is none; malloc'ed, or NULL. */
static char *default_text(const char *const *listen, size_t n_listen)
{
	char *text = NULL;
	size_t len = 0;
	FILE *f;

	if (n_listen == 0)
		return strdup(parse_default_text);
	f = open_memstream(&text, &len);
	if (!f)
		return NULL;
	for (size_t i = 0; i < n_listen; i++)
		fprintf(f, "listen %s\n", listen[i]);
	fputs(default_rules, f);
	if (fclose(f) == 0)
		return text;
	free(text);
	return NULL;
}

int config_load_text(const char *name, const char *text, config_complain_fn *complain, void *ctx,
    struct config **ret_config)
{
	struct loading l = {.config = config_new(), .complain = complain, .ctx = ctx};

	if (l.config && texts_add(&l.config->texts, name, text, strlen(text)))
		return finish(&l, name, ret_config);
	config_unref(l.config);
	return -ENOMEM;
}

int config_load_default(const char *const *listen, size_t n_listen, config_complain_fn *complain,
    void *ctx, struct config **ret_config)
{
	const char *name = n_listen > 0 ? listen_name : parse_default_name;
	char *text = default_text(listen, n_listen);
	int err = text ? config_load_text(name, text, complain, ctx, ret_config) : -ENOMEM;

	free(text);
	return err;
}

unsigned config_workers(const struct config *config)
{
	long cores = sysconf(_SC_NPROCESSORS_ONLN);
	unsigned n = config->policy->set.workers;

	if (n == 0)
		n = cores > 0 ? (unsigned)cores : 1;
	return n < CONFIG_WORKERS_MAX ? n : CONFIG_WORKERS_MAX;
}

struct config *config_ref(struct config *config)
{
	config->refs++;
	return config;
}

void config_unref(struct config *config)
{
	if (!config || --config->refs > 0)
		return;
	for (size_t i = 0; config->passwords && i < config->policy->n_auths; i++)
		password_table_free(config->passwords[i]);
	free(config->passwords);
	certs_free(&config->certs);
	keytabs_free(&config->keytabs);
	upstreams_free(&config->upstreams);
	policy_free(config->policy);
	texts_fini(&config->texts);
	free(config);
}

/* ---- from process to process: for each text two lengths, its name, its bytes ---- */

static int write_all(int fd, const void *data, size_t len)
{
	const char *at = data;

	while (len > 0) {
		ssize_t n = write(fd, at, len);

		if (n < 0)
			return -errno;
		at += n;
		len -= (size_t)n;
	}
	return 0;
}

static int write_text(int fd, const struct text *t)
{
	const uint64_t lens[2] = {strlen(t->name), t->len};
	int err = write_all(fd, lens, sizeof(lens));

	if (!err)
		err = write_all(fd, t->name, lens[0]);
	return err ? err : write_all(fd, t->data, lens[1]);
}

int config_to_memfd(const struct config *config)
{
	int fd = memfd_create("tabi-config", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	int err = 0;

	if (fd < 0)
		return -errno;
	for (size_t i = 0; i < config->texts.n && !err; i++)
		err = write_text(fd, &config->texts.list[i]);
	/* Workers share it: none may change what the next one reads. */
	if (!err &&
	    fcntl(fd, F_ADD_SEALS, F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE) < 0)
		err = -errno;
	if (err) {
		close(fd);
		return err;
	}
	return fd;
}

static int unpack(struct texts *texts, const char *data, size_t len)
{
	size_t at = 0;

	while (at < len) {
		uint64_t lens[2];
		char *name;
		bool ok;

		if (len - at < sizeof(lens))
			return ERR_MALFORMED;
		memcpy(lens, data + at, sizeof(lens));
		at += sizeof(lens);
		if (lens[0] > len - at || lens[1] > len - at - lens[0])
			return ERR_MALFORMED;
		name = strndup(data + at, lens[0]);
		ok = name && texts_add(texts, name, data + at + lens[0], lens[1]);
		free(name);
		if (!ok)
			return -ENOMEM;
		at += lens[0] + lens[1];
	}
	texts->sealed = true;
	return texts->n > 0 ? 0 : ERR_MALFORMED;
}

/* Mapped, not read: the offset is one for all who hold the descriptor. NULL on failure. */
static char *map_file(int fd, size_t *ret_len)
{
	struct stat st;
	void *data;

	if (fstat(fd, &st) < 0 || st.st_size <= 0)
		return NULL;
	data = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_SHARED, fd, 0);
	if (data == MAP_FAILED)
		return NULL;
	*ret_len = (size_t)st.st_size;
	return data;
}

/* The supervisor found nothing to complain about; what is left is what a worker alone may not do,
 * such as to read the system's Kerberos configuration. */
static void log_complaint(void *ctx, const char *text)
{
	(void)ctx;
	log_say(LOG_AT_ERROR, "%s", text);
}

int config_from_memfd(int fd, struct config **ret_config)
{
	struct loading l = {.config = config_new(), .complain = log_complaint};
	size_t len = 0;
	char *data;
	int err;

	if (!l.config)
		return -ENOMEM;
	data = map_file(fd, &len);
	err = data ? unpack(&l.config->texts, data, len) : -EIO;
	if (data)
		munmap(data, len);
	if (!err)
		return finish(&l, l.config->texts.list[0].name, ret_config);
	config_unref(l.config);
	return err;
}
