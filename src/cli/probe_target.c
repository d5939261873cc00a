/* SPDX-License-Identifier: MIT */
/* What tabi probe has a proxy connect to: targets that were named, or servers of our own. */
#include <errno.h>
#include <netdb.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cli/bench.h"
#include "cli/probe.h"
#include "net/sockaddr.h"

static int fail(const char *what, const char *why)
{
	fprintf(stderr, "tabi probe: %s: %s\n", what, why);
	return PROBE_NOTHING;
}

/* ---- of our own ---- */

/* In the child: listens till the parent is gone. */
static void serve(const struct addr *at, int ready)
{
	char text[ADDR_TEXT_MAX];
	char *argv[] = {(char[]){"tabi bench serve"}, addr_format(at, text), NULL};

	prctl(PR_SET_PDEATHSIG, SIGTERM);
	dup2(ready, STDOUT_FILENO);
	_exit(bench_serve_main(2, argv));
}

/* Returns false where it cannot listen there. */
static bool start(struct probe *p, unsigned i, const struct addr *at, struct addr *ret_at)
{
	char line[ADDR_TEXT_MAX + 8];
	ssize_t n = 0;
	int ends[2];
	pid_t pid;

	if (pipe(ends) < 0)
		return false;
	fflush(NULL);
	pid = fork();
	if (pid == 0)
		serve(at, ends[1]);
	close(ends[1]);
	if (pid > 0)
		n = read(ends[0], line, sizeof(line));
	/* It stays open: what the server says at its end is for nobody. */
	p->own_pids[i] = pid;
	if (n > 7 && memcmp(line, "ready ", 6) == 0 && line[n - 1] == '\n' &&
	    addr_parse(line + 6, (size_t)n - 7, ret_at) == 0)
		return true;
	close(ends[0]);
	return false;
}

void probe_end_targets(struct probe *p)
{
	for (unsigned i = 0; i < 2; i++) {
		if (p->own_pids[i] <= 0)
			continue;
		kill(p->own_pids[i], SIGKILL);
		waitpid(p->own_pids[i], NULL, 0);
		p->own_pids[i] = 0;
	}
}

static void start_own(struct probe *p)
{
	static const uint8_t v4[4] = {127, 0, 0, 1}, v6[16] = {[15] = 1};
	struct addr at = p->local;
	bool is_v4 = ip_is_v4(&at.ip);
	struct ip other = is_v4 ? ip_from_v6(v6) : ip_from_v4(v4);

	p->own_target = true;
	at.port = 0;
	start(p, 0, &at, is_v4 ? &p->target4 : &p->target6);
	/* Loopback has both. What other addresses the proxy can reach nobody tells us. */
	if (ip_classes(&at.ip) & IP_LOOPBACK) {
		at.ip = other;
		start(p, 1, &at, is_v4 ? &p->target6 : &p->target4);
	}
}

/* ---- named ---- */

static int look_up(const struct addr *name, int family, struct addr *ret)
{
	const struct addrinfo hints = {.ai_family = family, .ai_socktype = SOCK_STREAM};
	struct sockaddr_storage sa = {0};
	struct addrinfo *list;
	int err = getaddrinfo(name->name, NULL, &hints, &list);

	if (err)
		return err;
	memcpy(&sa, list->ai_addr, list->ai_addrlen);
	freeaddrinfo(list);
	*ret = sockaddr_to_addr(&sa);
	ret->port = name->port;
	return 0;
}

static int take_target(struct probe *p, const struct addr *a)
{
	int err, err6;

	if (a->kind == ADDR_IP) {
		*(ip_is_v4(&a->ip) ? &p->target4 : &p->target6) = *a;
		return 0;
	}
	err = look_up(a, AF_INET, &p->target4);
	err6 = look_up(a, AF_INET6, &p->target6);
	if (err && err6)
		return fail(a->name, gai_strerror(err));
	p->name = *a;
	return 0;
}

static int find_proxy(struct probe *p)
{
	const struct addr *proxy = &p->o->proxy.proxy;
	struct talk t;
	int err;

	p->proxy_addr = *proxy;
	if (proxy->kind == ADDR_NAME) {
		err = look_up(proxy, AF_UNSPEC, &p->proxy_addr);
		if (err)
			return fail(proxy->name, gai_strerror(err));
	}
	p->proxy_len = sockaddr_from_ip(&p->proxy, &p->proxy_addr.ip, proxy->port);
	if (!ask_dial(p, &t)) {
		char text[ADDR_TEXT_MAX];

		return fail(addr_format(&p->proxy_addr, text), p->why);
	}
	p->local = socket_local_addr(t.fd);
	talk_close(&t);
	return 0;
}

int probe_find_targets(struct probe *p)
{
	int status = find_proxy(p);

	for (unsigned i = 0; status == 0 && i < p->o->n_targets; i++)
		status = take_target(p, &p->o->targets[i]);
	if (status != 0)
		return status;
	if (p->o->n_targets == 0)
		start_own(p);
	p->main = p->target4.kind == ADDR_IP ? p->target4 : p->target6;
	if (p->o->name.kind == ADDR_NAME)
		p->name = p->o->name;
	else if (p->name.kind == ADDR_NONE && p->main.kind == ADDR_IP &&
		 ip_classes(&p->main.ip) & IP_LOOPBACK)
		addr_set_host(&p->name, "localhost", 9);
	p->name.port = p->main.port;
	return 0;
}
