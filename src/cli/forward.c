/* SPDX-License-Identifier: MIT */
/*
 * tabi forward: a proxy for this host that adds what its programs cannot: credentials, TLS, a
 * chain.
 *
 * It is `tabi serve` with a configuration made here, which has one rule, `via` the proxies of the
 * command line.
 */
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/main.h"
#include "cli/proxies.h"
#include "server/supervisor.h"

static const char usage[] =
    "usage: tabi forward [-l ADDRESS...] [-a NETS] -x URL[,URL...]\n"
    "\n"
    "  -x, --proxy URL[,URL...]  the proxy to go through, or a chain of them, first one first:\n"
    "                            socks4, socks4a, socks5, socks5h, socks5+tls, http or https, "
    "with\n"
    "                            user:password@; unless said TABI_PROXY, then ALL_PROXY\n"
    "      --password-file FILE  passwords that the URLs lack, a line each; else they are in\n"
    "                            TABI_PASSWORD, or asked for on the terminal\n"
    "      --ca FILE             whose certificates are trusted (else whom the system trusts)\n"
    "      --insecure            trust any certificate\n"
    "      --cert FILE, --key FILE  our own certificate\n"
    "      --gssapi LEVEL        log in to the last proxy by GSS-API (Kerberos), and protect all "
    "by "
    "it:\n"
    "                            integrity, confidentiality, any or none\n"
    "      --gssapi-service NAME rcmd unless said\n"
    "      --gssapi-nec          in NEC's form\n"
    "  -l, --listen ADDRESS      where to listen (may be repeated): ADDRESS:PORT, or a path;\n"
    "                            127.0.0.1:1080 unless said\n"
    "  -a, --allow NETS          who may use it beside this host, such as 192.0.2.0/24\n"
    "  -h, --help                show this\n"
    "\n"
    "It speaks SOCKS4, SOCKS5 and HTTP on each address. Names are left to the last proxy, but not\n"
    "with socks4:// and socks5://.\n";

static const struct option long_options[] = {
    {"proxy", required_argument, NULL, 'x'},
    {"password-file", required_argument, NULL, PROXIES_PASSWORD_FILE},
    {"ca", required_argument, NULL, PROXIES_CA},
    {"insecure", no_argument, NULL, PROXIES_INSECURE},
    {"cert", required_argument, NULL, PROXIES_CERT},
    {"key", required_argument, NULL, PROXIES_KEY},
    {"gssapi", required_argument, NULL, PROXIES_GSSAPI},
    {"gssapi-service", required_argument, NULL, PROXIES_GSSAPI_SERVICE},
    {"gssapi-nec", no_argument, NULL, PROXIES_GSSAPI_NEC},
    {"listen", required_argument, NULL, 'l'},
    {"allow", required_argument, NULL, 'a'},
    {"help", no_argument, NULL, 'h'},
    {NULL, 0, NULL, 0},
};

struct forward {
	struct proxies proxies;
	const char **listen; /* owned */
	size_t n_listen;
	const char *allow;
};

static int wrong_usage(void)
{
	fputs(usage, stderr);
	return 2;
}

/* Returns -1 to go on, or the exit status. */
static int read_options(int argc, char **argv, struct forward *f)
{
	int c;

	while ((c = getopt_long(argc, argv, "x:l:a:h", long_options, NULL)) != -1) {
		if (proxies_take(&f->proxies, c))
			continue;
		switch (c) {
		case 'l':
			f->listen[f->n_listen++] = optarg;
			break;
		case 'a':
			f->allow = optarg;
			break;
		case 'h':
			fputs(usage, stdout);
			return 0;
		default:
			return wrong_usage();
		}
	}
	if (optind == argc)
		return -1;
	fputs("tabi forward: too many arguments; the proxy is named with -x\n", stderr);
	return wrong_usage();
}

/* ---- the configuration ---- */

/* Every byte that could mean something else as %XX. */
static void put_encoded(FILE *to, const char *text, size_t len)
{
	static const char plain[] =
	    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.";

	for (size_t i = 0; i < len; i++)
		if (text[i] && strchr(plain, text[i]))
			fputc(text[i], to);
		else
			fprintf(to, "%%%02X", (unsigned char)text[i]);
}

static void put_url(FILE *to, const struct url *url)
{
	char host[ADDR_TEXT_MAX];

	fprintf(to, "%s://", url_scheme_name(url->scheme));
	if (url->has_user)
		put_encoded(to, url->user, url->user_len);
	if (url->has_password) {
		fputc(':', to);
		put_encoded(to, url->password, url->password_len);
	}
	if (url->has_user || url->has_password)
		fputc('@', to);
	fputs(addr_format(&url->proxy, host), to);
}

/* In quotes, where it is one word of the configuration whatever it holds. */
static void put_quoted(FILE *to, const char *text)
{
	fputc('"', to);
	for (; *text; text++) {
		if (*text == '"' || *text == '\\')
			fputc('\\', to);
		fputc(*text, to);
	}
	fputc('"', to);
}

/* A word behind the URLs, with the files that it names; nothing where there are none. */
static void put_files(FILE *to, const char *word, const char *first, const char *second)
{
	if (!first)
		return;
	fprintf(to, " %s ", word);
	put_quoted(to, first);
	if (second)
		fputc(' ', to);
	if (second)
		put_quoted(to, second);
}

/* With the tickets that the environment has. */
static void put_gss(FILE *to, const struct chain_gss_options *gss)
{
	static const char *const levels[] = {
	    [GSS_LEVEL_CLEAR] = "clear",
	    [GSS_LEVEL_INTEGRITY] = "integrity",
	    [GSS_LEVEL_CONFIDENTIAL] = "confidential",
	    [GSS_LEVEL_PER_MESSAGE] = "any",
	};

	if (!gss)
		return;
	fprintf(to, " gssapi ccache default level %s service ", levels[gss->level]);
	put_quoted(to, gss->service);
	if (gss->nec)
		fputs(" nec", to);
}

/* A word from the command line that stands in the configuration as it is: it must be one. */
static bool is_word(const char *text)
{
	return *text && strcspn(text, " \t\r\n\"#\\") == strlen(text);
}

static void put_config(FILE *to, const struct forward *f)
{
	for (size_t i = 0; i < f->n_listen; i++)
		fprintf(to, "listen %s\n", f->listen[i]);
	if (f->n_listen == 0)
		fputs("listen 127.0.0.1:1080\n", to);
	fputs("proxy upstream ", to);
	for (size_t i = 0; i < f->proxies.n; i++) {
		fputs(i > 0 ? "," : "", to);
		put_url(to, &f->proxies.hop[i]);
	}
	put_files(to, "ca", f->proxies.ca, NULL);
	put_files(to, "cert", f->proxies.certificate, f->proxies.key);
	if (f->proxies.insecure)
		fputs(" insecure", to);
	put_gss(to, f->proxies.gss);
	fprintf(to, "\nallow from loopback%s%s to any via upstream\n", f->allow ? "," : "",
	    f->allow ? f->allow : "");
}

/* malloc'ed, or NULL. */
static char *make_config(const struct forward *f, size_t *ret_size)
{
	/* Room for all there can be, so that no copy with passwords is left behind in growing. */
	const size_t size = 65536;
	char *text = calloc(1, size);
	FILE *to = text ? fmemopen(text, size, "w") : NULL;
	bool ok;

	if (!to) {
		free(text);
		return NULL;
	}
	setvbuf(to, NULL, _IONBF, 0);
	put_config(to, f);
	ok = !ferror(to) && ftell(to) < (long)size - 1;
	if (fclose(to) == 0 && ok) {
		*ret_size = size;
		return text;
	}
	explicit_bzero(text, size);
	free(text);
	return NULL;
}

static int serve(const struct forward *f)
{
	struct supervisor_options o = {.name = "(tabi forward)"};
	size_t size = 0;
	char *text;
	int status;

	for (size_t i = 0; i < f->n_listen; i++)
		if (!is_word(f->listen[i])) {
			fprintf(stderr, "tabi forward: not an address to listen on: '%s'\n",
			    f->listen[i]);
			return 2;
		}
	if (f->allow && !is_word(f->allow)) {
		fprintf(stderr, "tabi forward: not a list of nets: '%s'\n", f->allow);
		return 2;
	}
	text = make_config(f, &size);
	if (!text) {
		fputs("tabi forward: there is more in these arguments than there is room for\n",
		    stderr);
		return 2;
	}
	o.text = text;
	status = supervisor_run(&o);
	explicit_bzero(text, size);
	free(text);
	return status;
}

int forward_main(int argc, char **argv)
{
	struct forward f = {.proxies = {.me = "tabi forward"}};
	int status;

	f.listen = calloc((size_t)argc, sizeof(*f.listen));
	if (!f.listen)
		return 1;
	status = read_options(argc, argv, &f);
	if (status < 0)
		status = proxies_read(&f.proxies);
	if (status == 0 && f.proxies.n > 0)
		status = serve(&f);
	proxies_free(&f.proxies);
	free(f.listen);
	return status;
}
