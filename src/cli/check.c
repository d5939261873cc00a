/* SPDX-License-Identifier: MIT */
/* tabi check: is the configuration right? Says all that is wrong with it. */
#include "cli/main.h"

#include <getopt.h>
#include <stdio.h>
#include <string.h>

#include "cli/mistakes.h"
#include "server/certs.h"
#include "server/config.h"
#include "server/egress.h"
#include "server/keytabs.h"
#include "server/texts.h"
#include "server/upstreams.h"

#define DEFAULT_FILE "/etc/tabi/tabi.conf"

static const struct option options[] = {
    {"help", no_argument, NULL, 'h'},
    {NULL, 0, NULL, 0},
};

static void print_usage(FILE *to)
{
	fputs("usage: tabi check [FILE]\n\n"
	      "Reads a configuration (without FILE " DEFAULT_FILE "; - is standard input)\n"
	      "and says all that is wrong with it. Exit status: 0 it can be served, 1 it cannot.\n",
	    to);
}

static const char *plural(size_t n)
{
	return n == 1 ? "" : "s";
}

static void complain(void *ctx, const char *text)
{
	size_t *mistakes = ctx;

	fprintf(stderr, "%s\n", text);
	(*mistakes)++;
}

static void tell_unread(void *ctx, const char *text)
{
	(void)ctx;
	fprintf(stderr, "note: %s; not checked\n", text);
}

static void tell_warning(void *ctx, const char *text)
{
	(void)ctx;
	fprintf(stderr, "warning: %s\n", text);
}

/* The certificates too, as far as they can be read here. Returns how many are wrong. */
static size_t check_certificates(const struct policy *policy, struct texts *texts)
{
	struct certs certs = {NULL, 0};
	size_t mistakes = 0;

	if (certs_load(&certs, policy, texts, complain, tell_unread, &mistakes) != 0 &&
	    mistakes == 0)
		mistakes = 1;
	certs_free(&certs);
	return mistakes;
}

/* And the keytabs. */
static size_t check_keytabs(const struct policy *policy, struct texts *texts)
{
	struct keytabs keytabs = {NULL, 0};
	size_t mistakes = 0;

	if (keytabs_load(&keytabs, policy, texts, complain, tell_unread, &mistakes) != 0 &&
	    mistakes == 0)
		mistakes = 1;
	keytabs_free(&keytabs);
	return mistakes;
}

/* And the files of proxies. */
static size_t check_upstreams(const struct policy *policy, struct texts *texts)
{
	struct upstreams upstreams = {NULL, NULL, NULL};
	size_t mistakes = 0;

	if (upstreams_load(&upstreams, policy, texts, complain, tell_unread, &mistakes) != 0 &&
	    mistakes == 0)
		mistakes = 1;
	upstreams_free(&upstreams);
	return mistakes;
}

static size_t check_files(const struct policy *policy, struct texts *texts)
{
	return check_certificates(policy, texts) + check_keytabs(policy, texts) +
	       check_upstreams(policy, texts);
}

static int check_file(const char *name)
{
	struct diagnostics diags;
	struct policy *policy;
	size_t mistakes;
	struct texts texts;
	int err;

	texts_init(&texts);
	err = policy_parse(&texts.source, name, &policy, &diags);
	if (err == 0)
		err = policy_check_servable(policy, &diags);
	if (err == 0)
		err = config_check_built(policy, &diags);
	mistakes_print(&diags, stderr);
	mistakes = err == 0 ? check_files(policy, &texts) : diags.n;
	if (err == 0) {
		upstreams_warn(policy, tell_warning, NULL);
		egress_warn(policy, tell_warning, NULL);
	}
	if (err == 0 && mistakes == 0)
		printf("%s: ok, %zu listener%s, %zu rule%s\n", name, policy->n_listeners,
		    plural(policy->n_listeners), policy->n_rules, plural(policy->n_rules));
	else if (mistakes > 0)
		fprintf(stderr, "\n%s: %zu mistake%s\n", name, mistakes, plural(mistakes));
	else
		fputs("tabi check: out of memory\n", stderr);
	policy_free(policy);
	diagnostics_free(&diags);
	texts_fini(&texts);
	return err == 0 && mistakes == 0 ? 0 : 1;
}

int check_main(int argc, char **argv)
{
	int option = getopt_long(argc, argv, "h", options, NULL);

	if (option == 'h') {
		print_usage(stdout);
		return 0;
	}
	if (option != -1 || argc - optind > 1) {
		print_usage(stderr);
		return 2;
	}
	return check_file(optind < argc ? argv[optind] : DEFAULT_FILE);
}
