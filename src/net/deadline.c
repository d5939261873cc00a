/* SPDX-License-Identifier: MIT */
/* Time limits as lists in the order of setting, with one timer each. */
#include "net/deadline.h"

#include <stddef.h>

/* How late a deadline may be, as a part of its length: so many fires of the timer are spared. */
#define SLACK 16

static bool is_empty(const struct deadline_class *cls)
{
	return cls->head.next == &cls->head;
}

static void unlink_one(struct deadline *deadline)
{
	deadline->prev->next = deadline->next;
	deadline->next->prev = deadline->prev;
	deadline->prev = deadline->next = NULL;
}

/* For the first of the list, but not sooner than the slack allows after this. */
static void arm(struct deadline_class *cls)
{
	uint64_t now = loop_now(cls->loop);
	uint64_t due = cls->head.next->due;
	uint64_t wait = due > now ? due - now : 0;

	if (wait < cls->ms / SLACK)
		wait = cls->ms / SLACK;
	timer_start(&cls->timer, wait);
}

/*
 * `fn` may set and clear any deadline, also of this class: the head is looked at anew each time,
 * and what is set now is not due in this turn, so the walk ends.
 */
static void on_timer(struct timer *timer)
{
	struct deadline_class *cls =
	    (struct deadline_class *)((char *)timer - offsetof(struct deadline_class, timer));
	uint64_t now = loop_now(cls->loop);

	while (!is_empty(cls) && cls->head.next->due <= now) {
		struct deadline *first = cls->head.next;

		unlink_one(first);
		cls->fn(cls, first);
	}
	if (!is_empty(cls))
		arm(cls);
}

void deadline_class_init(
    struct deadline_class *cls, struct loop *loop, uint64_t ms, deadline_fn *fn)
{
	cls->loop = loop;
	cls->ms = ms;
	cls->fn = fn;
	cls->head = (struct deadline){.prev = &cls->head, .next = &cls->head};
	timer_init(&cls->timer, loop, on_timer);
}

void deadline_class_close(struct deadline_class *cls)
{
	timer_close(&cls->timer, NULL);
}

void deadline_class_change(struct deadline_class *cls, uint64_t ms)
{
	cls->ms = ms;
}

void deadline_set(struct deadline *deadline, struct deadline_class *cls)
{
	bool was_empty;

	deadline_clear(deadline);
	if (cls->ms == 0)
		return;
	was_empty = is_empty(cls);
	deadline->due = loop_now(cls->loop) + cls->ms;
	deadline->prev = cls->head.prev;
	deadline->next = &cls->head;
	cls->head.prev->next = deadline;
	cls->head.prev = deadline;
	if (was_empty)
		arm(cls);
}

void deadline_clear(struct deadline *deadline)
{
	struct deadline *head = deadline->next;

	if (!head)
		return;
	unlink_one(deadline);
	/* Alone in its ring it has the class's head on both sides, and only then. */
	if (head->next == head) {
		struct deadline_class *cls =
		    (struct deadline_class *)((char *)head - offsetof(struct deadline_class, head));
		timer_stop(&cls->timer);
	}
}
