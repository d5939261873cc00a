/* SPDX-License-Identifier: MIT */
/*
 * libtabi: a client of SOCKS4, SOCKS4A, SOCKS5 and HTTP proxies, alone or in chains.
 *
 * Two layers. The machine does no I/O, has no globals and no threads, and lives in memory of the
 * caller: it says what it wants (bytes to read, bytes to write, a name's addresses, TLS), and it
 * never takes a byte that is not a proxy's. The convenience is the machine over the system's
 * sockets: tabi_connect() and the like, blocking or not.
 *
 * Manual pages: libtabi(3) has a map of them. Examples: examples/ in the source.
 *
 * Rules for all of it. Functions that can fail return 0 or a count on success, and on failure a
 * negative number of enum tabi_code or NULL; a struct tabi_error, where there is one, says more and
 * may be NULL. Ports are in host order. Times are milliseconds. Texts are UTF-8 or whatever the
 * bytes are, ending in NUL. A `host` is a name or an IPv4 or IPv6 address, with or without
 * brackets. Nothing here may be used by two threads at once, but two objects may, each by its own.
 * What is borrowed is said; everything else is copied.
 */
#ifndef TABI_H
#define TABI_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#ifdef __cplusplus
extern "C" {
#endif

#define TABI_VERSION_MAJOR 0
#define TABI_VERSION_MINOR 1
#define TABI_VERSION_PATCH 0

#if defined(_WIN32) && defined(TABI_BUILDING)
#define TABI_API __declspec(dllexport)
#elif defined(__GNUC__)
#define TABI_API __attribute__((visibility("default")))
#else
#define TABI_API
#endif

/* The version of the library that is running, as text: "0.1.0". */
TABI_API const char *tabi_version(void);

/* A descriptor of a socket, as the system's own functions take it. */
#ifdef _WIN32
typedef uintptr_t tabi_socket;
#else
typedef int tabi_socket;
#endif
#define TABI_NO_SOCKET ((tabi_socket)-1)

/* ---- Errors ------------------------------------------------------------------------------------
 */

enum tabi_code {
	TABI_OK = 0,
	TABI_E_ARGUMENT = -1,     /* called wrongly: a proxy's URL, a host, an option */
	TABI_E_MEMORY = -2,       /* no memory, or what was given is too small or not aligned */
	TABI_E_STATE = -3,        /* not now: the machine asked for something else */
	TABI_E_RESOLVE = -4,      /* a name that has no address here */
	TABI_E_CONNECT = -5,      /* the first proxy cannot be reached; error_number says why */
	TABI_E_IO = -6,           /* the connection to it broke; error_number says how */
	TABI_E_CLOSED = -7,       /* a proxy ended the connection before it had answered */
	TABI_E_TIMEOUT = -8,      /* the deadline is over */
	TABI_E_PROTOCOL = -9,     /* a proxy does not speak what its URL says */
	TABI_E_METHOD = -10,      /* a proxy wants another kind of authentication */
	TABI_E_AUTH = -11,        /* a proxy does not accept the credentials */
	TABI_E_REFUSED = -12,     /* a proxy refuses the request; `reply` is its code */
	TABI_E_UNSUPPORTED = -13, /* a proxy's protocol cannot ask for that */
	TABI_E_TLS = -14,         /* TLS failed, or is wanted and nobody gave it to the library */
	TABI_E_GSS = -15,         /* GSS-API: no context, or a level of protection too low */
	TABI_E_AGAIN = -16,       /* nothing is there yet */
	TABI_E_TOO_LONG = -17     /* a datagram that does not fit */
};

/* How far it had come. */
enum tabi_stage {
	TABI_AT_START,   /* reading the URL and the rest of the call */
	TABI_AT_RESOLVE, /* looking up a name here */
	TABI_AT_CONNECT, /* connecting to the first proxy */
	TABI_AT_TLS,     /* TLS with the hop */
	TABI_AT_METHOD,  /* SOCKS5: its method is awaited (RFC 1928 section 3) */
	TABI_AT_AUTH,    /* SOCKS5: password or GSS-API (RFC 1929, RFC 1961) */
	TABI_AT_REPLY,   /* the answer to the request is awaited */
	TABI_AT_PEER,    /* BIND: the second answer is */
	TABI_AT_STREAM   /* it is through */
};

/* What went wrong. Plain data, of a size that does not change. */
struct tabi_error {
	int code;  /* enum tabi_code */
	int stage; /* enum tabi_stage */
	int hop;   /* which proxy, from 0; -1 where none is at fault */
	/* The proxy's own code where it sent one: SOCKS5's REP (RFC 1928 section 6), METHOD 255 or
	 * RFC 1929's status, SOCKS4's CD, HTTP's status; else -1. */
	int reply;
	/* What connect() would have said: the system's own where it spoke, else what comes closest
	 * to the reply (REP 5 is ECONNREFUSED). 0 where nothing does. */
	int error_number;
	int detail;      /* for tabi_error_text() */
	const char *why; /* of TABI_E_ARGUMENT a constant sentence, or NULL */
	size_t at;       /* of a URL: the offset of what is wrong with it */
	char proxy[160]; /* the hop's URL, without its password; cut where too long */
	char said[160];  /* the sentence of the resolver or of GSS-API, where one failed; else "" */
	int reserved[8];
};

/*
 * The error as a sentence without a full stop, "proxy 1 of ... refused: connection refused (reply
 * 5)", into `buf`, cut to `cap` bytes with the NUL. Returns `buf`. No secret is in it.
 */
TABI_API char *tabi_error_text(const struct tabi_error *error, char *buf, size_t cap);

/* ---- Addresses ---------------------------------------------------------------------------------
 */

enum tabi_family { TABI_NONE = 0, TABI_IPV4 = 4, TABI_IPV6 = 6, TABI_NAME = 1 };

/* An address or a host name, with a port. Plain data, of a size that does not change. */
struct tabi_address {
	int family;           /* enum tabi_family */
	uint16_t port;        /* host order */
	unsigned char ip[16]; /* network order; of IPv4 the first four */
	char name[256];       /* of TABI_NAME */
};

/* Long enough for any address as text. */
#define TABI_ADDRESS_TEXT_MAX 272

/*
 * Reads a host. Returns 0, or TABI_E_ARGUMENT for what is neither an address nor a host name: 1 to
 * 253 bytes, labels of at most 63; an address in a form that only inet_aton() understands (127.1)
 * is none.
 */
TABI_API int tabi_address_set(struct tabi_address *ret_address, const char *host, uint16_t port);

/* HOST:PORT, with brackets around IPv6; "-" for TABI_NONE. Cut to `cap` bytes with the NUL. Returns
 * `buf`. */
TABI_API char *tabi_address_text(const struct tabi_address *address, char *buf, size_t cap);

/* ---- Options -----------------------------------------------------------------------------------
 */

/* Bits of `flags`. */
enum tabi_flags {
	/*
	 * To a SOCKS5 proxy greeting, authentication and request in one flight, which saves one or
	 * two round trips. One method alone is offered then: the password where there are
	 * credentials (which are sent whether or not the proxy wants them), else none. A proxy that
	 * wants another, or stumbles, is asked again over a new connection, one message after the
	 * other.
	 */
	TABI_ONE_FLIGHT = 1,
	/*
	 * What follows a SOCKS request goes with it: the next hop's first flight and `payload`. A
	 * chain of SOCKS proxies with TABI_ONE_FLIGHT takes one round trip. Never behind a request
	 * to an HTTP proxy (RFC 9110 section 9.3.6), never before TLS. The target may get the
	 * payload twice, as with TLS early data, and a proxy that refuses gets it too.
	 */
	TABI_EARLY_STREAM = 2,
	/* Never a second connection: what would be tried again has failed. */
	TABI_NO_RETRY = 4,
	/* GSS-API in NEC's form: the level of protection goes unwrapped. */
	TABI_GSS_NEC = 8,
	/* The last proxy, which speaks SOCKS5, is offered nothing but GSS-API: nobody on the way
	 * can have what is meant to be protected go unprotected. */
	TABI_GSS_ONLY = 16,
	/* Datagrams of tabi_udp_send() go straight to the last proxy, past those before it, which
	 * learns from where. */
	TABI_UDP_STRAIGHT = 32
};

/* Who looks the destination's name up. */
enum tabi_names {
	TABI_NAMES_BY_URL =
	    0,               /* we for socks4 and socks5, the proxy for socks4a, socks5h and http */
	TABI_NAMES_HERE = 1, /* we; the proxy never learns the name */
	TABI_NAMES_THERE = 2 /* the proxy; nothing is looked up here */
};

/*
 * The protection to ask for (RFC 1961 section 4). GSS-API is offered to every proxy that speaks
 * SOCKS5 unless TABI_GSS_OFF, beside no authentication and the password where there is one: what
 * the proxy chooses it gets, unless flags say TABI_GSS_ONLY. A weaker level is refused.
 */
enum tabi_gss {
	TABI_GSS_OFF = 0,
	TABI_GSS_INTEGRITY = 1,
	TABI_GSS_CONFIDENTIAL = 2, /* and integrity */
	TABI_GSS_PER_MESSAGE = 3,  /* one of these two, as the proxy likes */
	TABI_GSS_CLEAR = 4         /* none: authentication alone */
};

/* For whom `credentials` asks. Any bytes, 0 to 255 of each; they need not outlive the call. */
struct tabi_credentials {
	const void *user;
	size_t user_len;
	const void *password;
	size_t password_len;
};

/* What an operation of a TLS library says of itself. */
enum tabi_io {
	TABI_IO_END = 0,    /* of receive: the peer has ended the stream */
	TABI_IO_READ = -1,  /* not before the socket is readable */
	TABI_IO_WRITE = -2, /* not before it is writable */
	TABI_IO_BROKEN = -3
};

/*
 * TLS as the caller's library does it, for hops that want it (https, socks5+tls). The machine knows
 * of none. All functions but the last must be there; `user` is passed to start() as it is.
 */
struct tabi_tls {
	void *user;
	/*
	 * A new session as the client, on a socket that does not block, or where `below` is not
	 * NULL inside that earlier session. The certificate has to be for `host`: a name or an
	 * address. Returns NULL on failure.
	 */
	void *(*start)(void *user, tabi_socket fd, void *below, const char *host);
	/* Returns 1 when the session stands, else of enum tabi_io. */
	int (*handshake)(void *session);
	/* Return how many bytes, at least 1, or of enum tabi_io. */
	long (*send)(void *session, const void *data, size_t len);
	long (*receive)(void *session, void *data, size_t cap);
	/* Frees the session, and those below it; the socket stays open. */
	void (*free)(void *session);
	/* Tells the peer that no more will be sent (close_notify). Returns 1 when that is with the
	 * system, else of enum tabi_io. May be NULL: then tabi_stream_end() cannot be. */
	int (*end)(void *session);
};

/*
 * Zero is the default of everything; make it with tabi_options(), which fills `size` in: so a
 * program keeps its meaning with a library whose structure has grown.
 */
struct tabi_options {
	size_t size;
	unsigned flags; /* enum tabi_flags */
	int names;      /* enum tabi_names */
	int gss;        /* enum tabi_gss */
	/* For everything up to the stream, and of BIND up to the first answer. 0 is 30 seconds, a
	 * negative one no limit. Of the convenience. */
	int timeout;
	/* With TABI_ONE_FLIGHT: how long a proxy may be silent before it is taken for one that has
	 * stumbled, and is asked again. 0 is a third of the timeout. Of the convenience. */
	int patience;
	/* The stream's first bytes, borrowed until it is through: sent early where flags say so,
	 * else behind the last answer. For connect alone. */
	const void *payload;
	size_t payload_len;
	void *user; /* for the functions that follow */
	/*
	 * Asked once for each hop whose URL has no user. `proxy` is its URL. Returns 1 with
	 * `*ret_credentials` filled in, 0 where there are none, or a negative number to give up.
	 * Of the convenience; the machine has tabi_machine_credentials().
	 */
	int (*credentials)(
	    void *user, int hop, const char *proxy, struct tabi_credentials *ret_credentials);
	/*
	 * Looks a name up in the place of getaddrinfo(), and is waited for. Writes up to `cap`
	 * addresses in the order in which to try them, their ports do not matter. Returns how many.
	 * Of the convenience.
	 */
	int (*resolve)(void *user, const char *host, struct tabi_address *ret_addresses, int cap);
	/* Borrowed until the end, of a stream too; NULL: see tls_ca. Of the convenience. */
	const struct tabi_tls *tls;
	/* The first half of a proxy's principal, whose other half is its host; borrowed until the
	 * stream is there. NULL is "rcmd", which RFC 1961 fixed. Of the convenience. */
	const char *gss_service;
	/* Where `tls` is NULL the system's OpenSSL does it, and this is a file of certificates
	 * (PEM) whose owners are trusted to sign a proxy's; NULL: those whom the system trusts. Of
	 * the convenience. */
	const char *tls_ca;
};

static inline struct tabi_options tabi_options(void)
{
	struct tabi_options options;

	memset(&options, 0, sizeof(options));
	options.size = sizeof(options);
	return options;
}

/* ---- The machine -------------------------------------------------------------------------------
 */

enum tabi_command {
	TABI_CONNECT = 1,
	TABI_BIND = 2,   /* SOCKS4 and 5 */
	TABI_UDP = 3,    /* SOCKS5: UDP ASSOCIATE */
	TABI_RESOLVE = 4 /* Tor's extension; the answer is tabi_bound(). Of an address: its name */
};

/* What the machine wants, which is the caller's to do before the next tabi_step(). */
enum tabi_want {
	/* A connection to the first proxy, tabi_hop_host() and tabi_hop_port() of 0; then
	 * tabi_connected(). It may come again: then the connection there was is to be closed. */
	TABI_WANT_CONNECTION = 1,
	TABI_WANT_WRITE,       /* send tabi_output(), then tabi_wrote() */
	TABI_WANT_READ,        /* receive at most tabi_wanted() bytes, then tabi_input() */
	TABI_WANT_RESOLVE,     /* look up tabi_asked_name(), then tabi_resolved() */
	TABI_WANT_TLS,         /* TLS as the client with tabi_hop(), inside all there is; then
				  tabi_tls_started() */
	TABI_WANT_GSS_CONTEXT, /* a step of the context; then tabi_gss_context() */
	TABI_WANT_GSS_LEVEL,   /* wrap tabi_gss_octet(), then tabi_gss_level() */
	TABI_WANT_GSS_ANSWER,  /* unwrap the token, then tabi_gss_answer() */
	TABI_DONE,             /* the stream is the target's, or the command's answer is there */
	TABI_FAILED            /* tabi_machine_error() */
};

struct tabi_machine;

#define TABI_HOPS_MAX 16

/*
 * How many bytes a machine for these proxies needs: some 25,000 and 1,100 for each hop, with
 * GSS-API 140,000 more. 0 where the text is no proxy URL, or comma-separated several.
 * `options` may be NULL.
 */
TABI_API size_t tabi_machine_size(const char *proxies, const struct tabi_options *options);

/*
 * Makes a machine in `memory`, aligned as for malloc(), of `size` bytes. `proxies` are URLs,
 * comma-separated, the first hop first: socks4, socks4a, socks5, socks5h, socks5+tls, http, https.
 * Returns NULL on failure (TABI_E_ARGUMENT, TABI_E_MEMORY). There is nothing to free, but secrets
 * to wipe: tabi_machine_wipe(). `options` is copied, what it leads to borrowed.
 */
TABI_API struct tabi_machine *tabi_machine_init(void *memory, size_t size, const char *proxies,
    const struct tabi_options *options, struct tabi_error *ret_error);

/* Overwrites all that the machine holds. NULL is fine. */
TABI_API void tabi_machine_wipe(struct tabi_machine *machine);

/* Before tabi_machine_start(): the credentials of a hop, instead of those in its URL. Returns 0 or
 * TABI_E_ARGUMENT: more than 255 bytes, or what the hop's protocol cannot carry (a password in
 * SOCKS4, a colon in the user of HTTP). */
TABI_API int tabi_machine_credentials(
    struct tabi_machine *machine, int hop, const struct tabi_credentials *credentials);

/*
 * What to ask for: enum tabi_command. `host` and `port` are the destination; of TABI_BIND who is
 * expected to connect (NULL: anybody), of TABI_UDP from where the datagrams will come (NULL: not
 * known). Once. Returns 0 or TABI_E_ARGUMENT, TABI_E_UNSUPPORTED, TABI_E_STATE.
 */
TABI_API int tabi_machine_start(
    struct tabi_machine *machine, enum tabi_command command, const char *host, uint16_t port);

/* What is wanted now. Changes nothing: to ask twice is fine. */
TABI_API enum tabi_want tabi_step(const struct tabi_machine *machine);

/* TABI_WANT_CONNECTION: there is one. */
TABI_API void tabi_connected(struct tabi_machine *machine);

/* TABI_WANT_WRITE: what to send, never empty; valid until the next call of another function. It may
 * hold credentials. */
TABI_API const void *tabi_output(const struct tabi_machine *machine, size_t *ret_len);
/* That many bytes of it are sent. */
TABI_API void tabi_wrote(struct tabi_machine *machine, size_t len);

/* TABI_WANT_READ: at least 1. Who reads no more than that has read nothing of the stream, and can
 * hand the descriptor on. */
TABI_API size_t tabi_wanted(const struct tabi_machine *machine);
/*
 * Bytes that arrived, as many as one likes. Returns how many of them the machine took, before it
 * wanted something else: whatever is left belongs to what it wants then, and at TABI_DONE to the
 * stream. 0 where it does not want to read.
 */
TABI_API size_t tabi_input(struct tabi_machine *machine, const void *data, size_t len);
/* The connection has ended, or was reset. */
TABI_API void tabi_input_end(struct tabi_machine *machine);

/* TABI_WANT_RESOLVE: the name. */
TABI_API const char *tabi_asked_name(const struct tabi_machine *machine);
/* Its addresses in the order in which to try them; ports do not matter. 0 is a failure. */
TABI_API void tabi_resolved(
    struct tabi_machine *machine, const struct tabi_address *addresses, size_t n);

/* TABI_WANT_TLS: it stands; from here on all is read and written through it. */
TABI_API void tabi_tls_started(struct tabi_machine *machine);

/*
 * Gives up, for a reason of the caller's: TABI_E_CONNECT, _IO, _TIMEOUT, _TLS, _GSS..., with an
 * errno or 0. The machine has failed then, with hop and stage in the error.
 */
TABI_API void tabi_give_up(struct tabi_machine *machine, int code, int error_number);

/*
 * Has something been sent early, so that a proxy which is silent may have stumbled over it? Then
 * tabi_stalled() goes back: it wants another connection, over which nothing is early.
 */
TABI_API int tabi_may_stall(const struct tabi_machine *machine);
TABI_API void tabi_stalled(struct tabi_machine *machine);

/* The proxies: how many, and the one spoken to, from 0. */
TABI_API int tabi_hops(const struct tabi_machine *machine);
TABI_API int tabi_hop(const struct tabi_machine *machine);
/* A hop's host without brackets, as a certificate has to name it, and its port. */
TABI_API const char *tabi_hop_host(const struct tabi_machine *machine, int hop);
TABI_API uint16_t tabi_hop_port(const struct tabi_machine *machine, int hop);
/* Its URL without the password, cut to `cap` bytes with the NUL. Returns `buf`. */
TABI_API char *tabi_hop_url(const struct tabi_machine *machine, int hop, char *buf, size_t cap);

/*
 * After TABI_DONE: what the last proxy said. Of TABI_CONNECT the address it connected from, often
 * nothing or zeros; of TABI_RESOLVE the answer.
 */
TABI_API void tabi_bound(const struct tabi_machine *machine, struct tabi_address *ret_address);

/*
 * After TABI_DONE of TABI_BIND: where the peer has to connect to; of TABI_UDP where datagrams have
 * to be sent. Where the proxy said 0.0.0.0 or :: it is the host at which it was reached (RFC 1928
 * section 6, the SOCKS4 memo): `reached` where that is not NULL, else that of its URL, which may be
 * a name.
 */
TABI_API void tabi_listens_at(const struct tabi_machine *machine,
    const struct tabi_address *reached, struct tabi_address *ret_address);

/* After the first TABI_DONE of TABI_BIND: goes on to the second answer, and TABI_DONE comes again
 * when the peer has; tabi_bound() is then he. Returns 0 or TABI_E_STATE. */
TABI_API int tabi_await_peer(struct tabi_machine *machine);

/* The error of TABI_FAILED; else code is TABI_OK. */
TABI_API void tabi_machine_error(const struct tabi_machine *machine, struct tabi_error *ret_error);

/*
 * GSS-API (RFC 1961), whose library is the caller's.
 *
 * tabi_gss_token() is the proxy's token, of 0 bytes at the beginning, valid until the next call.
 * tabi_gss_context() takes ours, which may be empty when the context is complete.
 * tabi_gss_level() takes the octet, wrapped without confidentiality (with TABI_GSS_NEC: as it is).
 * tabi_gss_answer() takes the proxy's, unwrapped, or NULL where it could not be. It returns the
 * level that holds (1 integrity, 2 confidential, 0 none) or a negative error; from a level above 0
 * on, everything on the connection is in frames: tabi_gss_frame().
 */
TABI_API const void *tabi_gss_token(const struct tabi_machine *machine, size_t *ret_len);
TABI_API int tabi_gss_context(
    struct tabi_machine *machine, int complete, const void *token, size_t len);
TABI_API unsigned char tabi_gss_octet(const struct tabi_machine *machine);
TABI_API int tabi_gss_level(struct tabi_machine *machine, const void *token, size_t len);
TABI_API int tabi_gss_answer(struct tabi_machine *machine, const void *octets, size_t len);

#define TABI_GSS_FRAME_HEADER 4
/* The header in front of a token of `len` bytes, at most 65535 (RFC 1961 section 5). */
TABI_API void tabi_gss_frame(unsigned char header[TABI_GSS_FRAME_HEADER], size_t len);
/* Of `len` bytes that begin with a frame, how long its token is; TABI_E_AGAIN for too few of them,
 * TABI_E_PROTOCOL for something else. */
TABI_API int tabi_gss_frame_read(const void *data, size_t len);

/* ---- Datagrams of UDP ASSOCIATE (RFC 1928 section 7) -------------------------------------------
 */

/* The header: 10 bytes with IPv4, 22 with IPv6, at most this with a name. */
#define TABI_UDP_HEADER_MAX 262

/*
 * Writes the header for a destination, which may be a name. Returns its length, or
 * TABI_E_ARGUMENT. Header and payload are one datagram (sendmsg() takes both).
 */
TABI_API int tabi_udp_header(
    unsigned char header[TABI_UDP_HEADER_MAX], const struct tabi_address *to);

/* The same in front of a payload that has TABI_UDP_HEADER_MAX bytes of room before it. Returns
 * where the datagram begins, or NULL; it ends where the payload does. Nothing is copied. */
TABI_API void *tabi_udp_wrap(void *payload, const struct tabi_address *to);

/*
 * Reads a datagram of the proxy: who sent it, and the payload, which lies in `datagram`. Returns
 * its length, 0 too, or TABI_E_PROTOCOL for what is to be dropped: no header, a fragment, a sender
 * that is none.
 */
TABI_API long tabi_udp_unwrap(
    const void *datagram, size_t len, struct tabi_address *ret_from, const void **ret_payload);

/* ---- The convenience: over the system's sockets ------------------------------------------------
 *
 * In all of it `proxies` may be NULL (not ""): then it is what TABI_PROXY, or else ALL_PROXY says
 * in the environment, and where neither is set it is an error: nothing is ever sent past the proxy.
 *
 * What the system can only do by blocking is done on a thread that ends with it: looking names up
 * (getaddrinfo(); not where options.resolve is set) and the tickets of GSS-API. So the deadline
 * holds there too, and nothing waits for a resolver that is dead but that thread, which takes no
 * signals. In a child of fork() a look-up begins anew, and a login by GSS-API that was in progress
 * has failed.
 *
 * Of a first proxy with several addresses the first that answers is taken (RFC 8305): another is
 * tried 250 ms after the last, or as soon as one has failed, while those before go on.
 */

/*
 * A connection to host and port through the proxies. Returns a socket that blocks and is closed on
 * exec; the caller closes it. TABI_NO_SOCKET on failure. With a hop of TLS, or with GSS-API's
 * protection, a socket alone is of no use: that is TABI_E_TLS and TABI_E_GSS here, before anything
 * is sent, and tabi_stream_open() does it.
 */
TABI_API tabi_socket tabi_connect(const char *proxies, const char *host, uint16_t port,
    const struct tabi_options *options, struct tabi_error *ret_error);

/* The same without blocking: start, then poll tabi_dial_fd() for tabi_dial_events() at most
 * tabi_dial_timeout(), then tabi_dial_step(), until that returns something else than 0. */
struct tabi_dial;
struct tabi_stream;

enum tabi_events { TABI_READABLE = 1, TABI_WRITABLE = 2 };

/* The arguments are those of tabi_machine_start(). Returns NULL on failure. */
TABI_API struct tabi_dial *tabi_dial_new(const char *proxies, enum tabi_command command,
    const char *host, uint16_t port, const struct tabi_options *options,
    struct tabi_error *ret_error);
/* Closes what was not taken. NULL is fine. */
TABI_API void tabi_dial_free(struct tabi_dial *dial);

/* Goes on as far as it can. Returns 1 when it is through, 0 when it has to wait, or a negative
 * error (tabi_dial_error()), also later. */
TABI_API int tabi_dial_step(struct tabi_dial *dial);

/* What to wait for; the descriptor is not always a socket. It may be another one after each step
 * that returned 0 (a name was looked up, a proxy is asked again), even where its number is the
 * same: whoever watches it with epoll asks tabi_dial_generation(), which changes with it. */
TABI_API tabi_socket tabi_dial_fd(const struct tabi_dial *dial);
TABI_API int tabi_dial_events(const struct tabi_dial *dial);
TABI_API int tabi_dial_timeout(const struct tabi_dial *dial); /* -1: none */
TABI_API unsigned tabi_dial_generation(const struct tabi_dial *dial);

/* After 1. The socket, which does not block, is the caller's from here on. With hops of TLS by
 * options.tls also the innermost session: not NULL, and the caller's too. With other TLS, and with
 * GSS-API's protection, there is neither (TABI_NO_SOCKET, NULL), only the stream. */
TABI_API tabi_socket tabi_dial_take(struct tabi_dial *dial);
TABI_API void *tabi_dial_take_tls(struct tabi_dial *dial);
/* The same with all that there may be between the socket and its bytes: below. NULL without memory,
 * where it is not through, and where the socket or a session was taken before. */
TABI_API struct tabi_stream *tabi_dial_take_stream(struct tabi_dial *dial);

/* tabi_bound() and tabi_listens_at() of it; and tabi_await_peer(), after which tabi_dial_step()
 * goes on, with no deadline but `timeout` (negative: none). It is called before anything is waited
 * for: under protection the second answer may have been read with the first. */
TABI_API void tabi_dial_bound(const struct tabi_dial *dial, struct tabi_address *ret_address);
TABI_API void tabi_dial_listens_at(const struct tabi_dial *dial, struct tabi_address *ret_address);
TABI_API int tabi_dial_await_peer(struct tabi_dial *dial, int timeout);
TABI_API void tabi_dial_error(const struct tabi_dial *dial, struct tabi_error *ret_error);

/*
 * A connection with whatever protects it, TLS or GSS-API in any order, or nothing: for bytes that
 * are read and written by these calls alone. They wait at most `timeout` milliseconds (negative:
 * for ever; 0: not at all).
 */
TABI_API struct tabi_stream *tabi_stream_open(const char *proxies, const char *host, uint16_t port,
    const struct tabi_options *options, struct tabi_error *ret_error);
/*
 * Sends until all are taken or the time is over. Returns how many, at least 1 where `len` is; or
 * TABI_E_AGAIN where it would be none; or what tabi_stream_error() explains. What was not taken has
 * to be offered next, at any address and perhaps with more behind it. Where sending has failed
 * there may still be something to receive: the peer's last words.
 */
TABI_API long tabi_stream_send(
    struct tabi_stream *stream, const void *data, size_t len, int timeout);
/* `cap` is not 0. Returns how many bytes came, 0 at the end of the stream, TABI_E_AGAIN, or another
 * error. */
TABI_API long tabi_stream_recv(struct tabi_stream *stream, void *buf, size_t cap, int timeout);
/* No more will be sent, which would be TABI_E_STATE; reading goes on. Returns 0, TABI_E_AGAIN,
 * TABI_E_UNSUPPORTED where options.tls has no `end`, or another error. */
TABI_API int tabi_stream_end(struct tabi_stream *stream, int timeout);
/* What to wait for after TABI_E_AGAIN, and only then: bytes may have been read and not asked for.
 * The events are those for which the last calls of each direction waited. Not for reading. */
TABI_API tabi_socket tabi_stream_fd(const struct tabi_stream *stream);
TABI_API int tabi_stream_events(const struct tabi_stream *stream);
/* Is there protection between it and the first proxy? Else it is a socket alone. */
TABI_API int tabi_stream_is_protected(const struct tabi_stream *stream);
TABI_API void tabi_stream_error(const struct tabi_stream *stream, struct tabi_error *ret_error);
/* Closes it. NULL is fine. */
TABI_API void tabi_stream_close(struct tabi_stream *stream);

/*
 * BIND: the last proxy listens, for one connection of the peer `host` (NULL: of anybody). `port` is
 * the one the peer is expected to connect from or that is asked for; proxies differ, 0 is usual.
 * Blocks until the proxy listens. NULL on failure.
 */
struct tabi_listener;
TABI_API struct tabi_listener *tabi_listen(const char *proxies, const char *host, uint16_t port,
    const struct tabi_options *options, struct tabi_error *ret_error);
/* Where the peer has to connect to. */
TABI_API void tabi_listener_address(
    const struct tabi_listener *listener, struct tabi_address *ret_address);
/* Readable when tabi_accept() need not wait long. Not for reading. With TLS or GSS-API's protection
 * it is to be waited for after tabi_accept_stream() has said TABI_E_TIMEOUT, and only then: the
 * answer may have been read already. */
TABI_API tabi_socket tabi_listener_fd(const struct tabi_listener *listener);
/*
 * Waits for the peer, at most `timeout` (negative: for ever). Returns a socket that blocks, the
 * caller's; `ret_peer`, which may be NULL, is who he is. TABI_NO_SOCKET on failure; after
 * TABI_E_TIMEOUT one may wait again. It can be had once. With TLS or GSS-API's protection, where a
 * socket alone is of no use, it is TABI_E_TLS and TABI_E_GSS at once.
 */
TABI_API tabi_socket tabi_accept(struct tabi_listener *listener, int timeout,
    struct tabi_address *ret_peer, struct tabi_error *ret_error);
/* The same as a stream, whatever protects it; NULL on failure. */
TABI_API struct tabi_stream *tabi_accept_stream(struct tabi_listener *listener, int timeout,
    struct tabi_address *ret_peer, struct tabi_error *ret_error);
TABI_API void tabi_listener_close(struct tabi_listener *listener);

/*
 * UDP ASSOCIATE. Through a chain of SOCKS5 proxies each has an association, over a connection of
 * its own, and each datagram a header for every one. A chain with another proxy in it is
 * TABI_E_UNSUPPORTED, unless flags say TABI_UDP_STRAIGHT. Datagrams do not go through TLS;
 * GSS-API's protection they have where a proxy agreed to it that is the only one, or gets them
 * straight, and through others that is TABI_E_GSS. Blocks until the proxies have agreed;
 * options.credentials may be asked more than once for a hop. NULL on failure.
 */
struct tabi_udp;
TABI_API struct tabi_udp *tabi_udp_open(
    const char *proxies, const struct tabi_options *options, struct tabi_error *ret_error);
/* Sends a datagram to `to`, whose name the proxy looks up. It goes or is lost: 0 says that the
 * system took it. TABI_E_TOO_LONG beyond what fits, TABI_E_AGAIN, TABI_E_IO, TABI_E_GSS. */
TABI_API int tabi_udp_send(
    struct tabi_udp *udp, const struct tabi_address *to, const void *data, size_t len);
/*
 * Waits for a datagram, at most `timeout` (negative: for ever; 0: not at all), in `buf`, which has
 * TABI_UDP_HEADER_MAX bytes more than the longest payload, for each proxy. Returns the payload's
 * length, 0 too, and by `ret_payload` where in `buf` it is. TABI_E_AGAIN when none came,
 * TABI_E_TOO_LONG for one that did not fit, TABI_E_CLOSED when the proxy has ended the association,
 * TABI_E_IO.
 */
TABI_API long tabi_udp_recv(struct tabi_udp *udp, void *buf, size_t cap, int timeout,
    struct tabi_address *ret_from, void **ret_payload);
/* For polling: the socket of the datagrams, and what keeps the associations alive, readable when
 * one has ended (without epoll that of the last proxy; tabi_udp_recv() sees the end of any). */
TABI_API tabi_socket tabi_udp_fd(const struct tabi_udp *udp);
TABI_API tabi_socket tabi_udp_control_fd(const struct tabi_udp *udp);
TABI_API void tabi_udp_close(struct tabi_udp *udp);

/* Closes a socket that came from here: close(), or closesocket(). */
TABI_API void tabi_close(tabi_socket fd);

#ifdef __cplusplus
}
#endif

#endif
