/* SPDX-License-Identifier: MIT */
#include "cli/proxies.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/secret.h"
#include "net/gss.h"

#define PEM_MAX ((size_t)64 << 10)
#define URL_TEXT_MAX 1024

bool proxies_take(struct proxies *p, int option)
{
	switch (option) {
	case 'x':
		p->urls = optarg;
		return true;
	case 'D':
		p->direct = true;
		return true;
	case PROXIES_PASSWORD_FILE:
		p->password_file = optarg;
		return true;
	case PROXIES_CA:
		p->ca = optarg;
		return true;
	case PROXIES_INSECURE:
		p->insecure = true;
		return true;
	case PROXIES_CERT:
		p->certificate = optarg;
		return true;
	case PROXIES_KEY:
		p->key = optarg;
		return true;
	case PROXIES_GSSAPI:
		p->level = optarg;
		return true;
	case PROXIES_GSSAPI_SERVICE:
		p->gssapi.service = optarg;
		return true;
	case PROXIES_GSSAPI_NEC:
		p->gssapi.nec = true;
		return true;
	default:
		return false;
	}
}

static int wrong(const struct proxies *p, const char *what, const char *why)
{
	fprintf(stderr, "%s: %s: %s\n", p->me, what, why);
	return 2;
}

/* ---- the chain ---- */

/* Of the environment what is empty is not set. */
static char *from_environment(const char **ret_name)
{
	static const char *const names[] = {"TABI_PROXY", "ALL_PROXY", "all_proxy"};

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		char *value = getenv(names[i]);

		*ret_name = names[i];
		if (value && *value)
			return value;
	}
	return NULL;
}

/* `text` is what ps(1) shows: the passwords of a chain that could be read are hidden, of another
 * one everything. */
static void hide(char *text, bool readable)
{
	char *end;

	for (char *url = text; readable && url; url = end ? end + 1 : NULL) {
		char *host, *user, *colon;

		end = strchrnul(url, ',');
		host = memrchr(url, '@', (size_t)(end - url));
		user = memmem(url, (size_t)(end - url), "://", 3);
		user = user ? user + 3 : url;
		colon = host ? memchr(user, ':', (size_t)(host - user)) : NULL;
		if (colon)
			memset(colon + 1, '*', (size_t)(host - colon - 1));
		if (*end == '\0')
			end = NULL;
	}
	if (!readable)
		memset(text, '*', strlen(text));
}

static int read_chain(struct proxies *p)
{
	const char *name = p->from ? p->from : "--proxy", *why = NULL;
	char *text = p->urls ? p->urls : from_environment(&name), said[160];
	size_t at = 0;
	int n;

	if (!text)
		return wrong(p, "no proxy",
		    "say one with -x URL or in TABI_PROXY, or --direct to go without");
	n = url_parse_chain(text, strlen(text), p->hop, PROXIES_MAX, &why, &at);
	hide(text, n > 0);
	if (n <= 0) {
		snprintf(said, sizeof(said), "%s, at character %zu", name, at + 1);
		return wrong(p, said, why);
	}
	p->n = (size_t)n;
	return 0;
}

/* ---- passwords ---- */

static bool lacks_password(const struct url *url)
{
	return url->has_user && !url->has_password && url->scheme != URL_SOCKS4 &&
	       url->scheme != URL_SOCKS4A;
}

static int set_password(
    struct proxies *p, struct url *url, const char *from, const char *line, size_t len)
{
	char name[URL_TEXT_MAX];

	if (len == 0 || len > URL_CREDENTIAL_MAX) {
		url_format(url, name, sizeof(name));
		fprintf(stderr, "%s: %s has no password of 1 to 255 bytes for %s%s\n", p->me, from,
		    name, len == 0 ? " (an empty one is written user:@host)" : "");
		return 2;
	}
	memcpy(url->password, line, len);
	url->password_len = (uint8_t)len;
	url->has_password = true;
	return 0;
}

/* A line for each proxy that lacks one, in their order. */
static int take_lines(struct proxies *p, const char *from, const char *text, size_t len)
{
	int status = 0;
	size_t at = 0;

	for (size_t i = 0; i < p->n && status == 0; i++) {
		const char *newline = memchr(text + at, '\n', len - at);
		size_t end = newline ? (size_t)(newline - text) : len;

		if (!lacks_password(&p->hop[i]))
			continue;
		status = set_password(p, &p->hop[i], from, text + at, end - at);
		at = newline ? end + 1 : len;
	}
	return status;
}

static int take_file(struct proxies *p)
{
	char text[SECRET_TEXT_MAX];
	const char *why;
	int len = secret_read(p->password_file, text, &why), status;

	if (len < 0)
		return wrong(p, p->password_file, why);
	status = take_lines(p, p->password_file, text, (size_t)len);
	explicit_bzero(text, sizeof(text));
	return status;
}

static int take_terminal(struct proxies *p, struct url *url)
{
	char line[URL_CREDENTIAL_MAX + 1], name[URL_TEXT_MAX], prompt[URL_TEXT_MAX + 32];
	size_t len = 0;
	int err;

	url_format(url, name, sizeof(name));
	snprintf(prompt, sizeof(prompt), "Password for %s: ", name);
	err = secret_ask(prompt, line, sizeof(line), &len);
	if (err == -EMSGSIZE)
		len = sizeof(line);
	if (err && err != -EMSGSIZE && err != -ENODATA) {
		fprintf(stderr,
		    "%s: there is no password for %s, and no terminal to ask on (%s): write it in "
		    "--password-file, in TABI_PASSWORD, or user:@host for an empty one\n",
		    p->me, name, strerror(-err));
		return 2;
	}
	err = set_password(p, url, "the terminal", line, len);
	explicit_bzero(line, sizeof(line));
	return err;
}

static int get_passwords(struct proxies *p)
{
	char *variable = getenv("TABI_PASSWORD");
	bool some = false;
	int status = 0;

	for (size_t i = 0; i < p->n; i++)
		some |= lacks_password(&p->hop[i]);
	if (!some && p->password_file)
		return wrong(p, p->password_file, "no proxy has a user without a password");
	if (some && p->password_file)
		status = take_file(p);
	else if (some && variable)
		status = take_lines(p, "TABI_PASSWORD", variable, strlen(variable));
	for (size_t i = 0; i < p->n && status == 0; i++)
		if (lacks_password(&p->hop[i]))
			status = take_terminal(p, &p->hop[i]);
	if (variable)
		explicit_bzero(variable, strlen(variable));
	return status;
}

/* ---- TLS ---- */

static int read_pem(struct proxies *p, const char *path, struct tls_pem *ret_pem)
{
	FILE *f = fopen(path, "re");
	char *data = f ? malloc(PEM_MAX) : NULL;
	size_t n;

	if (!data) {
		int err = errno;

		if (f)
			fclose(f);
		return wrong(p, path, strerror(err));
	}
	/* Or a key would also lie in its buffer. */
	setvbuf(f, NULL, _IONBF, 0);
	n = fread(data, 1, PEM_MAX, f);
	*ret_pem = (struct tls_pem){data, n};
	n = ferror(f) ? 0 : n;
	fclose(f);
	return n > 0 && n < PEM_MAX ? 0 : wrong(p, path, "is empty, too long or cannot be read");
}

static void free_pem(struct tls_pem pem)
{
	char *data = (char *)(uintptr_t)pem.data;

	if (data)
		explicit_bzero(data, pem.len);
	free(data);
}

static const char *file_of(const struct proxies *p, enum tls_part part)
{
	switch (part) {
	case TLS_CERTIFICATE:
		return p->certificate;
	case TLS_KEY:
		return p->key;
	case TLS_CA:
		return p->ca ? p->ca : "the system's certificates";
	default:
		return "TLS";
	}
}

static int make_tls(struct proxies *p)
{
	struct tls_client_options o = {.trust_anybody = p->insecure};
	const char *why = NULL;
	enum tls_part part;
	int status = 0;

	if (p->ca)
		status = read_pem(p, p->ca, &o.ca);
	if (status == 0 && p->certificate)
		status = read_pem(p, p->certificate, &o.certificate);
	if (status == 0 && p->key)
		status = read_pem(p, p->key, &o.key);
	if (status == 0 && tls_client_new(&p->tls, &o, &part, &why) != 0)
		status = wrong(p, file_of(p, part), why);
	free_pem(o.ca);
	free_pem(o.certificate);
	free_pem(o.key);
	return status;
}

static int get_tls(struct proxies *p)
{
	bool wanted = false;

	for (size_t i = 0; i < p->n; i++)
		wanted |= p->hop[i].scheme == URL_SOCKS5_TLS || p->hop[i].scheme == URL_HTTPS;
	if (!p->certificate != !p->key)
		return wrong(p, p->key ? "--key" : "--cert", "--cert and --key go together");
	if (p->ca && p->insecure)
		return wrong(p, "--insecure", "excludes --ca");
	if (wanted)
		return make_tls(p);
	if (p->ca || p->insecure || p->key)
		return wrong(p,
		    p->ca    ? "--ca"
		    : p->key ? "--cert"
			     : "--insecure",
		    "no proxy of the chain speaks TLS (https or socks5+tls)");
	return 0;
}

/* ---- GSS-API ---- */

static bool speaks_socks5(const struct url *url)
{
	return url->scheme == URL_SOCKS5 || url->scheme == URL_SOCKS5H ||
	       url->scheme == URL_SOCKS5_TLS;
}

static int get_gss(struct proxies *p)
{
	static const char *const levels[] = {
	    [GSS_LEVEL_CLEAR] = "none",
	    [GSS_LEVEL_INTEGRITY] = "integrity",
	    [GSS_LEVEL_CONFIDENTIAL] = "confidentiality",
	    [GSS_LEVEL_PER_MESSAGE] = "any",
	};
	bool wanted = false;
	size_t level = 0;

	if (!p->level)
		return p->gssapi.nec || p->gssapi.service
			   ? wrong(p, p->gssapi.nec ? "--gssapi-nec" : "--gssapi-service",
				 "means nothing without --gssapi")
			   : 0;
	if (!gss_is_there())
		return wrong(p, "--gssapi", "this tabi was built without GSS-API");
	for (size_t i = 0; i < p->n; i++)
		wanted |= speaks_socks5(&p->hop[i]);
	if (!wanted)
		return wrong(p, "--gssapi", "no proxy of the chain speaks SOCKS5");
	while (level < sizeof(levels) / sizeof(levels[0]) && strcmp(p->level, levels[level]) != 0)
		level++;
	if (level == sizeof(levels) / sizeof(levels[0]))
		return wrong(p, p->level, "expected integrity, confidentiality, any or none");
	p->gssapi.level = (enum gss_level)level;
	/* Whoever wants protection must not go without because somebody on the way says so. */
	p->gssapi.demanded = level != GSS_LEVEL_CLEAR;
	if (!p->gssapi.service)
		p->gssapi.service = "rcmd";
	p->gss = &p->gssapi;
	return 0;
}

int proxies_read(struct proxies *p)
{
	int status = 0;

	if (p->direct && p->urls) {
		hide(p->urls, false);
		return wrong(p, "--direct", "excludes --proxy");
	}
	p->hop = calloc(PROXIES_MAX, sizeof(*p->hop));
	if (!p->hop)
		return wrong(p, "memory", strerror(ENOMEM));
	if (!p->direct)
		status = read_chain(p);
	if (status == 0)
		status = get_gss(p);
	if (status == 0)
		status = get_passwords(p);
	return status == 0 ? get_tls(p) : status;
}

void proxies_free(struct proxies *p)
{
	if (p->hop)
		explicit_bzero(p->hop, PROXIES_MAX * sizeof(*p->hop));
	free(p->hop);
	p->hop = NULL;
	tls_context_free(p->tls);
	p->tls = NULL;
}
