/* SPDX-License-Identifier: MIT */
/* What a configuration that parses means: its values and defaults, files, and what is servable.
 * argv[1] is the folder of whole examples. */
#include "policy/parse.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/mistakes.h"
#include "server/texts.h"
#include "fixture.h"
#include "policy/rule.h"
#include "proto/err.h"
#include "proto/gss.h"

static void defaults(void **state)
{
	struct policy *p = fixture_policy("");

	(void)state;
	assert_int_equal(p->set.workers, 0);
	assert_null(p->set.user);
	assert_int_equal(p->set.log_place, LOG_TO_STDERR);
	assert_int_equal(p->set.log_level, LOG_AT_INFO);
	assert_int_equal(p->set.relay, RELAY_AUTO);
	assert_int_equal(p->set.sandbox, SANDBOX_AUTO);
	assert_int_equal(p->set.timeout_ms[TIMEOUT_HANDSHAKE], 30000);
	assert_int_equal(p->set.timeout_ms[TIMEOUT_CONNECT], 30000);
	assert_int_equal(p->set.timeout_ms[TIMEOUT_IDLE], 7200000);
	assert_int_equal(p->set.timeout_ms[TIMEOUT_HALFCLOSE], 300000);
	assert_int_equal(p->set.timeout_ms[TIMEOUT_KEEPALIVE], 120000);
	assert_int_equal(p->set.timeout_ms[TIMEOUT_DRAIN], 30000);
	assert_int_equal(p->set.n_resolvers, 0);
	assert_int_equal(p->methods, AUTH_NONE);
	policy_free(p);
}

static void settings(void **state)
{
	struct policy *p = fixture_policy(
	    "workers 7\nuser nobody\nlog level debug json file /var/log/t\n"
	    "relay copy\ntimeout handshake 500ms\ntimeout connect 2m\n"
	    "timeout idle 0\ntimeout halfclose 1h\ntimeout keepalive 5s\ntimeout drain 7d\n"
	    "sandbox off\nresolver 192.0.2.1 2001:db8::1 [::1]:5353\n");

	(void)state;
	assert_int_equal(p->set.workers, 7);
	assert_string_equal(p->set.user, "nobody");
	assert_true(p->set.log_json);
	assert_int_equal(p->set.log_place, LOG_TO_FILE);
	assert_string_equal(p->set.log_file, "/var/log/t");
	assert_int_equal(p->set.log_level, LOG_AT_DEBUG);
	assert_int_equal(p->set.relay, RELAY_COPY);
	assert_int_equal(p->set.sandbox, SANDBOX_OFF);
	assert_int_equal(p->set.timeout_ms[TIMEOUT_HANDSHAKE], 500);
	assert_int_equal(p->set.timeout_ms[TIMEOUT_CONNECT], 120000);
	assert_int_equal(p->set.timeout_ms[TIMEOUT_IDLE], 0);
	assert_int_equal(p->set.timeout_ms[TIMEOUT_HALFCLOSE], 3600000);
	assert_int_equal(p->set.timeout_ms[TIMEOUT_KEEPALIVE], 5000);
	assert_int_equal(p->set.timeout_ms[TIMEOUT_DRAIN], 604800000);
	assert_int_equal(p->set.n_resolvers, 3);
	assert_int_equal(p->set.resolvers[0].port, 53);
	assert_int_equal(p->set.resolvers[2].port, 5353);
	policy_free(p);
}

static void listeners(void **state)
{
	struct policy *p =
	    fixture_policy("listen 127.0.0.1:1080 open\nlisten [::1]:1081\nlisten *:1082\n"
			   "listen /run/t.sock\nlisten \"/run/a b\" mode 660\n");

	(void)state;
	assert_int_equal(p->n_listeners, 5);
	assert_true(p->listeners[0].open);
	assert_false(p->listeners[0].optional);
	assert_int_equal(p->listeners[0].addr.port, 1080);
	assert_string_equal(p->listeners[0].text, "127.0.0.1:1080");
	assert_false(ip_is_v4(&p->listeners[1].addr.ip));
	assert_true(p->listeners[2].any_family);
	assert_int_equal(p->listeners[2].addr.port, 1082);
	assert_string_equal(p->listeners[3].unix_path, "/run/t.sock");
	assert_int_equal(p->listeners[3].unix_mode, 0600);
	assert_string_equal(p->listeners[4].unix_path, "/run/a b");
	assert_int_equal(p->listeners[4].unix_mode, 0660);
	assert_null(p->listeners[4].tls_certificate);
	policy_free(p);
}

static void tls_listeners(void **state)
{
	struct policy *p = fixture_policy("listen *:1443 tls c.pem k.pem\n"
					  "listen /run/t client-ca \"my ca\" tls c k\n");
	struct diagnostics diags = {0};

	(void)state;
	assert_string_equal(p->listeners[0].tls_certificate, "c.pem");
	assert_string_equal(p->listeners[0].tls_key, "k.pem");
	assert_null(p->listeners[0].client_ca);
	assert_string_equal(p->listeners[1].client_ca, "my ca");
	assert_false(p->listeners[0].tls_upgrade);
	assert_int_equal(p->methods, AUTH_NONE | AUTH_CERT);
	policy_free(p);
	/* Whoever has a certificate is no stranger. */
	p = fixture_policy("listen *:1443 tls c k client-ca a\nallow all\n");
	assert_int_equal(policy_check_servable(p, &diags), 0);
	policy_free(p);
	p = fixture_policy("listen *:1443 tls c k\nallow all\n");
	assert_int_equal(policy_check_servable(p, &diags), ERR_MALFORMED);
	diagnostics_free(&diags);
	policy_free(p);
	p = fixture_policy("listen 127.0.0.1:1 tls c k\nallow method cert\n");
	assert_int_equal(policy_check_servable(p, &diags), ERR_MALFORMED);
	diagnostics_free(&diags);
	policy_free(p);
}

static void methods(void **state)
{
	struct policy *p = fixture_policy("auth password /u\n");

	(void)state;
	assert_int_equal(p->methods, AUTH_PASSWORD);
	assert_string_equal(p->auths[0].file, "/u");
	policy_free(p);
	p = fixture_policy("auth none\nauth password \"/u v\"\n");
	assert_int_equal(p->methods, AUTH_PASSWORD | AUTH_NONE);
	policy_free(p);
}

static void gssapi(void **state)
{
	struct policy *p = fixture_policy("auth gssapi keytab /k\n");

	(void)state;
	assert_int_equal(p->methods, AUTH_GSSAPI);
	assert_string_equal(p->auths[0].file, "/k");
	assert_null(p->auths[0].gss_service);
	assert_null(p->auths[0].realm);
	assert_int_equal(p->auths[0].levels,
	    GSS_LEVEL_BIT(GSS_LEVEL_INTEGRITY) | GSS_LEVEL_BIT(GSS_LEVEL_CONFIDENTIAL));
	assert_false(p->auths[0].nec);
	policy_free(p);
	p = fixture_policy("auth gssapi keytab /k nec realm R level clear service s user a\n");
	assert_string_equal(p->auths[0].gss_service, "s");
	assert_string_equal(p->auths[0].realm, "R");
	assert_int_equal(p->auths[0].levels, GSS_LEVEL_BIT(GSS_LEVEL_CLEAR));
	assert_true(p->auths[0].nec);
	policy_free(p);
}

/* Names of nets may be defined below; of the senders nothing but their addresses is asked. */
static void senders_are_nets(void **state)
{
	struct policy *p =
	    fixture_policy("listen 127.0.0.1:1080\n"
			   "listen 127.0.0.1:1081 proxy-protocol from n,192.0.2.9\n"
			   "listen /s proxy-protocol mode 0660 extended-replies\nnet n 10.0.0.0/8\n"
			   "allow from n\n");
	static const struct {
		const char *ip;
		bool is;
	} cases[] = {{"10.1.2.3", true}, {"::ffff:10.1.2.3", true}, {"192.0.2.9", true},
	    {"192.0.2.8", false}, {"11.0.0.1", false}, {"127.0.0.1", false},
	    {"64:ff9b::10.0.0.1", false}, {"2002:a00:1::1", false}};

	(void)state;
	assert_false(p->listeners[0].proxy_protocol);
	assert_null(p->listeners[0].senders);
	assert_true(p->listeners[1].proxy_protocol);
	assert_true(p->listeners[2].proxy_protocol);
	assert_null(p->listeners[2].senders);
	assert_int_equal(p->listeners[2].unix_mode, 0660);
	assert_true(p->listeners[2].extended_replies && !p->listeners[1].extended_replies);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct ip ip = fixture_ip(cases[i].ip);

		assert_int_equal(
		    rule_is_about_client(p->listeners[1].senders, &ip, NULL), cases[i].is);
	}
	policy_free(p);
}

/* All that the language has, whether this version serves it or not. */
static void every_word_parses(void **state)
{
	struct diagnostics diags = {0};
	struct policy *p = fixture_policy(
	    "listen [::1]:1443 tls /c /k client-ca /ca advertise 203.0.113.7\n"
	    "auth gssapi keytab /k\nauth pam login\nauth ident\n"
	    "limit sessions 100 per user\nlimit rate 20mbit per source\nlimit quota 10g per group\n"
	    "limit sessions 5 per listener\nlimit rate 5mbyte\ncontrol /run/c\nmetrics "
	    "127.0.0.1:9\n"
	    "sandbox require\nrelay splice\nproxy edge "
	    "socks5h://u:p@e.test,socks5+tls://f.test:8080\n"
	    "net n 10.0.0.0/8\nhost h *.a.test\nhours w Mon-Fri 09:00-18:00 Sat,Sun 10:00-14:00\n"
	    "group g a,b \"c d\"\n"
	    "allow from n,internet to h,self,10.0.0.1 port 1-2,9 user a,\"c d\" group g command "
	    "connect,bind,udp,resolve protocol socks4,socks4a,socks5,http method gssapi,cert "
	    "listener [::1]:1443 during w log via edge egress 10.0.0.9 for 30m idle 5m rate 2mbit "
	    "quota "
	    "1g sessions 3\n"
	    "allow port any command any protocol any method any listener any all any\n");

	(void)state;
	assert_int_equal(policy_check_servable(p, &diags), ERR_MALFORMED);
	/* 5 limits, control metrics require, 5 grants. */
	assert_int_equal(p->n_later, 13);
	assert_true(diags.n >= 13);
	diagnostics_free(&diags);
	policy_free(p);
}

static void settings_of_udp(void **state)
{
	struct policy *p = fixture_policy("listen 127.0.0.1:1080\nallow from loopback\n");

	(void)state;
	assert_int_equal(p->set.timeout_ms[TIMEOUT_UDP], 300 * 1000);
	assert_int_equal(p->set.udp_first, 0);
	assert_false(p->set.fragments_off);
	assert_int_equal(p->widest_filter, FILTER_ADDRESS_PORT);
	policy_free(p);
	p = fixture_policy("udp-ports 50000-50999\nfragments off\ntimeout udp 2m\n");
	assert_int_equal(p->set.timeout_ms[TIMEOUT_UDP], 120 * 1000);
	assert_int_equal(p->set.udp_first, 50000);
	assert_int_equal(p->set.udp_last, 50999);
	assert_true(p->set.fragments_off);
	policy_free(p);
	p = fixture_policy("fragments on\nudp-ports 5000\n");
	assert_int_equal(p->set.udp_first, 5000);
	assert_int_equal(p->set.udp_last, 5000);
	assert_false(p->set.fragments_off);
	policy_free(p);
}

/* Commands without effect are granted, not refused: the server answers that it has none. */
static void commands_are_servable(void **state)
{
	struct diagnostics diags = {0};
	struct policy *p = fixture_policy(
	    "listen 127.0.0.1:1\nproxy unused http://a.test\nallow from loopback command "
	    "bind,udp,resolve\n");

	(void)state;
	assert_int_equal(policy_check_servable(p, &diags), 0);
	assert_int_equal(diags.n, 0);
	policy_free(p);
}

static bool servable(const char *text)
{
	struct diagnostics diags = {0};
	struct policy *p = fixture_policy(text);
	int err = policy_check_servable(p, &diags);

	assert_int_equal(err == 0, diags.n == 0);
	diagnostics_free(&diags);
	policy_free(p);
	return err == 0;
}

struct open_row {
	const char *text;
	bool servable;
};

static const struct open_row open_rows[] = {
    {"listen 0.0.0.0:1\nallow all\n", false},
    {"listen 0.0.0.0:1 open\nallow all\n", true},
    {"listen *:1\nallow all\n", false},
    {"listen [::]:1\nallow all\n", false},
    {"listen 10.0.0.1:1\nallow all\n", false},
    {"listen 127.0.0.1:1\nallow all\n", true},
    {"listen 127.9.9.9:1\nallow all\n", true},
    {"listen [::1]:1\nallow all\n", true},
    {"listen /s\nallow all\n", true},
    {"listen 0.0.0.0:1\ndeny all\n", true},
    {"listen 0.0.0.0:1\n", true},
    {"listen 0.0.0.0:1\nauth password /u\nallow all\n", true},
    {"listen 0.0.0.0:1\nauth password /u\nauth none\nallow all\n", false},
    {"listen 0.0.0.0:1\nauth password /u\nauth none\nallow method password\n", true},
    {"listen 0.0.0.0:1\nauth password /u\nauth none\nallow method none,password\n", false},
    {"listen 0.0.0.0:1\nauth password /u\nauth none\nallow user a\n", true},
    {"listen 0.0.0.0:1\nauth password /u\nauth none\ngroup g a\nallow group g\n", true},
    {"listen 0.0.0.0:1\nallow from private\n", true},
    {"listen 0.0.0.0:1\nallow from 10.0.0.0/8\n", true},
    {"listen 0.0.0.0:1\nallow from 10.0.0.0/7\n", false},
    {"listen 0.0.0.0:1\nnet n 10.0.0.0/8 0.0.0.0/1\nallow from n\n", false},
    {"listen [::]:1\nallow from 2001::/16\n", true},
    {"listen [::]:1\nallow from 2000::/15\n", false},
    {"listen 0.0.0.0:1\nallow from internet\n", false},
    {"listen 0.0.0.0:1\nallow from private,any\n", false},
    /* At some hour, to some place, for some command: open all the same. */
    {"listen 0.0.0.0:1\nhours h 09:00-10:00\nallow during h\n", false},
    {"listen 0.0.0.0:1\nallow to example.org\n", false},
    {"listen 0.0.0.0:1\nallow port 443\n", false},
    {"listen 0.0.0.0:1\nallow command udp\n", false},
    {"listen 0.0.0.0:1\nallow protocol http\n", false},
    /* A deny counts only where no stranger gets past it. */
    {"listen 0.0.0.0:1\ndeny from internet\nallow all\n", true},
    {"listen 0.0.0.0:1\ndeny from any\nallow all\n", true},
    {"listen 0.0.0.0:1\ndeny method none\nallow all\n", true},
    {"listen 0.0.0.0:1\ndeny from 0.0.0.0/0\nallow all\n", true},
    {"listen *:1\ndeny from 0.0.0.0/0\nallow all\n", false},
    {"listen *:1\ndeny from 0.0.0.0/0,::/0\nallow all\n", true},
    {"listen 0.0.0.0:1\ndeny to private\nallow all\n", false},
    {"listen 0.0.0.0:1\ndeny port 25\nallow all\n", false},
    {"listen 0.0.0.0:1\ndeny from private\nallow all\n", false},
    {"listen 0.0.0.0:1\ndeny command udp\nallow all\n", false},
    {"listen 0.0.0.0:1\nhours h 09:00-10:00\ndeny all during h\nallow all\n", false},
    /* Each listener for itself. */
    {"listen 0.0.0.0:1\nlisten 127.0.0.1:2\nallow listener 127.0.0.1:2\n", true},
    {"listen 0.0.0.0:1\nlisten 127.0.0.1:2\nallow listener 0.0.0.0:1\n", false},
    {"listen 0.0.0.0:1\nlisten 127.0.0.1:2\ndeny listener 127.0.0.1:2\nallow all\n", false},
    {"listen 0.0.0.0:1\nlisten 127.0.0.1:2\ndeny listener 0.0.0.0:1\nallow all\n", true},
};

static void strangers_are_kept_out(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(open_rows) / sizeof(open_rows[0]); i++) {
		if (servable(open_rows[i].text) != open_rows[i].servable) {
			print_error("%s", open_rows[i].text);
			fail();
		}
	}
}

static void the_default_text_is_servable(void **state)
{
	struct diagnostics diags;
	struct policy *policy;
	struct texts texts;

	(void)state;
	texts_init(&texts);
	assert_int_equal(policy_parse(&texts.source, parse_default_name, &policy, &diags), 0);
	assert_int_equal(policy_check_servable(policy, &diags), 0);
	assert_int_equal(policy->n_listeners, 2);
	assert_true(policy->listeners[0].optional);
	assert_true(policy->listeners[1].optional);
	policy_free(policy);
	diagnostics_free(&diags);
	texts_fini(&texts);
}

/* A tree of files: each line is a name and its text. */
struct tree_source {
	struct parse_source parse;
	const char *const (*files)[2];
};

static int read_tree(
    struct parse_source *src, const char *name, const char **ret_text, size_t *ret_len)
{
	struct tree_source *t = (struct tree_source *)src;

	for (size_t i = 0; t->files[i][0]; i++) {
		if (strcmp(t->files[i][0], name) == 0) {
			*ret_text = t->files[i][1];
			*ret_len = strlen(*ret_text);
			return 0;
		}
	}
	return -ENOENT;
}

static void includes_are_beside_their_file(void **state)
{
	static const char *const files[][2] = {
	    {"etc/tabi.conf", "allow port 1\ninclude conf.d/a.conf\nallow port 5\n"},
	    {"etc/conf.d/a.conf", "allow port 2\ninclude \"b.conf\"\ninclude /abs.conf"},
	    {"etc/conf.d/b.conf", "allow port 3\n"},
	    {"/abs.conf", "allow port 4 from late\nnet late 10.0.0.0/8\n"},
	    {NULL, NULL},
	};
	static const char *const where[] = {"etc/tabi.conf", "etc/conf.d/a.conf",
	    "etc/conf.d/b.conf", "/abs.conf", "etc/tabi.conf"};
	struct tree_source tree = {{read_tree}, files};
	struct diagnostics diags;
	struct policy *policy;

	(void)state;
	assert_int_equal(policy_parse(&tree.parse, "etc/tabi.conf", &policy, &diags), 0);
	assert_int_equal(policy->n_rules, 5);
	for (uint16_t port = 1; port <= 5; port++) {
		struct policy_request req = fixture_request();
		struct decision d;

		req.port = port;
		d = policy_decide(policy, &req);
		assert_int_equal(d.verdict, VERDICT_ALLOW);
		assert_string_equal(policy_rule_position(d.rule).file, where[port - 1]);
	}
	policy_free(policy);
	diagnostics_free(&diags);
}

/* Every file includes another one, in a folder of its own. */
static int read_endless(
    struct parse_source *src, const char *name, const char **ret_text, size_t *ret_len)
{
	(void)src;
	(void)name;
	*ret_text = "include x/a\n";
	*ret_len = strlen(*ret_text);
	return 0;
}

static void files_go_only_so_deep(void **state)
{
	struct parse_source endless = {read_endless};
	struct diagnostics diags;
	struct policy *policy;

	(void)state;
	assert_int_equal(policy_parse(&endless, "a", &policy, &diags), ERR_MALFORMED);
	assert_null(policy);
	assert_int_equal(diags.n, 1);
	assert_string_equal(diags.list[0].message, "files include each other more than 16 deep");
	diagnostics_free(&diags);
}

static void mistakes_have_a_bound(void **state)
{
	struct diagnostics diags;
	struct policy *policy;
	char *text = NULL;
	size_t len;
	FILE *f = open_memstream(&text, &len);

	(void)state;
	for (int i = 0; i < 500; i++)
		fputs("allow form here\n", f);
	fclose(f);
	assert_int_equal(fixture_parse(text, &policy, &diags), ERR_MALFORMED);
	assert_int_equal(diags.n, 101);
	assert_int_equal(diags.list[100].line, 0);
	assert_string_equal(diags.list[100].message, "too many mistakes; the rest is not shown");
	diagnostics_free(&diags);
	free(text);
}

/* Whatever the room, the text is whole up to there and ends in NUL. */
static void messages_fit_any_room(void **state)
{
	struct diagnostics diags;
	struct policy *policy;
	char whole[1000], part[1000];
	size_t len;

	(void)state;
	assert_int_equal(fixture_parse("allow command tcp\n", &policy, &diags), ERR_MALFORMED);
	len = diagnostic_format(&diags.list[0], whole, sizeof(whole));
	assert_int_equal(strlen(whole), len);
	for (size_t cap = 1; cap <= len + 1; cap++) {
		assert_int_equal(diagnostic_format(&diags.list[0], part, cap), cap - 1);
		assert_int_equal(strlen(part), cap - 1);
		assert_memory_equal(part, whole, cap - 1);
	}
	assert_int_equal(diagnostic_format(&diags.list[0], part, 0), 0);
	diagnostics_free(&diags);
}

static const char *examples;

static int is_conf(const struct dirent *entry)
{
	const char *dot = strrchr(entry->d_name, '.');

	return dot && strcmp(dot, ".conf") == 0;
}

static void examples_are_servable(void **state)
{
	struct dirent **entries;
	int n = scandir(examples, &entries, is_conf, alphasort);

	(void)state;
	assert_true(n >= 3);
	for (int i = 0; i < n; i++) {
		char name[1000];
		struct diagnostics diags;
		struct policy *policy;
		struct texts texts;

		snprintf(name, sizeof(name), "%s/%s", examples, entries[i]->d_name);
		texts_init(&texts);
		if (policy_parse(&texts.source, name, &policy, &diags) == 0)
			policy_check_servable(policy, &diags);
		mistakes_print(&diags, stderr);
		assert_int_equal(diags.n, 0);
		policy_free(policy);
		diagnostics_free(&diags);
		texts_fini(&texts);
		free(entries[i]);
	}
	free(entries);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(defaults),
	    cmocka_unit_test(settings),
	    cmocka_unit_test(listeners),
	    cmocka_unit_test(tls_listeners),
	    cmocka_unit_test(methods),
	    cmocka_unit_test(gssapi),
	    cmocka_unit_test(every_word_parses),
	    cmocka_unit_test(settings_of_udp),
	    cmocka_unit_test(commands_are_servable),
	    cmocka_unit_test(strangers_are_kept_out),
	    cmocka_unit_test(the_default_text_is_servable),
	    cmocka_unit_test(includes_are_beside_their_file),
	    cmocka_unit_test(files_go_only_so_deep),
	    cmocka_unit_test(mistakes_have_a_bound),
	    cmocka_unit_test(messages_fit_any_room),
	    cmocka_unit_test(examples_are_servable),
	    cmocka_unit_test(senders_are_nets),
	};

	if (argc != 2)
		return 2;
	examples = argv[1];
	return cmocka_run_group_tests(tests, NULL, NULL);
}
