/* SPDX-License-Identifier: MIT */
/*
 * The enhanced UDP mode: a client joins multicast groups and sends to them, through one control
 * connection (draft-ietf-aft-mcast-fw-traversal-01, protocol.md section 6.3).
 *
 * Theory of operation. The connection carries control messages, each of which is answered; a
 * binding (server/binding.h) is what they make and release. Data goes by UDP between one socket of
 * ours and the client, behind a header that names the binding, or where the binding says so over
 * the connection itself. What comes from a group is sent to each member by unicast (MU-MODE; the
 * other mode of the draft, in which the server multicasts again, is not offered).
 *
 * What a member sends to its group leaves by the interface of the rule, and the kernel hands it
 * back to all of this host's sockets that have joined there (IP_MULTICAST_LOOP): those of the other
 * members in whatever worker, and of the sender itself, who knows it by its port and lets it drop.
 *
 * Only the client may use it: datagrams from elsewhere are strangers'. Its own are from the port
 * that the binding named, or the first one that knew the binding's number, which is random.
 *
 * What the client does not read of answers and data is kept up to a bound, and meanwhile nothing
 * more is read from it, and data for it over the connection is dropped. It lives as long as its
 * TCP connection, and belongs to the session.
 */
#ifndef TABI_SERVER_MULTICAST_H
#define TABI_SERVER_MULTICAST_H

#include "net/log.h"

struct multicast;
struct session;

/* Begins with what session->hs->accept asks for; ends in session_multicast() or session_end(). */
void multicast_begin(struct session *session);

/* Bytes that came behind the request. Returns whether there was memory. */
bool multicast_give(struct multicast *m, const void *data, size_t len);

/* The client's socket can be read or written, or has never been read: does all there is to do, and
 * says what to wait for next. May end the session. */
void multicast_work(struct multicast *m);

/* The fields of the session's log line. */
void multicast_log(const struct multicast *m, struct log_record *rec);

/* Leaves all groups and closes the sockets at once; nothing is called any more. NULL is fine. */
void multicast_close(struct multicast *m);

#endif
