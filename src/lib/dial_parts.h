/* SPDX-License-Identifier: MIT */
/* A dial from inside: what its two files, dial.c and dial_layers.c, know of each other. */
#ifndef TABI_LIB_DIAL_PARTS_H
#define TABI_LIB_DIAL_PARTS_H

#include <stdbool.h>
#include <stdint.h>

#include "lib/gsslogin.h"
#include "lib/job.h"
#include "lib/layer.h"
#include "lib/race.h"
#include "tabi.h"

enum doing {
	TALKING,    /* what the machine wants; a socket is there unless it wants a connection */
	LOOKING_UP, /* `job` is a lookup; the machine wants a connection or a name's addresses */
	CONNECTING, /* `race` is on; the machine wants a connection */
	INITIATING, /* `job` has the login; the machine wants a step of GSS-API's context */
};

struct tabi_dial {
	struct tabi_machine *machine;
	struct tabi_options options;
	enum tabi_command command;
	enum doing doing;
	tabi_socket fd;
	struct layer *top; /* NULL where there is no connection */
	unsigned generation;
	int events;       /* while it is talking */
	bool handshaking; /* the TLS at the top does not stand yet */
	bool taken;
	bool session_taken; /* a stream would be one without it */
	struct job *job;
	struct gsslogin *login; /* unless a job has it */
	int protected_hop;      /* the last hop with which GSS-API's protection was agreed on; -1 */
	struct race race;       /* its addresses are those of the first proxy */
	uint64_t deadline;
	uint64_t patience; /* the machine is taken for stalled then */
	int said_code;     /* the error to which `said` belongs */
	char said[160];
};

/* Fails for a reason of ours, with a library's sentence or "". */
void dial_give_up(struct tabi_dial *d, int code, int error_number, const char *said);

/* The same for want of a job (lib/job.h): `err` is why none could be begun. */
void dial_has_no_job(struct tabi_dial *dial, int code, int err);

/* What a layer said that moved nothing. Returns false where it has to wait. */
bool dial_stopped(struct tabi_dial *d, long n);

/* The proxy has just done something: it is given its time anew. */
void dial_be_patient(struct tabi_dial *d);

/* What the machine wants of TLS and of GSS-API (RFC 1961). Those that return a bool say false where
 * it has to wait. */
bool dial_start_tls(struct tabi_dial *d);
void dial_begin_context(struct tabi_dial *d);
bool dial_finish_context(struct tabi_dial *d);
void dial_ask_level(struct tabi_dial *d);
void dial_take_level(struct tabi_dial *d);

#endif
