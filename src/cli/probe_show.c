/* SPDX-License-Identifier: MIT */
/* What tabi probe found out, for people and for machines. */
#include <stdio.h>
#include <string.h>

#include "cli/probe.h"
#include "cli/probe_kit.h"

void show_json_text(const char *text)
{
	putchar('"');
	for (const char *c = text; *c; c++) {
		unsigned char u = (unsigned char)*c;

		/* Bytes above 0x7f come in names, and are no UTF-8 for sure. */
		if (u < 0x20 || u >= 0x7f || u == '"' || u == '\\')
			printf("\\u%04x", u);
		else
			putchar(u);
	}
	putchar('"');
}

const char *outcome_name(enum outcome outcome)
{
	static const char *const names[] = {
	    [OUTCOME_UNTRIED] = "unknown",
	    [OUTCOME_YES] = "yes",
	    [OUTCOME_NO] = "no",
	    [OUTCOME_SILENT] = "silent",
	    [OUTCOME_CLOSED] = "closed",
	    [OUTCOME_WRONG] = "wrong",
	    [OUTCOME_NO_ECHO] = "dead",
	};

	return names[outcome];
}

/* Of which URLs it is told. */
enum scope { SOCKS = 1, HTTP = 2, ALL = 3 };

struct fact {
	enum scope scope;
	const char *section, *key, *label;
	const char *check; /* whose verdict it is, or NULL */
	size_t attempt;    /* otherwise: where in the survey */
};

#define ATTEMPT(field) NULL, offsetof(struct survey, field)
#define CHECK(id) id, 0

static const struct fact facts[] = {
    {SOCKS, "protocols", "socks4", "SOCKS4", ATTEMPT(socks4)},
    {SOCKS, "protocols", "socks4a", "SOCKS4A, a name", ATTEMPT(socks4a)},
    {SOCKS, "protocols", "http", "HTTP CONNECT", ATTEMPT(http)},
    {HTTP, "http", "http4", "CONNECT by IPv4", ATTEMPT(http)},
    {HTTP, "http", "http6", "CONNECT by IPv6", ATTEMPT(http6)},
    {HTTP, "http", "http_name", "CONNECT to a name", ATTEMPT(http_name)},
    {HTTP, "http", "http_login", "a password is wanted", CHECK("H60")},
    {HTTP, "http", "http_pieces", "in single bytes", CHECK("H05")},
    {HTTP, "http", "http_early_data", "with data behind", CHECK("H07")},
    {HTTP, "http", "http_refused", "a port refuses: 502-504", CHECK("H11")},
    {HTTP, "http", "http_no_such_name", "no such name: 502-504", CHECK("H12")},
    {HTTP, "http", "http_again", "again behind a refusal", CHECK("H14")},
    {HTTP, "http", "http_numbers", "no 0x7f000001", CHECK("H36")},
    {SOCKS, "commands", "connect4", "CONNECT by IPv4", ATTEMPT(connect4)},
    {SOCKS, "commands", "connect6", "CONNECT by IPv6", ATTEMPT(connect6)},
    {SOCKS, "commands", "name", "CONNECT to a name", ATTEMPT(by_name)},
    {SOCKS, "commands", "bind", "BIND", ATTEMPT(bind)},
    {SOCKS, "commands", "bind4", "BIND by SOCKS4", ATTEMPT(bind4)},
    {SOCKS, "commands", "udp", "UDP ASSOCIATE", ATTEMPT(udp)},
    {SOCKS, "commands", "resolve", "RESOLVE (Tor)", ATTEMPT(resolve)},
    {SOCKS, "commands", "resolve_ptr", "RESOLVE_PTR (Tor)", ATTEMPT(resolve_ptr)},
    {SOCKS, "handshake", "pieces", "in single bytes", CHECK("T01")},
    {SOCKS, "handshake", "pipelined", "all in one segment", CHECK("T04")},
    {SOCKS, "handshake", "early_data", "with data behind", CHECK("T05")},
    {SOCKS, "replies", "refused", "a port refuses: 05", CHECK("R13")},
    {SOCKS, "replies", "no_such_name", "no such name: 04", CHECK("R18")},
    {SOCKS, "replies", "command", "unknown command: 07", CHECK("R20")},
    {SOCKS, "replies", "address_type", "unknown type: 08", CHECK("R24")},
    {SOCKS, "replies", "bound4", "BND is true, IPv4", CHECK("R11")},
    {SOCKS, "replies", "bound6", "BND is true, IPv6", CHECK("R12")},
    {SOCKS, "replies", "literal", "literals as names", CHECK("R04")},
    {SOCKS, "replies", "numbers", "no 0x7f000001", CHECK("R35")},
    {ALL, "streams", "half_close", "answers behind our end", CHECK("L03")},
    {ALL, "streams", "target_half_close", "we, behind its end", CHECK("L05")},
    {ALL, "streams", "reset", "a reset stays a reset", CHECK("L10")},
    {ALL, "streams", "back_pressure", "back-pressure", CHECK("L11")},
    {SOCKS, "udp", "udp_echo", "a datagram", CHECK("U04")},
    {SOCKS, "udp", "udp_name", "to a name", CHECK("U09")},
    {SOCKS, "udp", "udp_ipv6", "by IPv6", CHECK("U11")},
    {SOCKS, "udp", "udp_1472", "1472 bytes", CHECK("U20")},
    {SOCKS, "udp", "udp_9000", "9000 bytes", CHECK("U21")},
    {SOCKS, "udp", "udp_65507", "65507 bytes", CHECK("U22")},
    {SOCKS, "udp", "udp_fragments", "fragments", CHECK("U25")},
    {SOCKS, "udp", "udp_stranger", "strangers are shut out", CHECK("U32")},
    {SOCKS, "udp", "udp_unsolicited", "so are unasked remotes", CHECK("U36")},
    {SOCKS, "udp", "udp_other_port", "a remote's other port", CHECK("U37")},
    {SOCKS, "udp", "udp_mapping", "one port for all", CHECK("U38")},
    {SOCKS, "bind", "bind_peer", "the peer is let in", CHECK("B05")},
    {SOCKS, "bind", "bind_stranger", "nobody else is", CHECK("B08")},
};

#define N_FACTS (sizeof(facts) / sizeof(facts[0]))

/* As JSON's or as the table's next line. */
static void tell(const struct probe *p, const char *section, const char *key, const char *label,
    const char *answer, const char *detail)
{
	static const char *last = "";

	if (p->o->json) {
		printf("%s\n{\"section\":\"%s\",\"key\":\"%s\",\"answer\":\"%s\",\"detail\":",
		    *last ? "," : "", section, key, answer);
		show_json_text(detail);
		putchar('}');
	} else {
		if (strcmp(last, section) != 0)
			printf("%s\n", section);
		printf("  %-24s %-8s %s\n", label, answer, detail);
	}
	last = section;
	fflush(stdout);
}

static void tell_methods(const struct probe *p)
{
	const struct survey *s = &p->s;
	char list[200] = "";
	size_t at = 0;

	for (unsigned i = 0; i < PROBE_METHODS; i++)
		if (s->chosen[i] == probe_methods[i].number)
			at += (size_t)snprintf(list + at, sizeof(list) - at, "%s%s", at ? ", " : "",
			    probe_methods[i].name);
	tell(p, "protocols", "socks5", "SOCKS5", s->v5 ? "yes" : "no", s->v5 ? "" : p->why);
	if (!s->v5)
		return;
	tell(p, "protocols", "methods", "methods", at ? "yes" : "none", list);
	tell(p, "protocols", "entry", "a way in", s->enters ? "yes" : "no",
	    s->enters ? (s->method == SOCKS5_METHOD_PASSWORD    ? "by password"
			    : s->method == SOCKS5_METHOD_GSSAPI ? "by GSS-API"
								: "without a password")
		      : p->why);
}

static void tell_fact(struct probe *p, const struct fact *f)
{
	static const char *const answers[] = {
	    [VERDICT_PASS] = "yes",
	    [VERDICT_FAIL] = "no",
	    [VERDICT_NOT_APPLICABLE] = "none",
	    [VERDICT_UNTESTED] = "unknown",
	};
	const struct attempt *a = (const void *)((const char *)&p->s + f->attempt);
	struct kit_result r;

	if (f->check) {
		kit_run(p, kit_find(f->check), &r);
		tell(p, f->section, f->key, f->label, answers[r.verdict], r.seen);
	} else {
		tell(p, f->section, f->key, f->label, outcome_name(a->outcome),
		    a->outcome == OUTCOME_UNTRIED ? "it could not be tried" : a->seen);
	}
}

static void tell_times(const struct probe *p)
{
	const struct {
		const char *key, *label;
		uint64_t ns;
	} times[] = {
	    {"connect", "connecting", p->s.dial_ns},
	    {"tls", "TLS", p->s.tls_ns},
	    {"method", "method and login", p->s.method_ns},
	    {"reply", "request and reply", p->s.reply_ns},
	    {"echo", "first byte and back", p->s.echo_ns},
	};

	const char *comma = "";

	fputs(p->o->json ? "],\"times_us\":{" : "times\n", stdout);
	for (size_t i = 0; i < sizeof(times) / sizeof(times[0]); i++) {
		/* A stage that there is not. */
		if (times[i].ns == 0)
			continue;
		if (p->o->json)
			printf("%s\"%s\":%.1f", comma, times[i].key, (double)times[i].ns / 1e3);
		else
			printf("  %-24s %.0f us\n", times[i].label, (double)times[i].ns / 1e3);
		comma = ",";
	}
	if (p->o->json)
		fputs("}}\n", stdout);
}

static void tell_head(const struct probe *p)
{
	char url[1024], four[ADDR_TEXT_MAX], six[ADDR_TEXT_MAX];

	url_format(&p->o->proxy, url, sizeof(url));
	addr_format(&p->target4, four);
	addr_format(&p->target6, six);
	if (p->o->json) {
		fputs("{\"proxy\":", stdout);
		show_json_text(url);
		printf(",\"target4\":\"%s\",\"target6\":\"%s\",\"own_target\":%s,\"facts\":[", four,
		    six, p->own_target ? "true" : "false");
	} else {
		printf("%s  to %s and %s%s\n", url, four, six, p->own_target ? ", of our own" : "");
	}
}

void probe_show(struct probe *p)
{
	enum scope scope = probe_way(p) == WAY_HTTP ? HTTP : SOCKS;

	tell_head(p);
	if (scope == SOCKS)
		tell_methods(p);
	for (size_t i = 0; i < N_FACTS; i++)
		if (facts[i].scope & scope)
			tell_fact(p, &facts[i]);
	if (!p->o->json && !p->s.reached && p->own_target)
		puts("The proxy did not get through to a target of ours: what needs one cannot be "
		     "told.\nRun 'tabi bench serve' where it may connect to, and say --target.");
	tell_times(p);
}
