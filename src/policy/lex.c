/* SPDX-License-Identifier: MIT */
#include "policy/lex.h"

#include <string.h>

#include "policy/diag.h"

/* One statement being read. */
struct statement {
	struct lex *lex;
	struct token *tokens;
	size_t n;
	bool broken;

	/* The physical line at hand. */
	const char *line;
	size_t len, pos;
	const char *source; /* its copy, once something of it is kept */
	bool spaced;
};

void lex_init(struct lex *lex, struct arena *arena, struct diagnostics *diags, const char *file,
    const char *text, size_t len)
{
	*lex = (struct lex){.arena = arena, .diags = diags, .file = file, .text = text, .len = len};
	/* Some editors begin a file with a byte order mark. */
	if (len >= 3 && memcmp(text, "\xef\xbb\xbf", 3) == 0)
		lex->pos = 3;
}

static unsigned columns(const char *text, size_t len)
{
	unsigned n = 0;

	for (size_t i = 0; i < len; n++) {
		size_t character = diag_character(text + i, len - i);

		i += character ? character : 1;
	}
	return n;
}

/* The line as a message shows it: a NUL would end it early. */
static const char *copy_source(struct statement *s)
{
	size_t len = s->len < LEX_LINE_MAX ? s->len : LEX_LINE_MAX;
	char *copy;

	if (s->source)
		return s->source;
	copy = arena_copy(s->lex->arena, s->line, len);
	for (size_t i = 0; copy && i < len; i++)
		if (copy[i] == '\0')
			copy[i] = '?';
	s->source = copy;
	return copy;
}

static struct position position_of(struct statement *s, size_t from, size_t to)
{
	struct position at = {.file = s->lex->file, .line = s->lex->line};

	at.column = columns(s->line, from) + 1;
	at.width = to > from ? columns(s->line + from, to - from) : 1;
	at.source = copy_source(s);
	return at;
}

static void complain(
    struct statement *s, size_t from, size_t to, const char *expected, const char *message)
{
	struct position at = position_of(s, from, to);

	s->broken = true;
	diag_add(s->lex->diags, &at, expected, "%s", message);
}

static void add_token(
    struct statement *s, enum token_kind kind, const char *text, size_t len, size_t from, size_t to)
{
	struct token *tokens = arena_append(s->lex->arena, s->tokens, s->n, sizeof(*s->tokens));

	if (!tokens)
		return;
	s->tokens = tokens;
	tokens[s->n++] = (struct token){
	    .kind = kind,
	    .spaced = s->spaced,
	    .quoted = kind == TOKEN_WORD && s->line[from] == '"',
	    .text = text,
	    .len = len,
	    .at = position_of(s, from, to),
	};
	s->spaced = false;
}

/* Takes the next physical line; returns whether there is one. */
static bool next_line(struct statement *s)
{
	struct lex *lex = s->lex;
	const char *start = lex->text + lex->pos, *newline;
	size_t left = lex->len - lex->pos;

	if (left == 0)
		return false;
	newline = memchr(start, '\n', left);
	s->line = start;
	s->len = newline ? (size_t)(newline - start) : left;
	s->pos = 0;
	s->source = NULL;
	s->spaced = true;
	lex->pos += s->len + (newline ? 1 : 0);
	lex->line++;
	if (s->len > 0 && s->line[s->len - 1] == '\r')
		s->len--;
	return true;
}

static bool is_blank(char c)
{
	return c == ' ' || c == '\t';
}

/* Control bytes have no business in a configuration, in a comment neither: they hide text. */
static bool line_is_clean(struct statement *s)
{
	if (s->len > LEX_LINE_MAX) {
		complain(s, 0, 1, "a '\\' at the end of a line, which continues it on the next",
		    "this line is longer than 4096 bytes");
		return false;
	}
	for (size_t i = 0; i < s->len; i++) {
		unsigned char c = (unsigned char)s->line[i];

		if (c == 0) {
			complain(s, i, i + 1, NULL, "a NUL byte: this is not a text file");
			return false;
		}
		if ((c < 0x20 && c != '\t') || c == 0x7f) {
			complain(s, i, i + 1, NULL, "a control character (shown as '?')");
			return false;
		}
	}
	return true;
}

/* Is `pos` followed by white space only? */
static bool only_blanks_from(const struct statement *s, size_t pos)
{
	while (pos < s->len && is_blank(s->line[pos]))
		pos++;
	return pos == s->len;
}

static void backslash(struct statement *s)
{
	if (only_blanks_from(s, s->pos + 1))
		complain(s, s->pos, s->len, "the end of the line right after '\\'",
		    "white space after the '\\' that should end this line");
	else
		complain(s, s->pos, s->pos + 1,
		    "'\\' only at the end of a line, or in quotes before '\"' or '\\'",
		    "a '\\' in the middle of a line");
	s->pos = s->len;
}

/* "..." with \" and \\ inside. */
static void quoted_word(struct statement *s)
{
	size_t start = s->pos++, n = 0;
	char *text = arena_alloc(s->lex->arena, s->len - start + 1);

	while (text && s->pos < s->len && s->line[s->pos] != '"') {
		if (s->line[s->pos] == '\\') {
			s->pos++;
			if (s->pos == s->len ||
			    (s->line[s->pos] != '"' && s->line[s->pos] != '\\')) {
				complain(s, s->pos - 1, s->pos, "\\\" or \\\\",
				    "a lonely '\\' in quotes");
				s->pos = s->len;
				return;
			}
		}
		text[n++] = s->line[s->pos++];
	}
	if (s->pos == s->len) {
		complain(s, start, s->len, "a '\"' later in the same line",
		    "these quotes are never closed");
		return;
	}
	s->pos++;
	add_token(s, TOKEN_WORD, text, n, start, s->pos);
	if (s->pos < s->len && !is_blank(s->line[s->pos]) && s->line[s->pos] != ',') {
		complain(
		    s, s->pos, s->pos + 1, "a space or ','", "text right behind a closing '\"'");
		s->pos = s->len;
	}
}

struct lookalike {
	const char *bytes, *message, *expected;
};

/* What word processors and web pages put where the language has something plain. */
static const struct lookalike lookalikes[] = {
    {"\xc2\xa0", "a no-break space, which only looks like a space", "a plain space"},
    {"\xe2\x80\x9c", "a typographic quotation mark", "a plain '\"'"},
    {"\xe2\x80\x9d", "a typographic quotation mark", "a plain '\"'"},
    {"\xe2\x80\x9e", "a typographic quotation mark", "a plain '\"'"},
    {"\xe2\x80\x93", "a dash that is not the plain one", "a plain '-'"},
    {"\xe2\x80\x94", "a dash that is not the plain one", "a plain '-'"},
};

static const struct lookalike *lookalike_at(const char *text, size_t len)
{
	for (size_t i = 0; i < sizeof(lookalikes) / sizeof(lookalikes[0]); i++) {
		size_t n = strlen(lookalikes[i].bytes);

		if (n <= len && memcmp(lookalikes[i].bytes, text, n) == 0)
			return &lookalikes[i];
	}
	return NULL;
}

static void bare_word(struct statement *s)
{
	size_t start = s->pos;

	while (s->pos < s->len && !is_blank(s->line[s->pos]) && !strchr(",\"\\", s->line[s->pos])) {
		const struct lookalike *l = lookalike_at(s->line + s->pos, s->len - s->pos);

		if (l) {
			complain(s, s->pos, s->pos + strlen(l->bytes), l->expected, l->message);
			s->pos = s->len;
			return;
		}
		s->pos++;
	}
	if (s->pos < s->len && s->line[s->pos] == '"') {
		complain(s, s->pos, s->pos + 1, "quotes around the whole word",
		    "a '\"' in the middle of a word");
		s->pos = s->len;
		return;
	}
	add_token(s, TOKEN_WORD, arena_copy(s->lex->arena, s->line + start, s->pos - start),
	    s->pos - start, start, s->pos);
}

static void read_token(struct statement *s)
{
	if (s->line[s->pos] == ',') {
		add_token(s, TOKEN_COMMA, ",", 1, s->pos, s->pos + 1);
		s->pos++;
	} else if (s->line[s->pos] == '"') {
		quoted_word(s);
	} else if (s->line[s->pos] == '\\') {
		backslash(s);
	} else {
		bare_word(s);
	}
}

/* Reads the words of one physical line. Returns whether a '\' continues it on the next one. */
static bool read_line(struct statement *s)
{
	while (!s->lex->arena->failed && s->n < LEX_TOKENS_MAX) {
		while (s->pos < s->len && is_blank(s->line[s->pos])) {
			s->pos++;
			s->spaced = true;
		}
		if (s->pos == s->len || (s->line[s->pos] == '#' && s->spaced))
			return false;
		if (s->line[s->pos] == '\\' && s->pos + 1 == s->len)
			return true;
		read_token(s);
	}
	if (s->n >= LEX_TOKENS_MAX && !s->broken)
		complain(s, s->pos, s->pos, "several statements instead",
		    "this statement has too many words");
	return false;
}

/* The end stands right behind the last word, not on a continued line that adds nothing. */
static void add_end(struct statement *s)
{
	struct position at = s->tokens[s->n - 1].at;
	struct token *tokens = arena_append(s->lex->arena, s->tokens, s->n, sizeof(*s->tokens));

	if (!tokens)
		return;
	s->tokens = tokens;
	at.column += at.width;
	at.width = 1;
	tokens[s->n] = (struct token){.kind = TOKEN_END, .text = "", .at = at};
}

static bool ends_in_backslash(const struct statement *s)
{
	size_t len = s->len;

	while (len > 0 && is_blank(s->line[len - 1]))
		len--;
	return len > 0 && s->line[len - 1] == '\\';
}

enum lex_result lex_statement(struct lex *lex, const struct token **ret_tokens)
{
	struct statement s;
	bool more;

	do {
		s = (struct statement){.lex = lex};
		do {
			if (!next_line(&s))
				break;
			more = line_is_clean(&s) && read_line(&s);
			/* What a broken line continues on is no statement of its own. */
			if (s.broken)
				more = ends_in_backslash(&s);
		} while (more && !lex->arena->failed);
		if (lex->arena->failed)
			return LEX_NO_MEMORY;
		if (s.broken)
			return LEX_BROKEN;
	} while (s.n == 0 && lex->pos < lex->len);
	if (s.n == 0)
		return LEX_EOF;
	add_end(&s);
	*ret_tokens = s.tokens;
	return lex->arena->failed ? LEX_NO_MEMORY : LEX_STATEMENT;
}
