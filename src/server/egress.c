/* SPDX-License-Identifier: MIT */
#include "server/egress.h"

#include <errno.h>
#include <net/if.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>

#include "net/log.h"
#include "net/sockaddr.h"
#include "policy/egress.h"
#include "policy/rule.h"
#include "proto/err.h"
#include "server/auth/keyed.h"
#include "server/session.h"
#include "server/worker.h"

_Static_assert(KEYED_DIGEST >= FAMILY_COUNT * EGRESS_BITS, "random bits for each family");

/* What is missing is missing for all: one line in that many milliseconds tells it. */
#define TELL_MS 10000

/* Workers have it from the process that they were made of. */
static struct keyed key;

int egress_setup(void)
{
	return keyed_init(&key);
}

/* ---- one out of a pool ---- */

/* Whom the address is for. `buf` takes a letter, so that no name is an address, and the rest. */
static size_t identity(const struct session *s, uint8_t buf[static 1 + UINT8_MAX])
{
	const char *user = s->hs ? s->hs->accept.user : s->labels;
	size_t len = s->hs ? s->hs->accept.user_len : s->user_len;

	buf[0] = len > 0 ? 'u' : 'a';
	if (len > 0) {
		memcpy(buf + 1, user, len);
		return 1 + len;
	}
	memcpy(buf + 1, s->client.b, sizeof(s->client.b));
	return 1 + sizeof(s->client.b);
}

static int draw(const struct session *s, bool sticky, uint8_t bits[static KEYED_DIGEST])
{
	uint8_t who[1 + UINT8_MAX];

	if (sticky)
		return keyed_hash(&key, who, identity(s, who), bits);
	/* Requests of up to 256 bytes are neither cut short nor interrupted, getrandom(2). */
	return getrandom(bits, KEYED_DIGEST, 0) == KEYED_DIGEST ? 0 : -errno;
}

static int draw_addresses(
    const struct session *s, const struct policy_egress *e, struct source *source)
{
	uint8_t bits[KEYED_DIGEST];
	int err = draw(s, e->sticky, bits);

	for (int i = 0; i < FAMILY_COUNT && !err; i++) {
		source->has[i] = e->has[i];
		if (e->has[i])
			source->ip[i] =
			    egress_choose(e, (enum family)i, bits + (size_t)i * EGRESS_BITS);
	}
	return err;
}

/* ---- the source ---- */

/* A link-local address would need its link, and a Unix socket has none. */
static int use_reached(const struct session *s, struct source *source)
{
	struct addr local = socket_local_addr(s->relay.end[RELAY_CLIENT].fd);
	enum family family;

	if (local.kind != ADDR_IP)
		return ERR_EGRESS;
	family = ip_is_v4(&local.ip) ? FAMILY_V4 : FAMILY_V6;
	if (family == FAMILY_V6 && ip_own_classes(&local.ip) & IP_LINKLOCAL)
		return ERR_EGRESS;
	source->has[family] = true;
	source->ip[family] = local.ip;
	return 0;
}

int egress_source(const struct session *s, const struct policy_egress *e, struct source *ret_source)
{
	*ret_source = (struct source){.interface = ""};
	switch (e->kind) {
	case EGRESS_ADDRESS:
		memcpy(ret_source->has, e->has, sizeof(e->has));
		memcpy(ret_source->ip, e->ip, sizeof(e->ip));
		break;
	case EGRESS_INTERFACE:
		snprintf(ret_source->interface, sizeof(ret_source->interface), "%s", e->interface);
		break;
	case EGRESS_SAME:
		return use_reached(s, ret_source);
	case EGRESS_POOL:
		return draw_addresses(s, e, ret_source);
	case EGRESS_ANY:
		break;
	}
	return 0;
}

/* ---- what is missing ---- */

/* What of it is not there, or NULL. */
static const char *missing(const struct policy_egress *e, char buf[static IP_TEXT_MAX + 64])
{
	static const uint8_t zero[EGRESS_BITS];
	char text[IP_TEXT_MAX];

	if (e->kind == EGRESS_INTERFACE && if_nametoindex(e->interface) == 0) {
		snprintf(buf, IP_TEXT_MAX + 64, "there is no interface %s", e->interface);
		return buf;
	}
	for (int i = 0; i < FAMILY_COUNT; i++) {
		struct ip ip = e->ip[i];

		if (!e->has[i])
			continue;
		if (e->kind == EGRESS_POOL)
			ip = egress_choose(e, (enum family)i, zero);
		if (ip_is_local(&ip))
			continue;
		snprintf(buf, IP_TEXT_MAX + 64, "%s is not an address of this machine%s",
		    ip_format(&ip, text),
		    e->kind == EGRESS_POOL ? ", and no local route has it" : "");
		return buf;
	}
	return NULL;
}

void egress_log_missing(const struct session *s)
{
	struct worker *w = s->worker;
	const struct policy_egress *e =
	    s->rule ? rule_egress(s->rule, &s->config->policy->set) : NULL;
	const uint64_t now = loop_now(&w->loop);
	char buf[IP_TEXT_MAX + 64];
	const char *what;

	if (!e || now < w->egress_told)
		return;
	w->egress_told = now + TELL_MS;
	what = missing(e, buf);
	if (!what)
		what = e->kind == EGRESS_SAME
			   ? "the client has reached none from which the destination is reached"
			   : "the destination is not reached from there";
	log_say(LOG_AT_WARN, "%s:%u: egress %s: %s", e->at.file, e->at.line, e->text, what);
}

static void tell(const struct policy_egress *e, config_complain_fn *fn, void *ctx)
{
	char buf[IP_TEXT_MAX + 64], text[1024];
	const char *what = missing(e, buf);

	if (!what)
		return;
	snprintf(text, sizeof(text), "%s:%u: egress %s: %s", e->at.file, e->at.line, e->text, what);
	fn(ctx, text);
}

void egress_warn(const struct policy *policy, config_complain_fn *fn, void *ctx)
{
	if (policy->set.egress)
		tell(policy->set.egress, fn, ctx);
	for (size_t i = 0; i < policy->n_rules; i++)
		if (policy->rules[i].egress)
			tell(policy->rules[i].egress, fn, ctx);
}
