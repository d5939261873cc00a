/* SPDX-License-Identifier: MIT */
/* What came of the checks of tabi probe, for people and for machines. */
#include <stdio.h>

#include "cli/probe_kit.h"

const char *verdict_name(enum probe_verdict verdict)
{
	static const char *const names[] = {
	    [VERDICT_PASS] = "pass",
	    [VERDICT_FAIL] = "fail",
	    [VERDICT_NOT_APPLICABLE] = "not applicable",
	    [VERDICT_UNTESTED] = "untested",
	};

	return names[verdict];
}

const char *level_name(enum level level)
{
	return level == LEVEL_REQUIRED ? "required" : "recommended";
}

void kit_show_begin(const struct probe *p)
{
	char url[1024], main[ADDR_TEXT_MAX];

	url_format(&p->o->proxy, url, sizeof(url));
	addr_format(&p->main, main);
	if (!p->o->json) {
		printf("%s  to %s\n", url, main);
		return;
	}
	fputs("{\"proxy\":", stdout);
	show_json_text(url);
	fputs(",\"target\":", stdout);
	show_json_text(main);
	fputs(",\"checks\":[", stdout);
}

static void show_json(const struct kit_result *r, bool first)
{
	const struct check *c = r->check;
	const struct {
		const char *key, *text;
	} fields[] = {
	    {"level", level_name(c->level)},
	    {"what", c->what},
	    {"source", c->source},
	    {"expected", c->expected},
	    {"verdict", verdict_name(r->verdict)},
	    {"seen", r->seen},
	};

	printf("%s\n{\"id\":\"%s\"", first ? "" : ",", c->id);
	for (size_t i = 0; i < sizeof(fields) / sizeof(fields[0]); i++) {
		printf(",\"%s\":", fields[i].key);
		show_json_text(fields[i].text);
	}
	printf(",\"ms\":%.3f}", (double)r->ns / 1e6);
}

void kit_show(const struct probe *p, const struct kit_result *result, bool first)
{
	const struct check *c = result->check;

	if (p->o->json) {
		show_json(result, first);
	} else if (!p->o->quiet || result->verdict == VERDICT_FAIL) {
		printf("%-14s  %s  %s\n", verdict_name(result->verdict), c->id, c->what);
		if (result->verdict == VERDICT_FAIL)
			printf("                     %s, %s; expected: %s\n", level_name(c->level),
			    c->source, c->expected);
		printf("                     seen: %s\n", result->seen);
	}
	fflush(stdout);
}

static void show_counts(const struct probe *p, unsigned level, const unsigned counts[VERDICTS])
{
	printf(p->o->json ? "%s\"%s\":{" : "%s%-12s", p->o->json && level > 0 ? "," : "",
	    level_name((enum level)level));
	for (unsigned v = 0; v < VERDICTS; v++)
		printf(p->o->json ? "%s\"%s\":%u" : "%s%s %u",
		    v == 0 ? (p->o->json ? "" : " ") : (p->o->json ? "," : ", "),
		    verdict_name((enum probe_verdict)v), counts[v]);
	fputs(p->o->json ? "}" : "\n", stdout);
}

void kit_show_end(const struct probe *p, unsigned counts[2][VERDICTS])
{
	if (p->o->json)
		fputs("],\"summary\":{", stdout);
	show_counts(p, LEVEL_REQUIRED, counts[LEVEL_REQUIRED]);
	show_counts(p, LEVEL_RECOMMENDED, counts[LEVEL_RECOMMENDED]);
	if (p->o->json)
		fputs("}}\n", stdout);
}
