/* SPDX-License-Identifier: MIT */
/*
 * Writes log lines: escapes, cuts to size, and drops rather than blocks.
 *
 * JSON is written by hand. A JSON library (jansson) allocates for every value, takes text only as
 * valid UTF-8, and has no way to cut an object at a size; here any bytes must pass, in no more
 * than the memory of the record, and the escaping is the one that text lines need anyway.
 */
#include "net/log.h"

#include <assert.h>
#include <errno.h>
#include <poll.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <syslog.h>
#include <time.h>
#include <unistd.h>

/* How bytes are made safe. A sentence is read by people, so it has no quotes around it and need
 * not hide those inside. */
enum style { STYLE_SENTENCE, STYLE_QUOTED, STYLE_JSON };

/* What is kept free behind the fields: the mark of a cut, the count of dropped lines, the closing
 * brace and the newline. */
#define TAIL_MAX 64
#define FIELDS_MAX (sizeof(((struct log_record *)0)->line) - TAIL_MAX)
#define DIGITS_MAX 20 /* of a uint64_t */
#define ESCAPE_MAX 6  /* \u00ff */

/* What the descriptor is, which decides how to write to it without waiting. */
enum sink { SINK_UNKNOWN, SINK_FILE, SINK_PIPE, SINK_SOCKET, SINK_OTHER };

static const struct {
	const char *word;
	int priority;
} levels[] = {
    [LOG_AT_ERROR] = {"error", LOG_ERR},
    [LOG_AT_WARN] = {"warn", LOG_WARNING},
    [LOG_AT_INFO] = {"info", LOG_INFO},
    [LOG_AT_DEBUG] = {"debug", LOG_DEBUG},
    [LOG_AT_TRACE] = {"trace", LOG_DEBUG},
};

static struct log_options current = {
    .place = LOG_TO_STDERR, .fd = STDERR_FILENO, .level = LOG_AT_INFO, .worker = -1};
static enum sink sink;
/* Lines may come from the thread pool too. */
static atomic_uint_fast64_t dropped, reported;
/* The last line was written only in part (disk full): the next begins a new line first. */
static atomic_bool torn;

static bool level_is_valid(enum log_level level)
{
	return (size_t)level < sizeof(levels) / sizeof(levels[0]);
}

static enum sink sink_of(int fd)
{
	struct stat st;

	if (fstat(fd, &st) < 0)
		return SINK_OTHER;
	switch (st.st_mode & S_IFMT) {
	case S_IFREG:
		return SINK_FILE;
	case S_IFIFO:
		return SINK_PIPE;
	case S_IFSOCK:
		return SINK_SOCKET;
	default:
		return SINK_OTHER;
	}
}

void log_setup(const struct log_options *options)
{
	assert(level_is_valid(options->level));
	/* libc keeps its connection once it has one, even where fork() and close_range() have put
	 * something else in its place: it would write lines into whatever that is. */
	if (current.place == LOG_TO_SYSLOG)
		closelog();
	current = *options;
	if (current.place == LOG_TO_SYSLOG)
		/* At once, so that no line waits for the connection. */
		openlog("tabi", LOG_PID | LOG_NDELAY, LOG_DAEMON);
	else
		sink = sink_of(current.fd);
}

bool log_enabled(enum log_level level)
{
	return level <= current.level;
}

uint64_t log_dropped(void)
{
	return atomic_load(&dropped);
}

/* Without a check: for what was measured before, or lies within TAIL_MAX. */
static void put(struct log_record *rec, const char *text, size_t len)
{
	assert(len <= sizeof(rec->line) - rec->len);
	memcpy(rec->line + rec->len, text, len);
	rec->len += len;
}

static void put_text(struct log_record *rec, const char *text)
{
	put(rec, text, strlen(text));
}

static size_t format_number(char buf[static DIGITS_MAX], uint64_t value)
{
	char *end = buf + DIGITS_MAX, *p = end;

	do {
		*--p = (char)('0' + value % 10);
		value /= 10;
	} while (value);
	memmove(buf, p, (size_t)(end - p));
	return (size_t)(end - p);
}

static void put_number(struct log_record *rec, uint64_t value)
{
	char buf[DIGITS_MAX];

	put(rec, buf, format_number(buf, value));
}

static bool is_plain(uint8_t c)
{
	return c >= 0x20 && c <= 0x7e;
}

/* JSON has only \u, and a byte above 0x7e is the code point of the same number there: the reader
 * gets the bytes back as Latin-1, and the line is valid whatever they were. */
static size_t escape(enum style style, uint8_t c, char out[static ESCAPE_MAX])
{
	static const char digits[] = "0123456789abcdef";
	size_t n = 0;

	if (is_plain(c)) {
		if (c == '\\' || (c == '"' && style != STYLE_SENTENCE))
			out[n++] = '\\';
		out[n++] = (char)c;
		return n;
	}
	out[n++] = '\\';
	if (style == STYLE_JSON) {
		out[n++] = 'u';
		out[n++] = '0';
		out[n++] = '0';
	} else {
		out[n++] = 'x';
	}
	out[n++] = digits[c >> 4];
	out[n++] = digits[c & 15];
	return n;
}

/* How many bytes from here on need no escape. */
static size_t plain_run(enum style style, const uint8_t *value, size_t len)
{
	size_t n = 0;

	while (n < len && is_plain(value[n]) && value[n] != '\\' &&
	       (value[n] != '"' || style == STYLE_SENTENCE))
		n++;
	return n;
}

/* As much as fits, never half an escape. */
static void put_escaped(struct log_record *rec, enum style style, const uint8_t *value, size_t len)
{
	for (size_t i = 0; i < len;) {
		size_t room = FIELDS_MAX > rec->len ? FIELDS_MAX - rec->len : 0, n;
		size_t plain = plain_run(style, value + i, len - i);
		char unit[ESCAPE_MAX];

		n = plain > 0 ? plain : escape(style, value[i], unit);
		if (n > room) {
			put(rec, (const char *)value + i, plain > 0 ? room : 0);
			rec->cut = true;
			put_text(rec, "...");
			return;
		}
		put(rec, plain > 0 ? (const char *)value + i : unit, n);
		i += plain > 0 ? plain : 1;
	}
}

/* Begins a field whose value takes at least `need` bytes. Once a field was left out, so are all
 * behind it: the mark says that the rest is missing. */
static bool put_name(struct log_record *rec, const char *name, size_t need)
{
	if (rec->len == 0 || rec->cut)
		return false;
	if (rec->len + strlen(name) + 4 + need > FIELDS_MAX) {
		rec->cut = true;
		put_text(rec, current.json ? ",\"more\":\"...\"" : " ...");
		return false;
	}
	put_text(rec, current.json ? ",\"" : " ");
	put_text(rec, name);
	put_text(rec, current.json ? "\":" : "=");
	return true;
}

static bool wants_quotes(const uint8_t *value, size_t len)
{
	for (size_t i = 0; i < len; i++)
		if (!is_plain(value[i]) || value[i] == ' ' || value[i] == '"' || value[i] == '\\')
			return true;
	return len == 0;
}

/* A number below 1000 as three digits. */
static void put_three(struct log_record *rec, unsigned value)
{
	char digits[DIGITS_MAX];

	format_number(digits, 1000 + value);
	put(rec, digits + 1, 3); /* without the 1 that kept the zeros */
}

/* 2026-11-22T10:00:00.123Z; what is before the point is made once a second. */
static void put_time(struct log_record *rec)
{
	static _Thread_local time_t second;
	static _Thread_local char text[80];
	struct timespec ts;
	struct tm tm;

	clock_gettime(CLOCK_REALTIME, &ts);
	if (ts.tv_sec != second) {
		gmtime_r(&ts.tv_sec, &tm);
		snprintf(text, sizeof(text), "%04d-%02d-%02dT%02d:%02d:%02d.", tm.tm_year + 1900,
		    tm.tm_mon + 1, tm.tm_mday, tm.tm_hour, tm.tm_min, tm.tm_sec);
		second = ts.tv_sec;
	}
	put_text(rec, text);
	put_three(rec, (unsigned)(ts.tv_nsec / 1000000));
	put_text(rec, "Z");
}

/* Time and level; not in text for syslog, which has its own. Returns whether the level is on. */
static bool begin(struct log_record *rec, enum log_level level)
{
	assert(level_is_valid(level));
	rec->level = level;
	rec->len = 0;
	rec->cut = false;
	if (!log_enabled(level))
		return false;
	if (current.json) {
		put_text(rec, "{\"time\":\"");
		put_time(rec);
		put_text(rec, "\",\"level\":\"");
		put_text(rec, levels[level].word);
		put_text(rec, "\"");
	} else if (current.place != LOG_TO_SYSLOG) {
		put_time(rec);
		put_text(rec, " ");
		put_text(rec, levels[level].word);
		put_text(rec, " ");
	}
	return true;
}

void log_begin(struct log_record *rec, enum log_level level, const char *event)
{
	if (!begin(rec, level))
		return;
	if (current.json)
		log_text(rec, "event", event);
	else
		put_text(rec, event);
	if (current.worker >= 0)
		log_number(rec, "worker", (uint64_t)current.worker);
}

void log_bytes(struct log_record *rec, const char *name, const void *value, size_t len)
{
	enum style style = current.json ? STYLE_JSON : STYLE_QUOTED;
	bool quotes;

	if (!value)
		return;
	quotes = current.json || wants_quotes(value, len);
	if (!put_name(rec, name, 2 + ESCAPE_MAX))
		return;
	if (quotes)
		put_text(rec, "\"");
	put_escaped(rec, style, value, len);
	if (quotes)
		put_text(rec, "\"");
}

void log_text(struct log_record *rec, const char *name, const char *value)
{
	if (value)
		log_bytes(rec, name, value, strlen(value));
}

void log_number(struct log_record *rec, const char *name, uint64_t value)
{
	if (put_name(rec, name, DIGITS_MAX))
		put_number(rec, value);
}

void log_seconds(struct log_record *rec, const char *name, uint64_t ms)
{
	if (!put_name(rec, name, DIGITS_MAX + 1))
		return;
	put_number(rec, ms / 1000);
	put_text(rec, ".");
	put_three(rec, (unsigned)(ms % 1000));
}

void log_place(
    struct log_record *rec, const char *name, const void *value, size_t len, unsigned number)
{
	char text[LOG_PLACE_MAX + 1 + DIGITS_MAX];

	if (len > LOG_PLACE_MAX)
		len = LOG_PLACE_MAX;
	memcpy(text, value, len);
	text[len] = ':';
	len += 1 + format_number(text + len + 1, number);
	log_bytes(rec, name, text, len);
}

/*
 * Writes all of it at once, or as much as goes without waiting. A line is no longer than PIPE_BUF,
 * so a pipe takes it whole or not at all. Kernels before 6.4 do not know RWF_NOWAIT on a pipe;
 * there, as on terminals, asking first is the best there is (O_NONBLOCK would be set for
 * everybody who shares the descriptor). poll() reports a pipe writable when it has a free page.
 */
static ssize_t write_now(const struct iovec *iov, int n)
{
	const struct msghdr msg = {.msg_iov = (struct iovec *)(uintptr_t)iov, .msg_iovlen = n};
	struct pollfd pfd = {.fd = current.fd, .events = POLLOUT};
	ssize_t done;

	if (sink == SINK_UNKNOWN)
		sink = sink_of(current.fd);
	if (sink == SINK_FILE)
		return writev(current.fd, iov, n);
	if (sink == SINK_SOCKET)
		return sendmsg(current.fd, &msg, MSG_DONTWAIT | MSG_NOSIGNAL);
	if (sink == SINK_PIPE) {
		done = pwritev2(current.fd, iov, n, -1, RWF_NOWAIT);
		if (done >= 0 || (errno != EOPNOTSUPP && errno != ENOSYS))
			return done;
	}
	if (poll(&pfd, 1, 0) != 1 || !(pfd.revents & POLLOUT))
		return -1;
	return writev(current.fd, iov, n);
}

static bool write_line(struct log_record *rec)
{
	char newline[1] = {'\n'};
	struct iovec iov[2];
	size_t len = 0;
	int n = 0;
	ssize_t done;

	if (atomic_load(&torn)) {
		iov[n++] = (struct iovec){newline, sizeof(newline)};
		len += sizeof(newline);
	}
	iov[n++] = (struct iovec){rec->line, rec->len};
	len += rec->len;
	do
		done = write_now(iov, n);
	while (done < 0 && errno == EINTR);
	if (done > 0)
		atomic_store(&torn, (size_t)done < len);
	return done == (ssize_t)len;
}

static void finish(struct log_record *rec)
{
	uint64_t missing = atomic_load(&dropped) - atomic_load(&reported);

	if (missing) {
		put_text(rec, current.json ? ",\"dropped\":" : " dropped=");
		put_number(rec, missing);
	}
	if (current.json)
		put_text(rec, "}");
	if (current.place == LOG_TO_SYSLOG) {
		syslog(levels[rec->level].priority, "%.*s", (int)rec->len, rec->line);
		return;
	}
	put_text(rec, "\n");
	if (write_line(rec))
		atomic_fetch_add(&reported, missing);
	else
		atomic_fetch_add(&dropped, 1);
}

void log_end(struct log_record *rec)
{
	int saved = errno;

	if (rec->len)
		finish(rec);
	errno = saved;
}

void log_say(enum log_level level, const char *format, ...)
{
	struct log_record rec;
	char text[sizeof(rec.line)]; /* what is lost here would not have fitted there */
	int len, saved = errno;
	va_list args;

	if (!begin(&rec, level))
		return;
	if (current.json) {
		if (current.worker >= 0)
			log_number(&rec, "worker", (uint64_t)current.worker);
	} else if (current.worker >= 0) {
		put_text(&rec, "worker=");
		put_number(&rec, (uint64_t)current.worker);
		put_text(&rec, " ");
	}
	errno = saved; /* for %m */
	va_start(args, format);
	len = vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	assert(len >= 0);
	if (len >= (int)sizeof(text))
		len = (int)sizeof(text) - 1;
	if (current.json)
		log_bytes(&rec, "message", text, (size_t)len);
	else
		put_escaped(&rec, STYLE_SENTENCE, (const uint8_t *)text, (size_t)len);
	finish(&rec);
	errno = saved;
}
