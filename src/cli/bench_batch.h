/* SPDX-License-Identifier: MIT */
/*
 * Many datagrams at a time, for those who load others with them: what tabi bench does with
 * datagrams should cost it as little as can be, and the same whatever is measured.
 */
#ifndef TABI_CLI_BENCH_BATCH_H
#define TABI_CLI_BENCH_BATCH_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/uio.h>

/* Not more segments in one train either (UDP_MAX_SEGMENTS of kernels before 6.9). */
#define BATCH_MAX 64
/* The longest train over IPv4. */
#define BATCH_BYTES 65507

union batch_control {
	char room[CMSG_SPACE(sizeof(int))];
	struct cmsghdr align;
};

/* What was received. Each may be a train of several of equal size, but for the last. */
struct batch {
	unsigned n;
	struct mmsghdr msgs[BATCH_MAX];
	struct iovec parts[BATCH_MAX];
	struct sockaddr_storage from[BATCH_MAX];
	union batch_control control[BATCH_MAX];
	size_t row; /* room for each */
	uint8_t *data;
};

/* `row` bytes of room for each datagram. Returns 0 or -ENOMEM. */
int batch_new(struct batch **ret_batch, size_t row);
/* NULL is fine. */
void batch_free(struct batch *batch);

/* Receives what there is. Returns how many (trains count as one), 0 for none, or -errno. */
int batch_receive(struct batch *batch, int fd);

struct batch_one {
	uint8_t *data;
	size_t len, segment; /* of a train, of which `len` is the whole; else both are equal */
};
struct batch_one batch_at(const struct batch *batch, unsigned i);

/* Sends everything received back to where it came from, trains as trains. What the kernel does not
 * take is lost. */
void batch_return(struct batch *batch, int fd);

/* The segment's size for a sendmsg() of a train; `control` must stay until then. */
void batch_set_segment(struct msghdr *msg, union batch_control *control, uint16_t size);

/* Wants trains as they come (UDP_GRO). Returns 0 or -errno. */
int batch_want_trains(int fd);

/* As much room as the kernel allows: what is lost for want of it would be blamed on others. */
void batch_want_room(int fd);

/* How many datagrams the kernel dropped since nobody took them in time. */
uint64_t batch_overflowed(int fd);

#endif
