/* SPDX-License-Identifier: MIT */
#include "fixture.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct memory_source {
	struct parse_source source;
	const char *text;
};

static int read_memory(
    struct parse_source *src, const char *name, const char **ret_text, size_t *ret_len)
{
	struct memory_source *m = (struct memory_source *)src;

	if (strcmp(name, "tabi.conf") != 0)
		return -ENOENT;
	*ret_text = m->text;
	*ret_len = strlen(m->text);
	return 0;
}

int fixture_parse(const char *text, struct policy **ret_policy, struct diagnostics *ret_diags)
{
	struct memory_source source = {.source = {read_memory}, .text = text};

	return policy_parse(&source.source, "tabi.conf", ret_policy, ret_diags);
}

struct policy *fixture_policy(const char *text)
{
	struct diagnostics diags;
	struct policy *policy;
	char message[1000];

	if (fixture_parse(text, &policy, &diags) != 0) {
		for (size_t i = 0; i < diags.n; i++) {
			diagnostic_format(&diags.list[i], message, sizeof(message));
			print_error("%s", message);
		}
		fail();
	}
	assert_int_equal(diags.n, 0);
	diagnostics_free(&diags);
	return policy;
}

struct ip fixture_ip(const char *text)
{
	struct ip ip;

	assert_int_equal(ip_parse(text, strlen(text), &ip), 0);
	return ip;
}

struct policy_request fixture_request(void)
{
	return (struct policy_request){
	    .client = fixture_ip("10.0.0.5"),
	    .listener = "127.0.0.1:1080",
	    .user = "alice",
	    .method = AUTH_PASSWORD,
	    .proto = PROTO_SOCKS5,
	    .command = COMMAND_CONNECT,
	    .has_ip = true,
	    .ip = fixture_ip("203.0.114.1"),
	    .port = 443,
	    .now = 10 * 60,
	};
}

static bool ends_in(const char *name, const char *suffix)
{
	const char *dot = strrchr(name, '.');

	return dot && strcmp(dot, suffix) == 0;
}

int fixture_run_files(
    const char *group, const char *folder, const char *suffix, CMUnitTestFunction test)
{
	struct dirent **entries;
	struct CMUnitTest *tests;
	size_t n_tests = 0;
	int n, status = 2;

	if (chdir(folder) != 0)
		return 2;
	n = scandir(".", &entries, NULL, alphasort);
	if (n < 0)
		return 2;
	tests = calloc((size_t)n + 1, sizeof(*tests));
	for (int i = 0; tests && i < n; i++)
		if (ends_in(entries[i]->d_name, suffix))
			tests[n_tests++] = (struct CMUnitTest){.name = entries[i]->d_name,
			    .test_func = test,
			    .initial_state = entries[i]->d_name};
	if (n_tests > 0)
		status = _cmocka_run_group_tests(group, tests, n_tests, NULL, NULL);
	for (int i = 0; i < n; i++)
		free(entries[i]);
	free(entries);
	free(tests);
	return status;
}
