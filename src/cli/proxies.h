/* SPDX-License-Identifier: MIT */
/*
 * Which proxies a command goes through, as whom, and whom it trusts: what all commands that are
 * clients have in common on their command lines.
 *
 * The chain is what --proxy says, or TABI_PROXY, or ALL_PROXY (or all_proxy). A password that its
 * URLs lack, where there is a user for it, comes from a file, from TABI_PASSWORD, or from the
 * terminal.
 */
#ifndef TABI_CLI_PROXIES_H
#define TABI_CLI_PROXIES_H

#include <getopt.h>
#include <stdbool.h>

#include "net/chain.h"
#include "proto/url.h"

#define PROXIES_MAX 8

struct proxies {
	const char *me;                      /* how complaints begin: "tabi connect" */
	const char *from;                    /* what gave `urls`; NULL: --proxy */
	size_t n;                            /* 0: directly */
	struct url *hop;                     /* [PROXIES_MAX]; proxies_free() wipes them */
	struct tls_context *tls;             /* NULL where none of them has TLS */
	const struct chain_gss_options *gss; /* NULL: GSS-API is not offered */

	/* As the options said; no use to others. */
	char *urls;
	bool direct, insecure;
	const char *password_file, *ca, *certificate, *key, *level;
	struct chain_gss_options gssapi;
};

/* For getopt_long(), between the caller's own. */
#define PROXIES_SHORT "x:D"
#define PROXIES_LONG                                                                               \
	{"proxy", required_argument, NULL, 'x'}, {"direct", no_argument, NULL, 'D'},               \
	    PROXIES_LONG_TRUST
/* The same without --proxy and --direct: where the URL comes from elsewhere. */
#define PROXIES_LONG_TRUST                                                                         \
	{"password-file", required_argument, NULL, PROXIES_PASSWORD_FILE},                         \
	    {"ca", required_argument, NULL, PROXIES_CA},                                           \
	    {"insecure", no_argument, NULL, PROXIES_INSECURE},                                     \
	    {"cert", required_argument, NULL, PROXIES_CERT},                                       \
	    {"key", required_argument, NULL, PROXIES_KEY},                                         \
	    {"gssapi", required_argument, NULL, PROXIES_GSSAPI},                                   \
	    {"gssapi-service", required_argument, NULL, PROXIES_GSSAPI_SERVICE},                   \
	{                                                                                          \
		"gssapi-nec", no_argument, NULL, PROXIES_GSSAPI_NEC                                \
	}

enum proxies_option {
	PROXIES_PASSWORD_FILE = 0x700,
	PROXIES_CA,
	PROXIES_INSECURE,
	PROXIES_CERT,
	PROXIES_KEY,
	PROXIES_GSSAPI,
	PROXIES_GSSAPI_SERVICE,
	PROXIES_GSSAPI_NEC,
};

#define PROXIES_USAGE                                                                              \
	"  -x, --proxy URL[,URL...]  the proxy, or a chain of them, first one first: socks4,\n"    \
	"                            socks4a, socks5, socks5h, socks5+tls, http or https, with\n"  \
	"                            user:password@; unless said TABI_PROXY, then ALL_PROXY\n"     \
	"  -D, --direct              no proxy\n" PROXIES_USAGE_TRUST
#define PROXIES_USAGE_TRUST                                                                        \
	"      --password-file FILE  passwords that the URLs lack, a line each; else they are "    \
	"in\n"                                                                                     \
	"                            TABI_PASSWORD, or asked for on the terminal\n"                \
	"      --ca FILE             whose certificates are trusted (else whom the system "        \
	"trusts)\n"                                                                                \
	"      --insecure            trust any certificate\n"                                      \
	"      --cert FILE, --key FILE  our own certificate\n"                                     \
	"      --gssapi LEVEL        offer GSS-API (Kerberos) to SOCKS5, and protect all by it:\n" \
	"                            integrity, confidentiality, any or none\n"                    \
	"      --gssapi-service NAME rcmd unless said\n"                                           \
	"      --gssapi-nec          in NEC's form\n"

/* Takes an option of getopt_long() if it is one of these; else returns false. */
bool proxies_take(struct proxies *p, int option);

/*
 * After all options: reads the chain, gets the passwords and the certificates. Passwords are
 * overwritten in the arguments and the environment, where others may see them. Returns 0, or the
 * exit status with what is wrong printed. With --direct, n is 0.
 */
int proxies_read(struct proxies *p);

/* Wipes and frees. */
void proxies_free(struct proxies *p);

#endif
