/* SPDX-License-Identifier: MIT */
/* Every allocation of a look-up fails once, ours and those of c-ares: no crash, no leak, no hang.
 */
#include "net/resolve.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <ares.h>
#include <cmocka.h>

#include "dns_stub.h"
#include "proto/err.h"

/* Allocations until the one that fails; below zero it has failed. */
static long countdown;
static bool for_ever;

/* NOLINTBEGIN(bugprone-reserved-identifier): so the linker's --wrap calls them */
void *__real_calloc(size_t n, size_t size);
void *__wrap_calloc(size_t n, size_t size);

static bool fails_now(void)
{
	countdown--;
	return countdown == 0 || (for_ever && countdown < 0);
}

void *__wrap_calloc(size_t n, size_t size)
{
	return fails_now() ? NULL : __real_calloc(n, size);
}
/* NOLINTEND(bugprone-reserved-identifier) */

static void *ares_malloc_failing(size_t size)
{
	return fails_now() ? NULL : malloc(size);
}

static void *ares_realloc_failing(void *old, size_t size)
{
	return fails_now() ? NULL : realloc(old, size);
}

static int calls;

static void check(struct resolve_wait *wait, const struct resolve_answer *answer)
{
	(void)wait;
	calls++;
	if (answer->err == ERR_OK)
		assert_in_range(answer->n, 1, 2);
	else
		assert_true(answer->err == -ENOMEM || answer->err == ERR_RESOLVER ||
			    answer->err == ERR_NOT_FOUND);
}

/* A look-up over UDP, one over TCP, and one that waits when the resolver goes. */
static void live_a_life(struct loop *loop, const struct addr *server)
{
	static const char *const names[] = {"good.test", "truncated.test", "nx.test", "drop.test"};
	const struct resolver_options options = {
	    .servers = server, .n_servers = 1, .timeout_ms = 10, .tries = 1};
	struct resolve_wait waits[4] = {0};
	struct resolve_answer answer;
	struct resolver *resolver;
	int expected = 0, ret;
	size_t i;

	calls = 0;
	ret = resolver_new(&resolver, loop, &options);
	if (ret < 0) {
		assert_int_equal(ret, -ENOMEM);
		return;
	}
	for (i = 0; i < 4; i++) {
		ret = resolver_ask(resolver, names[i], &waits[i], check, &answer);
		if (ret == 0)
			expected++;
		else if (ret < 0)
			assert_int_equal(ret, -ENOMEM);
		else
			assert_int_not_equal(answer.err, ERR_OK);
	}
	resolver_free(resolver);
	loop_run(loop);
	assert_int_equal(calls, expected);
	assert_int_equal(loop->watching, 0);
}

static void fail_each(bool from_then_on)
{
	struct dns_stub stub;
	struct addr server;
	struct loop loop;
	struct ip ip;
	long n = 1;

	for_ever = from_then_on;
	countdown = 0;
	assert_int_equal(dns_stub_start(&stub, AF_INET), 0);
	assert_int_equal(ip_parse("127.0.0.1", 9, &ip), 0);
	server = addr_from_ip(&ip, stub.port);
	do {
		assert_int_equal(loop_init(&loop), 0);
		countdown = n++;
		live_a_life(&loop, &server);
		loop_fini(&loop);
	} while (countdown <= 0);
	assert_true(n > 50);
	dns_stub_stop(&stub);
}

static void each_fails_once(void **state)
{
	(void)state;
	fail_each(false);
}

static void all_fail_from_then_on(void **state)
{
	(void)state;
	fail_each(true);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(each_fails_once),
	    cmocka_unit_test(all_fail_from_then_on),
	};

	/* The first to initialise c-ares decides. */
	ares_library_init_mem(ARES_LIB_INIT_ALL, ares_malloc_failing, free, ares_realloc_failing);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
