/* SPDX-License-Identifier: MIT */
/* Passwords that are not in a URL: from a file that is its owner's alone, or asked for. */
#ifndef TABI_CLI_SECRET_H
#define TABI_CLI_SECRET_H

#include <stddef.h>

/* A file of passwords: some lines of at most 255 bytes. */
#define SECRET_TEXT_MAX 4096

/*
 * Reads the whole of a file, or of what else `path` is (/dev/fd/3), into `buf`. A file that anybody
 * but its owner may read or write, or that is neither ours nor root's, is not read. Returns the
 * length, or -1 with `*ret_why` what is wrong.
 */
int secret_read(const char *path, char buf[static SECRET_TEXT_MAX], const char **ret_why);

/*
 * Writes `prompt` to the controlling terminal, whatever standard input and output are, and reads a
 * line from it that it does not show: `*ret_len` bytes without the newline. The terminal is as it
 * was when this returns, and when a signal ends or stops the process meanwhile. Returns 0, -ENXIO
 * (or another -errno of open()) where there is no terminal, -ENODATA where its user has ended the
 * input, or -EMSGSIZE for more than `size` bytes.
 */
int secret_ask(const char *prompt, char *buf, size_t size, size_t *ret_len);

#endif
