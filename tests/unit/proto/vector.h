/* SPDX-License-Identifier: MIT */
/*
 * Reads vector files (tests/vectors/README.md): handshakes written down as data.
 *
 * A vector is a list of lines, each a word, its arguments as text, and where it has any, bytes.
 */
#ifndef TABI_TESTS_VECTOR_H
#define TABI_TESTS_VECTOR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct vector_line {
	char word[12];     /* ">", "<", "auth"... */
	char args[256];    /* what follows, but for its byte strings */
	uint8_t *bytes[2]; /* up to two byte strings; never NULL */
	size_t n_bytes[2];
	bool has_bytes;
	unsigned number; /* in the file */
};

struct vector {
	char name[160];
	struct vector_line *lines;
	size_t n_lines;
};

/*
 * Runs `test` once for every vector of the files that the command line names; its state is the
 * vector. Ends the program with a message on a file that cannot be read or understood. Returns what
 * main() should.
 */
int vector_run(const char *group, void (*test)(void **state), int argc, char **argv);

/* The `n`-th line (from 0) with this word, or NULL. */
const struct vector_line *vector_find(const struct vector *v, const char *word, size_t n);

/* The arguments of the first line with this word, or `otherwise`. */
const char *vector_args(const struct vector *v, const char *word, const char *otherwise);

/* All bytes of the lines with this word, one after the other; the caller frees them. */
uint8_t *vector_stream(const struct vector *v, const char *word, size_t *ret_len);

/*
 * The position to split a stream of `len` bytes at after `at`: the next one, but in the midst of
 * the very long streams, which repeat themselves, every 13th.
 */
size_t vector_next_split(size_t at, size_t len);

/* A record of what happened, as text, in which neighbouring writes of bytes are one. */
struct transcript {
	char *text;
	size_t len, cap;
	bool in_bytes;
};

/* Never NULL. */
const char *transcript_text(const struct transcript *t);

void transcript_free(struct transcript *t);
void transcript_bytes(struct transcript *t, char direction, const uint8_t *bytes, size_t n);
void transcript_line(struct transcript *t, const char *text);
/* A line of text, then a space and bytes in hex. */
void transcript_line_bytes(struct transcript *t, const char *text, const uint8_t *bytes, size_t n);

#endif
