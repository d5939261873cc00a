/* SPDX-License-Identifier: MIT */
#include "policy/hours.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

static const char *const day_names[7] = {
    "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"};

bool hours_has(const struct hours *h, unsigned minute)
{
	return minute < WEEK_MINUTES && (h->bits[minute / 8] >> (minute % 8) & 1) != 0;
}

void hours_add(struct hours *h, unsigned days, unsigned from, unsigned to)
{
	unsigned length = to > from ? to - from : to + DAY_MINUTES - from;

	for (unsigned day = 0; day < 7; day++) {
		if ((days >> day & 1) == 0)
			continue;
		for (unsigned i = 0; i < length; i++) {
			/* Sunday night ends on Monday. */
			unsigned minute = (day * DAY_MINUTES + from + i) % WEEK_MINUTES;

			h->bits[minute / 8] |= (uint8_t)(1u << minute % 8);
		}
	}
}

/* The number of a day by its name, whole or its first three letters; -1 for none. */
static int parse_day(const char *text, size_t len)
{
	for (int day = 0; day < 7; day++)
		if ((len == 3 || len == strlen(day_names[day])) &&
		    strncasecmp(text, day_names[day], len) == 0)
			return day;
	return -1;
}

unsigned hours_parse_days(const char *text, size_t len)
{
	const char *dash = memchr(text, '-', len);
	size_t first_len = dash ? (size_t)(dash - text) : len;
	int first = parse_day(text, first_len), last = first;
	unsigned days = 0;

	if (dash)
		last = parse_day(dash + 1, len - first_len - 1);
	if (first < 0 || last < 0)
		return 0;
	for (int day = first;; day = (day + 1) % 7) {
		days |= 1u << day;
		if (day == last)
			return days;
	}
}

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

bool hours_parse_time(const char *text, size_t len, unsigned *ret_minute)
{
	unsigned hour, minute;

	/* One or two digits, a colon, two digits. */
	if (len < 4 || len > 5 || text[len - 3] != ':' || !is_digit(text[0]) ||
	    (len == 5 && !is_digit(text[1])) || !is_digit(text[len - 2]) ||
	    !is_digit(text[len - 1]))
		return false;
	hour = (unsigned)(text[0] - '0');
	if (len == 5)
		hour = hour * 10 + (unsigned)(text[1] - '0');
	minute = (unsigned)(text[len - 2] - '0') * 10 + (unsigned)(text[len - 1] - '0');
	if (minute > 59 || hour * 60 + minute > DAY_MINUTES)
		return false;
	*ret_minute = hour * 60 + minute;
	return true;
}

bool hours_parse_span(const char *text, size_t len, unsigned *ret_from, unsigned *ret_to)
{
	const char *dash = memchr(text, '-', len);
	size_t from_len;

	if (!dash)
		return false;
	from_len = (size_t)(dash - text);
	/* An end equal to the start could mean nothing or a whole day, so it means neither. */
	return hours_parse_time(text, from_len, ret_from) && *ret_from < DAY_MINUTES &&
	       hours_parse_time(dash + 1, len - from_len - 1, ret_to) && *ret_from != *ret_to;
}

char *hours_format(unsigned week_minute, char buf[static 16])
{
	unsigned minute = week_minute % WEEK_MINUTES;

	snprintf(buf, 16, "%.3s %02u:%02u", day_names[minute / DAY_MINUTES],
	    minute % DAY_MINUTES / 60, minute % 60);
	return buf;
}
