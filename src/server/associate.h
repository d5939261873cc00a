/* SPDX-License-Identifier: MIT */
/*
 * UDP ASSOCIATE: datagrams between one client and any number of remotes (RFC 1928 section 7).
 *
 * Theory of operation. An association has a socket toward its client, bound to the address that
 * the client's TCP connection came to, and outward one socket for each family, made when first
 * needed. Outward sockets are never connected: the remotes see one port, whoever they are
 * (endpoint-independent mapping, RFC 4787). A datagram costs two look-ups in small tables and no
 * allocation; what the policy says of a remote is kept for JUDGED_MS, and names are looked up
 * beside the data path.
 *
 * Only the client may use it: what does not come from the address of the TCP connection's peer, and
 * from the port that was seen there first, is dropped and changes nothing. Of the remotes only
 * those that were sent to are heard, unless a rule says `filter`. Whatever is dropped is counted,
 * and nobody is told.
 *
 * It lives as long as its TCP connection, and belongs to the session.
 */
#ifndef TABI_SERVER_ASSOCIATE_H
#define TABI_SERVER_ASSOCIATE_H

#include "net/log.h"
#include "proto/addr.h"

struct association;
struct session;

/* Begins with what session->hs->accept asks for; ends in session_associated() or session_end(). */
void associate_begin(struct session *session);

/* The fields of the session's log line. */
void associate_log(const struct association *association, struct log_record *rec);

/* Closes the sockets at once; nothing is called any more, and the memory frees itself. NULL is
 * fine. */
void associate_close(struct association *association);

#endif
