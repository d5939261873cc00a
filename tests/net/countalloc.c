/* SPDX-License-Identifier: MIT */
/*
 * Preloaded, it counts what the program asks the allocator for, in the file that COUNT_FILE names:
 * one number, shared by all processes that come from this one.
 */
#include <fcntl.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

static atomic_ulong nowhere, *count = &nowhere;

void *__libc_malloc(size_t size);
void *__libc_calloc(size_t n, size_t size);
void *__libc_realloc(void *p, size_t size);

__attribute__((constructor)) static void begin(void)
{
	const char *name = getenv("COUNT_FILE");
	int fd = name ? open(name, O_RDWR | O_CLOEXEC) : -1;
	void *map;

	if (fd < 0)
		return;
	map = mmap(NULL, sizeof(*count), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	close(fd);
	if (map != MAP_FAILED)
		count = map;
}

void *malloc(size_t size)
{
	atomic_fetch_add(count, 1);
	return __libc_malloc(size);
}

void *calloc(size_t n, size_t size)
{
	atomic_fetch_add(count, 1);
	return __libc_calloc(n, size);
}

void *realloc(void *p, size_t size)
{
	atomic_fetch_add(count, 1);
	return __libc_realloc(p, size);
}
