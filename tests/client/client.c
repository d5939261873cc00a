/* SPDX-License-Identifier: MIT */
/*
 * A client for the tests: standard input and output through a chain of proxies.
 *
 * usage: client [OPTION...] CHAIN HOST:PORT
 *   --ca FILE        trust these alone (default: whom the system trusts)
 *   --insecure       trust anybody
 *   --cert FILE      our own certificate, with --key FILE
 *   --gss LEVEL      GSS-API with SOCKS5, and ask for that level (a number of RFC 1961)
 *   --service NAME   of which a ticket is presented; rcmd unless said
 *   --nec            ask in NEC's form
 *
 * It blocks, for it has nothing else to do. Exit status: 0 when the stream has ended as it should,
 * 1 when the chain refused, 2 when called wrongly, 3 when the stream broke; why is one word on
 * standard error.
 */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "net/gss.h"
#include "net/layer.h"
#include "net/tls.h"
#include "proto/connect.h"
#include "proto/err.h"

#define HOPS_MAX 8
#define PEM_MAX ((size_t)64 << 10)

struct client {
	struct url hops[HOPS_MAX];
	size_t n_hops;
	struct tls_context *tls;
	struct layer *layer; /* the innermost one */
	int fd;
	int gss_level; /* -1: no GSS-API */
	bool nec;
	const char *service;
	struct gss_ctx_id_struct *context; /* of the hop, until it is a layer's */
	uint8_t in[CONNECT_INPUT_MAX];     /* of the proxies, not yet understood */
	size_t in_len;
};

static _Noreturn void die(int status, const char *word, const char *why)
{
	fprintf(stderr, "%s%s%s\n", word, why ? ": " : "", why ? why : "");
	exit(status);
}

static _Noreturn void die_of(int status, const struct client *c, int err)
{
	die(status, err_word(err), c->layer ? c->layer->why : NULL);
}

/* ---- options ---- */

static struct tls_pem pem_of_file(const char *path)
{
	static char texts[3][PEM_MAX];
	static unsigned used;
	FILE *f = used < 3 ? fopen(path, "r") : NULL;
	char *data = texts[used % 3];
	size_t n;

	if (!f)
		die(2, path, strerror(errno));
	n = fread(data, 1, PEM_MAX, f);
	fclose(f);
	used++;
	return (struct tls_pem){data, n};
}

static void read_options(struct client *c, struct tls_client_options *tls, int argc, char **argv)
{
	static const struct option options[] = {
	    {"ca", required_argument, NULL, 'a'},
	    {"insecure", no_argument, NULL, 'i'},
	    {"cert", required_argument, NULL, 'c'},
	    {"key", required_argument, NULL, 'k'},
	    {"gss", required_argument, NULL, 'g'},
	    {"service", required_argument, NULL, 's'},
	    {"nec", no_argument, NULL, 'n'},
	    {NULL, 0, NULL, 0},
	};
	int option;

	while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
		if (option == 'a')
			tls->ca = pem_of_file(optarg);
		else if (option == 'i')
			tls->trust_anybody = true;
		else if (option == 'c')
			tls->certificate = pem_of_file(optarg);
		else if (option == 'k')
			tls->key = pem_of_file(optarg);
		else if (option == 'g')
			c->gss_level = atoi(optarg);
		else if (option == 's')
			c->service = optarg;
		else if (option == 'n')
			c->nec = true;
		else
			exit(2);
	}
}

static void read_chain(struct client *c, const char *text)
{
	const char *why = NULL;
	int n = url_parse_chain(text, strlen(text), c->hops, HOPS_MAX, &why, NULL);

	if (n <= 0)
		die(2, text, why);
	c->n_hops = (size_t)n;
}

/* ---- waiting ---- */

static void wait_for(const struct client *c, short events)
{
	struct pollfd p = {.fd = c->fd, .events = events};

	if (layer_holds(c->layer))
		p.events |= POLLOUT;
	poll(&p, 1, -1);
	/* What fails is told by the next call. */
	(void)layer_flush(c->layer);
}

static void send_all(struct client *c, const uint8_t *data, size_t len, int status)
{
	while (len > 0) {
		ssize_t n = layer_send(c->layer, c->fd, data, len);

		if (n == -EAGAIN) {
			wait_for(c, POLLOUT);
			continue;
		}
		if (n < 0)
			die_of(status, c, (int)n);
		data += n;
		len -= (size_t)n;
	}
	for (int err; (err = layer_flush(c->layer)) != 0;) {
		if (err != -EAGAIN)
			die_of(status, c, err);
		wait_for(c, POLLOUT);
	}
}

/* ---- the chain ---- */

/* The host alone, as a certificate names it. */
static const char *host_of(const struct addr *a, char text[static ADDR_NAME_MAX + 1])
{
	if (a->kind == ADDR_IP)
		return ip_format(&a->ip, text);
	memcpy(text, a->name, a->name_len);
	text[a->name_len] = '\0';
	return text;
}

static void dial(struct client *c)
{
	char host[ADDR_NAME_MAX + 1], port[8];
	const struct addrinfo hints = {.ai_socktype = SOCK_STREAM};
	struct addrinfo *list, *a;

	snprintf(port, sizeof(port), "%u", c->hops[0].proxy.port);
	if (getaddrinfo(host_of(&c->hops[0].proxy, host), port, &hints, &list) != 0)
		die_of(1, c, ERR_NOT_FOUND);
	for (a = list, c->fd = -1; a && c->fd < 0; a = a->ai_next) {
		c->fd = socket(a->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
		if (c->fd >= 0 && connect(c->fd, a->ai_addr, a->ai_addrlen) < 0) {
			close(c->fd);
			c->fd = -1;
		}
	}
	freeaddrinfo(list);
	if (c->fd < 0)
		die_of(1, c, -ECONNREFUSED);
	fcntl(c->fd, F_SETFL, O_NONBLOCK);
	setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int));
}

static void start_tls(struct client *c, const struct addr *proxy)
{
	char name[ADDR_NAME_MAX + 1];
	const struct tls_start start = {
	    .fd = c->fd,
	    .below = c->layer,
	    .early = c->in,
	    .early_len = c->in_len,
	    .peer = host_of(proxy, name),
	};
	struct layer *layer = tls_connect(c->tls, &start);
	int err;

	if (!layer)
		die_of(1, c, -ENOMEM);
	c->layer = layer;
	c->in_len = 0;
	while ((err = tls_handshake(layer)) == -EAGAIN)
		wait_for(c, POLLIN);
	if (err)
		die_of(1, c, err);
}

/* ---- GSS-API ---- */

static uint8_t token[GSS_TOKEN_MAX], framed[GSS_FRAME_MAX + CONNECT_OUTPUT_MAX];

/* `theirs` is the proxy's token, in place. */
static void gss_context(struct client *c, struct connect *m, const uint8_t *theirs)
{
	struct wire_writer out = wire_writer_of(framed, sizeof(framed));
	char host[ADDR_NAME_MAX + 1], service[ADDR_NAME_MAX + 100], why[200];
	size_t len;
	int ret;

	snprintf(
	    service, sizeof(service), "%s@%s", c->service, host_of(&c->hops[m->hop].proxy, host));
	ret = gss_initiate(&c->context, service, false, theirs, m->token_len, token, sizeof(token),
	    &len, why, sizeof(why));
	if (ret < 0)
		die(1, err_word(ret), why);
	connect_gss_context(m, ret == 1, token, len, &out);
	send_all(c, framed, out.len, 1);
}

static void gss_level(struct client *c, struct connect *m)
{
	struct wire_writer out = wire_writer_of(framed, sizeof(framed));
	size_t len = 1;
	int err = 0;

	token[0] = m->gss_level;
	if (!m->gss_nec)
		err = gss_message_wrap(
		    c->context, false, &m->gss_level, 1, token, sizeof(token), &len);
	if (err)
		die_of(1, c, err);
	connect_gss_level(m, token, len, &out);
	send_all(c, framed, out.len, 1);
}

/* What was read behind the answer is protected already. */
static void gss_answer(struct client *c, struct connect *m, const uint8_t *theirs)
{
	size_t len = m->token_len;
	int level, err = 0;

	if (m->gss_nec)
		memcpy(token, theirs, len);
	else
		err =
		    gss_message_unwrap(c->context, false, theirs, len, token, sizeof(token), &len);
	level = connect_gss_answer(m, err ? NULL : token, len);
	if (level > GSS_LEVEL_CLEAR) {
		err = gss_layer_new(&c->layer, c->fd, c->layer, c->context,
		    level == GSS_LEVEL_CONFIDENTIAL, c->in, c->in_len);
		if (err)
			die_of(1, c, err);
		c->context = NULL;
		c->in_len = 0;
	}
	gss_context_free(c->context);
	c->context = NULL;
}

static bool gss_step(
    struct client *c, struct connect *m, enum connect_event event, const uint8_t *theirs)
{
	if (event == CONNECT_GSS_CONTEXT)
		gss_context(c, m, theirs);
	else if (event == CONNECT_GSS_LEVEL)
		gss_level(c, m);
	else if (event == CONNECT_GSS_ANSWER)
		gss_answer(c, m, theirs);
	else
		return false;
	return true;
}

/* Reads at most what the machine wants: the rest is the stream's. Returns false at its end. */
static bool read_more(struct client *c, size_t want)
{
	size_t room = sizeof(c->in) - c->in_len;
	ssize_t n;

	want = want < room ? want : room;
	while ((n = layer_recv(c->layer, c->fd, c->in + c->in_len, want)) == -EAGAIN)
		wait_for(c, POLLIN);
	if (n < 0)
		die_of(1, c, (int)n);
	c->in_len += (size_t)n;
	return n > 0;
}

static void go_through(struct client *c, const struct addr *target)
{
	static uint8_t theirs[GSS_TOKEN_MAX];
	uint8_t asked[CONNECT_OUTPUT_MAX];
	enum connect_event event;
	struct connect machine;
	bool ended = false;

	connect_init(&machine, c->hops, c->n_hops, COMMAND_CONNECT, target);
	if (c->gss_level >= 0)
		connect_use_gss(&machine, (enum gss_level)c->gss_level, c->nec);
	do {
		struct wire_reader in = wire_reader_of(c->in, c->in_len);
		struct wire_writer out = wire_writer_of(asked, sizeof(asked));

		event = ended ? connect_eof(&machine, &in) : connect_step(&machine, &in, &out);
		if (machine.token_len > 0)
			memcpy(theirs, c->in + in.pos - machine.token_len, machine.token_len);
		memmove(c->in, c->in + in.pos, c->in_len - in.pos);
		c->in_len -= in.pos;
		send_all(c, asked, out.len, 1);
		if (event == CONNECT_TLS)
			start_tls(c, &c->hops[machine.hop].proxy);
		else if (gss_step(c, &machine, event, theirs))
			continue;
		else if (event == CONNECT_MORE)
			ended = !read_more(c, machine.want);
	} while (event != CONNECT_DONE && event != CONNECT_FAILED);
	if (event == CONNECT_FAILED)
		die_of(1, c, machine.err);
}

/* ---- the stream ---- */

/* What was read from standard input and not yet sent. */
struct upload {
	uint8_t buf[65536];
	size_t at, len;
	bool over;  /* standard input has ended */
	bool ended; /* and the destination was told */
};

static void from_stdin(struct upload *up)
{
	ssize_t n = read(STDIN_FILENO, up->buf, sizeof(up->buf));

	up->at = 0;
	up->len = n > 0 ? (size_t)n : 0;
	up->over = n <= 0;
}

/* Sends what can be sent now. */
static void upload(struct client *c, struct upload *up)
{
	ssize_t n = 0;

	if (up->at < up->len)
		n = layer_send(c->layer, c->fd, up->buf + up->at, up->len - up->at);
	else if (!up->over || up->ended)
		n = layer_flush(c->layer);
	else
		up->ended = (n = layer_end(c->layer, c->fd)) == 0;
	if (n < 0 && n != -EAGAIN)
		die_of(3, c, (int)n);
	if (n > 0)
		up->at += (size_t)n;
	if (up->at == up->len)
		up->at = up->len = 0;
}

static bool to_stdout(struct client *c)
{
	static uint8_t buf[65536];

	do {
		ssize_t n = layer_recv(c->layer, c->fd, buf, sizeof(buf));

		if (n == 0)
			return false;
		if (n == -EAGAIN)
			return true;
		if (n < 0)
			die_of(3, c, (int)n);
		for (ssize_t at = 0, w; at < n; at += w)
			if ((w = write(STDOUT_FILENO, buf + at, (size_t)(n - at))) < 0)
				die(3, "stdout", strerror(errno));
	} while (layer_pending(c->layer));
	return true;
}

static void relay(struct client *c)
{
	static struct upload up;

	do {
		const bool more = up.at < up.len || (up.over && !up.ended) || layer_holds(c->layer);
		struct pollfd p[2] = {
		    {.fd = up.over || up.len > 0 ? -1 : STDIN_FILENO, .events = POLLIN},
		    {.fd = c->fd, .events = (short)(more ? POLLIN | POLLOUT : POLLIN)},
		};

		if (!layer_pending(c->layer))
			poll(p, 2, -1);
		if (p[0].revents)
			from_stdin(&up);
		upload(c, &up);
	} while (to_stdout(c));
}

int main(int argc, char **argv)
{
	static struct client c;
	struct tls_client_options tls = {.trust_anybody = false};
	struct addr target;
	enum tls_part part;
	const char *why;

	signal(SIGPIPE, SIG_IGN);
	c.gss_level = -1;
	c.service = "rcmd";
	read_options(&c, &tls, argc, argv);
	if (argc - optind != 2)
		die(2, "usage",
		    "client [--ca FILE] [--insecure] [--cert FILE --key FILE] "
		    "[--gss LEVEL [--service NAME] [--nec]] CHAIN HOST:PORT");
	read_chain(&c, argv[optind]);
	if (addr_parse(argv[optind + 1], strlen(argv[optind + 1]), &target) != 0)
		die(2, argv[optind + 1], "not HOST:PORT");
	if (tls_client_new(&c.tls, &tls, &part, &why) != 0)
		die(2, "tls", why);
	dial(&c);
	go_through(&c, &target);
	relay(&c);
	layer_free(c.layer);
	tls_context_free(c.tls);
	return 0;
}
