/* SPDX-License-Identifier: MIT */
/* Checks of tabi probe: BIND, RFC 1928 sections 4 and 6. The target is who connects in. */
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>

#include "cli/probe_kit.h"
#include "net/sockaddr.h"

/* t[0] is where BIND was asked for, t[1] the target's connection that tells. */
#define BOUND (&k->t[0])
#define TELLER (&k->t[1])

/* BIND for `peer`, and the first reply. With port 0: to some servers it is a wish for a port to
 * listen at, and to others no more than a hint. */
static bool bind_for(struct kit *k, const struct addr *peer, struct attempt *ret)
{
	struct addr to = *peer;

	to.port = 0;
	ask5(k->p, BOUND, SOCKS5_BIND, &to, ret);
	return ret->outcome == OUTCOME_YES;
}

enum arrival {
	ARRIVED,
	TURNED_AWAY, /* the target could not connect */
	NOT_TOLD,    /* the target could not be asked; `why` tells */
};

/* Has the target connect to the port; `line` has from where. */
static enum arrival connect_in(struct kit *k, uint16_t port, struct target_line *line)
{
	char arg[TARGET_PORT + 1];

	snprintf(arg, sizeof(arg), "%05u", port);
	talk_close(TELLER);
	*line = (struct target_line){0};
	if (!ask_open(k->p, TELLER, &k->p->main, TARGET_CONNECT, arg) ||
	    !ask_line(k->p, TELLER, line))
		return NOT_TOLD;
	return line->failed ? TURNED_AWAY : ARRIVED;
}

/* The verdict where the target did not get as far as a check needs it. */
static enum probe_verdict not_arrived(struct kit *k, enum arrival arrival, const struct attempt *a)
{
	return arrival == NOT_TOLD
		   ? kit_stuck(k)
		   : kit_fail(k, "%s, but the target cannot connect there", a->seen);
}

static enum probe_verdict answered(struct kit *k)
{
	struct attempt a;

	bind_for(k, &k->p->main, &a);
	if (a.outcome == OUTCOME_NO && a.reply.code != 7 && a.reply.code != 2)
		return kit_fail(k, "%s", a.seen);
	return a.outcome == OUTCOME_YES || a.outcome == OUTCOME_NO ? kit_pass(k, "%s", a.seen)
								   : kit_fail(k, "%s", a.seen);
}

static enum probe_verdict listens(struct kit *k)
{
	struct attempt a;

	if (!bind_for(k, &k->p->main, &a))
		return kit_fail(k, "%s", a.seen);
	if (a.reply.bound.port == 0)
		return kit_fail(k, "%s: no port", a.seen);
	return kit_pass(k, "%s", a.seen);
}

static enum probe_verdict concrete(struct kit *k)
{
	struct attempt a;

	if (!bind_for(k, &k->p->main, &a))
		return kit_fail(k, "%s", a.seen);
	if (a.reply.bound.kind != ADDR_IP || ip_own_classes(&a.reply.bound.ip) & IP_UNSPECIFIED)
		return kit_fail(k, "%s: nobody can connect there", a.seen);
	return kit_pass(k, "%s", a.seen);
}

/* BIND for `to`, the peer connects, and the second reply. Returns VERDICT_PASS to go on. */
static enum probe_verdict second_reply(
    struct kit *k, const struct addr *to, struct attempt *ret, struct target_line *line)
{
	enum arrival arrival;

	*line = (struct target_line){0};
	if (!bind_for(k, to, ret))
		return kit_fail(k, "%s", ret->seen);
	if (k->check->arg)
		talk_send(BOUND, "early", 5, probe_ms(k->p));
	arrival = connect_in(k, ret->reply.bound.port, line);
	if (arrival != ARRIVED)
		return not_arrived(k, arrival, ret);
	ask_read5(k->p, BOUND, ret);
	if (ret->outcome != OUTCOME_YES)
		return kit_fail(k, "the peer connected; the second reply: %s", ret->seen);
	return VERDICT_PASS;
}

static enum probe_verdict peer_connects(struct kit *k)
{
	struct target_line line;
	struct attempt a;
	enum probe_verdict v = second_reply(k, &k->p->main, &a, &line);

	return v == VERDICT_PASS ? kit_pass(k, "%s", a.seen) : v;
}

static enum probe_verdict for_name(struct kit *k)
{
	struct target_line line;
	struct attempt a;
	enum probe_verdict v = second_reply(k, &k->p->name, &a, &line);

	if (v == VERDICT_FAIL && line.failed && a.reply.bound.kind == ADDR_IP &&
	    ip_is_v4(&a.reply.bound.ip) != ip_is_v4(&k->p->main.ip))
		return kit_untested(k, "%s: the name leads to another address", a.seen);
	return v == VERDICT_PASS ? kit_pass(k, "%s", a.seen) : v;
}

static enum probe_verdict peer_is_told(struct kit *k)
{
	struct target_line line;
	char text[ADDR_TEXT_MAX];
	struct attempt a;
	enum probe_verdict v = second_reply(k, &k->p->main, &a, &line);

	if (v != VERDICT_PASS)
		return v;
	if (a.reply.bound.kind == ADDR_IP && a.reply.bound.port == line.peer.port &&
	    ip_equal(&a.reply.bound.ip, &line.peer.ip))
		return kit_pass(k, "%s, which it is", a.seen);
	return kit_fail(k, "%s, but it is %.60s", a.seen, addr_format(&line.peer, text));
}

static enum probe_verdict bytes_pass(struct kit *k)
{
	struct target_line line;
	struct attempt a;
	enum probe_verdict v = second_reply(k, &k->p->main, &a, &line);

	if (v != VERDICT_PASS)
		return v;
	return ask_ping(k->p, BOUND, "to the peer and back") ? kit_pass(k, "there and back")
							     : kit_fail(k, "%s", k->p->why);
}

static enum probe_verdict early_bytes(struct kit *k)
{
	struct target_line line;
	struct attempt a;
	enum probe_verdict v = second_reply(k, &k->p->main, &a, &line);

	if (v != VERDICT_PASS)
		return v;
	if (talk_want(BOUND, 5, probe_ms(k->p)) < 5)
		return kit_fail(k, "%zu of 5 bytes reached the peer", talk_left(BOUND));
	return kit_pass(k, "the peer has them");
}

/* BIND for an address that is nobody's, and the target connects. */
static enum probe_verdict stranger(struct kit *k)
{
	struct addr nobody = kit_stranger(k);
	struct target_line line;
	struct attempt a;

	if (!bind_for(k, &nobody, &a))
		return kit_untested(k, "for somebody else: %s", a.seen);
	switch (connect_in(k, a.reply.bound.port, &line)) {
	case NOT_TOLD:
		return kit_stuck(k);
	case TURNED_AWAY:
		/* It listens at another address, perhaps. */
		return kit_untested(k, "%s, where the target cannot connect", a.seen);
	case ARRIVED:
		break;
	}
	talk_want(BOUND, 1, PROBE_QUIET);
	if (talk_left(BOUND) == 0)
		return kit_pass(k, "no second reply, the stranger is not let in");
	ask_read5(k->p, BOUND, &a);
	return a.outcome == OUTCOME_YES ? kit_fail(k, "the stranger is let in: %s", a.seen)
					: kit_pass(k, "%s", a.seen);
}

static enum probe_verdict one_peer(struct kit *k)
{
	struct target_line line;
	struct attempt a, reply;
	enum arrival arrival;

	if (!bind_for(k, &k->p->main, &a))
		return kit_fail(k, "%s", a.seen);
	arrival = connect_in(k, a.reply.bound.port, &line);
	if (arrival != ARRIVED)
		return not_arrived(k, arrival, &a);
	ask_read5(k->p, BOUND, &reply);
	if (reply.outcome != OUTCOME_YES)
		return kit_fail(k, "the second reply: %s", reply.seen);
	arrival = connect_in(k, a.reply.bound.port, &line);
	if (arrival == NOT_TOLD)
		return kit_stuck(k);
	return arrival == ARRIVED
		   ? kit_fail(k, "a second peer can connect to port %u", a.reply.bound.port)
		   : kit_pass(k, "a second peer is refused");
}

static enum probe_verdict listener_ends(struct kit *k)
{
	struct target_line line;
	struct attempt a;

	if (!bind_for(k, &k->p->main, &a))
		return kit_fail(k, "%s", a.seen);
	talk_close(BOUND);
	for (unsigned i = 0; i < 20; i++) {
		enum arrival arrival = connect_in(k, a.reply.bound.port, &line);

		if (arrival == NOT_TOLD)
			return kit_stuck(k);
		if (arrival == TURNED_AWAY)
			return kit_pass(k, "port %u is closed", a.reply.bound.port);
		talk_pause(100);
	}
	return kit_fail(k, "port %u is open two seconds later", a.reply.bound.port);
}

static enum probe_verdict broadcast(struct kit *k)
{
	static const uint8_t all[4] = {255, 255, 255, 255};
	struct ip ip = ip_from_v4(all);
	struct addr to = addr_from_ip(&ip, 0);
	struct attempt a;

	bind_for(k, &to, &a);
	return kit_refused(k, &a);
}

#define BIND_MS 200000

static enum probe_verdict nobody_comes(struct kit *k)
{
	struct attempt a;

	if (!bind_for(k, &k->p->main, &a))
		return kit_fail(k, "%s", a.seen);
	BOUND->limit += BIND_MS * UINT64_C(1000000);
	talk_want(BOUND, 1, BIND_MS);
	ask_read5(k->p, BOUND, &a);
	return a.outcome == OUTCOME_NO || a.outcome == OUTCOME_CLOSED ? kit_pass(k, "%s", a.seen)
								      : kit_fail(k, "%s", a.seen);
}

#define NEEDS (NEED_V5 | NEED_CONNECT | NEED_BIND)

const struct check bind_checks[] = {
    {"B01", LEVEL_REQUIRED, NEED_V5 | NEED_MAIN, "BIND is done, or answered with 07 or 02.",
	"RFC 1928 section 6", "reply 00, 07 or 02", .run = answered},
    {"B02", LEVEL_REQUIRED, NEEDS, "The first reply tells a port.", "RFC 1928 section 6; case B1",
	"a port other than 0", .run = listens},
    {"B03", LEVEL_RECOMMENDED, NEEDS, "The first reply tells an address to connect to.",
	"RFC 1928 section 6; case B11", "not 0.0.0.0", .run = concrete},
    {"B04", LEVEL_REQUIRED, NEEDS, "When the peer has connected a second reply comes.",
	"RFC 1928 section 6; case B1", "reply 00", .run = peer_connects},
    {"B05", LEVEL_REQUIRED, NEEDS, "The second reply tells who connected.", "RFC 1928 section 6",
	"the peer's address and port", .run = peer_is_told},
    {"B06", LEVEL_REQUIRED, NEEDS, "Then bytes pass both ways.", "RFC 1928 section 6",
	"an echo by the peer", .run = bytes_pass},
    {"B07", LEVEL_RECOMMENDED, NEEDS,
	"What the client says before the peer is there waits for him.", "case B4",
	"the peer has it", .run = early_bytes, .arg = 1},
    {"B08", LEVEL_RECOMMENDED, NEEDS, "Somebody else than the one named is not let in.",
	"RFC 1928 section 6: to evaluate; case B2", "no second reply 00", .run = stranger},
    {"B09", LEVEL_RECOMMENDED, NEEDS, "Behind the first peer nobody is let in.", "case B10",
	"a second cannot connect", .run = one_peer},
    {"B10", LEVEL_RECOMMENDED, NEEDS, "Where the client leaves, nothing listens any more.",
	"case B3", "the port is closed within two seconds", .run = listener_ends},
    {"B11", LEVEL_RECOMMENDED, NEEDS | NEED_NAME, "The peer may be named by a name.", "case B8",
	"reply 00 when he has connected", .run = for_name},
    {"B12", LEVEL_RECOMMENDED, NEEDS, "BIND for 255.255.255.255 is refused.", "case B9",
	"a refusal or closed", .run = broadcast},
    {"B13", LEVEL_RECOMMENDED, NEEDS | NEED_SLOW, "Who is waited for in vain is given up.",
	"case B7", "a refusal within 200 s", .run = nobody_comes},
};
const unsigned n_bind_checks = N_CHECKS_OF(bind_checks);
