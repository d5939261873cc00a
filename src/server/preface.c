/* SPDX-License-Identifier: MIT */
#include "server/preface.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "policy/rule.h"
#include "proto/err.h"
#include "proto/proxyproto.h"
#include "server/session.h"

bool preface_admits(const struct session *s)
{
	const struct policy_rule *senders = s->listener->senders;

	/* Of a Unix socket the mode of its file has said so. */
	return !senders || rule_is_about_client(senders, &s->client, s->listener->text);
}

/* From here on the client is whom the header names. Returns 0 or -ENOMEM. */
static int take_client(struct session *s, const struct proxyproto *p)
{
	if (p->local)
		return 0;
	s->proxied = malloc(sizeof(*s->proxied));
	if (!s->proxied)
		return -ENOMEM;
	*s->proxied = (struct proxied){
	    .by = s->client,
	    .by_port = s->client_port,
	    .to = p->destination.ip,
	    .to_port = p->destination.port,
	};
	s->client = p->source.ip;
	s->client_port = p->source.port;
	return 0;
}

/* Keeps the beginning of a header for the next time. Returns 0 or -ENOMEM. */
static int keep(struct handshake *hs, const uint8_t *bytes, size_t len)
{
	if (!hs->in)
		hs->in = malloc(PROXYPROTO_MAX);
	if (!hs->in)
		return -ENOMEM;
	hs->in_cap = PROXYPROTO_MAX;
	memcpy(hs->in, bytes, len);
	hs->in_len = (uint32_t)len;
	return 0;
}

static void forget(struct handshake *hs)
{
	free(hs->in);
	hs->in = NULL;
	hs->in_len = hs->in_cap = 0;
}

/*
 * What is looked at and belongs to the header is then taken out of the socket: all of it while the
 * header is not whole, or level-triggered polling would report the same bytes again and again.
 * Returns WIRE_DONE, WIRE_MORE, or the error to end with.
 */
static int read_header(struct session *s, struct proxyproto *ret)
{
	struct handshake *hs = s->hs;
	int fd = session_client(s)->fd, rc;
	uint8_t buf[PROXYPROTO_MAX];
	size_t had = hs->in_len, take;
	struct wire_reader in;
	ssize_t n;

	if (had > 0)
		memcpy(buf, hs->in, had);
	n = recv(fd, buf + had, sizeof(buf) - had, MSG_PEEK);
	if (n == 0)
		return ERR_CLIENT_GONE;
	if (n < 0)
		return errno == EAGAIN || errno == EINTR ? WIRE_MORE : ERR_CLIENT_RESET;
	in = wire_reader_of(buf, had + (size_t)n);
	rc = proxyproto_read(&in, ret);
	if (rc < 0)
		return rc;
	take = rc == WIRE_DONE ? in.pos - had : (size_t)n;
	if (recv(fd, buf + had, take, 0) != (ssize_t)take)
		return ERR_CLIENT_RESET;
	if (rc == WIRE_MORE && keep(hs, buf, had + take) != 0)
		return -ENOMEM;
	return rc;
}

void preface_read(struct session *s)
{
	struct proxyproto p;
	int rc = read_header(s, &p);

	if (rc == WIRE_MORE) {
		session_wait(s, WATCH_READ);
		return;
	}
	if (rc == WIRE_DONE) {
		forget(s->hs);
		rc = take_client(s, &p);
	}
	if (rc != 0)
		session_end(s, rc);
	else
		session_greet(s);
}
