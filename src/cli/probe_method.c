/* SPDX-License-Identifier: MIT */
/* Checks of tabi probe: greetings and the choice of a method, RFC 1928 section 3. */
#include <stdio.h>
#include <string.h>

#include "cli/probe_kit.h"

#define NO_CHOICE (-1)
#define UNACCEPTABLE SOCKS5_METHOD_UNACCEPTABLE

/* Sends a greeting that is given as bytes; -2 where there is no connection. */
static int greet(struct kit *k, const void *greeting, size_t len)
{
	if (!ask_dial(k->p, k->t))
		return -2;
	talk_send(k->t, greeting, len, probe_ms(k->p));
	return ask_read_choice(k->p, k->t);
}

static enum probe_verdict chose(struct kit *k, int choice, bool right)
{
	if (choice == -2)
		return kit_stuck(k);
	if (choice == NO_CHOICE)
		return kit_fail(k, "%s", k->p->why);
	return right ? kit_pass(k, "05 %02x", (unsigned)choice)
		     : kit_fail(k, "05 %02x", (unsigned)choice);
}

static enum probe_verdict answers_two_bytes(struct kit *k)
{
	int choice = greet(k, "\5\1\0", 3);

	if (choice < 0)
		return chose(k, choice, false);
	if (choice != SOCKS5_METHOD_NONE && choice != UNACCEPTABLE)
		return kit_fail(k, "05 %02x, with 00 offered", (unsigned)choice);
	if (talk_want(k->t, 1, PROBE_QUIET) > 0)
		return kit_fail(k, "05 %02x and %zu bytes more", (unsigned)choice, talk_left(k->t));
	return chose(k, choice, true);
}

/* One of those that the bytes of the row offer, or none. */
static enum probe_verdict chooses_of_these(struct kit *k)
{
	const uint8_t *offer = (const uint8_t *)k->check->bytes;
	int choice = greet(k, offer, k->check->n_bytes);
	bool right = choice == UNACCEPTABLE;

	for (unsigned i = 2; choice >= 0 && i < k->check->n_bytes; i++)
		right |= offer[i] == choice;
	return chose(k, choice, right);
}

static enum probe_verdict refuses_all(struct kit *k)
{
	int choice = greet(k, k->check->bytes, k->check->n_bytes);

	return chose(k, choice, choice == UNACCEPTABLE);
}

/* The same, or closed without an answer. */
static enum probe_verdict refuses_or_closes(struct kit *k)
{
	int choice = greet(k, k->check->bytes, k->check->n_bytes);

	if (choice == NO_CHOICE && talk_left(k->t) == 0 && kit_ends(k, k->t))
		return kit_pass(k, "closed");
	return chose(k, choice, choice == UNACCEPTABLE);
}

static enum probe_verdict refuses_and_closes(struct kit *k)
{
	int choice = greet(k, k->check->bytes, k->check->n_bytes);

	if (choice == NO_CHOICE && talk_left(k->t) == 0 && kit_ends(k, k->t))
		return kit_pass(k, "closed");
	if (choice != UNACCEPTABLE)
		return chose(k, choice, false);
	return kit_ends(k, k->t) ? kit_pass(k, "05 ff, and closed")
				 : kit_fail(k, "05 ff, and not closed");
}

/* Our method among others, as the bytes of the row say: MM stands for it, and nothing else is known
 * to anybody. */
#define MM "\xa5"

static enum probe_verdict chooses_ours(struct kit *k)
{
	uint8_t offer[260];
	int choice;

	memcpy(offer, k->check->bytes, k->check->n_bytes);
	for (unsigned i = 2; i < k->check->n_bytes; i++)
		if (offer[i] == (uint8_t)MM[0])
			offer[i] = k->p->s.method;
	choice = greet(k, offer, k->check->n_bytes);
	return chose(k, choice, choice == k->p->s.method);
}

/* All numbers there are; the ones that our side could not go on with are left out. */
static enum probe_verdict chooses_of_255(struct kit *k)
{
	uint8_t offer[257] = {SOCKS5_VERSION, 255};
	int choice;

	for (unsigned i = 0; i < 255; i++)
		offer[2 + i] = (uint8_t)(i < 0x80 ? k->p->s.method : 0xc0 + i % 0x30);
	choice = greet(k, offer, sizeof(offer));
	return chose(k, choice, choice == k->p->s.method);
}

static enum probe_verdict waits_for_us(struct kit *k)
{
	if (!ask_hello(k->p, k->t))
		return kit_stuck(k);
	if (talk_want(k->t, 1, PROBE_QUIET) > 0)
		return kit_fail(k, "%zu bytes came unasked", talk_left(k->t));
	return k->t->end == TALK_OPEN ? kit_pass(k, "it waits for the request")
				      : kit_fail(k, "it closed instead of waiting");
}

/* A method that RFC 1928 wants to be there; who chooses it not may lack it or have it turned off.
 */
static enum probe_verdict has_method(struct kit *k)
{
	const uint8_t greeting[] = {SOCKS5_VERSION, 1, (uint8_t)k->check->arg};
	int choice = greet(k, greeting, sizeof(greeting));

	if (choice == UNACCEPTABLE || (choice == NO_CHOICE && k->t->end != TALK_OPEN))
		return kit_none(k, "%s: it is missing, or turned off",
		    choice == UNACCEPTABLE ? "05 ff" : "closed");
	return chose(k, choice, choice == (int)k->check->arg);
}

static enum probe_verdict chooses_password(struct kit *k)
{
	int choice = greet(k, "\5\2\0\2", 4);

	if (k->p->s.chosen[2] != SOCKS5_METHOD_PASSWORD)
		return kit_none(k, "the proxy takes no passwords");
	return chose(k, choice, choice == SOCKS5_METHOD_PASSWORD);
}

/* Broken clients log in though nobody asked them to. */
static enum probe_verdict login_unasked(struct kit *k)
{
	uint8_t message[PROBE_MESSAGE];
	struct attempt a;
	uint8_t first;

	if (!ask_hello(k->p, k->t))
		return kit_stuck(k);
	kit_say(k, k->t, "\1\4user\4pass", 11);
	if (talk_want(k->t, 2, probe_ms(k->p)) < 2)
		return k->t->end == TALK_OPEN ? kit_fail(k, "no answer, and not closed")
					      : kit_pass(k, "closed");
	first = k->t->in[k->t->at];
	if (first != 1) {
		ask_read5(k->p, k->t, &a);
		return kit_refused(k, &a);
	}
	talk_take(k->t, 2);
	kit_say(k, k->t, message, ask_write_request(message, SOCKS5_CONNECT, &k->p->main));
	ask_read5(k->p, k->t, &a);
	return a.outcome == OUTCOME_YES ? kit_pass(k, "01 00, and the request is served")
					: kit_fail(k, "01 00, then %s", a.seen);
}

const struct check method_checks[] = {
    {"M01", LEVEL_REQUIRED, NEED_SOCKS5_SAID,
	"A greeting is answered with version 5 and one method.", "RFC 1928 section 3",
	"05 00 or 05 ff, and nothing more", .run = answers_two_bytes},
    {"M02", LEVEL_REQUIRED, NEED_GREETING, "The method chosen is one of those offered.",
	"RFC 1928 section 3; case N15", "05 00, 05 02 or 05 ff", .run = chooses_of_these,
	BYTES("\5\2\0\2")},
    {"M03", LEVEL_REQUIRED, NEED_GREETING, "Of methods that nobody knows none is chosen.",
	"RFC 1928 section 3; case N7", "05 ff", .run = refuses_all, BYTES("\5\4\xb0\xc1\xd2\xe3")},
    {"M04", LEVEL_REQUIRED, NEED_V5, "A greeting with 255 methods is read whole.",
	"RFC 1928 section 3; case N2", "the one of them that is known", .run = chooses_of_255},
    {"M05", LEVEL_REQUIRED, NEED_V5, "A known method behind unknown ones is found.",
	"RFC 1928 section 3", "the known one", .run = chooses_ours, BYTES("\5\4\xb0\xc1\xd2" MM)},
    {"M06", LEVEL_REQUIRED, NEED_V5, "Behind its choice of a method the server waits.",
	"RFC 1928 sections 3, 4", "nothing till the request", .run = waits_for_us},
    {"M07", LEVEL_RECOMMENDED, NEED_V5, "A method that is offered three times is one method.",
	"case N5", "chosen once", .run = chooses_ours, BYTES("\5\3" MM MM MM)},
    {"M08", LEVEL_RECOMMENDED, NEED_V5, "FF among the methods is none, and no harm.", "case N6",
	"the other one", .run = chooses_ours, BYTES("\5\2\xff" MM)},
    {"M09", LEVEL_RECOMMENDED, NEED_GREETING, "FF alone is no method.", "case N6",
	"05 ff or closed", .run = refuses_or_closes, BYTES("\5\1\xff")},
    {"M10", LEVEL_RECOMMENDED, NEED_GREETING, "A greeting without methods is not waited on.",
	"RFC 1928 section 3 (1 to 255); case N1", "05 ff or closed", .run = refuses_or_closes,
	BYTES("\5\0")},
    {"M11", LEVEL_RECOMMENDED, NEED_GREETING,
	"Where no method is acceptable the server closes too.", "case N4", "closed",
	.run = refuses_and_closes, BYTES("\5\1\xb0")},
    {"M12", LEVEL_REQUIRED, NEED_GREETING, "GSS-API (RFC 1961) is there.",
	"RFC 1928 section 3: MUST", "05 01", .run = has_method, .arg = SOCKS5_METHOD_GSSAPI},
    {"M13", LEVEL_RECOMMENDED, NEED_GREETING, "User name and password (RFC 1929) are there.",
	"RFC 1928 section 3: SHOULD", "05 02", .run = has_method, .arg = SOCKS5_METHOD_PASSWORD},
    {"M14", LEVEL_REQUIRED, NEED_GREETING | NEED_CLOSED,
	"Where authentication is demanded, nobody comes in without.", "RFC 1928 section 3; case N4",
	"05 ff", .run = refuses_all, BYTES("\5\1\0")},
    {"M15", LEVEL_RECOMMENDED, NEED_GREETING | NEED_CLOSED,
	"Where authentication is demanded, the password is chosen from both.", "case N3", "05 02",
	.run = chooses_password},
    {"M16", LEVEL_RECOMMENDED, NEED_V5 | NEED_FREE | NEED_CONNECT,
	"A login that was not asked for is answered or refused, and does not hang.", "case N14",
	"01 00 and then the request, or a refusal", .run = login_unasked},
};
const unsigned n_method_checks = N_CHECKS_OF(method_checks);
