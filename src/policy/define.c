/* SPDX-License-Identifier: MIT */
/* Definitions: statements that give a name to nets, hosts, hours and groups. */
#include "policy/parse_int.h"

#include <stdio.h>
#include <string.h>

#include "policy/diag.h"

#define NAME_MAX_LEN 63

static bool is_name_char(char c, bool first)
{
	bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';

	return letter || (!first && ((c >= '0' && c <= '9') || c == '-'));
}

static bool name_is_valid(const struct token *t)
{
	if (t->len == 0 || t->len > NAME_MAX_LEN)
		return false;
	for (size_t i = 0; i < t->len; i++)
		if (!is_name_char(t->text[i], i == 0))
			return false;
	return true;
}

static bool check_name(struct parser *p, const struct token *t, const char *missing)
{
	if (!parse_word(p, t, missing))
		return false;
	if (!name_is_valid(t)) {
		parse_fail(p, t, "a letter, then letters, digits, '-' and '_', at most 63 in all",
		    "'%.*s' cannot be a name", SHOWN(t));
		return false;
	}
	if (rules_is_word(t) || rules_is_builtin(t)) {
		parse_fail(p, t, "another name",
		    rules_is_word(t) ? "'%.*s' is a word of rules and cannot be defined"
				     : "'%.*s' is known without being defined",
		    SHOWN(t));
		return false;
	}
	return true;
}

struct definition *define_name(
    struct parser *p, enum name_space space, const struct token *t, const char *missing)
{
	return check_name(p, t, missing) ? parse_add_name(p, space, t) : NULL;
}

struct definition *define_name_again(
    struct parser *p, enum name_space space, const struct token *t, const char *missing)
{
	struct definition *d;

	if (!check_name(p, t, missing))
		return NULL;
	d = parse_lookup(p, space, t);
	return d ? d : parse_add_name(p, space, t);
}

/*
 * The values of a definition, separated by spaces, commas or both; at least one. `item` gets each.
 */
static void each_value(
    struct parser *p, const struct token *t, const char *expected, parse_item *item, void *context)
{
	do {
		if (!parse_word(p, t, expected))
			return;
		item(p, t++, context);
		if (t->kind == TOKEN_COMMA && t[1].kind != TOKEN_WORD) {
			parse_word(p, t + 1, expected);
			return;
		}
		if (t->kind == TOKEN_COMMA)
			t++;
	} while (t->kind != TOKEN_END);
}

static void net_item(struct parser *p, const struct token *t, void *context)
{
	struct net_set *set = context;
	unsigned prefix;
	struct ip net;

	if (parse_net(p, t, &net, &prefix))
		net_set_add(set, &p->arena, &net, prefix);
}

void define_net(struct parser *p, const struct token *t)
{
	struct definition *d = define_name(
	    p, NAMES_PLACE, t + 1, "a name and its nets, such as: net office 10.0.0.0/8");

	if (!d)
		return;
	d->nets = arena_alloc(&p->arena, sizeof(*d->nets));
	if (!d->nets)
		return;
	each_value(
	    p, t + 2, "addresses or nets, such as 10.0.0.0/8 2001:db8::/32", net_item, d->nets);
	net_set_close(d->nets);
}

static void host_item(struct parser *p, const struct token *t, void *context)
{
	parse_host(p, t, context);
}

void define_host(struct parser *p, const struct token *t)
{
	struct definition *d = define_name(p, NAMES_PLACE, t + 1,
	    "a name and its hosts, such as: host work *.example.com example.org");

	if (!d)
		return;
	d->hosts = arena_alloc(&p->arena, sizeof(*d->hosts));
	if (d->hosts)
		each_value(
		    p, t + 2, "host names or patterns, such as *.example.com", host_item, d->hosts);
}

/* `days` gather until times follow; times apply to them until days come again. */
struct hours_reader {
	struct hours *hours;
	unsigned days;
	bool had_times;
};

#define ALL_DAYS 0x7fu

static void hours_item(struct parser *p, const struct token *t, void *context)
{
	struct hours_reader *r = context;
	unsigned days = hours_parse_days(t->text, t->len), from, to;

	if (days) {
		r->days = r->had_times ? days : r->days | days;
		r->had_times = false;
	} else if (hours_parse_span(t->text, t->len, &from, &to)) {
		hours_add(r->hours, r->days ? r->days : ALL_DAYS, from, to);
		r->had_times = true;
	} else if (t->len > 0 && t->text[0] >= '0' && t->text[0] <= '9') {
		/* Counts as times, lest the days before it seem to mean whole days. */
		r->had_times = true;
		parse_fail(p, t, "HH:MM-HH:MM, such as 09:00-18:00 or 22:00-06:00",
		    "'%.*s' is not a span of time", SHOWN(t));
	} else {
		parse_fail(p, t, "days (Mon, Mon-Fri) or a span of time (09:00-18:00)",
		    "'%.*s' is neither a day nor a time", SHOWN(t));
	}
}

void define_hours(struct parser *p, const struct token *t)
{
	struct definition *d = define_name(p, NAMES_HOURS, t + 1,
	    "a name and its times, such as: hours business Mon-Fri 09:00-18:00");
	struct hours_reader r = {0};

	if (!d)
		return;
	d->hours = arena_alloc(&p->arena, sizeof(*d->hours));
	if (!d->hours)
		return;
	r.hours = d->hours;
	each_value(p, t + 2, "days and times, such as Mon-Fri 09:00-18:00", hours_item, &r);
	if (r.days && !r.had_times)
		hours_add(d->hours, r.days, 0, DAY_MINUTES);
}

static void group_item(struct parser *p, const struct token *t, void *context)
{
	if (t->len == 0)
		parse_fail(p, t, "the name of a user", "an empty name");
	else
		string_set_add(context, &p->arena, t->text, t->len);
}

void define_group(struct parser *p, const struct token *t)
{
	struct definition *d = define_name(
	    p, NAMES_GROUP, t + 1, "a name and its users, such as: group admins alice,bob");

	if (!d)
		return;
	d->group = arena_alloc(&p->arena, sizeof(*d->group));
	if (d->group)
		each_value(p, t + 2, "users, such as alice,bob", group_item, d->group);
}
