/* SPDX-License-Identifier: MIT */
/* What both commands with datagrams, UDP ASSOCIATE and multicast, have in common. */
#ifndef TABI_SERVER_UDP_H
#define TABI_SERVER_UDP_H

#include <sys/socket.h>

#include "net/datagram.h"
#include "policy/decide.h"

struct session;

/* All that is known without a remote, once the request is noted. */
struct policy_request udp_question(const struct session *session, enum command command);

struct udp_remote {
	const char *name; /* in canonical form, or NULL */
	struct ip ip;
	uint16_t port;
};

/* What the rules say of a remote, and what no rule can say; `log`: with the line that a rule asks
 * for. Where it is allowed with `via`, that can be done. */
struct decision udp_decide(
    struct session *session, enum command command, const struct udp_remote *to, bool log);

/*
 * The way to a group by a rule that allows it. Without the rule's interface there is none, for by
 * another one it might reach others than were meant: returns false, and says so in the log unless
 * `*told`, which is then set.
 */
bool udp_find_way(const struct decision *d, bool *told, struct datagram_way *ret_way);

/* May this client send to, or join, anybody at all? Returns 0 or the reason why not. */
int udp_may_begin(struct session *session, enum command command);

/* The address that the client's connection came to, as the kernel has it: a link-local one needs
 * its scope. Returns 0, -errno or ERR_COMMAND. */
int udp_local_address(const struct session *session, struct sockaddr_storage *ret_sa);

/* What the client is told in place of `bound`: that, or the address that stands for it. */
struct addr udp_told_address(const struct session *session, struct addr bound);

/*
 * Under GSS-API every datagram between client and server is one frame (RFC 1961 section 4); what is
 * made of it lies in the worker's buffer until the next call. False where it is not protected as
 * was agreed, or was there before. Where there is no GSS-API nothing is done.
 */
bool udp_unprotect(const struct session *session, struct datagram *d);

/* The other way: header and data become one frame, without a header. Returns 0 or a negative error.
 */
struct udp_parts {
	const void *header, *data;
	size_t header_len, len;
};
int udp_protect(const struct session *session, struct udp_parts *parts);

/* A NAT or a firewall forgets a connection that says nothing, and the datagrams live by it. */
void udp_keep_alive(int fd);

#endif
