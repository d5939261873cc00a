/* SPDX-License-Identifier: MIT */
/* Who waits for whom when passwords are to be checked. */
#include "server/auth/auth.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include "proto/err.h"

#define GUESSES 2000

static struct ip source(uint8_t last)
{
	const uint8_t v4[4] = {192, 0, 2, last};

	return ip_from_v4(v4);
}

static void nobody_complains(void *ctx, const char *text)
{
	(void)ctx;
	fail_msg("%s", text);
}

static void count_answer(void *ctx, bool ok)
{
	unsigned *answers = ctx;

	/* There is no password file: nobody's password is right. */
	assert_false(ok);
	++*answers;
}

static void a_guesser_fills_only_his_own_lane(void **state)
{
	static struct auth_check *guesses[GUESSES];
	struct ip guesser = source(1);
	struct auth_check *check;
	struct config *config;
	struct accept accept;
	unsigned answers = 0;
	struct auth *auth;
	struct loop loop;
	size_t n = 0, served = 0;

	(void)state;
	assert_int_equal(config_load_default(NULL, 0, nobody_complains, NULL, &config), 0);
	assert_int_equal(loop_init(&loop), 0);
	assert_int_equal(auth_new(&auth, &loop), 0);
	accept_init(&accept, AUTH_PASSWORD);
	accept.user_len = accept.password_len = 1;

	for (size_t i = 0; i < GUESSES; i++)
		if (auth_check_start(
			auth, config, &guesser, &accept, count_answer, &answers, &guesses[n]) == 0)
			n++;
	assert_int_equal(n, AUTH_LANE_MAX + AUTH_RUNNING_MAX);
	assert_int_equal(auth_pending(auth), n);
	assert_int_equal(
	    auth_check_start(auth, config, &guesser, &accept, count_answer, &answers, &check),
	    ERR_UNAVAILABLE);
	/* One or the other may share his lane by chance, not all. */
	for (uint8_t i = 2; i < 10; i++) {
		struct ip other = source(i);

		served += auth_check_start(
			      auth, config, &other, &accept, count_answer, &answers, &check) == 0;
	}
	assert_true(served > 0);

	/* Who leaves makes room at once, be it at the end of the lane, inside or in front. */
	for (size_t i = n; i-- > 0;)
		if (i % 3 == 0)
			auth_check_cancel(guesses[i]);
	for (size_t i = 0; i < n; i++)
		if (i % 3 != 0)
			auth_check_cancel(guesses[i]);
	assert_int_equal(auth_pending(auth), AUTH_RUNNING_MAX + served);
	assert_int_equal(
	    auth_check_start(auth, config, &guesser, &accept, count_answer, &answers, &check), 0);
	loop_run(&loop);
	assert_int_equal(answers, served + 1);
	assert_int_equal(auth_pending(auth), 0);
	auth_free(auth);
	loop_fini(&loop);
	config_unref(config);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(a_guesser_fills_only_his_own_lane),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
