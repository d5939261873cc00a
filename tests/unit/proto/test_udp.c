/* SPDX-License-Identifier: MIT */
#include "proto/udp.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "proto/err.h"

/* Memory of exactly the size that is promised, so that a sanitizer or valgrind sees one byte more.
 */
static uint8_t *exact(const void *data, size_t len)
{
	uint8_t *copy = test_malloc(len > 0 ? len : 1);

	if (len > 0)
		memcpy(copy, data, len);
	return copy;
}

static int read_exact(const void *data, size_t len, struct udp_packet *ret)
{
	uint8_t *copy = exact(data, len);
	int rc = udp_read(copy, len, ret);

	test_free(copy);
	return rc;
}

/* protocol.md, example B3. */
static const uint8_t b3[] = {0, 0, 0, 1, 0xc0, 0, 2, 0x35, 0, 0x35, 0x71};

static void reads_example_b3(void **state)
{
	struct udp_packet p;

	(void)state;
	assert_int_equal(udp_read(b3, sizeof(b3), &p), 0);
	assert_int_equal(p.frag, 0);
	assert_int_equal(p.remote.type, SOCKS5_ATYP_IPV4);
	assert_memory_equal(p.remote.host, "\xc0\x00\x02\x35", 4);
	assert_int_equal(p.remote.port, 53);
	assert_int_equal(p.len, 1);
	assert_int_equal(p.data[0], 'q');
}

/* U13, U14: cut anywhere in the header it is dropped; cut right behind it the payload is empty. */
static void cut_headers(void **state)
{
	static const uint8_t v6[] = {
	    0, 0, 0, 4, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 0, 53};
	static const uint8_t name[] = {0, 0, 0, 3, 3, 'a', '.', 'b', 0, 53};
	static const struct {
		const uint8_t *data;
		size_t len;
	} whole[] = {{b3, sizeof(b3) - 1}, {v6, sizeof(v6)}, {name, sizeof(name)}};
	struct udp_packet p;

	(void)state;
	for (size_t i = 0; i < 3; i++) {
		for (size_t n = 0; n < whole[i].len; n++)
			assert_int_equal(read_exact(whole[i].data, n, &p), ERR_TRUNCATED);
		assert_int_equal(read_exact(whole[i].data, whole[i].len, &p), 0);
		assert_int_equal(p.len, 0);
		assert_int_equal(p.remote.port, 53);
	}
}

static void lying_length_of_a_name(void **state)
{
	static const uint8_t lies[] = {0, 0, 0, 3, 255, 'a', 0, 53, 'x', 'y'};
	struct udp_packet p;

	(void)state;
	assert_int_equal(read_exact(lies, sizeof(lies), &p), ERR_TRUNCATED);
}

static void unknown_type(void **state)
{
	struct udp_packet p;

	(void)state;
	for (int type = 0; type < 256; type++) {
		uint8_t data[300] = {0, 0, 0, (uint8_t)type};
		bool known = type == 1 || type == 3 || type == 4;

		assert_int_equal(read_exact(data, sizeof(data), &p), known ? 0 : ERR_ADDRESS_TYPE);
	}
}

/* U16: RSV is no length and no reason to drop. */
static void rsv_is_not_a_length(void **state)
{
	uint8_t data[sizeof(b3)];
	struct udp_packet p;

	(void)state;
	memcpy(data, b3, sizeof(b3));
	data[0] = data[1] = 0xff;
	assert_int_equal(read_exact(data, sizeof(data), &p), 0);
	assert_int_equal(p.rsv, 0xffff);
	assert_int_equal(p.len, 1);
}

static void writes_what_it_reads(void **state)
{
	static const uint8_t mapped[16] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 192, 0, 2, 53};
	struct ip ip = ip_from_v6(mapped);
	struct addr a = addr_from_ip(&ip, 53);
	uint8_t buf[UDP_HEADER_MAX];
	struct wire_writer out = wire_writer_of(buf, sizeof(buf));

	(void)state;
	/* U19: a mapped address is IPv4, and told as such. */
	udp_write_header(&out, &a);
	assert_false(out.failed);
	assert_int_equal(out.len, 10);
	assert_memory_equal(buf, b3, 10);
	memset(&a, 0, sizeof(a));
	a.kind = ADDR_NAME;
	a.name_len = 255;
	memset(a.name, 'a', 255);
	out = wire_writer_of(buf, sizeof(buf));
	udp_write_header(&out, &a);
	assert_false(out.failed);
	assert_int_equal(out.len, UDP_HEADER_MAX);
}

/* ---- fragments ---- */

static uint8_t room[UDP_PAYLOAD_MAX];

static struct udp_packet fragment(uint8_t frag, const char *text, uint8_t host)
{
	static uint8_t hosts[256][4];
	struct udp_packet p = {.frag = frag};

	hosts[host][3] = host;
	p.remote = (struct socks5_address){
	    .type = SOCKS5_ATYP_IPV4, .host_len = 4, .host = hosts[host], .port = 53};
	p.data = (const uint8_t *)text;
	p.len = strlen(text);
	return p;
}

/* One case: fragments as they come, and what comes out of it. "01=he 82=y" is B4; "@6000" lets time
 * pass, "!" before a fragment is for another destination, "00" resets as its caller does. */
struct sequence {
	const char *in, *out;
	unsigned lost;
};

static const struct sequence sequences[] = {
    {"01=he 82=y", "hey|", 0},             /* U5, B4 */
    {"01=a 03=c 82=b", "", 1},             /* U6: a gap, and a late one */
    {"01=a 02=b 01=c 82=d", "cd|", 2},     /* U7 */
    {"01=a @6000 82=b", "", 1},            /* U8 */
    {"01=a @4999 82=b", "ab|", 0},         /* in time */
    {"01=a @3000 02=b @3000 83=c", "", 2}, /* the timer is not started again */
    {"01=a 00 82=b", "", 1},               /* U9 */
    {"81=whole", "whole|", 0},             /* U10 */
    {"01=a !82=b", "", 1},                 /* U11 */
    {"01=a !82=b 82=c", "", 1},            /* and it stays abandoned */
    {"80=x", "", 0},                       /* U12 */
    {"01=a 80=x 82=b", "ab|", 0},          /* which changes nothing */
    {"01=a 02=b 02=x 83=c", "abc|", 0},    /* a duplicate */
    {"82=b", "", 0},                       /* no beginning */
    {"01=a 82=b 01=c 82=d", "ab|cd|", 0},  /* one after the other */
    {"01=a 02=b 81=x", "x|", 2},           /* a lower one begins anew */
    {"01=a 02=b 03=c 02=y 83=z", "", 3},   /* a lower one that is no beginning */
    {"01= 82=", "|", 0},                   /* nothing, in two pieces */
};

static unsigned play(struct udp_fragments *f, const char *in, char *out)
{
	unsigned lost = 0, all = 0;
	uint64_t now = 1000000;
	char copy[100], *save = NULL;

	strcpy(copy, in);
	for (char *t = strtok_r(copy, " ", &save); t; t = strtok_r(NULL, " ", &save)) {
		struct udp_packet p;

		if (t[0] == '@') {
			now += strtoul(t + 1, NULL, 10);
			continue;
		}
		if (strcmp(t, "00") == 0) {
			all += udp_fragments_reset(f);
			continue;
		}
		p = fragment(
		    (uint8_t)strtoul(t + (t[0] == '!'), NULL, 16), strchr(t, '=') + 1, t[0] == '!');
		if (udp_reassemble(f, &p, now, &lost) == UDP_WHOLE) {
			assert_int_equal(p.frag, 0);
			strncat(out, (const char *)p.data, p.len);
			strcat(out, "|");
		}
		all += lost;
	}
	return all;
}

static void puts_together(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(sequences) / sizeof(sequences[0]); i++) {
		struct udp_fragments f = {.buf = room};
		char out[100] = "";

		assert_int_equal(play(&f, sequences[i].in, out), sequences[i].lost);
		assert_string_equal(out, sequences[i].out);
	}
}

/* 127 fragments, as many as there are numbers; and not one byte more than a datagram can have. */
static void is_bounded(void **state)
{
	static uint8_t data[516];
	struct udp_fragments f = {.buf = room};
	unsigned lost, kept = 0;

	(void)state;
	for (uint8_t i = 1; i <= 127; i++) {
		struct udp_packet p = fragment(i, "", 1);

		p.data = data;
		p.len = i < 127 ? sizeof(data) : UDP_PAYLOAD_MAX - 126 * sizeof(data);
		if (i == 127)
			p.frag |= UDP_FRAG_LAST;
		kept += udp_reassemble(&f, &p, 0, &lost) == UDP_KEPT;
		if (i == 127)
			assert_int_equal(p.len, UDP_PAYLOAD_MAX);
	}
	assert_int_equal(kept, 126);
	assert_int_equal(f.highest, 0);
}

static void too_much_is_abandoned(void **state)
{
	static uint8_t data[UDP_PAYLOAD_MAX];
	struct udp_fragments f = {.buf = room};
	struct udp_packet p = fragment(1, "", 1);
	unsigned lost;

	(void)state;
	p.data = data;
	p.len = sizeof(data);
	assert_int_equal(udp_reassemble(&f, &p, 0, &lost), UDP_KEPT);
	p = fragment(0x82, "x", 1);
	assert_int_equal(udp_reassemble(&f, &p, 0, &lost), UDP_DROP);
	assert_int_equal(lost, 1);
	assert_int_equal(f.highest, 0);
}

/* ---- the client's end ---- */

/* In the whole room that is promised, and in front of the very payload: nothing of it moves. */
static void wraps_in_front(void **state)
{
	static const struct {
		const char *to;
		size_t header;
	} cases[] = {{"192.0.2.53:53", 10}, {"[2001:db8::1]:53", 22}, {"a.b:53", 10}};

	(void)state;
	for (size_t i = 0; i < 3; i++) {
		uint8_t *buf = test_malloc(UDP_HEADER_MAX + 7);
		uint8_t *payload = buf + UDP_HEADER_MAX, *datagram;
		struct udp_packet p;
		struct addr to, from;

		memcpy(payload, "payload", 7);
		assert_int_equal(addr_parse(cases[i].to, strlen(cases[i].to), &to), 0);
		datagram = udp_wrap(payload, &to);
		assert_ptr_equal(datagram, payload - cases[i].header);
		assert_int_equal(udp_unwrap(datagram, cases[i].header + 7, &p, &from), 0);
		assert_ptr_equal(p.data, payload);
		assert_int_equal(p.len, 7);
		assert_memory_equal(p.data, "payload", 7);
		assert_int_equal(from.port, 53);
		assert_int_equal(from.kind, to.kind);
		if (to.kind == ADDR_IP)
			assert_true(ip_equal(&from.ip, &to.ip));
		else
			assert_string_equal(from.name, to.name);
		test_free(buf);
	}
}

static void wraps_the_longest_name(void **state)
{
	uint8_t *buf = test_malloc(UDP_HEADER_MAX);
	struct addr to = {.kind = ADDR_NAME, .port = 53, .name_len = 253};
	struct addr none = {.kind = ADDR_NONE};

	(void)state;
	memset(to.name, 'a', 253);
	for (size_t i = 50; i < 253; i += 51)
		to.name[i] = '.';
	assert_ptr_equal(udp_wrap(buf + UDP_HEADER_MAX, &to), buf + UDP_HEADER_MAX - (7 + 253));
	assert_null(udp_wrap(buf + UDP_HEADER_MAX, &none));
	test_free(buf);
}

/* What a client has to drop, and what an odd proxy may send. */
static void unwraps_nothing_else(void **state)
{
	static const uint8_t fragment[] = {0, 0, 1, 1, 192, 0, 2, 53, 0, 53, 'x'};
	static const uint8_t last[] = {0, 0, 0x81, 1, 192, 0, 2, 53, 0, 53, 'x'};
	static const uint8_t name[] = {0, 0, 0, 3, 3, 'a', '.', 'b', 0, 53, 'x'};
	static const uint8_t bad_name[] = {0, 0, 0, 3, 3, 'a', 0, 'b', 0, 53, 'x'};
	static const uint8_t mapped[] = {
	    0, 0, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 192, 0, 2, 53, 0, 53};
	const struct udp_packet untouched = {.frag = 77};
	struct udp_packet p = untouched;
	struct addr from;

	(void)state;
	assert_int_equal(udp_unwrap(fragment, sizeof(fragment), &p, &from), ERR_MALFORMED);
	assert_int_equal(udp_unwrap(last, sizeof(last), &p, &from), ERR_MALFORMED);
	assert_int_equal(udp_unwrap(bad_name, sizeof(bad_name), &p, &from), ERR_NAME);
	for (size_t n = 0; n < 10; n++)
		assert_int_equal(udp_unwrap(b3, n, &p, &from), ERR_TRUNCATED);
	assert_int_equal(p.frag, 77);
	assert_int_equal(udp_unwrap(name, sizeof(name), &p, &from), 0);
	assert_string_equal(from.name, "a.b");
	assert_int_equal(udp_unwrap(mapped, sizeof(mapped), &p, &from), 0);
	assert_true(from.kind == ADDR_IP && ip_is_v4(&from.ip));
	assert_int_equal(p.len, 0);
}

/* ---- through a chain ---- */

/* What a chain of three says to each other, outermost first: hop 1 is told where hop 2's relay is,
 * by name, hop 2 where hop 3's is (IPv6), hop 3 the destination. */
static const uint8_t nested[] = {0, 0, 0, 3, 3, '2', '.', 'h', 0x10, 2,          /* to hop 1 */
    0, 0, 0, 4, 0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 3, 0x10, 3, /* to hop 2 */
    0, 0, 0, 1, 192, 0, 2, 53, 0, 53,                                            /* to hop 3 */
    'q'};

static void set_chain(struct udp_relay relays[static 3])
{
	static const uint8_t first[4] = {192, 0, 2, 1};
	const struct ip v4 = ip_from_v4(first), v6 = ip_from_v6(nested + 14);

	memset(relays, 0, 3 * sizeof(relays[0]));
	relays[0].at = addr_from_ip(&v4, 0x1001);
	assert_int_equal(addr_set_host(&relays[1].at, "2.h", 3), 0);
	relays[1].at.port = 0x1002;
	relays[2].at = addr_from_ip(&v6, 0x1003);
}

static void wraps_for_a_chain(void **state)
{
	static const uint8_t target[4] = {192, 0, 2, 53};
	const struct ip ip = ip_from_v4(target);
	const struct addr to = addr_from_ip(&ip, 53), none = {.kind = ADDR_NONE};
	uint8_t buf[3 * UDP_HEADER_MAX + 1], *payload = buf + sizeof(buf) - 1, *begin;
	struct udp_relay relays[3];

	(void)state;
	set_chain(relays);
	*payload = 'q';
	begin = udp_wrap_nested(payload, relays, 3, &to);
	assert_ptr_equal(begin, buf + sizeof(buf) - sizeof(nested));
	assert_memory_equal(begin, nested, sizeof(nested));
	/* Behind one proxy it is the header alone. */
	begin = udp_wrap_nested(payload, relays, 1, &to);
	assert_ptr_equal(begin, payload - 10);
	assert_memory_equal(begin, b3, sizeof(b3));
	assert_null(udp_wrap_nested(payload, relays, 3, &none));
	relays[1].at.kind = ADDR_NONE;
	assert_null(udp_wrap_nested(payload, relays, 3, &to));
}

static void wraps_the_longest_names_of_a_chain(void **state)
{
	static uint8_t buf[8 * UDP_HEADER_MAX];
	struct udp_relay relays[8] = {{.heard = false}};
	struct addr name = {.kind = ADDR_NAME, .name_len = 255, .port = 1};

	(void)state;
	memset(name.name, 'n', 255);
	for (size_t i = 0; i < 8; i++)
		relays[i].at = name;
	assert_ptr_equal(udp_wrap_nested(buf + sizeof(buf), relays, 8, &name), buf);
}

/* As it comes back: hop 1 says by an address who hop 2 is. */
static size_t answer(uint8_t buf[static sizeof(nested)], uint8_t hop2, uint16_t port2)
{
	const uint8_t from[] = {
	    0, 0, 0, 1, 198, 51, 100, hop2, (uint8_t)(port2 >> 8), (uint8_t)port2};

	memcpy(buf, nested, sizeof(nested));
	memcpy(buf, from, sizeof(from));
	return sizeof(nested);
}

static void unwraps_of_a_chain(void **state)
{
	uint8_t buf[sizeof(nested)], *copy;
	struct udp_relay relays[3];
	struct udp_packet p;
	struct addr from;
	size_t n = answer(buf, 2, 0x1002);

	(void)state;
	set_chain(relays);
	copy = exact(buf, n);
	assert_int_equal(udp_unwrap_nested(copy, n, relays, 3, &p, &from), 0);
	assert_int_equal(p.len, 1);
	assert_int_equal(*p.data, 'q');
	assert_ptr_equal(p.data, copy + n - 1);
	assert_int_equal(from.port, 53);
	test_free(copy);
	/* Cut anywhere in the headers it is none. */
	for (size_t i = 0; i < n - 1; i++) {
		copy = exact(buf, i);
		assert_int_equal(udp_unwrap_nested(copy, i, relays, 3, &p, &from), ERR_TRUNCATED);
		test_free(copy);
	}
}

/* Who stands in for a hop, and a fragment at any depth, are not believed. */
static void unwraps_of_nobody_else_in_a_chain(void **state)
{
	uint8_t buf[sizeof(nested)];
	struct udp_relay relays[3];
	struct udp_packet p;
	struct addr from;
	size_t n = answer(buf, 2, 0x1003);

	(void)state;
	set_chain(relays);
	assert_int_equal(udp_unwrap_nested(buf, n, relays, 3, &p, &from), ERR_STRANGER);
	assert_false(relays[1].heard);
	/* A name has the address that answers first. */
	n = answer(buf, 2, 0x1002);
	assert_int_equal(udp_unwrap_nested(buf, n, relays, 3, &p, &from), 0);
	assert_true(relays[1].heard);
	n = answer(buf, 9, 0x1002);
	assert_int_equal(udp_unwrap_nested(buf, n, relays, 3, &p, &from), ERR_STRANGER);
	n = answer(buf, 2, 0x1002);
	buf[29] ^= 1; /* the address of hop 3 */
	assert_int_equal(udp_unwrap_nested(buf, n, relays, 3, &p, &from), ERR_STRANGER);
	/* By name it could be anybody. */
	assert_int_equal(
	    udp_unwrap_nested(nested, sizeof(nested), relays, 3, &p, &from), ERR_STRANGER);
	for (size_t i = 0; i < 3; i++) {
		static const size_t frag[3] = {2, 12, 34};

		n = answer(buf, 2, 0x1002);
		buf[frag[i]] = 1;
		assert_int_equal(udp_unwrap_nested(buf, n, relays, 3, &p, &from), ERR_MALFORMED);
	}
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
	    cmocka_unit_test(reads_example_b3),
	    cmocka_unit_test(cut_headers),
	    cmocka_unit_test(lying_length_of_a_name),
	    cmocka_unit_test(unknown_type),
	    cmocka_unit_test(rsv_is_not_a_length),
	    cmocka_unit_test(writes_what_it_reads),
	    cmocka_unit_test(puts_together),
	    cmocka_unit_test(is_bounded),
	    cmocka_unit_test(too_much_is_abandoned),
	    cmocka_unit_test(wraps_in_front),
	    cmocka_unit_test(wraps_the_longest_name),
	    cmocka_unit_test(unwraps_nothing_else),
	    cmocka_unit_test(wraps_for_a_chain),
	    cmocka_unit_test(wraps_the_longest_names_of_a_chain),
	    cmocka_unit_test(unwraps_of_a_chain),
	    cmocka_unit_test(unwraps_of_nobody_else_in_a_chain),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
