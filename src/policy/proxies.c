/* SPDX-License-Identifier: MIT */
/* The statement `proxy`, and what rules say of proxies. */
#include "policy/parse_int.h"

#include <string.h>

#include "policy/diag.h"
#include "proto/url.h"

const struct word proxy_balances[] = {
    {"first", BALANCE_FIRST},
    {"random", BALANCE_RANDOM},
    {"least", BALANCE_LEAST},
    {"hash", BALANCE_HASH},
    {NULL, 0},
};

const struct word proxy_isolations[] = {
    {"user", ISOLATE_USER},
    {"destination", ISOLATE_DESTINATION},
    {"session", ISOLATE_SESSION},
    {NULL, 0},
};

/* ---- the chain ---- */

struct chain {
	struct policy_member *member;
	struct url *hops; /* of `member`, being read */
};

/* Points into the URL where it goes wrong. `why` says what was expected, too. */
static void bad_url(struct parser *p, const struct token *t, const char *why, size_t offset)
{
	struct position at = t->at;

	if (!t->quoted && offset < at.width) {
		at.column += (unsigned)offset;
		at.width -= (unsigned)offset;
	}
	diag_add(p->diags, &at, NULL, "not the URL of a proxy: %s", why);
}

static void hop_item(struct parser *p, const struct token *t, void *context)
{
	struct chain *chain = context;
	struct policy_member *m = chain->member;
	const char *why = NULL;
	size_t at = 0;

	if (m->n_hops == POLICY_HOPS_MAX) {
		parse_fail(p, t, NULL, "a chain of more than %d proxies", POLICY_HOPS_MAX);
		return;
	}
	if (url_parse(t->text, t->len, &chain->hops[m->n_hops], &why, &at) != 0) {
		bad_url(p, t, why ? why : "malformed", at);
		return;
	}
	m->tls = m->tls || url_wants_tls(&chain->hops[m->n_hops]);
	m->n_hops++;
}

/* What messages and logs call it. */
static const char *text_of(struct parser *p, const struct policy_member *m)
{
	char *text = arena_alloc(&p->arena, m->n_hops * ADDR_TEXT_MAX + 1);
	size_t len = 0;

	for (size_t i = 0; text && i < m->n_hops; i++) {
		char one[ADDR_TEXT_MAX];
		size_t n = strlen(addr_format(&m->hops[i].proxy, one));

		if (i > 0)
			text[len++] = ',';
		memcpy(text + len, one, n);
		len += n;
	}
	return text;
}

static const char expected_url[] = "a URL such as socks5h://edge.example.net:1080";

/* Returns the token behind, or NULL after a mistake. */
static const struct token *read_chain(
    struct parser *p, const struct token *t, struct policy_member *m)
{
	struct chain chain = {.member = m};
	size_t before = p->diags->n;

	chain.hops = arena_alloc(&p->arena, POLICY_HOPS_MAX * sizeof(*chain.hops));
	if (!chain.hops)
		return NULL;
	m->at = t->at;
	m->hops = chain.hops;
	t = parse_list(p, t, expected_url, hop_item, &chain);
	if (!t || p->diags->n > before)
		return NULL;
	m->text = text_of(p, m);
	return t;
}

/* ---- the words behind it ---- */

enum proxy_word {
	PROXY_PASSWORD_FILE,
	PROXY_CA,
	PROXY_CERT,
	PROXY_SERVER_NAME,
	PROXY_INSECURE,
	PROXY_GSSAPI, /* and what belongs to it */
	PROXY_PRINCIPAL,
	PROXY_SERVICE,
	PROXY_LEVEL,
	PROXY_NEC,
	PROXY_ISOLATE,
	PROXY_BALANCE,
	PROXY_WORDS
};

static const struct word proxy_words[] = {
    {"password-file", PROXY_PASSWORD_FILE},
    {"ca", PROXY_CA},
    {"cert", PROXY_CERT},
    {"server-name", PROXY_SERVER_NAME},
    {"insecure", PROXY_INSECURE},
    {"gssapi", PROXY_GSSAPI},
    {"principal", PROXY_PRINCIPAL},
    {"service", PROXY_SERVICE},
    {"level", PROXY_LEVEL},
    {"nec", PROXY_NEC},
    {"isolate", PROXY_ISOLATE},
    {"balance", PROXY_BALANCE},
    {NULL, 0},
};

/* One that a certificate can be for. */
static void use_server_name(struct parser *p, const struct token *t, struct policy_member *m)
{
	static const char expected[] = "the name in the proxy's certificate";
	struct addr host;

	if (!parse_path(p, t, expected))
		return;
	if (addr_set_host(&host, t->text, t->len) == 0)
		m->server_name = t->text;
	else
		parse_fail(p, t, expected, "'%.*s' is not the name of a host", SHOWN(t));
}

static void use_certificate(struct parser *p, const struct token *t, struct policy_member *m)
{
	if (!parse_path(p, t, "the file of the certificate") ||
	    !parse_path(p, t + 1, "the file of the certificate's key"))
		return;
	m->tls_certificate = t[0].text;
	m->tls_key = t[1].text;
}

enum gss_source { SOURCE_KEYTAB, SOURCE_CACHE };

static const struct word gss_sources[] = {
    {"keytab", SOURCE_KEYTAB},
    {"ccache", SOURCE_CACHE},
    {NULL, 0},
};

static const struct word gss_levels[] = {
    {"confidential", GSS_LEVEL_CONFIDENTIAL},
    {"integrity", GSS_LEVEL_INTEGRITY},
    {"any", GSS_LEVEL_PER_MESSAGE},
    {"clear", GSS_LEVEL_CLEAR},
    {NULL, 0},
};

/* `keytab FILE` or `ccache NAME`. */
static void use_gssapi(struct parser *p, const struct token *t, struct policy_gss *gss)
{
	const struct word *w = parse_keyword(p, t + 1, gss_sources, "source of tickets");

	gss->at = t->at;
	if (w && w->value == SOURCE_KEYTAB && parse_path(p, t + 2, "the file of the keytab"))
		gss->keytab = t[2].text;
	else if (w && w->value == SOURCE_CACHE &&
		 parse_path(p, t + 2, "the name of a cache of credentials, or default"))
		gss->cache = t[2].text;
}

/* What else belongs to GSS-API. Returns how many values it has. */
static size_t use_gss_word(
    struct parser *p, const struct token *t, enum proxy_word word, struct policy_gss *gss)
{
	const struct word *w;

	switch (word) {
	case PROXY_GSSAPI:
		use_gssapi(p, t, gss);
		return 2;
	case PROXY_PRINCIPAL:
		if (parse_path(p, t + 1, "a principal, such as tabi/gate.example.org"))
			gss->principal = t[1].text;
		break;
	case PROXY_SERVICE:
		if (parse_path(p, t + 1, "the name of a service, such as rcmd"))
			gss->service = t[1].text;
		break;
	case PROXY_LEVEL:
		w = parse_keyword(p, t + 1, gss_levels, "level of protection");
		if (w)
			gss->level = (enum gss_level)w->value;
		break;
	case PROXY_NEC:
		gss->nec = true;
		return 0;
	default:
		break;
	}
	return 1;
}

/* One word. Returns the token behind it and its values; what is wrong with these is told, and where
 * they are missing there is none. */
static const struct token *use_word(struct parser *p, const struct token *t, enum proxy_word word,
    struct policy_proxy *proxy, struct policy_member *m)
{
	const struct word *w = NULL;
	size_t values = 1;

	switch (word) {
	case PROXY_PASSWORD_FILE:
		if (parse_path(p, t + 1, "the name of a file with USER:PASSWORD"))
			m->password_file = t[1].text;
		break;
	case PROXY_CA:
		if (parse_path(p, t + 1, "the name of a file with certificates in PEM"))
			m->ca = t[1].text;
		break;
	case PROXY_CERT:
		use_certificate(p, t + 1, m);
		values = 2;
		break;
	case PROXY_SERVER_NAME:
		use_server_name(p, t + 1, m);
		break;
	case PROXY_INSECURE:
		m->insecure_at = t->at;
		values = 0;
		break;
	case PROXY_ISOLATE:
		w = parse_keyword(p, t + 1, proxy_isolations, "isolation");
		m->isolation = w ? (enum isolation)w->value : ISOLATE_NOTHING;
		break;
	case PROXY_BALANCE:
		w = parse_keyword(p, t + 1, proxy_balances, "balance");
		if (w && parse_once(p, &proxy->balance_at, t))
			proxy->balance = (enum balance)w->value;
		break;
	default:
		values = use_gss_word(p, t, word, &m->gss);
		break;
	}
	for (size_t i = 1; i <= values; i++)
		if (t[i].kind == TOKEN_END)
			return NULL;
	return t + 1 + values;
}

/* What is about TLS. */
static void check_tls(struct parser *p, const struct policy_member *m,
    const struct token *const seen[static PROXY_WORDS])
{
	static const enum proxy_word words[] = {
	    PROXY_CA, PROXY_CERT, PROXY_SERVER_NAME, PROXY_INSECURE};
	static const enum proxy_word checks[] = {PROXY_CA, PROXY_SERVER_NAME};
	size_t n = 0;

	for (size_t i = 0; i < m->n_hops; i++)
		n += url_wants_tls(&m->hops[i]);
	for (size_t i = 0; n == 0 && i < sizeof(words) / sizeof(words[0]); i++)
		if (seen[words[i]])
			parse_fail(p, seen[words[i]], "socks5+tls:// or https://",
			    "'%.*s' is about certificates, and no TLS is spoken to these proxies",
			    SHOWN(seen[words[i]]));
	if (seen[PROXY_SERVER_NAME] && n > 1)
		parse_fail(p, seen[PROXY_SERVER_NAME], NULL,
		    "'server-name' is one name, and TLS is spoken to several of these proxies");
	for (size_t i = 0; seen[PROXY_INSECURE] && i < sizeof(checks) / sizeof(checks[0]); i++)
		if (seen[checks[i]])
			parse_fail(p, seen[PROXY_INSECURE], NULL,
			    "'insecure' checks no certificate, and '%.*s' says what to check",
			    SHOWN(seen[checks[i]]));
}

/* What is about GSS-API. */
static void check_gss(struct parser *p, const struct policy_member *m,
    const struct token *const seen[static PROXY_WORDS])
{
	const struct url *last = &m->hops[m->n_hops - 1];
	const struct token *gss = seen[PROXY_GSSAPI];

	for (int i = PROXY_PRINCIPAL; !gss && i <= PROXY_NEC; i++)
		if (seen[i])
			parse_fail(p, seen[i], "gssapi keytab FILE, or gssapi ccache NAME, as well",
			    "'%.*s' without 'gssapi'", SHOWN(seen[i]));
	if (!gss)
		return;
	if (last->scheme < URL_SOCKS5 || last->scheme > URL_SOCKS5_TLS)
		parse_fail(
		    p, gss, NULL, "'gssapi' is of SOCKS5, which the last proxy does not speak");
	else if (last->has_user || last->has_password || seen[PROXY_PASSWORD_FILE])
		parse_fail(p, gss, NULL,
		    "'gssapi' says who we are, and the last proxy has credentials already");
	if (seen[PROXY_PRINCIPAL] && m->gss.cache)
		parse_fail(p, seen[PROXY_PRINCIPAL], NULL,
		    "'principal' chooses among the keys of a keytab, and a cache is of one");
	if (seen[PROXY_ISOLATE])
		parse_fail(p, seen[PROXY_ISOLATE], NULL,
		    "'isolate' makes credentials, and by 'gssapi' there are some already");
}

/* Of the words that `seen` has: do they go together, and with the URLs? */
static void check_member(struct parser *p, const struct policy_member *m,
    const struct token *const seen[static PROXY_WORDS])
{
	const struct url *last = &m->hops[m->n_hops - 1];
	const bool speaks_socks5 = last->scheme >= URL_SOCKS5 && last->scheme <= URL_SOCKS5_TLS;

	check_tls(p, m, seen);
	check_gss(p, m, seen);
	if (seen[PROXY_PASSWORD_FILE] && last->has_password)
		parse_fail(p, seen[PROXY_PASSWORD_FILE], NULL,
		    "the URL of the last proxy has a password already");
	if (!seen[PROXY_ISOLATE])
		return;
	if (!speaks_socks5)
		parse_fail(p, seen[PROXY_ISOLATE], NULL,
		    "'isolate' is about credentials of SOCKS5, which the last proxy does not "
		    "speak");
	else if (last->has_user || last->has_password || seen[PROXY_PASSWORD_FILE])
		parse_fail(p, seen[PROXY_ISOLATE], NULL,
		    "'isolate' makes credentials, and the last proxy has some already");
}

static void read_member(
    struct parser *p, const struct token *t, struct policy_proxy *proxy, struct policy_member *m)
{
	const struct token *seen[PROXY_WORDS] = {NULL};

	t = read_chain(p, t, m);
	while (t && t->kind != TOKEN_END) {
		const struct word *w = parse_keyword(p, t, proxy_words, "word");

		if (!w)
			return;
		if (seen[w->value]) {
			parse_once(p,
			    &(struct position){
				.file = seen[w->value]->at.file, .line = seen[w->value]->at.line},
			    t);
			return;
		}
		seen[w->value] = t;
		t = use_word(p, t, (enum proxy_word)w->value, proxy, m);
	}
	if (t && m->hops)
		check_member(p, m, seen);
}

/* ---- the statement ---- */

/* The group of that name, perhaps a new one. NULL after a mistake. */
static struct policy_proxy *find_group(struct parser *p, const struct token *t)
{
	struct policy *policy = p->policy;
	struct definition *d = define_name_again(p, NAMES_PROXY, t,
	    "a name and a URL, such as: proxy edge socks5h://edge.example.net:1080");
	struct policy_proxy *list;

	if (!d)
		return NULL;
	if (d->is_proxy)
		return &policy->proxies[d->proxy];
	list = arena_append(&p->arena, policy->proxies, policy->n_proxies, sizeof(*list));
	if (!list)
		return NULL;
	policy->proxies = list;
	d->is_proxy = true;
	d->proxy = policy->n_proxies++;
	list[d->proxy] = (struct policy_proxy){.name = d->name};
	return &list[d->proxy];
}

/* Several lines of one name are a group. */
void define_proxy(struct parser *p, const struct token *t)
{
	struct policy_proxy *proxy = find_group(p, t + 1);
	struct policy_member *list;

	if (!proxy)
		return;
	if (proxy->n_members == POLICY_MEMBERS_MAX) {
		parse_fail(p, t, NULL, "a group of more than %d proxies", POLICY_MEMBERS_MAX);
		return;
	}
	list = arena_append(&p->arena, proxy->members, proxy->n_members, sizeof(*list));
	if (!list)
		return;
	proxy->members = list;
	list += proxy->n_members++;
	*list = (struct policy_member){
	    .gss = {.service = "rcmd", .level = GSS_LEVEL_CONFIDENTIAL},
	};
	read_member(p, t + 2, proxy, list);
}

bool policy_sends_name(const struct decision *d)
{
	if (d->verdict != VERDICT_ALLOW || !d->via || !d->certain)
		return false;
	for (size_t i = 0; i < d->via->n_members; i++) {
		const struct policy_member *m = &d->via->members[i];

		if (!url_takes_names(&m->hops[m->n_hops - 1]))
			return false;
	}
	return true;
}

/* ---- words of rules ---- */

const struct token *proxies_parse_via(
    struct parser *p, const struct token *t, struct policy_rule *rule)
{
	static const char expected[] = "a name that a 'proxy' statement defines, such as: proxy "
				       "edge socks5h://edge.example.net:1080";
	const struct definition *d;

	if (!parse_word(p, t + 1, expected))
		return NULL;
	d = parse_lookup(p, NAMES_PROXY, t + 1);
	if (!d) {
		parse_undefined(p, NAMES_PROXY, t + 1, "proxy", expected);
		return NULL;
	}
	if (t[2].kind == TOKEN_COMMA) {
		parse_fail(p, t + 2, "several 'proxy' lines of one name",
		    "a rule has one proxy, which may be a group");
		return NULL;
	}
	rule->via = &p->policy->proxies[d->proxy];
	return t + 2;
}

static const struct word credentials_words[] = {
    {"forward", true},
    {NULL, 0},
};

const struct token *proxies_parse_credentials(
    struct parser *p, const struct token *t, struct policy_rule *rule)
{
	if (!parse_keyword(p, t + 1, credentials_words, "word"))
		return NULL;
	rule->forward_credentials = true;
	p->policy->forwards_credentials = true;
	return t + 2;
}

/* Whoever's password the URL has, it is not the client's: one of the two would be lost. */
static bool has_credentials(const struct policy_proxy *proxy)
{
	for (size_t i = 0; i < proxy->n_members; i++) {
		const struct policy_member *m = &proxy->members[i];
		const struct url *last;

		/* Its URL was a mistake, which is told. */
		if (m->n_hops == 0)
			continue;
		last = &m->hops[m->n_hops - 1];
		if (last->has_user || last->has_password || m->password_file ||
		    m->isolation != ISOLATE_NOTHING || m->gss.at.line > 0)
			return true;
	}
	return false;
}

bool policy_member_has_udp(const struct policy_member *m)
{
	for (size_t i = 0; i < m->n_hops; i++)
		if (m->hops[i].scheme < URL_SOCKS5 || m->hops[i].scheme > URL_SOCKS5_TLS)
			return false;
	return true;
}

bool policy_proxy_has_udp(const struct policy_proxy *proxy)
{
	for (size_t i = 0; i < proxy->n_members; i++)
		if (policy_member_has_udp(&proxy->members[i]))
			return true;
	return false;
}

/* A rule that does not name the commands is about those that its proxies can. */
static void check_commands(struct parser *p, const struct token *t, const struct policy_rule *rule)
{
	if (!rule->via)
		return;
	while (!token_is(t, "via"))
		t++;
	if (rule->commands >> COMMAND_MULTICAST & 1)
		parse_fail(p, t, "a rule of its own for 'command multicast', without 'via'",
		    "no proxy can be asked to join a group");
	for (size_t i = 0; rule->commands >> COMMAND_UDP & 1 && i < rule->via->n_members; i++) {
		const struct policy_member *m = &rule->via->members[i];

		if (policy_member_has_udp(m))
			continue;
		parse_fail(p, t,
		    "socks5://, socks5h:// or socks5+tls:// for each proxy of the chain",
		    "datagrams cannot go through %.200s (%s:%u): SOCKS5 alone has them", m->text,
		    m->at.file, m->at.line);
		return;
	}
}

void proxies_check(struct parser *p, const struct token *t, const struct policy_rule *rule)
{
	check_commands(p, t, rule);
	if (!rule->forward_credentials)
		return;
	if (!rule->via)
		parse_fail(p, t, "'via' and the name of a proxy",
		    "'credentials forward' says what a proxy is given, and there is none");
	else if (has_credentials(rule->via))
		parse_fail(p, t, NULL,
		    "'credentials forward' needs proxies that have none: '%.60s' has credentials",
		    rule->via->name);
}
