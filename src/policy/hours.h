/* SPDX-License-Identifier: MIT */
/* Times of the week: "Mon-Fri 09:00-18:00". */
#ifndef TABI_POLICY_HOURS_H
#define TABI_POLICY_HOURS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define DAY_MINUTES (24 * 60)
#define WEEK_MINUTES (7 * DAY_MINUTES)

/* A set of minutes of the week, Monday 00:00 being number 0. Zeroed it is empty. */
struct hours {
	uint8_t bits[WEEK_MINUTES / 8];
};

/* `minute` may be anything; beyond the week nothing is in the set. */
bool hours_has(const struct hours *h, unsigned minute);

/*
 * Adds `from` to `to` (minutes of the day, `to` up to DAY_MINUTES) on each of `days` (bit 0 is
 * Monday). With `to` not after `from` it runs over midnight and belongs to the day it begins.
 */
void hours_add(struct hours *h, unsigned days, unsigned from, unsigned to);

/* "Mon", "Mon-Fri", "Fri-Mon" (over the end of the week); any case, full names as well. Returns the
 * days as bits, or 0. */
unsigned hours_parse_days(const char *text, size_t len);

/* "09:00-18:00"; the end may be 24:00. Returns whether it is one (and not empty). */
bool hours_parse_span(const char *text, size_t len, unsigned *ret_from, unsigned *ret_to);

/* "9:30" or "09:30", 00:00 to 24:00, as minutes of the day. */
bool hours_parse_time(const char *text, size_t len, unsigned *ret_minute);

/* "Mon 10:00"; `buf` takes 16 bytes. Returns `buf`. */
char *hours_format(unsigned week_minute, char buf[static 16]);

#endif
