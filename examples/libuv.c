/* SPDX-License-Identifier: MIT */
/*
 * The machine in a loop of libuv: libtabi does no I/O at all here, libuv does. Says standard input
 * and prints the answer.
 *
 * usage: libuv PROXY[,PROXY...] HOST PORT <question
 *
 * cc libuv.c $(pkg-config --cflags --libs tabi libuv)
 */
#include <stdio.h>
#include <stdlib.h>
#include <tabi.h>
#include <uv.h>

struct client {
	struct tabi_machine *machine;
	uv_loop_t *loop;
	uv_tcp_t *tcp; /* the connection to the first proxy */
	uv_connect_t connecting;
	uv_write_t writing;
	uv_getaddrinfo_t resolving;
	int through; /* the stream is ours */
	int failed;
	size_t written;
	char question[65536];
	size_t question_len;
	char in[65536];
};

static void go_on(struct client *c);

static void give_up(struct client *c, int code)
{
	tabi_give_up(c->machine, code, 0);
	go_on(c);
}

static void free_handle(uv_handle_t *handle)
{
	free(handle);
}

static void hang_up(struct client *c)
{
	if (c->tcp)
		uv_close((uv_handle_t *)c->tcp, free_handle);
	c->tcp = NULL;
}

/* ---- reading and writing ---- */

static void allocate(uv_handle_t *handle, size_t hint, uv_buf_t *ret)
{
	struct client *c = handle->data;

	(void)hint;
	*ret = uv_buf_init(c->in, sizeof(c->in));
}

/* libuv reads as much as there is; the machine takes what is its own, the rest is the stream's. */
static void after_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf)
{
	struct client *c = stream->data;
	size_t at = 0;

	(void)buf;
	if (n == 0)
		return;
	if (n < 0 && c->through) {
		c->failed = n != UV_EOF;
		hang_up(c);
		return;
	}
	uv_read_stop(stream);
	if (n < 0) {
		tabi_input_end(c->machine);
		go_on(c);
		return;
	}
	while (!c->through && at < (size_t)n) {
		at += tabi_input(c->machine, c->in + at, (size_t)n - at);
		/* Whatever else it wants now, an honest proxy has not sent anything more. */
		go_on(c);
		if (tabi_step(c->machine) != TABI_DONE)
			return;
	}
	fwrite(c->in + at, 1, (size_t)n - at, stdout);
	uv_read_start(stream, allocate, after_read);
}

static void after_write(uv_write_t *writing, int status)
{
	struct client *c = writing->data;

	if (status < 0 && c->tcp) {
		give_up(c, TABI_E_IO);
		return;
	}
	if (c->tcp) {
		tabi_wrote(c->machine, c->written);
		go_on(c);
	}
}

static void after_question(uv_write_t *writing, int status)
{
	struct client *c = writing->data;

	if (status < 0)
		c->failed = 1;
}

/* ---- what the machine wants ---- */

static void after_connect(uv_connect_t *connecting, int status)
{
	struct client *c = connecting->data;

	if (status < 0) {
		give_up(c, TABI_E_CONNECT);
		return;
	}
	tabi_connected(c->machine);
	go_on(c);
}

static void after_proxy_resolved(uv_getaddrinfo_t *resolving, int status, struct addrinfo *list)
{
	struct client *c = resolving->data;

	if (status < 0) {
		give_up(c, TABI_E_RESOLVE);
		return;
	}
	c->tcp = malloc(sizeof(*c->tcp));
	uv_tcp_init(c->loop, c->tcp);
	uv_tcp_nodelay(c->tcp, 1);
	c->tcp->data = c->connecting.data = c;
	uv_tcp_connect(&c->connecting, c->tcp, list->ai_addr, after_connect);
	uv_freeaddrinfo(list);
}

static void connect_first(struct client *c)
{
	const struct addrinfo hints = {.ai_socktype = SOCK_STREAM};
	char port[8];

	hang_up(c);
	snprintf(port, sizeof(port), "%u", tabi_hop_port(c->machine, 0));
	c->resolving.data = c;
	uv_getaddrinfo(c->loop, &c->resolving, after_proxy_resolved, tabi_hop_host(c->machine, 0),
	    port, &hints);
}

static void after_resolved(uv_getaddrinfo_t *resolving, int status, struct addrinfo *list)
{
	struct client *c = resolving->data;
	struct tabi_address found[8];
	char host[64];
	size_t n = 0;

	for (struct addrinfo *a = status < 0 ? NULL : list; a && n < 8; a = a->ai_next)
		if (uv_ip_name(a->ai_addr, host, sizeof(host)) == 0 &&
		    tabi_address_set(&found[n], host, 0) == 0)
			n++;
	uv_freeaddrinfo(list);
	tabi_resolved(c->machine, found, n);
	go_on(c);
}

static void resolve(struct client *c)
{
	const struct addrinfo hints = {.ai_socktype = SOCK_STREAM};

	c->resolving.data = c;
	uv_getaddrinfo(
	    c->loop, &c->resolving, after_resolved, tabi_asked_name(c->machine), NULL, &hints);
}

static void write_output(struct client *c)
{
	const void *data = tabi_output(c->machine, &c->written);
	uv_buf_t buf = uv_buf_init((char *)(uintptr_t)data, (unsigned)c->written);

	c->writing.data = c;
	uv_write(&c->writing, (uv_stream_t *)c->tcp, &buf, 1, after_write);
}

static void is_through(struct client *c)
{
	uv_buf_t buf = uv_buf_init(c->question, (unsigned)c->question_len);

	c->through = 1;
	c->writing.data = c;
	uv_write(&c->writing, (uv_stream_t *)c->tcp, &buf, 1, after_question);
	uv_read_start((uv_stream_t *)c->tcp, allocate, after_read);
}

static void has_failed(struct client *c)
{
	struct tabi_error error;
	char text[300];

	tabi_machine_error(c->machine, &error);
	fprintf(stderr, "%s\n", tabi_error_text(&error, text, sizeof(text)));
	c->failed = 1;
	hang_up(c);
}

static void go_on(struct client *c)
{
	switch (tabi_step(c->machine)) {
	case TABI_WANT_CONNECTION:
		connect_first(c);
		break;
	case TABI_WANT_WRITE:
		write_output(c);
		break;
	case TABI_WANT_READ:
		uv_read_start((uv_stream_t *)c->tcp, allocate, after_read);
		break;
	case TABI_WANT_RESOLVE:
		resolve(c);
		break;
	case TABI_DONE:
		is_through(c);
		break;
	case TABI_FAILED:
		has_failed(c);
		break;
	default:
		/* TLS and GSS-API would be here. */
		give_up(c, TABI_E_TLS);
		break;
	}
}

int main(int argc, char **argv)
{
	static struct client c;
	struct tabi_error error;
	char text[300];
	size_t size;
	void *memory;

	if (argc != 4) {
		fprintf(stderr, "usage: libuv PROXY[,PROXY...] HOST PORT <question\n");
		return 2;
	}
	c.question_len = fread(c.question, 1, sizeof(c.question), stdin);
	size = tabi_machine_size(argv[1], NULL);
	memory = malloc(size);
	c.machine = tabi_machine_init(memory, size, argv[1], NULL, &error);
	if (!c.machine) {
		fprintf(stderr, "%s\n", tabi_error_text(&error, text, sizeof(text)));
		return 2;
	}
	if (tabi_machine_start(c.machine, TABI_CONNECT, argv[2], (uint16_t)atoi(argv[3])) != 0) {
		fprintf(stderr, "no host: %s\n", argv[2]);
		return 2;
	}
	c.loop = uv_default_loop();
	go_on(&c);
	uv_run(c.loop, UV_RUN_DEFAULT);
	uv_loop_close(c.loop);
	tabi_machine_wipe(c.machine);
	free(memory);
	return c.failed || fflush(stdout) != 0;
}
