/* SPDX-License-Identifier: MIT */
#include "server/upstreams.h"

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

static void tell(const struct loading *l, config_complain_fn *whom, const struct policy_member *m,
    const char *what, const char *path, const char *why)
{
	char text[1024];

	snprintf(text, sizeof(text), "%s:%u: %s %s: %s", m->at.file, m->at.line, what, path, why);
	whom(l->ctx, text);
}

/* Returns 0, 1 where the file is one to do without, or an error that was told. */
static int find(const struct loading *l, const struct policy_member *m, const char *what,
    const char *file, bool secret, const struct text **ret_text)
{
	char *path = texts_path_beside(file, m->at.file);
	const char *why = strerror(ENOMEM);
	int err = path ? texts_need(l->texts, path, secret, ret_text, &why) : -ENOMEM;
	bool unread = l->unread && (err == -ENOENT || err == -EACCES);

	if (err)
		tell(l, unread ? l->unread : l->complain, m, what, path ? path : file, why);
	free(path);
	return unread ? 1 : err;
}

/* ---- credentials ---- */

/* Returns false where it is none, or too long. */
static bool copy_credential(const char *text, size_t len, char *to, uint8_t *ret_len, bool *ret_has)
{
	if (len == 0 || len > URL_CREDENTIAL_MAX)
		return false;
	memcpy(to, text, len);
	*ret_len = (uint8_t)len;
	*ret_has = true;
	return true;
}

/* The first line: USER:PASSWORD, or the password of the user whom the URL names. */
static bool use_line(struct url *url, const char *text, size_t len)
{
	const char *end = memchr(text, '\n', len);
	const char *colon;

	if (end)
		len = (size_t)(end - text);
	if (len > 0 && text[len - 1] == '\r')
		len--;
	if (url->has_user)
		return copy_credential(
		    text, len, url->password, &url->password_len, &url->has_password);
	colon = memchr(text, ':', len);
	return colon &&
	       copy_credential(
		   text, (size_t)(colon - text), url->user, &url->user_len, &url->has_user) &&
	       copy_credential(colon + 1, len - (size_t)(colon + 1 - text), url->password,
		   &url->password_len, &url->has_password);
}

static int read_password(
    const struct loading *l, const struct policy_member *m, struct upstream_member *u)
{
	struct url *last = &u->hops[m->n_hops - 1];
	const bool named = last->has_user;
	const struct text *t;
	int err = find(l, m, "password file", m->password_file, true, &t);

	if (err)
		return err > 0 ? 0 : err;
	if (use_line(last, t->data, t->len))
		return 0;
	tell(l, l->complain, m, "password file", m->password_file,
	    named ? "its first line is no password of 1 to 255 bytes"
		  : "its first line is not USER:PASSWORD, each of 1 to 255 bytes");
	return ERR_MALFORMED;
}

/* ---- certificates ---- */

static const char *const part_names[] = {
    [TLS_CERTIFICATE] = "certificate file",
    [TLS_KEY] = "key file",
    [TLS_CA] = "ca file",
};

/* Returns as find() does; nothing where `file` is NULL. */
static int find_pem(const struct loading *l, const struct policy_member *m, enum tls_part part,
    const char *file, struct tls_pem *ret_pem)
{
	const struct text *t;
	int err = file ? find(l, m, part_names[part], file, part == TLS_KEY, &t) : 0;

	if (file && err == 0)
		*ret_pem = (struct tls_pem){t->data, t->len};
	return err;
}

static int read_tls(
    const struct loading *l, const struct policy_member *m, struct upstream_member *u)
{
	const char *const files[] = {m->tls_certificate, m->tls_key, m->ca};
	struct tls_pem pem[3] = {{NULL, 0}};
	struct tls_client_options options;
	enum tls_part part;
	const char *why;
	int err = 0;

	for (int i = TLS_CERTIFICATE; i <= TLS_CA; i++) {
		int e = find_pem(l, m, (enum tls_part)i, files[i], &pem[i]);

		if (e < 0 || err == 0)
			err = e;
	}
	if (err)
		return err > 0 ? 0 : err;
	options = (struct tls_client_options){
	    .ca = pem[TLS_CA],
	    .trust_anybody = m->insecure_at.line > 0,
	    .certificate = pem[TLS_CERTIFICATE],
	    .key = pem[TLS_KEY],
	};
	err = tls_client_new(&u->tls, &options, &part, &why);
	if (err && part == TLS_ITSELF)
		tell(l, l->complain, m, "TLS to", m->text, why);
	else if (err)
		tell(l, l->complain, m, part_names[part], files[part], why);
	return err;
}

void upstreams_warn(const struct policy *policy, config_complain_fn *fn, void *ctx)
{
	for (size_t p = 0; p < policy->n_proxies; p++) {
		const struct policy_proxy *proxy = &policy->proxies[p];

		for (size_t m = 0; m < proxy->n_members; m++) {
			const struct position *at = &proxy->members[m].insecure_at;
			char text[1024];

			if (at->line == 0)
				continue;
			snprintf(text, sizeof(text),
			    "%s:%u: 'insecure': anybody on the way can pretend to be the proxy %s, "
			    "read everything and change it",
			    at->file, at->line, proxy->members[m].text);
			fn(ctx, text);
		}
	}
}

/* ---- tickets ---- */

static int make_tickets(const struct loading *l, const struct policy_member *m,
    const struct text *keytab, struct upstream_member *u)
{
	struct kdc_client *client;
	char why[200];
	int err = kdc_client_new(&client, &m->gss, keytab ? keytab->data : NULL,
	    keytab ? keytab->len : 0, why, sizeof(why));

	if (err) {
		tell(l, l->complain, m, m->gss.keytab ? "keytab" : "ccache",
		    m->gss.keytab ? m->gss.keytab : m->gss.cache, why);
		return err;
	}
	u->tickets = tickets_new(client);
	if (!u->tickets)
		kdc_client_unref(client);
	return u->tickets ? 0 : -ENOMEM;
}

static int read_gss(
    const struct loading *l, const struct policy_member *m, struct upstream_member *u)
{
	const struct text *keytab = NULL;
	int err = m->gss.keytab ? find(l, m, "keytab", m->gss.keytab, true, &keytab) : 0;

	u->gss = (struct chain_gss_options){
	    .level = m->gss.level,
	    .nec = m->gss.nec,
	    .demanded = true,
	    .service = m->gss.service,
	};
	if (err)
		return err > 0 ? 0 : err;
	return make_tickets(l, m, keytab, u);
}

/* The ones that are there already, where they are those of the same client. */
static void share_tickets(struct upstream_member *u)
{
	struct tickets **known = &u->state->tickets;

	if (*known && u->tickets && tickets_equal(*known, u->tickets)) {
		tickets_unref(u->tickets);
		u->tickets = tickets_ref(*known);
	} else {
		tickets_unref(*known);
		*known = u->tickets ? tickets_ref(u->tickets) : NULL;
	}
	if (u->tickets)
		u->gss.tickets = tickets_for_chains(u->tickets);
}

void upstreams_stop(struct upstream_state *list)
{
	for (; list; list = list->next)
		if (list->tickets)
			tickets_stop(list->tickets);
}

/* ---- all of them ---- */

static int load_member(
    const struct loading *l, const struct policy_member *m, struct upstream_member *u)
{
	int err = 0, e;

	/* All that is wrong is told. */
	u->hops = calloc(m->n_hops, sizeof(u->hops[0]));
	if (!u->hops)
		return -ENOMEM;
	memcpy(u->hops, m->hops, m->n_hops * sizeof(u->hops[0]));
	if (m->password_file)
		err = read_password(l, m, u);
	e = m->tls ? read_tls(l, m, u) : 0;
	err = err ? err : e;
	e = m->gss.at.line > 0 ? read_gss(l, m, u) : 0;
	return err ? err : e;
}

int upstreams_load(struct upstreams *upstreams, const struct policy *policy, struct texts *texts,
    config_complain_fn *complain, config_complain_fn *unread, void *ctx)
{
	const struct loading l = {texts, complain, unread, ctx};
	int err = 0;

	upstreams->members = calloc(policy->n_proxies + 1, sizeof(upstreams->members[0]));
	if (!upstreams->members)
		return -ENOMEM;
	upstreams->policy = policy;
	for (size_t p = 0; p < policy->n_proxies; p++) {
		const struct policy_proxy *proxy = &policy->proxies[p];

		upstreams->members[p] = calloc(proxy->n_members, sizeof(struct upstream_member));
		if (!upstreams->members[p])
			return -ENOMEM;
		for (size_t m = 0; m < proxy->n_members; m++) {
			int e = load_member(&l, &proxy->members[m], &upstreams->members[p][m]);

			if (e)
				err = e;
		}
	}
	return err;
}

/* A new reference to what is known of it, perhaps nothing yet. */
static struct upstream_state *find_state(
    struct upstream_state **list, const char *group, const char *member)
{
	const size_t size = strlen(group) + strlen(member) + 2;
	struct upstream_state *s = calloc(1, sizeof(*s) + size), *other;

	if (!s)
		return NULL;
	snprintf(s->name, size, "%s %s", group, member);
	for (other = *list; other; other = other->next)
		if (strcmp(other->name, s->name) == 0) {
			free(s);
			other->refs++;
			return other;
		}
	s->refs = 1;
	s->balance.id = balance_id(member);
	s->next = *list;
	*list = s;
	return s;
}

int upstreams_attach(struct upstreams *upstreams, struct upstream_state **list)
{
	upstreams->states = list;
	for (size_t p = 0; p < upstreams->policy->n_proxies; p++) {
		const struct policy_proxy *proxy = &upstreams->policy->proxies[p];

		for (size_t m = 0; m < proxy->n_members; m++) {
			struct upstream_member *u = &upstreams->members[p][m];

			u->state = find_state(list, proxy->name, proxy->members[m].text);
			if (!u->state)
				return -ENOMEM;
			share_tickets(u);
		}
	}
	return 0;
}

static void drop_state(struct upstream_state **list, struct upstream_state *state)
{
	if (!state || --state->refs > 0)
		return;
	while (*list != state)
		list = &(*list)->next;
	*list = state->next;
	tickets_unref(state->tickets);
	free(state);
}

static void free_member(struct upstreams *upstreams, struct upstream_member *u, size_t n_hops)
{
	drop_state(upstreams->states, u->state);
	tickets_unref(u->tickets);
	tls_context_free(u->tls);
	if (u->hops)
		explicit_bzero(u->hops, n_hops * sizeof(u->hops[0]));
	free(u->hops);
}

void upstreams_free(struct upstreams *upstreams)
{
	for (size_t p = 0; upstreams->members && p < upstreams->policy->n_proxies; p++) {
		const struct policy_proxy *proxy = &upstreams->policy->proxies[p];

		for (size_t m = 0; upstreams->members[p] && m < proxy->n_members; m++)
			free_member(upstreams, &upstreams->members[p][m], proxy->members[m].n_hops);
		free(upstreams->members[p]);
	}
	free(upstreams->members);
	*upstreams = (struct upstreams){.members = NULL};
}
