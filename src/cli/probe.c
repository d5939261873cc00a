/* SPDX-License-Identifier: MIT */
/* tabi probe: asks a proxy for everything, and tells what it really does. */
#include "cli/probe.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/main.h"
#include "cli/probe_kit.h"

static void list(void)
{
	for (unsigned i = 0; i < kit_count(); i++) {
		const struct check *c = kit_check(i);

		printf("%s  %-11s  %s  [%s]\n", c->id, level_name(c->level), c->what, c->source);
	}
}

static int run(struct probe *p)
{
	int status = probe_find_targets(p);

	if (status != 0)
		return status;
	if (!probe_survey(p) && !p->o->conformance)
		status = PROBE_FAILED;
	if (p->o->conformance)
		status = kit_main(p);
	else
		probe_show(p);
	if (!p->o->conformance && !p->s.reached)
		status = PROBE_FAILED;
	return status;
}

int probe_main(int argc, char **argv)
{
	struct probe_options o;
	struct probe *p;
	int status = probe_options_read(&o, argc, argv);

	if (status < 0 && !kit_knows_all(&o))
		status = PROBE_USAGE;
	if (status < 0 && o.list) {
		list();
		status = PROBE_FINE;
	}
	p = status < 0 ? calloc(1, sizeof(*p)) : NULL;
	if (!p) {
		if (status < 0)
			fputs("tabi probe: no memory\n", stderr);
		probe_options_free(&o);
		return status < 0 ? PROBE_NOTHING : status;
	}
	p->o = &o;
	signal(SIGPIPE, SIG_IGN);
	status = run(p);
	probe_end_targets(p);
	free(p);
	probe_options_free(&o);
	if (fflush(stdout) != 0)
		status = PROBE_NOTHING;
	return status;
}
