/* SPDX-License-Identifier: MIT */
/* The statements about who is served and how: listen, auth, limit. */
#include "policy/parse_int.h"

#include <stdio.h>
#include <string.h>

#include "policy/diag.h"
#include "proto/gss.h"

/* sun_path holds 108 bytes with its NUL; this floor does not see the system's headers. */
#define UNIX_PATH_MAX_LEN 107
#define UNIX_MODE_DEFAULT 0600
/* The same as PAMWIRE_SERVICE_MAX. */
#define PAM_SERVICE_MAX 63

static const char listen_expected[] =
    "ADDRESS:PORT, [IPV6]:PORT, *:PORT for every address, or the /path of a Unix socket";

static bool read_port(struct parser *p, const struct token *t, const char *text, size_t len,
    struct policy_listener *l)
{
	if (port_parse(text, len, &l->addr.port) == 0 && l->addr.port != 0)
		return true;
	parse_fail(p, t, "a port from 1 to 65535", "'%.*s' has no valid port", SHOWN(t));
	return false;
}

static size_t count(const struct token *t, char c)
{
	size_t n = 0;

	for (size_t i = 0; i < t->len; i++)
		n += t->text[i] == c;
	return n;
}

/* What is wrong with something that has no ':' or begins with one. */
static void missing_half(struct parser *p, const struct token *t)
{
	struct ip ip;
	uint16_t port;

	if (ip_parse(t->text, t->len, &ip) == 0)
		parse_fail(
		    p, t, "ADDRESS:PORT, such as 127.0.0.1:1080", "'%.*s' has no port", SHOWN(t));
	else if (t->len > 0 && t->text[0] == ':')
		parse_fail(p, t, "*:PORT for every address, or ADDRESS:PORT",
		    "'%.*s' has no address", SHOWN(t));
	else if (port_parse(t->text, t->len, &port) == 0)
		parse_fail(p, t, "*:PORT for every address, or ADDRESS:PORT",
		    "'%.*s' is a port without an address", SHOWN(t));
	else
		parse_fail(p, t, listen_expected, "'%.*s' is not something to listen on", SHOWN(t));
}

/* ADDRESS:PORT with the mistakes that are made in it. */
static bool read_tcp(struct parser *p, const struct token *t, struct policy_listener *l)
{
	const char *colon = t->len ? memrchr(t->text, ':', t->len) : NULL;
	size_t host_len = colon ? (size_t)(colon - t->text) : t->len;
	const char *host = t->text;

	if (!colon || host_len == 0) {
		missing_half(p, t);
		return false;
	}
	if (host[0] != '[' && count(t, ':') > 1) {
		parse_fail(p, t, "brackets around the address, such as [2001:db8::1]:1080",
		    "'%.*s' is an IPv6 address without brackets", SHOWN(t));
		return false;
	}
	if (host[0] == '[' && host_len > 2 && host[host_len - 1] == ']') {
		host++;
		host_len -= 2;
	}
	if (ip_parse(host, host_len, &l->addr.ip)) {
		parse_fail(p, t,
		    "an address, such as 127.0.0.1:1080 or [::1]:1080 for this machine alone",
		    "'%.*s' is not an address", (int)(host_len < 60 ? host_len : 60), host);
		return false;
	}
	return read_port(p, t, colon + 1, t->len - (size_t)(colon - t->text) - 1, l);
}

static bool read_endpoint(struct parser *p, const struct token *t, struct policy_listener *l)
{
	if (!parse_word(p, t, listen_expected))
		return false;
	l->text = t->text;
	l->at = t->at;
	if (t->len > 0 && t->text[0] == '/') {
		l->unix_path = t->text;
		if (t->len <= UNIX_PATH_MAX_LEN)
			return true;
		parse_fail(p, t, "at most 107 bytes", "this path is too long for a Unix socket");
		return false;
	}
	l->addr.kind = ADDR_IP;
	if (t->len > 2 && memcmp(t->text, "*:", 2) == 0) {
		l->any_family = true;
		return read_port(p, t, t->text + 2, t->len - 2, l);
	}
	return read_tcp(p, t, l);
}

enum listen_word {
	LISTEN_OPEN,
	LISTEN_MODE,
	LISTEN_TLS,
	LISTEN_TLS_UPGRADE,
	LISTEN_CLIENT_CA,
	LISTEN_ADVERTISE,
	LISTEN_PROXY_PROTOCOL,
	LISTEN_EXTENDED_REPLIES,
	LISTEN_WORDS,
};

static const struct word listen_words[] = {
    {"open", LISTEN_OPEN},
    {"mode", LISTEN_MODE},
    {"tls", LISTEN_TLS},
    {"tls-upgrade", LISTEN_TLS_UPGRADE},
    {"client-ca", LISTEN_CLIENT_CA},
    {"advertise", LISTEN_ADVERTISE},
    {"proxy-protocol", LISTEN_PROXY_PROTOCOL},
    {"extended-replies", LISTEN_EXTENDED_REPLIES},
    {NULL, 0},
};

static bool read_mode(struct parser *p, const struct token *t, struct policy_listener *l)
{
	static const char expected[] = "permissions as octal digits, such as 0660";
	unsigned mode = 0;
	size_t i = 0;

	if (!parse_word(p, t, expected))
		return false;
	for (; i < t->len && i < 4 && t->text[i] >= '0' && t->text[i] <= '7'; i++)
		mode = mode * 8 + (unsigned)(t->text[i] - '0');
	if (i == 0 || i < t->len || mode > 0777) {
		parse_fail(p, t, expected, "'%.*s' is not a mode", SHOWN(t));
		return false;
	}
	l->unix_mode = mode;
	return true;
}

static const char advertise_expected[] = "the address that others reach, such as 203.0.113.7";

/* An address that nobody can connect to tells nobody where to connect. */
static void advertise_item(struct parser *p, const struct token *t, void *context)
{
	struct policy_listener *l = context;
	struct ip ip;

	if (ip_parse(t->text, t->len, &ip) || ip_classes(&ip) & (IP_UNSPECIFIED | IP_MULTICAST)) {
		parse_fail(p, t, advertise_expected, "'%.*s' is not an address to reach", SHOWN(t));
		return;
	}
	if (l->n_advertise == 2 ||
	    (l->n_advertise == 1 && ip_is_v4(&l->advertise[0]) == ip_is_v4(&ip))) {
		parse_fail(p, t, "one IPv4 and one IPv6 address at most",
		    "'%.*s' is a second address of its family", SHOWN(t));
		return;
	}
	l->advertise[l->n_advertise++] = ip;
}

/* Names of nets may be defined below, so the list is read once all is. */
static void sender_item(struct parser *p, const struct token *t, void *context)
{
	(void)p;
	(void)t;
	(void)context;
}

/* `proxy-protocol from LIST`: whoever may send a header can say that he is anybody. The file's mode
 * says who may reach a Unix socket. */
static const struct token *proxy_protocol(
    struct parser *p, const struct token *t, struct policy_listener *l)
{
	l->proxy_protocol = true;
	if (l->unix_path && !token_is(t + 1, "from"))
		return t + 1;
	if (l->unix_path)
		parse_fail(p, t + 1, "nothing; the mode of the socket says who may",
		    "who connects to a Unix socket has no address");
	else if (!token_is(t + 1, "from"))
		parse_fail(p, t + 1, "from and the addresses of the balancers",
		    "'proxy-protocol' must say from whom");
	else
		return parse_list(
		    p, t + 2, "nets, such as office or 10.0.0.0/8", sender_item, NULL);
	return NULL;
}

/* One word after the endpoint. Returns the token behind it and its values, or NULL. */
static const struct token *listen_word(
    struct parser *p, const struct token *t, enum listen_word word, struct policy_listener *l)
{
	switch (word) {
	case LISTEN_OPEN:
		l->open = true;
		return t + 1;
	case LISTEN_MODE:
		if (!l->unix_path) {
			parse_fail(p, t, NULL, "'mode' is for Unix sockets only");
			return NULL;
		}
		return read_mode(p, t + 1, l) ? t + 2 : NULL;
	case LISTEN_TLS:
	case LISTEN_TLS_UPGRADE:
		if (!parse_path(p, t + 1, "the file of the certificate") ||
		    !parse_path(p, t + 2, "the file of the certificate's key"))
			return NULL;
		l->tls_certificate = t[1].text;
		l->tls_key = t[2].text;
		l->tls_upgrade = word == LISTEN_TLS_UPGRADE;
		return t + 3;
	case LISTEN_CLIENT_CA:
		if (!parse_path(p, t + 1, "the file of the certificates"))
			return NULL;
		l->client_ca = t[1].text;
		return t + 2;
	case LISTEN_ADVERTISE:
		return parse_list(p, t + 1, advertise_expected, advertise_item, l);
	case LISTEN_EXTENDED_REPLIES:
		l->extended_replies = true;
		return t + 1;
	case LISTEN_PROXY_PROTOCOL:
		return proxy_protocol(p, t, l);
	case LISTEN_WORDS:
		break;
	}
	return NULL;
}

static bool same_endpoint(const struct policy_listener *a, const struct policy_listener *b)
{
	if (a->unix_path || b->unix_path)
		return a->unix_path && b->unix_path && strcmp(a->unix_path, b->unix_path) == 0;
	if (a->addr.port != b->addr.port)
		return false;
	if (a->any_family || b->any_family)
		return (a->any_family || ip_classes(&a->addr.ip) & IP_UNSPECIFIED) &&
		       (b->any_family || ip_classes(&b->addr.ip) & IP_UNSPECIFIED);
	return ip_equal(&a->addr.ip, &b->addr.ip);
}

/* `senders`: the word `from`, or NULL. */
static void add_listener(struct parser *p, const struct token *t, const struct policy_listener *l,
    const struct token *senders)
{
	struct policy *policy = p->policy;
	struct policy_listener *list;
	const struct token **all;
	struct definition *d;

	for (size_t i = 0; i < policy->n_listeners; i++) {
		const struct policy_listener *other = &policy->listeners[i];

		if (same_endpoint(l, other)) {
			parse_fail(p, t, NULL, "'%.*s' is already listened on by '%.60s' of %s:%u",
			    SHOWN(t), other->text, other->at.file, other->at.line);
			return;
		}
	}
	d = parse_add_name(p, NAMES_LISTENER, t);
	list = arena_append(&p->arena, policy->listeners, policy->n_listeners, sizeof(*list));
	all = arena_append(&p->arena, p->senders, policy->n_listeners, sizeof(*all));
	if (!d || !list || !all)
		return;
	d->listener = policy->n_listeners;
	policy->listeners = list;
	p->senders = all;
	all[policy->n_listeners] = senders;
	list[policy->n_listeners++] = *l;
}

void serve_listen(struct parser *p, const struct token *t)
{
	struct policy_listener l = {.unix_mode = UNIX_MODE_DEFAULT};
	struct position seen[LISTEN_WORDS] = {0};
	const struct token *endpoint = t + 1, *senders = NULL;

	if (!read_endpoint(p, endpoint, &l))
		return;
	l.optional = strcmp(l.at.file, parse_default_name) == 0;
	for (t += 2; t && t->kind != TOKEN_END;) {
		const struct word *w = parse_keyword(p, t, listen_words, "word");

		if (!w || !parse_once(p, &seen[w->value], t))
			return;
		if (w->value == LISTEN_PROXY_PROTOCOL && !l.unix_path)
			senders = t + 1;
		t = listen_word(p, t, (enum listen_word)w->value, &l);
	}
	if (t && seen[LISTEN_TLS].line != 0 && seen[LISTEN_TLS_UPGRADE].line != 0)
		diag_add(p->diags, &seen[LISTEN_TLS_UPGRADE], "one of both",
		    "'tls-upgrade' with 'tls', inside of which there is nothing to upgrade");
	else if (t && l.client_ca && seen[LISTEN_TLS].line == 0)
		diag_add(p->diags, &seen[LISTEN_CLIENT_CA], "tls CERTIFICATE KEY as well",
		    "'client-ca' without 'tls'");
	else if (t)
		add_listener(p, endpoint, &l, senders);
}

void serve_senders(struct parser *p)
{
	for (size_t i = 0; i < p->policy->n_listeners; i++) {
		struct policy_rule *rule;

		if (!p->senders[i])
			continue;
		rule = arena_alloc(&p->arena, sizeof(*rule));
		if (!rule)
			return;
		rule_parse_from(p, p->senders[i], rule);
		p->policy->listeners[i].senders = rule;
	}
}

enum auth_word {
	AUTH_WORD_NONE,
	AUTH_WORD_PASSWORD,
	AUTH_WORD_GSSAPI,
	AUTH_WORD_PAM,
	AUTH_WORD_IDENT
};

static const struct word auth_words[] = {
    {"none", AUTH_WORD_NONE},
    {"password", AUTH_WORD_PASSWORD},
    {"gssapi", AUTH_WORD_GSSAPI},
    {"pam", AUTH_WORD_PAM},
    {"ident", AUTH_WORD_IDENT},
    {NULL, 0},
};

static void add_auth(
    struct parser *p, const struct auth_tokens *tokens, const struct policy_auth *auth)
{
	struct policy *policy = p->policy;
	struct policy_auth *list =
	    arena_append(&p->arena, policy->auths, policy->n_auths, sizeof(*list));
	struct auth_tokens *all = arena_append(&p->arena, p->auths, policy->n_auths, sizeof(*all));

	if (!list || !all)
		return;
	policy->auths = list;
	p->auths = all;
	all[policy->n_auths] = *tokens;
	list[policy->n_auths++] = *auth;
}

enum gssapi_word { GSSAPI_SERVICE, GSSAPI_REALM, GSSAPI_LEVEL, GSSAPI_NEC, GSSAPI_CLIENTS };
#define GSSAPI_WORDS 4

static const struct word gssapi_words[] = {
    {"service", GSSAPI_SERVICE},
    {"realm", GSSAPI_REALM},
    {"level", GSSAPI_LEVEL},
    {"nec", GSSAPI_NEC},
    /* These are for rule_parse_client(). */
    {"from", GSSAPI_CLIENTS},
    {"listener", GSSAPI_CLIENTS},
    {"user", GSSAPI_CLIENTS},
    {NULL, 0},
};

static const struct word gssapi_levels[] = {
    {"integrity", GSS_LEVEL_INTEGRITY},
    {"confidential", GSS_LEVEL_CONFIDENTIAL},
    {"clear", GSS_LEVEL_CLEAR},
    {NULL, 0},
};

static void level_item(struct parser *p, const struct token *t, void *context)
{
	const struct word *w = parse_keyword(p, t, gssapi_levels, "level of protection");
	struct policy_auth *auth = context;

	if (w)
		auth->levels |= GSS_LEVEL_BIT((unsigned)w->value);
}

/* One word behind the keytab. Returns the token behind it and its values, or NULL. */
static const struct token *gssapi_word(
    struct parser *p, const struct token *t, enum gssapi_word word, struct policy_auth *auth)
{
	switch (word) {
	case GSSAPI_SERVICE:
		auth->gss_service = t[1].text;
		return parse_word(p, t + 1, "the name of a service, such as rcmd") ? t + 2 : NULL;
	case GSSAPI_REALM:
		auth->realm = t[1].text;
		return parse_word(p, t + 1, "a realm, such as EXAMPLE.ORG") ? t + 2 : NULL;
	case GSSAPI_LEVEL:
		auth->levels = 0;
		return parse_list(p, t + 1, "integrity, confidential or clear", level_item, auth);
	case GSSAPI_NEC:
		auth->nec = true;
		return t + 1;
	case GSSAPI_CLIENTS:
		break;
	}
	return NULL;
}

/* `gssapi keytab FILE [service NAME] [realm NAME] [level LIST] [nec]`. Returns the token behind, or
 * NULL. */
static const struct token *gssapi_values(
    struct parser *p, const struct token *t, struct policy_auth *auth)
{
	struct position seen[GSSAPI_WORDS] = {0};
	const struct word *w;

	auth->levels = GSS_LEVEL_BIT(GSS_LEVEL_INTEGRITY) | GSS_LEVEL_BIT(GSS_LEVEL_CONFIDENTIAL);
	if (!token_is(t, "keytab")) {
		parse_fail(p, t, "keytab FILE", "the keytab of 'gssapi' is missing");
		return NULL;
	}
	if (!parse_path(p, t + 1, "the file of the keytab"))
		return NULL;
	auth->file = t[1].text;
	for (t += 2; t && t->kind != TOKEN_END;) {
		w = parse_keyword(p, t, gssapi_words, "word");
		if (w && w->value == GSSAPI_CLIENTS)
			return t;
		if (!w || !parse_once(p, &seen[w->value], t))
			return NULL;
		t = gssapi_word(p, t, (enum gssapi_word)w->value, auth);
	}
	return t;
}

/* It is the name of a file; PAM itself would cut a path to its last part. */
static bool pam_service(struct parser *p, const struct token *t)
{
	static const char expected[] = "the name of a file in /etc/pam.d, such as tabi";
	bool fits = t->len <= PAM_SERVICE_MAX;

	if (!parse_path(p, t, expected))
		return false;
	for (size_t i = 0; i < t->len && fits; i++)
		fits = t->text[i] > ' ' && t->text[i] < 0x7f && t->text[i] != '/' &&
		       (t->text[i] < 'A' || t->text[i] > 'Z');
	if (!fits || t->text[0] == '.')
		parse_fail(p, t, expected, "'%.*s' is not the name of a PAM service", SHOWN(t));
	return fits && t->text[0] != '.';
}

void serve_auth(struct parser *p, const struct token *t)
{
	const struct token *statement = t++, *next = t + 1;
	const struct word *w = parse_keyword(p, t, auth_words, "method");
	struct policy_auth auth = {.at = t->at, .method = AUTH_NONE};

	if (!w)
		return;
	switch ((enum auth_word)w->value) {
	case AUTH_WORD_NONE:
		break;
	case AUTH_WORD_PASSWORD:
		auth.method = AUTH_PASSWORD;
		auth.file = next->text;
		next = parse_path(p, next, "the path of the password file") ? next + 1 : NULL;
		break;
	case AUTH_WORD_GSSAPI:
		auth.method = AUTH_GSSAPI;
		next = gssapi_values(p, next, &auth);
		break;
	case AUTH_WORD_PAM:
		auth.method = AUTH_PASSWORD;
		auth.service = next->text;
		next = pam_service(p, next) ? next + 1 : NULL;
		break;
	case AUTH_WORD_IDENT:
		auth.method = AUTH_IDENT;
		break;
	}
	if (next)
		add_auth(p, &(struct auth_tokens){statement, next}, &auth);
}

/* The same statement once more is a slip: no client is any different by it. */
static void check_twice(struct parser *p, const struct policy_auth *auth)
{
	for (const struct policy_auth *other = p->policy->auths; other < auth; other++) {
		if (strcmp(other->text, auth->text) != 0)
			continue;
		diag_add(p->diags, &auth->at, NULL,
		    "'%.100s' does what the one of %s:%u does already", auth->text, other->at.file,
		    other->at.line);
		return;
	}
}

static void read_clients(
    struct parser *p, struct policy_auth *auth, const struct auth_tokens *tokens)
{
	struct policy_rule *who = arena_alloc(&p->arena, sizeof(*who));
	const struct token *end = tokens->clients;

	if (!who)
		return;
	rule_parse_client(p, tokens->clients, who);
	auth->who = who;
	if (auth->method == AUTH_NONE && who->users)
		diag_add(p->diags, &auth->at, "'from' and 'listener' alone",
		    "with 'none' nobody proves to be anybody, so there is no 'user'");
	while (end->kind != TOKEN_END)
		end++;
	auth->text = rule_join_words(p, tokens->statement, end);
	if (auth->text)
		check_twice(p, auth);
}

void serve_auth_clients(struct parser *p)
{
	for (size_t i = 0; i < p->policy->n_auths && !diag_full(p->diags); i++)
		read_clients(p, &p->policy->auths[i], &p->auths[i]);
}

enum limit_word { LIMIT_SESSIONS, LIMIT_RATE, LIMIT_QUOTA };

static const struct word limit_words[] = {
    {"sessions", LIMIT_SESSIONS},
    {"rate", LIMIT_RATE},
    {"quota", LIMIT_QUOTA},
    {NULL, 0},
};

static const struct word limit_per[] = {
    {"user", 0},
    {"group", 0},
    {"source", 0},
    {"listener", 0},
    {NULL, 0},
};

static bool limit_value(struct parser *p, const struct token *t, enum limit_word word)
{
	unsigned number;
	uint64_t bytes;

	switch (word) {
	case LIMIT_SESSIONS:
		return parse_number(p, t, 1, 1000000, "a number from 1 to 1000000", &number);
	case LIMIT_RATE:
		return parse_rate(p, t, &bytes);
	case LIMIT_QUOTA:
		return parse_size(p, t, &bytes);
	}
	return false;
}

/* `limit sessions 100 per user`; without `per`, for all together. */
void serve_limit(struct parser *p, const struct token *t)
{
	const struct word *w = parse_keyword(p, t + 1, limit_words, "limit");

	parse_later(p, t);
	if (!w || !limit_value(p, t + 2, (enum limit_word)w->value) || t[3].kind == TOKEN_END)
		return;
	if (!token_is(t + 3, "per"))
		parse_fail(p, t + 3, "per user, per group, per source or per listener",
		    "unknown word '%.*s' after the limit", SHOWN(t + 3));
	else if (parse_keyword(p, t + 4, limit_per, "'per'"))
		parse_end(p, t + 5);
}
