/* SPDX-License-Identifier: MIT */
/* Fuzzes policy/explain: the input is a request about a policy that has a bit of everything. */
#include "fuzz.h"

#include <string.h>

#include "policy/explain.h"
#include "proto/err.h"

static const char config[] = "listen 127.0.0.1:1080\n"
			     "listen *:1081 open\n"
			     "listen /run/tabi.sock\n"
			     "auth password /u\nauth none\n"
			     "net office 10.0.0.0/8 2001:db8::/32\n"
			     "host work *.example.com example.org\n"
			     "hours night 22:00-06:00\n"
			     "group staff alice,bob\n"
			     "proxy edge http://a.test\n"
			     "deny to metadata,self log\n"
			     "deny listener *:1081 to private\n"
			     "allow from office to work port 80,443 via edge for 30m\n"
			     "allow group staff to internet during night\n"
			     "allow protocol http command connect port 443\n"
			     "allow command resolve,udp\n";

static int read_config(
    struct parse_source *source, const char *name, const char **ret_text, size_t *ret_len)
{
	(void)source;
	(void)name;
	*ret_text = config;
	*ret_len = sizeof(config) - 1;
	return 0;
}

/* Parsed once; the fuzzer's process ends with it. */
static const struct policy *the_policy(void)
{
	static struct policy *policy;
	struct parse_source source = {read_config};
	struct diagnostics diags;

	if (!policy) {
		CHECK(policy_parse(&source, "tabi.conf", &policy, &diags) == 0);
		diagnostics_free(&diags);
	}
	return policy;
}

static void check_answer(const struct policy *policy, const struct explain_request *r)
{
	static char answer[65536], part[65536];
	size_t len = explain_format(policy, r, answer, sizeof(answer));

	CHECK(len > 0 && len < sizeof(answer) - 1 && strlen(answer) == len);
	CHECK(answer[len - 1] == '\n');
	CHECK(strncmp(answer, "allow, ", 7) == 0 || strncmp(answer, "deny, ", 6) == 0 ||
	      strncmp(answer, "depends on ", 11) == 0);
	CHECK(explain_format(policy, r, part, len / 2 + 1) <= len / 2);
	CHECK(strlen(part) <= len / 2);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct explain_origin origin = {.file = "request", .line = 7};
	const struct policy *policy = the_policy();
	struct diagnostics diags = {0};
	struct explain_request r;
	int err = explain_parse(policy, &origin, (const char *)data, size, 600, &r, &diags);

	CHECK(err == 0 || err == 1 || err == ERR_MALFORMED);
	CHECK((err == ERR_MALFORMED) == (diags.n > 0));
	if (err == 0) {
		CHECK(r.ask.has_ip || r.ask.name);
		CHECK(r.ask.now < 7 * 24 * 60 && r.n_addresses <= EXPLAIN_ADDRESSES_MAX);
		check_answer(policy, &r);
		explain_fini(&r);
	}
	diagnostics_free(&diags);
	return 0;
}
