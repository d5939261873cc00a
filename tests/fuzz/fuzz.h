/* SPDX-License-Identifier: MIT */
/* What a fuzz target has in common with its two drivers, libFuzzer and replay.c. */
#ifndef TABI_TESTS_FUZZ_H
#define TABI_TESTS_FUZZ_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

/* Runs one input; always returns 0. `data` may be NULL when `size` is 0. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* An invariant of the code under test. Not assert(), which NDEBUG would silence. */
#define CHECK(holds) check_holds(holds, #holds, __FILE__, __LINE__)

static inline void check_holds(bool holds, const char *text, const char *file, int line)
{
	if (holds)
		return;
	fprintf(stderr, "%s:%d: does not hold: %s\n", file, line, text);
	abort();
}

#endif
