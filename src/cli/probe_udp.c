/* SPDX-License-Identifier: MIT */
/* Checks of tabi probe: UDP ASSOCIATE, RFC 1928 sections 4, 6 and 7. The target echoes datagrams.
 */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/probe_assoc.h"
#include "net/sockaddr.h"

#define TRIES 3

static struct assoc first, second; /* too large for a stack */

static enum probe_verdict no_assoc(struct kit *k, const struct assoc *s)
{
	return kit_fail(k, "%s", s->a.seen);
}

static bool is_quiet(struct assoc *s)
{
	return assoc_get_raw(s, PROBE_QUIET) < 0;
}

/* Does it do what it did before? */
static enum probe_verdict lives(struct kit *k, struct assoc *s, const char *after)
{
	return assoc_echoes_text(s, "does it live?")
		   ? kit_pass(k, "%s, and the association lives", after)
		   : kit_fail(k, "%s, and then nothing passes", after);
}

/* ---- the command ---- */

static enum probe_verdict answered(struct kit *k)
{
	static const struct addr nobody = {.kind = ADDR_NONE};
	struct attempt a;

	ask5(k->p, k->t, SOCKS5_UDP_ASSOCIATE, &nobody, &a);
	if (a.outcome == OUTCOME_NO && a.reply.code != 7 && a.reply.code != 2)
		return kit_fail(k, "%s", a.seen);
	return a.outcome == OUTCOME_YES || a.outcome == OUTCOME_NO ? kit_pass(k, "%s", a.seen)
								   : kit_fail(k, "%s", a.seen);
}

static enum probe_verdict tells_where(struct kit *k)
{
	if (!assoc_open(k, &first, 0, NULL))
		return no_assoc(k, &first);
	return first.a.reply.bound.port != 0 ? kit_pass(k, "%s", first.a.seen)
					     : kit_fail(k, "%s: no port", first.a.seen);
}

static enum probe_verdict concrete(struct kit *k)
{
	if (!assoc_open(k, &first, 0, NULL))
		return no_assoc(k, &first);
	return ip_own_classes(&first.a.reply.bound.ip) & IP_UNSPECIFIED
		   ? kit_fail(k, "%s: no address", first.a.seen)
		   : kit_pass(k, "%s", first.a.seen);
}

static enum probe_verdict echo_with(struct kit *k, const struct addr *declared)
{
	if (!assoc_open(k, &first, 0, declared))
		return no_assoc(k, &first);
	return assoc_echoes_text(&first, "hello") ? kit_pass(k, "it came back")
						  : kit_fail(k, "nothing came back");
}

static enum probe_verdict echo(struct kit *k)
{
	return echo_with(k, NULL);
}

static enum probe_verdict echo_declared(struct kit *k)
{
	struct addr us = k->p->local;

	us.port = 1;
	return echo_with(k, &us);
}

/* Behind a NAT a client knows only its private address, and some say their destination. */
static enum probe_verdict echo_declared_wrong(struct kit *k)
{
	static const uint8_t other[4] = {192, 0, 2, 78};
	struct ip ip = ip_from_v4(other);
	struct addr a = addr_from_ip(&ip, 9);

	return echo_with(k, &a);
}

static enum probe_verdict from_relay(struct kit *k)
{
	char text[ADDR_TEXT_MAX];

	if (!assoc_open(k, &first, 0, NULL))
		return no_assoc(k, &first);
	if (!assoc_echoes_text(&first, "from where?"))
		return kit_fail(k, "nothing came back");
	addr_format(&first.from, text);
	return first.from.port == first.relay_addr.port &&
		       ip_equal(&first.from.ip, &first.relay_addr.ip)
		   ? kit_pass(k, "from %.60s", text)
		   : kit_fail(k, "%s, but it came from %.60s", first.a.seen, text);
}

static enum probe_verdict header_is_true(struct kit *k)
{
	char text[ADDR_TEXT_MAX];

	if (!assoc_open(k, &first, 0, NULL))
		return no_assoc(k, &first);
	if (!assoc_echoes_text(&first, "who is it?"))
		return kit_fail(k, "nothing came back");
	addr_format(&first.remote, text);
	return first.remote.kind == ADDR_IP && first.remote.port == k->p->main.port &&
		       ip_equal(&first.remote.ip, &k->p->main.ip)
		   ? kit_pass(k, "%.60s", text)
		   : kit_fail(k, "%.60s, with another remote", text);
}

/* ---- destinations ---- */

static enum probe_verdict echo_to(struct kit *k, const struct addr *to)
{
	char text[ADDR_TEXT_MAX];

	if (!assoc_open(k, &first, 0, NULL))
		return no_assoc(k, &first);
	if (!assoc_echoes(&first, to, "to there", 8))
		return kit_fail(k, "nothing came back");
	addr_format(&first.remote, text);
	if (k->check->arg && first.packet.remote.type == SOCKS5_ATYP_NAME)
		return kit_fail(k, "it came back, from a name");
	return kit_pass(k, "it came back, from %.60s", text);
}

static enum probe_verdict echo_name(struct kit *k)
{
	return echo_to(k, &k->p->name);
}

static enum probe_verdict echo_six(struct kit *k)
{
	return echo_to(k, &k->p->target6);
}

static enum probe_verdict echo_literal(struct kit *k)
{
	struct addr a = {.kind = ADDR_NAME, .port = k->p->target4.port};
	char text[IP_TEXT_MAX];

	ip_format(&k->p->target4.ip, text);
	a.name_len = (uint8_t)strlen(text);
	memcpy(a.name, text, a.name_len);
	return echo_to(k, &a);
}

static enum probe_verdict unknown_name(struct kit *k)
{
	struct addr a = {.kind = ADDR_NAME, .port = 9, .name_len = 20};

	memcpy(a.name, "no-such-host.invalid", 20);
	if (!assoc_open(k, &first, 0, NULL))
		return no_assoc(k, &first);
	assoc_put(&first, 0, &a, "lost", 4);
	return lives(k, &first, "it is dropped");
}

/* To an address of the row's bytes, which is nobody's. */
static enum probe_verdict nobody(struct kit *k)
{
	struct ip ip = ip_from_v4((const uint8_t *)k->check->bytes);
	struct addr to = addr_from_ip(&ip, k->p->main.port);

	if (!assoc_open(k, &first, 0, NULL))
		return no_assoc(k, &first);
	assoc_put(&first, 0, &to, "to nobody", 9);
	if (!is_quiet(&first))
		return kit_fail(k, "something came back");
	return lives(k, &first, "nothing came back");
}

static enum probe_verdict refused_port(struct kit *k)
{
	if (!assoc_open(k, &first, 0, NULL))
		return no_assoc(k, &first);
	for (unsigned i = 0; i < TRIES; i++) {
		assoc_put(&first, 0, &k->p->refusing, "nobody there", 12);
		talk_pause(20);
	}
	return lives(k, &first, "to a port where nobody is");
}

static enum probe_verdict to_itself(struct kit *k)
{
	if (!assoc_open(k, &first, 0, NULL))
		return no_assoc(k, &first);
	assoc_put(&first, 0, &first.relay_addr, "in circles", 10);
	if (!is_quiet(&first))
		return kit_fail(k, "something came back");
	return lives(k, &first, "nothing came back");
}

/* ---- sizes ---- */

/* Of `arg` bytes with the header; whole, or (recommended) not at all, and never cut. */
static enum probe_verdict size(struct kit *k)
{
	size_t header = ip_is_v4(&k->p->main.ip) ? 10 : 22, len = k->check->arg - header;
	uint8_t *data = malloc(len);
	bool came;

	if (!data || !assoc_open(k, &first, 0, NULL)) {
		free(data);
		return no_assoc(k, &first);
	}
	if (k->check->arg > assoc_room(&first)) {
		free(data);
		return kit_none(k, "no datagram has room for them inside GSS-API");
	}
	for (size_t i = 0; i < len; i++)
		data[i] = (uint8_t)(i * 13 + (i >> 8));
	first.packet.len = 0;
	came = assoc_echoes(&first, &k->p->main, data, len);
	free(data);
	if (came)
		return kit_pass(k, "all %zu bytes came back", len);
	if (first.packet.len > 0)
		return kit_fail(k, "cut to %zu of %zu bytes", first.packet.len, len);
	return kit_fail(k, "nothing came back of %zu bytes", len);
}

static enum probe_verdict never_cut(struct kit *k)
{
	enum probe_verdict v = size(k);

	if (v == VERDICT_FAIL && first.a.outcome == OUTCOME_YES && first.packet.len == 0)
		return lives(k, &first, "it is dropped");
	return v;
}

static enum probe_verdict empty(struct kit *k)
{
	if (!assoc_open(k, &first, 0, NULL))
		return no_assoc(k, &first);
	return assoc_echoes(&first, &k->p->main, "", 0) ? kit_pass(k, "an empty one came back")
							: kit_fail(k, "nothing came back");
}

/* ---- fragments ---- */

struct piece {
	uint8_t frag;
	const char *text;
};

static void put_pieces(struct kit *k, struct assoc *s, const struct piece *pieces, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		assoc_put(s, pieces[i].frag, &k->p->main, pieces[i].text, strlen(pieces[i].text));
		/* They must come in order. */
		talk_pause(5);
	}
}

/* These pieces, of which nothing may come out but `allowed` (NULL: nothing at all), once. */
static enum probe_verdict fragments(
    struct kit *k, const struct piece *pieces, size_t n, const char *allowed)
{
	ssize_t n_in;

	if (!assoc_open(k, &first, 0, NULL))
		return no_assoc(k, &first);
	/* So that it is us by now whom the association belongs to. */
	if (!assoc_echoes_text(&first, "before"))
		return kit_fail(k, "nothing passes at all");
	/* What was sent again because it was late. */
	while (assoc_get_raw(&first, 0) >= 0)
		;
	put_pieces(k, &first, pieces, n);
	n_in = assoc_get_raw(&first, PROBE_QUIET);
	if (n_in < 0 && k->check->arg)
		return kit_fail(k, "the datagram between them did not pass");
	if (n_in < 0)
		return lives(k, &first, "dropped");
	if (udp_read(first.in, (size_t)n_in, &first.packet) != 0 || !allowed ||
	    !assoc_holds(&first, allowed, strlen(allowed)))
		return kit_fail(k, "a datagram of %zd bytes came out of them", n_in);
	return is_quiet(&first) ? lives(k, &first, "it came once")
				: kit_fail(k, "it came more than once");
}

static enum probe_verdict fragment_alone(struct kit *k)
{
	const struct piece pieces[] = {{1, "half"}};

	return fragments(k, pieces, 1, NULL);
}

static enum probe_verdict two_fragments(struct kit *k)
{
	const struct piece pieces[] = {{1, "two "}, {0x82, "halves"}};

	return fragments(k, pieces, 2, "two halves");
}

static enum probe_verdict fragment_gap(struct kit *k)
{
	const struct piece pieces[] = {{1, "one "}, {3, "three "}, {0x82, "two"}};

	return fragments(k, pieces, 3, NULL);
}

static enum probe_verdict fragment_between(struct kit *k)
{
	const struct piece pieces[] = {{1, "one "}, {0, "alone"}, {0x82, "two"}};

	return fragments(k, pieces, 3, "alone");
}

static enum probe_verdict fragment_zero(struct kit *k)
{
	const struct piece pieces[] = {{0x80, "no place"}};

	return fragments(k, pieces, 1, NULL);
}

static enum probe_verdict fragment_late(struct kit *k)
{
	if (!assoc_open(k, &first, 0, NULL))
		return no_assoc(k, &first);
	if (!assoc_echoes_text(&first, "before"))
		return kit_fail(k, "nothing passes at all");
	assoc_put(&first, 1, &k->p->main, "early ", 6);
	talk_pause(8000);
	assoc_put(&first, 0x82, &k->p->main, "late", 4);
	if (!is_quiet(&first))
		return kit_fail(k, "put together after 8 s");
	return lives(k, &first, "dropped");
}

/* ---- what is no datagram ---- */

/* All beginnings of a header, one of another address type, one of a name longer than the datagram.
 */
static enum probe_verdict broken(struct kit *k)
{
	static const uint8_t type[] = {0, 0, 0, 2, 127, 0, 0, 1, 0, 9, 'x'},
			     name[] = {0, 0, 0, 3, 200, 'a', 'b', 'c'};
	uint8_t whole[UDP_HEADER_MAX + 8];

	if (!assoc_open(k, &first, 0, NULL))
		return no_assoc(k, &first);
	if (!assoc_echoes_text(&first, "before"))
		return kit_fail(k, "nothing passes at all");
	assoc_write(whole, 0, 0, &k->p->target4, "", 0);
	for (size_t len = 0; len < 10; len++)
		assoc_put_raw(&first, whole, len);
	assoc_put_raw(&first, type, sizeof(type));
	assoc_put_raw(&first, name, sizeof(name));
	if (!is_quiet(&first))
		return kit_fail(k, "something came back");
	return lives(k, &first, "all dropped");
}

static enum probe_verdict reserved(struct kit *k)
{
	uint8_t buf[UDP_HEADER_MAX + 16];
	size_t len = assoc_write(buf, 0x0102, 0, &k->p->main, "reserved", 8);
	ssize_t n;

	if (!assoc_open(k, &first, 0, NULL))
		return no_assoc(k, &first);
	if (!assoc_echoes_text(&first, "before"))
		return kit_fail(k, "nothing passes at all");
	assoc_put_raw(&first, buf, len);
	n = assoc_get_raw(&first, PROBE_QUIET);
	if (n >= 0 && (udp_read(first.in, (size_t)n, &first.packet) != 0 ||
			  !assoc_holds(&first, "reserved", 8)))
		return kit_fail(k, "something else came back");
	return lives(k, &first, n >= 0 ? "passed" : "dropped");
}

/* ---- whose it is ---- */

/* Another address of this host from which to send; false where there is none for sure. */
static bool other_address(const struct kit *k, struct ip *ret)
{
	static const uint8_t other[4] = {127, 77, 0, 2};

	*ret = ip_from_v4(other);
	return ip_is_v4(&k->p->local.ip) && ip_classes(&k->p->local.ip) & IP_LOOPBACK;
}

static enum probe_verdict other_ip(struct kit *k, bool before)
{
	uint8_t buf[UDP_HEADER_MAX + 16];
	struct pollfd p;
	struct ip ip;
	size_t len = assoc_write(buf, 0, 0, &k->p->main, "a stranger", 10);

	if (!other_address(k, &ip))
		return kit_untested(k, "this host has no second address to send from");
	if (!assoc_open(k, &first, 0, NULL))
		return no_assoc(k, &first);
	if (!before && !assoc_echoes_text(&first, "before"))
		return kit_fail(k, "nothing passes at all");
	k->udp[1] = assoc_socket(&ip);
	if (k->udp[1] < 0)
		return kit_untested(k, "127.77.0.2: %s", strerror(errno));
	assoc_put_from(&first, k->udp[1], buf, len);
	p = (struct pollfd){.fd = k->udp[1], .events = POLLIN};
	if (poll(&p, 1, PROBE_QUIET) > 0)
		return kit_fail(k, "a stranger's datagram was relayed, and answered to him");
	if (!is_quiet(&first))
		return kit_fail(k, "a stranger's datagram was relayed");
	return lives(k, &first, "dropped");
}

static enum probe_verdict stranger(struct kit *k)
{
	return other_ip(k, false);
}

static enum probe_verdict stranger_first(struct kit *k)
{
	return other_ip(k, true);
}

static enum probe_verdict other_port(struct kit *k)
{
	uint8_t buf[UDP_HEADER_MAX + 16];
	size_t len = assoc_write(buf, 0, 0, &k->p->main, "other port", 10);
	struct pollfd p;

	if (!assoc_open(k, &first, 0, NULL))
		return no_assoc(k, &first);
	if (!assoc_echoes_text(&first, "before"))
		return kit_fail(k, "nothing passes at all");
	k->udp[1] = assoc_socket(&k->p->local.ip);
	assoc_put_from(&first, k->udp[1], buf, len);
	p = (struct pollfd){.fd = k->udp[1], .events = POLLIN};
	if (poll(&p, 1, PROBE_QUIET) > 0 || !is_quiet(&first))
		return kit_fail(k, "a datagram from another port of ours was relayed");
	return lives(k, &first, "dropped");
}

static enum probe_verdict two_apart(struct kit *k)
{
	if (!assoc_open(k, &first, 0, NULL) || !assoc_open(k, &second, 1, NULL))
		return no_assoc(k, first.a.outcome == OUTCOME_YES ? &second : &first);
	if (!assoc_echoes_text(&first, "of the first") ||
	    !assoc_echoes_text(&second, "of the second"))
		return kit_fail(k, "nothing passes");
	assoc_put(&first, 0, &k->p->main, "again first", 11);
	assoc_put(&second, 0, &k->p->main, "again second", 12);
	if (!assoc_get(&first, probe_ms(k->p)) || !assoc_holds(&first, "again first", 11) ||
	    !assoc_get(&second, probe_ms(k->p)) || !assoc_holds(&second, "again second", 12))
		return kit_fail(k, "they are mixed up");
	return kit_pass(k, "each gets its own");
}

/* The target answers, as it says, whom it sees: our outer address. */
static bool outer_address(struct assoc *s, const struct addr *to, struct addr *ret)
{
	char magic[TARGET_LINE_MAX] = TARGET_MAGIC "P", text[TARGET_LINE_MAX];
	struct target_line line;
	size_t len;

	for (unsigned i = 0; i < TRIES; i++) {
		assoc_put(s, 0, to, magic, sizeof(magic));
		if (!assoc_get(s, probe_ms(s->k->p) / TRIES))
			continue;
		len = s->packet.len < sizeof(text) ? s->packet.len : sizeof(text) - 1;
		memcpy(text, s->packet.data, len);
		text[len] = '\0';
		text[strcspn(text, "\n")] = '\0';
		if (target_line_read(text, &line) && line.peer.kind == ADDR_IP) {
			*ret = line.peer;
			return true;
		}
	}
	return false;
}

static enum probe_verdict unsolicited(struct kit *k)
{
	static const uint8_t other[4] = {127, 77, 0, 3};
	struct sockaddr_storage sa;
	struct addr outer;
	struct ip ip = ip_from_v4(other);
	socklen_t len;

	if (!assoc_open(k, &first, 0, NULL))
		return no_assoc(k, &first);
	if (!outer_address(&first, &k->p->main, &outer))
		return kit_untested(k, "the target does not tell whom it sees");
	if (!(ip_classes(&outer.ip) & IP_LOOPBACK) || !ip_is_v4(&outer.ip)) {
		if (ip_equal(&k->p->local.ip, &k->p->main.ip))
			return kit_untested(k, "there is nobody else to send from");
		ip = k->p->local.ip;
	}
	k->udp[1] = assoc_socket(&ip);
	len = sockaddr_from_ip(&sa, &outer.ip, outer.port);
	if (k->udp[1] < 0 ||
	    sendto(k->udp[1], "unasked", 7, 0, (const struct sockaddr *)&sa, len) < 0)
		return kit_untested(k, "the outer address cannot be reached from here");
	return is_quiet(&first) ? kit_pass(k, "dropped") : kit_fail(k, "it was delivered to us");
}

/* A matter of filtering, which nobody prescribes; but if it comes it must be told as what it is. */
static enum probe_verdict other_port_answers(struct kit *k)
{
	static const char magic[] = TARGET_MAGIC "O from another port";

	if (!assoc_open(k, &first, 0, NULL))
		return no_assoc(k, &first);
	assoc_put(&first, 0, &k->p->main, magic, sizeof(magic));
	/* The echo comes as well. */
	do {
		if (!assoc_get(&first, PROBE_QUIET))
			return lives(k, &first, "filtered");
	} while (first.packet.len <= TARGET_MAGIC_LEN ||
		 first.packet.data[TARGET_MAGIC_LEN] != TARGET_OTHER_ANSWER);
	return first.remote.port != k->p->main.port
		   ? kit_pass(k, "it came, with the other port in its header")
		   : kit_fail(k, "it came, with the port that did not send it");
}

/* The same outer port with another remote in between. */
static enum probe_verdict same_outer(struct kit *k)
{
	struct addr one, two, to = k->p->refusing;

	if (!assoc_open(k, &first, 0, NULL))
		return no_assoc(k, &first);
	if (!outer_address(&first, &k->p->main, &one))
		return kit_untested(k, "the target does not tell whom it sees");
	/* Somebody else in between. */
	if (to.kind == ADDR_IP)
		assoc_put(&first, 0, &to, "elsewhere", 9);
	if (!outer_address(&first, &k->p->main, &two))
		return kit_fail(k, "behind a datagram to another remote nothing comes");
	return one.port == two.port ? kit_pass(k, "port %u both times", one.port)
				    : kit_fail(k, "port %u, then %u", one.port, two.port);
}

/* ---- the control connection ---- */

static enum probe_verdict ends(struct kit *k)
{
	if (!assoc_open(k, &first, 0, NULL))
		return no_assoc(k, &first);
	if (!assoc_echoes_text(&first, "before"))
		return kit_fail(k, "nothing passes at all");
	if (k->check->arg)
		talk_reset(&k->t[0]);
	else
		talk_close(&k->t[0]);
	for (unsigned i = 0; i < 7; i++) {
		assoc_put(&first, 0, &k->p->main, "after", 5);
		if (assoc_get_raw(&first, PROBE_QUIET) < 0)
			return kit_pass(k, "nothing passes any more");
	}
	return kit_fail(k, "datagrams pass two seconds later");
}

static enum probe_verdict control_speaks(struct kit *k)
{
	if (!assoc_open(k, &first, 0, NULL))
		return no_assoc(k, &first);
	talk_send(&k->t[0], "what is this?", 13, probe_ms(k->p));
	talk_pause(PROBE_QUIET);
	return lives(k, &first, "bytes on the control connection");
}

static enum probe_verdict idle(struct kit *k)
{
	if (!assoc_open(k, &first, 0, NULL))
		return no_assoc(k, &first);
	if (!assoc_echoes_text(&first, "before"))
		return kit_fail(k, "nothing passes at all");
	k->t[0].limit += 125 * UINT64_C(1000000000);
	if (talk_await_end(&k->t[0], 119000) != TALK_OPEN)
		return kit_fail(k, "closed within two minutes");
	return lives(k, &first, "two minutes of silence");
}

#define NEEDS (NEED_V5 | NEED_CONNECT | NEED_UDP)
#define R "RFC 1928 section 7"

const struct check udp_checks[] = {
    {"U01", LEVEL_REQUIRED, NEED_V5, "UDP ASSOCIATE is done, or answered with 07 or 02.",
	"RFC 1928 section 6", "reply 00, 07 or 02", .run = answered},
    {"U02", LEVEL_REQUIRED, NEEDS, "The reply tells a port.", "RFC 1928 section 6",
	"a port other than 0", .run = tells_where},
    {"U03", LEVEL_RECOMMENDED, NEEDS, "The reply tells an address.", "case U24", "not 0.0.0.0",
	.run = concrete},
    {"U04", LEVEL_REQUIRED, NEEDS, "A datagram passes to the target and back.", R,
	"the same bytes, RSV and FRAG zero", .run = echo},
    {"U05", LEVEL_REQUIRED, NEEDS, "The client may say from where it will send.",
	"RFC 1928 section 4", "the same bytes come back", .run = echo_declared},
    {"U06", LEVEL_RECOMMENDED, NEEDS, "What it says may be wrong, as behind a NAT.", "case U3",
	"the same bytes come back", .run = echo_declared_wrong},
    {"U07", LEVEL_REQUIRED, NEEDS, "Datagrams come from where they are to be sent to.",
	"RFC 1928 section 6; case U23", "BND", .run = from_relay},
    {"U08", LEVEL_REQUIRED, NEEDS, "The header tells who sent it.", R "; case U18",
	"the target's address and port", .run = header_is_true},
    {"U09", LEVEL_REQUIRED, NEEDS | NEED_NAME, "A destination may be a name.", R "; case U17",
	"the same bytes come back", .run = echo_name},
    {"U10", LEVEL_RECOMMENDED, NEEDS | NEED_NAME, "What comes from it has an address.", "case U18",
	"not a name", .run = echo_name, .arg = 1},
    {"U11", LEVEL_REQUIRED, NEEDS | NEED_TARGET6, "A destination may have IPv6.", R "; case U20",
	"the same bytes come back", .run = echo_six},
    {"U12", LEVEL_RECOMMENDED, NEEDS | NEED_TARGET4, "An address sent as a name is one.",
	"case U17", "the same bytes come back", .run = echo_literal},
    {"U13", LEVEL_RECOMMENDED, NEEDS, "A name that does not exist does no harm.", "case U17",
	"dropped, others pass", .run = unknown_name},
    {"U14", LEVEL_RECOMMENDED, NEEDS, "To 0.0.0.0 nothing goes.", "case U29",
	"dropped, others pass", .run = nobody, BYTES("\0\0\0\0")},
    {"U15", LEVEL_RECOMMENDED, NEEDS, "To a broadcast address nothing goes.", "case U29",
	"dropped, others pass", .run = nobody, BYTES("\xff\xff\xff\xff")},
    {"U16", LEVEL_RECOMMENDED, NEEDS, "To a multicast address nothing goes unasked.", "case U29",
	"dropped, others pass", .run = nobody, BYTES("\xe0\0\0\1")},
    {"U17", LEVEL_RECOMMENDED, NEEDS | NEED_REFUSING, "A port where nobody is does no harm.",
	"case U26", "others pass", .run = refused_port},
    {"U18", LEVEL_RECOMMENDED, NEEDS, "To the relay's own port nothing goes.", "case U28",
	"dropped, others pass", .run = to_itself},
    {"U19", LEVEL_RECOMMENDED, NEEDS, "An empty datagram passes.", "case U14",
	"an empty one comes back", .run = empty},
    {"U20", LEVEL_REQUIRED, NEEDS, "1472 bytes pass: the most of an Ethernet frame.", R,
	"all come back", .run = size, .arg = 1472},
    {"U21", LEVEL_RECOMMENDED, NEEDS, "9000 bytes pass.", "case U15", "all come back", .run = size,
	.arg = 9000},
    {"U22", LEVEL_RECOMMENDED, NEEDS, "65507 bytes with the header pass.", "case U15",
	"all come back", .run = size, .arg = 65507},
    {"U23", LEVEL_REQUIRED, NEEDS, "Of 65507 bytes none are cut off: all pass, or none.",
	R "; case U15", "whole or dropped", .run = never_cut, .arg = 65507},
    {"U24", LEVEL_REQUIRED, NEEDS, "A fragment alone is not relayed as if it were all.",
	R ": MUST drop; case U4", "dropped, others pass", .run = fragment_alone},
    {"U25", LEVEL_REQUIRED, NEEDS, "Two fragments are one datagram or none.", R "; case U5",
	"dropped, or put together once", .run = two_fragments},
    {"U26", LEVEL_REQUIRED, NEEDS, "Fragments out of order are none.", R "; case U6",
	"dropped, others pass", .run = fragment_gap},
    {"U27", LEVEL_REQUIRED, NEEDS, "A datagram between fragments passes, and ends them.",
	R "; case U9", "it alone passes", .run = fragment_between, .arg = 1},
    {"U28", LEVEL_REQUIRED, NEEDS, "A last fragment without a place is none.", R "; case U12",
	"dropped, others pass", .run = fragment_zero},
    {"U29", LEVEL_RECOMMENDED, NEEDS | NEED_SLOW, "Fragments eight seconds apart are none.",
	"case U8", "dropped, others pass", .run = fragment_late},
    {"U30", LEVEL_REQUIRED, NEEDS | NEED_TARGET4, "Broken headers are dropped.", R "; case U13",
	"dropped, others pass", .run = broken},
    {"U31", LEVEL_RECOMMENDED, NEEDS, "RSV is no length.", "case U16",
	"passed as it is or dropped, others pass", .run = reserved},
    {"U32", LEVEL_REQUIRED, NEEDS, "From another address than the client's nothing passes.",
	R ": MUST drop; case U1", "dropped, others pass", .run = stranger},
    {"U33", LEVEL_REQUIRED, NEEDS, "Nor before the client has sent anything.",
	R ": MUST drop; case U32", "dropped, and the client is served", .run = stranger_first},
    {"U34", LEVEL_RECOMMENDED, NEEDS, "From another port of the client nothing passes.", "case U2",
	"dropped, others pass", .run = other_port},
    {"U35", LEVEL_REQUIRED, NEEDS, "Two associations are two.", R "; case U31", "each gets its own",
	.run = two_apart},
    {"U36", LEVEL_RECOMMENDED, NEEDS, "Who was never sent anything can send nothing in.",
	"case U27", "dropped", .run = unsolicited},
    {"U37", LEVEL_REQUIRED, NEEDS,
	"What another port of a remote sends is not told as the first's.", R,
	"filtered, or with its true port", .run = other_port_answers},
    {"U38", LEVEL_RECOMMENDED, NEEDS, "All remotes see the same port of the client.",
	"protocol 2.7: endpoint-independent mapping", "the same port", .run = same_outer},
    {"U39", LEVEL_REQUIRED, NEEDS, "When the connection ends the association does.", R "; case U21",
	"nothing passes any more", .run = ends},
    {"U40", LEVEL_REQUIRED, NEEDS, "The same by a reset.", R "; case U21",
	"nothing passes any more", .run = ends, .arg = 1},
    {"U41", LEVEL_RECOMMENDED, NEEDS, "Bytes on the control connection do no harm.", "case U22",
	"others pass", .run = control_speaks},
    {"U42", LEVEL_RECOMMENDED, NEEDS | NEED_SLOW, "Two minutes of silence end nothing.", "case U25",
	"it passes afterwards", .run = idle},
};
const unsigned n_udp_checks = N_CHECKS_OF(udp_checks);
