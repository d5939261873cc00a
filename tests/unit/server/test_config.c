/* SPDX-License-Identifier: MIT */
#include "server/config.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "server/auth/password.h"

static char dir[] = "/tmp/tabi-config-XXXXXX";
static char complaints[8192];

static void complain(void *ctx, const char *text)
{
	size_t len = strlen(complaints);

	(void)ctx;
	snprintf(complaints + len, sizeof(complaints) - len, "%s\n", text);
}

static const char *path_of(const char *name)
{
	static char path[256];

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	return path;
}

static void put(const char *name, const char *text, mode_t mode)
{
	FILE *f = fopen(path_of(name), "w");

	assert_non_null(f);
	fputs(text, f);
	fclose(f);
	assert_int_equal(chmod(path_of(name), mode), 0);
}

static int load(const char *name, struct config **ret_config)
{
	complaints[0] = '\0';
	return config_load(path_of(name), complain, NULL, ret_config);
}

/* What workers get is what was loaded, with every file that it took, and no file is needed for it.
 */
static void bundle_is_whole(void **state)
{
	struct config *config, *copy;
	char hash[PASSWORD_HASH_MAX], text[PASSWORD_HASH_MAX + 16];
	int fd;

	(void)state;
	assert_int_equal(password_hash("pw", hash), 0);
	snprintf(text, sizeof(text), "u:%s\n", hash);
	mkdir(path_of("sub"), 0700);
	put("main.conf", "include \"sub/one.conf\"\nauth password users\nallow user u to any\n",
	    0644);
	put("sub/one.conf", "include \"two.conf\"\n", 0644);
	put("sub/two.conf", "listen 127.0.0.1:1080\n", 0644);
	put("users", text, 0600);
	assert_int_equal(load("main.conf", &config), 0);
	assert_string_equal(complaints, "");
	assert_int_equal(config->texts.n, 4);

	fd = config_to_memfd(config);
	assert_true(fd >= 0);
	config_unref(config);
	unlink(path_of("main.conf"));
	unlink(path_of("sub/one.conf"));
	unlink(path_of("sub/two.conf"));
	unlink(path_of("users"));
	rmdir(path_of("sub"));

	assert_int_equal(config_from_memfd(fd, &copy), 0);
	assert_int_equal(copy->policy->n_listeners, 1);
	assert_string_equal(copy->policy->listeners[0].text, "127.0.0.1:1080");
	assert_int_equal(copy->policy->n_auths, 1);
	assert_true(password_check(copy->passwords[0], "u", 1, "pw", 2));
	config_unref(copy);
	/* Read once, it can be read again: the offset is everybody's. */
	assert_int_equal(config_from_memfd(fd, &copy), 0);
	config_unref(copy);
	close(fd);
}

static void built_in(void **state)
{
	const char *listen[] = {"127.0.0.1:5555"};
	struct config *config;

	(void)state;
	complaints[0] = '\0';
	assert_int_equal(config_load_default(NULL, 0, complain, NULL, &config), 0);
	assert_int_equal(config->policy->n_listeners, 2);
	assert_true(config->policy->listeners[1].optional);
	config_unref(config);
	assert_int_equal(config_load_default(listen, 1, complain, NULL, &config), 0);
	assert_int_equal(config->policy->n_listeners, 1);
	assert_int_equal(config->policy->listeners[0].addr.port, 5555);
	assert_false(config->policy->listeners[0].optional);
	config_unref(config);
	assert_string_equal(complaints, "");
}

static void password_files_are_private(void **state)
{
	struct config *config;

	(void)state;
	put("p.conf", "listen 127.0.0.1:1080\nauth password users\nallow user u to any\n", 0644);
	put("users", "", 0644);
	assert_true(load("p.conf", &config) < 0);
	assert_non_null(strstr(complaints, "chmod 600"));
	unlink(path_of("users"));
	assert_true(load("p.conf", &config) < 0);
	assert_non_null(strstr(complaints, "does not exist; make it"));
	put("users", "u:secret\n", 0600);
	assert_true(load("p.conf", &config) < 0);
	assert_non_null(strstr(complaints, "line 1"));
	/* The line may hold somebody's password. */
	assert_null(strstr(complaints, "secret"));
	unlink(path_of("users"));
	unlink(path_of("p.conf"));
}

static void mistakes_are_told(void **state)
{
	struct config *config;

	(void)state;
	assert_true(load("nowhere.conf", &config) < 0);
	assert_non_null(strstr(complaints, "nowhere.conf: cannot be read"));
	put("bad.conf", "listen 127.0.0.1:1080\nalow all\nallow from nobody\n", 0644);
	assert_true(load("bad.conf", &config) < 0);
	assert_non_null(strstr(complaints, "bad.conf:2"));
	assert_non_null(strstr(complaints, "bad.conf:3"));
	unlink(path_of("bad.conf"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(bundle_is_whole),
	    cmocka_unit_test(built_in),
	    cmocka_unit_test(password_files_are_private),
	    cmocka_unit_test(mistakes_are_told),
	};
	int failed;

	if (!mkdtemp(dir))
		return 1;
	failed = cmocka_run_group_tests(tests, NULL, NULL);
	rmdir(dir);
	return failed;
}
