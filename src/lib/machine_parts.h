/* SPDX-License-Identifier: MIT */
/*
 * The public machine from inside: proto/connect with buffers of its own, names to look up before it
 * begins, and errors that can be told. machine.c has what it is about, machine_talk.c what is said.
 *
 * Theory of operation. `want` is what the machine waits for; output that is not sent yet comes
 * before it. proto/connect says how many bytes are certainly its own, and no more than those are
 * ever taken at once. So it makes no difference whether the caller reads by tabi_wanted() or feeds
 * whatever arrived: what is the stream's stays with him.
 */
#ifndef TABI_LIB_MACHINE_PARTS_H
#define TABI_LIB_MACHINE_PARTS_H

#include "proto/connect.h"
#include "tabi.h"

#define FORMS_MAX 2
#define HOST_MAX 256

struct tabi_machine {
	struct connect c;
	struct tabi_options options;
	enum tabi_want want; /* 0: tabi_machine_start() has not been called */
	struct tabi_error error;
	enum command command;
	struct addr target;
	struct addr forms[FORMS_MAX];
	size_t n_forms;
	size_t looked_up; /* hops whose next one has the form in which it will be asked for */
	size_t n_hops;
	struct url *hops;
	char (*hosts)[HOST_MAX]; /* as they were in the URLs, which look-ups may change */
	char (*name)[HOST_MAX];  /* that is looked up */

	uint8_t *in, *out;
	size_t in_cap, out_cap;
	size_t in_len, in_done; /* those up to in_done were consumed, a token may be among them */
	size_t out_len, out_at;
	size_t payload_at; /* this much of the payload is sent or in `out` */
};

/* Fails where it is: TABI_E_..., the code of the proxy's answer or -1, and an errno or 0. */
void machine_fail(struct tabi_machine *machine, int code, int reply, int number);

#endif
