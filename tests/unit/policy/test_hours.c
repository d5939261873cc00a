/* SPDX-License-Identifier: MIT */
#include "policy/hours.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#define AT(day, hour, minute) ((day)*DAY_MINUTES + (hour)*60 + (minute))

static unsigned days(const char *text)
{
	return hours_parse_days(text, strlen(text));
}

static bool span(const char *text, unsigned *from, unsigned *to)
{
	return hours_parse_span(text, strlen(text), from, to);
}

static void days_have_names(void **state)
{
	(void)state;
	assert_int_equal(days("Mon"), 0x01);
	assert_int_equal(days("sunday"), 0x40);
	assert_int_equal(days("Mon-Fri"), 0x1f);
	assert_int_equal(days("Sat-Mon"), 0x61);
	assert_int_equal(days("Wed-Wed"), 0x04);
	assert_int_equal(days("Mo"), 0);
	assert_int_equal(days("Mond"), 0);
	assert_int_equal(days("Mon-"), 0);
	assert_int_equal(days("-Fri"), 0);
	assert_int_equal(days("Mon-Wed-Fri"), 0);
	assert_int_equal(days(""), 0);
}

static void spans_are_strict(void **state)
{
	static const char *const wrong[] = {"9-18", "09:00", "09:00-", "-18:00", "09:00-18:60",
	    "24:00-06:00", "09:00-24:01", "25:00-26:00", "09:00-09:00", "9:5-10:00", "009:00-10:00",
	    "09:00-18:00-20:00", "ab:cd-ef:gh", "", "-", "09.00-18.00"};
	unsigned from, to;

	(void)state;
	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
		assert_false(span(wrong[i], &from, &to));
	assert_true(span("9:00-18:30", &from, &to));
	assert_int_equal(from, 540);
	assert_int_equal(to, 1110);
	assert_true(span("00:00-24:00", &from, &to));
	assert_int_equal(to, DAY_MINUTES);
	assert_true(span("22:00-06:00", &from, &to));
	assert_int_equal(to, 360);
}

static void begin_belongs_and_end_does_not(void **state)
{
	struct hours h = {0};

	(void)state;
	hours_add(&h, days("Mon-Fri"), 9 * 60, 18 * 60);
	assert_false(hours_has(&h, AT(0, 8, 59)));
	assert_true(hours_has(&h, AT(0, 9, 0)));
	assert_true(hours_has(&h, AT(4, 17, 59)));
	assert_false(hours_has(&h, AT(4, 18, 0)));
	assert_false(hours_has(&h, AT(5, 12, 0)));
	assert_false(hours_has(&h, WEEK_MINUTES));
	assert_false(hours_has(&h, (unsigned)-1));
}

static void night_belongs_to_the_day_it_begins(void **state)
{
	struct hours h = {0};

	(void)state;
	hours_add(&h, days("Fri"), 22 * 60, 6 * 60);
	assert_false(hours_has(&h, AT(4, 5, 0)));
	assert_true(hours_has(&h, AT(4, 22, 0)));
	assert_true(hours_has(&h, AT(5, 5, 59)));
	assert_false(hours_has(&h, AT(5, 6, 0)));
	assert_false(hours_has(&h, AT(5, 22, 0)));
}

static void the_week_is_a_circle(void **state)
{
	struct hours h = {0};

	(void)state;
	hours_add(&h, days("Sun"), 23 * 60, 60);
	assert_true(hours_has(&h, AT(6, 23, 30)));
	assert_true(hours_has(&h, AT(0, 0, 59)));
	assert_false(hours_has(&h, AT(0, 1, 0)));
}

static void minutes_have_text(void **state)
{
	char buf[16];

	(void)state;
	assert_string_equal(hours_format(AT(0, 0, 0), buf), "Mon 00:00");
	assert_string_equal(hours_format(AT(6, 23, 59), buf), "Sun 23:59");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(days_have_names),
	    cmocka_unit_test(spans_are_strict),
	    cmocka_unit_test(begin_belongs_and_end_does_not),
	    cmocka_unit_test(night_belongs_to_the_day_it_begins),
	    cmocka_unit_test(the_week_is_a_circle),
	    cmocka_unit_test(minutes_have_text),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
