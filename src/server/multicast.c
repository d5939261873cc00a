/* SPDX-License-Identifier: MIT */
/* The control connection, and what is between it, the client's datagrams and the bindings. */
#include "server/multicast.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "net/layer.h"
#include "proto/err.h"
#include "server/multicast_int.h"
#include "server/udp.h"

/* Read at once, before others get their turn: a TLS record and more. */
#define READ_MAX ((size_t)32 * 1024)

static const char *const drop_fields[DROP_COUNT] = {
    [DROP_PROTECTION] = "drop-protection",
    [DROP_MALFORMED] = "drop-malformed",
    [DROP_FRAGMENT] = "drop-fragment",
    [DROP_ASSOCIATION] = "drop-association",
    [DROP_DENIED] = "drop-denied",
    [DROP_UNASKED] = "drop-unasked",
    [DROP_RATE] = "drop-rate",
    [DROP_FULL] = "drop-full",
    [DROP_ERROR] = "drop-error",
};

static uint64_t now_of(const struct multicast *m)
{
	return loop_now(&m->worker->loop);
}

static struct relay_end *client_of(const struct multicast *m)
{
	return &m->session->relay.end[RELAY_CLIENT];
}

static bool keep(struct kept *k, const void *data, size_t len)
{
	uint8_t *more;

	if (len == 0)
		return true;
	more = realloc(k->data, k->len + len);
	if (!more)
		return false;
	memcpy(more + k->len, data, len);
	k->data = more;
	k->len += len;
	return true;
}

static void forget(struct kept *k)
{
	free(k->data);
	*k = (struct kept){0};
}

/* ---- to the client, over the connection ---- */

/* A count, 0 where nothing can be taken now, or an error. */
static ssize_t try_send(struct multicast *m, const void *data, size_t len)
{
	ssize_t n = layer_send(client_of(m)->layer, client_of(m)->fd, data, len);

	return n == -EAGAIN ? 0 : n;
}

/* Sends it, or keeps what is left of it: a message is whole or not there. */
static int put(struct multicast *m, const uint8_t *data, size_t len)
{
	ssize_t n = m->out.len > 0 ? 0 : try_send(m, data, len);

	if (n < 0)
		return session_client_error((int)n);
	return keep(&m->out, data + n, len - (size_t)n) ? 0 : -ENOMEM;
}

static int flush(struct multicast *m)
{
	ssize_t n;

	while (m->out.len > 0) {
		n = try_send(m, m->out.data, m->out.len);
		if (n <= 0)
			return n == 0 ? 0 : session_client_error((int)n);
		m->out.len -= (size_t)n;
		memmove(m->out.data, m->out.data + n, m->out.len);
	}
	forget(&m->out);
	return 0;
}

static void wait_for_client(struct multicast *m)
{
	session_wait(m->session, m->out.len > 0 ? WATCH_WRITE : WATCH_READ);
}

/* ---- from outside ---- */

static int put_data(struct multicast *m, const struct binding *b, const struct datagram *d)
{
	uint8_t *buf = m->worker->relay.buffer;
	struct wire_writer out = wire_writer_of(buf, RELAY_BUFFER_SIZE);

	if (m->out.len > 0)
		return -EAGAIN;
	if (d->len > MCAST_DATA_MAX)
		return -EMSGSIZE;
	mcast_write_data_header(&out, b->aid, d->len);
	wire_write_bytes(&out, d->data, d->len);
	return put(m, out.data, out.len);
}

static int send_datagram(struct multicast *m, const struct binding *b, const struct datagram *d)
{
	uint8_t header[MCAST_UDP_HEADER];
	struct wire_writer out = wire_writer_of(header, sizeof(header));
	struct udp_parts parts;
	int err;

	mcast_write_packet_header(&out, ++m->dgid, b->aid);
	parts = (struct udp_parts){header, d->data, out.len, d->len};
	err = udp_protect(m->session, &parts);
	return err ? err
		   : gate_send_to(&m->client, b->client_port, parts.header, parts.header_len,
			 parts.data, parts.len);
}

static enum drop drop_of(int err)
{
	return err == -EAGAIN ? DROP_FULL : DROP_ERROR;
}

static void passed(struct multicast *m, enum relay_side side, size_t len)
{
	m->session->relay.end[side].sent += len;
	m->session->relay.moved = true;
}

/* May end the session, where its connection turns out to be broken. */
static void deliver(struct multicast *m, struct binding *b, const struct datagram *d)
{
	int err = b->tcp ? put_data(m, b, d) : send_datagram(m, b, d);

	if (err && b->tcp && err != -EAGAIN && err != -EMSGSIZE) {
		session_end(m->session, err);
		return;
	}
	if (err) {
		m->dropped[drop_of(err)]++;
		return;
	}
	b->down++;
	m->down++;
	passed(m, RELAY_CLIENT, d->len);
	if (b->tcp)
		wait_for_client(m);
}

/* Sent to its group by this client, by whichever binding. */
static bool is_own(const struct multicast *m, const struct datagram *d)
{
	for (size_t i = 0; i < m->n; i++)
		if (binding_is_own(m->bindings[i], d))
			return true;
	return false;
}

void multicast_heard(struct binding *b, const struct datagram *d, bool unasked)
{
	struct multicast *m = b->all;

	if (unasked)
		m->dropped[DROP_UNASKED]++;
	else if (b->group && is_own(m, d))
		return;
	else if (!multicast_may_pass(m, b))
		m->dropped[DROP_DENIED]++;
	else if (!b->tcp && b->client_port == 0)
		m->dropped[DROP_ASSOCIATION]++;
	else if (!rates_take(&m->rates, b->rate, RATE_DOWN, d->len, now_of(m)))
		m->dropped[DROP_RATE]++;
	else
		deliver(m, b, d);
}

/* ---- from the client ---- */

static void to_remote(struct multicast *m, struct binding *b, const void *data, size_t len)
{
	int err;

	if (!b->sends)
		m->dropped[DROP_ASSOCIATION]++;
	else if (!multicast_may_pass(m, b) || (b->group && b->ttl > b->ttl_max))
		m->dropped[DROP_DENIED]++;
	else if (!rates_take(&m->rates, b->rate, RATE_UP, len, now_of(m)))
		m->dropped[DROP_RATE]++;
	else if ((err = binding_send_data(b, data, len)) != 0)
		m->dropped[err == -EACCES ? DROP_DENIED : drop_of(err)]++;
	else {
		b->up++;
		m->up++;
		passed(m, RELAY_TARGET, len);
	}
}

/* The number is random, so who knows it and stands at the client's address is the client, whatever
 * a NAT has made of its port; but once it was heard it keeps to that. */
static bool is_its_port(struct binding *b, uint16_t port)
{
	if (b->heard)
		return b->client_port == port;
	b->heard = true;
	b->client_port = port;
	return true;
}

/* Returns whether the packet is now a whole datagram. A sequence is known by its two numbers, which
 * stand here for the address of RFC 1928. */
static bool collect(struct multicast *m, struct mcast_packet *p)
{
	struct udp_fragments *f = &m->fragments;
	uint8_t aid[4] = {(uint8_t)(p->aid >> 24), (uint8_t)(p->aid >> 16), (uint8_t)(p->aid >> 8),
	    (uint8_t)p->aid};
	struct udp_packet piece = {.frag = p->frag, .data = p->data, .len = p->len};
	enum udp_fate fate = UDP_DROP;
	unsigned lost = 0;

	if (p->frag == 0) {
		m->dropped[DROP_FRAGMENT] += udp_fragments_reset(f);
		return true;
	}
	piece.remote = (struct socks5_address){
	    .type = SOCKS5_ATYP_IPV4, .host_len = sizeof(aid), .host = aid, .port = p->dgid};
	if (!m->session->config->policy->set.fragments_off && !f->buf)
		f->buf = malloc(UDP_PAYLOAD_MAX);
	if (!m->session->config->policy->set.fragments_off && f->buf)
		fate = udp_reassemble(f, &piece, now_of(m), &lost);
	m->dropped[DROP_FRAGMENT] += lost + (fate == UDP_DROP);
	p->data = piece.data;
	p->len = piece.len;
	return fate == UDP_WHOLE;
}

static void from_client(struct gate_member *member, const struct datagram *raw)
{
	struct multicast *m =
	    (struct multicast *)((char *)member - offsetof(struct multicast, client));
	struct datagram d = *raw;
	struct mcast_packet p;
	struct binding *b;

	if (!udp_unprotect(m->session, &d)) {
		m->dropped[DROP_PROTECTION]++;
		return;
	}
	if (mcast_read_packet(d.data, d.len, &p) != 0) {
		m->dropped[DROP_MALFORMED]++;
		return;
	}
	b = multicast_find(m, p.aid);
	if (!b || b->tcp || !is_its_port(b, d.port))
		m->dropped[DROP_ASSOCIATION]++;
	else if (collect(m, &p))
		to_remote(m, b, p.data, p.len);
}

static void data_from_client(struct multicast *m, const struct mcast_message *msg)
{
	struct binding *b = multicast_find(m, msg->aid);

	if (b && b->tcp)
		to_remote(m, b, msg->data, msg->len);
	else
		m->dropped[DROP_ASSOCIATION]++;
}

static int answer(struct multicast *m, const struct mcast_message *msg)
{
	struct answer a = {.control = {.tid = msg->control.tid}};
	uint8_t buf[MCAST_CONTROL_MAX];
	struct wire_writer out = wire_writer_of(buf, sizeof(buf));

	multicast_control(m, msg, &a);
	mcast_write_control(&out, MCAST_REPLY, &a.control, &a.local, &a.remote);
	return put(m, buf, out.len);
}

/* ---- the connection ---- */

/* Does what the messages say, as long as the client reads the answers. The rest is kept. */
static int take(struct multicast *m, const uint8_t *data, size_t len)
{
	struct wire_reader in = wire_reader_of(data, len);
	struct mcast_message msg;
	int rc = WIRE_DONE, err = 0;

	while (!err && m->out.len == 0) {
		rc = mcast_read(&in, true, &msg);
		if (rc != WIRE_DONE)
			break;
		if (msg.type == MCAST_DATA)
			data_from_client(m, &msg);
		else
			err = answer(m, &msg);
	}
	if (rc < 0)
		return rc;
	if (!err && !keep(&m->in, data + in.pos, len - in.pos))
		err = -ENOMEM;
	return err;
}

/* What was kept goes before what is read now, both in the worker's one buffer. Returns 1 where
 * there may be more at once, 0, or the reason to end. */
static int read_some(struct multicast *m)
{
	uint8_t *buf = m->worker->relay.buffer;
	struct relay_end *client = client_of(m);
	size_t kept = m->in.len;
	ssize_t n;
	int err;

	n = layer_recv(client->layer, client->fd, buf + kept, READ_MAX);
	if (n == -EAGAIN)
		return 0;
	if (n < 0)
		return session_client_error((int)n);
	if (n == 0)
		return ERR_CLIENT_GONE;
	if (kept > 0)
		memcpy(buf, m->in.data, kept);
	forget(&m->in);
	err = take(m, buf, kept + (size_t)n);
	return err ? err : layer_pending(client->layer);
}

/* Messages that had to wait until the client had read what was before them. */
static int take_kept(struct multicast *m)
{
	struct kept in = m->in;
	int err;

	if (in.len == 0)
		return 0;
	m->in = (struct kept){0};
	err = take(m, in.data, in.len);
	free(in.data);
	return err;
}

void multicast_work(struct multicast *m)
{
	int ret = flush(m);

	if (!ret && m->out.len == 0)
		ret = take_kept(m);
	if (!ret)
		ret = 1;
	while (ret > 0 && m->out.len == 0)
		ret = read_some(m);
	/* That the client goes is how it ends. */
	if (ret < 0)
		session_end(m->session, ret == ERR_CLIENT_GONE ? ERR_OK : ret);
	else
		wait_for_client(m);
}

bool multicast_give(struct multicast *m, const void *data, size_t len)
{
	return keep(&m->in, data, len);
}

/* ---- beginning and end ---- */

static int open_client_side(struct multicast *m)
{
	const struct session *s = m->session;
	struct sockaddr_storage local;
	int err = udp_local_address(s, &local);

	if (err)
		return err;
	return gate_join_alone(
	    &m->client, m->worker, &s->config->policy->set, &local, &s->client, from_client);
}

void multicast_begin(struct session *s)
{
	int err = s->listener->unix_path ? ERR_COMMAND : udp_may_begin(s, COMMAND_MULTICAST);
	struct multicast *m = NULL;

	if (!err)
		m = calloc(1, sizeof(*m));
	if (!err && !m)
		err = -ENOMEM;
	if (m) {
		m->session = s;
		m->worker = s->worker;
		err = open_client_side(m);
	}
	if (err) {
		multicast_close(m);
		session_end(s, err);
		return;
	}
	udp_keep_alive(s->relay.end[RELAY_CLIENT].fd);
	session_multicast(s, m);
}

void multicast_log(const struct multicast *m, struct log_record *rec)
{
	const struct gate_losses losses = gate_own_losses(&m->client);
	uint64_t overflowed = losses.overflowed + m->overflowed;

	for (size_t i = 0; i < m->n; i++)
		overflowed += binding_overflowed(m->bindings[i]);
	log_number(rec, "groups", m->joined);
	log_number(rec, "packets-up", m->up);
	log_number(rec, "packets-down", m->down);
	if (losses.strangers > 0)
		log_number(rec, "drop-stranger", losses.strangers);
	for (int i = 0; i < DROP_COUNT; i++)
		if (m->dropped[i] > 0)
			log_number(rec, drop_fields[i], m->dropped[i]);
	if (overflowed > 0)
		log_number(rec, "drop-overflow", overflowed);
}

void multicast_close(struct multicast *m)
{
	if (!m)
		return;
	while (m->n > 0)
		multicast_remove(m, m->bindings[0]);
	gate_leave(&m->client);
	rates_fini(&m->rates);
	free(m->fragments.buf);
	forget(&m->in);
	forget(&m->out);
	free(m);
}
