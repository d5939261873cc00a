/* SPDX-License-Identifier: MIT */
/* The one list of what can go wrong, with a text, a log word and a reply code for each. */
#ifndef TABI_PROTO_ERR_H
#define TABI_PROTO_ERR_H

#include <stdint.h>

/*
 * Functions return 0 or a positive count on success and one of these on failure. Values from -1
 * to -999 are -errno as the system call gave it; ours begin at -1000. A session ends with exactly
 * one of them, which chooses the reply to the client and the word in the log.
 */
enum err {
	ERR_OK = 0,

	/* What the peer sent. */
	ERR_MALFORMED = -1000, /* bytes that the protocol does not allow here */
	ERR_PROTOCOL = -1001,  /* the first byte belongs to no protocol spoken here */
	ERR_TOO_LONG = -1002,  /* a field or a header block beyond its cap */
	ERR_COMMAND = -1003,   /* a command that is unknown or not offered */
	ERR_ADDRESS_TYPE = -1004,
	ERR_ADDRESS = -1005,      /* an address nobody can connect to: port 0, multicast */
	ERR_NAME = -1006,         /* not a host name: empty, NUL or control bytes, bad labels */
	ERR_NUMERIC_NAME = -1007, /* an IPv4 address in a form only inet_aton understands */
	ERR_TRUNCATED = -1008,    /* the peer ended in the middle of a message */
	ERR_PROXY_HEADER = -1009, /* no valid header of the PROXY protocol came first */

	/* Who the client is. */
	ERR_NO_METHOD = -1020,      /* no authentication method in common */
	ERR_AUTH = -1021,           /* wrong user or password */
	ERR_GSS_CONTEXT = -1022,    /* GSS-API: no ticket, a wrong one, or nobody we can name */
	ERR_GSS_LEVEL = -1023,      /* GSS-API: a level of protection that is not allowed */
	ERR_GSS_MESSAGE = -1024,    /* GSS-API: a message that is not protected as was agreed */
	ERR_NOT_OFFERED = -1025,    /* there is no method at all for this client */
	ERR_NO_IDENTD = -1026,      /* the client's host does not say who he is */
	ERR_IDENT_MISMATCH = -1027, /* it says that he is another */

	/* What the policy says. */
	ERR_DENIED = -1030,    /* a rule, or no rule, denies it */
	ERR_SELF = -1031,      /* the destination is this proxy */
	ERR_BIND_PORT = -1032, /* a port that BIND may not listen on */
	ERR_STRANGER = -1033,  /* somebody else than the peer that BIND expects */
	ERR_SENDER = -1034,    /* not one of those who may say whose a connection is */

	/* Reaching the destination. */
	ERR_NOT_FOUND = -1040,       /* the name does not exist or has no address */
	ERR_RESOLVER = -1041,        /* the name servers failed or did not answer */
	ERR_CONNECT_TIMEOUT = -1042, /* nobody answered in time */
	ERR_ONION = -1046,           /* a name below .onion that cannot be one */
	ERR_EGRESS = -1044,          /* from where the rule says nothing can leave just now */
	ERR_EGRESS_FAMILY = -1045,   /* nor anything of the destination's address family */
	ERR_UNAVAILABLE = -1043,     /* this proxy lacks descriptors or memory just now */

	/* How a session ends that was not refused. */
	ERR_HANDSHAKE_TIMEOUT = -1050, /* the client did not finish asking in time */
	ERR_IDLE = -1051,
	ERR_CLIENT_GONE = -1052, /* the client left before it was served */
	ERR_CLIENT_RESET = -1053,
	ERR_TARGET_RESET = -1054,
	ERR_SHUTDOWN = -1055, /* the server is stopping */

	/* What a destination answers to a request that is forwarded. */
	ERR_ANSWER = -1090,           /* it is no HTTP, or of two meanings, or beyond its limits */
	ERR_ANSWER_TRUNCATED = -1091, /* the destination closed before it was whole */

	/* Our client end: what a proxy answered. */
	ERR_PROXY_REPLY = -1060,     /* the proxy refused; its code is kept beside */
	ERR_PROXY_PROTOCOL = -1061,  /* the proxy does not speak what its URL says */
	ERR_PROXY_NO_METHOD = -1062, /* the proxy accepts none of our methods */
	ERR_PROXY_AUTH = -1063,      /* the proxy did not accept our credentials */
	ERR_PROXY_TRUNCATED = -1064, /* the proxy closed before it had answered */
	/* The same as others are told of it. */
	ERR_PROXY_DENIED = -1065,      /* the proxy does not allow the destination */
	ERR_PROXY_UNREACHABLE = -1066, /* there is no way to the proxy, or it fell silent */
	ERR_PROXY_TLS = -1067,         /* no TLS with the proxy, or it is another */

	/* TLS. */
	ERR_TLS_HANDSHAKE = -1070,  /* the two could not agree */
	ERR_TLS_CERT = -1071,       /* the peer's certificate is missing or not good enough */
	ERR_TLS_PLAIN = -1072,      /* something else than TLS, where TLS has to be */
	ERR_TLS_UNEXPECTED = -1073, /* TLS, where it has no business */
	ERR_TLS_TRUNCATED = -1074,  /* the connection ended without close_notify */
	ERR_TLS_BROKEN = -1075,     /* a record that nobody can have sent in earnest */
};

/* SOCKS5 reply codes, RFC 1928 section 6. */
enum socks5_reply {
	SOCKS5_SUCCEEDED = 0,
	SOCKS5_GENERAL_FAILURE = 1,
	SOCKS5_NOT_ALLOWED = 2,
	SOCKS5_NETWORK_UNREACHABLE = 3,
	SOCKS5_HOST_UNREACHABLE = 4,
	SOCKS5_REFUSED = 5,
	SOCKS5_TTL_EXPIRED = 6,
	SOCKS5_COMMAND_NOT_SUPPORTED = 7,
	SOCKS5_ADDRESS_NOT_SUPPORTED = 8,
	/* Of Tor's extended codes (protocol.md section 8.3) the one that somebody who is not Tor
	 * can know of. */
	SOCKS5_BAD_ONION = 0xf6,
};

/* SOCKS4 reply codes, from the SOCKS4 memo. */
enum socks4_reply {
	SOCKS4_GRANTED = 90,
	SOCKS4_REJECTED = 91,
	SOCKS4_NO_IDENTD = 92,
	SOCKS4_IDENT_MISMATCH = 93,
};

/* One word for the log, such as "refused"; never NULL. */
const char *err_word(int err);

/* A sentence fragment for people, such as "connection refused"; never NULL. */
const char *err_text(int err);

/* The code to answer with, in each protocol. */
enum socks5_reply err_socks5(int err);
/* The same where Tor's extended codes are understood. */
enum socks5_reply err_socks5_extended(int err);
enum socks4_reply err_socks4(int err);
int err_http_status(int err);

#endif
