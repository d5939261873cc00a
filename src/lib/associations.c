/* SPDX-License-Identifier: MIT */
#include "lib/associations.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "lib/address.h"
#include "lib/dial.h"
#include "lib/error.h"
#include "lib/options.h"

/* ---- opening ---- */

/* Says where its relay is. */
static int wait_for(struct associations *a, size_t i, struct tabi_error *e)
{
	struct tabi_address at;

	if (dial_wait(a->dials[i], -1) != 1) {
		tabi_dial_error(a->dials[i], e);
		return e->code;
	}
	tabi_dial_listens_at(a->dials[i], &at);
	*e = error_of_call(address_to_addr(&at, &a->relays[i].at), NULL);
	if (e->code == 0 && a->n > 1 && dial_protects_datagrams(a->dials[i]))
		*e = error_of_call(
		    TABI_E_GSS, "datagrams through several proxies cannot be protected by GSS-API");
	return e->code;
}

/* `chain` is cut behind its first `hops` proxies while this lasts. The time is what `whole`, the
 * dial for all of the chain, has left. */
static int open_one(struct associations *a, char *chain, size_t hops, const struct tabi_dial *whole,
    const struct tabi_options *options, struct tabi_error *e)
{
	struct tabi_options o;
	char *end = chain - 1;

	*e = error_of_call(options_take(options, &o, NULL), NULL);
	if (e->code < 0)
		return e->code;
	o.timeout = dial_time_left(whole);
	for (size_t i = 0; i < hops; i++)
		end = strchr(end + 1, ',');
	*end = '\0';
	a->dials[hops - 1] = tabi_dial_new(chain, TABI_UDP, NULL, 0, &o, e);
	*end = ',';
	return a->dials[hops - 1] ? wait_for(a, hops - 1, e) : e->code;
}

/* Those of the proxies before the last one. */
static int open_chain(struct associations *a, const char *proxies,
    const struct tabi_options *options, struct tabi_error *e)
{
	const struct tabi_dial *whole = a->dials[a->n - 1];
	const size_t size = strlen(dial_find_proxies(proxies)) + 1;
	char *chain = malloc(size);
	int code = 0;

	*e = error_of_call(TABI_E_MEMORY, NULL);
	if (!chain)
		return e->code;
	memcpy(chain, dial_find_proxies(proxies), size);
	for (size_t hops = 1; hops < a->n && code == 0; hops++)
		code = open_one(a, chain, hops, whole, options, e);
	explicit_bzero(chain, size);
	free(chain);
	return code;
}

static void make_group(struct associations *a)
{
	struct os_wait waits[TABI_HOPS_MAX];
	int n = associations_waits(a, waits);

	a->group = os_group();
	for (int i = 0; i < n && a->group != TABI_NO_SOCKET; i++)
		(void)os_group_add(a->group, waits[i].fd, TABI_READABLE);
}

int associations_open(struct associations *a, const char *proxies,
    const struct tabi_options *options, struct tabi_error *ret_error)
{
	struct tabi_error *e = ret_error;
	struct tabi_dial *whole = tabi_dial_new(proxies, TABI_UDP, NULL, 0, options, e);
	int code = 0;

	a->group = TABI_NO_SOCKET;
	if (!whole)
		return e->code;
	a->n = dial_datagram_hops(whole);
	if (a->n == 0) {
		*e = error_of_call(TABI_E_UNSUPPORTED,
		    "datagrams go through a chain of SOCKS5 proxies alone; past the others by "
		    "TABI_UDP_STRAIGHT");
		tabi_dial_free(whole);
		return e->code;
	}
	a->dials[a->n - 1] = whole;
	if (a->n > 1)
		code = open_chain(a, proxies, options, e);
	if (code == 0)
		code = wait_for(a, a->n - 1, e);
	if (code == 0 && a->n > 1)
		make_group(a);
	return code;
}

void associations_close(struct associations *a)
{
	if (a->group != TABI_NO_SOCKET)
		os_close(a->group);
	for (size_t i = 0; i < a->n; i++)
		tabi_dial_free(a->dials[i]);
}

/* ---- while they last ---- */

/* Of what a proxy says where it has nothing to say: it may say it for ever. */
#define READS_MAX 16

/* Whatever it says is not for us; its end is. Behind TLS the end of the socket does as well. */
static bool has_ended(const struct tabi_dial *d)
{
	unsigned char nothing[1024];
	long n = 1;

	for (int i = 0; i < READS_MAX && n > 0; i++)
		n = os_receive(tabi_dial_fd(d), nothing, sizeof(nothing));
	return n <= 0 && n != -EAGAIN;
}

bool associations_have_ended(const struct associations *a)
{
	for (size_t i = 0; i < a->n; i++)
		if (has_ended(a->dials[i]))
			return true;
	return false;
}

int associations_waits(const struct associations *a, struct os_wait *ret_waits)
{
	for (size_t i = 0; i < a->n; i++)
		ret_waits[i] =
		    (struct os_wait){.fd = tabi_dial_fd(a->dials[i]), .events = TABI_READABLE};
	return (int)a->n;
}

tabi_socket associations_fd(const struct associations *a)
{
	return a->group != TABI_NO_SOCKET ? a->group : tabi_dial_fd(a->dials[a->n - 1]);
}
