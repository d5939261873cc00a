/* SPDX-License-Identifier: MIT */
/*
 * Moving bytes between two connected sockets, so that neither end notices.
 *
 * Theory of operation. A relay has two ends. What is read from one is written to the other at once,
 * through one buffer that all relays of a loop share; only what the kernel does not take is kept,
 * in memory that exists as long as it holds something, and while it does nothing more is read
 * (back-pressure). So an idle relay owns nothing but its two watches. Either end may have a layer
 * (net/layer.h), through which all of this then goes.
 *
 * End of stream on one side becomes shutdown(SHUT_WR) on the other, after what was read before it;
 * the relay is done when both directions have ended. A reset is passed on as a reset, after what
 * had arrived before it: what is unread of a reset socket can still be read, and the reset of the
 * other waits until the kernel has sent all it was given. Not being read any more (EPIPE) counts as
 * a reset. After RELAY_BUDGET bytes of one direction in one turn (RELAY_BUDGET_BULK where it is
 * bulk) the others get theirs first: polling is level-triggered, so the rest is reported again.
 * Where one stream is all that is bulk it is RELAY_BUDGET_ONLY: what waits for it is small, and
 * waits but for it. Where there have been no others for a while it is RELAY_BUDGET_ALONE: longer
 * turns are fewer, and so are the times that either end and we are woken. For the same reason such
 * a stream, where it is bulk, is held: the kernel reports its socket when RELAY_LOWAT bytes are
 * there or the stream has ended (SO_RCVLOWAT). A timer looks whether it still flows; if not, what
 * is there is taken, and after a few such stalls that direction is not held again. One stream of a
 * loop is held at a time, and only while it is alone.
 *
 * A direction that proves to be bulk is moved by splice() through a pipe (net/pipe.h) instead of
 * the buffer, so that its bytes are not copied; what is kept is then kept in that pipe. Nothing
 * else differs. It takes a pipe for each read and gives it back once it is empty; where there is
 * none it copies. What splice() says of anything but bytes recv() is asked as well, and a relay
 * where the two disagree copies from then on. So does one with a layer.
 */
#ifndef TABI_NET_RELAY_H
#define TABI_NET_RELAY_H

#include "net/layer.h"
#include "net/loop.h"
#include "net/pipe.h"
#include "policy/policy.h"

#define RELAY_BUFFER_SIZE ((size_t)256 * 1024)
#define RELAY_BUDGET ((size_t)256 * 1024)
/* Of a stream that is spliced: beside other streams; as the only one, beside small messages; and
 * while nobody else has anything to do. */
#define RELAY_BUDGET_BULK ((size_t)128 * 1024)
#define RELAY_BUDGET_ONLY ((size_t)32 * 1024)
#define RELAY_BUDGET_ALONE ((size_t)1024 * 1024)
#define RELAY_LOWAT (256 * 1024)

/* What the relays of one loop share. */
struct relay_shared {
	struct loop *loop;
	uint8_t
	    *buffer; /* RELAY_BUFFER_SIZE bytes; anybody's for as long as nothing is called back */
	/* Set by the owner at any time, for relays that begin from then on. At first RELAY_COPY,
	 * and no pipes. */
	enum relay_mode mode;
	struct pipe_pool pipes;
	/* The relay that was called last (only its address counts), loop_events() then, and how
	 * often in a row it has been the only one. */
	const struct relay *last;
	uint64_t last_call;
	unsigned alone;
	/* The same of turns in which bytes were spliced. */
	const struct relay *stream;
	unsigned only;
	/* The stream that is held: its relay, the end it comes from, and how much had come when the
	 * timer was set. NULL where none is. */
	struct relay *holder;
	struct relay_end *held;
	uint64_t held_received;
	struct timer hold_timer;
};

/* Returns 0 or -ENOMEM, and is to be ended in both cases: before loop_fini(), and the memory must
 * stay until then. */
int relay_shared_init(struct relay_shared *shared, struct loop *loop);
void relay_shared_fini(struct relay_shared *shared);

/* One socket of a relay, and the direction out of it. 88 bytes, for every session has two. */
struct relay_end {
	struct watch watch;
	int fd; /* -1 when none */
	uint32_t unsent_at,
	    unsent_len;      /* of `unsent`: read from the other end, not yet written here */
	bool ended : 1;      /* end of stream was read here, or nothing can be read any more */
	bool shut : 1;       /* end of stream was written here */
	bool quiet : 1;      /* both directions of the socket are over: it has no more news */
	bool piped : 1;      /* what is unsent is in `pipe` */
	bool bulk : 1;       /* what is read here goes through a pipe, where there is one */
	uint8_t stalls : 2;  /* how often it was held and did not flow */
	uint8_t streak : 4;  /* reads in a row that speak against `bulk` as it is */
	uint8_t denials : 4; /* in a row: splice() found nothing where there was something */
	int16_t err;         /* what broke the connection, -errno or the layer's, or 0 */
	union {              /* owned; NULL while nothing is unsent */
		uint8_t *unsent;
		struct pipe *pipe;
	};
	struct layer *layer; /* owned; NULL where the bytes are the socket's own */
	uint64_t received;   /* bytes read from this end, as its layer gives them */
	uint64_t sent;       /* bytes written to this end */
};

enum relay_side { RELAY_CLIENT, RELAY_TARGET };

struct relay;
/* Called once, when it is over: ERR_OK, ERR_CLIENT_RESET, ERR_TARGET_RESET, -errno or a layer's
 * error. The sockets are still open (their reset-on-close is set where the end is not ERR_OK); the
 * owner closes them with relay_close(), from inside this call if it likes. */
typedef void relay_fn(struct relay *relay, int err);

/* Part of the session: the watches and descriptors serve the handshake before they relay. */
struct relay {
	struct relay_shared *shared;
	struct relay_end end[2]; /* by enum relay_side */
	relay_fn *fn;
	/* Called once, then NULL: one side has ended, the other goes on. NULL where nobody asks. */
	void (*half_closed)(struct relay *relay);
	void (*closed)(struct relay *relay);
	uint8_t closing; /* watches that the loop has not let go of */
	uint8_t mode;    /* enum relay_mode, as of the start; RELAY_COPY where nothing else works */
	bool over;
	/* Set whenever bytes moved; the owner clears it to see whether a session is idle. */
	bool moved;
};

/* Sets an end's fields to "none". */
void relay_init(struct relay *relay, struct relay_shared *shared, relay_fn *fn);

/*
 * Begins. Both ends have a connected non-blocking socket (with socket_keep_urgent(), or an urgent
 * byte is missing from the stream) and an initialised watch. The `n` bytes at
 * `early` came from the client before and go to the target first. Returns 0, and `fn` may be called
 * from the loop from now on, never from inside this call; or what `fn` would have been called with,
 * and then it is over already.
 */
int relay_start(struct relay *relay, const void *early, size_t n);

/*
 * Ends it at any time, also where it never started: closes both descriptors and the watches on
 * them, those that there are, and frees what is unsent and the layers. `fn` is not called any more.
 * Returns how many watches the loop still has to let go of: after the last of them `closed` is
 * called, and then the memory may go; with 0 it may go at once and `closed` is not called.
 */
unsigned relay_close(struct relay *relay, void (*closed)(struct relay *relay));

/* Has one side ended while the other goes on? */
bool relay_half_closed(const struct relay *relay);

#endif
