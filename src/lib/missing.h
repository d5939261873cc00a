/* SPDX-License-Identifier: MIT */
/* What the protocols use of GNU's libc and Windows lacks. The build puts it in front of every file.
 */
#ifndef TABI_LIB_MISSING_H
#define TABI_LIB_MISSING_H

#include <stddef.h>
#include <string.h>

/* As in glibc's manual. */
void *memmem(const void *haystack, size_t haystack_len, const void *needle, size_t needle_len);
void *memrchr(const void *data, int byte, size_t len);
void explicit_bzero(void *data, size_t len);

#endif
