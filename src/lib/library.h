/* SPDX-License-Identifier: MIT */
/*
 * Another library, opened by whoever wants it first (dlopen()), so that libtabi itself is linked to
 * nothing but libc. It is never closed, for threads may still be in it.
 */
#ifndef TABI_LIB_LIBRARY_H
#define TABI_LIB_LIBRARY_H

#include <stdbool.h>
#include <stddef.h>

/* `at` is where in the caller's struct of pointers to functions. */
struct library_function {
	const char *name;
	size_t at;
};

/*
 * Opens the library `name` and puts what its `n` functions are into `functions`. Returns false with
 * the reason in `said`, of `size` bytes, where it is not there or has not all of them.
 */
bool library_open(const char *name, const struct library_function *rows, size_t n, void *functions,
    char *said, size_t size);

#endif
