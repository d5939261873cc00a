/* SPDX-License-Identifier: MIT */
/*
 * Many time limits for the price of one timer.
 *
 * All deadlines of a class lie equally far ahead when they are set, so a list in the order of
 * setting is a list in the order of expiry: setting and clearing are O(1), one timer per class
 * looks at the head only, and runs only while the list is not empty. A deadline may come up to 1/16
 * of its length late, never early.
 */
#ifndef TABI_NET_DEADLINE_H
#define TABI_NET_DEADLINE_H

#include "net/loop.h"

struct deadline {
	struct deadline *prev, *next; /* NULL when not set */
	uint64_t due;
};

struct deadline_class;
typedef void deadline_fn(struct deadline_class *cls, struct deadline *deadline);

struct deadline_class {
	struct loop *loop;
	struct timer timer;
	struct deadline head; /* of a ring */
	uint64_t ms;
	deadline_fn *fn;
};

void deadline_class_init(
    struct deadline_class *cls, struct loop *loop, uint64_t ms, deadline_fn *fn);
/* Every deadline of the class must have been cleared. */
void deadline_class_close(struct deadline_class *cls);
/* For deadlines set from now on; those already set keep theirs (and may delay an earlier new one).
 */
void deadline_class_change(struct deadline_class *cls, uint64_t ms);

/* `deadline` must be zeroed before its first use. Setting one that is set (in any class) moves it.
 * A class of 0 ms never expires. When it expires it is cleared first, then `fn` is called. */
void deadline_set(struct deadline *deadline, struct deadline_class *cls);
void deadline_clear(struct deadline *deadline);

#endif
