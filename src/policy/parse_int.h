/* SPDX-License-Identifier: MIT */
/* What the files of the parser share: parse.c drives, settings.c, define.c and rules.c know the
 * statements. */
#ifndef TABI_POLICY_PARSE_INT_H
#define TABI_POLICY_PARSE_INT_H

#include "policy/lex.h"
#include "policy/rule.h"
#include "policy/words.h"

#define INCLUDE_DEPTH_MAX 16
#define INCLUDE_COUNT_MAX 1000

/* Names live in one space for each use, so that a group and a net may be called the same. */
enum name_space {
	NAMES_PLACE, /* net, host */
	NAMES_HOURS,
	NAMES_PROXY,
	NAMES_GROUP,
	NAMES_LISTENER, /* the texts of `listen` */
	NAMES_COUNT,
};

struct definition {
	const char *name;
	struct position at;
	struct definition *next; /* of the same space, to guess misspelt names */
	/* What it defines: one of these is set. */
	struct net_set *nets;
	struct host_set *hosts;
	struct hours *hours;
	struct string_set *group;
	size_t listener; /* index in policy->listeners */
	bool is_proxy;
	size_t proxy; /* then: index in policy->proxies */
};

/* Statements that may stand once; `timeout` counts each of its words. */
enum setting {
	SETTING_WORKERS,
	SETTING_USER,
	SETTING_LOG,
	SETTING_RELAY,
	SETTING_CONTROL,
	SETTING_METRICS,
	SETTING_SANDBOX,
	SETTING_RESOLVER,
	SETTING_BIND_PORTS,
	SETTING_UDP_PORTS,
	SETTING_FRAGMENTS,
	SETTING_EGRESS,
	SETTING_TIMEOUT, /* + enum timeout */
	SETTING_COUNT = SETTING_TIMEOUT + TIMEOUT_COUNT,
};

/* An `auth` statement: where it begins, and where its own values have ended. */
struct auth_tokens {
	const struct token *statement, *clients;
};

struct parser {
	struct arena arena; /* becomes the policy's */
	struct parse_source *src;
	struct diagnostics *diags;
	struct policy *policy;
	struct table names[NAMES_COUNT];
	struct definition *defined[NAMES_COUNT]; /* the same as lists, last one first */
	struct position seen[SETTING_COUNT];

	/* Files being read, innermost last, and the names of all that were. */
	struct lex open[INCLUDE_DEPTH_MAX];
	size_t n_open;
	const char **files;
	size_t n_files;

	/* Rules wait until every name is known: tokens that begin with `allow` or `deny`. */
	const struct token **rules;
	size_t n_rules;
	/* The same of whom each `auth` of the policy is for. */
	struct auth_tokens *auths;
	/* And of the `from` of each listener; NULL where there is none. */
	const struct token **senders;
};

/*
 * Two arguments for "%.*s": a word, cut where it is absurdly long. A URL is then cut behind its
 * scheme: diag_add() masks a password by the '@' behind it, which must not be cut off.
 */
#define SHOWN(t) parse_shown_length(t), (t)->text
int parse_shown_length(const struct token *t);

/* A mistake at a token. */
#define parse_fail(p, t, ...) diag_add((p)->diags, &(t)->at, __VA_ARGS__)

/* Is it this keyword? */
bool token_is(const struct token *t, const char *word);

/* Is `t` a word? Otherwise says what is missing and returns false. */
bool parse_word(struct parser *p, const struct token *t, const char *expected);

/* Is the statement over? Otherwise says that `t` is too much. */
bool parse_end(struct parser *p, const struct token *t);

/* The row of the table that `t` is, or NULL after "unknown WHAT 'word'". */
const struct word *parse_keyword(
    struct parser *p, const struct token *t, const struct word *table, const char *what);

/* Reports "unknown WHAT 'word'" with the nearest word of the table. */
void parse_unknown(
    struct parser *p, const struct token *t, const struct word *table, const char *what);

/*
 * A list with commas, as in a rule: calls `item` for each word from `t` on. Returns the token
 * behind the list, or NULL after a mistake of the list itself (`item` reports its own, and the list
 * goes on).
 */
typedef void parse_item(struct parser *p, const struct token *t, void *context);
const struct token *parse_list(
    struct parser *p, const struct token *t, const char *expected, parse_item *item, void *context);

/* Once per statement: was `seen` set before? Then says where; otherwise sets it. */
bool parse_once(struct parser *p, struct position *seen, const struct token *t);

/* Notes a word whose effect this version lacks; the caller may add what it expected. NULL without
 * memory. */
struct policy_later *parse_later(struct parser *p, const struct token *t);

/* The definition of that name, or NULL. */
struct definition *parse_lookup(struct parser *p, enum name_space space, const struct token *t);

/* Reports that `t` names nothing, with the nearest name that exists. */
void parse_undefined(struct parser *p, enum name_space space, const struct token *t,
    const char *what, const char *expected);

/* The name of a definition in `space`: checked, and added. NULL after a mistake; `missing` is what
 * was expected where there is none. */
struct definition *define_name(
    struct parser *p, enum name_space space, const struct token *t, const char *missing);

/* The same where the name may be taken by a definition of this space; that one is returned then. */
struct definition *define_name_again(
    struct parser *p, enum name_space space, const struct token *t, const char *missing);

/* Adds a definition called as `t` says; NULL where the name is taken (which is reported) or there
 * is no memory. */
struct definition *parse_add_name(struct parser *p, enum name_space space, const struct token *t);

/* Numbers and quantities; each reports its mistakes and returns whether there was none. */
bool parse_number(struct parser *p, const struct token *t, unsigned min, unsigned max,
    const char *expected, unsigned *ret);
bool parse_time(struct parser *p, const struct token *t, uint64_t *ret_ms);
bool parse_size(struct parser *p, const struct token *t, uint64_t *ret_bytes);
bool parse_rate(struct parser *p, const struct token *t, uint64_t *ret_bytes);
bool parse_path(struct parser *p, const struct token *t, const char *expected);

/* PORT or FIRST-LAST, from `min` (at least 1) on. */
bool parse_port_range(
    struct parser *p, const struct token *t, unsigned min, struct port_range *ret_range);

/* One net or address; `add` gets it with `prefix` in 128 bits. */
bool parse_net(struct parser *p, const struct token *t, struct ip *ret_net, unsigned *ret_prefix);

/* One host pattern into a set. */
void parse_host(struct parser *p, const struct token *t, struct host_set *set);

/* Is it a word of rules, such as `from`? Then a list cannot hold it unquoted. */
bool rules_is_word(const struct token *t);

/* Is it one of the names known without being defined? */
bool rules_is_builtin(const struct token *t);

/* A statement: called with its tokens, the first being its name. */
typedef void parse_statement(struct parser *p, const struct token *t);

parse_statement setting_workers, setting_user, setting_log, setting_relay, setting_timeout,
    setting_control, setting_metrics, setting_sandbox, setting_resolver, setting_bind_ports,
    setting_udp_ports, setting_fragments, setting_egress;
parse_statement define_net, define_host, define_hours, define_proxy, define_group;
parse_statement serve_listen, serve_auth, serve_limit;

/* The words `ttl` and `interface` of a rule. Return the token behind, or NULL after a mistake. */
const struct token *groups_parse_ttl(
    struct parser *p, const struct token *t, struct policy_rule *rule);
const struct token *groups_parse_interface(
    struct parser *p, const struct token *t, struct policy_rule *rule);

/* Could an interface have this name? Whether it is there is known when it is used. */
bool groups_is_interface(const struct token *t);

/* What follows the word `egress` at `t`, in a rule or as a setting. The same. */
const struct token *egress_parse(
    struct parser *p, const struct token *t, const struct policy_egress **ret_egress);

/* A rule that begins at `t` and is read: does what it says of its egress have an effect? */
void egress_check(struct parser *p, const struct token *t, const struct policy_rule *rule);

/* The words `via` and `credentials` of a rule. The same. */
const struct token *proxies_parse_via(
    struct parser *p, const struct token *t, struct policy_rule *rule);
const struct token *proxies_parse_credentials(
    struct parser *p, const struct token *t, struct policy_rule *rule);

/* A rule that begins at `t` and is read: does what it says of proxies go together? */
void proxies_check(struct parser *p, const struct token *t, const struct policy_rule *rule);

/* A rule that begins at `t` and is read: does what it says of multicast have an effect? */
void groups_check(struct parser *p, const struct token *t, const struct policy_rule *rule);

/* A rule, once all names are known. */
void rule_parse(struct parser *p, const struct token *t, struct policy_rule *rule);

/* The words `from`, `listener` and `user` of an `auth` statement, from `t` on, as the conditions of
 * a rule; once all names are known. */
void rule_parse_client(struct parser *p, const struct token *t, struct policy_rule *rule);

/* The list behind the word `from` at `t` alone; once all names are known. */
void rule_parse_from(struct parser *p, const struct token *t, struct policy_rule *rule);

/* The words from `t` to before `end` on one line. */
char *rule_join_words(struct parser *p, const struct token *t, const struct token *end);

/* What `auth` statements say of clients, and listeners of senders, once all names are known. */
void serve_auth_clients(struct parser *p);
void serve_senders(struct parser *p);

#endif
