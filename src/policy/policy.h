/* SPDX-License-Identifier: MIT */
/*
 * What a configuration says: settings, listeners, definitions and rules. Immutable once parsed.
 *
 * policy/parse makes one from text, policy/decide asks it. Everything hangs on one allocation
 * list that policy_free() releases; pointers into a policy live as long as the policy.
 */
#ifndef TABI_POLICY_POLICY_H
#define TABI_POLICY_POLICY_H

#include "proto/accept.h"
#include "proto/addr.h"
#include "proto/gss.h"
#include "proto/url.h"

enum timeout {
	TIMEOUT_HANDSHAKE, /* accept to request, absolute; 30 s */
	TIMEOUT_CONNECT,   /* request to connected, look-up included; 30 s */
	TIMEOUT_IDLE,      /* nothing in either direction; 0 = never; 2 h */
	TIMEOUT_HALFCLOSE, /* nothing moved since one side ended; 5 min */
	TIMEOUT_KEEPALIVE, /* plain HTTP: from an answer to the next request; 2 min */
	TIMEOUT_BIND,      /* BIND: from the first answer until the peer has come; 2 min */
	TIMEOUT_UDP,       /* a UDP association that relays nothing; at least 2 min; 5 min */
	TIMEOUT_DRAIN,     /* what a stop leaves live sessions; 30 s */
	TIMEOUT_COUNT,
};

/* Not LOG_INFO: that name is syslog.h's. */
enum log_level { LOG_AT_ERROR, LOG_AT_WARN, LOG_AT_INFO, LOG_AT_DEBUG, LOG_AT_TRACE };
enum log_place { LOG_TO_STDERR, LOG_TO_SYSLOG, LOG_TO_FILE };
enum relay_mode { RELAY_AUTO, RELAY_COPY, RELAY_SPLICE };
/*
 * Which remotes a UDP association hears, in the words of RFC 4787, narrowest first: those endpoints
 * that were sent to; every port of an address that was sent to; all that may be sent to.
 */
enum udp_filter { FILTER_ADDRESS_PORT, FILTER_ADDRESS, FILTER_ENDPOINT_INDEPENDENT };

enum sandbox_mode { SANDBOX_AUTO, SANDBOX_REQUIRE, SANDBOX_OFF };

/* Where a word stands: for messages, and as the name of a rule in the log ("tabi.conf:12"). */
struct position {
	const char *file;
	unsigned line;          /* from 1; 0: the file as a whole */
	unsigned column, width; /* in characters, from 1 */
	const char *source;     /* the line itself, without its newline */
};

struct policy_rule;

struct policy_listener {
	struct position at;    /* of the address */
	const char *text;      /* as written; what rules call it by `listener` */
	const char *unix_path; /* or NULL: */
	unsigned unix_mode;    /* permission bits of the socket; 0600 unless said */
	struct addr addr;      /* ADDR_IP; port 0 is not allowed */
	bool any_family; /* `*:PORT`: an IPv4 and an IPv6 socket; addr.ip is then unspecified */
	/* Where clients' peers reach us, in place of our own address: one for each family at most.
	 */
	struct ip advertise[2];
	size_t n_advertise;
	/* TLS and nothing else is spoken here, or (`tls_upgrade`) SOCKS5 may go on in TLS; all NULL
	 * where neither. As written. */
	const char *tls_certificate, *tls_key;
	bool tls_upgrade;
	const char *client_ca; /* clients prove who they are by a certificate of these; or NULL */
	/* A header of the PROXY protocol comes first, from these senders (a `from` and nothing
	 * else) or over this Unix socket, and says whose a connection is. */
	bool proxy_protocol;
	const struct policy_rule *senders; /* NULL of a Unix socket */
	bool extended_replies;             /* Tor's codes may be used in SOCKS5 */
	bool open;                         /* "strangers may use this": the word `open` */
	bool optional; /* of the built-in default: a host without that family is no error */
};

/* One way to prove who one is; policy/offer.h says to whom it is offered. */
struct policy_auth {
	struct position at; /* of the method's word */
	const char *text;   /* the statement on one line, as written but for white space */
	enum auth_method method;
	const char *file; /* AUTH_PASSWORD: the password file, or NULL; AUTH_GSSAPI: the keytab */
	const char *service; /* AUTH_PASSWORD: that of PAM, or NULL */
	const char *gss_service,
	    *realm;      /* AUTH_GSSAPI: whose keys alone; what is left out; or NULL */
	unsigned levels; /* AUTH_GSSAPI: GSS_LEVEL_BIT() of those allowed */
	bool nec;        /* AUTH_GSSAPI: and NEC's form of asking for one */
	const struct policy_rule *who; /* its `from`, `listener` and `user`, and nothing else */
};

/* Which member of a group serves: the first one, any, the one with the fewest sessions, or always
 * the same one for the same client. */
enum balance { BALANCE_FIRST, BALANCE_RANDOM, BALANCE_LEAST, BALANCE_HASH };

/* For whom the last proxy gets credentials of their own, so that it keeps them apart (Tor). */
enum isolation { ISOLATE_NOTHING, ISOLATE_USER, ISOLATE_DESTINATION, ISOLATE_SESSION };

/* GSS-API with the proxies of a line that speak SOCKS5; the last one of them has to. */
struct policy_gss {
	struct position at; /* line 0: not said, and all the rest means nothing */
	/* As whom: by the keys of a keytab, and of the principal (NULL: of its first one); or,
	 * where `keytab` is NULL, as a cache of credentials says. As written. */
	const char *keytab, *principal, *cache;
	const char *service;  /* toward whom: "rcmd" */
	enum gss_level level; /* a weaker one is not used */
	bool nec;             /* in NEC's form */
};

/* The cache of that name is the one that the library finds. */
#define POLICY_GSS_CACHE_DEFAULT "default"

/* One `proxy` line: a proxy, or a chain of them. */
struct policy_member {
	struct position at;     /* of its first URL */
	const char *text;       /* "host:port" of each hop, with commas; no credentials */
	const struct url *hops; /* first hop first; with the credentials that the URLs have */
	size_t n_hops;
	bool tls;                  /* is spoken to one of them at least */
	const char *password_file; /* of the last hop's credentials; or NULL */
	const char *ca;            /* who is trusted instead of the system's; or NULL */
	/* Our own certificate, where a proxy asks for one; both NULL without. As written. */
	const char *tls_certificate, *tls_key;
	const char *server_name;     /* in place of the URL's host, where one has TLS; or NULL */
	struct position insecure_at; /* line 0: certificates are checked */
	enum isolation isolation;
	struct policy_gss gss;
};

#define POLICY_MEMBERS_MAX 64
#define POLICY_HOPS_MAX 8

/* All `proxy` lines of one name: a group. */
struct policy_proxy {
	const char *name;
	struct policy_member *members;
	size_t n_members; /* 1 to POLICY_MEMBERS_MAX */
	enum balance balance;
	struct position balance_at; /* line 0: not said */
};

/* Can datagrams go there: are all hops SOCKS5? Of a group: to one member at least? */
bool policy_member_has_udp(const struct policy_member *member);
bool policy_proxy_has_udp(const struct policy_proxy *proxy);

/* From where what a rule allows leaves this host: as the kernel chooses, from an address, by an
 * interface, from the address that the client has reached, or from one out of a net. */
enum egress_kind { EGRESS_ANY, EGRESS_ADDRESS, EGRESS_INTERFACE, EGRESS_SAME, EGRESS_POOL };

/* Of what has one for each family. */
enum family { FAMILY_V4, FAMILY_V6, FAMILY_COUNT };

struct policy_egress {
	struct position at; /* of the word `egress` */
	const char *text;   /* what stands behind it, as written but for white space */
	enum egress_kind kind;
	const char *interface; /* of EGRESS_INTERFACE */
	bool sticky;           /* of EGRESS_POOL: the same user has always the same address */
	/* Of EGRESS_ADDRESS the addresses, of EGRESS_POOL the nets: of one family at least. */
	bool has[FAMILY_COUNT];
	struct ip ip[FAMILY_COUNT];
	unsigned prefix[FAMILY_COUNT]; /* of a net, 0 to 128: IPv4 is ::ffff:0:0/96 */
};

struct policy_settings {
	unsigned workers; /* 0 = one per core */
	const char *user; /* NULL = not said */
	bool log_json;
	enum log_place log_place;
	const char *log_file;
	enum log_level log_level;
	enum relay_mode relay;
	enum sandbox_mode sandbox;
	unsigned timeout_ms[TIMEOUT_COUNT];
	struct addr *resolvers; /* ADDR_IP with port; n == 0: the system's */
	size_t n_resolvers;
	/* BIND listens on these alone, 1024 or higher; 0: on any that the kernel chooses. */
	uint16_t bind_first, bind_last;
	/* The same of UDP ASSOCIATE, toward its clients. */
	uint16_t udp_first, udp_last;
	bool udp_shared;    /* worker n has port udp_first + n for all of its associations */
	bool fragments_off; /* datagrams in fragments are dropped, not put together */
	/* Of rules that do not say; NULL: not said either. */
	const struct policy_egress *egress;
};

/* A word that the language has and this version has no effect for: policy_check_servable(). */
struct policy_later {
	struct position at;
	const char *word;
	const char *expected; /* where it would have one, or NULL */
};

struct policy {
	struct policy_settings set;
	struct policy_listener *listeners;
	size_t n_listeners;
	struct policy_auth *auths;
	size_t n_auths;
	/* All enum auth_method bits that are offered to anybody: AUTH_NONE where no `auth` is
	 * given, and AUTH_CERT where a listener has `client-ca`.
	 */
	unsigned methods;
	struct policy_proxy *proxies;
	size_t n_proxies;
	bool forwards_credentials; /* some rule says so */
	struct policy_rule *rules; /* in order; policy/decide.h reads them */
	size_t n_rules;
	enum udp_filter widest_filter; /* of all rules */
	struct policy_later *later;
	size_t n_later;
	struct position file; /* the first file as a whole */
	void *memory;         /* owned: all of the above and what it points to */
};

/* NULL is fine. */
void policy_free(struct policy *policy);

#endif
