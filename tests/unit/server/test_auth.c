/* SPDX-License-Identifier: MIT */
/* Who waits for whom when passwords are to be checked. */
#include "server/auth/auth.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "proto/err.h"
#include "server/auth/password.h"

#define GUESSES 2000

static char dir[] = "/tmp/tabi-auth-XXXXXX";

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

static void put(const char *name, const char *text)
{
	char path[256];
	FILE *f;

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	f = fopen(path, "we");
	assert_non_null(f);
	fputs(text, f);
	assert_int_equal(fclose(f), 0);
	assert_int_equal(chmod(path, 0600), 0);
}

/* A password file with one user. */
static void put_user(const char *name, const char *user, const char *password)
{
	char hash[PASSWORD_HASH_MAX], text[PASSWORD_HASH_MAX + 64];

	assert_int_equal(password_hash(password, hash), 0);
	snprintf(text, sizeof(text), "%s:%s\n", user, hash);
	put(name, text);
}

static struct config *config_of(const char *text)
{
	struct config *config;
	char path[256];

	put("tabi.conf", text);
	snprintf(path, sizeof(path), "%s/tabi.conf", dir);
	assert_int_equal(config_load(path, nobody_complains, NULL, &config), 0);
	return config;
}

static struct accept credentials(const char *user, const char *password)
{
	struct accept accept;

	accept_init(&accept, AUTH_PASSWORD);
	accept.user_len = (uint8_t)strlen(user);
	accept.password_len = (uint8_t)strlen(password);
	memcpy(accept.user, user, accept.user_len);
	memcpy(accept.password, password, accept.password_len);
	return accept;
}

static void count_answer(void *ctx, int err)
{
	unsigned *answers = ctx;

	assert_int_equal(err, ERR_AUTH);
	++*answers;
}

static void a_guesser_fills_only_his_own_lane(void **state)
{
	static struct auth_check *guesses[GUESSES];
	const struct auth_client guesser = {.ip = source(1), .listener = "127.0.0.1:1080"};
	struct accept accept = credentials("u", "x");
	struct auth_check *check;
	struct config *config;
	unsigned answers = 0;
	struct auth *auth;
	struct loop loop;
	size_t n = 0, served = 0;

	(void)state;
	put_user("users", "u", "right");
	config = config_of("listen 127.0.0.1:1080\nauth password users\nallow all\n");
	assert_int_equal(loop_init(&loop), 0);
	assert_int_equal(auth_new(&auth, &loop), 0);

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
		const struct auth_client other = {source(i), "127.0.0.1:1080"};

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

struct asked {
	struct auth *auth;
	struct loop *loop;
	struct config *config;
	int answer;
	bool answered;
};

static void keep_answer(void *ctx, int err)
{
	struct asked *a = ctx;

	a->answer = err;
	a->answered = true;
}

static int answer_to(
    struct asked *a, const char *from, const char *listener, const char *user, const char *password)
{
	struct auth_client client = {.listener = listener};
	struct accept accept = credentials(user, password);
	struct auth_check *check;

	assert_int_equal(ip_parse(from, strlen(from), &client.ip), 0);
	a->answered = false;
	assert_int_equal(
	    auth_check_start(a->auth, a->config, &client, &accept, keep_answer, a, &check), 0);
	assert_false(a->answered);
	for (int i = 0; i < 1000 && !a->answered; i++)
		loop_turn(a->loop, true);
	assert_true(a->answered);
	return a->answer;
}

/*
 * Who may prove what where, with several files at once. Everything is asked twice: the second time
 * the cache knows those who were right, and it must know them no better than the files do.
 */
static void sources_are_asked_in_order(void **state)
{
	static const char in[] = "127.0.0.1:1080", out[] = "[::1]:1080";
	struct asked a = {0};
	struct loop loop;

	(void)state;
	put_user("all", "ann", "one");
	put_user("second", "ann", "two");
	put_user("inside", "ben", "three");
	put_user("mine", "cat", "four");
	a.config = config_of("listen 127.0.0.1:1080\nlisten [::1]:1080\n"
			     "auth none listener [::1]:1080\n"
			     "auth password all\nauth password second\n"
			     "auth password inside from 10.0.0.0/8 listener 127.0.0.1:1080\n"
			     "auth password mine user dan,eve\n"
			     "allow all\n");
	assert_int_equal(loop_init(&loop), 0);
	a.loop = &loop;
	assert_int_equal(auth_new(&a.auth, &loop), 0);
	for (int twice = 0; twice < 2; twice++) {
		/* A "no" of the first file is not the last word, nor is a "yes" of the second. */
		assert_int_equal(answer_to(&a, "192.0.2.1", in, "ann", "one"), 0);
		assert_int_equal(answer_to(&a, "192.0.2.2", in, "ann", "two"), 0);
		assert_int_equal(answer_to(&a, "192.0.2.3", in, "ann", "three"), ERR_AUTH);
		assert_int_equal(answer_to(&a, "10.0.0.1", in, "ben", "three"), 0);
		/* Right, but not from there or not at this listener: also once he is known. */
		assert_int_equal(answer_to(&a, "192.0.2.4", in, "ben", "three"), ERR_AUTH);
		assert_int_equal(answer_to(&a, "10.0.0.1", out, "ben", "three"), ERR_AUTH);
		/* Right, but the file does not count for her. */
		assert_int_equal(answer_to(&a, "192.0.2.5", in, "cat", "four"), ERR_AUTH);
		assert_int_equal(answer_to(&a, "192.0.2.6", in, "dan", "four"), ERR_AUTH);
	}
	assert_int_equal(auth_pending(a.auth), 0);
	auth_free(a.auth);
	loop_fini(&loop);
	config_unref(a.config);
}

static int make_dir(void **state)
{
	(void)state;
	return mkdtemp(dir) ? 0 : -1;
}

static int remove_dir(void **state)
{
	static const char *const names[] = {
	    "tabi.conf", "users", "all", "second", "inside", "mine"};
	char path[256];

	(void)state;
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		snprintf(path, sizeof(path), "%s/%s", dir, names[i]);
		unlink(path);
	}
	return rmdir(dir);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(a_guesser_fills_only_his_own_lane),
	    cmocka_unit_test(sources_are_asked_in_order),
	};

	return cmocka_run_group_tests(tests, make_dir, remove_dir);
}
