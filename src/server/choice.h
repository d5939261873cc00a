/* SPDX-License-Identifier: MIT */
/*
 * A member of a group of proxies: who is chosen, as whom it is spoken to, and what is learned of
 * it. What connections (server/upstream.h) and datagrams (server/udpvia.h) through proxies have in
 * common.
 */
#ifndef TABI_SERVER_CHOICE_H
#define TABI_SERVER_CHOICE_H

#include "net/chain.h"
#include "net/log.h"
#include "policy/balance.h"
#include "policy/policy.h"

struct session;

/* How long a proxy may take to let us in while there is another one to try. */
#define CHOICE_PROXY_MS 5000

/* Plain data; to be made by choice_of(). */
struct choice {
	struct session *session;
	const struct source *source; /* the caller's: from where to leave; NULL: any */
	size_t group, member;        /* of the configuration; `member` is the one being tried */
	uint64_t failed;          /* bit n: member n was tried, or has no words for what is asked */
	struct chain_result last; /* the latest failure; its err is 0 where there was none */
	size_t last_member, last_hops;
};

/* Whose the way is: for BALANCE_HASH, `isolate` and `credentials forward`. All is borrowed. */
struct choice_client {
	const char *user; /* who the client has proved to be; may hold any byte */
	const char *password;
	size_t user_len, password_len; /* 0: nobody, none that could be forwarded */
	const struct addr *target;
	bool forward; /* the last proxy gets them */
};

/* Nobody is chosen yet. */
struct choice choice_of(struct session *session, const struct policy_proxy *group);

const struct policy_proxy *choice_group(const struct choice *c);
const struct policy_member *choice_member(const struct choice *c);

/* Chooses the best member that has not failed, which counts as one that serves from here on until
 * choice_leave(). Returns false where there is none. */
bool choice_next(struct choice *c, const struct choice_client *client);
void choice_leave(const struct choice *c);

/* The hops of the member, the last one with the credentials of this client; to be given back, as
 * many. NULL without memory. */
struct url *choice_hops(const struct choice *c, const struct choice_client *client);
void choice_free_hops(struct url *hops, size_t n);

/* What every chain through the member has in its options, but its hops and what it is for. With
 * `refuses`, whose `ctx` has to be the choice, which stays where it is. */
struct chain_options choice_options(struct choice *c);

/* Does a hop behind the first one lead back here? The first is looked at when it is dialled; of a
 * name behind it we cannot know. */
bool choice_leads_back(const struct choice *c);

/* What became of the present member; `unknown`: nothing that tells of it. After a failure it has
 * been left, and is tried no more. */
void choice_worked(const struct choice *c);
void choice_unknown(const struct choice *c);
void choice_failed(struct choice *c, const struct chain_result *r, enum chain_blame blame);

/* The member that failed last, if one has, and how: for lines that have said which group it is. */
void choice_log(const struct choice *c, struct log_record *rec);

#endif
