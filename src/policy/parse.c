/* SPDX-License-Identifier: MIT */
/*
 * The parser's frame: files, statements, and what all statements share.
 *
 * Theory of operation. Statements are read one by one, from a stack of files rather than by
 * recursion. Every statement is parsed where it stands but rules: these wait until all is read, so
 * that a name may be used before its definition. A statement with a mistake is dropped and the next
 * one is parsed; one pass finds all mistakes.
 */
#include "policy/parse.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "policy/diag.h"
#include "policy/parse_int.h"
#include "proto/err.h"

const char parse_default_name[] = "(built-in)";
const char parse_default_text[] = "listen 127.0.0.1:1080\n"
				  "listen [::1]:1080\n"
				  "allow from loopback to any\n";

/* Characters of a word in a message. */
#define SHOWN_MAX 60

struct statement_row {
	const char *name;
	parse_statement *parse;
};

static void add_rule(struct parser *p, const struct token *t);
static void include_file(struct parser *p, const struct token *t);

static const struct statement_row statements[] = {
    {"allow", add_rule},
    {"deny", add_rule},
    {"listen", serve_listen},
    {"auth", serve_auth},
    {"limit", serve_limit},
    {"net", define_net},
    {"host", define_host},
    {"hours", define_hours},
    {"group", define_group},
    {"proxy", define_proxy},
    {"include", include_file},
    {"workers", setting_workers},
    {"user", setting_user},
    {"log", setting_log},
    {"relay", setting_relay},
    {"timeout", setting_timeout},
    {"resolver", setting_resolver},
    {"bind-ports", setting_bind_ports},
    {"udp-ports", setting_udp_ports},
    {"fragments", setting_fragments},
    {"egress", setting_egress},
    {"control", setting_control},
    {"metrics", setting_metrics},
    {"sandbox", setting_sandbox},
    {NULL, NULL},
};

int parse_shown_length(const struct token *t)
{
	const char *scheme_end = memmem(t->text, t->len, "://", 3);

	if (t->len <= SHOWN_MAX)
		return (int)t->len;
	return scheme_end && scheme_end < t->text + SHOWN_MAX ? (int)(scheme_end + 3 - t->text)
							      : SHOWN_MAX;
}

bool token_is(const struct token *t, const char *word)
{
	return t->kind == TOKEN_WORD && !t->quoted && t->len == strlen(word) &&
	       memcmp(t->text, word, t->len) == 0;
}

bool parse_word(struct parser *p, const struct token *t, const char *expected)
{
	if (t->kind == TOKEN_WORD)
		return true;
	if (t->kind == TOKEN_COMMA)
		parse_fail(p, t, expected, "a ',' with nothing before it");
	else if (t[-1].kind == TOKEN_COMMA)
		parse_fail(p, &t[-1], expected, "nothing follows this ','");
	else
		parse_fail(p, t, expected, "something is missing after '%.*s'", SHOWN(&t[-1]));
	return false;
}

bool parse_end(struct parser *p, const struct token *t)
{
	if (t->kind == TOKEN_END)
		return true;
	parse_fail(p, t, "the end of the statement", "'%.*s' is too much here", SHOWN(t));
	return false;
}

void parse_unknown(
    struct parser *p, const struct token *t, const struct word *table, const char *what)
{
	const char *near = t->quoted ? NULL : words_nearest(table, t->text, t->len);
	char list[WORDS_LIST_MAX];

	words_list(table, list);
	if (near)
		parse_fail(
		    p, t, list, "unknown %s '%.*s'; did you mean '%s'?", what, SHOWN(t), near);
	else
		parse_fail(p, t, list, "unknown %s '%.*s'", what, SHOWN(t));
}

const struct word *parse_keyword(
    struct parser *p, const struct token *t, const struct word *table, const char *what)
{
	char list[WORDS_LIST_MAX];
	const struct word *w;

	if (!parse_word(p, t, words_list(table, list)))
		return NULL;
	w = t->quoted ? NULL : words_find(table, t->text, t->len);
	if (!w)
		parse_unknown(p, t, table, what);
	return w;
}

const struct token *parse_list(
    struct parser *p, const struct token *t, const char *expected, parse_item *item, void *context)
{
	for (;;) {
		if (!parse_word(p, t, expected))
			return NULL;
		item(p, t++, context);
		if (diag_full(p->diags))
			return NULL;
		if (t->kind != TOKEN_COMMA)
			return t;
		t++;
		if (t->kind != TOKEN_END && (t->spaced || t[-1].spaced)) {
			parse_fail(p, &t[-1], "a list without spaces, such as 80,443",
			    "white space around the ',' of a list");
			return NULL;
		}
	}
}

bool parse_once(struct parser *p, struct position *seen, const struct token *t)
{
	if (seen->line == 0) {
		*seen = t->at;
		return true;
	}
	if (seen->file == t->at.file && seen->line == t->at.line)
		parse_fail(p, t, NULL, "'%.*s' stands here for the second time", SHOWN(t));
	else
		parse_fail(p, t, NULL, "'%.*s' stands here for the second time; the first is %s:%u",
		    SHOWN(t), seen->file, seen->line);
	return false;
}

struct policy_later *parse_later(struct parser *p, const struct token *t)
{
	struct policy *policy = p->policy;
	struct policy_later *later =
	    arena_append(&p->arena, policy->later, policy->n_later, sizeof(*later));

	if (!later)
		return NULL;
	policy->later = later;
	later += policy->n_later++;
	*later = (struct policy_later){.at = t->at, .word = t->text};
	return later;
}

struct definition *parse_lookup(struct parser *p, enum name_space space, const struct token *t)
{
	return table_get(&p->names[space], t->text, t->len);
}

void parse_undefined(struct parser *p, enum name_space space, const struct token *t,
    const char *what, const char *expected)
{
	struct words_guess guess = words_guess_for(t->text, t->len);

	for (const struct definition *d = p->defined[space]; d; d = d->next)
		words_guess_offer(&guess, d->name);
	if (guess.best)
		parse_fail(p, t, expected, "no %s is called '%.*s'; did you mean '%s'?", what,
		    SHOWN(t), guess.best);
	else
		parse_fail(p, t, expected, "no %s is called '%.*s'", what, SHOWN(t));
}

struct definition *parse_add_name(struct parser *p, enum name_space space, const struct token *t)
{
	struct definition *d = parse_lookup(p, space, t);

	if (d) {
		parse_fail(p, t, NULL,
		    "'%.*s' is defined here for the second time; the first is %s:%u", SHOWN(t),
		    d->at.file, d->at.line);
		return NULL;
	}
	d = arena_alloc(&p->arena, sizeof(*d));
	if (!d || !table_put(&p->names[space], &p->arena, t->text, t->len, d))
		return NULL;
	d->name = t->text;
	d->at = t->at;
	d->next = p->defined[space];
	p->defined[space] = d;
	return d;
}

static void add_rule(struct parser *p, const struct token *t)
{
	const struct token **rules =
	    arena_append(&p->arena, p->rules, p->n_rules, sizeof(*p->rules));

	if (!rules)
		return;
	p->rules = rules;
	rules[p->n_rules++] = t;
}

struct reason_row {
	int err;
	const char *text;
};

/* strerror() would ask the locale. */
static const struct reason_row reasons[] = {
    {-ENOENT, "there is no such file"},
    {-ENOTDIR, "there is no such file"},
    {-EACCES, "permission denied"},
    {-EPERM, "permission denied"},
    {-EISDIR, "it is a directory"},
    {-EFBIG, "it is too large for a configuration"},
    {-ELOOP, "too many symbolic links"},
    {-ENAMETOOLONG, "its name is too long"},
    {-EMFILE, "out of descriptors"},
    {-ENOMEM, "out of memory"},
};

static const char *reason_of(int err)
{
	for (size_t i = 0; i < sizeof(reasons) / sizeof(reasons[0]); i++)
		if (reasons[i].err == err)
			return reasons[i].text;
	return "an error while reading";
}

/* Reads a file and puts it on the stack. `name` lives on the arena. Returns 0 or -errno. */
static int open_file(struct parser *p, const char *name)
{
	const char *text = NULL;
	const char **files;
	size_t len = 0;
	int err;

	err = p->src->read(p->src, name, &text, &len);
	if (err)
		return err;
	files = arena_append(&p->arena, p->files, p->n_files, sizeof(*files));
	if (!files)
		return -ENOMEM;
	p->files = files;
	files[p->n_files++] = name;
	lex_init(&p->open[p->n_open++], &p->arena, p->diags, name, text, len);
	return 0;
}

/* The path of an included file: relative ones begin where the file stands that says it. */
static const char *join_path(struct parser *p, const char *from, const struct token *name)
{
	const char *slash = strrchr(from, '/');
	size_t dir_len = slash && name->text[0] != '/' ? (size_t)(slash - from) + 1 : 0;
	char *path = arena_alloc(&p->arena, dir_len + name->len + 1);

	if (path) {
		memcpy(path, from, dir_len);
		memcpy(path + dir_len, name->text, name->len);
	}
	return path;
}

static void include_file(struct parser *p, const struct token *t)
{
	const struct token *name = t + 1;
	const char *path;
	int err;

	if (!parse_path(p, name, "the name of a file in quotes") || !parse_end(p, name + 1))
		return;
	path = join_path(p, t->at.file, name);
	if (!path)
		return;
	for (size_t i = 0; i < p->n_open; i++)
		if (strcmp(p->open[i].file, path) == 0) {
			parse_fail(p, name, NULL, "'%.*s' includes itself by way of this line",
			    SHOWN(name));
			return;
		}
	if (p->n_open == INCLUDE_DEPTH_MAX || p->n_files == INCLUDE_COUNT_MAX) {
		parse_fail(p, name, NULL,
		    p->n_open == INCLUDE_DEPTH_MAX ? "files include each other more than 16 deep"
						   : "more than 1000 files");
		return;
	}
	err = open_file(p, path);
	if (err)
		parse_fail(p, name, NULL, "'%.*s' cannot be read: %s", SHOWN(name), reason_of(err));
}

static void parse_one(struct parser *p, const struct token *t)
{
	struct words_guess guess = words_guess_for(t->text, t->len);

	if (t->kind != TOKEN_WORD) {
		parse_fail(p, t, "a statement", "a line cannot begin with ','");
		return;
	}
	for (const struct statement_row *s = statements; s->name; s++) {
		if (token_is(t, s->name)) {
			s->parse(p, t);
			return;
		}
		words_guess_offer(&guess, s->name);
	}
	if (rules_is_word(t))
		parse_fail(p, t, "allow or deny before it",
		    "'%.*s' is a word of rules, and begins none", SHOWN(t));
	else if (guess.best)
		parse_fail(p, t, NULL, "unknown statement '%.*s'; did you mean '%s'?", SHOWN(t),
		    guess.best);
	else
		parse_fail(p, t,
		    "allow, deny, listen, auth, limit, net, host, hours, group, proxy, include or "
		    "a "
		    "setting",
		    "unknown statement '%.*s'", SHOWN(t));
}

static int read_statements(struct parser *p)
{
	while (p->n_open > 0 && !diag_full(p->diags)) {
		const struct token *tokens;

		switch (lex_statement(&p->open[p->n_open - 1], &tokens)) {
		case LEX_STATEMENT:
			parse_one(p, tokens);
			break;
		case LEX_BROKEN:
			break;
		case LEX_EOF:
			p->n_open--;
			break;
		case LEX_NO_MEMORY:
			return -ENOMEM;
		}
	}
	return p->arena.failed ? -ENOMEM : 0;
}

static int parse_rules(struct parser *p)
{
	struct policy *policy = p->policy;

	policy->rules = arena_alloc(&p->arena, (p->n_rules + 1) * sizeof(*policy->rules));
	if (!policy->rules)
		return -ENOMEM;
	for (size_t i = 0; i < p->n_rules && !diag_full(p->diags); i++)
		rule_parse(p, p->rules[i], &policy->rules[policy->n_rules++]);
	return p->arena.failed ? -ENOMEM : 0;
}

static void set_defaults(struct policy *policy)
{
	policy->set.log_level = LOG_AT_INFO;
	policy->set.timeout_ms[TIMEOUT_HANDSHAKE] = 30 * 1000;
	policy->set.timeout_ms[TIMEOUT_CONNECT] = 30 * 1000;
	policy->set.timeout_ms[TIMEOUT_IDLE] = 2 * 3600 * 1000;
	policy->set.timeout_ms[TIMEOUT_HALFCLOSE] = 5 * 60 * 1000;
	policy->set.timeout_ms[TIMEOUT_KEEPALIVE] = 2 * 60 * 1000;
	policy->set.timeout_ms[TIMEOUT_BIND] = 2 * 60 * 1000;
	policy->set.timeout_ms[TIMEOUT_UDP] = 5 * 60 * 1000;
	policy->set.timeout_ms[TIMEOUT_DRAIN] = 30 * 1000;
}

static int parse_all(struct parser *p, const char *name)
{
	struct position whole = {0};
	int err;

	p->policy = arena_alloc(&p->arena, sizeof(*p->policy));
	whole.file = arena_copy(&p->arena, name, strlen(name));
	if (!p->policy || !whole.file)
		return -ENOMEM;
	p->policy->file = whole;
	set_defaults(p->policy);
	err = open_file(p, whole.file);
	if (err && err != -ENOMEM) {
		diag_add(p->diags, &whole, NULL, "cannot be read: %s", reason_of(err));
		return ERR_MALFORMED;
	}
	if (!err)
		err = read_statements(p);
	if (!err)
		serve_auth_clients(p);
	if (!err)
		serve_senders(p);
	if (!err)
		err = parse_rules(p);
	if (err)
		return err;
	for (size_t i = 0; i < p->policy->n_auths; i++)
		p->policy->methods |= p->policy->auths[i].method;
	if (p->policy->methods == 0)
		p->policy->methods = AUTH_NONE;
	for (size_t i = 0; i < p->policy->n_listeners; i++)
		if (p->policy->listeners[i].client_ca)
			p->policy->methods |= AUTH_CERT;
	diag_sort(p->diags, p->files, p->n_files);
	return p->diags->n > 0 ? ERR_MALFORMED : 0;
}

int policy_parse(struct parse_source *src, const char *name, struct policy **ret_policy,
    struct diagnostics *ret_diags)
{
	struct parser *p = calloc(1, sizeof(*p));
	int err = -ENOMEM;

	*ret_policy = NULL;
	*ret_diags = (struct diagnostics){0};
	if (!p)
		return err;
	p->src = src;
	p->diags = ret_diags;
	err = parse_all(p, name);
	if (ret_diags->lost)
		err = -ENOMEM;
	if (err) {
		arena_free(&p->arena);
	} else {
		*ret_policy = p->policy;
		p->policy->memory = p->arena.blocks;
	}
	free(p);
	return err;
}
