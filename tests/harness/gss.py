# SPDX-License-Identifier: MIT
"""SOCKS5 with GSS-API (RFC 1961) by hand, with tokens of python3-gssapi: a client that can lie."""

import struct

import gssapi

from harness import socks

CLEAR, INTEGRITY, CONFIDENTIAL, PER_MESSAGE = range(4)
CONTEXT, LEVEL, DATA, ABORT = 1, 2, 3, 0xFF

Flag = gssapi.RequirementFlag
FLAGS = Flag.mutual_authentication | Flag.replay_detection | Flag.out_of_sequence_detection | (
    Flag.integrity | Flag.confidentiality
)  # fmt: skip
# RFC 1961: what will carry datagrams must not insist on an order.
FLAGS_UDP = FLAGS & ~Flag.out_of_sequence_detection


def frame(kind, token):
    return struct.pack(">BBH", 1, kind, len(token)) + token


def recv_frame(sock):
    """(type, token), or (ABORT, b"")."""
    version, kind = socks.recv_exact(sock, 2)
    assert version == 1, version
    if kind == ABORT:
        return ABORT, b""
    (n,) = struct.unpack(">H", socks.recv_exact(sock, 2))
    return kind, socks.recv_exact(sock, n)


def recv_abort(sock):
    """The abort and the end, and not a byte more."""
    assert recv_frame(sock) == (ABORT, b"")
    assert socks.recv_end(sock) == (b"", "eof")


def context(service="rcmd@localhost", flags=FLAGS):
    name = gssapi.Name(service, gssapi.NameType.hostbased_service)
    return gssapi.SecurityContext(name=name, flags=flags, usage="initiate")


def greet(sock):
    sock.sendall(b"\x05\x01\x01")
    assert socks.recv_exact(sock, 2) == b"\x05\x01"


def establish(sock, ctx=None):
    """Phase 1; returns the context that stands."""
    ctx = ctx or context()
    greet(sock)
    token = ctx.step()
    while token:
        sock.sendall(frame(CONTEXT, token))
        kind, answer = recv_frame(sock)
        assert kind == CONTEXT, kind
        token = ctx.step(answer) if not ctx.complete else None
    assert ctx.complete
    return ctx


def agree(sock, ctx, level, nec=False):
    """Phase 2; returns the level that the server answers."""
    octet = bytes([level])
    sock.sendall(frame(LEVEL, octet if nec else ctx.wrap(octet, False).message))
    kind, token = recv_frame(sock)
    assert kind == LEVEL, kind
    answer = token if nec else ctx.unwrap(token).message
    assert len(answer) == 1
    return answer[0]


class Stream:
    """A socket under a level of protection, with the face of one as far as the tests look."""

    def __init__(self, sock, ctx, level):
        self.sock, self.ctx, self.level = sock, ctx, level
        self.frames = 0
        self._plain = b""

    def wrap(self, data):
        return frame(DATA, self.ctx.wrap(data, self.level == CONFIDENTIAL).message)

    def sendall(self, data):
        if self.level == CLEAR:
            self.sock.sendall(data)
            return
        for at in range(0, len(data), 60000):
            self.sock.sendall(self.wrap(data[at : at + 60000]))

    def recv(self, size):
        if self.level == CLEAR:
            return self.sock.recv(size)
        while not self._plain:
            first = self.sock.recv(1)
            if not first:
                return b""
            version, kind, n = struct.unpack(">BBH", first + socks.recv_exact(self.sock, 3))
            assert (version, kind) == (1, DATA) and n > 0
            plain = self.ctx.unwrap(socks.recv_exact(self.sock, n))
            assert plain.encrypted or self.level != CONFIDENTIAL
            self._plain = plain.message
            self.frames += 1
        out, self._plain = self._plain[:size], self._plain[size:]
        return out

    def __getattr__(self, name):
        return getattr(self.sock, name)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.sock.close()


def login(proxy, level=CONFIDENTIAL, nec=False, flags=FLAGS, service="rcmd@localhost"):
    """A stream on which the request is due."""
    sock = socks.dial(proxy)
    ctx = establish(sock, context(service, flags))
    answer = agree(sock, ctx, level, nec)
    assert answer == level or level == PER_MESSAGE, answer
    return Stream(sock, ctx, answer)


def open_through(proxy, host, port, **options):
    """A connection through the proxy; fails unless granted."""
    stream = login(proxy, **options)
    stream.sendall(socks.request5(host, port))
    code, *_ = socks.recv_reply5(stream)
    assert code == 0, f"reply {code}"
    return stream


