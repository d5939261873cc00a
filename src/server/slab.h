/* SPDX-License-Identifier: MIT */
/*
 * Blocks of one size that come and go by the thousand: without the allocator's header and rounding,
 * and apart from what lives shortly, so that neither keeps the other's memory from being given
 * back. Pages are mapped as they are needed and unmapped when they are empty.
 */
#ifndef TABI_SERVER_SLAB_H
#define TABI_SERVER_SLAB_H

#include <stdbool.h>
#include <stddef.h>

struct slab_page;

struct slab {
	size_t size;
	size_t index_at;         /* of the byte in a block that is the slab's */
	struct slab_page *roomy; /* those with both used and free blocks, or a single empty one */
};

/* Blocks of `size` bytes, at least 64 and a multiple of 8; the byte at `index_at` is the slab's
 * while a block is in use. */
void slab_init(struct slab *slab, size_t size, size_t index_at);
/* Are blocks on pages of its own? Not where an allocator looks for their use after the end. */
bool slab_has_pages(void);
/* All blocks are free. */
void slab_fini(struct slab *slab);
/* Zeroed but for the slab's byte; NULL without memory. */
void *slab_alloc(struct slab *slab);
void slab_free(struct slab *slab, void *block);

#endif
