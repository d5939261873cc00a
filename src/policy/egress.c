/* SPDX-License-Identifier: MIT */
/* `egress`: from where what is allowed leaves this host. */
#include "policy/egress.h"

#include <string.h>

#include "policy/diag.h"
#include "policy/parse_int.h"

static const char expected[] =
    "addresses of this machine such as 192.0.2.7,2001:db8::7, an interface such as eth1, 'same', "
    "'pool' and a net, or 'any'";

/* ---- read ---- */

/* One address or net for each family. Returns false after a mistake. */
static bool add(struct parser *p, const struct token *t, struct policy_egress *e,
    const struct ip *ip, unsigned prefix)
{
	enum family family = ip_is_v4(ip) ? FAMILY_V4 : FAMILY_V6;

	if (e->has[family]) {
		parse_fail(p, t, "one of each family at most", "'%.*s' is the second one of IPv%d",
		    SHOWN(t), family == FAMILY_V4 ? 4 : 6);
		return false;
	}
	e->has[family] = true;
	e->ip[family] = *ip;
	e->prefix[family] = prefix;
	return true;
}

/* Nothing can come from there; and a link-local address of IPv6 is none without its interface. */
static bool is_no_source(const struct ip *ip)
{
	unsigned classes = ip_own_classes(ip);
	static const uint8_t broadcast[4] = {255, 255, 255, 255};
	struct ip all = ip_from_v4(broadcast);

	return (classes & (IP_UNSPECIFIED | IP_MULTICAST)) != 0 || ip_equal(ip, &all) ||
	       ((classes & IP_LINKLOCAL) != 0 && !ip_is_v4(ip));
}

static void address_item(struct parser *p, const struct token *t, void *context)
{
	static const char address[] = "an address of this machine such as 192.0.2.7 or 2001:db8::7";
	struct ip ip;

	if (memchr(t->text, '/', t->len))
		parse_fail(
		    p, t, "'pool' before a net", "'%.*s' is a net, not an address", SHOWN(t));
	else if (ip_parse(t->text, t->len, &ip) != 0)
		parse_fail(p, t, address, "'%.*s' is not an address", SHOWN(t));
	else if (is_no_source(&ip))
		parse_fail(p, t, address, "nothing can come from %.*s", SHOWN(t));
	else
		add(p, t, context, &ip, 128);
}

/* The last address of a net. */
static struct ip last_of(const struct ip *net, unsigned prefix)
{
	struct ip ip = *net;

	for (unsigned bit = prefix; bit < 128; bit++)
		ip.b[bit / 8] |= (uint8_t)(0x80 >> bit % 8);
	return ip;
}

static void net_item(struct parser *p, const struct token *t, void *context)
{
	static const char net[] = "a net that is routed to this machine, such as 2001:db8:1::/64";
	struct ip first, last;
	unsigned prefix;

	if (!parse_net(p, t, &first, &prefix))
		return;
	last = last_of(&first, prefix);
	if (is_no_source(&first) || is_no_source(&last))
		parse_fail(p, t, net, "'%.*s' has addresses that nothing can come from", SHOWN(t));
	else
		add(p, t, context, &first, prefix);
}

/* `pool` NET[,NET] [sticky per user] */
static const struct token *read_pool(
    struct parser *p, const struct token *t, struct policy_egress *e)
{
	static const char per_user[] = "'sticky per user'";

	e->kind = EGRESS_POOL;
	t = parse_list(p, t + 1, "a net such as 2001:db8:1::/64", net_item, e);
	if (!t || !token_is(t, "sticky"))
		return t;
	if (!token_is(t + 1, "per") || !token_is(t + 2, "user")) {
		parse_fail(p, t, per_user, "'sticky' does not say for whom");
		return NULL;
	}
	e->sticky = true;
	return t + 3;
}

/* Is it meant as an address, or a net? An interface may be called eth0.100. */
static bool looks_like_address(const struct token *t)
{
	bool numeric = true;

	if (t->quoted)
		return false;
	for (size_t i = 0; i < t->len; i++) {
		char c = t->text[i];

		if (c == '/' || c == ':')
			return true;
		numeric = numeric && ((c >= '0' && c <= '9') || c == '.');
	}
	return numeric;
}

static const struct token *read_interface(
    struct parser *p, const struct token *t, struct policy_egress *e)
{
	if (!groups_is_interface(t)) {
		parse_fail(p, t, expected, "'%.*s' is no address, and no interface is called so",
		    SHOWN(t));
		return NULL;
	}
	if (t[1].kind == TOKEN_COMMA) {
		parse_fail(p, t + 1, "one interface, and another rule for other destinations",
		    "what is sent leaves by one interface");
		return NULL;
	}
	e->kind = EGRESS_INTERFACE;
	e->interface = arena_copy(&p->arena, t->text, t->len);
	return t + 1;
}

static const struct token *read_egress(
    struct parser *p, const struct token *t, struct policy_egress *e)
{
	if (!parse_word(p, t, expected))
		return NULL;
	if (token_is(t, "any"))
		return t + 1;
	if (token_is(t, "same")) {
		e->kind = EGRESS_SAME;
		return t + 1;
	}
	if (token_is(t, "pool"))
		return read_pool(p, t, e);
	if (rules_is_word(t)) {
		parse_fail(p, t, expected, "what 'egress' is to be is missing");
		return NULL;
	}
	if (!looks_like_address(t))
		return read_interface(p, t, e);
	e->kind = EGRESS_ADDRESS;
	return parse_list(p, t, expected, address_item, e);
}

const struct token *egress_parse(
    struct parser *p, const struct token *t, const struct policy_egress **ret_egress)
{
	struct policy_egress *e = arena_alloc(&p->arena, sizeof(*e));
	const struct token *end;

	if (!e)
		return NULL;
	e->at = t->at;
	end = read_egress(p, t + 1, e);
	if (end)
		e->text = rule_join_words(p, t + 1, end);
	*ret_egress = e;
	return end;
}

void setting_egress(struct parser *p, const struct token *t)
{
	const struct policy_egress *e = NULL;
	const struct token *end;

	if (!parse_once(p, &p->seen[SETTING_EGRESS], t))
		return;
	end = egress_parse(p, t, &e);
	if (end && parse_end(p, end))
		p->policy->set.egress = e;
}

/* A grant that nothing could come of is a slip. */
void egress_check(struct parser *p, const struct token *t, const struct policy_rule *rule)
{
	if (rule->egress && rule->commands == 1u << COMMAND_RESOLVE && !rule->via)
		parse_fail(p, t, "another command than resolve, or 'via'",
		    "'egress' says from where to connect, and nothing is connected to here");
	else if (rule->egress && rule->egress->kind == EGRESS_INTERFACE && rule->interface &&
		 strcmp(rule->interface, rule->egress->interface) != 0)
		parse_fail(p, t, "one of the two, or both alike",
		    "'interface' and 'egress' of this rule lead to two interfaces");
}

/* ---- used ---- */

static const struct policy_egress *unless_any(const struct policy_egress *e)
{
	return e && e->kind != EGRESS_ANY ? e : NULL;
}

const struct policy_egress *egress_by_default(const struct policy_settings *set)
{
	return unless_any(set->egress);
}

const struct policy_egress *rule_egress(
    const struct policy_rule *rule, const struct policy_settings *set)
{
	return unless_any(rule->egress ? rule->egress : set->egress);
}

static uint64_t word_of(const uint8_t *bytes)
{
	uint64_t word = 0;

	for (int i = 0; i < 8; i++)
		word = word << 8 | bytes[i];
	return word;
}

/* Adds a number to an address whose host bits are 0: the number has no more bits than these. */
static void add_number(struct ip *ip, uint64_t high, uint64_t low)
{
	for (int i = 0; i < 8; i++) {
		ip->b[i] |= (uint8_t)(high >> (56 - 8 * i));
		ip->b[8 + i] |= (uint8_t)(low >> (56 - 8 * i));
	}
}

/*
 * Of few addresses the number is a remainder of 64 random bits, which favours none by more than
 * 2^-32; of more than 2^32 the bits themselves are the number, and the one that is left out gives
 * its share to its neighbour.
 */
struct ip egress_choose(
    const struct policy_egress *pool, enum family family, const uint8_t random[static EGRESS_BITS])
{
	const unsigned bits = 128 - pool->prefix[family];
	uint64_t high = word_of(random), low = word_of(random + 8);
	struct ip ip = pool->ip[family];

	if (bits < 2) {
		low &= bits;
		high = 0;
	} else if (bits <= 32) {
		uint64_t left_out = family == FAMILY_V4 ? 2 : 1;

		low = 1 + low % (((uint64_t)1 << bits) - left_out);
		high = 0;
	} else {
		high = bits <= 64    ? 0
		       : bits == 128 ? high
				     : high & (((uint64_t)1 << (bits - 64)) - 1);
		low = bits >= 64 ? low : low & (((uint64_t)1 << bits) - 1);
		low += high == 0 && low == 0;
	}
	add_number(&ip, high, low);
	return ip;
}

bool egress_is_same(const struct policy_egress *a, const struct policy_egress *b)
{
	return a == b || (a && b && strcmp(a->text, b->text) == 0);
}
