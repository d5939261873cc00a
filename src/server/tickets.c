/* SPDX-License-Identifier: MIT */
#include "server/tickets.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "net/log.h"
#include "proto/err.h"

/* After a failure nobody asks again for so long; with a ticket that still serves, longer. */
#define REST_MS 1000
#define REST_WITH_ONE_MS 30000
/* Its last seconds are for who is using it already. */
#define MARGIN_S 10

#define WHY_MAX 200

/* What chains hold, too. */
struct ticket {
	struct chain_ticket head; /* first */
	unsigned refs;
	struct kdc_ticket *kdc;
};

/* Of one service: all that is known, and who waits. */
struct service {
	struct service *next;
	struct tickets *tickets;
	char *name, *host; /* owned */
	struct ticket *ticket;
	time_t fresh_to, good_to; /* of the ticket: when to fetch another, when not to use it */
	struct fetch *fetch;      /* under way, or NULL */
	struct chain_ticket_wait *waits;
	int err;            /* of the latest fetch */
	uint64_t failed_at; /* of the loop's clock, where there is one */
	char why[WHY_MAX];
};

/* Shared by the loop and a thread; whoever lets go last frees it. */
struct fetch {
	atomic_uint refs;
	atomic_bool over;
	struct kdc_client *client; /* a reference */
	char *name, *host;
	int out; /* of a pipe that the thread closes when it is done; the thread's */
	int err;
	char why[WHY_MAX];
	struct kdc_ticket *kdc; /* what came of it, until somebody takes it */
	/* The loop's: */
	int in;
	struct watch watch;
	struct service *service;
};

struct tickets {
	struct chain_tickets head; /* first */
	unsigned refs;
	struct kdc_client *client;
	struct service *services;
};

static atomic_uint running;

bool tickets_are_fetched(void)
{
	return atomic_load(&running) > 0;
}

/* ---- tickets ---- */

static struct ticket *ticket_ref(struct ticket *t)
{
	t->refs++;
	return t;
}

static void ticket_unref(struct ticket *t)
{
	if (!t || --t->refs > 0)
		return;
	kdc_ticket_free(t->kdc);
	free(t);
}

static void release(struct chain_ticket *head)
{
	ticket_unref((struct ticket *)(void *)head);
}

static struct ticket *ticket_new(struct kdc_ticket *kdc)
{
	struct ticket *t = calloc(1, sizeof(*t));

	if (!t)
		return NULL;
	t->refs = 1;
	t->kdc = kdc;
	t->head.cache = kdc_ticket_cache(kdc);
	t->head.principal = kdc_ticket_principal(kdc);
	t->head.release = release;
	return t;
}

/* Is it one to use? */
static bool is_good(const struct service *s)
{
	return s->ticket && time(NULL) < s->good_to;
}

/* ---- fetching, on a thread ---- */

static void fetch_unref(struct fetch *f)
{
	if (!f || atomic_fetch_sub(&f->refs, 1) > 1)
		return;
	kdc_ticket_free(f->kdc);
	kdc_client_unref(f->client);
	free(f->name);
	free(f->host);
	free(f);
}

static void *run(void *arg)
{
	struct fetch *f = arg;

	f->err = kdc_fetch(f->client, f->name, f->host, &f->kdc, f->why, sizeof(f->why));
	atomic_store(&f->over, true);
	close(f->out);
	fetch_unref(f);
	atomic_fetch_sub(&running, 1);
	return NULL;
}

static int start_thread(struct fetch *f)
{
	pthread_attr_t attr;
	pthread_t thread;
	int err;

	if (pthread_attr_init(&attr) != 0)
		return -ENOMEM;
	pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
	atomic_fetch_add(&running, 1);
	atomic_fetch_add(&f->refs, 1);
	err = pthread_create(&thread, &attr, run, f);
	pthread_attr_destroy(&attr);
	if (err) {
		atomic_fetch_sub(&f->refs, 1);
		atomic_fetch_sub(&running, 1);
	}
	return err ? -ENOMEM : 0;
}

/* ---- the loop's side of it ---- */

static void on_closed(struct watch *watch)
{
	fetch_unref((struct fetch *)(void *)((char *)watch - offsetof(struct fetch, watch)));
}

/* The loop has no use for it any more. */
static void let_go(struct fetch *f)
{
	f->service->fetch = NULL;
	watch_close(&f->watch, on_closed);
	close(f->in);
}

/* Three quarters of its life it is fresh. */
static void keep(struct service *s, struct kdc_ticket *kdc)
{
	const time_t now = time(NULL), life = kdc_ticket_end(kdc) - now;
	struct ticket *t = ticket_new(kdc);

	if (!t || life <= 0) {
		s->err = t ? ERR_PROXY_AUTH : -ENOMEM;
		snprintf(s->why, sizeof(s->why), "%s",
		    t ? "the ticket has expired already: do the clocks differ?" : "");
		if (t)
			ticket_unref(t);
		else
			kdc_ticket_free(kdc);
		return;
	}
	ticket_unref(s->ticket);
	s->ticket = t;
	s->fresh_to = now + life * 3 / 4;
	s->good_to = kdc_ticket_end(kdc) - (life / 8 < MARGIN_S ? life / 8 : MARGIN_S);
}

/* What the thread has brought, or that it brought nothing. */
static void note(struct service *s, struct fetch *f)
{
	s->err = f->err;
	memcpy(s->why, f->why, sizeof(s->why));
	if (!f->err) {
		keep(s, f->kdc);
		f->kdc = NULL;
	}
	s->failed_at = loop_now(f->watch.loop);
	/* Sessions that cannot do without tell of it by what becomes of them. */
	if (s->err && is_good(s))
		log_say(LOG_AT_WARN,
		    "the ticket for %s@%s cannot be renewed; the old one serves for %lld seconds: "
		    "%s",
		    s->name, s->host, (long long)(s->good_to - time(NULL)), s->why);
}

/* Whoever asks meanwhile waits for the next one. */
static void wake(struct service *s)
{
	struct chain_ticket_wait *waits = s->waits, *w;

	s->waits = NULL;
	if (waits)
		waits->at = &waits;
	while ((w = waits)) {
		chain_ticket_cancel(w);
		w->ticket = is_good(s) ? &ticket_ref(s->ticket)->head : NULL;
		w->why = w->ticket ? NULL : s->why;
		w->fn(w, w->ticket ? 0 : s->err ? s->err : ERR_PROXY_AUTH);
	}
}

static void on_pipe(struct watch *watch, unsigned events)
{
	struct fetch *f = (struct fetch *)(void *)((char *)watch - offsetof(struct fetch, watch));
	struct service *s = f->service;
	struct tickets *t;

	(void)events;
	if (!atomic_load(&f->over))
		return;
	/* Whoever is told may be the last who needs it. */
	t = tickets_ref(s->tickets);
	note(s, f);
	let_go(f);
	wake(s);
	tickets_unref(t);
}

static struct fetch *fetch_new(struct service *s)
{
	struct fetch *f = calloc(1, sizeof(*f));

	if (!f)
		return NULL;
	atomic_init(&f->refs, 1);
	f->client = kdc_client_ref(s->tickets->client);
	f->name = strdup(s->name);
	f->host = strdup(s->host);
	f->service = s;
	if (f->name && f->host)
		return f;
	fetch_unref(f);
	return NULL;
}

static int start(struct service *s, struct loop *loop)
{
	struct fetch *f = fetch_new(s);
	int ends[2], err = -ENOMEM;

	if (!f)
		return err;
	if (pipe2(ends, O_CLOEXEC | O_NONBLOCK) < 0) {
		err = -errno;
		fetch_unref(f);
		return err;
	}
	f->in = ends[0];
	f->out = ends[1];
	err = watch_init(&f->watch, loop, f->in, on_pipe);
	if (err) {
		fetch_unref(f);
		close(ends[0]);
		close(ends[1]);
		return err;
	}
	watch_set(&f->watch, WATCH_READ);
	s->fetch = f;
	err = start_thread(f);
	if (err) {
		close(f->out);
		let_go(f);
	}
	return err;
}

/* ---- whoever asks ---- */

static struct service *service_of(struct tickets *t, const char *name, const char *host)
{
	struct service *s = t->services;

	while (s && (strcmp(s->name, name) != 0 || strcmp(s->host, host) != 0))
		s = s->next;
	if (s)
		return s;
	s = calloc(1, sizeof(*s));
	if (!s)
		return NULL;
	s->tickets = t;
	s->name = strdup(name);
	s->host = strdup(host);
	if (!s->name || !s->host) {
		free(s->name);
		free(s->host);
		free(s);
		return NULL;
	}
	s->next = t->services;
	t->services = s;
	return s;
}

/* Fetches unless that is under way, or has just failed. */
static int fetch(struct service *s, struct loop *loop)
{
	const uint64_t rest = is_good(s) ? REST_WITH_ONE_MS : REST_MS;

	if (s->fetch)
		return 0;
	if (s->err && loop_now(loop) < s->failed_at + rest)
		return s->err;
	return start(s, loop);
}

static int ask(struct chain_tickets *head, struct loop *loop, const char *name, const char *host,
    struct chain_ticket_wait *wait)
{
	struct service *s = service_of((struct tickets *)(void *)head, name, host);
	int err;

	wait->why = NULL;
	if (!s)
		return -ENOMEM;
	if (is_good(s)) {
		if (time(NULL) >= s->fresh_to)
			(void)fetch(s, loop);
		wait->ticket = &ticket_ref(s->ticket)->head;
		return 1;
	}
	err = fetch(s, loop);
	if (err) {
		wait->why = s->why;
		return err;
	}
	wait->next = s->waits;
	wait->at = &s->waits;
	if (wait->next)
		wait->next->at = &wait->next;
	s->waits = wait;
	return 0;
}

/* ---- the whole ---- */

struct tickets *tickets_new(struct kdc_client *client)
{
	struct tickets *t = calloc(1, sizeof(*t));

	if (!t)
		return NULL;
	t->head.ask = ask;
	t->refs = 1;
	t->client = client;
	return t;
}

struct tickets *tickets_ref(struct tickets *t)
{
	t->refs++;
	return t;
}

void tickets_stop(struct tickets *t)
{
	for (struct service *s = t->services; s; s = s->next)
		if (s->fetch)
			let_go(s->fetch);
}

void tickets_unref(struct tickets *t)
{
	if (!t || --t->refs > 0)
		return;
	tickets_stop(t);
	while (t->services) {
		struct service *s = t->services;

		t->services = s->next;
		ticket_unref(s->ticket);
		free(s->name);
		free(s->host);
		free(s);
	}
	kdc_client_unref(t->client);
	free(t);
}

bool tickets_equal(const struct tickets *a, const struct tickets *b)
{
	return kdc_client_equal(a->client, b->client);
}

struct chain_tickets *tickets_for_chains(struct tickets *t)
{
	return &t->head;
}
