/* SPDX-License-Identifier: MIT */
#include "server/slab.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define PAGE_SIZE ((size_t)16 * 1024)

/* Where use after the end is looked for, that is the allocator's to find. */
#if defined(__SANITIZE_ADDRESS__)
#define PLAIN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define PLAIN 1
#endif
#endif
#ifndef PLAIN
#define PLAIN 0
#endif

struct slab_page {
	struct slab_page *prev, *next; /* among the roomy ones */
	uint64_t free;                 /* a bit for each block */
};

static unsigned per_page(const struct slab *slab)
{
	size_t n = (PAGE_SIZE - sizeof(struct slab_page)) / slab->size;

	return n < 64 ? (unsigned)n : 64;
}

static uint64_t all_free(const struct slab *slab)
{
	return UINT64_MAX >> (64 - per_page(slab));
}

void slab_init(struct slab *slab, size_t size, size_t index_at)
{
	*slab = (struct slab){.size = size, .index_at = index_at};
}

static void link_roomy(struct slab *slab, struct slab_page *page)
{
	page->prev = NULL;
	page->next = slab->roomy;
	if (page->next)
		page->next->prev = page;
	slab->roomy = page;
}

static void unlink_roomy(struct slab *slab, struct slab_page *page)
{
	if (page->prev)
		page->prev->next = page->next;
	else
		slab->roomy = page->next;
	if (page->next)
		page->next->prev = page->prev;
}

static struct slab_page *add_page(struct slab *slab)
{
	struct slab_page *page =
	    mmap(NULL, PAGE_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (page == MAP_FAILED)
		return NULL;
	page->free = all_free(slab);
	link_roomy(slab, page);
	return page;
}

void slab_fini(struct slab *slab)
{
	while (slab->roomy) {
		struct slab_page *page = slab->roomy;

		unlink_roomy(slab, page);
		munmap(page, PAGE_SIZE);
	}
}

bool slab_has_pages(void)
{
	return !PLAIN;
}

void *slab_alloc(struct slab *slab)
{
	struct slab_page *page = slab->roomy;
	unsigned index;
	uint8_t *block;

	if (PLAIN)
		return calloc(1, slab->size);
	if (!page)
		page = add_page(slab);
	if (!page)
		return NULL;
	index = (unsigned)__builtin_ctzll(page->free);
	page->free &= page->free - 1;
	if (page->free == 0)
		unlink_roomy(slab, page);
	block = (uint8_t *)(page + 1) + index * slab->size;
	memset(block, 0, slab->size);
	block[slab->index_at] = (uint8_t)index;
	return block;
}

void slab_free(struct slab *slab, void *block)
{
	unsigned index = ((uint8_t *)block)[slab->index_at];
	struct slab_page *page = (struct slab_page *)((uint8_t *)block - index * slab->size) - 1;

	if (PLAIN) {
		free(block);
		return;
	}
	if (page->free == 0)
		link_roomy(slab, page);
	page->free |= (uint64_t)1 << index;
	/* One that is empty stays, for the next that comes. */
	if (page->free == all_free(slab) && (page->prev || page->next)) {
		unlink_roomy(slab, page);
		munmap(page, PAGE_SIZE);
	}
}
