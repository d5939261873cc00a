# SPDX-License-Identifier: MIT
"""Every sequence of messages, to a server that asks for proof: none may be granted anything.

A sequence after which the server has ended is not made longer: it would not read on. Nor is one
whose last two messages got no answer: they are bytes of something that is not whole yet (in a header
block of HTTP any message is).
"""

import itertools
import re
import socket
import ssl

from harness import proxyproto, socks, tls
from harness.config import PROXY
from harness.tabi import wait_until

LENGTH = 5
AT_ONCE = 200

WRONG = itertools.count()


def source(n, net=127):
    """Each try from an address of its own: guessers are slowed by theirs."""
    return f"{net}.{1 + n // 62500 % 200}.{1 + n // 250 % 250}.{1 + n % 250}"


def guess(_):
    return socks.userpass(f"nobody{next(WRONG)}", "wrong")


def frame(kind, token):
    return lambda _: bytes([1, kind]) + len(token).to_bytes(2, "big") + token


CONNECT = socks.request5("127.0.0.1", 7000)

MESSAGES = {
    "offer-none": lambda _: socks.greeting(0),
    "offer-gssapi": lambda _: socks.greeting(1),
    "offer-password": lambda _: socks.greeting(2),
    "offer-tls": lambda _: socks.greeting(0x80, 0x82),
    "offer-all": lambda _: socks.greeting(*range(255)),
    "offer-nothing": lambda _: socks.greeting(),
    "password": guess,
    "password-empty": lambda _: socks.userpass("", ""),
    "connect": lambda _: CONNECT,
    "bind": lambda _: socks.request5("127.0.0.1", 7000, socks.BIND),
    "udp": lambda _: socks.request5("0.0.0.0", 0, socks.UDP),
    "resolve": lambda _: socks.request5("127.0.0.1", 0, 0xF0),
    "socks4": lambda _: socks.request4("127.0.0.1", 7000, b"alice"),
    "http": lambda _: socks.request_http("127.0.0.1:7000"),
    "http-password": lambda _: socks.request_http(
        "127.0.0.1:7000", socks.basic(f"nobody{next(WRONG)}", "wrong")
    ),
    "gssapi-token": frame(1, b"\x60" + bytes(40)),
    "gssapi-level": frame(2, b"\x00"),
    "gssapi-data": frame(3, CONNECT),
}

# A password file with alice's "secret" by SHA-512 crypt: some milliseconds of work, where yescrypt
# takes many.
CHEAP = (
    "$6$tabi.tabi.tabi.$kf6Hm9lO6X0nQWBV2Vt3Y4GHG5Zh1sLAN07C3VsufYqSahsaOPROua0pTRfgBr4J2gv5c6Pg"
    ".tTWc2qkpjdjw/"
)


def users(directory):
    path = directory / "users-of-orders"
    path.write_text(f"alice:{CHEAP}\n")
    path.chmod(0o600)
    return path


# What a grant looks like: of SOCKS5, 4 and HTTP.
GRANTED = re.compile(rb"\x05\x00\x00[\x01\x03\x04]|\x00\x5a|HTTP/1\.[01] 200", re.S)


def without_tokens(data):
    """An answer without what GSS-API (RFC 1961) says in it, which may look like anything."""
    if data[:2] != b"\x05\x01":
        return data
    out, rest = data[:2], data[2:]
    while len(rest) >= 4 and rest[0] == 1 and rest[1] in (1, 2, 3):
        out, rest = out + rest[:2], rest[4 + int.from_bytes(rest[2:4], "big") :]
    return out + rest


# Ways to begin: a socket to send a sequence to, and what the log will say of where it came from.


def plainly(n):
    sock = socket.socket()
    sock.settimeout(socks.TIMEOUT)
    sock.bind((source(n), 0))
    sock.connect(PROXY)
    return sock, "%s:%d" % sock.getsockname()


def behind_a_balancer(n):
    sock = socks.dial(PROXY)
    sock.sendall(proxyproto.v1(source(n, 10), 1 + n))
    return sock, f"{source(n, 10)}:{1 + n}"


def inside_tls(n):
    """Without a certificate; whether that is accepted the client of TLS 1.3 does not know yet."""
    sock, peer = plainly(n)
    return tls.Tls(sock, tls.client()), peer


def upgraded(n):
    """TLS by gost's way, with a password to follow."""
    sock, peer = plainly(n)
    sock.sendall(socks.greeting(0x82))
    assert socks.recv_exact(sock, 2) == b"\x05\x82"
    return tls.Tls(sock, tls.client()), peer


class Asker:
    def __init__(self, program, begin=plainly, messages=None):
        self.program, self.begin = program, begin
        self.messages = messages or MESSAGES
        self.n = 0
        self.answers = {(): 0}  # bytes that each sequence was answered with

    def ask(self, sequence):
        """Sends it and the end of the stream: who is waited for costs time."""
        sock, peer = self.begin(self.n)
        self.n += 1
        try:
            sock.sendall(b"".join(self.messages[name](self.n) for name in sequence))
            sock.shutdown(socket.SHUT_WR)
        except (ssl.SSLError, OSError):
            pass  # it ended before it had read all
        return peer, sock

    def answer_of(self, sock):
        try:
            data, _ = socks.recv_end(sock)
        except ssl.SSLError:
            data = b""  # an alert
        sock.close()
        return data

    def round(self, sequences):
        """Those to make longer."""
        alive = []
        for at in range(0, len(sequences), AT_ONCE):
            asked = {}
            for sequence in sequences[at : at + AT_ONCE]:
                peer, sock = self.ask(sequence)
                asked[peer] = (sequence, sock)
            for sequence, sock in asked.values():
                data = self.answer_of(sock)
                assert not GRANTED.search(without_tokens(data)), (sequence, data)
                self.answers[sequence] = len(data)
            alive += self.still_alive(asked)
        return alive

    def still_alive(self, asked):
        seen = {}

        def complete():
            for record in self.program.sessions()[-4 * AT_ONCE :]:
                if record["from"] in asked:
                    seen[record["from"]] = record["reason"]
            return len(seen) == len(asked)

        wait_until(complete, 30, what="a line for each session")
        assert not {"ok", "done"} & set(seen.values())
        waited = [asked[peer][0] for peer, reason in seen.items() if reason == "client-gone"]
        return [one for one in waited if len(one) < 2 or self.answers[one] > self.answers[one[:-2]]]

    def all_orders(self):
        """How many sequences there were of each length."""
        alive = [()]
        lengths = []
        for _ in range(LENGTH):
            sequences = [(*known, name) for known in alive for name in self.messages]
            lengths.append(len(sequences))
            alive = self.round(sequences)
        return lengths
