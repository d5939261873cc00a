/* SPDX-License-Identifier: MIT */
#include "server/keytabs.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct loading {
	struct texts *texts;
	config_complain_fn *complain, *unread;
	void *ctx;
};

static void tell(const struct loading *l, config_complain_fn *fn, const struct policy_auth *auth,
    const char *path, const char *why)
{
	char text[1024];

	snprintf(
	    text, sizeof(text), "%s:%u: keytab %s: %s", auth->at.file, auth->at.line, path, why);
	fn(l->ctx, text);
}

static int load(
    const struct loading *l, const struct policy_auth *auth, struct gssapi_service **ret_service)
{
	char *path = texts_path_beside(auth->file, auth->at.file);
	const struct text *t;
	const char *why = NULL;
	char wrong[200];
	int err = path ? texts_need(l->texts, path, true, &t, &why) : -ENOMEM;
	bool unread = l->unread && (err == -ENOENT || err == -EACCES);

	if (err == -ENOENT)
		why = "does not exist; make it with 'ktadd' of kadmin";
	if (!err) {
		err = gssapi_service_new(ret_service, auth, t->data, t->len, wrong, sizeof(wrong));
		why = wrong;
	}
	if (err)
		tell(l, unread ? l->unread : l->complain, auth, path ? path : auth->file,
		    why ? why : strerror(-err));
	free(path);
	return unread ? 0 : err;
}

int keytabs_load(struct keytabs *keytabs, const struct policy *policy, struct texts *texts,
    config_complain_fn *complain, config_complain_fn *unread, void *ctx)
{
	const struct loading l = {texts, complain, unread, ctx};
	int err = 0;

	keytabs->services = calloc(policy->n_auths + 1, sizeof(struct gssapi_service *));
	if (!keytabs->services)
		return -ENOMEM;
	keytabs->n = policy->n_auths;
	for (size_t i = 0; i < keytabs->n; i++) {
		const struct policy_auth *auth = &policy->auths[i];
		int e = auth->method == AUTH_GSSAPI ? load(&l, auth, &keytabs->services[i]) : 0;

		if (e)
			err = e;
	}
	return err;
}

void keytabs_free(struct keytabs *keytabs)
{
	for (size_t i = 0; i < keytabs->n; i++)
		gssapi_service_free(keytabs->services[i]);
	free(keytabs->services);
	keytabs->services = NULL;
	keytabs->n = 0;
}
