/* SPDX-License-Identifier: MIT */
/*
 * Preloaded, it counts what the program asks the allocator for, in the file that COUNT_FILE names,
 * for all processes that come from this one together. Behind the count two more numbers say from
 * which to which allocation there is no memory; 0: there is.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

struct shared {
	atomic_ulong count, first, last;
};

static struct shared nowhere, *shared = &nowhere;

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
	map = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	close(fd);
	if (map != MAP_FAILED)
		shared = map;
}

static int fails(void)
{
	unsigned long n = atomic_fetch_add(&shared->count, 1) + 1;

	if (n < atomic_load(&shared->first) || n > atomic_load(&shared->last))
		return 0;
	errno = ENOMEM;
	return 1;
}

void *malloc(size_t size)
{
	return fails() ? NULL : __libc_malloc(size);
}

void *calloc(size_t n, size_t size)
{
	return fails() ? NULL : __libc_calloc(n, size);
}

void *realloc(void *p, size_t size)
{
	return fails() ? NULL : __libc_realloc(p, size);
}
