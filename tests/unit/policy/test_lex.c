/* SPDX-License-Identifier: MIT */
#include "policy/lex.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fixture.h"

/* The statements of a text as one string: words in <>, commas as they are, statements ended by ';',
 * broken ones as '!'. What is not cut by a space in front is marked by '.'. */
static void lex_all(const char *text, size_t len, char *buf, size_t cap)
{
	struct arena arena = {0};
	struct diagnostics diags = {0};
	const struct token *t;
	enum lex_result result;
	struct lex lex;
	FILE *f = fmemopen(buf, cap, "w");

	assert_non_null(f);
	lex_init(&lex, &arena, &diags, "t", text, len);
	while ((result = lex_statement(&lex, &t)) != LEX_EOF) {
		assert_int_not_equal(result, LEX_NO_MEMORY);
		if (result == LEX_BROKEN) {
			fputc('!', f);
			continue;
		}
		for (; t->kind != TOKEN_END; t++) {
			fputs(t->spaced ? "" : ".", f);
			fprintf(f, t->kind == TOKEN_COMMA ? "%s" : "<%s>", t->text);
		}
		fputc(';', f);
	}
	fclose(f);
	arena_free(&arena);
	diagnostics_free(&diags);
}

static void assert_lexed(const char *text, const char *expected)
{
	char buf[500] = {0};

	lex_all(text, strlen(text), buf, sizeof(buf));
	assert_string_equal(buf, expected);
}

static void words_and_lines(void **state)
{
	(void)state;
	assert_lexed("", "");
	assert_lexed("\n \n\t\n# only\n", "");
	assert_lexed("a b\nc", "<a><b>;<c>;");
	assert_lexed("a\r\nb\r\n", "<a>;<b>;");
	assert_lexed("\xef\xbb\xbf"
		     "a\n",
	    "<a>;");
	assert_lexed("a # b\nc#d #", "<a>;<c#d>;");
}

static void lists_keep_their_spaces(void **state)
{
	(void)state;
	assert_lexed("p 80,443", "<p><80>.,.<443>;");
	assert_lexed("p 80, 443", "<p><80>.,<443>;");
	assert_lexed("p 80 ,443", "<p><80>,.<443>;");
}

static void quotes_and_escapes(void **state)
{
	(void)state;
	assert_lexed("a \"b c\"", "<a><b c>;");
	assert_lexed("a \"\"", "<a><>;");
	assert_lexed("a \"b,#\\\"\\\\\",c", "<a><b,#\"\\>.,.<c>;");
	assert_lexed("a \"b", "!");
	assert_lexed("a \"b\\n\"", "!");
	assert_lexed("a \"b\"c", "!");
	assert_lexed("a b\"c\"", "!");
	assert_lexed("a \"b\\", "!");
}

static void lines_go_on(void **state)
{
	(void)state;
	assert_lexed("a \\\nb \\\n c\nd", "<a><b><c>;<d>;");
	assert_lexed("a\\\nb", "<a><b>;");
	assert_lexed("\\\n\\\na", "<a>;");
	assert_lexed("a \\", "<a>;");
	assert_lexed("a \\ \nb\nc", "!<c>;");
	assert_lexed("a \\ b\nc", "!<c>;");
	/* A comment ends the statement, whatever it ends with. */
	assert_lexed("a # b \\\nc", "<a>;<c>;");
}

static void dirt_is_refused(void **state)
{
	char buf[500] = {0};

	(void)state;
	lex_all("a\0b\nc", 5, buf, sizeof(buf));
	assert_string_equal(buf, "!<c>;");
	assert_lexed("a\x1b[0m\nb", "!<b>;");
	assert_lexed("a\rb\nc", "!<c>;");
	assert_lexed("# \x07\nc", "!<c>;");
	assert_lexed("a \xe2\x80\x9cx\xe2\x80\x9d\nc", "!<c>;");
}

static void long_lines_are_refused(void **state)
{
	char text[LEX_LINE_MAX + 4], buf[500] = {0};

	(void)state;
	memset(text, ' ', sizeof(text));
	text[0] = 'a';
	text[LEX_LINE_MAX] = '\n';
	text[LEX_LINE_MAX + 1] = 'b';
	lex_all(text, LEX_LINE_MAX + 2, buf, sizeof(buf));
	assert_string_equal(buf, "<a>;<b>;");
	memset(buf, 0, sizeof(buf));
	text[LEX_LINE_MAX] = ' ';
	text[LEX_LINE_MAX + 1] = '\n';
	text[LEX_LINE_MAX + 2] = 'b';
	lex_all(text, LEX_LINE_MAX + 3, buf, sizeof(buf));
	assert_string_equal(buf, "!<b>;");
}

static void endless_statements_are_refused_once(void **state)
{
	const size_t lines = LEX_TOKENS_MAX + 5;
	struct arena arena = {0};
	struct diagnostics diags = {0};
	char *text = malloc(lines * 4 + 2);
	const struct token *t;
	struct lex lex;

	(void)state;
	assert_non_null(text);
	for (size_t i = 0; i < lines; i++)
		memcpy(text + i * 4, "a \\\n", 4);
	text[lines * 4] = '\n';
	text[lines * 4 + 1] = 'b';
	lex_init(&lex, &arena, &diags, "t", text, lines * 4 + 2);
	assert_int_equal(lex_statement(&lex, &t), LEX_BROKEN);
	assert_int_equal(diags.n, 1);
	assert_int_equal(lex_statement(&lex, &t), LEX_STATEMENT);
	assert_string_equal(t[0].text, "b");
	arena_free(&arena);
	diagnostics_free(&diags);
	free(text);
}

static void positions_count_characters(void **state)
{
	static const char text[] = "x\n\t\"\xc3\xbc\" \\\n  word";
	struct arena arena = {0};
	struct diagnostics diags = {0};
	const struct token *t;
	struct lex lex;

	(void)state;
	lex_init(&lex, &arena, &diags, "t", text, strlen(text));
	assert_int_equal(lex_statement(&lex, &t), LEX_STATEMENT);
	assert_int_equal(lex_statement(&lex, &t), LEX_STATEMENT);
	assert_int_equal(t[0].at.line, 2);
	assert_int_equal(t[0].at.column, 2);
	assert_int_equal(t[0].at.width, 3);
	assert_string_equal(t[0].at.source, "\t\"\xc3\xbc\" \\");
	assert_int_equal(t[1].at.line, 3);
	assert_int_equal(t[1].at.column, 3);
	assert_string_equal(t[1].at.source, "  word");
	/* The end is behind the last word. */
	assert_int_equal(t[2].kind, TOKEN_END);
	assert_int_equal(t[2].at.line, 3);
	assert_int_equal(t[2].at.column, 7);
	arena_free(&arena);
	diagnostics_free(&diags);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(words_and_lines),
	    cmocka_unit_test(lists_keep_their_spaces),
	    cmocka_unit_test(quotes_and_escapes),
	    cmocka_unit_test(lines_go_on),
	    cmocka_unit_test(dirt_is_refused),
	    cmocka_unit_test(long_lines_are_refused),
	    cmocka_unit_test(endless_statements_are_refused_once),
	    cmocka_unit_test(positions_count_characters),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
