/* SPDX-License-Identifier: MIT */
/* Text to statements: lines, words, commas, quotes and comments. */
#ifndef TABI_POLICY_LEX_H
#define TABI_POLICY_LEX_H

#include "policy/arena.h"
#include "policy/parse.h"

/* A longer line is somebody's mistake, not a statement; `\` continues a long list. */
#define LEX_LINE_MAX 4096
/* Words and commas of one statement. */
#define LEX_TOKENS_MAX 100000

enum token_kind {
	TOKEN_WORD,
	TOKEN_COMMA,
	TOKEN_END, /* of the statement; its position is the column behind the last word */
};

struct token {
	enum token_kind kind;
	bool quoted; /* a word that stood in quotes: never a keyword */
	bool spaced; /* white space or a continued line stands before it */
	const char *text;
	size_t len;
	struct position at;
};

/* Reads one text. `text` must outlive it; what it returns hangs on the arena. */
struct lex {
	struct arena *arena;
	struct diagnostics *diags;
	const char *file;
	const char *text;
	size_t len, pos;
	unsigned line;
};

/* `file` must live as long as the arena. */
void lex_init(struct lex *lex, struct arena *arena, struct diagnostics *diags, const char *file,
    const char *text, size_t len);

enum lex_result {
	LEX_STATEMENT, /* at least one word */
	LEX_BROKEN,    /* a statement with mistakes, which have been reported */
	LEX_EOF,
	LEX_NO_MEMORY,
};

/* The next statement that is not empty, its tokens ended by a TOKEN_END. */
enum lex_result lex_statement(struct lex *lex, const struct token **ret_tokens);

#endif
