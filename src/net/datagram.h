/* SPDX-License-Identifier: MIT */
/*
 * UDP sockets in the loop: received in batches, sent or dropped at once.
 *
 * Theory of operation. Many sockets share one set of receive buffers, since what was received is
 * used up before the loop turns. Nothing is queued here: what the kernel does not take is dropped
 * and counted, as a router would. Errors that ICMP brought belong to a datagram that is gone: they
 * are told to the owner and stop nothing, for anybody could have sent them.
 *
 * What most of a datagram costs is its way through the kernel, and one of several datagrams
 * (net/train.h) goes it once. Where the kernel can, it hands over those that came together as one
 * (UDP_GRO), which is taken apart here; and of those that are posted while a batch is received, as
 * many as follow each other to one place leave as one (UDP_SEGMENT). Nobody else notices: where it
 * cannot be done, they leave one by one.
 */
#ifndef TABI_NET_DATAGRAM_H
#define TABI_NET_DATAGRAM_H

#include <sys/socket.h>

#include "net/loop.h"
#include "net/source.h"
#include "proto/addr.h"

/* Handed over in one go at most. */
#define DATAGRAM_BATCH 64
/* Received in one turn before others get theirs: that many bytes, or what came as one. */
#define DATAGRAM_BUDGET ((size_t)256 << 10)
/* Room for the longest datagram that IP carries without jumbograms. */
#define DATAGRAM_SIZE ((size_t)65536)

struct datagram {
	const uint8_t *data;
	size_t len; /* 0 too */
	struct ip from;
	uint16_t port;
};

/* The buffers of one loop. */
struct datagram_shared;

/* Returns 0 or -ENOMEM. Pages are taken as they are first used. */
int datagram_shared_new(struct datagram_shared **ret_shared);
/* NULL is fine. */
void datagram_shared_free(struct datagram_shared *shared);

struct datagram_socket;
/* What was received, 1 to DATAGRAM_BATCH of them, valid during this call. The socket may be closed
 * from inside it. */
typedef void datagram_fn(struct datagram_socket *sock, const struct datagram *list, size_t n);

/* ICMP says that what was sent to `to` did not arrive. As far as the kernel can tell: all that it
 * compares is the port from which we send. */
struct datagram_error {
	struct ip to;
	uint16_t port;
	int err; /* -errno: -ECONNREFUSED, -EHOSTUNREACH... */
};
/* From the loop, never from inside datagram_send(). The socket must not be closed from inside it.
 */
typedef void datagram_error_fn(struct datagram_socket *sock, const struct datagram_error *error);

struct datagram_socket {
	struct watch watch;
	int fd;          /* owned; -1 when there is none */
	void *owner;     /* the caller's, to be set when it is open */
	struct ip local; /* it is bound to, and its port */
	uint16_t port;
	datagram_fn *fn;
	datagram_error_fn *failed; /* NULL; the caller may set it as well */
	uint16_t segment_max;      /* bytes of a datagram that may leave as one with others */
	uint8_t batch;             /* messages to receive in the next turn */
	void (*closed)(struct datagram_socket *sock);
	struct datagram_shared *shared;
	/* Counted since the socket was opened. */
	uint64_t cut;    /* received, and longer than any buffer: dropped */
	uint64_t trains; /* sent */
	uint64_t errors; /* that ICMP brought, as far as the kernel had room for them */
};

/*
 * Binds a socket to `local` (of which the port may be 0) and waits for datagrams. An IPv6 socket
 * takes no IPv4. Returns 0 or -errno, and then `fd` is -1.
 */
int datagram_open(struct datagram_socket *sock, struct datagram_shared *shared, struct loop *loop,
    const struct sockaddr_storage *local, datagram_fn *fn);

/* The same at the address from which `to` is reached by `source`, and any port. Returns 0, or what
 * source_find() or source_bind() returned. */
int datagram_open_source(struct datagram_socket *sock, struct datagram_shared *shared,
    struct loop *loop, const struct source *source, const struct ip *to, datagram_fn *fn);

/*
 * Joins a group at that interface (index; 0: the kernel chooses), and hears what is sent to it at
 * `port` and nothing else. Others may do so too. Returns as datagram_open().
 */
int datagram_open_group(struct datagram_socket *sock, struct datagram_shared *shared,
    struct loop *loop, const struct ip *group, uint16_t port, unsigned interface, datagram_fn *fn);

/* From now on hears nobody else, and `local` is the address that he sees. Returns 0 or -errno. */
int datagram_connect(struct datagram_socket *sock, const struct ip *to, uint16_t port);

/*
 * Sends header and data as one datagram, now or never. Returns 0, or -errno: -EAGAIN where the
 * kernel's buffers are full.
 */
int datagram_send(struct datagram_socket *sock, const void *header, size_t header_len,
    const void *data, size_t len, const struct ip *to, uint16_t port);

struct datagram_poster {
	/* `n` datagrams with `bytes` of data, without headers, could not be sent after all: err is
	 * negative. May come from inside any call that sends or closes. */
	void (*unsent)(struct datagram_poster *poster, size_t n, size_t bytes, int err);
};

/*
 * The same while a batch is received, and otherwise too: it may leave a little later, before the
 * loop turns, together with others. All is copied. Returns 0, or -errno where it is known at once
 * that it cannot be sent; of what is known later the poster is told, so it must stay until the loop
 * turns or datagram_flush().
 */
int datagram_post(struct datagram_socket *sock, struct datagram_poster *poster, const void *header,
    size_t header_len, const void *data, size_t len, const struct ip *to, uint16_t port);

/* Sends what was posted. */
void datagram_flush(struct datagram_shared *shared);

/* How a datagram to a multicast group leaves. */
struct datagram_way {
	uint8_t ttl;        /* 1 to 255; of IPv6 the hop limit */
	unsigned interface; /* its index; 0: the kernel chooses */
};

/* The same to a group. Members on this host get it too (IP_MULTICAST_LOOP, the kernel's default).
 * -ENODEV where the interface has gone. */
int datagram_send_group(struct datagram_socket *sock, const void *data, size_t len,
    const struct ip *group, uint16_t port, const struct datagram_way *way);

/* How many datagrams the kernel dropped because nobody read them in time; those that came as one
 * count as one. */
uint64_t datagram_overflowed(const struct datagram_socket *sock);

/* Closes an open socket. The memory must stay until `closed` is called from the loop. */
void datagram_close(struct datagram_socket *sock, void (*closed)(struct datagram_socket *sock));

#endif
