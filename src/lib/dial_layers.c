/* SPDX-License-Identifier: MIT */
/* What a dial puts upon its socket: TLS by the caller's functions, and GSS-API's protection. */
#include "lib/dial.h"

#include <errno.h>
#include <string.h>

#include "lib/dial_parts.h"
#include "lib/gsslayer.h"
#include "lib/tls.h"

/* An octet, wrapped or not. */
#define GSS_LEVEL_TOKEN_MAX 1024

/* ---- TLS ---- */

/* `layer` is of the hop that is spoken to. Returns false without memory, and then it gives up. */
static bool put_on_top(struct tabi_dial *d, struct layer *layer)
{
	if (!layer) {
		tabi_give_up(d->machine, TABI_E_MEMORY, 0);
		return false;
	}
	layer->hop = tabi_hop(d->machine);
	tabi_hop_url(d->machine, layer->hop, layer->proxy, sizeof(layer->proxy));
	d->top = layer;
	return true;
}

/* By the caller's functions, a session is inside the one before. NULL where it gives up. */
static struct layer *hooked_tls(struct tabi_dial *d, const char *host)
{
	const struct tabi_tls *tls = d->options.tls;
	struct layer *layer;
	void *session, *below = layer_tls_session(d->top);

	if (!below && !layer_is_bare(d->top)) {
		dial_give_up(
		    d, TABI_E_TLS, 0, "options.tls cannot be inside of GSS-API's protection");
		return NULL;
	}
	session = tls->start(tls->user, d->fd, below, host);
	if (!session) {
		tabi_give_up(d->machine, TABI_E_TLS, 0);
		return NULL;
	}
	layer = layer_of_tls(tls, session, d->top);
	if (!layer) {
		tls->free(session);
		tabi_give_up(d->machine, TABI_E_MEMORY, 0);
	}
	return layer;
}

/* Returns false where it gives up. */
static bool new_tls(struct tabi_dial *d)
{
	const char *host = tabi_hop_host(d->machine, tabi_hop(d->machine)), *why;
	struct layer *layer;

	if (d->options.tls) {
		layer = hooked_tls(d, host);
		return layer && put_on_top(d, layer);
	}
	layer = tls_layer_new(d->options.tls_ca, host, d->top, &why);
	if (layer)
		return put_on_top(d, layer);
	dial_give_up(d, TABI_E_TLS, 0, why);
	return false;
}

/* Its handshake is all that happens until it stands. */
bool dial_start_tls(struct tabi_dial *d)
{
	int rc;

	if (!d->handshaking && !new_tls(d))
		return true;
	d->handshaking = true;
	rc = d->top->ops->handshake(d->top);
	if (rc != 1)
		return dial_stopped(d, rc);
	d->handshaking = false;
	tabi_tls_started(d->machine);
	return true;
}

/* ---- GSS-API (RFC 1961) ---- */

void dial_begin_context(struct tabi_dial *d)
{
	const int hop = tabi_hop(d->machine);
	const char *service = d->options.gss_service ? d->options.gss_service : "rcmd";
	const void *token;
	size_t len;
	int err = -ENOMEM;

	token = tabi_gss_token(d->machine, &len);
	if (!d->login)
		d->login = gsslogin_new(service, tabi_hop_host(d->machine, hop),
		    d->command == TABI_UDP && hop + 1 == tabi_hops(d->machine));
	if (d->login)
		err = gsslogin_begin(d->login, &d->job, token, len);
	if (err < 0) {
		dial_has_no_job(d, TABI_E_GSS, err);
		return;
	}
	d->login = NULL;
	d->doing = INITIATING;
	d->generation++;
}

bool dial_finish_context(struct tabi_dial *d)
{
	const int over = job_is_over(d->job);
	const void *token;
	size_t len;
	int rc;

	if (over == 0)
		return false;
	d->doing = TALKING;
	d->generation++;
	if (over < 0) {
		job_leave(d->job);
		d->job = NULL;
		dial_give_up(d, TABI_E_GSS, 0, "the login was in progress when fork() was called");
		return true;
	}
	d->login = gsslogin_take(d->job);
	d->job = NULL;
	dial_be_patient(d);
	rc = gsslogin_result(d->login, &token, &len);
	if (rc < 0)
		dial_give_up(d, TABI_E_GSS, 0, gsslogin_said(d->login));
	else
		(void)tabi_gss_context(d->machine, rc == 1, token, len);
	return true;
}

void dial_ask_level(struct tabi_dial *d)
{
	const unsigned char octet = tabi_gss_octet(d->machine);
	unsigned char token[GSS_LEVEL_TOKEN_MAX] = {octet};
	size_t len = 1;

	if (!(d->options.flags & TABI_GSS_NEC) && gssapi_wrap(gsslogin_context(d->login), false,
						      &octet, 1, token, sizeof(token), &len) < 0)
		dial_give_up(d, TABI_E_GSS, 0, "the level of protection cannot be wrapped");
	else
		(void)tabi_gss_level(d->machine, token, len);
}

/* From here on everything is in frames, where that was agreed on. */
void dial_take_level(struct tabi_dial *d)
{
	unsigned char octets[GSS_LEVEL_TOKEN_MAX];
	const int hop = tabi_hop(d->machine);
	const void *token;
	size_t len;
	bool genuine;
	int level;

	token = tabi_gss_token(d->machine, &len);
	genuine = len <= sizeof(octets);
	if (genuine && (d->options.flags & TABI_GSS_NEC))
		memcpy(octets, token, len);
	else if (genuine)
		genuine = gssapi_unwrap(gsslogin_context(d->login), false, false, token, len,
			      octets, sizeof(octets), &len) == 0;
	level = tabi_gss_answer(d->machine, genuine ? octets : NULL, len);
	if (level > 0) {
		struct gss_ctx_id_struct *context = gsslogin_take_context(d->login);
		struct layer *layer = gsslayer_new(context, level == 2, d->top);

		if (!layer)
			gssapi_context_free(context);
		if (put_on_top(d, layer))
			d->protected_hop = hop;
	}
	gsslogin_free(d->login);
	d->login = NULL;
}

struct layer *dial_protects_datagrams(const struct tabi_dial *d)
{
	return d->protected_hop >= 0 && d->protected_hop + 1 == tabi_hops(d->machine) ? d->top
										      : NULL;
}
