/* SPDX-License-Identifier: MIT */
#include "net/resolve.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "dns_stub.h"
#include "proto/err.h"

struct fixture {
	struct loop loop;
	struct dns_stub stub;
	struct resolver *resolver;
};

/* One who asks and notes what comes. */
struct asker {
	struct resolve_wait wait;
	struct resolve_answer answer;
	int calls;
};

static void note(struct resolve_wait *wait, const struct resolve_answer *answer)
{
	struct asker *asker = (struct asker *)wait;

	asker->answer = *answer;
	asker->calls++;
}

static struct addr stub_addr(const struct dns_stub *stub, int family)
{
	const char *text = family == AF_INET ? "127.0.0.1" : "::1";
	struct ip ip;

	assert_int_equal(ip_parse(text, strlen(text), &ip), 0);
	return addr_from_ip(&ip, stub->port);
}

static void open_with(struct fixture *f, size_t cache_max, unsigned timeout_ms, unsigned tries)
{
	struct addr server;
	struct resolver_options options = {.servers = &server,
	    .n_servers = 1,
	    .cache_max = cache_max,
	    .timeout_ms = timeout_ms,
	    .tries = tries};

	assert_int_equal(loop_init(&f->loop), 0);
	assert_int_equal(dns_stub_start(&f->stub, AF_INET), 0);
	server = stub_addr(&f->stub, AF_INET);
	assert_int_equal(resolver_new(&f->resolver, &f->loop, &options), 0);
}

static void open_plain(struct fixture *f)
{
	open_with(f, 0, 0, 0);
}

/* Everything must have closed when the loop has nothing left to wait for. */
static void close_all(struct fixture *f)
{
	resolver_free(f->resolver);
	loop_run(&f->loop);
	assert_int_equal(f->loop.watching, 0);
	loop_fini(&f->loop);
	dns_stub_stop(&f->stub);
}

static int ask(struct fixture *f, struct asker *asker, const char *name)
{
	return resolver_ask(f->resolver, name, &asker->wait, note, &asker->answer);
}

static void wait_for(struct fixture *f, const struct asker *asker)
{
	while (asker->calls == 0 && loop_turn(&f->loop, true))
		;
	assert_int_equal(asker->calls, 1);
}

/* Asks for a name that is not known yet. */
static struct resolve_answer asked(struct fixture *f, const char *name)
{
	struct asker asker = {0};

	assert_int_equal(ask(f, &asker, name), 0);
	assert_int_equal(asker.calls, 0);
	wait_for(f, &asker);
	assert_int_equal(asker.calls, 1);
	assert_null(asker.wait.next);
	return asker.answer;
}

static struct resolve_answer known(struct fixture *f, const char *name)
{
	struct asker asker = {0};

	assert_int_equal(ask(f, &asker, name), 1);
	return asker.answer;
}

static bool has(const struct resolve_answer *answer, const char *text)
{
	struct ip ip;
	unsigned i;

	assert_int_equal(ip_parse(text, strlen(text), &ip), 0);
	for (i = 0; i < answer->n; i++)
		if (ip_equal(&answer->ip[i], &ip))
			return true;
	return false;
}

static void assert_good(struct resolve_answer answer)
{
	assert_int_equal(answer.err, ERR_OK);
	assert_int_equal(answer.n, 2);
	assert_true(has(&answer, "192.0.2.1"));
	assert_true(has(&answer, "2001:db8::1"));
}

static void on_pause(struct timer *timer)
{
	timer_stop(timer);
	loop_stop(timer->loop);
}

/* Lets the loop turn for so long. */
static void pause_for(struct fixture *f, uint64_t ms)
{
	struct timer timer;

	timer_init(&timer, &f->loop, on_pause);
	timer_start(&timer, ms);
	loop_run(&f->loop);
	timer_close(&timer, NULL);
	loop_turn(&f->loop, false);
}

static void answers_without_asking(void **state)
{
	static const char *const bad[] = {"", ".", "a..b", "a b", "-\x01", "http://x"};
	static const char *const numeric[] = {"127.1", "0x7f.1", "2130706433", "017.0.0.1"};
	static const char *const local[] = {
	    "localhost", "LocalHost.", "a.localhost", "b.a.LOCALHOST."};
	struct asker asker = {0};
	struct fixture f;
	size_t i;

	(void)state;
	open_plain(&f);
	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_int_equal(ask(&f, &asker, bad[i]), ERR_NAME);
	for (i = 0; i < sizeof(numeric) / sizeof(numeric[0]); i++)
		assert_int_equal(ask(&f, &asker, numeric[i]), ERR_NUMERIC_NAME);
	for (i = 0; i < sizeof(local) / sizeof(local[0]); i++) {
		asker.answer = known(&f, local[i]);
		assert_int_equal(asker.answer.err, ERR_OK);
		assert_int_equal(asker.answer.n, 2);
		assert_true(has(&asker.answer, "127.0.0.1") && has(&asker.answer, "::1"));
	}
	asker.answer = known(&f, "[2001:db8::7]");
	assert_true(asker.answer.n == 1 && has(&asker.answer, "2001:db8::7"));
	asker.answer = known(&f, "192.0.2.7");
	assert_true(asker.answer.n == 1 && has(&asker.answer, "192.0.2.7"));
	/* c-ares answers from inside the call (RFC 7686): it must not call us. */
	assert_int_equal(known(&f, "x.onion").err, ERR_NOT_FOUND);
	assert_int_equal(asker.calls, 0);
	assert_int_equal(f.stub.queries, 0);
	close_all(&f);
}

/* A name of this host's file that is not loopback's, or false. */
static bool name_in_hosts_file(char name[static 256])
{
	FILE *file = fopen("/etc/hosts", "r");
	bool found = false;
	char line[1024];

	while (file && !found && fgets(line, sizeof(line), file))
		found = sscanf(line, "%*[0-9a-f.:] %255[a-zA-Z0-9.-]", name) == 1 &&
			!strstr(name, "localhost");
	if (file)
		fclose(file);
	return found;
}

static void hosts_file_comes_first(void **state)
{
	struct fixture f;
	char name[256];

	(void)state;
	if (!name_in_hosts_file(name))
		skip();
	open_plain(&f);
	assert_int_equal(known(&f, name).err, ERR_OK);
	assert_int_equal(known(&f, name).err, ERR_OK);
	assert_int_equal(f.stub.queries, 0);
	close_all(&f);
}

static void asks_for_both_families(void **state)
{
	struct resolve_answer answer;
	struct fixture f;

	(void)state;
	open_plain(&f);
	assert_good(asked(&f, "good.test"));
	assert_int_equal(f.stub.queries, 2);
	assert_good(known(&f, "GOOD.test"));
	assert_int_equal(f.stub.queries, 2);
	/* The dot makes it another name. */
	assert_good(asked(&f, "good.test."));
	assert_int_equal(f.stub.queries, 4);
	answer = asked(&f, "six.test");
	assert_true(answer.n == 1 && has(&answer, "2001:db8::1"));
	close_all(&f);
}

static void asks_over_ipv6(void **state)
{
	struct resolver_options options = {.n_servers = 1};
	struct addr server;
	struct fixture f;

	(void)state;
	if (dns_stub_start(&f.stub, AF_INET6) < 0)
		skip();
	server = stub_addr(&f.stub, AF_INET6);
	options.servers = &server;
	assert_int_equal(loop_init(&f.loop), 0);
	assert_int_equal(resolver_new(&f.resolver, &f.loop, &options), 0);
	assert_good(asked(&f, "good.test"));
	close_all(&f);
}

static void ttl_is_kept_to(void **state)
{
	struct resolve_answer answer;
	struct fixture f;

	(void)state;
	open_plain(&f);
	assert_good(asked(&f, "ttl.test"));
	answer = asked(&f, "alias.test");
	assert_true(answer.n == 2 && has(&answer, "192.0.2.1"));
	assert_good(asked(&f, "good.test"));
	assert_good(known(&f, "ttl.test"));
	known(&f, "alias.test");
	assert_int_equal(f.stub.queries, 6);
	pause_for(&f, 1050);
	assert_good(asked(&f, "ttl.test"));
	asked(&f, "alias.test");
	assert_good(known(&f, "good.test"));
	assert_int_equal(f.stub.queries, 10);
	close_all(&f);
}

static int ask_name(struct fixture *f, struct asker *asker, const char *address)
{
	struct ip ip;

	assert_int_equal(ip_parse(address, strlen(address), &ip), 0);
	return resolver_ask_name(f->resolver, &ip, &asker->wait, note, &asker->answer);
}

/* The name of an address that is not known yet, and from then on is. */
static struct resolve_answer name_of(struct fixture *f, const char *address)
{
	struct asker asker = {0}, again = {0};

	assert_int_equal(ask_name(f, &asker, address), 0);
	wait_for(f, &asker);
	assert_int_equal(ask_name(f, &again, address), 1);
	assert_int_equal(again.answer.err, asker.answer.err);
	assert_string_equal(again.answer.name, asker.answer.name);
	return asker.answer;
}

static void addresses_have_names(void **state)
{
	struct resolve_answer answer;
	struct fixture f;

	(void)state;
	open_with(&f, 0, 0, 1);
	answer = name_of(&f, "192.0.2.1");
	assert_int_equal(answer.err, ERR_OK);
	assert_int_equal(answer.n, strlen("host.test"));
	assert_string_equal(answer.name, "host.test");
	assert_string_equal(name_of(&f, "2001:db8::1").name, "host.test");
	assert_int_equal(f.stub.queries, 2);
	assert_int_equal(name_of(&f, "192.0.2.0").err, ERR_NOT_FOUND);
	assert_int_equal(name_of(&f, "192.0.2.200").err, ERR_NOT_FOUND);
	/* The name under which PTR records stand is another question. */
	assert_int_equal(f.stub.queries, 4);
	assert_int_equal(asked(&f, "1.2.0.192.in-addr.arpa").err, ERR_RESOLVER);
	close_all(&f);
}

/* Whoever has an address says its name: neither control bytes nor an address come through. */
static void hostile_names_are_none(void **state)
{
	static const char *const bad[] = {"192.0.2.2", "192.0.2.3", "192.0.2.4", "192.0.2.5",
	    "192.0.2.6", "192.0.2.7", "2001:db8::3"};
	struct fixture f;

	(void)state;
	open_with(&f, 0, 0, 1);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct resolve_answer answer = name_of(&f, bad[i]);

		assert_int_not_equal(answer.err, ERR_OK);
		assert_int_equal(answer.n, 0);
		assert_string_equal(answer.name, "");
	}
	close_all(&f);
}

/* One query for all who ask at once, and who gives up is not called. */
static void same_addresses_are_one(void **state)
{
	struct asker askers[10] = {0};
	struct fixture f;

	(void)state;
	open_plain(&f);
	for (int i = 0; i < 10; i++)
		assert_int_equal(ask_name(&f, &askers[i], "192.0.2.1"), 0);
	resolve_cancel(&askers[3].wait);
	wait_for(&f, &askers[9]);
	for (int i = 0; i < 10; i++)
		assert_int_equal(askers[i].calls, i != 3);
	assert_int_equal(f.stub.queries, 1);
	close_all(&f);
}

static void failures_are_kept(void **state)
{
	static const struct {
		const char *name;
		int err;
		unsigned queries;
	} cases[] = {
	    {"nx.test", ERR_NOT_FOUND, 2}, {"empty.test", ERR_NOT_FOUND, 2},
	    {"loop.test", ERR_NOT_FOUND, 2}, {"malformed.test", ERR_RESOLVER, 2},
	    {"fail.test", ERR_RESOLVER, 4}, /* both tries, both types */
	};
	struct fixture f;
	unsigned before;
	size_t i;

	(void)state;
	open_with(&f, 0, 0, 2);
	for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		before = f.stub.queries;
		assert_int_equal(asked(&f, cases[i].name).err, cases[i].err);
		assert_int_equal(known(&f, cases[i].name).err, cases[i].err);
		assert_int_equal(known(&f, cases[i].name).n, 0);
		assert_int_equal(f.stub.queries - before, cases[i].queries);
	}
	close_all(&f);
}

static void silence_is_a_failure(void **state)
{
	struct fixture f;

	(void)state;
	open_with(&f, 0, 50, 2);
	assert_int_equal(asked(&f, "drop.test").err, ERR_RESOLVER);
	assert_int_equal(known(&f, "drop.test").err, ERR_RESOLVER);
	dns_stub_catch_up(&f.stub);
	assert_int_equal(f.stub.queries, 4);
	close_all(&f);
}

/* Nobody listens: the error of the socket is an answer, there is no time-out to wait for. */
static void refusal_is_quick(void **state)
{
	struct fixture f;
	uint64_t start;

	(void)state;
	open_with(&f, 0, 20000, 2);
	dns_stub_stop(&f.stub);
	start = loop_now(&f.loop);
	assert_int_equal(asked(&f, "good.test").err, ERR_RESOLVER);
	assert_true(loop_now(&f.loop) - start < 10000);
	assert_int_equal(dns_stub_start(&f.stub, AF_INET), 0);
	close_all(&f);
}

static void same_names_are_one(void **state)
{
	static struct asker askers[100];
	struct fixture f;
	int i;

	(void)state;
	open_plain(&f);
	for (i = 0; i < 100; i++)
		assert_int_equal(ask(&f, &askers[i], i % 2 ? "good.test" : "Good.Test"), 0);
	for (i = 0; i < 100; i++)
		wait_for(&f, &askers[i]);
	for (i = 0; i < 100; i++) {
		assert_int_equal(askers[i].calls, 1);
		assert_good(askers[i].answer);
	}
	assert_int_equal(f.stub.queries, 2);
	close_all(&f);
}

static void cancelled_is_not_called(void **state)
{
	struct asker a = {0}, b = {0}, never = {0};
	struct fixture f;

	(void)state;
	open_plain(&f);
	resolve_cancel(&never.wait);
	assert_int_equal(ask(&f, &a, "good.test"), 0);
	assert_int_equal(ask(&f, &b, "good.test"), 0);
	assert_int_equal(ask(&f, &never, "good2.test"), 0);
	resolve_cancel(&a.wait);
	resolve_cancel(&a.wait);
	resolve_cancel(&never.wait);
	wait_for(&f, &b);
	assert_int_equal(a.calls, 0);
	assert_good(b.answer);
	/* What nobody waited for is known all the same. */
	assert_good(asked(&f, "good3.test"));
	assert_good(known(&f, "good2.test"));
	assert_int_equal(never.calls, 0);
	/* The same wait can ask again. */
	assert_int_equal(ask(&f, &a, "good4.test"), 0);
	wait_for(&f, &a);
	close_all(&f);
}

/* The memory of a wait that is called back is the callee's again: it may go at once. */
struct free_spirit {
	struct resolve_wait wait;
	struct fixture *f;
	struct asker *friends; /* three, of which the second is cancelled */
	struct asker *next;
};

static void cancel_ask_and_free(struct resolve_wait *wait, const struct resolve_answer *answer)
{
	struct free_spirit *spirit = (struct free_spirit *)wait;

	assert_good(*answer);
	resolve_cancel(&spirit->friends[1].wait);
	assert_good(known(spirit->f, "good.test"));
	assert_int_equal(ask(spirit->f, spirit->next, "good5.test"), 0);
	free(spirit);
}

static void callbacks_may_do_anything(void **state)
{
	struct free_spirit *spirit = calloc(1, sizeof(*spirit));
	struct asker friends[3] = {0}, next = {0};
	struct resolve_answer unused;
	struct fixture f;
	int i;

	(void)state;
	open_with(&f, 1, 0, 0); /* each answer drops the one before */
	*spirit = (struct free_spirit){.f = &f, .friends = friends, .next = &next};
	assert_int_equal(
	    resolver_ask(f.resolver, "good.test", &spirit->wait, cancel_ask_and_free, &unused), 0);
	for (i = 0; i < 3; i++)
		assert_int_equal(ask(&f, &friends[i], "good.test"), 0);
	wait_for(&f, &next);
	assert_int_equal(friends[0].calls, 1);
	assert_int_equal(friends[1].calls, 0);
	assert_int_equal(friends[2].calls, 1);
	assert_good(next.answer);
	close_all(&f);
}

static void free_resolver(struct resolve_wait *wait, const struct resolve_answer *answer)
{
	struct free_spirit *spirit = (struct free_spirit *)wait;

	assert_good(*answer);
	resolver_free(spirit->f->resolver);
	spirit->f->resolver = NULL;
}

static void freed_from_a_callback(void **state)
{
	struct free_spirit spirit = {0};
	struct resolve_answer unused;
	struct asker dropped = {0};
	struct fixture f;

	(void)state;
	open_plain(&f);
	spirit.f = &f;
	assert_int_equal(ask(&f, &dropped, "drop.test"), 0);
	resolve_cancel(&dropped.wait);
	assert_int_equal(
	    resolver_ask(f.resolver, "good.test", &spirit.wait, free_resolver, &unused), 0);
	loop_run(&f.loop);
	assert_null(f.resolver);
	close_all(&f);
}

/* As on a reload that names other servers. */
static void freed_while_awaited(void **state)
{
	struct asker good[2] = {0}, dead[2] = {0};
	struct fixture f;

	(void)state;
	open_with(&f, 0, 100, 1);
	assert_int_equal(ask(&f, &good[0], "good.test"), 0);
	assert_int_equal(ask(&f, &good[1], "good.test"), 0);
	assert_int_equal(ask(&f, &dead[0], "drop.test"), 0);
	assert_int_equal(ask(&f, &dead[1], "drop2.test"), 0);
	resolver_free(f.resolver);
	f.resolver = NULL;
	wait_for(&f, &good[0]);
	assert_good(good[0].answer);
	assert_good(good[1].answer);
	resolve_cancel(&dead[1].wait);
	wait_for(&f, &dead[0]);
	assert_int_equal(dead[0].answer.err, ERR_RESOLVER);
	assert_int_equal(dead[1].calls, 0);
	close_all(&f);
}

static void lies_are_not_believed(void **state)
{
	struct fixture f;

	(void)state;
	open_plain(&f);
	assert_good(asked(&f, "spoof.test"));
	assert_good(asked(&f, "garbage.test"));
	close_all(&f);
}

static void late_reply_is_dropped(void **state)
{
	struct asker late = {0}, keeps_socket_open = {0};
	struct fixture f;

	(void)state;
	open_with(&f, 0, 500, 1);
	assert_int_equal(ask(&f, &late, "late.test"), 0);
	pause_for(&f, 250);
	assert_int_equal(ask(&f, &keeps_socket_open, "drop.test"), 0);
	wait_for(&f, &late);
	assert_int_equal(late.answer.err, ERR_RESOLVER);
	assert_good(asked(&f, "flush.test"));
	assert_int_equal(known(&f, "late.test").err, ERR_RESOLVER);
	resolve_cancel(&keeps_socket_open.wait);
	close_all(&f);
}

/* Over TCP, since UDP said "truncated". Both families stay, and no address comes twice. */
static void long_lists_are_cut(void **state)
{
	struct resolve_answer answer;
	unsigned i, v4 = 0;
	struct fixture f;

	(void)state;
	open_plain(&f);
	answer = asked(&f, "many.test");
	assert_int_equal(answer.err, ERR_OK);
	assert_int_equal(answer.n, RESOLVE_ADDRS_MAX);
	for (i = 0; i < answer.n; i++)
		v4 += ip_is_v4(&answer.ip[i]);
	assert_int_equal(v4, RESOLVE_ADDRS_MAX - 3);
	assert_int_equal(f.stub.queries, 4);
	close_all(&f);
}

static void dead_names_delay_nobody(void **state)
{
	static struct asker dead[500];
	char name[32];
	struct fixture f;
	uint64_t start;
	int i;

	(void)state;
	open_with(&f, 0, 5000, 2);
	assert_good(asked(&f, "good.test"));
	for (i = 0; i < 500; i++) {
		snprintf(name, sizeof(name), "drop%d.test", i);
		assert_int_equal(ask(&f, &dead[i], name), 0);
	}
	dns_stub_catch_up(&f.stub);
	loop_turn(&f.loop, false);
	start = loop_now(&f.loop);
	assert_good(known(&f, "good.test"));
	assert_good(asked(&f, "good2.test"));
	assert_true(loop_now(&f.loop) - start < 2500);
	for (i = 0; i < 500; i++) {
		assert_int_equal(dead[i].calls, 0);
		resolve_cancel(&dead[i].wait);
	}
	close_all(&f);
}

static void look_ups_are_bounded(void **state)
{
	static struct asker dead[2001];
	struct asker other = {0};
	char name[32];
	struct fixture f;
	int i, n = 0;

	(void)state;
	open_with(&f, 0, 500, 1);
	assert_good(asked(&f, "good.test"));
	for (i = 0; i < 2001; i++) {
		snprintf(name, sizeof(name), "drop%d.test", i);
		n += ask(&f, &dead[i], name) == 0;
	}
	assert_int_equal(n, 2000);
	assert_int_equal(ask(&f, &other, "good2.test"), ERR_RESOLVER);
	assert_good(known(&f, "good.test"));
	assert_int_equal(ask(&f, &other, "drop7.test"), 0);
	wait_for(&f, &other);
	for (i = 0; i < 2000; i++)
		wait_for(&f, &dead[i]);
	dns_stub_catch_up(&f.stub);
	assert_good(asked(&f, "good2.test"));
	close_all(&f);
}

static void cache_is_bounded(void **state)
{
	struct fixture f;
	char name[32];
	int i;

	(void)state;
	open_with(&f, 4, 0, 0);
	for (i = 0; i < 4; i++) {
		snprintf(name, sizeof(name), "good%d.test", i);
		assert_good(asked(&f, name));
	}
	assert_good(known(&f, "good0.test")); /* so that good1 is the one used longest ago */
	assert_good(asked(&f, "good4.test"));
	assert_int_equal(f.stub.queries, 10);
	assert_good(known(&f, "good0.test"));
	assert_good(known(&f, "good2.test"));
	assert_good(known(&f, "good3.test"));
	assert_good(known(&f, "good4.test"));
	assert_int_equal(f.stub.queries, 10);
	assert_good(asked(&f, "good1.test"));
	assert_int_equal(f.stub.queries, 12);
	close_all(&f);
}

static void sockets_are_not_inherited(void **state)
{
	struct asker asker = {0};
	struct sockaddr_in peer = {0};
	struct fixture f;
	int fd, seen = 0;
	socklen_t len;

	(void)state;
	open_plain(&f);
	assert_int_equal(ask(&f, &asker, "drop.test"), 0);
	for (fd = 3; fd < 100; fd++) {
		len = sizeof(peer);
		if (getpeername(fd, (struct sockaddr *)&peer, &len) < 0 ||
		    peer.sin_port != htons(f.stub.port))
			continue;
		assert_true(fcntl(fd, F_GETFD) & FD_CLOEXEC);
		seen++;
	}
	assert_int_equal(seen, 1);
	resolve_cancel(&asker.wait);
	close_all(&f);
}

/* With nothing under way the resolver does not keep the loop alive but for its closing. */
static void idle_resolver_holds_nothing(void **state)
{
	const struct resolver_options of_system = {0};
	struct resolver *system;
	struct fixture f;

	(void)state;
	open_plain(&f);
	assert_int_equal(resolver_new(&system, &f.loop, &of_system), 0);
	assert_good(asked(&f, "good.test"));
	loop_run(&f.loop);
	resolver_free(system);
	resolver_free(NULL);
	close_all(&f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(answers_without_asking),
	    cmocka_unit_test(hosts_file_comes_first),
	    cmocka_unit_test(asks_for_both_families),
	    cmocka_unit_test(asks_over_ipv6),
	    cmocka_unit_test(ttl_is_kept_to),
	    cmocka_unit_test(failures_are_kept),
	    cmocka_unit_test(silence_is_a_failure),
	    cmocka_unit_test(refusal_is_quick),
	    cmocka_unit_test(same_names_are_one),
	    cmocka_unit_test(cancelled_is_not_called),
	    cmocka_unit_test(callbacks_may_do_anything),
	    cmocka_unit_test(freed_from_a_callback),
	    cmocka_unit_test(freed_while_awaited),
	    cmocka_unit_test(lies_are_not_believed),
	    cmocka_unit_test(late_reply_is_dropped),
	    cmocka_unit_test(long_lists_are_cut),
	    cmocka_unit_test(dead_names_delay_nobody),
	    cmocka_unit_test(look_ups_are_bounded),
	    cmocka_unit_test(cache_is_bounded),
	    cmocka_unit_test(sockets_are_not_inherited),
	    cmocka_unit_test(idle_resolver_holds_nothing),
	    cmocka_unit_test(addresses_have_names),
	    cmocka_unit_test(hostile_names_are_none),
	    cmocka_unit_test(same_addresses_are_one),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
