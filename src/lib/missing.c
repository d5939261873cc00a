/* SPDX-License-Identifier: MIT */
#include "lib/missing.h"

#include <stdint.h>

void *memmem(const void *haystack, size_t haystack_len, const void *needle, size_t needle_len)
{
	const char *h = haystack;

	for (size_t i = 0; needle_len <= haystack_len && i <= haystack_len - needle_len; i++)
		if (memcmp(h + i, needle, needle_len) == 0)
			return (void *)(uintptr_t)(h + i);
	return NULL;
}

void *memrchr(const void *data, int byte, size_t len)
{
	const unsigned char *d = data;

	while (len-- > 0)
		if (d[len] == (unsigned char)byte)
			return (void *)(uintptr_t)(d + len);
	return NULL;
}

/* A compiler may leave out what writes to memory that nobody reads, but nothing that is volatile.
 */
void explicit_bzero(void *data, size_t len)
{
	volatile unsigned char *d = data;

	while (len-- > 0)
		*d++ = 0;
}
