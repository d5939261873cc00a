/* SPDX-License-Identifier: MIT */
#include "server/certs.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proto/err.h"

/* What is being loaded, and whom to tell what is wrong with it. */
struct loading {
	struct texts *texts;
	config_complain_fn *complain, *unread;
	void *ctx;
};

static const char *const part_names[] = {
    [TLS_CERTIFICATE] = "certificate",
    [TLS_KEY] = "key",
    [TLS_CA] = "client-ca",
};

static void tell(const struct loading *l, config_complain_fn *whom,
    const struct policy_listener *listener, enum tls_part part, const char *file, const char *why)
{
	char text[1024];

	if (!file)
		snprintf(text, sizeof(text), "%s:%u: '%s' of %s: %s", listener->at.file,
		    listener->at.line, listener->tls_upgrade ? "tls-upgrade" : "tls",
		    listener->text, why);
	else
		snprintf(text, sizeof(text), "%s:%u: %s file %s: %s", listener->at.file,
		    listener->at.line, part_names[part], file, why);
	whom(l->ctx, text);
}

/* Is this a file that whoever loads can do without? */
static bool is_unread(const struct loading *l, int err)
{
	return l->unread && (err == -ENOENT || err == -EACCES);
}

static int find(const struct loading *l, const struct policy_listener *listener, enum tls_part part,
    const char *file, struct tls_pem *ret_pem)
{
	char *path = texts_path_beside(file, listener->at.file);
	const struct text *text;
	const char *why = strerror(ENOMEM);
	int err = path ? texts_need(l->texts, path, part == TLS_KEY, &text, &why) : -ENOMEM;

	if (!err)
		*ret_pem = (struct tls_pem){text->data, text->len};
	else if (is_unread(l, err))
		tell(l, l->unread, listener, part, path, why);
	else
		tell(l, l->complain, listener, part, path ? path : file, why);
	free(path);
	return err;
}

static int load(const struct loading *l, const struct policy_listener *listener,
    struct tls_context **ret_context)
{
	const char *const files[] = {
	    listener->tls_certificate, listener->tls_key, listener->client_ca};
	struct tls_pem pem[3] = {{NULL, 0}};
	struct tls_server_options options;
	enum tls_part part;
	const char *why;
	int err = 0;

	for (int i = TLS_CERTIFICATE; i <= TLS_CA; i++) {
		int e = files[i] ? find(l, listener, (enum tls_part)i, files[i], &pem[i]) : 0;

		if (e && (err == 0 || is_unread(l, err)))
			err = e;
	}
	if (err)
		return is_unread(l, err) ? 0 : err;
	options = (struct tls_server_options){pem[TLS_CERTIFICATE], pem[TLS_KEY], pem[TLS_CA]};
	err = tls_server_new(ret_context, &options, &part, &why);
	if (err)
		tell(l, l->complain, listener, part, part <= TLS_CA ? files[part] : NULL, why);
	return err;
}

int certs_load(struct certs *certs, const struct policy *policy, struct texts *texts,
    config_complain_fn *complain, config_complain_fn *unread, void *ctx)
{
	const struct loading l = {texts, complain, unread, ctx};
	int err = 0;

	certs->list = calloc(policy->n_listeners + 1, sizeof(struct tls_context *));
	if (!certs->list)
		return -ENOMEM;
	certs->n = policy->n_listeners;
	for (size_t i = 0; i < certs->n; i++) {
		const struct policy_listener *listener = &policy->listeners[i];
		int e = listener->tls_certificate ? load(&l, listener, &certs->list[i]) : 0;

		if (e)
			err = e;
	}
	return err;
}

void certs_free(struct certs *certs)
{
	for (size_t i = 0; i < certs->n; i++)
		tls_context_free(certs->list[i]);
	free(certs->list);
	*certs = (struct certs){NULL, 0};
}
