/* SPDX-License-Identifier: MIT */
#include "proto/mcast.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include "proto/err.h"

/* Reads from a copy of exactly that size, so that a sanitizer sees the first byte too far. */
static int read_exactly(const uint8_t *data, size_t len, bool from_client, struct mcast_message *m,
    size_t *ret_consumed, uint8_t **ret_copy)
{
	uint8_t *copy = test_malloc(len + 1);
	struct wire_reader in;
	int rc;

	memcpy(copy + 1, data, len);
	in = wire_reader_of(copy + 1, len);
	rc = mcast_read(&in, from_client, m);
	assert_false(in.failed);
	*ret_consumed = in.pos;
	*ret_copy = copy;
	return rc;
}

struct case_of_message {
	const char *name;
	uint8_t bytes[64];
	size_t len;
	bool from_client;
	int rc;         /* of the whole */
	int err;        /* of the message */
	size_t decided; /* the length from which on it is known to be malformed */
};

#define HEAD(type, size) type, (size) >> 8, (size)&0xff
#define IPV4(last) 1, 192, 0, 2, last, 0x13, 0x8c

static const struct case_of_message cases[] = {
    {"bind", {HEAD(1, 27), 5, 0, 0x11, 4, 0, 7, 0, 0, 0, 0, IPV4(1), 1, 239, 1, 2, 3, 0x13, 0x8c},
	27, true, WIRE_DONE, 0, 0},
    {"names",
	{HEAD(1, 26), 5, 0, 1, 0, 0, 7, 0, 0, 0, 0, 3, 1, 'a', 0, 1, 3, 4, 'b', '.', 'c', 'd', 0,
	    2},
	26, true, WIRE_DONE, 0, 0},
    {"release", {HEAD(1, 13), 6, 0, 3, 0, 0, 8, 1, 2, 3, 4}, 13, true, WIRE_DONE, 0, 0},
    {"reply", {HEAD(2, 27), 0, 0, 0x11, 0, 0, 7, 1, 2, 3, 4, IPV4(1), IPV4(2)}, 27, false,
	WIRE_DONE, 0, 0},
    {"data", {HEAD(3, 10), 1, 2, 3, 4, 'a', 'b', 'c'}, 10, true, WIRE_DONE, 0, 0},
    {"no data", {HEAD(3, 7), 1, 2, 3, 4}, 7, false, WIRE_DONE, 0, 0},
    /* Known to their end, and answered. */
    {"one address", {HEAD(1, 20), 5, 0, 0x11, 4, 0, 7, 0, 0, 0, 0, IPV4(1)}, 20, true, WIRE_DONE,
	ERR_TRUNCATED, 0},
    {"half an address", {HEAD(1, 24), 5, 0, 0x11, 4, 0, 7, 0, 0, 0, 0, IPV4(1), 1, 239, 1, 2}, 24,
	true, WIRE_DONE, ERR_TRUNCATED, 0},
    {"address type 2", {HEAD(1, 20), 5, 0, 0x11, 4, 0, 7, 0, 0, 0, 0, 2, 192, 0, 2, 1, 0, 1}, 20,
	true, WIRE_DONE, ERR_ADDRESS_TYPE, 0},
    {"one byte too much", {HEAD(1, 28), 5, 0, 0x11, 4, 0, 7, 0, 0, 0, 0, IPV4(1), IPV4(2), 0}, 28,
	true, WIRE_DONE, ERR_MALFORMED, 0},
    /* O11, and whatever else leaves nobody knowing where the next one begins. */
    {"size 12", {HEAD(1, 12), 6, 0, 3, 0, 0, 8, 1, 2, 3}, 12, true, ERR_MALFORMED, 0, 3},
    {"size 0", {HEAD(1, 0)}, 3, true, ERR_MALFORMED, 0, 3},
    {"size beyond", {HEAD(1, MCAST_CONTROL_MAX + 1)}, 3, true, ERR_MALFORMED, 0, 3},
    {"data of size 6", {HEAD(3, 6), 1, 2, 3}, 6, true, ERR_MALFORMED, 0, 3},
    {"type 0", {0, 0, 13}, 3, true, ERR_MALFORMED, 0, 1},
    {"type 4", {4, 0, 13}, 3, true, ERR_MALFORMED, 0, 1},
    {"reply of a client", {2, 0, 27}, 3, true, ERR_MALFORMED, 0, 1},
    {"request of a server", {1, 0, 27}, 3, false, ERR_MALFORMED, 0, 1},
};

#define N_CASES (sizeof(cases) / sizeof(cases[0]))

/* Of every beginning: nothing is consumed before it is whole, and then it and no more. */
static void messages_in_pieces(void **state)
{
	(void)state;
	for (size_t i = 0; i < N_CASES; i++) {
		const struct case_of_message *c = &cases[i];
		uint8_t more[sizeof(c->bytes) + 9] = {0};

		memcpy(more, c->bytes, c->len);
		memset(more + c->len, 0xee, 9);
		for (size_t n = 0; n <= c->len + 9; n++) {
			struct mcast_message m;
			size_t consumed;
			uint8_t *copy;
			int rc = read_exactly(more, n, c->from_client, &m, &consumed, &copy);

			if (c->rc < 0) {
				assert_int_equal(rc, n < c->decided ? WIRE_MORE : c->rc);
				assert_int_equal(consumed, 0);
			} else if (n < c->len) {
				assert_int_equal(rc, WIRE_MORE);
				assert_int_equal(consumed, 0);
			} else {
				assert_int_equal(rc, WIRE_DONE);
				assert_int_equal(consumed, c->len);
				assert_int_equal(m.err, c->err);
			}
			test_free(copy);
		}
	}
}

static void fields_are_what_was_written(void **state)
{
	uint8_t buf[MCAST_CONTROL_MAX];
	struct wire_writer out = wire_writer_of(buf, sizeof(buf));
	const struct mcast_control sent = {
	    .code = MCAST_BIND, .flags = 0x1234, .ttl = 200, .tid = 0x5678, .aid = 0x9abcdef0};
	struct addr name = {.kind = ADDR_NAME, .port = 5, .name_len = 255};
	struct ip ip = {.b = {0xff, 0x15, [15] = 1}};
	struct addr group = addr_from_ip(&ip, 5004);
	struct mcast_message m;
	struct wire_reader in;

	(void)state;
	memset(name.name, 'a', 255);
	mcast_write_control(&out, MCAST_REQUEST, &sent, &name, &group);
	assert_false(out.failed);
	in = wire_reader_of(buf, out.len);
	assert_int_equal(mcast_read(&in, true, &m), WIRE_DONE);
	assert_int_equal(wire_left(&in), 0);
	assert_int_equal(m.err, 0);
	assert_int_equal(m.control.code, sent.code);
	assert_int_equal(m.control.flags, sent.flags);
	assert_int_equal(m.control.ttl, sent.ttl);
	assert_int_equal(m.control.tid, sent.tid);
	assert_int_equal(m.control.aid, sent.aid);
	assert_true(m.control.has_addresses);
	assert_int_equal(m.control.local.host_len, 255);
	assert_int_equal(m.control.remote.type, SOCKS5_ATYP_IPV6);
	assert_memory_equal(m.control.remote.host, ip.b, 16);
	assert_int_equal(m.control.remote.port, 5004);

	/* Nobody is zeros. */
	out = wire_writer_of(buf, sizeof(buf));
	mcast_write_control(&out, MCAST_REPLY, &sent, NULL, NULL);
	assert_int_equal(out.len, 27);
	in = wire_reader_of(buf, out.len);
	assert_int_equal(mcast_read(&in, false, &m), WIRE_DONE);
	assert_int_equal(m.control.local.port, 0);

	/* The longest there can be. */
	out = wire_writer_of(buf, sizeof(buf));
	mcast_write_control(&out, MCAST_REPLY, &sent, &name, &name);
	assert_false(out.failed);
	assert_int_equal(out.len, MCAST_CONTROL_MAX);
	in = wire_reader_of(buf, out.len);
	assert_int_equal(mcast_read(&in, false, &m), WIRE_DONE);
	assert_int_equal(m.err, 0);
}

static void data_up_to_the_longest(void **state)
{
	uint8_t *buf = test_calloc(1, 65535);
	struct wire_writer out = wire_writer_of(buf, MCAST_DATA_HEADER);
	struct wire_reader in = wire_reader_of(buf, 65535);
	struct mcast_message m;

	(void)state;
	mcast_write_data_header(&out, 0x01020304, MCAST_DATA_MAX);
	assert_false(out.failed);
	assert_int_equal(out.len, MCAST_DATA_HEADER);
	assert_int_equal(mcast_read(&in, true, &m), WIRE_DONE);
	assert_int_equal(m.type, MCAST_DATA);
	assert_int_equal(m.aid, 0x01020304);
	assert_int_equal(m.len, 65528);
	assert_ptr_equal(m.data, buf + 7);
	test_free(buf);
}

static void packets(void **state)
{
	static const uint8_t bytes[] = {9, 0x82, 0x12, 0x34, 1, 2, 3, 4, 'x'};
	uint8_t header[MCAST_UDP_HEADER];
	struct wire_writer out = wire_writer_of(header, sizeof(header));
	struct mcast_packet p = {.frag = 77};

	(void)state;
	for (size_t n = 0; n < MCAST_UDP_HEADER; n++)
		assert_int_equal(mcast_read_packet(bytes, n, &p), ERR_TRUNCATED);
	assert_int_equal(p.frag, 77);
	assert_int_equal(mcast_read_packet(bytes, 8, &p), 0);
	assert_int_equal(p.len, 0);
	assert_int_equal(mcast_read_packet(bytes, 9, &p), 0);
	assert_int_equal(p.frag, 0x82);
	assert_int_equal(p.dgid, 0x1234);
	assert_int_equal(p.aid, 0x01020304);
	assert_int_equal(p.len, 1);
	assert_ptr_equal(p.data, bytes + 8);

	mcast_write_packet_header(&out, 0xfffe, 0x80000001);
	assert_false(out.failed);
	assert_int_equal(mcast_read_packet(header, out.len, &p), 0);
	assert_int_equal(p.frag, 0);
	assert_int_equal(p.dgid, 0xfffe);
	assert_int_equal(p.aid, 0x80000001);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(messages_in_pieces),
	    cmocka_unit_test(fields_are_what_was_written),
	    cmocka_unit_test(data_up_to_the_longest),
	    cmocka_unit_test(packets),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
