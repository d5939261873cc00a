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

struct fact {
	const char *section, *key, *label;
	const char *check; /* whose verdict it is, or NULL */
	size_t attempt;    /* otherwise: where in the survey */
};

#define ATTEMPT(field) NULL, offsetof(struct survey, field)
#define CHECK(id) id, 0

static const struct fact facts[] = {
    {"protocols", "socks4", "SOCKS4", ATTEMPT(socks4)},
    {"protocols", "socks4a", "SOCKS4A, a name", ATTEMPT(socks4a)},
    {"protocols", "http", "HTTP CONNECT", ATTEMPT(http)},
    {"commands", "connect4", "CONNECT by IPv4", ATTEMPT(connect4)},
    {"commands", "connect6", "CONNECT by IPv6", ATTEMPT(connect6)},
    {"commands", "name", "CONNECT to a name", ATTEMPT(by_name)},
    {"commands", "bind", "BIND", ATTEMPT(bind)},
    {"commands", "bind4", "BIND by SOCKS4", ATTEMPT(bind4)},
    {"commands", "udp", "UDP ASSOCIATE", ATTEMPT(udp)},
    {"commands", "resolve", "RESOLVE (Tor)", ATTEMPT(resolve)},
    {"commands", "resolve_ptr", "RESOLVE_PTR (Tor)", ATTEMPT(resolve_ptr)},
    {"handshake", "pieces", "in single bytes", CHECK("T01")},
    {"handshake", "pipelined", "all in one segment", CHECK("T04")},
    {"handshake", "early_data", "with data behind", CHECK("T05")},
    {"replies", "refused", "a port refuses: 05", CHECK("R13")},
    {"replies", "no_such_name", "no such name: 04", CHECK("R18")},
    {"replies", "command", "unknown command: 07", CHECK("R20")},
    {"replies", "address_type", "unknown type: 08", CHECK("R24")},
    {"replies", "bound4", "BND is true, IPv4", CHECK("R11")},
    {"replies", "bound6", "BND is true, IPv6", CHECK("R12")},
    {"replies", "literal", "literals as names", CHECK("R04")},
    {"replies", "numbers", "no 0x7f000001", CHECK("R35")},
    {"streams", "half_close", "answers behind our end", CHECK("L03")},
    {"streams", "target_half_close", "we, behind its end", CHECK("L05")},
    {"streams", "reset", "a reset stays a reset", CHECK("L10")},
    {"streams", "back_pressure", "back-pressure", CHECK("L11")},
    {"udp", "udp_echo", "a datagram", CHECK("U04")},
    {"udp", "udp_name", "to a name", CHECK("U09")},
    {"udp", "udp_ipv6", "by IPv6", CHECK("U11")},
    {"udp", "udp_1472", "1472 bytes", CHECK("U20")},
    {"udp", "udp_9000", "9000 bytes", CHECK("U21")},
    {"udp", "udp_65507", "65507 bytes", CHECK("U22")},
    {"udp", "udp_fragments", "fragments", CHECK("U25")},
    {"udp", "udp_stranger", "strangers are shut out", CHECK("U32")},
    {"udp", "udp_unsolicited", "so are unasked remotes", CHECK("U36")},
    {"udp", "udp_other_port", "a remote's other port", CHECK("U37")},
    {"udp", "udp_mapping", "one port for all", CHECK("U38")},
    {"bind", "bind_peer", "the peer is let in", CHECK("B05")},
    {"bind", "bind_stranger", "nobody else is", CHECK("B08")},
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
	    s->enters ? (s->method == SOCKS5_METHOD_PASSWORD ? "by password" : "without a password")
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
	    {"method", "method and login", p->s.method_ns},
	    {"reply", "request and reply", p->s.reply_ns},
	    {"echo", "first byte and back", p->s.echo_ns},
	};

	fputs(p->o->json ? "],\"times_us\":{" : "times\n", stdout);
	for (size_t i = 0; i < sizeof(times) / sizeof(times[0]); i++) {
		if (p->o->json)
			printf("%s\"%s\":%.1f", i > 0 ? "," : "", times[i].key,
			    (double)times[i].ns / 1e3);
		else
			printf("  %-24s %.0f us\n", times[i].label, (double)times[i].ns / 1e3);
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
	tell_head(p);
	tell_methods(p);
	for (size_t i = 0; i < N_FACTS; i++)
		tell_fact(p, &facts[i]);
	if (!p->o->json && !p->s.connects && p->own_target)
		puts("The proxy did not get through to a target of ours: what needs one cannot be "
		     "told.\nRun 'tabi bench serve' where it may connect to, and say --target.");
	tell_times(p);
}
