/* SPDX-License-Identifier: MIT */
#include "policy/decide.h"

#include "fixture.h"

#include <stdio.h>
#include <string.h>

static enum verdict verdict_of(const char *text, const struct policy_request *req)
{
	struct policy *policy = fixture_policy(text);
	enum verdict verdict = policy_decide(policy, req).verdict;

	policy_free(policy);
	return verdict;
}

static void nothing_matched_means_deny(void **state)
{
	struct policy_request req = fixture_request();
	struct policy *policy = fixture_policy("allow port 80\n");
	struct decision d = policy_decide(policy, &req);

	(void)state;
	assert_int_equal(d.verdict, VERDICT_DENY);
	assert_null(d.rule);
	policy_free(policy);
}

static void first_match_decides(void **state)
{
	struct policy_request req = fixture_request();
	struct policy *policy = fixture_policy("allow port 80\ndeny user alice log\nallow all\n");
	struct decision d = policy_decide(policy, &req);

	(void)state;
	assert_int_equal(d.verdict, VERDICT_DENY);
	assert_true(d.log);
	assert_int_equal(policy_rule_position(d.rule).line, 2);
	assert_string_equal(policy_rule_position(d.rule).file, "tabi.conf");
	policy_free(policy);
}

/* Before the look-up a rule about addresses is neither matched nor passed over. */
static void name_alone_may_depend(void **state)
{
	struct policy_request req = fixture_request();

	(void)state;
	req.has_ip = false;
	req.name = "www.example.com";
	assert_int_equal(verdict_of("deny to private\nallow all\n", &req), VERDICT_DEPENDS);
	assert_int_equal(verdict_of("allow to private\ndeny all\n", &req), VERDICT_DEPENDS);
	assert_int_equal(verdict_of("allow to private\n", &req), VERDICT_DEPENDS);
	assert_int_equal(verdict_of("deny to private\n", &req), VERDICT_DENY);
	assert_int_equal(verdict_of("deny to private\ndeny all\n", &req), VERDICT_DENY);
	assert_int_equal(verdict_of("allow to private\nallow all\n", &req), VERDICT_ALLOW);
	assert_int_equal(
	    verdict_of("deny to *.example.com\nallow to private\n", &req), VERDICT_DENY);
	assert_int_equal(
	    verdict_of("allow to *.example.com\ndeny to private\n", &req), VERDICT_ALLOW);
	assert_int_equal(
	    verdict_of("deny to self\nallow to *.example.com\n", &req), VERDICT_DEPENDS);
}

static void host_patterns_match_names_only(void **state)
{
	struct policy_request req = fixture_request();
	static const char text[] = "allow to *.example.com,example.org\n";

	(void)state;
	assert_int_equal(verdict_of(text, &req), VERDICT_DENY);
	req.name = "www.example.com";
	assert_int_equal(verdict_of(text, &req), VERDICT_ALLOW);
	req.name = "a.b.example.com";
	assert_int_equal(verdict_of(text, &req), VERDICT_ALLOW);
	req.name = "example.com";
	assert_int_equal(verdict_of(text, &req), VERDICT_DENY);
	req.name = "badexample.com";
	assert_int_equal(verdict_of(text, &req), VERDICT_DENY);
	req.name = "example.org";
	assert_int_equal(verdict_of(text, &req), VERDICT_ALLOW);
	req.name = "EXAMPLE.Org.";
	assert_int_equal(verdict_of(text, &req), VERDICT_ALLOW);
	req.name = "www.example.org";
	assert_int_equal(verdict_of(text, &req), VERDICT_DENY);
	assert_int_equal(verdict_of("allow to *\n", &req), VERDICT_ALLOW);
	req.name = NULL;
	assert_int_equal(verdict_of("allow to *\n", &req), VERDICT_DENY);
}

/* A deny reads an address in every way it may be delivered; an allow only as what it is. */
static void embedded_addresses(void **state)
{
	static const char *const spellings[] = {"64:ff9b::10.0.0.1", "2002:a00:1::1", "::10.0.0.1",
	    "2001:db8:ffff::5efe:10.0.0.1", "2002:808:808::5efe:10.0.0.1"};
	struct policy_request req = fixture_request();

	(void)state;
	for (size_t i = 0; i < sizeof(spellings) / sizeof(spellings[0]); i++) {
		req.ip = fixture_ip(spellings[i]);
		assert_int_equal(verdict_of("deny to 10.0.0.0/8\nallow all\n", &req), VERDICT_DENY);
		assert_int_equal(verdict_of("deny to private\nallow all\n", &req), VERDICT_DENY);
		assert_int_equal(verdict_of("allow to 10.0.0.0/8\n", &req), VERDICT_DENY);
		assert_int_equal(verdict_of("allow to private\n", &req), VERDICT_DENY);
		assert_int_equal(verdict_of("allow to internet\n", &req), VERDICT_DENY);
	}
	/* Who owns any /64 may call himself this. */
	req.client = fixture_ip("2a00:1450::5efe:127.0.0.1");
	assert_int_equal(verdict_of("allow from loopback\n", &req), VERDICT_DENY);
	assert_int_equal(verdict_of("deny from internet\nallow all\n", &req), VERDICT_DENY);
	assert_int_equal(verdict_of("deny from loopback\nallow all\n", &req), VERDICT_DENY);
}

/* A UDP association is about to begin: denied only where every destination would be. */
static void any_target_at_all(void **state)
{
	static const struct {
		const char *text;
		enum verdict verdict;
	} cases[] = {
	    {"allow from any command udp", VERDICT_ALLOW},
	    {"allow from any", VERDICT_ALLOW},
	    {"allow from any port 53", VERDICT_DEPENDS},
	    {"allow from any to dns.example.com", VERDICT_DEPENDS},
	    {"allow from any to 192.0.2.0/24", VERDICT_DEPENDS},
	    {"deny port 25\nallow from any", VERDICT_DEPENDS},
	    {"deny to private\nallow from any", VERDICT_DEPENDS},
	    {"deny command udp\nallow from any", VERDICT_DENY},
	    {"deny to any port 1-65535\ndeny all", VERDICT_DENY},
	    {"allow from any command connect", VERDICT_DENY},
	    {"allow from 192.0.2.1 to any", VERDICT_DENY},
	    {"allow user bob to any port 53", VERDICT_DENY},
	};
	struct policy_request req = fixture_request();

	(void)state;
	req.command = COMMAND_UDP;
	req.any_target = true;
	req.has_ip = false;
	req.name = NULL;
	req.port = 0;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		char text[200];

		snprintf(text, sizeof(text), "%s\n", cases[i].text);
		assert_int_equal(verdict_of(text, &req), cases[i].verdict);
	}
}

static void filter_is_of_the_rule_that_allows(void **state)
{
	struct policy_request req = fixture_request();
	struct policy *p = fixture_policy("allow port 53 filter endpoint-independent\n"
					  "allow port 443 filter address\n"
					  "deny port 25\n"
					  "allow from any\n");

	(void)state;
	assert_int_equal(p->widest_filter, FILTER_ENDPOINT_INDEPENDENT);
	req.port = 53;
	assert_int_equal(policy_decide(p, &req).filter, FILTER_ENDPOINT_INDEPENDENT);
	req.port = 443;
	assert_int_equal(policy_decide(p, &req).filter, FILTER_ADDRESS);
	req.port = 80;
	assert_int_equal(policy_decide(p, &req).filter, FILTER_ADDRESS_PORT);
	req.port = 25;
	assert_int_equal(policy_decide(p, &req).filter, FILTER_ADDRESS_PORT);
	policy_free(p);
}

/* A resolve has no port: it is allowed where some port is, and only there. */
static void resolve_is_for_some_port(void **state)
{
	static const struct {
		const char *text;
		enum verdict verdict;
	} cases[] = {
	    {"allow port 443\n", VERDICT_ALLOW},
	    {"deny port 25\nallow all\n", VERDICT_ALLOW},
	    {"deny port 80,443\nallow port 80,443\n", VERDICT_DENY},
	    {"deny port 80,443\nallow port 80,443-444\n", VERDICT_ALLOW},
	    {"deny port 1-65535\nallow all\n", VERDICT_DENY},
	    {"deny port 1-100\ndeny port 101-65535\nallow all\n", VERDICT_DENY},
	    {"deny port 1-100\ndeny port 102-65535\nallow all\n", VERDICT_ALLOW},
	    {"deny port 2-65535\nallow port 2-65535\nallow port 1\n", VERDICT_ALLOW},
	    {"deny command connect\nallow all\n", VERDICT_ALLOW},
	    {"allow command connect\n", VERDICT_DENY},
	};
	struct policy_request req = fixture_request();

	(void)state;
	req.command = COMMAND_RESOLVE;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		/* What the client says for a port changes nothing. */
		for (unsigned port = 0; port <= 65535; port += 13107) {
			req.port = (uint16_t)port;
			assert_int_equal(verdict_of(cases[i].text, &req), cases[i].verdict);
		}
	req.has_ip = false;
	req.name = "www.example.com";
	assert_int_equal(
	    verdict_of("deny to private port 80\nallow port 80\n", &req), VERDICT_DEPENDS);
	assert_int_equal(
	    verdict_of("deny port 80\nallow to private port 80\n", &req), VERDICT_DENY);
}

static struct decision to_group(const struct policy *p, const char *group)
{
	struct policy_request req = fixture_request();

	req.command = COMMAND_UDP;
	req.has_ip = true;
	assert_int_equal(ip_parse(group, strlen(group), &req.ip), 0);
	return policy_decide(p, &req);
}

static void way_of_multicast_is_of_the_rule_that_allows(void **state)
{
	struct policy *p =
	    fixture_policy("allow to any\n"
			   "allow to 239.1.0.0/16,239.2.0.0/15 ttl 4 interface eth1\n"
			   "allow to 223.0.0.0/8,225.0.0.0/8,224.0.0.0/8\n"
			   "allow to ff0e::/16 interface eth2\n");

	(void)state;
	assert_int_equal(to_group(p, "239.1.2.3").ttl, 4);
	assert_string_equal(to_group(p, "239.3.255.255").interface, "eth1");
	assert_int_equal(to_group(p, "239.4.0.0").verdict, VERDICT_DENY);
	assert_int_equal(to_group(p, "239.0.255.255").verdict, VERDICT_DENY);
	/* Neighbours outside of multicast make no difference. */
	assert_int_equal(to_group(p, "224.0.0.0").verdict, VERDICT_ALLOW);
	assert_int_equal(to_group(p, "224.0.0.0").ttl, 1);
	assert_null(to_group(p, "225.255.255.255").interface);
	assert_int_equal(to_group(p, "226.0.0.0").verdict, VERDICT_DENY);
	assert_int_equal(to_group(p, "ff0e::1").ttl, 1);
	assert_string_equal(to_group(p, "ff0e::1").interface, "eth2");
	assert_int_equal(to_group(p, "ff0f::1").verdict, VERDICT_DENY);
	policy_free(p);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(nothing_matched_means_deny),
	    cmocka_unit_test(first_match_decides),
	    cmocka_unit_test(name_alone_may_depend),
	    cmocka_unit_test(host_patterns_match_names_only),
	    cmocka_unit_test(embedded_addresses),
	    cmocka_unit_test(any_target_at_all),
	    cmocka_unit_test(filter_is_of_the_rule_that_allows),
	    cmocka_unit_test(resolve_is_for_some_port),
	    cmocka_unit_test(way_of_multicast_is_of_the_rule_that_allows),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
