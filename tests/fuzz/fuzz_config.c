/* SPDX-License-Identifier: MIT */
/*
 * Fuzzes policy/parse and what reads its result: the input is a configuration.
 *
 * A line of "%%" ends a file; each `include`, whatever it names, gets the next file of the input.
 */
#include "fuzz.h"

#include <errno.h>
#include <string.h>

#include "policy/decide.h"
#include "policy/explain.h"
#include "policy/parse.h"
#include "proto/err.h"

#define MISTAKE_MAX 8192

struct input {
	struct parse_source source;
	const char *text;
	size_t left;
};

static int next_file(
    struct parse_source *source, const char *name, const char **ret_text, size_t *ret_len)
{
	struct input *in = (struct input *)source;
	const char *end;

	CHECK(name && name[0] != '\0');
	if (in->left == 0)
		return -ENOENT;
	end = memmem(in->text, in->left, "\n%%\n", 4);
	*ret_text = in->text;
	*ret_len = end ? (size_t)(end - in->text) + 1 : in->left;
	in->left -= end ? *ret_len + 3 : *ret_len;
	in->text += end ? *ret_len + 3 : *ret_len;
	return 0;
}

/* Shown on a terminal: printable, one message of few lines, whole in any room. */
static void check_mistake(const struct diagnostic *d)
{
	static char text[MISTAKE_MAX], part[MISTAKE_MAX];
	size_t len = diagnostic_format(d, text, sizeof(text)), lines = 0;

	CHECK(len > 0 && len < sizeof(text) - 1 && strlen(text) == len);
	CHECK(d->message[0] != '\0');
	CHECK(d->line == 0 || (d->column > 0 && d->width > 0));
	for (size_t i = 0; i < len; i++) {
		unsigned char c = (unsigned char)text[i];

		CHECK(c == '\n' || c == '\t' || (c >= 0x20 && c != 0x7f));
		lines += c == '\n';
	}
	CHECK(lines >= 1 && lines <= 4);
	CHECK(diagnostic_format(d, part, len / 2 + 1) == len / 2);
	CHECK(memcmp(part, text, len / 2) == 0);
}

static const char *const targets[] = {"10.0.0.1", "127.0.0.1", "169.254.169.254", "8.8.8.8", "::1",
    "2606:4700::1", "64:ff9b::a00:1", "2002:a00:1::1", "2606:4700::5efe:7f00:1"};

static struct policy_request request(const struct policy *policy, unsigned variant)
{
	static const char *const clients[] = {"10.0.0.5", "203.0.113.5", "::1", "2001:db8::5"};
	static const char *const names[] = {"www.example.com", "example.org"};
	struct policy_request req = {
	    .listener =
		policy->n_listeners ? policy->listeners[variant % policy->n_listeners].text : NULL,
	    .user = variant & 1 ? "alice" : NULL,
	    .method = variant & 1 ? AUTH_PASSWORD : AUTH_NONE,
	    .proto = variant & 2 ? PROTO_HTTP : PROTO_SOCKS5,
	    .command = variant & 4 ? COMMAND_UDP : COMMAND_CONNECT,
	    .name = variant & 8 ? names[variant >> 2 & 1] : NULL,
	    .port = variant & 16 ? 443 : 22,
	    .now = variant * 311,
	};
	const char *client = clients[variant % 4];

	CHECK(ip_parse(client, strlen(client), &req.client) == 0);
	return req;
}

static void check_decision(const struct policy *policy, const struct decision *d)
{
	CHECK(d->verdict == VERDICT_DENY || d->verdict == VERDICT_ALLOW ||
	      d->verdict == VERDICT_DEPENDS);
	CHECK(!d->rule || d->verdict != VERDICT_DEPENDS);
	CHECK(d->rule || d->verdict != VERDICT_ALLOW);
	CHECK(!d->rule || policy_rule_position(d->rule).line > 0);
	CHECK(policy->n_rules > 0 || (!d->rule && d->verdict == VERDICT_DENY));
}

/* What is said of a name must hold for whatever it resolves to. */
static void check_decisions(const struct policy *policy)
{
	for (unsigned variant = 0; variant < 32; variant += 3) {
		struct policy_request req = request(policy, variant);
		struct decision before = policy_decide(policy, &req);

		check_decision(policy, &before);
		req.has_ip = true;
		for (size_t i = 0; i < sizeof(targets) / sizeof(targets[0]); i++) {
			struct decision d;

			CHECK(ip_parse(targets[i], strlen(targets[i]), &req.ip) == 0);
			req.is_self = variant % 3 == 0;
			d = policy_decide(policy, &req);
			check_decision(policy, &d);
			CHECK(d.verdict != VERDICT_DEPENDS);
			CHECK(before.verdict == VERDICT_DEPENDS || before.verdict == d.verdict);
		}
	}
}

static void check_explain(const struct policy *policy)
{
	static const char text[] =
	    "user alice from 10.0.0.5 to www.example.com:443 at \"Mon 10:00\"";
	static const struct explain_origin origin = {.file = "request", .line = 1};
	static char answer[65536];
	struct diagnostics diags = {0};
	struct explain_request r;

	CHECK(explain_parse(policy, &origin, text, sizeof(text) - 1, 0, &r, &diags) == 0);
	CHECK(explain_format(policy, &r, answer, sizeof(answer)) == strlen(answer));
	CHECK(answer[0] != '\0');
	explain_fini(&r);
	CHECK(diags.n == 0);
	diagnostics_free(&diags);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct input in = {.source = {next_file}, .text = (const char *)data, .left = size};
	struct diagnostics diags;
	struct policy *policy;
	int err = policy_parse(&in.source, "etc/tabi.conf", &policy, &diags);

	CHECK(err == 0 || err == ERR_MALFORMED);
	CHECK((err == 0) == (policy != NULL));
	CHECK((err == 0) == (diags.n == 0));
	if (policy) {
		err = policy_check_servable(policy, &diags);
		CHECK((err == 0) == (diags.n == 0));
		check_decisions(policy);
		check_explain(policy);
	}
	for (size_t i = 0; i < diags.n; i++)
		check_mistake(&diags.list[i]);
	policy_free(policy);
	diagnostics_free(&diags);
	return 0;
}
