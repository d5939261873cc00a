/* SPDX-License-Identifier: MIT */
/*
 * What tabi probe asks of tabi bench serve: a target that tells what reached it, and that behaves
 * in the ways that are hard for a proxy.
 *
 * Of a connection the first two bytes are a letter and a newline (as in bench.h), and some letters
 * have an argument of fixed length behind that.
 */
#ifndef TABI_CLI_TARGET_H
#define TABI_CLI_TARGET_H

#include <sys/socket.h>

#include "net/loop.h"
#include "proto/addr.h"

/* Says "peer=ADDRESS:PORT refuses=PORT\n": whom it sees, and a port of its own where nobody listens
 * and nobody will. */
#define TARGET_PEER 'P'
/* TOKEN: takes everything and notes under the token whose connection it was, how many bytes came
 * behind the token, and how it ended. */
#define TARGET_NOTE 'N'
/* TOKEN: the same, but it ends its own side at once. */
#define TARGET_FINISH 'F'
/* TOKEN: says what is noted, "peer=ADDRESS:PORT received=N end=open|eof|reset\n" or "none\n". */
#define TARGET_QUERY 'Q'
/* Waits for the end of the other side, then TARGET_LATE_MS, and says "late\n". */
#define TARGET_LATE 'L'
/* Resets the connection. */
#define TARGET_RESET 'R'
/* Never reads. */
#define TARGET_WAIT 'W'
/* PORT, five digits: connects to that port of whoever it sees, says "connected from=ADDRESS:PORT\n"
 * or "failed=WORD\n", and echoes what comes over the new connection. To nobody else, for a target
 * must not be a way to reach others. */
#define TARGET_CONNECT 'C'

#define TARGET_TOKEN 16
#define TARGET_PORT 5
#define TARGET_LATE_MS 2500
/* No line it says is longer, with its newline. */
#define TARGET_LINE_MAX 160

/*
 * Datagrams are echoed. Of those that begin with these bytes and a letter something more is made:
 * TARGET_PEER, where they have TARGET_LINE_MAX bytes, gets its beginning replaced by
 * "peer=ADDRESS:PORT\n"; TARGET_OTHER comes once more, from another port and with
 * TARGET_OTHER_ANSWER in its place. So no answer is longer than what it answers.
 */
#define TARGET_MAGIC "\0tabi\0"
#define TARGET_MAGIC_LEN 6
#define TARGET_OTHER 'O'
#define TARGET_OTHER_ANSWER 'o'

struct target;

/* `at` is where the server listens. Returns 0 or -errno. */
int target_new(struct target **ret_target, struct loop *loop, const struct addr *at);
/* Ends everything; its memory goes when the loop has turned. NULL is fine. */
void target_close(struct target *target);

bool target_knows(uint8_t letter);
/* Takes the descriptor, with `len` bytes that came behind letter and newline. */
void target_adopt(struct target *target, int fd, uint8_t letter, const uint8_t *data, size_t len);

/* Sees every datagram before it is echoed; `msg` has its sender. */
void target_datagram(struct target *target, uint8_t *data, size_t len, const struct msghdr *msg);

#endif
