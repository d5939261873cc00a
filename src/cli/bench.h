/* SPDX-License-Identifier: MIT */
/*
 * A run of tabi bench: its state, which the parts share.
 *
 * bench_run.c goes through the phases, bench_conn.c makes connections and ends them, bench_modes.c
 * knows what is said on them, bench_report.c tells what came of it. One loop, one process; the only
 * memory that grows is that of the connections, and none of them has a buffer once it is made.
 */
#ifndef TABI_CLI_BENCH_H
#define TABI_CLI_BENCH_H

#include <sys/socket.h>

#include "cli/bench_options.h"
#include "cli/bench_proc.h"
#include "cli/histogram.h"
#include "net/loop.h"

/*
 * What a connection is for is the first thing it says: one of these letters and a newline. What is
 * counted at either end begins behind them.
 */
#define BENCH_ECHO 'E'   /* all comes back */
#define BENCH_SINK 'U'   /* all is taken */
#define BENCH_SOURCE 'D' /* bytes are sent, as many as there is room for */
#define BENCH_BOTH_WAYS 'B'
#define BENCH_PREFACE 2
/*
 * When the client has ended its side the server, in all but echo, stops sending and says how many
 * bytes it received and how many it sent: two decimal numbers of 19 digits, each followed by a
 * space or a newline.
 */
#define BENCH_TRAILER 40

enum bench_phase {
	BENCH_SETUP, /* connections are made; not of BENCH_CONNECT */
	BENCH_WARM_UP,
	BENCH_MEASURE,
	BENCH_DRAIN, /* what was begun may end */
	BENCH_OVER,
};

struct bench_count {
	uint64_t up, down; /* bytes, of the messages and streams alone */
	uint64_t units;    /* messages or sessions that were whole; not of BENCH_STREAM */
	uint64_t lost;     /* of BENCH_UDP: not back in time */
	uint64_t late;     /* of those lost: came all the same */
};

/* At one edge of what is measured. */
struct bench_edge {
	uint64_t at; /* ns */
	struct bench_count count;
	double own_cpu;
	struct proc_usage proxy;
};

struct bench_error {
	const char *stage, *word;
	int code; /* what the proxy answered, or -1 */
	uint64_t n;
};

#define BENCH_ERRORS 32

struct bench_handshake;
struct bench_flow;
struct bench;

enum bench_stage {
	CONN_NONE, /* no socket */
	CONN_DIALS,
	CONN_SHAKES_HANDS, /* with the proxy */
	CONN_OPEN,
	CONN_CLOSING, /* till the turn ends */
};

struct bench_conn {
	struct watch watch; /* first: found by it */
	struct bench *bench;
	int fd;
	uint8_t stage;
	bool settled; /* counted among those that are made or failed */
	bool failed;
	bool busy;         /* a message is on its way */
	bool ended;        /* we have said all that we say */
	uint32_t left_out; /* of the message, preface included, not sent */
	uint32_t left_in;  /* of the echo, not received */
	uint32_t pending;  /* messages that are due, not begun */
	uint64_t seq;      /* at the front of the message */
	uint64_t due;      /* ns: of the message, or when the session began */
	uint64_t turn;     /* of a fixed rate: which message is next */
	unsigned target;   /* which of them all */
	uint64_t up, down; /* behind the preface */
	struct bench_handshake *handshake;
	uint8_t tail[BENCH_TRAILER]; /* of a stream: the last bytes that came */
	struct ip relay;             /* of BENCH_UDP: where the proxy takes its datagrams */
	uint16_t relay_port;
	struct bench_flow *flow; /* of BENCH_UDP, from when it is open */
};

/* What is said in a mode. Each is called from the loop and may close the connection. */
struct bench_mode {
	const char *unit;
	void (*opened)(struct bench_conn *conn);
	void (*begin)(struct bench_conn *conn); /* the warm-up begins; may be NULL */
	void (*end)(struct bench_conn *conn);   /* nothing new; may be NULL */
	void (*ready)(struct bench_conn *conn, unsigned events);
	void (*due)(struct bench_conn *conn);   /* at a fixed rate: one more is; may be NULL */
	void (*tick)(struct bench_conn *conn);  /* time has passed; may be NULL */
	void (*close)(struct bench_conn *conn); /* what else it has; may be NULL */
};

struct bench {
	const struct bench_options *o;
	const struct bench_mode *mode;
	struct loop loop;
	struct timer phase_timer, tick;
	struct watch signals, due; /* due: of the fixed rate */
	enum bench_phase phase;
	bool interrupted, filling;

	/* Whom to connect to: the proxy, or each target. */
	struct {
		struct sockaddr_storage sa;
		socklen_t len;
	} first[BENCH_TARGETS_MAX];
	struct addr targets[BENCH_TARGETS_MAX]; /* as the proxy is asked for them */
	unsigned next_target;
	struct addr any; /* of BENCH_UDP: from wherever our datagrams will come */

	struct bench_conn *conns;
	unsigned n_conns, started, settled, opened, live;
	unsigned dialing; /* between socket() and being made */

	uint8_t *out; /* preface and payload */
	uint64_t began, rate_began, rate_next;
	struct bench_count count;
	struct bench_edge begin, end;
	uint64_t memory_before, memory_after; /* of the proxy: without our sessions, with them */
	unsigned held;                        /* of BENCH_IDLE: sessions at the end */
	struct histogram latency;             /* ns */
	uint64_t own_overflow; /* of BENCH_UDP: datagrams that we did not take in time */
	struct bench_datagrams *datagrams; /* of BENCH_UDP: what all share */
	struct bench_error errors[BENCH_ERRORS];
};

uint64_t bench_clock(void); /* ns, monotonic */

/* bench_run.c */
int bench_run(const struct bench_options *o);
/* Says what went wrong before anything began. Returns the exit status. */
int bench_fail(const char *what, const char *why);
/* A connection is made, or will not be. */
void bench_settle(struct bench_conn *conn);
/* It is closed and its memory free for another. */
void bench_closed(struct bench_conn *conn);
void bench_count_error(struct bench *b, const char *stage, const char *word, int code);

/* bench_conn.c */
void conn_start(struct bench_conn *conn);
void conn_close(struct bench_conn *conn);
/* `err` is from err.h, negative; 0 where `word` says it. */
void conn_fail(struct bench_conn *conn, const char *stage, int err, const char *word, int code);
/* Who stays unfinished, in words. */
const char *conn_stage_name(const struct bench_conn *conn);

/* bench_udp.c */
extern const struct bench_mode bench_udp;
/* Return 0 or the exit status. */
int bench_udp_prepare(struct bench *b);
void bench_udp_free(struct bench *b);

/* bench_modes.c */
const struct bench_mode *bench_mode_of(const struct bench_options *o);
/* At a fixed rate: a message is due; sends it, or remembers that it waits. */
void bench_message_due(struct bench_conn *conn);
/* Is what was due then to be counted? */
bool bench_counts(const struct bench *b, uint64_t due);
uint64_t bench_due_of(const struct bench *b, uint64_t turn);

/* bench_report.c */
void bench_progress(const struct bench *b);
void bench_progress_end(void);
void bench_report(const struct bench *b, bool ok);

/* bench_serve.c */
int bench_serve_main(int argc, char **argv);

#endif
