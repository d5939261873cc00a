/* SPDX-License-Identifier: MIT */
/*
 * Log lines: one sentence for people, or one record of fields.
 *
 * As text a record is `2026-11-22T10:00:00.123Z info session user=alice to=example.com:80 ...`, as
 * JSON one object a line with the same names. Values are escaped so that one record is one line and
 * reads back: in text, a value with anything but plain printable ASCII is put in double quotes,
 * with \" \\ and \xHH inside; in JSON bytes outside of it are \u00XX, so that every line is valid
 * and gives the bytes back as Latin-1. Writing never blocks the caller on a pipe or socket that
 * nobody reads: the line is dropped and counted, and the next one that gets through says
 * `dropped=N`. SIGPIPE must be ignored where the place may be a pipe. errno is left as it was.
 */
#ifndef TABI_NET_LOG_H
#define TABI_NET_LOG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "policy/policy.h"

struct log_options {
	bool json;
	enum log_place place;
	int fd; /* of LOG_TO_STDERR and LOG_TO_FILE; stays the caller's */
	enum log_level level;
	int worker; /* number shown in every line; -1 for none */
};

/* The process has one log; before this it goes to standard error at LOG_AT_INFO. May be called
 * again; after fork() it must be, before descriptors are closed: the connection to syslog is
 * libc's, and this lets go of it. */
void log_setup(const struct log_options *options);
bool log_enabled(enum log_level level);
/* Lines dropped since the start. */
uint64_t log_dropped(void);

/* A sentence. The formatted text is escaped as a whole; in text lines it stands without quotes up
 * to the end of the line, in JSON it is the field `message`. */
void log_say(enum log_level level, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* A record under construction; nothing is allocated. What does not fit is cut with "...". */
struct log_record {
	enum log_level level;
	bool cut;
	size_t len; /* 0: its level is not logged */
	/* No longer than PIPE_BUF, so that a pipe takes it whole; room for a user and a host name
	 * of the longest kind in JSON. */
	char line[4096];
};

void log_begin(struct log_record *rec, enum log_level level, const char *event);
/* NULL leaves the field out. */
void log_text(struct log_record *rec, const char *name, const char *value);
void log_bytes(struct log_record *rec, const char *name, const void *value, size_t len);
/* `value`, a colon and the number: a place in a file, or a port. */
#define LOG_PLACE_MAX 300 /* bytes of `value`; the rest is left out */
void log_place(
    struct log_record *rec, const char *name, const void *value, size_t len, unsigned number);
void log_number(struct log_record *rec, const char *name, uint64_t value);
/* Milliseconds, shown as seconds with three decimals. */
void log_seconds(struct log_record *rec, const char *name, uint64_t ms);
void log_end(struct log_record *rec);

#endif
