/* SPDX-License-Identifier: MIT */
/* What rules say of multicast: how far it goes, by which interface, and whether it goes at all. */
#include <stdint.h>
#include <string.h>

#include "policy/diag.h"
#include "policy/parse_int.h"
#include "policy/rule.h"

/* IF_NAMESIZE, with NUL; its header is no business of this floor. */
#define INTERFACE_NAME_SIZE 16

const struct token *groups_parse_ttl(
    struct parser *p, const struct token *t, struct policy_rule *rule)
{
	unsigned n;

	if (!parse_number(p, t + 1, 1, UINT8_MAX, "how many hops at most, from 1 to 255", &n))
		return NULL;
	rule->ttl = (uint8_t)n;
	return t + 2;
}

/* As the kernel sees it (dev_valid_name). */
bool groups_is_interface(const struct token *t)
{
	if (t->len == 0 || t->len >= INTERFACE_NAME_SIZE || strcmp(t->text, ".") == 0 ||
	    strcmp(t->text, "..") == 0)
		return false;
	for (size_t i = 0; i < t->len; i++)
		if (strchr("/: \t\v\f", t->text[i]))
			return false;
	return true;
}

const struct token *groups_parse_interface(
    struct parser *p, const struct token *t, struct policy_rule *rule)
{
	static const char expected[] = "the name of an interface of this machine, such as eth1";

	if (!parse_word(p, t + 1, expected))
		return NULL;
	if (!groups_is_interface(t + 1)) {
		parse_fail(
		    p, t + 1, expected, "'%.*s' is not the name of an interface", SHOWN(t + 1));
		return NULL;
	}
	if (t[2].kind == TOKEN_COMMA) {
		parse_fail(p, t + 2, "one interface, and another rule for other groups",
		    "a datagram leaves by one interface");
		return NULL;
	}
	rule->interface = arena_copy(&p->arena, t[1].text, t[1].len);
	return t + 2;
}

bool place_names_groups(const struct place *place)
{
	for (size_t i = 0; i < place->n_nets; i++)
		if (place->nets[i]->n_groups > 0)
			return true;
	return (place->classes & IP_MULTICAST) != 0;
}

/* The word of the rule that is about multicast, or NULL. */
static const char *word_of_multicast(const struct policy_rule *rule)
{
	if (rule->ttl > 0)
		return "ttl";
	if (rule->interface)
		return "interface";
	return rule->allow && rule->commands >> COMMAND_MULTICAST & 1 ? "command multicast" : NULL;
}

/* A grant that nothing could come of is a slip. */
void groups_check(struct parser *p, const struct token *t, const struct policy_rule *rule)
{
	static const unsigned datagrams = 1u << COMMAND_UDP | 1u << COMMAND_MULTICAST;
	const char *word = word_of_multicast(rule);

	if (!word)
		return;
	if (!place_names_groups(&rule->to))
		parse_fail(p, t, "'to multicast', or nets of groups such as 239.0.0.0/8",
		    "'%s' is about multicast, and this rule does not say to which groups", word);
	else if (rule->commands != 0 && (rule->commands & datagrams) == 0)
		parse_fail(p, t, "command udp or multicast",
		    "'%s' is about datagrams, and no command here has any", word);
}
